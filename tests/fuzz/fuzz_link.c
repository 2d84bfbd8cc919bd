/* Links under fire.  The first byte says how:
 *   even: one link, opener or accepter, gets the bytes in arbitrary cuts, its handlers accept
 *         everything; whatever comes, memory stays bounded and the books balance;
 *   odd:  two links, and the bytes are a program for their owners; neither may find fault with the
 *         other, all data arrives in order, and in the end nothing is left. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link_internal.h"
#include "proto/refs.h"
#include "tests/fuzz/seeds.h"

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

#define FLOWS   12
#define CALLS   8
#define OBJECTS 5
#define LARGE   12 /* large calls, so that a run stays short */

struct side;

struct flow {
    struct side *side;
    struct stream *s; /* NULL: free or closed */
    uint64_t sent, got, left, held;
    bool keep, eof_got, eof_said;
};

struct side {
    struct link *l;
    struct flow flows[FLOWS];
    uint32_t calls[CALLS]; /* of the peer's, not answered yet */
    size_t call_count, asked, answered;
    unsigned mood; /* how handlers behave */
    bool ordered;  /* data is the pattern */
    bool goodbye;
    unsigned large;
    struct refs *refs;     /* objects that the peer holds */
    char objects[OBJECTS]; /* are these */
    struct {
        int64_t id, count;
    } got[OBJECTS]; /* what this end holds of the peer's */
};

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at % 251 ^ at >> 11);
}

/* ---- handlers ---- */

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct flow *f = arg;
    CHECK(n > 0 && f->s == s && !f->eof_got);
    for (size_t i = 0; f->side->ordered && i < n; i++) {
        CHECK(bytes[i] == pattern(f->got + i));
    }
    f->got += n;
    if (f->side->mood % 7 == 6) {
        stream_write(s, bytes, n % 100);
        return n;
    }
    if (!f->keep) {
        return n;
    }
    f->held += n - n / 3;
    CHECK(f->held <= stream_window(s));
    return n / 3;
}

static void on_eof(void *arg, struct stream *s)
{
    struct flow *f = arg;
    CHECK(f->s == s && !f->eof_got);
    f->eof_got = true;
    if (f->side->mood % 3 == 1) {
        stream_close(s, 0, values_int(1), NULL);
    }
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct flow *f = arg;
    CHECK(f->s == s && strlen(text) < 70000 && code <= 0);
    (void)result;
    if (f->side->mood % 5 == 2) {
        stream_close(s, -E_IO, NULL, "within");
        stream_consumed(s, 5);
    }
    f->s = NULL;
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct flow *f = arg;
    CHECK(f->s == s && room > 0);
    size_t n = f->left < room ? (size_t)f->left : room;
    for (size_t i = 0; i < n; i++) {
        at[i] = pattern(f->sent + i);
    }
    f->sent += n;
    f->left -= n;
    if (f->left == 0 && f->side->mood % 4 == 3) {
        f->eof_said = true;
        stream_eof(s);
    }
    return n;
}

static const struct stream_handler handler = {on_data, on_eof, on_closed, on_fill};

static struct flow *free_flow(struct side *side)
{
    for (size_t i = 0; i < FLOWS; i++) {
        if (side->flows[i].s == NULL) {
            side->flows[i] = (struct flow){.side = side, .keep = side->mood % 2 != 0};
            return &side->flows[i];
        }
    }
    return NULL;
}

static int on_open(void *arg, struct stream *s, const char *service, const struct value *args,
                   struct error *e)
{
    struct side *side = arg;
    (void)args;
    struct flow *f = free_flow(side);
    if (f == NULL) {
        return errors_set(e, -E_LIMIT, "%.20s", service);
    }
    f->s = s;
    stream_accept(s, &handler, f);
    if (side->mood % 8 == 7) {
        f->left = 5000;
        stream_ready(s);
    }
    return 0;
}

static void on_call(void *arg, struct link *l, uint32_t id, const char *name,
                    const struct value *args)
{
    struct side *side = arg;
    (void)args;
    if (side->call_count < CALLS && side->mood % 2 != 0) {
        side->calls[side->call_count++] = id;
    } else {
        link_answer(l, id, values_text(name));
    }
}

static void on_call_raw(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct side *side = arg;
    CHECK(n > 0);
    if (side->call_count < CALLS && side->mood % 2 != 0) {
        side->calls[side->call_count++] = id;
    } else if (side->mood % 9 == 8) {
        link_fail(l, id, -E_REMOTE, "raw");
    } else if (side->ordered || n < 5000) {
        link_answer_raw(l, id, body, n);
    } else {
        link_end(l, -E_MALFORMED, "raw");
    }
}

