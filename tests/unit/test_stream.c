/* Streams: credit, windows, fairness, ends in every order, re-entrancy, deflate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "proto/link_internal.h"
#include "unit.h"

#define P(s)  (s), sizeof(s) - 1
#define OPEN1 P("\0\0\0\0\x82\x61x\xf6")

static void check_live(const struct pair *p)
{
    ck_assert_msg(link_error(p->a.link)->code == 0, "a: %s", link_error(p->a.link)->detail);
    ck_assert_msg(link_error(p->b.link)->code == 0, "b: %s", link_error(p->b.link)->detail);
}

/* ---- data and credit ---- */

START_TEST(both_ways_at_once)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 3000000, .eof_after = true};
    p->b.model = (struct pair_flow){.to_send = 2000000, .eof_after = true};
    p->cut = 1 + (size_t)_i * 4999;
    pair_open(&p->a, &f);
    if (p->cut == 1) {
        f.to_send = 150000;
        p->b.model.to_send = 100000;
    }
    uint64_t all = f.to_send, back = p->b.model.to_send;
    pair_run(p);
    check_live(p);
    struct pair_flow *g = &p->b.flows[0];
    ck_assert_uint_eq(g->received, all);
    ck_assert_uint_eq(f.received, back);
    ck_assert(!f.wrong && !g->wrong);
    ck_assert_str_eq(f.order, "de");
    ck_assert_str_eq(g->order, "de");
    stream_close(g->s, 0, values_int(7), NULL);
    pair_run(p);
    ck_assert_int_eq(f.closes, 1);
    ck_assert_int_eq(f.result, 7);
    ck_assert_int_eq(g->closes, 1);
    ck_assert_int_eq(g->result, -1);
    ck_assert_uint_eq(link_stream_count(p->a.link), 0);
    ck_assert_uint_eq(link_stream_count(p->b.link), 0);
    pair_free(p);
}
END_TEST

START_TEST(writes_come_before_fill_and_in_order)
{
    struct pair_side *side = pair_lone(1);
    struct pair_flow f = {0};
    struct frame sent;
    pair_open(side, &f);
    ck_assert_int_eq(stream_write(f.s, "one", 3), 0);
    ck_assert_int_eq(stream_write(f.s, "two", 3), 0);
    ck_assert_uint_eq(stream_queued(f.s), 6);
    f.to_send = 2;
    stream_ready(f.s);
    ck_assert_int_eq(pair_sent(side, FRAME_DATA, &sent), 0);
    ck_assert_uint_eq(sent.body_length, 8);
    ck_assert_mem_eq(sent.body, "onetwo\0\1", 8);
    stream_write(f.s, "x", 1);
    stream_eof(f.s);
    ck_assert_int_eq(stream_write(f.s, "y", 1), -E_CLOSED);
    ck_assert_int_eq(pair_sent(side, FRAME_EOF, &sent), 0);
    stream_eof(f.s);
    stream_ready(f.s);
    ck_assert_int_eq(pair_sent(side, FRAME_EOF, &sent), -1);
    pair_lone_free(side);
}
END_TEST

START_TEST(credit_runs_out_and_comes_back)
{
    struct pair_side *side = pair_lone(1);
    struct pair_flow f = {.to_send = 1000000};
    struct frame sent;
    pair_open(side, &f);
    ck_assert_int_eq(pair_sent(side, FRAME_OPEN, &sent), 0);
    ck_assert_uint_eq(sent.open.credit, LINK_WINDOW_FIRST);
    ck_assert_uint_eq(f.sent, LINK_CREDIT_INITIAL);
    ck_assert_uint_eq(stream_credit(f.s), 0);
    ck_assert(!link_has_output(side->link));
    stream_ready(f.s);
    ck_assert(!link_has_output(side->link));
    int wakes = side->wakes;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CREDIT, 0, P("\0\0\0\5")), 0);
    ck_assert_int_eq(side->wakes, wakes + 1);
    ck_assert_int_eq(pair_sent(side, FRAME_DATA, &sent), 0);
    ck_assert_uint_eq(sent.body_length, 5);
    /* EOF and an orderly CLOSE wait for what is queued, and that for credit. */
    f.to_send = 0;
    stream_write(f.s, "abc", 3);
    stream_eof(f.s);
    stream_close(f.s, 0, NULL, NULL);
    ck_assert_int_eq(pair_sent(side, FRAME_EOF, &sent), -1);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CREDIT, 0, P("\0\0\0\2")), 0);
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &sent), -1);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CREDIT, 0, P("\0\0\0\1")), 0);
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &sent), 0);
    ck_assert_uint_eq(sent.close.code, 0);
    pair_lone_free(side);
}
END_TEST

START_TEST(no_credit_is_no_data_but_eof)
{
    struct pair_side *side = pair_lone(0);
    struct frame sent;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
    struct pair_flow *f = &side->flows[0];
    stream_eof(f->s);
    ck_assert_int_eq(pair_sent(side, FRAME_EOF, &sent), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_OPEN, 0, OPEN1), 0);
    stream_write(side->flows[1].s, "x", 1);
    stream_eof(side->flows[1].s);
    ck_assert_int_eq(pair_sent(side, FRAME_EOF, &sent), -1);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CREDIT, 0, P("\xff\xff\xff\xff")), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CREDIT, 0, P("\xff\xff\xff\xff")), 0);
    ck_assert_uint_eq(stream_credit(side->flows[1].s), 0x1fffffffeu);
    ck_assert_int_eq(pair_sent(side, FRAME_EOF, &sent), 0);
    pair_lone_free(side);
}
END_TEST

