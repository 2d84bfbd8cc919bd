/* What the command says of many hosts, on its way out: bytes for standard output and standard
 * error in the order in which they were put, written as far as their readers take them, so that
 * nothing here ever waits for a reader. */
#ifndef GRAPNEL_CLI_FLEET_FLOW_H
#define GRAPNEL_CLI_FLEET_FLOW_H

#include <stddef.h>

/* Bytes on their way out, over which nobody should put more, if it can wait. */
#define FLEET_FLOW_HIGH ((size_t)1 << 20)

struct fleet_flow;

/* NULL: memory is out. */
struct fleet_flow *fleet_flow_new(void);
void fleet_flow_free(struct fleet_flow *f);

/* For fd 1 or 2; whole lines, as others write there, too.  Once something has failed it is dropped.
 */
void fleet_flow_put(struct fleet_flow *f, int fd, const void *bytes, size_t n);
/* A line "grapnel: text" on standard error, harmless. */
void fleet_flow_note(struct fleet_flow *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same of what a user has asked for just now: ahead of what waits for the reader of standard
 * output, unless both go to the same place. */
void fleet_flow_urgent(struct fleet_flow *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Shows a line without newline on standard error, a terminal of so many columns, more than there
 * are in the line, in place of that before; whatever is put later takes it away.  NULL: takes it
 * away. Nothing happens while there are bytes that have not gone. */
void fleet_flow_bar(struct fleet_flow *f, const char *text, size_t width);

/* Bytes that have not gone yet. */
size_t fleet_flow_pending(const struct fleet_flow *f);
/* The descriptor that the next bytes are for; 0: there are none. */
int fleet_flow_next(const struct fleet_flow *f);
/* Writes as much as goes without waiting. */
void fleet_flow_write(struct fleet_flow *f);
/* Standard output has failed: errno, EPIPE when its reader has gone; 0: it has not. */
int fleet_flow_error(const struct fleet_flow *f);
/* From elsewhere: the reader of standard output has gone. */
void fleet_flow_fail(struct fleet_flow *f, int number);

#endif
