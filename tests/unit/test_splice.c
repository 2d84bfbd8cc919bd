/* Streams of two links made one: client <-> broker on one pair of links, broker <-> agent on
 * another. */
#include <stdlib.h>
#include <string.h>

#include "launcher/broker/splice.h"
#include "pair.h"
#include "unit.h"

#define MUCH (3 * 1024 * 1024)

struct rig {
    struct pair *near, *far; /* near->a: the client; far->b: the agent */
    struct pair_flow client;
    struct pair_flow *agent;
    struct splice *splice; /* NULL: ended */
    int ends;
};

static void on_end(void *arg)
{
    struct rig *r = arg;
    r->splice = NULL;
    r->ends++;
}

static void rig_run(struct rig *r)
{
    do {
        pair_run(r->near);
        pair_run(r->far);
    } while (link_has_output(r->near->b.link) || link_has_output(r->far->a.link));
}

/* agent: what the agent's end begins as. */
static void rig_init(struct rig *r, const struct pair_flow *agent)
{
    struct error e = {0};
    *r = (struct rig){.near = pair_new(NULL, NULL), .far = pair_new(NULL, NULL)};
    r->near->now = r->far->now;
    r->far->b.model = *agent;
    pair_open(&r->near->a, &r->client);
    pair_run(r->near);
    r->splice = splice_new(r->near->b.flows[0].s, on_end, r);
    ck_assert_ptr_nonnull(r->splice);
    ck_assert_int_eq(splice_join(r->splice, r->far->a.link, "link", NULL, &e), 0);
    rig_run(r);
    r->agent = &r->far->b.flows[0];
    ck_assert_ptr_nonnull(r->agent->s);
}

static void rig_free(struct rig *r)
{
    pair_free(r->near);
    pair_free(r->far);
    ck_assert_ptr_null(r->splice);
}

static void client_sends(struct rig *r, uint64_t n, bool eof)
{
    r->client.to_send = n;
    r->client.eof_after = eof;
    stream_ready(r->client.s);
    rig_run(r);
}

START_TEST(both_ways_to_the_end)
{
    const struct pair_flow agent = {.to_send = MUCH, .eof_after = true};
    struct rig r;
    uint64_t out, back;
    rig_init(&r, &agent);
    client_sends(&r, MUCH, true);
    ck_assert_uint_eq(r.agent->received, MUCH);
    ck_assert_uint_eq(r.client.received, MUCH);
    ck_assert(!r.agent->wrong && !r.client.wrong);
    ck_assert_str_eq(r.client.order, "de");
    ck_assert_str_eq(r.agent->order, "de");
    splice_count(r.splice, &out, &back);
    ck_assert_uint_eq(out, MUCH);
    ck_assert_uint_eq(back, MUCH);
    stream_close(r.agent->s, 0, values_int(42), NULL);
    rig_run(&r);
    ck_assert_str_eq(r.client.order, "dec");
    ck_assert_int_eq(r.client.code, 0);
    ck_assert_int_eq((int)r.client.result, 42);
    ck_assert_int_eq(r.ends, 1);
    ck_assert_uint_eq(link_stream_count(r.near->b.link), 0);
    ck_assert_uint_eq(link_stream_count(r.far->a.link), 0);
    rig_free(&r);
}
END_TEST

/* Who is not read is not read from: what waits is a window or two. */
START_TEST(a_reader_who_sleeps)
{
    const struct pair_flow agent = {.keep = true};
    struct rig r;
    rig_init(&r, &agent);
    client_sends(&r, 64 * 1024 * 1024, false);
    ck_assert_uint_le(r.client.sent, 4 * LINK_WINDOW_FIRST);
    uint64_t before = r.client.sent;
    stream_consumed(r.agent->s, r.agent->held);
    r.agent->held = 0;
    rig_run(&r);
    ck_assert_uint_gt(r.client.sent, before);
    link_end(r.near->a.link, -E_CANCELLED, "");
    link_end(r.near->b.link, -E_LOST, "gone");
    rig_run(&r);
    ck_assert_int_eq(r.ends, 1);
    ck_assert_int_eq(r.agent->code, -E_LOST);
    rig_free(&r);
}
END_TEST

/* The agent's last words reach a client who was slow to read what came before. */
START_TEST(a_failure_comes_after_the_bytes)
{
    const struct pair_flow agent = {.to_send = 100000};
    struct rig r;
    rig_init(&r, &agent);
    stream_close(r.agent->s, -E_LEASE, NULL, "too quiet");
    rig_run(&r);
    ck_assert_uint_eq(r.client.received, 100000);
    ck_assert_str_eq(r.client.order, "dc");
    ck_assert_int_eq(r.client.code, -E_LEASE);
    ck_assert_str_eq(r.client.text, "too quiet");
    ck_assert_int_eq(r.ends, 1);
    rig_free(&r);
}
END_TEST

