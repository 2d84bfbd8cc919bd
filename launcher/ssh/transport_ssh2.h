/* What the ssh2 transport needs of the process; the transport itself is in transport.h. */
#ifndef GRAPNEL_LAUNCHER_TRANSPORT_SSH2_H
#define GRAPNEL_LAUNCHER_TRANSPORT_SSH2_H

/* Prepares libssh2, once per process, from any thread.  transport_ssh2 does it by itself as well.
 * 0 or -E_SYSTEM. */
int transport_ssh2_init(void);

#endif