static int feed_bytes(struct pair_side *side, uint32_t id, size_t n)
{
    static const uint8_t zeros[65535];
    int rc = 0;
    while (rc == 0 && n > 0) {
        size_t part = n < sizeof(zeros) ? n : sizeof(zeros);
        rc = pair_feed(side, id, FRAME_DATA, 0, zeros, part);
        n -= part;
    }
    return rc;
}

START_TEST(spending_too_much_ends_the_link)
{
    struct pair_side *side = pair_lone(0);
    side->model.keep = true;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
    ck_assert_int_eq(feed_bytes(side, 1, LINK_CREDIT_INITIAL), 0);
    ck_assert_int_eq(feed_bytes(side, 1, 1), -E_PROTOCOL);
    ck_assert_ptr_nonnull(strstr(link_error(side->link)->detail, "credit of 0"));
    ck_assert_uint_eq(side->flows[0].received, LINK_CREDIT_INITIAL);
    pair_lone_free(side);
    /* Not one byte of a frame that is too large is taken. */
    side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
    side->flows[0].keep = true;
    ck_assert_int_eq(feed_bytes(side, 1, 30000), 0);
    ck_assert_int_eq(feed_bytes(side, 1, 60000), -E_PROTOCOL);
    ck_assert_uint_eq(side->flows[0].received, 30000);
    pair_lone_free(side);
}
END_TEST

START_TEST(data_after_eof_or_close_ends_the_link)
{
    struct pair_side *side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_EOF, 0, P("")), 0);
    ck_assert_int_eq(feed_bytes(side, 1, 1), -E_PROTOCOL);
    pair_lone_free(side);
    side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_EOF, 0, P("")), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_EOF, 0, P("")), -E_PROTOCOL);
    pair_lone_free(side);
    static const struct {
        unsigned type;
        const char *body;
        size_t n;
    } after[] = {{FRAME_DATA, P("x")}, {FRAME_EOF, P("")}, {FRAME_CLOSE, P("\0\0\xf6")}};
    for (size_t i = 0; i < 3; i++) {
        side = pair_lone(0);
        ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
        ck_assert_int_eq(pair_feed(side, 1, FRAME_CLOSE, 0, P("\0\0\xf6")), 0);
        ck_assert_int_eq(pair_feed(side, 1, after[i].type, 0, after[i].body, after[i].n),
                         -E_PROTOCOL);
        pair_lone_free(side);
    }
}
END_TEST

START_TEST(what_is_kept_is_not_credited)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 100000000};
    p->b.model.keep = true;
    pair_open(&p->a, &f);
    pair_run(p);
    struct pair_flow *g = &p->b.flows[0];
    ck_assert_uint_eq(g->received, LINK_CREDIT_INITIAL);
    /* The first half that is passed on brings the full first window. */
    stream_consumed(g->s, LINK_CREDIT_INITIAL / 2);
    g->held -= LINK_CREDIT_INITIAL / 2;
    pair_run(p);
    ck_assert_uint_eq(stream_window(g->s), LINK_WINDOW_FIRST);
    ck_assert_uint_eq(g->held, LINK_WINDOW_FIRST);
    /* More than is held is not believed; and this reader is too slow for a larger window. */
    link_tick(p->b.link, p->now += 1000000);
    stream_consumed(g->s, 10 * LINK_WINDOW_FIRST);
    g->held = 0;
    pair_run(p);
    ck_assert_uint_eq(g->held, LINK_WINDOW_FIRST);
    check_live(p);
    pair_free(p);
}
END_TEST

START_TEST(small_reads_do_not_cost_a_credit_each)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 10000000};
    p->b.model.keep = true;
    pair_open(&p->a, &f);
    pair_run(p);
    struct pair_flow *g = &p->b.flows[0];
    uint64_t before = link_counters(p->b.link).sent;
    for (int i = 0; i < 60000; i++) {
        stream_consumed(g->s, 1);
        g->held--;
        pair_run(p);
    }
    ck_assert_uint_lt(link_counters(p->b.link).sent, before + 100);
    pair_free(p);
}
END_TEST

/* ---- windows ---- */

START_TEST(window_grows_with_delay)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0};
    p->delay = 50000;
    p->b.model.to_send = 400000000;
    p->b.model.blind = f.blind = true;
    pair_open(&p->a, &f);
    pair_run_for(p, 1500000);
    check_live(p);
    ck_assert_uint_ge(link_round_trip(p->a.link), 100000);
    ck_assert_uint_lt(link_round_trip(p->a.link), 101000);
    ck_assert_uint_eq(stream_window(f.s), LINK_WINDOW_MAX);
    uint64_t before = f.received;
    pair_run_for(p, 1000000);
    /* A window for each round trip, nearly. */
    ck_assert_uint_gt(f.received - before, (uint64_t)LINK_WINDOW_MAX * 19 / 2);
    pair_free(p);
}
END_TEST

START_TEST(window_stays_on_a_slow_line)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0};
    p->delay = 10000;
    p->rate = 1000000; /* 20 kB under way: the first window is more than enough */
    p->b.model.to_send = 8000000;
    pair_open(&p->a, &f);
    pair_run_for(p, 5000000);
    check_live(p);
    ck_assert_uint_gt(f.received, 4500000);
    ck_assert_uint_eq(stream_window(f.s), LINK_WINDOW_FIRST);
    pair_free(p);
}
END_TEST

