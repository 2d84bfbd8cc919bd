#include "launcher/targets/expression.h"

#include <string.h>

#include "launcher/targets/pattern.h"

#define SHOWN 60 /* bytes of a word that an error shows */

/* One word, which has no end of its own. */
struct word {
    const char *text, *end;
    int algebra; /* it has other operators than the comma */
};

struct reader {
    const struct expression_groups *groups;
    struct error *e;
};

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int is_operator(char c)
{
    return c == ',' || c == '!' || c == '&' || c == '^';
}

static const char *skip_spaces(const char *s, const char *end)
{
    while (s < end && is_space(*s))
        s++;
    return s;
}

/* The end of the term at s: a space or an operator outside of brackets, or the line's end. */
static const char *term_end(const char *s, const char *end)
{
    int depth = 0;

    for (; s < end && *s != '\n' && (depth > 0 || (!is_space(*s) && !is_operator(*s))); s++)
        depth += *s == '[' ? 1 : *s == ']' && depth > 0 ? -1 : 0;
    return s;
}

/* Finds the end of the word at w->text: spaces around an operator do not end it. */
static void find_end(struct word *w, const char *end)
{
    const char *s = w->text;

    w->algebra = 0;
    for (;;) {
        s = w->end = term_end(s, end);
        s = skip_spaces(s, end);
        if (s == end || !is_operator(*s))
            return;
        w->algebra |= *s != ',';
        w->end = s + 1;
        s = skip_spaces(s + 1, end);
    }
}

static int missing(const struct reader *r, const struct word *w, const char *at)
{
    size_t n = (size_t)(w->end - w->text);

    return errors_set(
        r->e, -E_ARGUMENT, "in '%.*s%s', character %zu: a name or a group is missing %s",
        (int)(n < SHOWN ? n : SHOWN), w->text, n < SHOWN ? "" : "...", (size_t)(at - w->text) + 1,
        at == w->text ? "before the operator" : "after the operator");
}

/* ---- terms ---- */

/* The names of groups are a pattern themselves: @rack[1-3]. */
static int add_groups(const struct reader *r, struct names *set, const char *s, size_t n)
{
    struct names groups = {0};
    int rc = 0;

    if (r->groups == NULL)
        return errors_set(r->e, -E_ARGUMENT, "'@%.*s': groups cannot be named here",
                          (int)(n < SHOWN ? n : SHOWN), s);
    if (n == 0)
        return errors_set(r->e, -E_ARGUMENT, "the name of a group is missing behind @");
    if (memchr(s, '[', n) == NULL)
        rc = names_add(&groups, s, n, NULL, r->e);
    else
        rc = pattern_expand(&groups, s, n, 0, r->e);
    for (size_t i = 0; i < groups.count && rc == 0; i++)
        rc = r->groups->add(r->groups->arg, names_at(&groups, i), set, r->e);
    names_clear(&groups);
    return rc;
}

static int add_term(const struct reader *r, struct names *set, const char *s, const char *end)
{
    if (*s == '@')
        return add_groups(r, set, s + 1, (size_t)(end - s - 1));
    return pattern_expand(set, s, (size_t)(end - s), 0, r->e);
}

/* What inventories make of names on the right side: who is to be taken from a set is there under
 * the name of its target. */
static int add_targets(const struct reader *r, const struct names *set, struct names *right)
{
    size_t count = right->count;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        const char *target = NULL, *name = names_at(right, i);
        rc = r->groups->target(r->groups->arg, name, &target, r->e);
        if (rc != 0 || target == NULL || names_find(set, target, strlen(target)) == NAMES_NONE)
            continue;
        if (names_find(set, name, names_length(right, i)) == NAMES_NONE)
            names_remove(right, i);
        rc = names_add(right, target, strlen(target), NULL, r->e);
    }
    return rc;
}

static int apply(const struct reader *r, struct names *set, char operation, const char *s,
                 const char *end)
{
    struct names right = {.limit = set->limit};
    int rc = add_term(r, &right, s, end);

    if (rc == 0 && *s != '@' && r->groups != NULL)
        rc = add_targets(r, set, &right);
    if (rc == 0 && operation == '!')
        names_subtract(set, &right);
    else if (rc == 0 && operation == '&')
        names_intersect(set, &right);
    else if (rc == 0)
        rc = names_differ(set, &right, r->e);
    names_clear(&right);
    return rc;
}

/* ---- words ---- */

static int evaluate(const struct reader *r, const struct word *w, struct names *set)
{
    const char *s = w->text;
    char operation = ',';

    for (;;) {
        const char *end = term_end(s, w->end);
        int rc;
        if (end == s)
            return missing(r, w, s);
        rc = operation == ',' ? add_term(r, set, s, end) : apply(r, set, operation, s, end);
        s = skip_spaces(end, w->end);
        if (rc != 0 || s == w->end)
            return rc;
        operation = *s;
        s = skip_spaces(s + 1, w->end);
    }
}

/* What is removed in a word stays in the set if another one has named it. */
static int add_word(const struct reader *r, const struct word *w, struct names *set)
{
    struct names own = {.limit = set->limit};
    int rc;

    if (!w->algebra)
        return evaluate(r, w, set);
    rc = evaluate(r, w, &own);
    if (rc == 0)
        rc = names_unite(set, &own, r->e);
    names_clear(&own);
    return rc;
}

static int add(struct names *set, const char *text, size_t n, int comments,
               const struct expression_groups *groups, struct error *e)
{
    const struct reader r = {.groups = groups, .e = e};
    const char *s = text, *end = text + n;
    size_t before;
    int rc = 0;

    names_compact(set);
    before = set->count;
    while (rc == 0 && (s = skip_spaces(s, end)) < end && !(comments && *s == '#')) {
        struct word w = {.text = s};
        find_end(&w, end);
        rc = add_word(&r, &w, set);
        s = w.end;
    }
    if (rc != 0)
        names_truncate(set, before);
    return rc;
}

int expression_add(struct names *set, const char *text, size_t n,
                   const struct expression_groups *groups, struct error *e)
{
    return add(set, text, n, 0, groups, e);
}

int expression_add_line(struct names *set, const char *line, size_t n,
                        const struct expression_groups *groups, struct error *e)
{
    return add(set, line, n, 1, groups, e);
}
