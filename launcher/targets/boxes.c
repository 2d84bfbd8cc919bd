#include "launcher/targets/boxes.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/targets/numbers.h"
#include "proto/errors.h"

/* Columns that are folded: those with the most different numbers.  More are hardly meant as such,
 * and each costs a pass over all boxes. */
#define FOLDED_MAX 8
#define ROUNDS     4      /* a merge in one column may allow another one in a column before it */
#define TRIED_MAX  250000 /* rows for which both orders are tried */
#define NONE       UINT32_MAX

/* In which order columns are folded: neither is better for all sets. */
enum boxes_order { LAST_FIRST, MOST_FIRST };

/* A set of numbers, once however many boxes have it. */
struct set {
    size_t first; /* in `numbers` */
    uint32_t count;
    uint32_t column;
    uint64_t hash;
};

struct boxes {
    size_t columns, count; /* columns; boxes */
    uint32_t *sides;       /* of box i the sets from i * columns on */
    uint64_t *hash;        /* of each box: a sum over its sides */
    uint32_t *next;        /* within a pass: another box that merges with this one */
    uint32_t *slots;       /* boxes by what they have but for one column */
    size_t slot_count;

    struct set *sets;
    uint32_t set_count;
    size_t set_room;
    uint32_t *set_slots;
    size_t set_slot_count; /* more than set_room */
    uint64_t *numbers;
    size_t number_count, number_room;