START_TEST(window_grows_when_frames_come_in_pieces)
{
    /* As they do on every line that is not faster than its reader. */
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 100000000, .blind = true};
    p->b.model.blind = true;
    p->delay = 50000;
    p->rate = 10000000; /* 1 MB under way */
    pair_open(&p->a, &f);
    pair_run_for(p, 3000000);
    check_live(p);
    ck_assert_uint_ge(stream_window(p->b.flows[0].s), 1024 * 1024);
    uint64_t before = f.sent;
    pair_run_for(p, 1000000);
    ck_assert_uint_gt(f.sent - before, 9000000);
    pair_free(p);
}
END_TEST

START_TEST(accepters_window_grows_too)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 400000000, .blind = true};
    p->b.model.blind = true;
    p->delay = 50000;
    pair_open(&p->a, &f);
    pair_run_for(p, 1500000);
    check_live(p);
    ck_assert_uint_eq(stream_window(p->b.flows[0].s), LINK_WINDOW_MAX);
    pair_free(p);
}
END_TEST

START_TEST(growth_has_one_budget)
{
    struct link_options o = {.memory = 1000000};
    struct pair *p = pair_new(&o, NULL);
    struct pair_flow f[4] = {{0}};
    p->delay = 50000;
    p->b.model.to_send = 100000000;
    p->b.model.blind = true;
    for (int i = 0; i < 4; i++) {
        f[i].blind = true;
        pair_open(&p->a, &f[i]);
    }
    pair_run_for(p, 2000000);
    size_t sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += stream_window(f[i].s) - LINK_WINDOW_FIRST;
    }
    ck_assert_uint_eq(sum, p->a.link->grown);
    ck_assert_uint_le(sum, 1000000);
    ck_assert_uint_gt(sum, 900000);
    for (int i = 1; i < 4; i++) {
        stream_close(f[i].s, -E_CANCELLED, NULL, NULL);
    }
    pair_run_for(p, 2000000);
    ck_assert_int_eq(f[1].closes, 1);
    ck_assert_uint_eq(stream_window(f[0].s), LINK_WINDOW_FIRST + 1000000);
    stream_close(f[0].s, -E_CANCELLED, NULL, NULL);
    pair_run_for(p, 1000000);
    ck_assert_uint_eq(p->a.link->grown, 0);
    check_live(p);
    pair_free(p);
}
END_TEST

START_TEST(a_reader_that_never_reads_costs_little)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 1000000000};
    p->delay = 50000;
    p->b.model.keep = true;
    pair_open(&p->a, &f);
    pair_run_for(p, 10000000);
    ck_assert_uint_eq(p->b.flows[0].held, LINK_CREDIT_INITIAL);
    ck_assert_uint_le(f.sent, LINK_CREDIT_INITIAL);
    ck_assert_uint_le(p->a.link->out.size, 1024 * 1024);
    /* A line that nobody reads: made in advance is only what may wait. */
    struct pair_side *side = pair_lone(1);
    struct pair_flow g[20] = {{0}};
    const uint8_t *bytes;
    size_t n;
    for (int i = 0; i < 20; i++) {
        g[i].to_send = 1000000000;
        pair_open(side, &g[i]);
        pair_feed(side, stream_id(g[i].s), FRAME_CREDIT, 0, P("\x7f\xff\xff\xff"));
        for (int j = 0; j < 10; j++) {
            link_output(side->link, &bytes, &n, 5);
        }
    }
    ck_assert_uint_le(n, LINK_OUTPUT_MAX + 2 * 65536);
    pair_lone_free(side);
    pair_free(p);
}
END_TEST

START_TEST(many_streams_start_small)
{
    struct pair_side *side = pair_lone(1);
    struct pair_flow f[LINK_FIRST_FULL + 1] = {{0}};
    for (int i = 0; i <= LINK_FIRST_FULL; i++) {
        pair_open(side, &f[i]);
    }
    ck_assert_uint_eq(stream_window(f[0].s), LINK_WINDOW_FIRST);
    ck_assert_uint_eq(stream_window(f[LINK_FIRST_FULL].s), LINK_CREDIT_INITIAL);
    pair_lone_free(side);
}
END_TEST

/* ---- fairness ---- */

START_TEST(streams_take_turns)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f[5] = {{0}};
    p->rate = 2000000;
    p->b.model.blind = true;
    for (int i = 0; i < 5; i++) {
        f[i] = (struct pair_flow){.to_send = 1000000000, .blind = true};
        pair_open(&p->a, &f[i]);
    }
    pair_run_for(p, 3000000);
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 5; i++) {
        uint64_t got = p->b.flows[i].received;
        least = got < least ? got : least;
        most = got > most ? got : most;
    }
    ck_assert_uint_gt(least, 1000000);
    ck_assert_uint_le(most - least, 200000);
    pair_free(p);
}
END_TEST

START_TEST(a_stuck_stream_does_not_stop_others)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 100000000}, g = {.to_send = 2000000, .eof_after = true};
    p->b.model.keep = true;
    pair_open(&p->a, &f);
    pair_run(p);
    p->b.model.keep = false;
    p->b.model.close_on_eof = true;
    pair_open(&p->a, &g);
    pair_run(p);
    ck_assert_int_eq(g.result, 2000000);
    check_live(p);
    pair_free(p);
}
END_TEST

START_TEST(a_small_message_passes_the_bulk_of_others)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 1000000000, .blind = true}, g = {0};
    p->rate = 10000000;
    p->b.model.blind = true;
    pair_open(&p->a, &f);
    p->b.model.echo = true;
    pair_open(&p->a, &g);
    pair_run_for(p, 1000000);
    stream_write(g.s, "now", 3);
    /* At most what waits in front of the pipe. */
    pair_run_for(p, (LINK_OUTPUT_MAX + 2 * 65536) / 10);
    ck_assert_uint_eq(g.received, 3);
    pair_free(p);
}
END_TEST

