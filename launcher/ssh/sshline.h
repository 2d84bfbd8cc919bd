/* Command lines that call the OpenSSH client, as users write them. */
#ifndef GRAPNEL_LAUNCHER_SSHLINE_H
#define GRAPNEL_LAUNCHER_SSHLINE_H

#include <stddef.h>

/* True when a line for the shell is a plain call of ssh that leads to the account's login shell:
 * options and a host, no command.  *after: the offset behind the program's name, where more options
 * may be put in.  When in doubt, false. */
int sshline_gives_login_shell(const char *line, size_t *after);

#endif
