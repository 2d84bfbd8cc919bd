/* The program that leads to a host by way of others, as ssh runs it for ProxyJump and ProxyCommand:
 * its standard input and output are the line to the host's SSH server. */
#ifndef GRAPNEL_LAUNCHER_SSHPROXY_H
#define GRAPNEL_LAUNCHER_SSHPROXY_H

#include <stdint.h>

#include "launcher/ssh/sshconfig.h"

/* *argv is to be freed with its strings; NULL: the way is direct.  config_file: ssh's -F for the
 * hosts on the way, or NULL.  The program asks nobody.  0, -E_NOMEM, -E_ARGUMENT (a jump that is no
 * host), -E_CONFIG (an unknown token, or a name that would be more than a word for a shell). */
int sshproxy_argv(const struct sshconfig *config, const char *config_file, int64_t timeout_ms,
                  char ***argv, struct error *e);

#endif