/* ---- ends ---- */

START_TEST(close_orders)
{
    /* Who closes, in which order, before or after the other's CLOSE is known. */
    for (int order = 0; order < 6; order++) {
        struct pair *p = pair_new(NULL, NULL);
        struct pair_flow f = {0};
        p->cut = order % 2 ? 1 : 0;
        pair_open(&p->a, &f);
        pair_run(p);
        struct pair_flow *g = &p->b.flows[0];
        if (order / 2 != 1) {
            stream_close(f.s, 0, values_int(1), NULL);
        }
        if (order / 2 != 0) {
            stream_close(g->s, -E_NO_COMMAND, NULL, "sorry");
        }
        pair_run(p);
        ck_assert_int_eq(f.closes, 1);
        ck_assert_int_eq(g->closes, 1);
        ck_assert_int_eq(f.code, order / 2 != 0 ? -E_NO_COMMAND : 0);
        ck_assert_str_eq(f.text, order / 2 != 0 ? "sorry" : "");
        ck_assert_int_eq(g->code, 0);
        ck_assert_int_eq(g->result, order / 2 != 1 ? 1 : -1);
        ck_assert_uint_eq(p->a.link->nodes + p->b.link->nodes, 0);
        check_live(p);
        pair_free(p);
    }
}
END_TEST

START_TEST(close_before_open_was_sent)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 100};
    pair_open(&p->a, &f);
    stream_close(f.s, -E_CANCELLED, NULL, "never mind");
    pair_run(p);
    ck_assert_int_eq(f.closes, 1);
    ck_assert_int_eq(p->b.flows[0].code, -E_CANCELLED);
    ck_assert_str_eq(p->b.flows[0].order, "c");
    check_live(p);
    pair_free(p);
}
END_TEST

START_TEST(orderly_close_sends_what_is_queued)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0};
    char *text = malloc(300000);
    memset(text, 0, 300000);
    pair_open(&p->a, &f);
    stream_write(f.s, text, 300000);
    stream_close(f.s, 0, values_int(5), NULL);
    ck_assert_int_eq(stream_write(f.s, text, 1), -E_CLOSED);
    pair_run(p);
    ck_assert_uint_eq(p->b.flows[0].received, 300000);
    ck_assert_int_eq(p->b.flows[0].result, 5);
    ck_assert_str_eq(p->b.flows[0].order, "dc");
    ck_assert_int_eq(f.closes, 1);
    free(text);
    pair_free(p);
}
END_TEST

START_TEST(a_failure_drops_what_is_queued)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0};
    char *text = calloc(1, 3000000);
    p->b.model.keep = true;
    pair_open(&p->a, &f);
    stream_write(f.s, text, 3000000);
    pair_run(p);
    stream_close(f.s, 0, values_int(5), NULL); /* waits for ever: the reader does not read */
    pair_run(p);
    ck_assert_int_eq(f.closes, 0);
    stream_close(f.s, -E_TIMEOUT, NULL, "too slow");
    pair_run(p);
    ck_assert_int_eq(p->b.flows[0].code, -E_TIMEOUT);
    ck_assert_str_eq(p->b.flows[0].text, "too slow");
    ck_assert_int_eq(f.closes, 1);
    check_live(p);
    free(text);
    pair_free(p);
}
END_TEST

START_TEST(after_our_close_data_is_discarded)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0};
    p->delay = 1000;
    p->b.model.to_send = 10000000;
    pair_open(&p->a, &f);
    pair_run_for(p, 10000);
    ck_assert_uint_gt(f.received, 0);
    stream_close(f.s, 0, NULL, NULL);
    uint64_t before = f.received;
    pair_run(p);
    ck_assert_uint_eq(f.received, before);
    ck_assert_int_eq(f.closes, 1);
    check_live(p);
    /* Also while our own CLOSE waits for credit, which the peer gives only after it is done. */
    struct pair_flow g = {0};
    char *text = calloc(1, 100000);
    p->b.model = (struct pair_flow){.to_send = 5000000, .keep = true};
    pair_open(&p->a, &g);
    stream_write(g.s, text, 100000);
    stream_close(g.s, 0, NULL, NULL);
    pair_run(p);
    struct pair_flow *h = &p->b.flows[1];
    ck_assert_uint_eq(h->to_send, 0);
    stream_consumed(h->s, h->held);
    h->held = 0;
    pair_run(p);
    ck_assert_int_eq(g.closes, 1);
    ck_assert_uint_eq(g.received, 0);
    free(text);
    pair_free(p);
}
END_TEST

/* What is consumed after our CLOSE, be it held until then or discarded, gives no credit back. */
START_TEST(after_our_close_no_credit)
{
    struct pair_side *side = pair_lone(0);
    struct frame sent;
    side->model.keep = true;
    /* So much is worth a CREDIT as long as the stream is open. */
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(feed_bytes(side, 1, LINK_CREDIT_INITIAL), 0);
        stream_consumed(side->flows[0].s, LINK_CREDIT_INITIAL);
        ck_assert_int_eq(pair_sent(side, FRAME_CREDIT, &sent), 0);
    }
    /* Held when we close, consumed afterwards. */
    ck_assert_int_eq(feed_bytes(side, 1, LINK_CREDIT_INITIAL), 0);
    stream_close(side->flows[0].s, 0, NULL, NULL);
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &sent), 0);
    stream_consumed(side->flows[0].s, LINK_CREDIT_INITIAL);
    ck_assert(!link_has_output(side->link));
    /* Crossed our CLOSE. */
    ck_assert_int_eq(pair_feed(side, 3, FRAME_OPEN, 0, OPEN1), 0);
    stream_close(side->flows[1].s, 0, NULL, NULL);
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &sent), 0);
    ck_assert_int_eq(feed_bytes(side, 3, LINK_CREDIT_INITIAL), 0);
    ck_assert(!link_has_output(side->link));
    ck_assert_uint_eq(side->flows[1].received, 0);
    pair_lone_free(side);
}
END_TEST

