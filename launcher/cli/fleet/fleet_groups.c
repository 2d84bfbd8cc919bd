#include "launcher/cli/fleet/fleet_groups.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/fleet/fleet_pick.h"

struct fleet_groups {
    struct fleet_store *store;
    struct fleet_group **items; /* in the order in which they came */
    uint64_t *hashes;
    size_t count, size;
    size_t *slots; /* hash table: number of a group and 1; 0: none */
    size_t slot_count;
};

struct fleet_groups *fleet_groups_new(struct fleet_store *store)
{
    struct fleet_groups *g = calloc(1, sizeof *g);

    if (g)
        g->store = store;
    return g;
}

static void free_group(struct fleet_store *store, struct fleet_group *g)
{
    if (!g)
        return;
    fleet_store_drop(store, &g->out);
    fleet_store_drop(store, &g->err);
    free(g->hosts);
    free(g);
}

void fleet_groups_free(struct fleet_groups *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->count; i++)
        free_group(g->store, g->items[i]);
    free(g->items);
    free(g->hashes);
    free(g->slots);
    free(g);
}

/* FNV-1a: a host that makes outputs collide slows down the user who asked it, and no more. */
static int hash(const struct fleet_store *store, const struct fleet_kept *k, uint64_t *h)
{
    char piece[FLEET_STORE_BLOCK];
    uint64_t at = 0;
    int64_t n;

    while ((n = fleet_store_read(store, k, at, piece, sizeof piece)) > 0) {
        for (int64_t i = 0; i < n; i++)
            *h = (*h ^ (unsigned char)piece[i]) * 0x100000001b3u;
        at += (uint64_t)n;
    }
    *h ^= at;
    return n < 0 ? -1 : 0;
}

static size_t *slot_of(const struct fleet_groups *g, uint64_t h)
{
    return &g->slots[h % g->slot_count];
}

static size_t *next_slot(const struct fleet_groups *g, size_t *slot)
{
    return ++slot == g->slots + g->slot_count ? g->slots : slot;
}

static int grow(struct fleet_groups *g)
{
    size_t size = g->size ? 2 * g->size : 16;
    struct fleet_group **items = realloc(g->items, size * sizeof(struct fleet_group *));
    uint64_t *hashes;
    size_t *slots;

    if (items)
        g->items = items;
    hashes = realloc(g->hashes, size * sizeof *hashes);
    if (hashes)
        g->hashes = hashes;
    slots = calloc(2 * size, sizeof *slots);
    if (!items || !hashes || !slots) {
        free(slots);
        return -1;
    }
    free(g->slots);
    g->slots = slots;
    g->slot_count = 2 * size;
    g->size = size;
    for (size_t i = 0; i < g->count; i++) {
        size_t *slot = slot_of(g, g->hashes[i]);

        while (*slot)
            slot = next_slot(g, slot);
        *slot = i + 1;
    }
    return 0;
}

static struct fleet_group *new_group(struct fleet_kept *out, struct fleet_kept *err)
{
    struct fleet_group *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->out = *out;
    g->err = *err;
    *out = *err = (struct fleet_kept){0};
    return g;
}

/* 1, 0, or -1 with errno. */
static int is_same(const struct fleet_store *s, const struct fleet_group *g,
                   const struct fleet_kept *out, const struct fleet_kept *err)
{
    int same = fleet_store_same(s, &g->out, out);

    return same == 1 ? fleet_store_same(s, &g->err, err) : same;
}

static int add_host(struct fleet_group *g, size_t host)
{
    size_t *hosts;

    /* Sizes are powers of two. */
    if ((g->count & (g->count - 1)) == 0) {
        hosts = realloc(g->hosts, (g->count ? 2 * g->count : 1) * sizeof *hosts);
        if (!hosts)
            return -1;
        g->hosts = hosts;
    }
    g->hosts[g->count++] = host;
    return 0;
}

/* Where a group with that output, or a new one, has its slot.  NULL with errno. */
static size_t *find(const struct fleet_groups *g, uint64_t h, const struct fleet_kept *out,
                    const struct fleet_kept *err)
{
    size_t *slot = slot_of(g, h);

    for (; *slot; slot = next_slot(g, slot)) {
        int same = 0;

        if (g->hashes[*slot - 1] == h)
            same = is_same(g->store, g->items[*slot - 1], out, err);
        if (same)
            return same > 0 ? slot : NULL;
    }
    return slot;
}

int fleet_groups_add(struct fleet_groups *g, size_t host, struct fleet_kept *out,
                     struct fleet_kept *err)
{
    uint64_t h = 0xcbf29ce484222325u;
    struct fleet_group *made;
    size_t *slot;

    if ((g->count == g->size && grow(g) < 0) || hash(g->store, out, &h) < 0 ||
        hash(g->store, err, &h) < 0 || (slot = find(g, h, out, err)) == NULL)
        return -1;
    if (*slot) {
        fleet_store_drop(g->store, out);
        fleet_store_drop(g->store, err);
        return add_host(g->items[*slot - 1], host);
    }
    made = new_group(out, err);
    if (!made || add_host(made, host) < 0) {
        free_group(g->store, made);
        return -1;
    }
    g->hashes[g->count] = h;
    g->items[g->count++] = made;
    *slot = g->count;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    return (x > y) - (x < y);
}

static int by_size(const void *a, const void *b)
{
    const struct fleet_group *x = *(struct fleet_group *const *)a,
                             *y = *(struct fleet_group *const *)b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return by_number(&x->hosts[0], &y->hosts[0]);
}

void fleet_groups_sort(struct fleet_groups *g)
{
    for (size_t i = 0; i < g->count; i++)
        qsort(g->items[i]->hosts, g->items[i]->count, sizeof(size_t), by_number);
    if (g->count > 0)
        qsort(g->items, g->count, sizeof(struct fleet_group *), by_size);
    /* Numbers of groups are of no use any more. */
    free(g->slots);
    free(g->hashes);
    g->slots = NULL;
    g->hashes = NULL;
    g->size = g->slot_count = 0;
}

struct fleet_group *fleet_groups_at(const struct fleet_groups *g, size_t i)
{
    return i < g->count ? g->items[i] : NULL;
}

char *fleet_groups_title(const struct fleet_group *g, const char *const *names)
{
    char *folded = fleet_pick_fold(names, g->hosts, g->count), *title = NULL;

    if (folded && asprintf(&title, "%s (%zu)", folded, g->count) < 0)
        title = NULL;
    grapnel_string_free(folded);
    return title;
}
