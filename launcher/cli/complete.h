/* grapnel __complete WORD...: what may stand in the place of the last WORD. */
#ifndef GRAPNEL_CLI_COMPLETE_H
#define GRAPNEL_CLI_COMPLETE_H

struct options;

/* Prints a line for each possibility, "word", tab, what it means; or one of the lines ":file",
 * ":host", ":command" for what the shell itself knows better; or nothing.  Returns 0. */
int complete_verb(const struct options *o);

#endif
