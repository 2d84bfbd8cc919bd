/* grapnel run: one command on one host. */
#ifndef GRAPNEL_CLI_RUN_H
#define GRAPNEL_CLI_RUN_H

struct options;

/* Returns the command's exit status, 128 + its signal, or that of a failure. */
int run_verb(const struct options *o);

#endif
