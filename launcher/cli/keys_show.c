/* What hosts have shown, those with the same key together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/keys_impl.h"
#include "launcher/cli/say.h"

#define LINES_SHOWN 8

static int compare_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "");
}

/* The state, then the key, then what it differs from: equal ones follow each other. */
static int compare_key(const struct keys_found *a, const struct keys_found *b)
{
    if (a->state != b->state)
        return a->state < b->state ? -1 : 1;
    return compare_text(a->fingerprint, b->fingerprint);
}

static int compare_line(const struct keys_found *a, const struct keys_found *b)
{
    int order = compare_text(a->old_fingerprint, b->old_fingerprint);

    return order ? order : compare_text(a->file, b->file);
}

static int compare(const void *left, const void *right)
{
    const struct keys_found *a = left, *b = right;
    int order = compare_key(a, b);

    order = order ? order : compare_line(a, b);
    return order ? order : (a->host > b->host) - (a->host < b->host);
}

char *keys_show_hosts(const struct keys *k, const struct keys_found *found, size_t n)
{
    const char **names = malloc((n + 1) * sizeof *names);
    char *folded = NULL, *text = NULL;

    for (size_t i = 0; names && i < n; i++)
        names[i] = k->names[found[i].host];
    if (names)
        folded = grapnel_targets_fold_names(names, n);
    if (folded && asprintf(&text, "%s (%zu)", folded, n) < 0)
        text = NULL;
    grapnel_string_free(folded);
    free(names);
    return text;
}

static void put_hosts(const struct keys *k, const struct keys_found *found, size_t n)
{
    char *hosts = keys_show_hosts(k, found, n);

    say_text(stdout, hosts ? hosts : "?");
    free(hosts);
}

/* "FILE:12,13" of keys with the same file. */
static void put_lines(const struct keys_found *found, size_t n)
{
    int shown = 0;

    say_text(stdout, found->file);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && found[i].line == found[i - 1].line)
            continue; /* several names in it */
        if (shown++ == LINES_SHOWN) {
            fputs(",...", stdout);
            break;
        }
        printf("%c%ld", i ? ',' : ':', found[i].line);
    }
}

/* What n keys with the same fingerprint differ from, or are marked by. */
static void put_places(const struct keys *k, const struct keys_found *found, size_t n)
{
    for (size_t i = 0, same; i < n; i += same) {
        const struct keys_found *f = &found[i];

        for (same = 1; i + same < n && compare_line(f, f + same) == 0;)
            same++;
        if (!f->file || f->state == KEYS_KNOWN || f->state == KEYS_NEW)
            continue;
        if (f->old_fingerprint)
            printf("    instead of %s %s in ", f->old_type, f->old_fingerprint);
        else
            fputs("    marked so in ", stdout);
        put_lines(f, same);
        if (same < n) {
            fputs(": ", stdout);
            put_hosts(k, f, same);
        }
        fputs(f->own || f->state == KEYS_REVOKED ? "\n" : ", which is not yours to change\n",
              stdout);
    }
}

static void put_key(const struct keys *k, const struct keys_found *found, size_t n)
{
    static const char *const titles[KEYS_STATES] = {"REVOKED", "CHANGED", "new",
                                                    "not known, but an authority is", "known"};

    printf("%s: %s %s: ", titles[found->state], found->type, found->fingerprint);
    put_hosts(k, found, n);
    putchar('\n');
    put_places(k, found, n);
}

int keys_show(struct keys *k, const struct options *o, struct grapnel_error *error)
{
    size_t known = 0;

    if (k->count)
        qsort(k->found, k->count, sizeof *k->found, compare);
    for (size_t i = 0, same; i < k->count; i += same) {
        for (same = 1; i + same < k->count && compare_key(&k->found[i], &k->found[i + same]) == 0;)
            same++;
        if (k->found[i].state != KEYS_KNOWN || o->known)
            put_key(k, &k->found[i], same);
        else
            known += same;
    }
    if (known && !o->quiet)
        printf("known: %zu key%s\n", known, known == 1 ? "" : "s");
    return say_flush(error);
}
