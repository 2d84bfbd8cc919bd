/* What an SSH server says in plain text, before the keys are there: other lines, its version line,
 * KEXINIT, and an early DISCONNECT (RFC 4253 sections 4.2, 6, 7.1 and 11.1).  libssh2 reads the
 * same bytes for itself but tells nobody what was in them when it fails.
 * Fed with untrusted bytes; holds at most SSH2_GREETING_PACKET_MAX of them. */
#ifndef GRAPNEL_LAUNCHER_SSH2_GREETING_H
#define GRAPNEL_LAUNCHER_SSH2_GREETING_H

#include <stddef.h>
#include <stdint.h>

#define SSH2_GREETING_PACKET_MAX 35000u /* RFC 4253 section 6.1 */
#define SSH2_GREETING_TEXT_MAX   256u
#define SSH2_GREETING_LINES_MAX  64u   /* lines before the version line */
#define SSH2_GREETING_BYTES_MAX  8192u /* bytes before the end of the version line */

/* The name-lists of a KEXINIT, in the order in which they stand there. */
enum ssh2_greeting_list {
    SSH2_GREETING_KEX,
    SSH2_GREETING_HOSTKEY,
    SSH2_GREETING_CIPHER_OUT, /* client to server */
    SSH2_GREETING_CIPHER_IN,
    SSH2_GREETING_MAC_OUT,
    SSH2_GREETING_MAC_IN,
    SSH2_GREETING_COMPRESSION_OUT,
    SSH2_GREETING_COMPRESSION_IN,
    SSH2_GREETING_LISTS
};

struct ssh2_greeting;

struct ssh2_greeting *ssh2_greeting_new(void); /* NULL when memory is out */
void ssh2_greeting_free(struct ssh2_greeting *g);

/* Reads on.  0, -E_NOT_SSH (this cannot become a version line any more), -E_MALFORMED (a packet
 * that makes no sense) or -E_NOMEM; after an error nothing more is read. */
int ssh2_greeting_feed(struct ssh2_greeting *g, const uint8_t *bytes, size_t n);

/* The version line without its end, as it came ("" before it has): not safe to print. */
const char *ssh2_greeting_version(const struct ssh2_greeting *g);
/* The first bytes that came, at most SSH2_GREETING_TEXT_MAX, whatever they were. */
const uint8_t *ssh2_greeting_first(const struct ssh2_greeting *g, size_t *n);
/* The server's name-list, terminated; NULL before its KEXINIT has come.  Not safe to print. */
const char *ssh2_greeting_names(const struct ssh2_greeting *g, enum ssh2_greeting_list which);
/* Text of a DISCONNECT that came in plain text; NULL when none did.  Not safe to print. */
const char *ssh2_greeting_disconnect(const struct ssh2_greeting *g);
/* Bytes that followed NEWKEYS: encrypted, so only their number is known. */
uint64_t ssh2_greeting_behind(const struct ssh2_greeting *g);

#endif
