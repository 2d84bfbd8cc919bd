#include "launcher/cli/fleet/fleet_groups.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/fleet/fleet_pick.h"
#include "launcher/cli/linediff.h"

struct fleet_groups {
    struct fleet_group **items; /* in the order in which they came */
    uint64_t *hashes;
    size_t count, size;
    size_t *slots; /* hash table: number of a group and 1; 0: none */
    size_t slot_count;
};

struct fleet_groups *fleet_groups_new(void)
{
    return calloc(1, sizeof(struct fleet_groups));
}

static void free_group(struct fleet_group *g)
{
    if (!g)
        return;
    free(g->out);
    free(g->err);
    free(g->hosts);
    free(g);
}

void fleet_groups_free(struct fleet_groups *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->count; i++)
        free_group(g->items[i]);
    free(g->items);
    free(g->hashes);
    free(g->slots);
    free(g);
}

/* FNV-1a: a host that makes outputs collide slows down the user who asked it, and no more. */
static uint64_t hash(uint64_t h, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return h;
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

static char *copy_of(const char *bytes, size_t n)
{
    char *copy = malloc(n + 1);

    if (!copy)
        return NULL;
    if (n > 0)
        memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

static struct fleet_group *new_group(const char *out, size_t out_length, const char *err,
                                     size_t err_length)
{
    struct fleet_group *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->out = copy_of(out, out_length);
    g->err = copy_of(err, err_length);
    g->out_length = out_length;
    g->err_length = err_length;
    if (g->out && g->err)
        return g;
    free_group(g);
    return NULL;
}

static int is_same(const struct fleet_group *g, const char *out, size_t out_length, const char *err,
                   size_t err_length)
{
    return g->out_length == out_length && g->err_length == err_length &&
           (!out_length || !memcmp(g->out, out, out_length)) &&
           (!err_length || !memcmp(g->err, err, err_length));
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

int fleet_groups_add(struct fleet_groups *g, size_t host, const char *out, size_t out_length,
                     const char *err, size_t err_length)
{
    uint64_t h = hash(hash(0xcbf29ce484222325u, out, out_length) ^ out_length, err, err_length);
    struct fleet_group *made;
    size_t *slot;

    if (g->count == g->size && grow(g) < 0)
        return -1;
    for (slot = slot_of(g, h); *slot; slot = next_slot(g, slot)) {
        if (g->hashes[*slot - 1] == h &&
            is_same(g->items[*slot - 1], out, out_length, err, err_length))
            return add_host(g->items[*slot - 1], host);
    }
    made = new_group(out, out_length, err, err_length);
    if (!made || add_host(made, host) < 0) {
        free_group(made);
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

const struct fleet_group *fleet_groups_at(const struct fleet_groups *g, size_t i)
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

char *fleet_groups_diff(const struct fleet_group *a, const char *a_title,
                        const struct fleet_group *b, const char *b_title)
{
    return linediff(a->out, a->out_length, a_title, b->out, b->out_length, b_title);
}