static int on_release(void *arg, struct link *l, int64_t id, int64_t count)
{
    struct side *side = arg;
    CHECK(id > 0 && count > 0 && (l->features & LINK_FEATURE_REFS) != 0);
    int rc = refs_release(side->refs, id, count);
    CHECK(rc == 0 || !side->ordered);
    return rc;
}

static void on_cancel(void *arg, struct link *l, uint32_t id)
{
    struct side *side = arg;
    if (side->mood % 3 == 0) {
        link_fail(l, id, -E_CANCELLED, "as asked");
    }
}

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct side *side = arg;
    CHECK(code <= 0 && text != NULL);
    (void)result;
    side->answered++;
}

static void on_answer_raw(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct side *side = arg;
    CHECK(code <= 0 && text != NULL && (code == 0) == (n > 0) && (n > 0) == (body != NULL));
    side->answered++;
}

static const struct link_handler link_handlers = {
    .open = on_open, .call = on_call, .cancel = on_cancel, .release = on_release};

static struct link *make(struct side *side, struct link_options o, bool raw, uint64_t now)
{
    struct link_handler handlers = link_handlers;
    handlers.call_raw = raw ? on_call_raw : NULL;
    side->refs = refs_new(0, NULL, NULL);
    o.features |= LINK_FEATURE_REFS;
    side->l = link_new(&o, &handlers, side, now);
    CHECK(side->l != NULL && side->refs != NULL);
    return side->l;
}

/* ---- what must hold ---- */

static void check_books(const struct link *l)
{
    size_t nodes = 0, grown = 0, unclosed = 0, bytes = 0, held = 0;
    for (size_t i = 0; i <= l->bucket_mask; i++) {
        for (const struct link_node *n = l->buckets[i]; n != NULL; n = n->next) {
            nodes++;
            if (!n->is_call) {
                const struct stream *s = (const struct stream *)n;
                bool coming = l->in_state == IN_DATA && l->in.id == n->id;
                size_t left = coming ? l->in_left : 0; /* spent, but not here yet */
                CHECK(s->allowed + s->held + s->owed + left == s->window);
                grown += s->grown;
                unclosed += !s->close_sent;
            } else {
                bytes += ((const struct call *)n)->size;
                held += ((const struct call *)n)->held;
            }
        }
    }
    CHECK(nodes == l->nodes && grown == l->grown && grown <= l->memory);
    CHECK(unclosed == l->unclosed);
    CHECK(bytes == l->calls_own_bytes + l->calls_peer_bytes);
    CHECK(held == 0 || wire_length(&l->held) >= held * 9);
    CHECK(nodes == l->streams_own + l->streams_peer + l->calls_own + l->calls_peer);
    CHECK(l->gather.size <= 2 * 65536 && l->parts.size <= 4 * 1024 * 1024);
}

/* Takes the output of a link and looks whether it is whole frames. */
static void drain(struct link *l, size_t *partial, bool *preface, uint64_t now)
{
    const uint8_t *bytes;
    size_t n;
    while (link_output(l, &bytes, &n, now) == 0 && n > 0) {
        size_t at = *preface ? 0 : LINK_PREFACE_SIZE;
        *preface = true;
        at += *partial;
        while (at < n) {
            struct frames_header h;
            CHECK(n - at >= FRAMES_HEADER && frames_get_header(bytes + at, &h, NULL) == 0);
            at += FRAMES_HEADER + (size_t)h.length;
        }
        CHECK(at == n);
        link_sent(l, n, now);
        now += 40000;
    }
}

/* As after a while on a slow line. */
static void make_slow(struct link *l)
{
    l->policy.slow = 1;
    l->policy.late_us = DEFLATE_LATE_US;
}

/* ---- one link ---- */

static void greet(struct link *l, uint64_t now)
{
    static const uint8_t hello[] = {
        0, 0, 0, 0, FRAME_HELLO, 0, 0, 13,
        0, 1, 0, 0, 0,           0, 0, LINK_FEATURE_DEFLATE | LINK_FEATURE_REFS,
        0, 0, 0, 0, 0xa0};
    link_input(l, (const uint8_t *)LINK_PREFACE, LINK_PREFACE_SIZE, now);
    CHECK(link_input(l, hello, sizeof(hello), now) == 0);
}

