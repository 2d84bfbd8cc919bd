/* libssh2's chacha20-poly1305@openssh.com by libsodium: several times as fast as its own. */
#ifndef GRAPNEL_LAUNCHER_SSH2_CHACHA_H
#define GRAPNEL_LAUNCHER_SSH2_CHACHA_H

/* Prepares libsodium, which chooses its fastest code here; to be called before libssh2_init.
 * 0, or negative. */
int ssh2_chacha_prepare(void);

#endif