START_TEST(results_that_are_too_large)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0};
    char *text = calloc(1, 70001);
    memset(text, 'x', 70000);
    pair_open(&p->a, &f);
    pair_run(p);
    stream_close(p->b.flows[0].s, 0, values_text(text), NULL);
    pair_run(p);
    ck_assert_int_eq(f.code, -E_TOO_LARGE);
    check_live(p);
    free(text);
    pair_free(p);
}
END_TEST

START_TEST(refused_streams)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 50000, .eof_after = true};
    p->b.refuse = -E_NO_COMMAND;
    pair_open(&p->a, &f);
    pair_run(p);
    ck_assert_int_eq(f.closes, 1);
    ck_assert_int_eq(f.code, -E_NO_COMMAND);
    ck_assert_str_eq(f.text, "refused");
    ck_assert_uint_eq(p->a.link->nodes + p->b.link->nodes, 0);
    check_live(p);
    pair_free(p);
}
END_TEST

START_TEST(number_of_streams_is_limited)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow *f = calloc(LINK_STREAMS_MAX + 2, sizeof(*f));
    struct error e;
    for (size_t i = 0; i < LINK_STREAMS_MAX; i++) {
        pair_open(&p->a, &f[i]);
    }
    pair_run(p);
    ck_assert_uint_eq(p->b.flow_count, LINK_STREAMS_MAX);
    ck_assert_ptr_null(stream_open(p->a.link, "x", NULL, &pair_handler, f, &e));
    ck_assert_int_eq(e.code, -E_LIMIT);
    /* A peer that does not keep to it: that stream is refused, the link lives. */
    p->a.link->streams_own--;
    pair_open(&p->a, &f[LINK_STREAMS_MAX]);
    pair_run(p);
    ck_assert_int_eq(f[LINK_STREAMS_MAX].code, -E_LIMIT);
    p->a.link->streams_own++;
    check_live(p);
    /* The other direction has its own number. */
    pair_open(&p->b, &f[LINK_STREAMS_MAX + 1]);
    for (size_t i = 0; i < LINK_STREAMS_MAX; i++) {
        stream_close(f[i].s, 0, NULL, NULL);
    }
    pair_run(p);
    ck_assert_uint_eq(link_stream_count(p->a.link), 1);
    check_live(p);
    pair_free(p);
    free(f);
}
END_TEST

/* ---- re-entrancy ---- */

struct reentrant {
    struct pair_side *side;
    struct stream *s;
    int what, runs, closes;
};

static void act(struct reentrant *r, struct stream *s);

static size_t r_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    (void)bytes;
    act(arg, s);
    return n;
}

static void r_eof(void *arg, struct stream *s)
{
    act(arg, s);
}

static void r_closed(void *arg, struct stream *s, int code, const struct value *result,
                     const char *text)
{
    struct reentrant *r = arg;
    (void)code;
    (void)result;
    (void)text;
    r->closes++;
    act(r, s);
}

static size_t r_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    act(arg, s);
    memset(at, 0, room);
    return room;
}

static const struct stream_handler r_handler = {r_data, r_eof, r_closed, r_fill};

static void act(struct reentrant *r, struct stream *s)
{
    struct link *l = r->side->link;
    struct error e;
    const uint8_t *bytes;
    size_t n;
    if (r->runs++ > 20) {
        return;
    }
    switch (r->what) {
    case 0:
        stream_close(s, 0, NULL, NULL);
        break;
    case 1:
        stream_close(s, -E_CANCELLED, NULL, "stop");
        break;
    case 2:
        stream_open(l, "another", NULL, &r_handler, r, &e);
        break;
    case 3:
        link_end(l, -E_CANCELLED, "ended within");
        break;
    case 4:
        stream_write(s, "x", 1);
        stream_ready(s);
        stream_eof(s);
        break;
    case 5:
        link_goodbye(l, -E_CANCELLED, "goodbye within");
        break;
    case 6:
        link_output(l, &bytes, &n, 7);
        link_call(l, "within", NULL, NULL, NULL, NULL);
        break;
    case 7:
        stream_consumed(s, 100);
        stream_set_handler(s, &pair_handler, &r->side->model);
        break;
    case 8:
        link_tick(l, UINT64_MAX / 2);
        break;
    default:
        break;
    }
}

START_TEST(callbacks_may_do_anything)
{
    struct link_options o = {.lease_ms = 1000};
    struct pair *p = pair_new(&o, NULL);
    struct reentrant r = {.side = &p->a, .what = _i};
    p->delay = 100;
    struct error e;
    for (int i = 0; i < 3; i++) {
        struct stream *s = stream_open(p->a.link, "x", NULL, &r_handler, &r, &e);
        ck_assert_ptr_nonnull(s);
        if (i > 0) {
            stream_ready(s);
        }
    }
    p->b.model.to_send = 1000;
    p->b.model.eof_after = true;
    pair_run_for(p, 1000);
    for (size_t i = 0; i < p->b.flow_count; i++) {
        if (p->b.flows[i].s != NULL) {
            stream_close(p->b.flows[i].s, 0, NULL, NULL);
        }
    }
    pair_run_for(p, 1000);
    ck_assert_int_ge(r.runs, 3);
    ck_assert_msg(link_error(p->b.link)->code != -E_PROTOCOL, "%s", link_error(p->b.link)->detail);
    pair_free(p);
    ck_assert_int_ge(r.closes, _i == 7 ? 0 : 3);
}
END_TEST

