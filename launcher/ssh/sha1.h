/* SHA-1, for names that ssh makes with it (%C), never for security.  It is our own, since reading
 * ssh_config must not load libcrypto, and libsodium has none. */
#ifndef GRAPNEL_LAUNCHER_SHA1_H
#define GRAPNEL_LAUNCHER_SHA1_H

#include <stddef.h>

#define SHA1_HEX 41 /* hex digits and their terminator */

/* The hash of n bytes, in lower-case hex digits. */
void sha1_hex(const void *bytes, size_t n, char hex[SHA1_HEX]);

#endif
