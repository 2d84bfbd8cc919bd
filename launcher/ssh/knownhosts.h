/* known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): read once, asked for many hosts.
 * Plain, pattern and hashed names, [host]:port, several keys a host, @revoked, @cert-authority.
 * A set is used by one thread at a time (lookups are remembered inside). */
#ifndef GRAPNEL_LAUNCHER_KNOWNHOSTS_H
#define GRAPNEL_LAUNCHER_KNOWNHOSTS_H

#include <stddef.h>
#include <stdint.h>

#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"

#define KNOWNHOSTS_FILE_MAX        (256u << 20) /* bytes; a longer file is refused */
#define KNOWNHOSTS_FINGERPRINT_MAX 128          /* longest fingerprint text with its terminator */

struct knownhosts;

enum knownhosts_state {
    KNOWNHOSTS_KNOWN,   /* this very key is there for this name */
    KNOWNHOSTS_UNKNOWN, /* nothing is there for this name (or only a certificate authority) */
    KNOWNHOSTS_CHANGED, /* other keys are there for this name, but not this one */
    KNOWNHOSTS_REVOKED, /* this very key is marked @revoked for this name */
};

struct knownhosts_match {
    enum knownhosts_state state;
    /* The line that decided it: the key's own, the revoking one, or for CHANGED one that holds
     * another key, of the same type if there is one.  NULL and 0 for UNKNOWN.  `file` lives as
     * long as the set. */
    const char *file;
    size_t line;
    const char *type, *key; /* that line's, the key in base64; as `file` */
    int same_type; /* CHANGED: the line's key is of the same type */
    int authority; /* a @cert-authority line names this host: its certificates need OpenSSH */
};

/* Reads `count` files in this order.  Missing ones are skipped, and so are (silently, as ssh does)
 * malformed lines.  On 0 the caller owns *out and frees it with knownhosts_free.
 * 0, -E_NOMEM, or -E_IO (there but unreadable; names it), -E_LIMIT (KNOWNHOSTS_FILE_MAX). */
int knownhosts_open(const char *const *files, size_t count, struct knownhosts **out,
                    struct error *e);
void knownhosts_free(struct knownhosts *set);
/* One more who will free it. */
void knownhosts_hold(struct knownhosts *set);

/* Looks a host key up.
 * host: the name that ssh would look up: HostKeyAlias if set (then port is 0), else the HostName
 *       as connected to.  Case does not matter.  An IPv6 address stands without brackets.
 * port: 1..65535; other than 22 makes it "[host]:port".  0: take the name as it stands.
 *       As ssh does, a key that is unknown as "[host]:port" but stands under the plain host name
 *       is KNOWN.
 * key:  wire blob, as libssh2_session_hostkey returns it.
 * 0 and *out filled; -E_MALFORMED (not a key blob), -E_ARGUMENT (no sane name) or -E_NOMEM: then
 * *out says UNKNOWN. */
int knownhosts_check(struct knownhosts *set, const char *host, unsigned port, const void *key,
                     size_t n, struct knownhosts_match *out);

/* Writes the key types known for a host (not revoked, no authorities) to `out`, each once, comma
 * separated, in order of the files; empty when there are none.  E.g. "ssh-ed25519,ssh-rsa".
 * Names as for knownhosts_check, with its fall-back to the plain name.
 * 0, -E_LIMIT (cut to fit), -E_ARGUMENT or -E_NOMEM. */
int knownhosts_types(struct knownhosts *set, const char *host, unsigned port, char *out,
                     size_t size);

/* As knownhosts_types, but as the host-key algorithms to ask a server for: ssh-rsa becomes
 * "rsa-sha2-512,rsa-sha2-256".  Put these before the others of the preference list. */
int knownhosts_algorithms(struct knownhosts *set, const char *host, unsigned port, char *out,
                          size_t size);

/* Adds a key to a file, and to the set (which may be NULL).  One line is appended by one write
 * (O_APPEND, under an advisory lock), after a newline if the file lacks its last.  The file is
 * created 0600, its folder is not (see knownhosts_make_folder).
 * hashed: write the name as |1|salt|hash.  host, port, key as for knownhosts_check.
 * 0, -E_MALFORMED, -E_ARGUMENT, -E_IO, -E_NOMEM. */
int knownhosts_add(struct knownhosts *set, const char *path, const char *host, unsigned port,
                   const void *key, size_t n, int hashed, struct error *e);

/* One key that a file is to have for one name. */
struct knownhosts_change {
    const char *name; /* as knownhosts_name gives it */
    const char *key;  /* in base64, of one of the plain types */
    const char *old;  /* likewise: the key that it takes the place of; NULL: it is a further one */
    int hashed;       /* as knownhosts_add's */
    const char *kept; /* filled: NULL: it stands there now; else why not: static */
    size_t line;      /* filled: the line that is in the way; 0: none */
};

/* Puts n keys into a file: further ones are appended, all by one write; where old keys go, the file
 * is replaced by one that is written beside it (rename; mode and owner stay; a symbolic link is
 * followed).  An old key goes for that very name only: other names on its line stay, and one that a
 * pattern names is not touched.  What another program has written meanwhile counts: a key that is
 * there already is not added twice, one that is revoked or another one of the same type is in the
 * way.  Under the lock of knownhosts_add; the file is created 0600.
 * 0 (look at each `kept`), or -E_IO, -E_LIMIT, -E_NOMEM, and then the file is as it was. */
int knownhosts_write(const char *path, struct knownhosts_change *changes, size_t n,
                     struct error *e);

/* Makes `folder` (~/.ssh), 0700, if `path` is in there and it is missing, as ssh does; no other
 * folder is made.  Whether it worked is told by knownhosts_add. */
void knownhosts_make_folder(const char *path, const char *folder);

/* "SHA256:" and unpadded base64 of the key's hash, as ssh prints it.  0 or -E_MALFORMED (then
 * out is ""). */
int knownhosts_fingerprint(const void *key, size_t n, char out[KNOWNHOSTS_FINGERPRINT_MAX]);

/* The name as it stands in a file: "host" or "[host]:port", lower case; port as above.
 * 0, -E_ARGUMENT (empty, or with characters that cannot stand there) or -E_LIMIT. */
int knownhosts_name(const char *host, unsigned port, char *out, size_t size);

/* Number of usable lines read (for -v). */
size_t knownhosts_count(const struct knownhosts *set);

#endif