static void one_link(const uint8_t *bytes, size_t n)
{
    struct side side = {.mood = bytes[1]};
    struct link_options o = {.opener = (bytes[0] & 2) != 0, .features = LINK_FEATURE_DEFLATE};
    size_t before = __sanitizer_get_current_allocated_bytes != NULL
                        ? __sanitizer_get_current_allocated_bytes()
                        : 0;
    uint64_t now = 1000;
    size_t partial = 0;
    bool preface = false;
    uint32_t cuts = bytes[2];
    make(&side, o, (bytes[0] & 16) != 0, now);
    for (size_t i = 0; i < 2 * OBJECTS; i++) {
        CHECK(refs_issue(side.refs, &side.objects[i % OBJECTS]) == (int64_t)(i % OBJECTS) + 1);
    }
    if ((bytes[0] & 8) != 0) {
        make_slow(side.l);
    }
    if ((bytes[0] & 4) != 0) {
        greet(side.l, now);
        if (o.opener) {
            /* Something of ours for the peer to answer. */
            struct flow *f = free_flow(&side);
            struct error e;
            f->left = 100000;
            f->s = stream_open(side.l, "service", NULL, &handler, f, &e);
            stream_ready(f->s);
            link_call(side.l, "name", NULL, on_answer, &side, NULL);
            link_call_raw(side.l, (const uint8_t *)"\x82\x61r\xf6", 4, on_answer_raw, &side, NULL);
            side.asked += 2;
        }
    }
    bytes += 3;
    n -= 3;
    while (n > 0) {
        cuts = cuts * 1103515245 + 12345;
        size_t part = 1 + (cuts >> 16) % ((bytes[0] & 1) != 0 ? 5000 : 20);
        part = part < n ? part : n;
        uint8_t *copy = malloc(part);
        memcpy(copy, bytes, part);
        int rc = link_input(side.l, copy, part, now += 1000);
        free(copy);
        CHECK(rc == link_error(side.l)->code);
        CHECK(rc == 0 || errors_known(rc) || link_peer_goodbye(side.l));
        check_books(side.l);
        if (part % 4 == 0 || link_congested(side.l)) {
            drain(side.l, &partial, &preface, now);
        }
        if (__sanitizer_get_current_allocated_bytes != NULL) {
            CHECK(__sanitizer_get_current_allocated_bytes() - before < 48u * 1024 * 1024);
        }
        bytes += part;
        n -= part;
    }
    link_tick(side.l, now + 1000000);
    link_input_end(side.l, now);
    drain(side.l, &partial, &preface, now);
    link_free(side.l);
    refs_free(side.refs);
    for (size_t i = 0; i < FLOWS; i++) {
        CHECK(side.flows[i].s == NULL);
    }
    CHECK(side.asked == side.answered);
}

/* ---- two links ---- */

struct pair {
    struct side sides[2];
    uint64_t now;
};

/* Moves at most `most` bytes from one side to the other.  True if some moved. */
static bool move(struct pair *p, unsigned from, size_t most)
{
    const uint8_t *bytes;
    size_t n;
    struct link *a = p->sides[from].l, *b = p->sides[!from].l;
    link_output(a, &bytes, &n, p->now);
    n = n < most ? n : most;
    if (n == 0) {
        return false;
    }
    uint8_t *copy = malloc(n);
    memcpy(copy, bytes, n);
    if (most % 3 == 1) {
        /* As libssh2 does: the bytes were taken, but we are told only when asked again. */
        size_t again;
        link_tick(a, p->now);
        link_output(a, &bytes, &again, p->now);
        size_t pinned = n < LINK_PINNED ? n : LINK_PINNED;
        CHECK(again >= n && memcmp(bytes, copy, pinned) == 0);
        memcpy(copy, bytes, n);
    }
    link_sent(a, n, p->now);
    link_input(b, copy, n, p->now);
    free(copy);
    return true;
}

static void settle(struct pair *p)
{
    while (move(p, 0, SIZE_MAX) || move(p, 1, SIZE_MAX)) {
        p->now += 500;
    }
}

/* A raw call, large for some arguments, so that what waits holds the peer's calls back. */
static void call_raw(struct side *side, uint8_t arg)
{
    bool large = arg >= 100 && side->large < LARGE;
    size_t n = large ? (size_t)arg * 1000 : arg;
    side->large += large;
    uint8_t *body = calloc(1, 9 + n);
    CHECK(body != NULL);
    memcpy(body, "\x82\x61r\x5a", 4);
    wire_store_u32(body + 4, (uint32_t)n);
    if (link_call_raw(side->l, body, 8 + n, on_answer_raw, side, NULL) == 0) {
        side->asked++;
    }
    free(body);
}

