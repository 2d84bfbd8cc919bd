#include "launcher/targets/fold.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/targets/boxes.h"
#include "launcher/targets/names.h"
#include "launcher/targets/numbers.h"
#include "launcher/targets/pattern.h"
#include "proto/wire.h"

/* Names that are alike but for their numbers.  Their stem has a single 0 for each number; longer
 * runs of digits are none that ranges can have, and are left as they are. */
struct group {
    const char *stem;
    uint64_t order; /* the stem's first bytes */
    size_t columns; /* numbers in each name */
    size_t count;   /* names */
    size_t first;   /* of its numbers in fold.numbers; while they are read: where the next go */
};

struct fold {
    const char *(*at)(const void *arg, size_t i);
    const void *arg;
    size_t count;
    struct names stems; /* number i belongs to group i */
    uint32_t *group_of; /* each name's */
    struct group *groups;
    uint64_t *numbers; /* group by group, name by name */
    struct wire_buf out;
};

/* ---- stems and numbers ---- */

/* Takes a name apart: its stem to `stem` if that is not NULL, its numbers to `numbers` likewise.
 * How many numbers there are; *length: of the stem. */
static size_t take_apart(const char *name, char *stem, size_t *length, uint64_t *numbers)
{
    size_t n = strlen(name), used = 0, columns = 0;

    for (size_t i = 0; i < n;) {
        size_t digits = numbers_digits(name + i, n - i);
        size_t step = digits == 0 ? 1 : digits;
        if (digits > 0 && digits <= PATTERN_DIGITS_MAX) {
            if (numbers != NULL)
                numbers[columns] = numbers_read(name + i, digits);
            columns++;
            if (stem != NULL)
                stem[used] = '0';
            used++;
        } else {
            if (stem != NULL)
                memcpy(stem + used, name + i, step);
            used += step;
        }
        i += step;
    }
    *length = used;
    return columns;
}

/* Finds each name's group. */
static int find_groups(struct fold *f)
{
    char small[PATTERN_NAME_MAX + 1], *stem = small, *large = NULL;
    size_t room = sizeof small, length, number = 0;
    struct error e;
    int rc = 0;

    for (size_t i = 0; i < f->count && rc == 0; i++) {
        const char *name = f->at(f->arg, i);
        size_t n = strlen(name);
        if (n > room) { /* a name of no set */
            free(large);
            room = n * 2;
            stem = large = malloc(room);
        }
        if (stem == NULL) {
            rc = -E_NOMEM;
            break;
        }
        (void)take_apart(name, stem, &length, NULL);
        /* Most names follow one of their kind. */
        if (i == 0 || names_length(&f->stems, number) != length ||
            memcmp(names_at(&f->stems, number), stem, length) != 0)
            rc = names_add(&f->stems, stem, length, &number, &e);
        f->group_of[i] = (uint32_t)number;
    }
    free(large);
    return rc;
}

/* Numbers are looked at in a stem as in a name. */
static void describe(struct group *g, const char *stem)
{
    unsigned char order[8] = {0};
    size_t n = strlen(stem);

    g->stem = stem;
    memcpy(order, stem, n < sizeof order ? n : sizeof order);
    for (size_t i = 0; i < sizeof order; i++)
        g->order = g->order << 8 | order[i];
    g->columns = take_apart(stem, NULL, &n, NULL);
}

/* Makes the groups, and reads the numbers of all names. */
static int read_numbers(struct fold *f)
{
    size_t total = 0, length;

    f->groups = calloc(f->stems.count + 1, sizeof *f->groups);
    if (f->groups == NULL)
        return -E_NOMEM;
    for (size_t i = 0; i < f->stems.count; i++)
        describe(&f->groups[i], names_at(&f->stems, i));
    for (size_t i = 0; i < f->count; i++)
        f->groups[f->group_of[i]].count++;
    for (size_t i = 0; i < f->stems.count; i++) {
        f->groups[i].first = total;
        total += f->groups[i].count * f->groups[i].columns;
    }
    f->numbers = malloc((total + 1) * sizeof *f->numbers);
    if (f->numbers == NULL)
        return -E_NOMEM;
    for (size_t i = 0; i < f->count; i++) {
        struct group *g = &f->groups[f->group_of[i]];
        g->first += take_apart(f->at(f->arg, i), NULL, &length, f->numbers + g->first);
    }
    for (size_t i = 0; i < f->stems.count; i++)
        f->groups[i].first -= f->groups[i].count * f->groups[i].columns;
    return 0;
}

