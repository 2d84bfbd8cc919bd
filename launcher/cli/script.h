/* grapnel script: a Lua file runs on a host. */
#ifndef GRAPNEL_CLI_SCRIPT_H
#define GRAPNEL_CLI_SCRIPT_H

struct options;

/* Returns 0, or what the script gave to os.exit; 1 if it failed; 124 at the time limit; 128 + a
 * signal; or SAY_FAILED. */
int script_verb(const struct options *o);

#endif