/* The peer gets an object of ours; or gives some references back, which must be right. */
static void issue_or_release(struct side *side, struct side *peer, uint8_t arg)
{
    size_t i = arg % OBJECTS;
    if (arg < 128) {
        int64_t id = refs_issue(side->refs, &side->objects[i]);
        CHECK(id > 0);
        peer->got[i].id = id;
        peer->got[i].count++;
    } else if (peer->got[i].count > 0) {
        int64_t n = 1 + arg % peer->got[i].count;
        int64_t pairs[] = {peer->got[i].id, n};
        int rc = link_release(peer->l, pairs, 1);
        CHECK(rc == 0 || rc == -E_UNSUPPORTED);
        peer->got[i].count -= rc == 0 ? n : 0;
    }
}

static void act(struct pair *p, uint8_t op, uint8_t arg)
{
    struct side *side = &p->sides[op & 1];
    struct flow *f = &side->flows[arg % FLOWS];
    struct error e;
    uint8_t text[256];
    switch ((op >> 1) % 20) {
    case 0:
        f = free_flow(side);
        if (f != NULL && !side->goodbye) {
            f->s = stream_open(side->l, "service", values_int(arg), &handler, f, &e);
        }
        break;
    case 1:
        if (f->s != NULL && f->left == 0) {
            for (size_t i = 0; i < sizeof(text); i++) {
                text[i] = pattern(f->sent + i);
            }
            if (stream_write(f->s, text, arg) == 0) {
                f->sent += arg;
            }
        }
        break;
    case 2:
        if (f->s != NULL && stream_queued(f->s) == 0) {
            f->left += (uint64_t)arg * 500;
            stream_ready(f->s);
        }
        break;
    case 3:
        if (f->s != NULL) {
            stream_eof(f->s);
        }
        break;
    case 4:
        if (f->s != NULL) {
            stream_close(f->s, arg % 2 ? -E_IO : 0, values_int(arg), "text");
        }
        break;
    case 5:
        if (f->s != NULL) {
            size_t part = (size_t)f->held * (arg % 5) / 4;
            part = part < f->held ? part : (size_t)f->held;
            f->held -= part;
            stream_consumed(f->s, part);
        }
        break;
    case 6:
        if (link_call(side->l, "call", values_int(arg), on_answer, side, NULL) == 0) {
            side->asked++;
        }
        break;
    case 7:
        if (side->call_count > 0) {
            link_answer(side->l, side->calls[--side->call_count], values_int(arg));
        }
        break;
    case 8:
        link_cancel(side->l, arg);
        break;
    case 9:
        p->now += (uint64_t)arg * 1000;
        break;
    case 10:
        link_tick(side->l, p->now);
        break;
    case 11:
        side->mood = side->ordered ? arg - arg % 7 : arg; /* no echo */
        break;
    case 12:
        if (arg == 77) {
            side->goodbye = true;
            link_goodbye(side->l, 0, "done");
        }
        break;
    case 13:
        call_raw(side, arg);
        break;
    case 14:
        issue_or_release(side, &p->sides[!(op & 1)], arg);
        break;
    default:
        move(p, op & 1, arg < 200 ? arg + 1 : (size_t)arg * 300);
        break;
    }
}

static void finish(struct pair *p)
{
    settle(p);
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &p->sides[i];
        CHECK(link_error(side->l)->code == 0);
        check_books(side->l);
        for (size_t j = 0; j < OBJECTS; j++) {
            const int64_t pairs[] = {side->got[j].id, side->got[j].count};
            CHECK(pairs[1] == 0 || link_release(side->l, pairs, 1) == 0);
        }
        while (side->call_count > 0) {
            link_answer(side->l, side->calls[--side->call_count], NULL);
        }
        for (size_t j = 0; j < FLOWS; j++) {
            if (side->flows[j].s != NULL) {
                stream_close(side->flows[j].s, j % 2 ? 0 : -E_IO, NULL, "");
            }
        }
        side->mood = 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        for (size_t j = 0; j < FLOWS; j++) {
            struct flow *f = &p->sides[i].flows[j];
            if (f->s != NULL) {
                f->keep = false;
                stream_consumed(f->s, (size_t)f->held);
            }
        }
    }
    settle(p);
    for (unsigned i = 0; i < 2; i++) {
        CHECK(link_error(p->sides[i].l)->code == 0);
        CHECK(p->sides[i].l->nodes == 0);
        CHECK(p->sides[i].asked == p->sides[i].answered);
        CHECK(refs_count(p->sides[i].refs) == 0);
    }
}

