/* Tables by which a host's lines are found without reading all of them. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/knownhosts_impl.h"

#define SLOTS_FIRST 64

void *knownhosts_index_grow(void *array, size_t count, size_t *size, size_t item)
{
    if (count < *size)
        return array;
    size_t more = *size == 0 ? 16 : *size * 2;
    if (more > SIZE_MAX / item)
        return NULL;
    void *p = realloc(array, more * item);
    if (p != NULL)
        *size = more;
    return p;
}

int knownhosts_index_append(struct knownhosts_numbers *list, size_t number)
{
    size_t *at = knownhosts_index_grow(list->at, list->count, &list->size, sizeof *at);
    if (at == NULL)
        return -E_NOMEM;
    list->at = at;
    list->at[list->count++] = number;
    return 0;
}

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* FNV-1a over the lower-case bytes.  The files are the user's own, so nobody picks collisions. */
static size_t hash(const char *name, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) {
        h ^= (unsigned char)lower(name[i]);
        h *= 1099511628211u;
    }
    return (size_t)(h ^ (h >> 32));
}

static int same(const struct knownhosts_node *node, const char *name, size_t n)
{
    if (node->name_n != n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (lower(node->name[i]) != lower(name[i]))
            return 0;
    return 1;
}

static int grow_slots(struct knownhosts_table *t)
{
    size_t count = t->slots_count == 0 ? SLOTS_FIRST : t->slots_count * 2;
    size_t *slots = calloc(count, sizeof *slots);
    if (slots == NULL)
        return -E_NOMEM;
    /* New nodes go to the front of their chain; so do these, oldest first. */
    for (size_t i = 0; i < t->count; i++) {
        size_t slot = hash(t->nodes[i].name, t->nodes[i].name_n) & (count - 1);
        t->nodes[i].next = slots[slot];
        slots[slot] = i + 1;
    }
    free(t->slots);
    t->slots = slots;
    t->slots_count = count;
    return 0;
}

int knownhosts_index_put(struct knownhosts_table *t, const char *name, size_t n, size_t entry)
{
    if (t->count >= t->slots_count && grow_slots(t) != 0)
        return -E_NOMEM;
    struct knownhosts_node *nodes =
        knownhosts_index_grow(t->nodes, t->count, &t->size, sizeof *nodes);
    if (nodes == NULL)
        return -E_NOMEM;
    t->nodes = nodes;
    size_t slot = hash(name, n) & (t->slots_count - 1);
    nodes[t->count] = (struct knownhosts_node){name, n, t->slots[slot], entry};
    t->slots[slot] = ++t->count;
    return 0;
}

int knownhosts_index_next(const struct knownhosts_table *t, const char *name, size_t n,
                          size_t *cursor, size_t *entry)
{
    if (t->slots_count == 0)
        return 0;
    size_t at =
        *cursor == 0 ? t->slots[hash(name, n) & (t->slots_count - 1)] : t->nodes[*cursor - 1].next;
    for (; at != 0; at = t->nodes[at - 1].next) {
        if (same(&t->nodes[at - 1], name, n)) {
            *cursor = at;
            *entry = t->nodes[at - 1].entry;
            return 1;
        }
    }
    return 0;
}

void knownhosts_index_free(struct knownhosts_table *t)
{
    free(t->nodes);
    free(t->slots);
    *t = (struct knownhosts_table){0};
}

static int sha1(struct knownhosts *set, const uint8_t *block, const void *bytes, size_t n,
                uint8_t out[20])
{
    EVP_MD_CTX *context = set->digest_context;
    return EVP_DigestInit_ex(context, set->digest, NULL) == 1 &&
                   EVP_DigestUpdate(context, block, 64) == 1 &&
                   EVP_DigestUpdate(context, bytes, n) == 1 &&
                   EVP_DigestFinal_ex(context, out, NULL) == 1
               ? 0
               : -E_NOMEM;
}

/* By hand on one digest context: a keyed EVP_MAC costs several times as much to set up as these
 * two hashes take, and there is one key a line. */
int knownhosts_index_hmac(struct knownhosts *set, const uint8_t salt[20], const char *name,
                          size_t n, uint8_t out[20])
{
    uint8_t block[64];
    memset(block, 0x36, sizeof block);
    for (int i = 0; i < 20; i++)
        block[i] ^= salt[i];
    int rc = sha1(set, block, name, n, out);
    if (rc == 0) {
        for (int i = 0; i < 64; i++)
            block[i] ^= 0x36 ^ 0x5c;
        rc = sha1(set, block, out, 20, out);
    }
    return rc;
}
