/* grapnel facts: what hosts are. */
#ifndef GRAPNEL_CLI_FACTS_H
#define GRAPNEL_CLI_FACTS_H

struct options;

/* Returns 0, or SAY_FAILED if one of the hosts could not be reached. */
int facts_verb(const struct options *o);

#endif
