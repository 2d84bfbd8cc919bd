/* A file that tells which hosts have ended, a line of JSON for each, and what can be learned from
 * it. */
#ifndef GRAPNEL_CLI_FLEET_JOURNAL_H
#define GRAPNEL_CLI_FLEET_JOURNAL_H

#include <jansson.h>

#include "launcher/grapnel.h"

struct fleet_journal;

/* Opens it for more lines; one that is torn at the end is ended.  made: it is made where there is
 * none.  sole: nobody else may have it open meanwhile, who would run what this one runs; others
 * may, beside each other.  NULL with *error. */
struct fleet_journal *fleet_journal_open(const char *path, int made, int sole,
                                         struct grapnel_error *error);
/* Appends a line; takes the object.  0, or -1 with errno: then nothing more is written. */
int fleet_journal_add(struct fleet_journal *j, json_t *object);
/* Brings what was written to the disk, if that was not done within the last second; `now` is
 * grapnel_now. */
void fleet_journal_sync(struct fleet_journal *j, double now);
/* errno of the first failure; 0: there was none. */
int fleet_journal_error(const struct fleet_journal *j);
/* Brings all to the disk, and frees it.  0, or -1 with errno, also of an earlier failure.  NULL is
 * legal. */
int fleet_journal_close(struct fleet_journal *j);

/* The hosts in a file: an object whose keys they are, in the order in which they came.  Of a line
 * of JSON the host if its `member` is true, or that of the host which it is another name for
 * ("same_as"), as the last line of each has it; torn lines are passed over, and zero bytes at the
 * beginning of one, which a power cut leaves.  plain: other lines
 * name sets of hosts, with # before comments; else they are an error.  NULL with *error. */
json_t *fleet_journal_hosts(const char *path, const char *member, int plain,
                            struct grapnel_error *error);

#endif
