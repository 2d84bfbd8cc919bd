#include "launcher/targets/pattern.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/safetext.h"

#define SHOWN    60 /* bytes of a term that an error shows */
#define NUMBER_N (PATTERN_DIGITS_MAX + 1)

struct range {
    uint64_t first, last, step; /* of letters: their codes */
    size_t width;               /* of padded numbers; 0: as they are */
    int letters;
};

/* A bracket, and the text before it. */
struct dimension {
    const char *text;
    size_t length;
    size_t first, count; /* its ranges */
    size_t range;        /* while names are made: where it stands, */
    uint64_t value;
    size_t begin; /* and where it is in the name */
};

struct pattern {
    const char *text;
    size_t n;
    unsigned flags;
    struct error *e;
    struct dimension *dimensions;
    size_t dimension_count;
    struct range *ranges;
    size_t range_count, range_room;
    const char *tail; /* what follows the last bracket */
    size_t longest;   /* bytes of the longest name */
    uint64_t count;   /* of names; UINT64_MAX: that many or more */
};

/* at: where in the text it is. */
__attribute__((format(printf, 3, 4))) static int fail(const struct pattern *p, const char *at,
                                                      const char *format, ...)
{
    char cause[200];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(cause, sizeof cause, format, args);
    va_end(args);
    return errors_set(p->e, -E_ARGUMENT, "in '%.*s%s', character %zu: %s",
                      (int)(p->n < SHOWN ? p->n : SHOWN), p->text, p->n < SHOWN ? "" : "...",
                      (size_t)(at - p->text) + 1, cause);
}

/* ---- characters ---- */

/* Whether the host's name begins here. */
static int at_host(const struct pattern *p, const char *s)
{
    return s == p->text || s[-1] == '@' || (s - p->text >= 3 && strncmp(s - 3, "://", 3) == 0);
}

static int check_character(const struct pattern *p, const char *s)
{
    unsigned char c = (unsigned char)*s;

    if (c <= ' ' || c == 0x7f)
        return fail(p, s, "control characters and spaces cannot be in a name");
    if (c == ',' || c == '!' || c == '&' || c == '^' || (s == p->text && (c == '@' || c == '#')))
        return fail(p, s, "%c cannot be here in a name: it has a meaning between names", c);
    if (c == '*' || c == '?')
        return fail(p, s, "names have no wildcards: @* stands for all hosts of the groups");
    if (c == '-' && at_host(p, s))
        return fail(p, s, "a name cannot begin with -");
    return 0;
}

/* Text beyond ASCII must be what it looks like. */
static int check_text(const struct pattern *p)
{
    size_t i = 0;
    int same;

    while (i < p->n && (unsigned char)p->text[i] < 0x80)
        i++;
    if (i == p->n)
        return 0;
    char *safe = safetext_dup(p->text, p->n, 0);
    if (safe == NULL)
        return errors_set(p->e, -E_NOMEM, "a name");
    same = strlen(safe) == p->n && memcmp(safe, p->text, p->n) == 0;
    free(safe);
    return same ? 0 : fail(p, p->text + i, "invisible characters, or bytes that are not UTF-8");
}

/* ---- ranges ---- */

static int add_range(struct pattern *p, const struct range *r)
{
    if (p->range_count == p->range_room) {
        size_t room = p->range_room == 0 ? 8 : p->range_room * 2;
        struct range *ranges = realloc(p->ranges, room * sizeof *ranges);
        if (ranges == NULL)
            return errors_set(p->e, -E_NOMEM, "ranges");
        p->ranges = ranges;
        p->range_room = room;
    }
    p->ranges[p->range_count++] = *r;
    return 0;
}

static uint64_t values_of(const struct range *r)
{
    return (r->last - r->first) / r->step + 1;
}

/* The digits from s on, before end.  *digits: how many. */
static int read_number(const struct pattern *p, const char *s, const char *end, uint64_t *value,
                       size_t *digits)
{
    uint64_t v = 0;
    size_t n = 0;

    for (; s + n < end && s[n] >= '0' && s[n] <= '9'; n++) {
        if (n == PATTERN_DIGITS_MAX)
            return fail(p, s, "a number has at most %d digits", PATTERN_DIGITS_MAX);
        v = v * 10 + (uint64_t)(s[n] - '0');
    }
    if (n == 0)
        return fail(p, s, s == end ? "a number is missing" : "a number is wanted here");
    *value = v;
    *digits = n;
    return 0;
}

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Both ends of a range are there: s is the first one. */
static int check_ends(const struct pattern *p, const char *s, size_t first_digits,
                      size_t last_digits, const char *last, const struct range *r)
{
    int padded = (*s == '0' && first_digits > 1) || (*last == '0' && last_digits > 1);

    if (padded && first_digits != last_digits)
        return fail(p, last, "with leading zeros both ends have as many digits: %0*llu-%0*llu",
                    (int)(first_digits > last_digits ? first_digits : last_digits),
                    (unsigned long long)r->first,
                    (int)(first_digits > last_digits ? first_digits : last_digits),
                    (unsigned long long)r->last);
    if (r->last < r->first)
        return fail(p, s, "the range runs backwards: write %.*s%c%.*s", (int)last_digits, last,
                    p->flags & PATTERN_ANSIBLE ? ':' : '-', (int)first_digits, s);
    return 0;
}

