#include "launcher/cli/fleet/fleet_parts.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/say.h"

#define PIECE 6144 /* bytes: three of them are four of base64 */

struct part {
    struct part *next;
    struct fleet_kept kept;
    uint64_t at;     /* so much of it has gone */
    const char *key; /* of a member; NULL: it is none */
    int base64;      /* the member's text is not UTF-8 */
    int begun;       /* the member's name has gone */
    struct fleet_lines lines;
    fleet_lines_tell *tell; /* NULL: these are no lines */
    void *arg;
};

struct fleet_parts {
    struct fleet_store *store;
    struct fleet_flow *flow;
    size_t flags; /* jansson's, for strings */
    struct part *first, **last;
};

struct fleet_parts *fleet_parts_new(struct fleet_store *s, struct fleet_flow *flow, int ascii)
{
    struct fleet_parts *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->store = s;
    p->flow = flow;
    p->flags = JSON_ENCODE_ANY | (ascii ? JSON_ENSURE_ASCII : 0);
    p->last = &p->first;
    return p;
}

static void drop_first(struct fleet_parts *p)
{
    struct part *part = p->first;

    p->first = part->next;
    if (!p->first)
        p->last = &p->first;
    fleet_store_drop(p->store, &part->kept);
    free(part->lines.bytes);
    free(part->arg);
    free(part);
}

void fleet_parts_free(struct fleet_parts *p)
{
    while (p && p->first)
        drop_first(p);
    free(p);
}

static struct part *append(struct fleet_parts *p, struct fleet_kept *k)
{
    struct part *part = calloc(1, sizeof *part);

    if (!part)
        return NULL;
    part->kept = *k;
    *k = (struct fleet_kept){0};
    *p->last = part;
    p->last = &part->next;
    return part;
}

int fleet_parts_raw(struct fleet_parts *p, struct fleet_kept *k)
{
    return append(p, k) ? 0 : -1;
}

int fleet_parts_member(struct fleet_parts *p, const char *key, struct fleet_kept *k)
{
    struct part *part = append(p, k);

    if (!part)
        return -1;
    part->key = key;
    return 0;
}

int fleet_parts_lines(struct fleet_parts *p, struct fleet_kept *k, fleet_lines_tell *tell,
                      void *arg)
{
    struct part *part = append(p, k);

    if (!part)
        return -1;
    part->tell = tell;
    part->arg = arg;
    return 0;
}

/* ---- pieces ---- */

/* The next piece; of UTF-8 no character is cut, if there is more behind it.  Its length, 0 at the
 * end, or -1 with errno. */
static int64_t read_piece(const struct fleet_parts *p, const struct part *part, int whole,
                          char piece[PIECE])
{
    int64_t n = fleet_store_read(p->store, &part->kept, part->at, piece, PIECE);
    int64_t cut = n;

    if (n <= 0 || !whole || part->at + (uint64_t)n == fleet_store_length(&part->kept))
        return n;
    for (int i = 0; i < 3 && ((unsigned char)piece[cut - 1] & 0xc0) == 0x80; i++)
        cut--;
    return (unsigned char)piece[cut - 1] >= 0xc0 ? cut - 1 : n;
}

/* Sees what the text is.  0, or -1 with errno. */
static int look_at_text(const struct fleet_parts *p, struct part *part)
{
    char piece[PIECE];
    int64_t n;

    while (!part->base64 && (n = read_piece(p, part, 1, piece)) != 0) {
        json_t *text;

        if (n < 0)
            return -1;
        text = json_stringn(piece, (size_t)n);
        part->base64 = text == NULL;
        part->at += (uint64_t)n;
        json_decref(text);
    }
    part->at = 0;
    return 0;
}

static void put(struct fleet_parts *p, const char *text, size_t n)
{
    fleet_flow_put(p->flow, STDOUT_FILENO, text, n);
}

/* Without the quotes of each piece. */
static int put_string(struct fleet_parts *p, const char *piece, size_t n)
{
    json_t *string = json_stringn(piece, n);
    char *text = string ? json_dumps(string, p->flags) : NULL;

    json_decref(string);
    if (!text)
        return -1;
    put(p, text + 1, strlen(text) - 2);
    free(text);
    return 0;
}

static int put_base64(struct fleet_parts *p, const char *piece, size_t n)
{
    char *text = say_base64(piece, n);

    if (!text)
        return -1;
    put(p, text, strlen(text));
    free(text);
    return 0;
}

static int begin_member(struct fleet_parts *p, struct part *part)
{
    char name[64];

    if (look_at_text(p, part) < 0)
        return -1;
    part->begun = 1;
    put(p, name,
        (size_t)snprintf(name, sizeof name, ",\"%s%s\":\"", part->key,
                         part->base64 ? "_base64" : ""));
    return 0;
}

static void end_part(struct fleet_parts *p, struct part *part)
{
    if (part->key)
        put(p, "\"", 1);
    else if (part->tell)
        fleet_lines_end(&part->lines, part->tell, part->arg);
}

/* One piece: 1, 0 when it was the last, or -1 with errno. */
static int step(struct fleet_parts *p, struct part *part)
{
    char piece[PIECE];
    int64_t n;
    int rc = 0;

    if (part->key && !part->begun && begin_member(p, part) < 0)
        return -1;
    n = read_piece(p, part, part->key && !part->base64, piece);
    if (n < 0)
        return -1;
    if (n == 0) {
        end_part(p, part);
        return 0;
    }
    part->at += (uint64_t)n;
    errno = ENOMEM;
    if (part->tell)
        rc = fleet_lines_feed(&part->lines, piece, (size_t)n, part->tell, part->arg);
    else if (!part->key)
        put(p, piece, (size_t)n);
    else
        rc = (part->base64 ? put_base64 : put_string)(p, piece, (size_t)n);
    return rc < 0 ? -1 : 1;
}

int fleet_parts_more(struct fleet_parts *p)
{
    while (p->first && fleet_flow_pending(p->flow) < FLEET_FLOW_HIGH) {
        int rc = fleet_flow_error(p->flow) ? 0 : step(p, p->first);

        if (rc < 0)
            fleet_flow_fail(p->flow, errno);
        if (rc <= 0)
            drop_first(p);
    }
    return p->first != NULL;
}
