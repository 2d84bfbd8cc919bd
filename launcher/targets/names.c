#include "launcher/targets/names.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64
#define ROOM_MAX  ((size_t)UINT32_MAX / 4)
#define GONE      (UINT32_C(1) << 31)

void names_clear(struct names *set)
{
    free(set->text);
    free(set->at);
    free(set->hash);
    free(set->slots);
    *set = (struct names){.limit = set->limit};
}

static size_t begin_of(const struct names *set, size_t i)
{
    return i < set->count ? set->at[i] & ~GONE : set->used;
}

const char *names_at(const struct names *set, size_t i)
{
    return set->text + begin_of(set, i);
}

size_t names_length(const struct names *set, size_t i)
{
    return begin_of(set, i + 1) - begin_of(set, i) - 1;
}

int names_there(const struct names *set, size_t i)
{
    return (set->at[i] & GONE) == 0;
}

/* Keyed, so that nobody can make a list of names that all want one slot. */
static uint32_t hash_of(const struct names *set, const char *text, size_t n)
{
    unsigned char out[crypto_shorthash_BYTES];
    uint32_t hash;

    crypto_shorthash(out, (const unsigned char *)text, n, set->key);
    memcpy(&hash, out, sizeof hash);
    return hash;
}

/* The slot that has the name, there or gone, or the free one where it belongs.  There are free
 * ones. */
static size_t slot_of(const struct names *set, uint32_t hash, const char *text, size_t n)
{
    size_t mask = set->slot_count - 1, at = hash & mask;

    while (set->slots[at] != 0) {
        size_t i = set->slots[at] - 1;
        if (set->hash[i] == hash && names_length(set, i) == n &&
            memcmp(names_at(set, i), text, n) == 0)
            break;
        at = (at + 1) & mask;
    }
    return at;
}

size_t names_find(const struct names *set, const char *text, size_t n)
{
    if (set->count == 0)
        return NAMES_NONE;
    uint32_t number = set->slots[slot_of(set, hash_of(set, text, n), text, n)];
    return number == 0 || !names_there(set, number - 1) ? NAMES_NONE : number - 1;
}

/* Puts all names into their slots anew. */
static void fill_slots(struct names *set)
{
    size_t mask = set->slot_count - 1;

    if (set->slot_count == 0)
        return;
    memset(set->slots, 0, set->slot_count * sizeof *set->slots);
    for (size_t i = 0; i < set->count; i++) {
        size_t at = set->hash[i] & mask;
        while (set->slots[at] != 0)
            at = (at + 1) & mask;
        set->slots[at] = (uint32_t)i + 1;
    }
}

/* The same where names have gone: into fewer slots if few names are left, so that emptying a set
 * again and again costs no more than filling it. */
static void refill_slots(struct names *set)
{
    while (set->slot_count > SLOTS_MIN && set->slot_count / 8 > set->count)
        set->slot_count /= 2;
    fill_slots(set);
}

/* To at least so many slots. */
static int grow_slots(struct names *set, size_t least)
{
    size_t wanted = set->slot_count == 0 ? SLOTS_MIN : set->slot_count * 2;

    while (wanted < least)
        wanted *= 2;
    uint32_t *slots = sodium_init() < 0 ? NULL : malloc(wanted * sizeof *slots);

    if (slots == NULL)
        return -E_NOMEM;
    if (set->slot_count == 0)
        randombytes_buf(set->key, sizeof set->key);
    free(set->slots);
    set->slots = slots;
    set->slot_count = wanted;
    fill_slots(set);
    return 0;
}

/* Room for one more name. */
static int grow_names(struct names *set)
{
    size_t room = set->room == 0 ? SLOTS_MIN : set->room * 2;
    uint32_t *at = room > ROOM_MAX ? NULL : realloc(set->at, room * sizeof *at);

    if (at == NULL)
        return -E_NOMEM;
    set->at = at;
    uint32_t *hash = realloc(set->hash, room * sizeof *hash);
    if (hash == NULL)
        return -E_NOMEM;
    set->hash = hash;
    set->room = room;
    return 0;
}

/* Room for n more bytes of text. */
static int grow_text(struct names *set, size_t n)
{
    size_t size = set->size == 0 ? 4096 : set->size;

    while (size - set->used < n)
        size *= 2;
    char *text = realloc(set->text, size);
    if (text == NULL)
        return -E_NOMEM;
    set->text = text;
    set->size = size;
    return 0;
}

