/* What a process inherits from whoever starts it, put into the state that the rest relies on. */
#ifndef GRAPNEL_CLI_INHERIT_H
#define GRAPNEL_CLI_INHERIT_H

/* Opens /dev/null for those of descriptors 0 to 2 that are closed, so that no connection gets such
 * a number; ignores SIGPIPE (writes fail instead); sees to it that SIGCHLD and the signals that end
 * us arrive.  0, or -1 with errno. */
int inherit_mend(void);

#endif
