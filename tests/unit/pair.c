#include "pair.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- flows ---- */

static uint8_t pattern(const struct pair_flow *f, uint64_t at)
{
    if (f->random) {
        uint64_t x = (at + 1) * 0x9e3779b97f4a7c15u;
        return (uint8_t)((x ^ x >> 29) * 0xbf58476d1ce4e5b9u >> 40);
    }
    return (uint8_t)(at ^ at >> 8);
}

static void note(struct pair_flow *f, char c)
{
    size_t n = strlen(f->order);
    if (n + 1 < sizeof(f->order) && (c != 'd' || n == 0 || f->order[n - 1] != 'd')) {
        f->order[n] = c;
    }
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct pair_flow *f = arg;
    note(f, 'd');
    ck_assert(n > 0);
    ck_assert_int_eq(f->closes, 0);
    if (f->echo) {
        stream_write(s, bytes, n);
    } else {
        for (size_t i = 0; i < n && !f->blind; i++) {
            f->wrong = f->wrong || bytes[i] != pattern(f, f->received + i);
        }
    }
    f->received += n;
    if (f->keep) {
        f->held += n;
        ck_assert_uint_le(f->held, stream_window(s));
        return 0;
    }
    return n;
}

static void on_eof(void *arg, struct stream *s)
{
    struct pair_flow *f = arg;
    note(f, 'e');
    f->eofs++;
    if (f->close_on_eof) {
        stream_close(s, 0, values_int((int64_t)f->received), NULL);
    }
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct pair_flow *f = arg;
    (void)s;
    note(f, 'c');
    f->closes++;
    f->code = code;
    f->result = values_as_int(result, -1);
    snprintf(f->text, sizeof(f->text), "%s", text);
    f->s = NULL;
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct pair_flow *f = arg;
    size_t n = f->to_send < room ? (size_t)f->to_send : room;
    if (f->blind) {
        memset(at, 0, n);
    }
    for (size_t i = 0; i < n && !f->blind; i++) {
        at[i] = pattern(f, f->sent + i);
    }
    f->to_send -= n;
    f->sent += n;
    if (f->to_send == 0 && f->eof_after) {
        stream_eof(s);
    }
    return n;
}

const struct stream_handler pair_handler = {on_data, on_eof, on_closed, on_fill};

/* ---- links ---- */

static void on_hello(void *arg, struct link *l, const struct value *facts)
{
    struct pair_side *side = arg;
    (void)l;
    (void)facts;
    side->hellos++;
}

static int on_open(void *arg, struct stream *s, const char *service, const struct value *args,
                   struct error *e)
{
    struct pair_side *side = arg;
    (void)service;
    (void)args;
    if (side->refuse != 0) {
        return errors_set(e, side->refuse, "refused");
    }
    ck_assert_uint_lt(side->flow_count, PAIR_FLOWS);
    struct pair_flow *f = &side->flows[side->flow_count++];
    *f = side->model;
    f->s = s;
    stream_accept(s, &pair_handler, f);
    if (f->to_send > 0) {
        stream_ready(s);
    }
    return 0;
}

static void on_call(void *arg, struct link *l, uint32_t id, const char *name,
                    const struct value *args)
{
    struct pair_side *side = arg;
    side->calls++;
    side->call_id = id;
    side->call_arg = values_as_int(args, -1);
    snprintf(side->call_name, sizeof(side->call_name), "%s", name);
    if (side->answer) {
        ck_assert_int_eq(link_answer(l, id, values_int(side->call_arg + 1)), 0);
    }
}

static void on_cancel(void *arg, struct link *l, uint32_t id)
{
    struct pair_side *side = arg;
    (void)l;
    side->cancels++;
    side->call_id = id;
}

static void on_wake(void *arg, struct link *l)
{
    struct pair_side *side = arg;
    (void)l;
    side->wakes++;
}

static void on_goodbye(void *arg, struct link *l, int code, const char *text)
{
    struct pair_side *side = arg;
    (void)l;
    (void)text;
    side->goodbyes++;
    side->goodbye_code = code;
}

const struct link_handler pair_link_handler = {.hello = on_hello,
                                               .open = on_open,
                                               .call = on_call,
                                               .cancel = on_cancel,
                                               .wake = on_wake,
                                               .goodbye = on_goodbye};

static void make(struct pair_side *side, const struct link_options *options, int opener)
{
    struct link_options o = options != NULL ? *options : (struct link_options){0};
    o.opener = opener;
    uint64_t now = side->pair != NULL ? side->pair->now : 1000000;
    side->link = link_new(&o, &pair_link_handler, side, now);
    ck_assert_ptr_nonnull(side->link);
}

struct pair *pair_new(const struct link_options *a, const struct link_options *b)
{
    struct pair *p = calloc(1, sizeof(*p));
    ck_assert_ptr_nonnull(p);
    p->now = 1000000;
    p->a.pair = p->b.pair = p;
    make(&p->a, a, 1);
    make(&p->b, b, 0);
    pair_run(p);
    ck_assert(link_greeted(p->a.link) && link_greeted(p->b.link));
    return p;
}

void pair_free(struct pair *p)
{
    link_free(p->a.link);
    link_free(p->b.link);
    wire_free(&p->ab.bytes);
    wire_free(&p->ba.bytes);
    free(p);
}

/* ---- the line ---- */

