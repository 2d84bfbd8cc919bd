/* Lines out of pieces of bytes. */
#ifndef GRAPNEL_CLI_FLEET_LINES_H
#define GRAPNEL_CLI_FLEET_LINES_H

#include <stddef.h>

#define FLEET_LINES_MAX 65536 /* a longer line is told in parts, each as a line of its own */

/* Zero-initialise. */
struct fleet_lines {
    unsigned char *bytes; /* of the line that has not ended */
    size_t used, size;
};

/* A line without its newline: n bytes and a zero byte behind them. */
typedef void fleet_lines_tell(void *arg, const unsigned char *line, size_t n);

/* Tells the lines that end in these n bytes, keeps the rest.  0, or -1: memory is out. */
int fleet_lines_feed(struct fleet_lines *l, const void *bytes, size_t n, fleet_lines_tell *tell,
                     void *arg);
/* Tells what has no newline, if there is anything, and frees what is held. */
void fleet_lines_end(struct fleet_lines *l, fleet_lines_tell *tell, void *arg);

#endif