static void two_links(const uint8_t *bytes, size_t n)
{
    struct pair p = {.now = 1000};
    for (int i = 0; i < 2; i++) {
        struct link_options o = {.opener = i == 0,
                                 .features = (bytes[0] & 2) != 0 ? LINK_FEATURE_DEFLATE : 0};
        p.sides[i].ordered = true;
        make(&p.sides[i], o, (bytes[0] & (i == 0 ? 16 : 32)) != 0, p.now);
        if ((bytes[0] & (i == 0 ? 4 : 8)) != 0) {
            make_slow(p.sides[i].l);
        }
    }
    for (size_t i = 1; i + 1 < n && i < 4000; i += 2) {
        act(&p, bytes[i], bytes[i + 1]);
        CHECK(link_error(p.sides[0].l)->code == 0 && link_error(p.sides[1].l)->code == 0);
    }
    finish(&p);
    for (int i = 0; i < 2; i++) {
        link_free(p.sides[i].l);
        refs_free(p.sides[i].refs);
    }
}

/* ---- seeds ---- */

struct onward {
    seeds_sink *sink;
    void *arg;
};

/* A frame for a greeted opener and for a greeted accepter that has stream 1 open. */
static void greeted(void *arg, const uint8_t *bytes, size_t n)
{
    struct onward *to = arg;
    static const uint8_t open[] = {0, 0, 0, 1, FRAME_OPEN, 0,    0,   8,
                                   0, 1, 0, 0, 0x82,       0x61, 'x', 0xf6};
    uint8_t *seed = malloc(3 + sizeof(open) + n);
    if (seed == NULL) {
        return;
    }
    memcpy(seed, "\x06\0\1", 3);
    memcpy(seed + 3, bytes, n);
    to->sink(to->arg, seed, 3 + n);
    memcpy(seed, "\x04\0\1", 3);
    memcpy(seed + 3, open, sizeof(open));
    memcpy(seed + 3 + sizeof(open), bytes, n);
    to->sink(to->arg, seed, 3 + sizeof(open) + n);
    free(seed);
}

/* Operations of act() by number, each for either side; capitals have a large argument. */
static void program(struct onward *to, const char *ops, uint8_t mood)
{
    uint8_t seed[200] = {mood};
    size_t n = 1;
    for (; *ops != '\0' && n + 2 < sizeof(seed); ops += 2) {
        bool large = ops[0] >= 'A' && ops[0] <= 'Z';
        seed[n] = (uint8_t)((ops[0] - (large ? 'A' : 'a')) * 2 + (ops[1] == '1'));
        seed[n + 1] = large || ops[0] == 'p' ? 255 : (uint8_t)(n / 12 % 3 * 40);
        n += 2;
    }
    to->sink(to->arg, seed, n);
}

static void all_seeds(seeds_sink *sink, void *arg)
{
    struct onward to = {sink, arg};
    seeds_frames(greeted, &to);
    program(&to, "p0p1a0p0c0p0p1c1p1p0d0p0e1p1p0", 1);
    program(&to, "p0p1a0p0l1b0p0f1p1b0d0p0e0p0p1f1p1p0", 3);
    program(&to, "p0p1g0p0l1g0g0p0i0p0h1p1p0m0p0g0p0", 1);
    program(&to, "p0p1a0c0c0p0j0p1j0c0p0p1j0c0p0k0p0", 3);
    program(&to, "p0p1a0c0c0p0j0p1j0c0p0p1j0c0p0k0p0", 15);
    program(&to, "p0p1g0n0n1h1p0p1h1p1o0p0o1n0n1p1p0", 1 + 16);
    /* Much waits on both sides, so that calls and a RELEASE are held back. */
    program(&to, "p0p1o0o0N0N0N0N0N0N0N0N0N0N0n1p1O1p1g1p1N1N1N1N1N1N1N1N1N1N1n0p0p0p0p1p1p0p1",
            49);
    program(&to, "p0p1n0n1o1o0p0p1l1n0n0i0p0h1p1o0p1", 1 + 16 + 32);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, all_seeds);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n < 4 || n > 300000) {
        return 0;
    }
    if ((bytes[0] & 1) != 0) {
        two_links(bytes, n);
    } else {
        one_link(bytes, n);
    }
    return 0;
}
