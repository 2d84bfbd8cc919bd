/* Output of many hosts that waits to be shown: a little of each in memory, the rest in one file
 * that has no name, in $TMPDIR, or /tmp without it.  So memory does not grow with what they say. */
#ifndef GRAPNEL_CLI_FLEET_STORE_H
#define GRAPNEL_CLI_FLEET_STORE_H

#include <stddef.h>
#include <stdint.h>

#define FLEET_STORE_BLOCK 8192

struct fleet_store;

/* One text; all zero: an empty one. */
struct fleet_kept {
    char *tail; /* what does not fill a block yet */
    size_t used, size;
    uint32_t *blocks; /* in the file, full */
    size_t count;
};

/* NULL: memory is out. */
struct fleet_store *fleet_store_new(void);
/* Texts that were not dropped are to be freed before. */
void fleet_store_free(struct fleet_store *s);

/* Appends n bytes.  0, or -1 with errno: part of them may be there.  No more goes into the file
 * than half of what was free where it is: then errno is ENOSPC. */
int fleet_store_add(struct fleet_store *s, struct fleet_kept *k, const void *bytes, size_t n);
/* Bytes in it. */
uint64_t fleet_store_length(const struct fleet_kept *k);
/* Copies up to n bytes that begin at `at`; as many as there are.  How many, or -1 with errno. */
int64_t fleet_store_read(const struct fleet_store *s, const struct fleet_kept *k, uint64_t at,
                         char *to, size_t n);
/* All of it, with a zero byte behind, for free.  NULL with errno. */
char *fleet_store_text(const struct fleet_store *s, const struct fleet_kept *k);
/* 1: they are the same, 0: they differ, -1 with errno. */
int fleet_store_same(const struct fleet_store *s, const struct fleet_kept *a,
                     const struct fleet_kept *b);
/* Empties it; its place in the file is for others. */
void fleet_store_drop(struct fleet_store *s, struct fleet_kept *k);

#endif
