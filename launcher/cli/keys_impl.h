/* What the files of grapnel keys share: keys.c (the verb), keys_show.c (what was found),
 * keys_write.c (questions, and what comes of them).  Not for anyone else. */
#ifndef GRAPNEL_CLI_KEYS_IMPL_H
#define GRAPNEL_CLI_KEYS_IMPL_H

#include <stddef.h>

#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

/* In the order in which they are shown. */
enum keys_state {
    KEYS_REVOKED,
    KEYS_CHANGED,
    KEYS_NEW,
    KEYS_AUTHORITY,
    KEYS_KNOWN,
    KEYS_STATES,
};

/* One key of one host; the texts are its own. */
struct keys_found {
    size_t host;
    enum keys_state state;
    char *type, *fingerprint, *key;
    char *file, *old_type, *old_fingerprint, *old_key; /* NULL: none */
    long line;
    int own;    /* `file` is one of the user's */
    char *name; /* in known_hosts */
    char *write_to;
    int hashed;
    int written;
};

struct keys {
    const char *const *names;
    struct keys_found *found;
    size_t count, size;
    int no_memory;
    const char *unread; /* the keyword of ssh_config that was not looked at; NULL: none */
};

/* keys_show.c: shows what was found on standard output; sorts it.  0, or negative with *error. */
int keys_show(struct keys *k, const struct options *o, struct grapnel_error *error);
/* The hosts of n keys, folded, with their number: "web[01-19] (19)", for free; NULL: memory is out.
 */
char *keys_show_hosts(const struct keys *k, const struct keys_found *found, size_t n);

/* keys_write.c: asks, and writes.  Negative: something could not be written, which was said. */
int keys_write(struct keys *k, const struct options *o);

#endif