static int open_then_refuse(void *arg, struct stream *s, const char *service,
                            const struct value *args, struct error *e)
{
    (void)service;
    (void)args;
    stream_accept(s, &pair_handler, arg);
    stream_write(s, "data", 4);
    stream_ready(s);
    return errors_set(e, -E_LIMIT, "changed my mind");
}

START_TEST(accepting_and_then_refusing)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0}, g = {0};
    p->b.link->handler.open = open_then_refuse;
    p->b.link->arg = &g;
    p->b.link->handler.wake = NULL;
    pair_open(&p->a, &f);
    pair_run(p);
    ck_assert_int_eq(f.code, -E_LIMIT);
    ck_assert_str_eq(f.order, "c");
    ck_assert_int_eq(g.closes, 0);
    check_live(p);
    pair_free(p);
}
END_TEST

START_TEST(found_by_id)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {0};
    struct stream *s = pair_open(&p->a, &f);
    ck_assert_ptr_eq(stream_find(p->a.link, stream_id(s)), s);
    ck_assert_ptr_eq(stream_link(s), p->a.link);
    ck_assert_ptr_eq(stream_arg(s), &f);
    ck_assert_ptr_null(stream_find(p->a.link, 77));
    link_call(p->a.link, "x", NULL, NULL, NULL, NULL);
    ck_assert_ptr_null(stream_find(p->a.link, 3));
    pair_free(p);
}
END_TEST

/* ---- a link over a stream of another link ---- */

struct inner {
    struct link *link;
    struct stream *outer;
    struct pair *pair;
};

static size_t inner_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct inner *i = arg;
    (void)s;
    link_input(i->link, bytes, n, i->pair->now);
    return n;
}

static size_t inner_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct inner *i = arg;
    const uint8_t *bytes;
    size_t n, done = 0;
    (void)s;
    while (done < room && link_output(i->link, &bytes, &n, i->pair->now) == 0 && n > 0) {
        n = n < room - done ? n : room - done;
        memcpy(at + done, bytes, n);
        link_sent(i->link, n, i->pair->now);
        done += n;
    }
    return done;
}

static void inner_wake(void *arg, struct link *l)
{
    struct inner *i = arg;
    (void)l;
    stream_ready(i->outer);
}

static const struct stream_handler inner_handler = {inner_data, NULL, NULL, inner_fill};

static struct pair_flow inner_flow;

static int inner_open(void *arg, struct stream *s, const char *service, const struct value *args,
                      struct error *e)
{
    (void)arg;
    (void)service;
    (void)args;
    (void)e;
    inner_flow = (struct pair_flow){.close_on_eof = true};
    stream_accept(s, &pair_handler, &inner_flow);
    return 0;
}

START_TEST(a_link_over_a_stream)
{
    struct pair *p = pair_new(NULL, NULL);
    struct link_handler h = {.wake = inner_wake, .open = inner_open};
    struct link_options o = {.opener = 1}, q = {0};
    struct pair_flow f = {0}, data = {.to_send = 5000000, .eof_after = true};
    struct inner a = {.pair = p}, b = {.pair = p};
    a.outer = pair_open(&p->a, &f);
    pair_run(p);
    b.outer = p->b.flows[0].s;
    a.link = link_new(&o, &h, &a, p->now);
    b.link = link_new(&q, &h, &b, p->now);
    stream_set_handler(a.outer, &inner_handler, &a);
    stream_set_handler(b.outer, &inner_handler, &b);
    stream_ready(a.outer);
    stream_ready(b.outer);
    struct error e;
    struct stream *s = stream_open(a.link, "x", NULL, &pair_handler, &data, &e);
    ck_assert_ptr_nonnull(s);
    stream_ready(s);
    pair_run(p);
    ck_assert_int_eq(data.result, 5000000);
    ck_assert(!inner_flow.wrong);
    link_free(a.link);
    link_free(b.link);
    p->a.link->handler.wake = NULL;
    stream_set_handler(a.outer, &pair_handler, &f);
    stream_set_handler(b.outer, &pair_handler, &p->b.flows[0]);
    pair_free(p);
}
END_TEST

/* ---- deflate ---- */

#define DEFLATED 6000000

struct line {
    uint64_t rate, delay; /* bytes per second; µs one way */
    bool deep, random, unwanted;
    bool up; /* the accepter sends */
};

/* Sends DEFLATED bytes over such a line. */
static struct link_counters deflated(const struct line *line)
{
    struct link_options o = {.lease_ms = 30000, .features = LINK_FEATURE_DEFLATE};
    struct link_options q = o;
    q.features = line->unwanted ? 0 : o.features;
    struct pair *p = pair_new(&o, &q);
    struct pair_flow f = {.random = line->random};
    p->rate = line->rate;
    p->delay = line->delay;
    p->deep = line->deep;
    p->b.model = f;
    struct pair_flow *from = line->up ? &p->b.model : &f;
    from->to_send = DEFLATED;
    from->eof_after = true;
    link_tick(p->a.link, p->now);
    link_tick(p->b.link, p->now);
    pair_run(p);
    pair_open(&p->a, &f);
    pair_run(p);
    check_live(p);
    const struct pair_flow *to = line->up ? &f : &p->b.flows[0];
    ck_assert_uint_eq(to->received, DEFLATED);
    ck_assert(!to->wrong);
    ck_assert_int_eq(to->eofs, 1);
    struct link_counters c = link_counters(line->up ? p->b.link : p->a.link);
    pair_free(p);
    return c;
}

