/* An ordered set of names: each once, in the order in which they were first mentioned. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_NAMES_H
#define GRAPNEL_LAUNCHER_TARGETS_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "proto/errors.h"

#define NAMES_TEXT_MAX  ((size_t)1 << 30) /* bytes of all names of a set, with their ends */
#define NAMES_COUNT_MAX ((size_t)100000000)
#define NAMES_NONE      SIZE_MAX

/* Zero-initialised it is an empty set. */
struct names {
    size_t limit;          /* most names that it may have; 0: as many as can be */
    unsigned char key[16]; /* of the hash */
    char *text;            /* the names, each with its terminating zero */
    size_t used;           /* bytes of it */
    size_t size;           /* and those there is room for */
    uint32_t *at;          /* where each begins in it; the highest bit: it has been removed */
    uint32_t *hash;        /* of each */
    size_t count;          /* of names, with those that have been removed */
    size_t gone;           /* so many of them have been */
    size_t room;           /* for that many in `at` and `hash` */
    uint32_t *slots;       /* a name's number + 1, 0: free; probed linearly */
    size_t slot_count;
};

void names_clear(struct names *set);

/* Adds n bytes of text, without zeros in them, unless they are there.  One that has been removed
 * comes back to its old place.  *number (which may be NULL) gets the name's number.  0 or -E_NOMEM,
 * -E_LIMIT with *e filled. */
int names_add(struct names *set, const char *text, size_t n, size_t *number, struct error *e);

/* Makes room for so many more names, if they are to come; it is no harm if they do not, or if there
 * is no memory for them. */
void names_expect(struct names *set, size_t more);

/* The number of a name, NAMES_NONE when it is not there. */
size_t names_find(const struct names *set, const char *text, size_t n);

/* Name i (< count), terminated, until the set changes; its length; whether it is still there. */
const char *names_at(const struct names *set, size_t i);
size_t names_length(const struct names *set, size_t i);
int names_there(const struct names *set, size_t i);

/* Adds all of `other`.  Results as names_add. */
int names_unite(struct names *set, const struct names *other, struct error *e);
/* Removes name i (< count), if it is there. */
void names_remove(struct names *set, size_t i);
/* Removes what is in `other`, in the time that the size of `other` takes; or what is not. */
void names_subtract(struct names *set, const struct names *other);
void names_intersect(struct names *set, const struct names *other);
/* Leaves what is in one of them only.  Results as names_add. */
int names_differ(struct names *set, const struct names *other, struct error *e);

/* Makes the numbers of the names that are there 0, 1, 2 and so on again. */
void names_compact(struct names *set);

/* Forgets all but the first `count`. */
void names_truncate(struct names *set, size_t count);

#endif