/* ---- terms ---- */

/* One group, while its terms are written. */
struct writer {
    struct wire_buf *out;
    const struct group *g;
    const uint64_t *constant;  /* the numbers of its first name */
    const unsigned char *same; /* of each column: all names have that number */
    size_t varying;            /* how many columns are not so */
};

/* Writes a term; sides: of the columns that are not the same everywhere. */
static int put_term(void *arg, const struct boxes_side *sides)
{
    const struct writer *w = arg;
    const char *s = w->g->stem;
    size_t n = strlen(s), column = 0, side = 0;
    int rc = wire_length(w->out) == 0 ? 0 : wire_put_u8(w->out, ',');

    for (size_t i = 0; i < n && rc == 0;) {
        size_t digits = numbers_digits(s + i, n - i);
        size_t step = digits == 0 ? 1 : digits;
        if (digits != 1)
            rc = wire_put(w->out, s + i, step);
        else if (w->same[column++] || side == w->varying)
            rc = numbers_put(w->out, &w->constant[column - 1], 1);
        else {
            rc = numbers_put(w->out, sides[side].numbers, sides[side].count);
            side++;
        }
        i += step;
    }
    return rc;
}

/* Which columns have one number only; leaves the others in `numbers`, close together.  How many. */
static size_t squeeze(const struct group *g, uint64_t *numbers, unsigned char *same)
{
    size_t varying = 0, used = 0;

    memset(same, 1, g->columns);
    for (size_t i = g->columns; i < g->count * g->columns; i++)
        same[i % g->columns] &= numbers[i] == numbers[i % g->columns];
    for (size_t c = 0; c < g->columns; c++)
        varying += !same[c];
    for (size_t i = 0; varying > 0 && i < g->count * g->columns; i++)
        if (!same[i % g->columns])
            numbers[used++] = numbers[i];
    return varying;
}

static int put_group(struct fold *f, const struct group *g)
{
    uint64_t *numbers = f->numbers + g->first;
    uint64_t *constant = malloc((g->columns + 1) * sizeof *constant);
    unsigned char *same = calloc(g->columns + 1, 1);
    struct writer w = {&f->out, g, constant, same, 0};
    int rc = constant == NULL || same == NULL ? -E_NOMEM : 0;

    if (rc == 0 && g->columns > 0)
        memcpy(constant, numbers, g->columns * sizeof *constant);
    w.varying = rc == 0 && g->columns > 0 ? squeeze(g, numbers, same) : 0;
    if (rc == 0 && w.varying > 1) {
        rc = boxes_fold(numbers, g->count, w.varying, put_term, &w);
    } else if (rc == 0) {
        struct boxes_side side = {numbers, w.varying == 0 ? 0 : numbers_sort(numbers, g->count)};
        rc = put_term(&w, &side);
    }
    free(constant);
    free(same);
    return rc;
}

static int compare(const void *a, const void *b)
{
    const struct group *x = a, *y = b;

    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return strcmp(x->stem, y->stem);
}

int fold_names(const char *(*at)(const void *arg, size_t i), const void *arg, size_t count,
               char **out)
{
    struct fold f = {.at = at, .arg = arg, .count = count};
    int rc = 0;

    *out = NULL;
    f.group_of = malloc((count + 1) * sizeof *f.group_of);
    rc = f.group_of == NULL ? -E_NOMEM : find_groups(&f);
    if (rc == 0)
        rc = read_numbers(&f);
    if (rc == 0)
        qsort(f.groups, f.stems.count, sizeof *f.groups, compare);
    for (size_t i = 0; i < f.stems.count && rc == 0; i++)
        rc = put_group(&f, &f.groups[i]);
    if (rc == 0)
        rc = wire_put_u8(&f.out, '\0');
    if (rc == 0) {
        *out = malloc(wire_length(&f.out));
        rc = *out == NULL ? -E_NOMEM : 0;
    }
    if (rc == 0)
        memcpy(*out, wire_data(&f.out), wire_length(&f.out));
    wire_free(&f.out);
    free(f.group_of);
    free(f.groups);
    free(f.numbers);
    names_clear(&f.stems);
    return rc;
}