START_TEST(deflate_pays_on_a_slow_line)
{
    static const struct line lines[] = {
        {.rate = 1000000, .delay = 5000},  {.rate = 100000, .delay = 5000},
        {.rate = 10000000, .delay = 500},  {.rate = 300000, .delay = 200000},
        {.rate = 3000000, .delay = 50000},
    };
    for (size_t i = 0; i < 4 * sizeof(lines) / sizeof(*lines); i++) {
        struct line line = lines[i / 4];
        line.deep = i % 4 / 2 != 0;
        line.up = i % 2 != 0;
        struct link_counters c = deflated(&line);
        ck_assert_msg(c.saved > DEFLATED / 3, "line %zu: %llu bytes saved", i,
                      (unsigned long long)c.saved);
        ck_assert_uint_ge(c.sent + c.saved, DEFLATED);
    }
}
END_TEST

START_TEST(deflate_leaves_alone_what_does_not_shrink)
{
    struct line line = {.rate = 1000000, .delay = 5000, .random = true};
    for (int i = 0; i < 2; i++) {
        line.deep = i != 0;
        ck_assert_uint_lt(deflated(&line).sent, DEFLATED + DEFLATED / 100);
    }
}
END_TEST

START_TEST(deflate_is_for_slow_lines_only)
{
    static const struct line lines[] = {
        {.rate = 0, .delay = 0},
        {.rate = 0, .delay = 50000}, /* waits for credit, whose windows are still small */
        {.rate = 0, .delay = 500000},
        {.rate = 600000000, .delay = 50},
        {.rate = 100000000, .delay = 500},
        {.rate = 100000000, .delay = 50000},
        {.rate = 1000000, .delay = 5000, .unwanted = true},
    };
    for (size_t i = 0; i < 4 * sizeof(lines) / sizeof(*lines); i++) {
        struct line line = lines[i / 4];
        line.deep = i % 4 / 2 != 0;
        line.up = i % 2 != 0;
        ck_assert_msg(deflated(&line).saved == 0, "line %zu", i);
    }
}
END_TEST

START_TEST(deflate_is_not_for_slow_readers)
{
    struct link_options o = {.features = LINK_FEATURE_DEFLATE};
    struct pair *p = pair_new(&o, &o);
    struct pair_flow f = {.to_send = 10000000};
    p->rate = 100000000;
    p->delay = 1000;
    p->deep = true;
    p->b.model.keep = true;
    pair_open(&p->a, &f);
    /* Ten seconds, in which it reads 1 MB/s. */
    for (int i = 0; i < 1000; i++) {
        pair_run_for(p, 10000);
        struct pair_flow *r = &p->b.flows[0];
        size_t n = r->held < 10000 ? (size_t)r->held : 10000;
        r->held -= n;
        stream_consumed(r->s, n);
    }
    check_live(p);
    ck_assert_uint_gt(f.sent, 9000000);
    ck_assert_uint_eq(link_counters(p->a.link).saved, 0);
    pair_free(p);
}
END_TEST

START_TEST(marks_are_few)
{
    for (unsigned i = 0; i < 2; i++) {
        struct link_options o = {.features = i != 0 ? LINK_FEATURE_DEFLATE : 0};
        struct pair *p = pair_new(&o, &o);
        struct pair_flow f = {.to_send = 400000000, .blind = true};
        p->b.model.blind = true;
        p->rate = 200000000;
        p->delay = 50;
        p->deep = true;
        pair_open(&p->a, &f);
        pair_run_for(p, 1000000);
        check_live(p);
        ck_assert_uint_gt(f.sent, 100000000);
        ck_assert_uint_le(p->a.link->ping_token, i * 1000000 / LINK_MARK_US);
        ck_assert_uint_ge(p->a.link->ping_token, i * 50);
        pair_free(p);
    }
}
END_TEST

/* A link that agreed on deflate, with stream 1 open. */
static struct pair_side *deflating(void)
{
    struct link_options o = {.features = LINK_FEATURE_DEFLATE};
    static const uint8_t hello[] = {0, LINK_MAJOR, 0, 0, 0,   0, 0, LINK_FEATURE_DEFLATE,
                                    0, 0,          0, 0, 0xa0};
    struct pair_side *side = calloc(1, sizeof(*side));
    side->link = link_new(&o, &pair_link_handler, side, 1);
    link_input(side->link, (const uint8_t *)LINK_PREFACE, LINK_PREFACE_SIZE, 1);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_HELLO, 0, hello, sizeof(hello)), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, OPEN1), 0);
    return side;
}

START_TEST(deflated_input_is_bounded)
{
    static const uint8_t zeros[DEFLATE_IN_MAX];
    uint8_t packed[DEFLATE_BOUND(sizeof(zeros))];
    size_t n;
    struct deflate_out *d = deflate_out_new();
    ck_assert_int_eq(deflate_out_pack(d, zeros, sizeof(zeros), packed, sizeof(packed), &n), 0);
    ck_assert_uint_lt(n, 1000);
    struct pair_side *side = deflating();
    side->model.keep = true;
    side->flows[0].keep = true;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_DATA, FRAMES_DEFLATE, packed, n), 0);
    ck_assert_uint_eq(side->flows[0].received, sizeof(zeros));
    /* Credit counts what comes out. */
    ck_assert_int_eq(deflate_out_pack(d, zeros, sizeof(zeros), packed, sizeof(packed), &n), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_DATA, FRAMES_DEFLATE, packed, n), -E_PROTOCOL);
    ck_assert_uint_eq(side->flows[0].received, sizeof(zeros));
    pair_lone_free(side);
    deflate_out_free(d);
    side = deflating();
    ck_assert_int_eq(pair_feed(side, 1, FRAME_DATA, FRAMES_DEFLATE, P("\xff\xff garbage")),
                     -E_MALFORMED);
    pair_lone_free(side);
}
END_TEST

