/* What the files of knownhosts share, and nobody else sees. */
#ifndef GRAPNEL_LAUNCHER_KNOWNHOSTS_IMPL_H
#define GRAPNEL_LAUNCHER_KNOWNHOSTS_IMPL_H

#include "launcher/ssh/knownhosts.h"

#define KNOWNHOSTS_NAME_MAX 1100 /* bytes of "[host]:port" with its terminator */

enum knownhosts_marker { MARKER_NONE, MARKER_AUTHORITY, MARKER_REVOKED };
enum knownhosts_valid { VALID_NOT_LOOKED, VALID_YES, VALID_NO };

/* One line.  Texts point into the set's buffers and are terminated there. */
struct knownhosts_entry {
    const char *hosts; /* the first field */
    const char *type;
    const char *key; /* base64 */
    size_t line;
    unsigned file; /* index into the set's file names */
    unsigned char marker;
    unsigned char valid; /* does the key text decode to a key of `type`?  Looked at when needed */
};

/* Entry numbers, rising, which is the order of the files. */
struct knownhosts_numbers {
    size_t *at;
    size_t count, size;
};

/* Hash table from a name to entry numbers; chained by number so that it can grow by realloc. */
struct knownhosts_node {
    const char *name;
    size_t name_n;
    size_t next;  /* node number + 1 of the chain's next; 0: end */
    size_t entry; /* index: an entry number.  memory: a number into `answers` */
};
struct knownhosts_table {
    struct knownhosts_node *nodes;
    size_t count, size;
    size_t *slots; /* node number + 1, 0: empty */
    size_t slots_count;
};

struct knownhosts_hashed {
    uint8_t salt[20];
    uint8_t hash[20];
    size_t entry;
    int taken; /* a name was found to be this one: it is no other's */
};

struct knownhosts {
    size_t more_holders; /* besides the one who opened it */
    char **buffers;      /* file contents, added lines, and remembered names */
    size_t buffers_count, buffers_size;
    char **files; /* names */
    size_t files_count;
    struct knownhosts_entry *entries;
    size_t entries_count, entries_size;
    struct knownhosts_table plain;
    struct knownhosts_hashed *hashed;
    size_t hashed_count, hashed_size;
    struct knownhosts_numbers patterns; /* entries with wildcards or negations */
    struct knownhosts_table memory;     /* names that were looked up... */
    struct knownhosts_numbers *answers; /* ... and what was found */
    size_t answers_count, answers_size;
    void *digest; /* SHA-1 as libcrypto has it, and a context for it */
    void *digest_context;
};

/* knownhosts_read.c: reads file number `file` into the set.  0 (also when it is not there),
 * -E_NOMEM, -E_IO, -E_LIMIT. */
int knownhosts_read(struct knownhosts *set, unsigned file, struct error *e);

/* Reads what is left of fd, terminated; the caller frees *text.  0, -E_NOMEM, -E_IO, -E_LIMIT. */
int knownhosts_read_all(int fd, const char *name, char **text, size_t *n, struct error *e);

/* Takes over `text` (from malloc, terminated, n bytes), and enters its lines.  0 or -E_NOMEM. */
int knownhosts_read_text(struct knownhosts *set, char *text, size_t n, unsigned file);

/* Gives `text` (from malloc) to the set, also on failure.  0 or -E_NOMEM. */
int knownhosts_read_keep(struct knownhosts *set, char *text);

/* knownhosts_index.c */
int knownhosts_index_put(struct knownhosts_table *t, const char *name, size_t n, size_t entry);
/* Walks over a name's nodes: *cursor is 0 at first.  1 and *entry, or 0 at the end. */
int knownhosts_index_next(const struct knownhosts_table *t, const char *name, size_t n,
                          size_t *cursor, size_t *entry);
void knownhosts_index_free(struct knownhosts_table *t);
int knownhosts_index_append(struct knownhosts_numbers *list, size_t number);

/* HMAC-SHA1 of the n bytes of `name`, keyed by salt, as hashed names use it.  0 or -E_NOMEM. */
int knownhosts_index_hmac(struct knownhosts *set, const uint8_t salt[20], const char *name,
                          size_t n, uint8_t out[20]);

/* knownhosts_add.c: opens a file for reading and appending, or makes it, with the lock that all who
 * change it take; nobody has put another one in its place since.  The descriptor, or -E_IO. */
int knownhosts_add_open(const char *path, struct error *e);
/* Appends n bytes of whole lines by one write.  0 or -E_IO. */
int knownhosts_add_lines(int fd, const char *path, const char *lines, size_t n, struct error *e);
/* Makes the set know the line under its plain name, whatever stands in the file.  0 or -E_NOMEM. */
int knownhosts_add_remember(struct knownhosts *set, const char *path, const char *name,
                            const char *type, const char *key);
/* "|1|salt|hash" of a name.  0 or -E_NOMEM. */
int knownhosts_add_hash(struct knownhosts *set, const char *name, char *out, size_t size);

/* knownhosts_edit.c: what a file's text (n bytes, and a zero byte behind them) becomes by changes:
 * its lines in *kept, new ones in *added.  set: what is in the text, and then what was added.
 * Fills `kept` and `line` of each change.  0 or -E_NOMEM. */
int knownhosts_edit(struct knownhosts *set, const char *path, const char *text, size_t n,
                    struct knownhosts_change *changes, size_t count, struct wire_buf *kept,
                    struct wire_buf *added);

/* Makes room for one more in an array of `item` bytes each.  The new place of the array, or NULL
 * (the old one stays). */
void *knownhosts_index_grow(void *array, size_t count, size_t *size, size_t item);

#endif
