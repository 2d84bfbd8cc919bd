/* grapnel __man: keeps the manual page's lists equal to the tables. */
#ifndef GRAPNEL_CLI_MAN_H
#define GRAPNEL_CLI_MAN_H

struct options;

/* Copies standard input to standard output; what stands between lines `.\" begin NAME` and
 * `.\" end` is made anew: NAME is verbs, connection, command, output or examples.  Returns 0, or
 * SAY_FAILED. */
int man_verb(const struct options *o);

#endif
