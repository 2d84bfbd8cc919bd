/* grapnel repl: a dialogue with Lua on a host. */
#ifndef GRAPNEL_CLI_REPL_H
#define GRAPNEL_CLI_REPL_H

struct options;

/* Returns 0; 1 if something failed that came from no terminal; what was given to os.exit; 128 + a
 * signal; or SAY_FAILED. */
int repl_verb(const struct options *o);

#endif
