#include "tests/agent/nest.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---- the stream ---- */

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t size)
{
    struct nest *n = arg;

    (void)s;
    if (n->hold) {
        ck_assert_int_eq(wire_put(&n->kept, bytes, size), 0);
        return 0;
    }
    if (n->h.link != NULL) {
        (void)link_input(n->h.link, bytes, size, now_us());
    }
    return size;
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct nest *n = arg;
    size_t got = wire_length(&n->raw) < room ? wire_length(&n->raw) : room;
    const uint8_t *bytes;
    size_t part;

    (void)s;
    if (got > 0) {
        memcpy(at, wire_data(&n->raw), got);
        wire_take(&n->raw, got);
    }
    while (n->h.link != NULL && !n->mute && got < room &&
           link_output(n->h.link, &bytes, &part, now_us()) == 0 && part > 0) {
        part = part < room - got ? part : room - got;
        memcpy(at + got, bytes, part);
        link_sent(n->h.link, part, now_us());
        got += part;
    }
    n->sent += got;
    return got;
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct nest *n = arg;

    (void)s;
    (void)result;
    n->s = NULL;
    n->code = code;
    snprintf(n->text, sizeof n->text, "%s", text);
    if (n->h.link != NULL) {
        link_input_end(n->h.link, now_us());
    }
}

static uint64_t on_tick(struct harness *h, uint64_t now)
{
    struct nest *n = (struct nest *)h; /* its first member */
    uint64_t next = UINT64_MAX;

    if (n->h.link != NULL && !n->mute) {
        next = link_tick(n->h.link, now);
        if (n->s != NULL && link_has_output(n->h.link)) {
            stream_ready(n->s);
        }
    }
    return next;
}

/* ---- for tests ---- */

struct nest *nest_open_bare(struct harness *outer)
{
    static const struct stream_handler handler = {
        .data = on_data, .closed = on_closed, .fill = on_fill};
    struct nest *n = calloc(1, sizeof *n);
    struct error e = {0};

    ck_assert_ptr_nonnull(n);
    n->s = stream_open(outer->link, "link", NULL, &handler, n, &e);
    ck_assert_msg(n->s != NULL, "%s", e.detail);
    n->h.fd = -1;
    n->h.outer = outer;
    n->h.features = outer->features;
    n->h.tick = on_tick;
    n->h.beside = outer->nested;
    outer->nested = &n->h;
    return n;
}

struct nest *nest_open(struct harness *outer, uint32_t lease_ms)
{
    struct nest *n = nest_open_bare(outer);

    harness_begin(&n->h, lease_ms);
    return n;
}

void nest_send(struct nest *n, const void *bytes, size_t size)
{
    ck_assert_int_eq(wire_put(&n->raw, bytes, size), 0);
    if (n->s != NULL) {
        stream_ready(n->s);
    }
}

void nest_release(struct nest *n)
{
    size_t size = wire_length(&n->kept);

    n->hold = 0;
    if (n->h.link != NULL) {
        (void)link_input(n->h.link, wire_data(&n->kept), size, now_us());
    }
    if (n->s != NULL) {
        stream_consumed(n->s, size);
    }
    wire_free(&n->kept);
}

static int is_closed(void *arg)
{
    const struct nest *n = arg;

    return n->s == NULL;
}

void nest_closed(struct nest *n)
{
    harness_until(&n->h, is_closed, n);
}

void nest_greeted(struct nest *n)
{
    harness_until_greeted(&n->h);
}

void nest_end(struct nest *n)
{
    struct harness **at = &n->h.outer->nested;

    if (n->s != NULL && n->h.link != NULL && link_error(n->h.link)->code == 0) {
        ck_assert_int_eq(link_goodbye(n->h.link, 0, "done"), 0);
        nest_closed(n);
        ck_assert_int_eq(n->h.said_goodbye, 1);
        ck_assert_int_eq(n->h.goodbye_code, 0);
        ck_assert_msg(n->code == 0, "%d %s", n->code, n->text);
    }
    ck_assert_ptr_null(n->s);
    while (*at != &n->h) {
        at = &(*at)->beside;
    }
    *at = n->h.beside;
    link_free(n->h.link);
    values_free(n->h.facts);
    wire_free(&n->raw);
    wire_free(&n->kept);
    free(n);
}