START_TEST(deflate_context_outlives_streams)
{
    uint8_t packed[DEFLATE_BOUND(1000)], text[1000];
    size_t n;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (uint8_t)(i ^ i >> 8);
    }
    struct deflate_out *d = deflate_out_new();
    struct pair_side *side = deflating();
    ck_assert_int_eq(deflate_out_pack(d, text, sizeof(text), packed, sizeof(packed), &n), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CLOSE, 0, P("\0\0\xf6")), 0);
    struct frame f;
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &f), 0);
    /* Crossed the CLOSE: nobody wants it, but the context has to see it. */
    ck_assert_int_eq(pair_feed(side, 1, FRAME_DATA, FRAMES_DEFLATE, packed, n), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_OPEN, 0, OPEN1), 0);
    ck_assert_int_eq(deflate_out_pack(d, text, sizeof(text), packed, sizeof(packed), &n), 0);
    ck_assert_uint_lt(n, 100);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_DATA, FRAMES_DEFLATE, packed, n), 0);
    ck_assert_uint_eq(side->flows[1].received, sizeof(text));
    ck_assert(!side->flows[1].wrong);
    pair_lone_free(side);
    deflate_out_free(d);
}
END_TEST

static void closed_late(void *arg, struct stream *s, int code, const struct value *result,
                        const char *text)
{
    pair_handler.closed(arg, s, code, result, text);
    stream_answer_late(s);
}

START_TEST(an_answer_may_go_with_what_is_sent_next)
{
    struct pair_side *side = pair_lone(1);
    struct pair_flow f = {0}, g = {0};
    struct stream_handler late = pair_handler;
    struct frame sent;

    late.closed = closed_late;
    pair_open(side, &f);
    stream_set_handler(f.s, &late, &f);
    ck_assert_int_eq(pair_sent(side, FRAME_OPEN, &sent), 0);
    int wakes = side->wakes;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CLOSE, 0, P("\0\0\xf6")), 0);
    ck_assert_int_eq(f.closes, 1);
    ck_assert_int_eq(side->wakes, wakes);
    ck_assert(link_has_output(side->link));
    pair_open(side, &g);
    ck_assert_int_eq(side->wakes, wakes + 1);
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &sent), 0);
    ck_assert_uint_eq(sent.id, 1);
    ck_assert_uint_eq(link_stream_count(side->link), 1);
    pair_lone_free(side);
}
END_TEST

static Suite *stream_suite(void)
{
    Suite *s = suite_create("stream");
    TCase *t = tcase_create("stream");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, both_ways_at_once, 0, 4);
    tcase_add_test(t, writes_come_before_fill_and_in_order);
    tcase_add_test(t, credit_runs_out_and_comes_back);
    tcase_add_test(t, no_credit_is_no_data_but_eof);
    tcase_add_test(t, spending_too_much_ends_the_link);
    tcase_add_test(t, data_after_eof_or_close_ends_the_link);
    tcase_add_test(t, what_is_kept_is_not_credited);
    tcase_add_test(t, small_reads_do_not_cost_a_credit_each);
    tcase_add_test(t, window_grows_with_delay);
    tcase_add_test(t, window_stays_on_a_slow_line);
    tcase_add_test(t, window_grows_when_frames_come_in_pieces);
    tcase_add_test(t, accepters_window_grows_too);
    tcase_add_test(t, growth_has_one_budget);
    tcase_add_test(t, a_reader_that_never_reads_costs_little);
    tcase_add_test(t, many_streams_start_small);
    tcase_add_test(t, streams_take_turns);
    tcase_add_test(t, a_stuck_stream_does_not_stop_others);
    tcase_add_test(t, a_small_message_passes_the_bulk_of_others);
    tcase_add_test(t, close_orders);
    tcase_add_test(t, close_before_open_was_sent);
    tcase_add_test(t, orderly_close_sends_what_is_queued);
    tcase_add_test(t, a_failure_drops_what_is_queued);
    tcase_add_test(t, after_our_close_data_is_discarded);
    tcase_add_test(t, after_our_close_no_credit);
    tcase_add_test(t, results_that_are_too_large);
    tcase_add_test(t, an_answer_may_go_with_what_is_sent_next);
    tcase_add_test(t, refused_streams);
    tcase_add_test(t, number_of_streams_is_limited);
    tcase_add_loop_test(t, callbacks_may_do_anything, 0, 9);
    tcase_add_test(t, accepting_and_then_refusing);
    tcase_add_test(t, found_by_id);
    tcase_add_test(t, a_link_over_a_stream);
    tcase_add_test(t, deflate_pays_on_a_slow_line);
    tcase_add_test(t, deflate_leaves_alone_what_does_not_shrink);
    tcase_add_test(t, deflate_is_for_slow_lines_only);
    tcase_add_test(t, deflate_is_not_for_slow_readers);
    tcase_add_test(t, marks_are_few);
    tcase_add_test(t, deflated_input_is_bounded);
    tcase_add_test(t, deflate_context_outlives_streams);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(stream_suite)
