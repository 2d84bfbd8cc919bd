/* The program of sshproxy.h while it runs, and the socket to it. */
#ifndef GRAPNEL_LAUNCHER_SSH2_PROXY_H
#define GRAPNEL_LAUNCHER_SSH2_PROXY_H

#include "launcher/blocking.h"
#include "launcher/ssh/sshconfig.h"

struct ssh2_proxy;

/* Starts it in a session of its own; *fd (non-blocking, close-on-exec) is the caller's.  NULL with
 * *e filled. */
struct ssh2_proxy *ssh2_proxy_start(char *const *argv, struct blocking *blocking, int *fd,
                                    struct error *e);
/* *e is why the line has failed: changed to what the program has said, if anything. */
void ssh2_proxy_explain(struct ssh2_proxy *p, const struct sshconfig *config, struct error *e);
/* Ends it, if it still runs, without waiting.  NULL is legal. */
void ssh2_proxy_free(struct ssh2_proxy *p);

#endif
