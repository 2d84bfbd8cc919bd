#include "proto/refs.h"

#include <stdbool.h>
#include <stdlib.h>

#include "proto/errors.h"

#define REFS_FIRST 16 /* buckets, and entries, of the smallest table */

/* Entries stand in one array and are chained by their numbers (0: none, so the first is not used):
 * once by id, once by object.  Free ones are chained by `next_id`. */
struct refs_entry {
    void *object;
    int64_t id;
    int64_t held;
    uint32_t next_id, next_object;
};

struct refs {
    struct refs_entry *entries;
    uint32_t size; /* of entries; a power of two, and so many buckets there are in both of … */
    uint32_t *by_id, *by_object; /* … these */
    uint32_t used;               /* entries that have ever been in use, the first included */
    uint32_t free;               /* the first free one of these */
    size_t count, most;
    int64_t next_id;
    refs_gone *gone;
    void *arg;
};

static uint32_t id_bucket(const struct refs *t, int64_t id)
{
    return (uint32_t)id & (t->size - 1); /* ids go up by one: nothing spreads better */
}

static uint32_t object_bucket(const struct refs *t, const void *object)
{
    uint64_t h = (uint64_t)(uintptr_t)object * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32) & (t->size - 1);
}

static void chain(struct refs *t, uint32_t at)
{
    struct refs_entry *e = &t->entries[at];
    uint32_t *id = &t->by_id[id_bucket(t, e->id)];
    uint32_t *object = &t->by_object[object_bucket(t, e->object)];
    e->next_id = *id;
    e->next_object = *object;
    *id = at;
    *object = at;
}

static void unchain(struct refs *t, uint32_t at)
{
    struct refs_entry *e = &t->entries[at];
    uint32_t *link = &t->by_id[id_bucket(t, e->id)];
    while (*link != at) {
        link = &t->entries[*link].next_id;
    }
    *link = e->next_id;
    link = &t->by_object[object_bucket(t, e->object)];
    while (*link != at) {
        link = &t->entries[*link].next_object;
    }
    *link = e->next_object;
}

/* Makes the table twice as large.  0 or -E_NOMEM: it is as it was. */
static int grow(struct refs *t)
{
    uint32_t size = t->size == 0 ? REFS_FIRST : t->size * 2;
    struct refs_entry *entries = realloc(t->entries, size * sizeof(*entries));
    if (entries != NULL) {
        t->entries = entries;
    }
    uint32_t *by_id = calloc(size, sizeof(*by_id));
    uint32_t *by_object = calloc(size, sizeof(*by_object));
    if (entries == NULL || by_id == NULL || by_object == NULL) {
        free(by_id);
        free(by_object);
        return -E_NOMEM;
    }
    free(t->by_id);
    free(t->by_object);
    t->by_id = by_id;
    t->by_object = by_object;
    t->size = size;
    /* It grows only when no entry is free: all of them are chained anew. */
    for (uint32_t at = 1; at < t->used; at++) {
        chain(t, at);
    }
    return 0;
}

static struct refs_entry *find(const struct refs *t, int64_t id)
{
    uint32_t at = t->size == 0 ? 0 : t->by_id[id_bucket(t, id)];
    while (at != 0 && t->entries[at].id != id) {
        at = t->entries[at].next_id;
    }
    return at == 0 ? NULL : &t->entries[at];
}

static struct refs_entry *find_object(const struct refs *t, const void *object)
{
    uint32_t at = t->size == 0 ? 0 : t->by_object[object_bucket(t, object)];
    while (at != 0 && t->entries[at].object != object) {
        at = t->entries[at].next_object;
    }
    return at == 0 ? NULL : &t->entries[at];
}

struct refs *refs_new(size_t most, refs_gone *gone, void *arg)
{
    struct refs *t = calloc(1, sizeof(*t));
    if (t != NULL) {
        t->most = most == 0 ? REFS_MAX : most < UINT32_MAX / 4 ? most : UINT32_MAX / 4;
        t->used = 1;
        t->next_id = 1;
        t->gone = gone;
        t->arg = arg;
    }
    return t;
}

/* Takes an entry out, which may make its owner change the table. */
static void drop(struct refs *t, uint32_t at)
{
    struct refs_entry *e = &t->entries[at];
    void *object = e->object;
    int64_t id = e->id;
    unchain(t, at);
    e->object = NULL;
    e->next_id = t->free;
    t->free = at;
    t->count--;
    if (t->gone != NULL) {
        t->gone(t->arg, object, id);
    }
}

void refs_free(struct refs *t)
{
    if (t == NULL) {
        return;
    }
    for (uint32_t at = 1; at < t->used; at++) {
        if (t->entries[at].object != NULL) {
            drop(t, at);
        }
    }
    free(t->entries);
    free(t->by_id);
    free(t->by_object);
    free(t);
}

int64_t refs_issue(struct refs *t, void *object)
{
    if (object == NULL) {
        return -E_ARGUMENT;
    }
    struct refs_entry *e = find_object(t, object);
    if (e != NULL) {
        if (e->held == INT64_MAX) {
            return -E_LIMIT;
        }
        e->held++;
        return e->id;
    }
    if (t->count >= t->most || t->next_id == INT64_MAX) {
        return -E_LIMIT;
    }
    if (t->free == 0 && t->used >= t->size) {
        int rc = grow(t);
        if (rc != 0) {
            return rc;
        }
    }
    uint32_t at = t->free != 0 ? t->free : t->used++;
    e = &t->entries[at];
    t->free = at == t->free ? e->next_id : t->free;
    *e = (struct refs_entry){.object = object, .id = t->next_id++, .held = 1};
    chain(t, at);
    t->count++;
    return e->id;
}

void *refs_find(const struct refs *t, int64_t id)
{
    const struct refs_entry *e = find(t, id);
    return e == NULL ? NULL : e->object;
}

int64_t refs_id(const struct refs *t, const void *object)
{
    const struct refs_entry *e = object == NULL ? NULL : find_object(t, object);
    return e == NULL ? 0 : e->id;
}

int refs_release(struct refs *t, int64_t id, int64_t count)
{
    struct refs_entry *e = find(t, id);
    if (e == NULL || count < 1 || count > e->held) {
        return -E_PROTOCOL;
    }
    e->held -= count;
    if (e->held == 0) {
        drop(t, (uint32_t)(e - t->entries));
    }
    return 0;
}

size_t refs_count(const struct refs *t)
{
    return t->count;
}

int64_t refs_held(const struct refs *t, int64_t id)
{
    const struct refs_entry *e = find(t, id);
    return e == NULL ? 0 : e->held;
}
