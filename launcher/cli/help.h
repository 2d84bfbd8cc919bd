/* Help texts, made of the tables. */
#ifndef GRAPNEL_CLI_HELP_H
#define GRAPNEL_CLI_HELP_H

#include <stdio.h>

struct options;
struct verb;

/* grapnel help [VERB].  Returns 0, or SAY_FAILED. */
int help_verb(const struct options *o);

/* What the whole command is and its verbs; what one verb does and its options.  80 columns. */
void help_all(FILE *f);
void help_one(FILE *f, const struct verb *verb);

#endif