static int grow(struct names *set, size_t n)
{
    int rc = set->count < set->room ? 0 : grow_names(set);

    if (rc == 0 && set->size - set->used <= n)
        rc = grow_text(set, n + 1);
    if (rc == 0 && (set->count + 1) * 2 > set->slot_count)
        rc = grow_slots(set, 0);
    return rc;
}

/* Room for one more name, of n bytes. */
static int prepare(struct names *set, size_t n, struct error *e)
{
    size_t limit = set->limit == 0 ? NAMES_COUNT_MAX : set->limit;

    if (set->count - set->gone >= limit)
        return errors_set(e, -E_LIMIT, "more than %zu names", limit);
    if (n >= NAMES_TEXT_MAX - set->used)
        return errors_set(e, -E_LIMIT, "the names have more than %zu bytes", NAMES_TEXT_MAX);
    if (grow(set, n) != 0)
        return errors_set(e, -E_NOMEM, "%zu names", set->count);
    return 0;
}

int names_add(struct names *set, const char *text, size_t n, size_t *number, struct error *e)
{
    int rc = set->slot_count == 0 ? grow_slots(set, 0) : 0;
    uint32_t hash = rc == 0 ? hash_of(set, text, n) : 0;
    size_t slot = rc == 0 ? slot_of(set, hash, text, n) : 0, slots = set->slot_count;
    size_t found = rc == 0 ? set->slots[slot] : 0;

    if (rc != 0)
        return errors_set(e, rc, "names");
    if (number != NULL)
        *number = found == 0 ? set->count : found - 1;
    if (found != 0) {
        set->gone -= !names_there(set, found - 1);
        set->at[found - 1] &= ~GONE;
        return 0;
    }
    rc = prepare(set, n, e);
    if (rc != 0)
        return rc;
    if (set->slot_count != slots)
        slot = slot_of(set, hash, text, n);
    set->slots[slot] = (uint32_t)set->count + 1;
    memcpy(set->text + set->used, text, n);
    set->text[set->used + n] = '\0';
    set->at[set->count] = (uint32_t)set->used;
    set->hash[set->count] = hash;
    set->used += n + 1;
    set->count++;
    return 0;
}

void names_expect(struct names *set, size_t more)
{
    size_t wanted = (set->count + more) * 2;

    if (more <= NAMES_COUNT_MAX && wanted > set->slot_count)
        (void)grow_slots(set, wanted);
}

int names_unite(struct names *set, const struct names *other, struct error *e)
{
    int rc = 0;

    for (size_t i = 0; i < other->count && rc == 0; i++)
        if (names_there(other, i))
            rc = names_add(set, names_at(other, i), names_length(other, i), NULL, e);
    return rc;
}

void names_remove(struct names *set, size_t i)
{
    set->gone += (size_t)names_there(set, i);
    set->at[i] |= GONE;
}

void names_subtract(struct names *set, const struct names *other)
{
    for (size_t i = 0; i < other->count; i++) {
        size_t found = names_there(other, i)
                           ? names_find(set, names_at(other, i), names_length(other, i))
                           : NAMES_NONE;
        if (found != NAMES_NONE)
            names_remove(set, found);
    }
}

void names_intersect(struct names *set, const struct names *other)
{
    for (size_t i = 0; i < set->count; i++)
        if (names_there(set, i) &&
            names_find(other, names_at(set, i), names_length(set, i)) == NAMES_NONE)
            names_remove(set, i);
    names_compact(set);
}

int names_differ(struct names *set, const struct names *other, struct error *e)
{
    int rc = 0;

    for (size_t i = 0; i < other->count && rc == 0; i++) {
        size_t n = names_length(other, i), found;
        if (!names_there(other, i))
            continue;
        found = names_find(set, names_at(other, i), n);
        if (found != NAMES_NONE)
            names_remove(set, found);
        else
            rc = names_add(set, names_at(other, i), n, NULL, e);
    }
    return rc;
}

void names_compact(struct names *set)
{
    size_t kept = 0, used = 0;

    if (set->gone == 0)
        return;
    for (size_t i = 0; i < set->count; i++) {
        const char *name = names_at(set, i);
        size_t n = names_length(set, i);
        if (!names_there(set, i))
            continue;
        memmove(set->text + used, name, n + 1);
        set->at[kept] = (uint32_t)used;
        set->hash[kept++] = set->hash[i];
        used += n + 1;
    }
    set->count = kept;
    set->used = used;
    set->gone = 0;
    refill_slots(set);
}

void names_truncate(struct names *set, size_t count)
{
    names_compact(set);
    if (count >= set->count)
        return;
    set->used = set->at[count];
    set->count = count;
    refill_slots(set);
}