static bool line_take(struct pair *p, struct pair_line *line, struct link *from)
{
    const uint8_t *bytes;
    size_t n;
    if ((line->busy_until > p->now && !p->deep) ||
        line->count == sizeof(line->chunks) / sizeof(*line->chunks)) {
        return false;
    }
    link_output(from, &bytes, &n, p->now);
    if (n == 0) {
        return false;
    }
    if (p->rate != 0) {
        n = n < 8192 ? n : 8192;
        line->busy_until = line->busy_until > p->now ? line->busy_until : p->now;
        line->busy_until += n * 1000000 / p->rate;
    }
    uint64_t through = p->deep ? line->busy_until : p->now;
    ck_assert_int_eq(wire_put(&line->bytes, bytes, n), 0);
    size_t last = (line->first + line->count++) % (sizeof(line->chunks) / sizeof(*line->chunks));
    line->chunks[last] = (struct pair_chunk){through + p->delay, n};
    link_sent(from, n, p->now);
    return true;
}

static bool line_give(struct pair *p, struct pair_line *line, struct link *to)
{
    struct pair_chunk *c = &line->chunks[line->first];
    if (line->count == 0 || c->at > p->now) {
        return false;
    }
    size_t n = p->cut != 0 && p->cut < c->n ? p->cut : c->n;
    /* A copy of the exact size, so that tools see reads beyond it. */
    uint8_t *copy = malloc(n);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, wire_data(&line->bytes), n);
    link_input(to, copy, n, p->now);
    free(copy);
    wire_take(&line->bytes, n);
    c->n -= n;
    if (c->n == 0) {
        line->first = (line->first + 1) % (sizeof(line->chunks) / sizeof(*line->chunks));
        line->count--;
    }
    return true;
}

/* The next time at which something can happen; UINT64_MAX: never. */
static uint64_t next_event(const struct pair *p)
{
    uint64_t next = UINT64_MAX;
    const struct pair_line *lines[] = {&p->ab, &p->ba};
    const struct link *from[] = {p->a.link, p->b.link};
    for (int i = 0; i < 2; i++) {
        if (lines[i]->count > 0 && lines[i]->chunks[lines[i]->first].at < next) {
            next = lines[i]->chunks[lines[i]->first].at;
        }
        if (lines[i]->busy_until > p->now && lines[i]->busy_until < next &&
            link_has_output(from[i])) {
            next = lines[i]->busy_until;
        }
    }
    return next;
}

static void run_until(struct pair *p, uint64_t end)
{
    for (;;) {
        bool moved = line_take(p, &p->ab, p->a.link);
        moved = line_take(p, &p->ba, p->b.link) || moved;
        moved = line_give(p, &p->ab, p->b.link) || moved;
        moved = line_give(p, &p->ba, p->a.link) || moved;
        if (moved) {
            continue;
        }
        uint64_t next = next_event(p);
        if (next == UINT64_MAX || next > end) {
            return;
        }
        p->now = next > p->now ? next : p->now;
    }
}

void pair_run(struct pair *p)
{
    run_until(p, UINT64_MAX - 1);
}

void pair_run_for(struct pair *p, uint64_t us)
{
    uint64_t end = p->now + us;
    run_until(p, end);
    p->now = end;
}

struct stream *pair_open(struct pair_side *side, struct pair_flow *f)
{
    struct error e = {0};
    f->s = stream_open(side->link, "test", NULL, &pair_handler, f, &e);
    ck_assert_msg(f->s != NULL, "%s: %s", errors_name(e.code), e.detail);
    if (f->to_send > 0) {
        stream_ready(f->s);
    }
    return f->s;
}

/* ---- a lone link ---- */

struct pair_side *pair_lone(int opener)
{
    struct link_options options = {.opener = opener};
    return pair_lone_with(&options, 0);
}

struct pair_side *pair_lone_with(const struct link_options *options, uint8_t features)
{
    const uint8_t hello[] = {0, LINK_MAJOR, 0, 0, 0, 0, 0, features, 0, 0, 0, 0, 0xa0};
    struct pair_side *side = calloc(1, sizeof(*side));
    ck_assert_ptr_nonnull(side);
    make(side, options, options->opener);
    ck_assert_int_eq(link_input(side->link, (const uint8_t *)LINK_PREFACE, LINK_PREFACE_SIZE, 1),
                     0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_HELLO, 0, hello, sizeof(hello)), 0);
    ck_assert_int_eq(side->hellos, 1);
    return side;
}

void pair_lone_free(struct pair_side *side)
{
    link_free(side->link);
    free(side);
}

int pair_feed(struct pair_side *side, uint32_t id, unsigned type, unsigned flags,
              const void *payload, size_t n)
{
    uint8_t *bytes = malloc(FRAMES_HEADER + n);
    ck_assert_ptr_nonnull(bytes);
    struct frames_header h = {id, (uint8_t)type, (uint8_t)flags, (uint16_t)n};
    frames_put_header(bytes, &h);
    if (n > 0) {
        memcpy(bytes + FRAMES_HEADER, payload, n);
    }
    int rc = link_input(side->link, bytes, FRAMES_HEADER + n, 1000000);
    free(bytes);
    return rc;
}

int pair_sent(struct pair_side *side, uint8_t type, struct frame *f)
{
    static uint8_t copy[4 * 1024 * 1024];
    size_t length = 0, n;
    const uint8_t *bytes;
    while (link_output(side->link, &bytes, &n, 1000000) == 0 && n > 0) {
        ck_assert_uint_le(length + n, sizeof(copy));
        memcpy(copy + length, bytes, n);
        length += n;
        link_sent(side->link, n, 1000000);
    }
    size_t at = length > 0 && copy[0] == 'G' ? LINK_PREFACE_SIZE : 0;
    while (at < length) {
        struct frames_header h;
        struct error e;
        ck_assert_uint_le(at + FRAMES_HEADER, length);
        ck_assert_int_eq(frames_get_header(copy + at, &h, &e), 0);
        at += FRAMES_HEADER;
        ck_assert_uint_le(at + h.length, length);
        if (h.type == type) {
            return frames_decode(&h, copy + at, 0, f, &e);
        }
        at += h.length;
    }
    return -1;
}
