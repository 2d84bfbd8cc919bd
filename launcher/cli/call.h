/* grapnel call and grapnel eval: a function or an expression on a host, results as JSON. */
#ifndef GRAPNEL_CLI_CALL_H
#define GRAPNEL_CLI_CALL_H

struct options;

/* Return 0; 1 if the code failed; 124 at the time limit; 128 + a signal; or SAY_FAILED. */
int call_verb(const struct options *o);
int eval_verb(const struct options *o);

#endif