static int read_step(const struct pattern *p, const char *s, const char *end, struct range *r)
{
    size_t digits = 0;
    int rc = read_number(p, s, end, &r->step, &digits);

    if (rc == 0 && r->step == 0)
        return fail(p, s, "a step of 0 leads nowhere: 1 or more");
    if (rc == 0 && s + digits < end)
        return fail(p, s + digits, "only a , or the ] may follow a step");
    return rc;
}

/* One element of a bracket, without the spaces around it. */
static int read_range(const struct pattern *p, const char *s, const char *end, struct range *r)
{
    const char join = p->flags & PATTERN_ANSIBLE ? ':' : '-', *first = s;
    const char stepper = p->flags & PATTERN_ANSIBLE ? ':' : '/';
    size_t digits, last_digits = 0;

    *r = (struct range){.step = 1};
    if (p->flags & PATTERN_ANSIBLE && end - s == 3 && is_letter(s[0]) && s[1] == join &&
        is_letter(s[2])) {
        *r = (struct range){(unsigned char)s[0], (unsigned char)s[2], 1, 0, 1};
        return s[0] <= s[2] ? 0 : fail(p, s, "the range runs backwards");
    }
    int rc = read_number(p, s, end, &r->first, &digits);
    if (rc != 0)
        return rc;
    r->last = r->first;
    r->width = *s == '0' && digits > 1 ? digits : 0;
    s += digits;
    if (s == end)
        return 0;
    if (*s != join)
        return fail(p, s, "a %c, a comma or the ] may follow a number", join);
    rc = read_number(p, s + 1, end, &r->last, &last_digits);
    if (rc == 0)
        rc = check_ends(p, first, digits, last_digits, s + 1, r);
    if (rc != 0)
        return rc;
    s += 1 + last_digits;
    if (s == end)
        return 0;
    return *s == stepper
               ? read_step(p, s + 1, end, r)
               : fail(p, s, "%c and a step, a comma or the ] may follow a range", stepper);
}

/* What stands between the bracket before s and that at end. */
static int read_ranges(struct pattern *p, const char *s, const char *end, uint64_t *values)
{
    int rc = 0;

    *values = 0;
    while (rc == 0) {
        struct range r;
        const char *comma = memchr(s, ',', (size_t)(end - s));
        const char *stop = comma == NULL ? end : comma;
        while (s < stop && *s == ' ')
            s++;
        while (stop > s && stop[-1] == ' ')
            stop--;
        rc = read_range(p, s, stop, &r);
        if (rc == 0)
            rc = add_range(p, &r);
        if (rc != 0)
            return rc;
        *values = *values > UINT64_MAX - values_of(&r) ? UINT64_MAX : *values + values_of(&r);
        if (comma == NULL)
            return 0;
        s = comma + 1;
    }
    return rc;
}

/* ---- the whole ---- */

/* Whether the bracket at s stands around an address. */
static int is_address(const struct pattern *p, const char *s)
{
    int depth = 0, colons = 0, pairs = 0;

    if (!at_host(p, s))
        return 0;
    for (; s < p->text + p->n && (*s != ']' || depth > 1); s++) {
        depth += *s == '[' ? 1 : *s == ']' ? -1 : 0;
        colons += depth == 1 && *s == ':';
        pairs += depth == 1 && *s == ':' && s[-1] == ':';
    }
    return p->flags & PATTERN_ANSIBLE ? pairs > 0 || colons > 2 : colons > 0;
}

/* A bracket with ranges begins at s, behind the text from `text` on.  *after: behind it. */
static int add_dimension(struct pattern *p, const char *text, const char *s, const char **after)
{
    const char *limit = p->text + p->n, *end = s + 1;
    struct dimension *d = &p->dimensions[p->dimension_count];
    uint64_t values = 1;

    while (end < limit && *end != ']' && *end != '[')
        end++;
    if (end == limit)
        return fail(p, s, "the [ is never closed: a ] is missing");
    if (*end == '[')
        return fail(p, end, "brackets in brackets");
    *d = (struct dimension){.text = text, .length = (size_t)(s - text), .first = p->range_count};
    int rc = strspn(s + 1, " ") >= (size_t)(end - s - 1)
                 ? fail(p, s, "the brackets are empty: numbers or ranges such as 1-20 belong there")
                 : read_ranges(p, s + 1, end, &values);
    if (rc != 0)
        return rc;
    d->count = p->range_count - d->first;
    p->dimension_count++;
    p->count = p->count > UINT64_MAX / values ? UINT64_MAX : p->count * values;
    p->longest += d->length + PATTERN_DIGITS_MAX;
    *after = end + 1;
    return 0;
}