    uint64_t *scratch;
    size_t scratch_room;
    uint32_t *different; /* numbers in each column */
    uint64_t secret;
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* What a side adds to the hash of its box. */
static uint64_t side_hash(const struct boxes *b, size_t column, uint32_t set)
{
    return mix(b->secret ^ ((uint64_t)set * FOLDED_MAX * 128 + column));
}

/* ---- sets ---- */

static int grow_sets(struct boxes *b)
{
    size_t room = b->set_room == 0 ? 64 : b->set_room * 2, mask = room * 2 - 1;
    struct set *sets = realloc(b->sets, room * sizeof *sets);

    if (sets == NULL)
        return -E_NOMEM;
    b->sets = sets;
    uint32_t *slots = realloc(b->set_slots, room * 2 * sizeof *slots);
    if (slots == NULL)
        return -E_NOMEM;
    b->set_slots = slots;
    b->set_room = room;
    b->set_slot_count = room * 2;
    memset(slots, 0xff, room * 2 * sizeof *slots);
    for (uint32_t i = 0; i < b->set_count; i++) {
        size_t at = b->sets[i].hash & mask;
        while (slots[at] != NONE)
            at = (at + 1) & mask;
        slots[at] = i;
    }
    return 0;
}

static int grow_numbers(struct boxes *b, size_t n)
{
    size_t room = b->number_room == 0 ? 256 : b->number_room;

    while (room - b->number_count < n)
        room *= 2;
    if (room == b->number_room)
        return 0;
    uint64_t *numbers = realloc(b->numbers, room * sizeof *numbers);
    if (numbers == NULL)
        return -E_NOMEM;
    b->numbers = numbers;
    b->number_room = room;
    return 0;
}

static uint64_t set_hash(const struct boxes *b, uint32_t column, const uint64_t *numbers,
                         size_t count)
{
    uint64_t hash = b->secret + column;

    for (size_t i = 0; i < count; i++)
        hash = mix(hash ^ mix(numbers[i] ^ b->secret));
    return hash;
}

/* The set of these numbers in this column, which is made if there is none. */
static int set_of(struct boxes *b, size_t column, const uint64_t *numbers, size_t count,
                  uint32_t *number)
{
    uint64_t hash = set_hash(b, (uint32_t)column, numbers, count);

    if (b->set_count == b->set_room && grow_sets(b) != 0)
        return -E_NOMEM;
    size_t mask = b->set_slot_count - 1, at = hash & mask;
    for (; b->set_slots[at] != NONE; at = (at + 1) & mask) {
        const struct set *s = &b->sets[b->set_slots[at]];
        if (s->hash == hash && s->column == column && s->count == count &&
            memcmp(b->numbers + s->first, numbers, count * sizeof *numbers) == 0) {
            *number = b->set_slots[at];
            return 0;
        }
    }
    if (grow_numbers(b, count) != 0)
        return -E_NOMEM;
    memcpy(b->numbers + b->number_count, numbers, count * sizeof *numbers);
    b->sets[b->set_count] = (struct set){b->number_count, (uint32_t)count, (uint32_t)column, hash};
    b->number_count += count;
    *number = b->set_slots[at] = b->set_count++;
    return 0;
}

/* ---- merging ---- */

/* Boxes that differ in this column only? */
static int alike(const struct boxes *b, size_t column, size_t i, size_t j)
{
    const uint32_t *x = b->sides + i * b->columns, *y = b->sides + j * b->columns;

    return memcmp(x, y, column * sizeof *x) == 0 &&
           memcmp(x + column + 1, y + column + 1, (b->columns - column - 1) * sizeof *x) == 0;
}

/* Appends the box's numbers in this column to the scratch space, which has *used of them. */
static int gather(struct boxes *b, size_t column, size_t box, size_t *used)
{
    const struct set *s = &b->sets[b->sides[box * b->columns + column]];

    if (b->scratch_room - *used < s->count) {
        size_t room = (*used + s->count) * 2;
        uint64_t *scratch = realloc(b->scratch, room * sizeof *scratch);
        if (scratch == NULL)
            return -E_NOMEM;
        b->scratch = scratch;
        b->scratch_room = room;
    }
    memcpy(b->scratch + *used, b->numbers + s->first, s->count * sizeof *b->scratch);
    *used += s->count;
    return 0;
}

/* Gives box i the numbers of all that merge with it. */
static int merge(struct boxes *b, size_t column, size_t i)
{
    uint32_t *side = &b->sides[i * b->columns + column], set = 0;
    size_t used = 0;
    int rc = gather(b, column, i, &used);

    for (uint32_t j = b->next[i]; j != NONE && rc == 0; j = b->next[j])
        rc = gather(b, column, j, &used);
    if (rc == 0)
        rc = set_of(b, column, b->scratch, numbers_sort(b->scratch, used), &set);
    if (rc != 0)
        return rc;
    b->hash[i] += side_hash(b, column, set) - side_hash(b, column, *side);
    *side = set;
    return 0;
}

/* Links each box to the first one that it merges with, and marks it.  How many. */
static size_t link_alike(struct boxes *b, size_t column, unsigned char *linked)
{
    size_t mask = b->slot_count - 1, links = 0;

    memset(b->slots, 0xff, b->slot_count * sizeof *b->slots);
    memset(b->next, 0xff, b->count * sizeof *b->next);
    memset(linked, 0, b->count);
    for (size_t i = 0; i < b->count; i++) {
        uint64_t key = b->hash[i] - side_hash(b, column, b->sides[i * b->columns + column]);
        size_t at = mix(key) & mask;
        for (; b->slots[at] != NONE; at = (at + 1) & mask) {
            uint32_t j = b->slots[at];
            uint64_t other = b->hash[j] - side_hash(b, column, b->sides[j * b->columns + column]);
            if (other != key || !alike(b, column, i, j))
                continue;
            b->next[i] = b->next[j];
            b->next[j] = (uint32_t)i;
            linked[i] = 1;
            links++;
            break;
        }
        if (b->slots[at] == NONE)
            b->slots[at] = (uint32_t)i;
    }
    return links;
}

/* Merges boxes that differ in one column only.  *merged: how many have gone. */
static int pass(struct boxes *b, size_t column, size_t *merged)
{
    unsigned char *linked = malloc(b->count + 1);
    size_t kept = 0;
    int rc = 0;

    if (linked == NULL)
        return -E_NOMEM;
    *merged = link_alike(b, column, linked);
    for (size_t i = 0; *merged > 0 && i < b->count && rc == 0; i++) {
        if (linked[i])
            continue;
        if (b->next[i] != NONE)
            rc = merge(b, column, i);
        memmove(b->sides + kept * b->columns, b->sides + i * b->columns,
                b->columns * sizeof *b->sides);
        b->hash[kept++] = b->hash[i];
    }
    if (*merged > 0)
        b->count = kept;
    free(linked);
    return rc;
}

/* ---- the whole ---- */

/* One box for each row. */
static int fill(struct boxes *b, const uint64_t *rows)
{
    int rc = 0;

    for (size_t i = 0; i < b->count && rc == 0; i++) {
        for (size_t c = 0; c < b->columns && rc == 0; c++) {
            uint32_t *side = &b->sides[i * b->columns + c], sets = b->set_count;
            rc = set_of(b, c, &rows[i * b->columns + c], 1, side);
            b->different[c] += b->set_count > sets;
            b->hash[i] += rc == 0 ? side_hash(b, c, *side) : 0;
        }
    }
    return rc;
}

static int prepare(struct boxes *b, size_t count, size_t columns)
{
    b->columns = columns;
    b->count = count;
    b->slot_count = 16;
    while (b->slot_count < count * 2)
        b->slot_count *= 2;
    b->sides = calloc(count * columns, sizeof *b->sides);
    b->hash = calloc(count, sizeof *b->hash);
    b->next = malloc(count * sizeof *b->next);
    b->slots = malloc(b->slot_count * sizeof *b->slots);
    b->different = calloc(columns, sizeof *b->different);
    randombytes_buf(&b->secret, sizeof b->secret);
    return b->sides && b->hash && b->next && b->slots && b->different ? 0 : -E_NOMEM;
}

/* The column with the most different numbers of those not taken yet; the last of several. */
static size_t choose(const struct boxes *b, const unsigned char *taken)
{
    size_t best = SIZE_MAX;

    for (size_t c = 0; c < b->columns; c++)
        if (!taken[c] && (best == SIZE_MAX || b->different[c] >= b->different[best]))
            best = c;
    return best;
}

/* The columns that are folded, in which order.  How many. */
static size_t plan(const struct boxes *b, enum boxes_order how, unsigned char *taken, size_t *order)
{
    size_t chosen = 0;

    for (; chosen < FOLDED_MAX && chosen < b->columns; chosen++) {
        order[chosen] = choose(b, taken);
        taken[order[chosen]] = 1;
    }
    if (how == LAST_FIRST) {
        size_t at = 0;
        for (size_t c = b->columns; c-- > 0;)
            if (taken[c])
                order[at++] = c;
    }
    return chosen;
}

static int merge_all(struct boxes *b, enum boxes_order how)
{
    size_t order[FOLDED_MAX] = {0}, merged = 1;
    unsigned char *taken = calloc(b->columns, 1);
    int rc = 0;

    if (taken == NULL)
        return -E_NOMEM;
    size_t chosen = plan(b, how, taken, order);
    free(taken);
    for (int round = 0; round < ROUNDS && merged > 0 && rc == 0; round++) {
        merged = 0;
        for (size_t i = 0; i < chosen && rc == 0; i++) {
            size_t gone = 0;
            if (b->different[order[i]] > 1)
                rc = pass(b, order[i], &gone);
            merged += gone;
        }
    }
    return rc;
}

/* A box to be put in order. */
struct place {
    const struct boxes *b;
    size_t box;
};

static uint64_t least(const struct place *p, size_t column)
{
    return p->b->numbers[p->b->sets[p->b->sides[p->box * p->b->columns + column]].first];
}

static int compare(const void *x, const void *y)
{
    const struct place *a = x, *b = y;

    for (size_t c = 0; c < a->b->columns; c++) {
        uint64_t first = least(a, c), second = least(b, c);
        if (first != second)
            return first < second ? -1 : 1;
    }
    return 0;
}

static int give(const struct boxes *b, int (*each)(void *arg, const struct boxes_side *sides),
                void *arg)
{
    struct place *places = malloc(b->count * sizeof *places);
    struct boxes_side *sides = malloc(b->columns * sizeof *sides);
    int rc = places == NULL || sides == NULL ? -E_NOMEM : 0;

    for (size_t i = 0; i < b->count && rc == 0; i++)
        places[i] = (struct place){b, i};
    if (rc == 0)
        qsort(places, b->count, sizeof *places, compare);
    for (size_t i = 0; i < b->count && rc == 0; i++) {
        for (size_t c = 0; c < b->columns; c++) {
            const struct set *s = &b->sets[b->sides[places[i].box * b->columns + c]];
            sides[c] = (struct boxes_side){b->numbers + s->first, s->count};
        }
        rc = each(arg, sides);
    }
    free(places);
    free(sides);
    return rc;
}

static void clear(struct boxes *b)
{
    free(b->sides);
    free(b->hash);
    free(b->next);
    free(b->slots);
    free(b->different);
    free(b->sets);
    free(b->set_slots);
    free(b->numbers);
    free(b->scratch);
    *b = (struct boxes){.columns = 0};
}

static int fold(struct boxes *b, const uint64_t *rows, size_t count, size_t columns,
                enum boxes_order how)
{
    int rc = prepare(b, count, columns);

    if (rc == 0)
        rc = fill(b, rows);
    return rc == 0 ? merge_all(b, how) : rc;
}

int boxes_fold(const uint64_t *rows, size_t count, size_t columns,
               int (*each)(void *arg, const struct boxes_side *sides), void *arg)
{
    struct boxes b = {.columns = 0}, other = {.columns = 0};
    int rc = count >= NONE ? -E_LIMIT : fold(&b, rows, count, columns, LAST_FIRST);

    if (rc == 0 && b.count > 1 && columns > 1 && count <= TRIED_MAX)
        rc = fold(&other, rows, count, columns, MOST_FIRST);
    if (rc == 0)
        rc = give(other.count > 0 && other.count < b.count ? &other : &b, each, arg);
    clear(&b);
    clear(&other);
    return rc;
}