START_TEST(the_clients_line_is_cut)
{
    const struct pair_flow agent = {0};
    struct rig r;
    rig_init(&r, &agent);
    r.client.keep = true;
    r.agent->to_send = MUCH;
    stream_ready(r.agent->s);
    rig_run(&r);
    ck_assert_uint_gt(r.agent->to_send, 0);
    link_end(r.near->b.link, -E_LOST, "gone");
    pair_run(r.far);
    ck_assert_int_eq(r.agent->closes, 1);
    ck_assert_int_eq(r.agent->code, -E_LOST);
    ck_assert_int_eq(r.ends, 1);
    rig_free(&r);
}
END_TEST

START_TEST(the_hosts_line_is_cut)
{
    const struct pair_flow agent = {0};
    struct rig r;
    rig_init(&r, &agent);
    link_end(r.far->a.link, -E_SILENT, "nothing heard");
    pair_run(r.near);
    ck_assert_int_eq(r.client.closes, 1);
    ck_assert_int_eq(r.client.code, -E_SILENT);
    ck_assert_str_eq(r.client.text, "nothing heard");
    ck_assert_int_eq(r.ends, 1);
    rig_free(&r);
}
END_TEST

START_TEST(the_agent_has_no_such_service)
{
    struct rig r;
    struct error e = {0};
    r = (struct rig){.near = pair_new(NULL, NULL), .far = pair_new(NULL, NULL)};
    r.far->b.refuse = -E_LIMIT;
    pair_open(&r.near->a, &r.client);
    pair_run(r.near);
    r.splice = splice_new(r.near->b.flows[0].s, on_end, &r);
    ck_assert_int_eq(splice_join(r.splice, r.far->a.link, "link", NULL, &e), 0);
    client_sends(&r, 10, false);
    ck_assert_int_eq(r.client.code, -E_LIMIT);
    ck_assert_int_eq(r.ends, 1);
    rig_free(&r);
}
END_TEST

/* What comes before there is a far side waits for it. */
static void rig_alone(struct rig *r)
{
    *r = (struct rig){.near = pair_new(NULL, NULL), .far = pair_new(NULL, NULL)};
    pair_open(&r->near->a, &r->client);
    pair_run(r->near);
    r->splice = splice_new(r->near->b.flows[0].s, on_end, r);
    client_sends(r, 1000, true);
    ck_assert_uint_eq(r->client.sent, 1000);
}

START_TEST(kept_and_let_go)
{
    struct rig r;
    struct error e = {0};
    rig_alone(&r);
    ck_assert_int_eq(splice_join(r.splice, r.far->a.link, "link", NULL, &e), 0);
    rig_run(&r);
    struct pair_flow *agent = &r.far->b.flows[0];
    ck_assert_uint_eq(agent->received, 1000);
    ck_assert_str_eq(agent->order, "de");
    splice_break(r.splice, -E_CLOSED, "closed");
    rig_run(&r);
    ck_assert_int_eq(r.client.code, -E_CLOSED);
    ck_assert_int_eq(agent->code, -E_CLOSED);
    ck_assert_int_eq(r.ends, 1);
    rig_free(&r);
}
END_TEST

START_TEST(kept_and_broken)
{
    struct rig r;
    rig_alone(&r);
    splice_break(r.splice, -E_NOT_HELD, "");
    rig_run(&r);
    ck_assert_int_eq(r.client.code, -E_NOT_HELD);
    ck_assert_int_eq(r.ends, 1);
    rig_free(&r);
}
END_TEST

START_TEST(kept_and_cut)
{
    struct rig r;
    rig_alone(&r);
    link_end(r.near->b.link, -E_LOST, "gone");
    ck_assert_int_eq(r.ends, 1);
    rig_free(&r);
}
END_TEST

static Suite *splice_suite(void)
{
    Suite *s = suite_create("splice");
    TCase *t = tcase_create("splice");
    tcase_add_test(t, both_ways_to_the_end);
    tcase_add_test(t, a_reader_who_sleeps);
    tcase_add_test(t, a_failure_comes_after_the_bytes);
    tcase_add_test(t, the_clients_line_is_cut);
    tcase_add_test(t, the_hosts_line_is_cut);
    tcase_add_test(t, the_agent_has_no_such_service);
    tcase_add_test(t, kept_and_let_go);
    tcase_add_test(t, kept_and_broken);
    tcase_add_test(t, kept_and_cut);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(splice_suite)