static int parse(struct pattern *p)
{
    const char *s = p->text, *end = s + p->n, *text = s;
    int address = 0, rc = 0;

    while (s < end && rc == 0) {
        if (*s == '[' && !address && is_address(p, s)) {
            address = 1;
            s++;
        } else if (*s == '[') {
            rc = add_dimension(p, text, s, &s);
            text = s;
        } else if (*s == ']' && address) {
            address = 0;
            s++;
        } else if (*s == ']') {
            rc = fail(p, s, "a ] without a [ before it");
        } else {
            rc = address && strchr(",!&^@/", *s) != NULL
                     ? fail(p, s, "an address stands in brackets: nothing else may")
                     : check_character(p, s);
            s++;
        }
    }
    if (rc == 0 && address)
        rc = fail(p, end, "the [ before the address is never closed: a ] is missing");
    p->tail = text;
    p->longest += (size_t)(end - text);
    if (rc == 0 && p->longest > PATTERN_NAME_MAX)
        rc = fail(p, p->text, "a name has at most %d bytes", PATTERN_NAME_MAX);
    return rc == 0 ? check_text(p) : rc;
}

/* ---- names ---- */

/* The digits of a value, in at most NUMBER_N bytes. */
static size_t put_number(char *out, const struct range *r, uint64_t value)
{
    char digits[NUMBER_N];
    size_t n = 0;

    if (r->letters) {
        *out = (char)value;
        return 1;
    }
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (n < r->width)
        digits[n++] = '0';
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

static void reset(const struct pattern *p, struct dimension *d)
{
    d->range = 0;
    d->value = p->ranges[d->first].first;
}

/* To the next value; 0: there is none, and it stands at the first one again. */
static int advance(const struct pattern *p, struct dimension *d)
{
    const struct range *r = &p->ranges[d->first + d->range];

    if (r->last - d->value >= r->step) {
        d->value += r->step;
        return 1;
    }
    if (++d->range == d->count) {
        reset(p, d);
        return 0;
    }
    d->value = p->ranges[d->first + d->range].first;
    return 1;
}

/* Writes the name from dimension i on, which begins at d->begin.  Its length. */
static size_t write_name(const struct pattern *p, size_t i, char *name)
{
    size_t n = i < p->dimension_count ? p->dimensions[i].begin : 0;

    for (; i < p->dimension_count; i++) {
        struct dimension *d = &p->dimensions[i];
        d->begin = n;
        memcpy(name + n, d->text, d->length);
        n += d->length;
        n += put_number(name + n, &p->ranges[d->first + d->range], d->value);
    }
    size_t tail = (size_t)(p->text + p->n - p->tail);
    memcpy(name + n, p->tail, tail);
    return n + tail;
}

static int make_names(const struct pattern *p, struct names *set)
{
    char name[PATTERN_NAME_MAX];
    size_t from = 0;
    int rc = 0;

    names_expect(set, (size_t)p->count);
    for (size_t i = 0; i < p->dimension_count; i++)
        reset(p, &p->dimensions[i]);
    while (rc == 0) {
        rc = names_add(set, name, write_name(p, from, name), NULL, p->e);
        from = p->dimension_count;
        while (from > 0 && !advance(p, &p->dimensions[from - 1]))
            from--;
        if (from == 0)
            break;
        from--;
    }
    return rc;
}

/* Most names have no brackets: nothing is allocated for them. */
static int add_plain(struct names *set, const struct pattern *p)
{
    int rc = p->n > PATTERN_NAME_MAX
                 ? fail(p, p->text, "a name has at most %d bytes", PATTERN_NAME_MAX)
                 : 0;

    for (size_t i = 0; i < p->n && rc == 0; i++)
        rc = p->text[i] == ']' ? fail(p, p->text + i, "a ] without a [ before it")
                               : check_character(p, p->text + i);
    if (rc == 0)
        rc = check_text(p);
    return rc == 0 ? names_add(set, p->text, p->n, NULL, p->e) : rc;
}

int pattern_expand(struct names *set, const char *text, size_t n, unsigned flags, struct error *e)
{
    struct pattern p = {.text = text, .n = n, .flags = flags, .e = e, .count = 1};
    size_t brackets = 0;
    int rc;

    for (size_t i = 0; i < n; i++)
        brackets += text[i] == '[';
    if (brackets == 0)
        return add_plain(set, &p);
    p.dimensions = calloc(brackets, sizeof *p.dimensions);
    rc = p.dimensions == NULL ? errors_set(e, -E_NOMEM, "brackets") : parse(&p);
    if (rc == 0 && p.count > (set->limit == 0 ? NAMES_COUNT_MAX : set->limit))
        rc = errors_set(e, -E_LIMIT, "'%.*s%s' stands for %s%llu names: at most %zu",
                        (int)(n < SHOWN ? n : SHOWN), text, n < SHOWN ? "" : "...",
                        p.count == UINT64_MAX ? "more than " : "", (unsigned long long)p.count,
                        set->limit == 0 ? NAMES_COUNT_MAX : set->limit);
    if (rc == 0)
        rc = make_names(&p, set);
    free(p.dimensions);
    free(p.ranges);
    return rc;
}
