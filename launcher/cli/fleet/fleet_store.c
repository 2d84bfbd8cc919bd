#include "launcher/cli/fleet/fleet_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "launcher/cli/spool.h"

#define BLOCK FLEET_STORE_BLOCK

struct fleet_store {
    int fd; /* -1: nothing has needed it */
    uint32_t count, most;
    uint32_t *unused; /* blocks of the file */
    size_t unused_count, unused_size;
};

struct fleet_store *fleet_store_new(void)
{
    struct fleet_store *s = calloc(1, sizeof *s);

    if (s)
        s->fd = -1;
    return s;
}

void fleet_store_free(struct fleet_store *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s->unused);
    free(s);
}

/* ---- blocks ---- */

/* Others need room there, too. */
static int open_file(struct fleet_store *s)
{
    struct statvfs fs;
    uint64_t half;

    s->fd = spool_open_file();
    if (s->fd < 0)
        return -1;
    s->most = UINT32_MAX;
    if (fstatvfs(s->fd, &fs) == 0) {
        half = (uint64_t)fs.f_bavail * fs.f_frsize / 2 / BLOCK;
        s->most = half < UINT32_MAX ? (uint32_t)half : UINT32_MAX;
    }
    return 0;
}

static int take_block(struct fleet_store *s, uint32_t *number)
{
    if (s->fd < 0 && open_file(s) < 0)
        return -1;
    if (s->unused_count > 0) {
        *number = s->unused[--s->unused_count];
        return 0;
    }
    if (s->count >= s->most) {
        errno = ENOSPC;
        return -1;
    }
    *number = s->count++;
    return 0;
}

/* Where memory is out it stays unused. */
static void give_block(struct fleet_store *s, uint32_t number)
{
    size_t size = s->unused_size ? 2 * s->unused_size : 64;
    uint32_t *unused;

    if (s->unused_count == s->unused_size) {
        unused = realloc(s->unused, size * sizeof *unused);
        if (!unused)
            return;
        s->unused = unused;
        s->unused_size = size;
    }
    s->unused[s->unused_count++] = number;
}

static int write_block(const struct fleet_store *s, uint32_t number, const char *bytes)
{
    size_t done = 0;

    while (done < BLOCK) {
        ssize_t n = pwrite(s->fd, bytes + done, BLOCK - done, (off_t)number * BLOCK + (off_t)done);

        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* The tail is full: into the file. */
static int flush(struct fleet_store *s, struct fleet_kept *k)
{
    uint32_t number, *blocks;
    int error;

    /* Sizes are powers of two. */
    if ((k->count & (k->count - 1)) == 0) {
        blocks = realloc(k->blocks, (k->count ? 2 * k->count : 1) * sizeof *blocks);
        if (!blocks)
            return -1;
        k->blocks = blocks;
    }
    if (take_block(s, &number) < 0)
        return -1;
    if (write_block(s, number, k->tail) < 0) {
        error = errno;
        give_block(s, number);
        errno = error;
        return -1;
    }
    k->blocks[k->count++] = number;
    k->used = 0;
    return 0;
}

/* ---- texts ---- */

static int reserve(struct fleet_kept *k, size_t n)
{
    size_t size = k->size ? k->size : 256;
    char *tail;

    while (size < k->used + n)
        size *= 2;
    if (size == k->size)
        return 0;
    tail = realloc(k->tail, size);
    if (!tail)
        return -1;
    k->tail = tail;
    k->size = size;
    return 0;
}

int fleet_store_add(struct fleet_store *s, struct fleet_kept *k, const void *bytes, size_t n)
{
    const char *from = bytes;

    while (n > 0) {
        size_t part = n < BLOCK - k->used ? n : BLOCK - k->used;

        if (reserve(k, part) < 0)
            return -1;
        memcpy(k->tail + k->used, from, part);
        k->used += part;
        from += part;
        n -= part;
        if (k->used == BLOCK && flush(s, k) < 0) {
            k->used -= part;
            return -1;
        }
    }
    return 0;
}

uint64_t fleet_store_length(const struct fleet_kept *k)
{
    return (uint64_t)k->count * BLOCK + k->used;
}

/* What one block, or the tail, has of it. */
static int64_t read_part(const struct fleet_store *s, const struct fleet_kept *k, uint64_t at,
                         char *to, size_t n)
{
    size_t block = (size_t)(at / BLOCK), offset = (size_t)(at % BLOCK);
    size_t there = block < k->count ? BLOCK : block == k->count ? k->used : 0;
    size_t left = offset < there ? there - offset : 0;
    ssize_t got;

    n = n < left ? n : left;
    if (n == 0)
        return 0;
    if (block == k->count) {
        memcpy(to, k->tail + offset, n);
        return (int64_t)n;
    }
    do
        got = pread(s->fd, to, n, (off_t)k->blocks[block] * BLOCK + (off_t)offset);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        errno = EIO;
    return got > 0 ? got : -1;
}

int64_t fleet_store_read(const struct fleet_store *s, const struct fleet_kept *k, uint64_t at,
                         char *to, size_t n)
{
    size_t have = 0;
    int64_t got = 0;

    while (have < n && (got = read_part(s, k, at + have, to + have, n - have)) > 0)
        have += (size_t)got;
    return got < 0 ? -1 : (int64_t)have;
}

char *fleet_store_text(const struct fleet_store *s, const struct fleet_kept *k)
{
    size_t n = (size_t)fleet_store_length(k);
    char *text = malloc(n + 1);

    if (!text)
        return NULL;
    if (fleet_store_read(s, k, 0, text, n) < 0) {
        free(text);
        return NULL;
    }
    text[n] = '\0';
    return text;
}

int fleet_store_same(const struct fleet_store *s, const struct fleet_kept *a,
                     const struct fleet_kept *b)
{
    char of_a[BLOCK], of_b[BLOCK];
    uint64_t at = 0;

    if (fleet_store_length(a) != fleet_store_length(b))
        return 0;
    for (;;) {
        int64_t n = fleet_store_read(s, a, at, of_a, BLOCK);

        if (n < 0 || fleet_store_read(s, b, at, of_b, BLOCK) < 0)
            return -1;
        if (n == 0 || memcmp(of_a, of_b, (size_t)n) != 0)
            return n == 0;
        at += (uint64_t)n;
    }
}

void fleet_store_drop(struct fleet_store *s, struct fleet_kept *k)
{
    for (size_t i = 0; i < k->count; i++)
        give_block(s, k->blocks[i]);
    free(k->blocks);
    free(k->tail);
    *k = (struct fleet_kept){0};
}
