#include "launcher/cli/linediff.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT  3
#define WORK_MAX 1000 /* lines that differ: memory grows with the square of it */

struct line {
    const char *bytes;
    size_t n; /* with its newline, which the last one may lack */
};

struct text {
    struct line *lines;
    size_t count;
    unsigned char *changed; /* one for each line */
};

/* ---- lines ---- */

static int split(struct text *t, const char *bytes, size_t n)
{
    const char *end = bytes + n;
    size_t count = 1;

    for (size_t i = 0; i < n; i++)
        count += bytes[i] == '\n';
    t->lines = calloc(count, sizeof *t->lines);
    t->changed = calloc(count, 1);
    if (!t->lines || !t->changed)
        return -1;
    while (bytes < end) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        size_t length = newline ? (size_t)(newline - bytes) + 1 : (size_t)(end - bytes);

        t->lines[t->count++] = (struct line){bytes, length};
        bytes += length;
    }
    return 0;
}

static int same(const struct line *a, const struct line *b)
{
    return a->n == b->n && !memcmp(a->bytes, b->bytes, a->n);
}

/* ---- the shortest way from a to b, by Myers ---- */

struct search {
    const struct line *a, *b;
    int a_count, b_count;
    int **reached; /* for each number of changes d: the furthest x on diagonals -d to d */
};

/* The furthest x on diagonal k with d changes, from those with one less. */
static int furthest(const struct search *s, int d, int k)
{
    const int *before = d > 0 ? s->reached[d - 1] + d - 1 : NULL;
    int x = 0, y;

    if (before && (k == -d || (k != d && before[k - 1] < before[k + 1])))
        x = before[k + 1];
    else if (before)
        x = before[k - 1] + 1;
    for (y = x - k; x < s->a_count && y < s->b_count && y >= 0 && same(&s->a[x], &s->b[y]); y++)
        x++;
    return x;
}

/* Marks what has changed, from the end back. */
static void mark(const struct search *s, int d, unsigned char *a_changed, unsigned char *b_changed)
{
    int x = s->a_count, y = s->b_count;

    for (; d > 0; d--) {
        const int *before = s->reached[d - 1] + d - 1;
        int k = x - y, down = k == -d || (k != d && before[k - 1] < before[k + 1]);

        x = before[down ? k + 1 : k - 1];
        y = x - (down ? k + 1 : k - 1);
        if (down)
            b_changed[y] = 1;
        else
            a_changed[x] = 1;
    }
}

/* 0; 1: there is too much that differs; -1: memory is out. */
static int compare(struct search *s, unsigned char *a_changed, unsigned char *b_changed)
{
    for (int d = 0; d <= WORK_MAX; d++) {
        s->reached[d] = malloc((2 * (size_t)d + 1) * sizeof(int));
        if (!s->reached[d])
            return -1;
        for (int k = -d; k <= d; k += 2) {
            int x = furthest(s, d, k);

            s->reached[d][k + d] = x;
            if (k == s->a_count - s->b_count && x >= s->a_count) {
                mark(s, d, a_changed, b_changed);
                return 0;
            }
        }
    }
    return 1;
}

static int find_changes(struct text *a, struct text *b)
{
    size_t start = 0, a_end = a->count, b_end = b->count;
    struct search s;
    int rc;

    while (start < a_end && start < b_end && same(&a->lines[start], &b->lines[start]))
        start++;
    while (a_end > start && b_end > start && same(&a->lines[a_end - 1], &b->lines[b_end - 1])) {
        a_end--;
        b_end--;
    }
    if (a_end - start > INT32_MAX / 2 || b_end - start > INT32_MAX / 2)
        return -1;
    s = (struct search){a->lines + start, b->lines + start, (int)(a_end - start),
                        (int)(b_end - start), calloc(WORK_MAX + 1, sizeof(int *))};
    if (!s.reached)
        return -1;
    rc = compare(&s, a->changed + start, b->changed + start);
    for (int d = 0; d <= WORK_MAX; d++)
        free(s.reached[d]);
    free(s.reached);
    if (rc > 0) {
        memset(a->changed + start, 1, a_end - start);
        memset(b->changed + start, 1, b_end - start);
    }
    return rc < 0 ? -1 : 0;
}

/* ---- showing ---- */

static void show_line(FILE *f, char sign, const struct line *l)
{
    fputc(sign, f);
    fwrite(l->bytes, 1, l->n, f);
    if (l->n == 0 || l->bytes[l->n - 1] != '\n')
        fputs("\n\\ No newline at end of file\n", f);
}

struct hunk {
    size_t a, a_end, b, b_end;
};

/* The next one from here on; lines that are the same stand at equal distance from *h's ends.  False
 * when there is none. */
static int next_hunk(const struct text *a, const struct text *b, struct hunk *h)
{
    size_t i = h->a_end, j = h->b_end, calm = 0, before;

    while (i < a->count && j < b->count && !a->changed[i] && !b->changed[j]) {
        i++;
        j++;
    }
    if (i == a->count && j == b->count)
        return 0;
    before = i - h->a_end < CONTEXT ? i - h->a_end : CONTEXT;
    h->a = i - before;
    h->b = j - before;
    while ((i < a->count || j < b->count) && calm <= (size_t)2 * CONTEXT) {
        if (i < a->count && a->changed[i]) {
            i++;
            calm = 0;
        } else if (j < b->count && b->changed[j]) {
            j++;
            calm = 0;
        } else {
            i++;
            j++;
            calm++;
        }
    }
    calm = calm > CONTEXT ? calm - CONTEXT : 0;
    h->a_end = i - calm;
    h->b_end = j - calm;
    return 1;
}

static void show_range(FILE *f, char sign, size_t from, size_t to)
{
    /* An empty range is named by the line before it. */
    fprintf(f, "%c%zu", sign, to > from ? from + 1 : from);
    if (to - from != 1)
        fprintf(f, ",%zu", to - from);
}

static void show_hunk(FILE *f, const struct text *a, const struct text *b, const struct hunk *h)
{
    size_t i = h->a, j = h->b;

    fputs("@@ ", f);
    show_range(f, '-', h->a, h->a_end);
    fputc(' ', f);
    show_range(f, '+', h->b, h->b_end);
    fputs(" @@\n", f);
    while (i < h->a_end || j < h->b_end) {
        if (i < h->a_end && a->changed[i]) {
            show_line(f, '-', &a->lines[i++]);
        } else if (j < h->b_end && b->changed[j]) {
            show_line(f, '+', &b->lines[j++]);
        } else {
            show_line(f, ' ', &a->lines[i++]);
            j++;
        }
    }
}

char *linediff(const char *a, size_t a_length, const char *a_title, const char *b, size_t b_length,
               const char *b_title)
{
    struct text from = {0}, to = {0};
    struct hunk h = {0};
    char *text = NULL;
    size_t n = 0;
    int bad = split(&from, a, a_length) < 0 || split(&to, b, b_length) < 0 ||
              find_changes(&from, &to) < 0;
    FILE *f = bad ? NULL : open_memstream(&text, &n);

    if (f) {
        for (int any = 0; next_hunk(&from, &to, &h); any = 1) {
            if (!any)
                fprintf(f, "--- %s\n+++ %s\n", a_title, b_title);
            show_hunk(f, &from, &to, &h);
        }
        if (fclose(f) != 0) {
            free(text);
            text = NULL;
        }
    }
    free(from.lines);
    free(from.changed);
    free(to.lines);
    free(to.changed);
    return text;
}
