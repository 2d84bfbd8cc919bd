/* The C interface to remote code against a worker that is made of a bare link in this process: it
 * does what the tests want, also what no worker should. */
#include <check.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/remote/instance.h"
#include "proto/stream.h"
#include "tests/unit/unit.h"

/* ---- the worker: takes the place of launcher/remote/instance.c ---- */

#define NEVER_MAX 16

struct instance {
    struct instance *next;
    struct grapnel *g;
    struct instance_handler handler;
    void *arg;
    struct link *far;
    ev_timer pump;
    int dead, freed, busy;
    uint8_t left[64 * 1024]; /* not taken by the launcher yet */
    uint32_t never[NEVER_MAX];
    size_t nevers;
    int cancels;
    int64_t function;     /* the last one it was given */
    int64_t released[10]; /* by object */
    char seen[200];
};

static struct instance *workers;
static int start_fails;

static struct value *ref_args(const uint8_t *body, size_t n)
{
    struct value *both = NULL;

    ck_assert_int_eq(values_decode_refs(body, n, &both), 0);
    return both;
}

static void answer(struct link *l, uint32_t id, struct value *results)
{
    struct wire_buf body = {0};

    ck_assert_int_eq(values_encode(results, &body), 0);
    ck_assert_int_eq(link_answer_raw(l, id, wire_data(&body), wire_length(&body)), 0);
    wire_free(&body);
    values_free(results);
}

static struct value *list(struct value *a, struct value *b)
{
    struct value *array = values_array();

    if (a)
        values_append(array, a);
    if (b)
        values_append(array, b);
    return array;
}

struct relay {
    struct instance *w;
    uint32_t id;
};

/* What comes back from the launcher's function is the answer to the call that named it. */
static void on_relayed(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct relay *r = arg;

    if (code)
        link_fail(r->w->far, r->id, code, text);
    else
        link_answer_raw(r->w->far, r->id, body, n);
    free(r);
}

/* Calls `callee` of the launcher's with these arguments, [name, [flags, callee, …]]. */
static void ask_back(struct instance *w, uint32_t id, const char *name, int64_t flags,
                     struct value *callee, struct value *args, size_t from)
{
    struct value *inner = list(values_int(flags), callee);
    struct value *both = list(values_text(name), NULL);
    struct wire_buf body = {0};
    struct relay *r = malloc(sizeof *r);
    uint32_t back;

    ck_assert_ptr_nonnull(r);
    *r = (struct relay){.w = w, .id = id};
    for (size_t i = from; i < values_count(args); i++)
        values_append(inner, values_take(args, i));
    values_append(both, inner);
    ck_assert_int_eq(values_encode(both, &body), 0);
    ck_assert_int_eq(
        link_call_raw(w->far, wire_data(&body), wire_length(&body), on_relayed, r, &back), 0);
    wire_free(&body);
    values_free(both);
}

static void die(struct instance *w, int code, const char *detail)
{
    struct error e = {0};

    errors_set(&e, code, "%s", detail);
    w->dead = 1;
    w->handler.ended(w->arg, &e);
}

static void relay(struct instance *w, uint32_t id, struct value *args, const char *how)
{
    const struct value *f = values_at(args, 2);
    int64_t flags = values_as_int(values_at(args, 0), 0);

    if (values_ref_id(f))
        w->function = values_ref_id(f);
    if (strcmp(how, "denied") == 0)
        ask_back(w, id, "call", 0, values_text("os.execute"), args, 3);
    else if (strcmp(how, "stale") == 0)
        ask_back(w, id, "call", 0, values_ref(4711, NULL, NULL), args, 3);
    else if (strcmp(how, "index") == 0)
        ask_back(w, id, "index", 0, values_ref(w->function, NULL, NULL), args, 3);
    else if (strcmp(how, "deep") == 0)
        ask_back(w, id, "call", 100 << 8, values_ref(w->function, NULL, NULL), args, 3);
    else if (strcmp(how, "nested") == 0)
        ask_back(w, id, "call", ((flags >> 8) + 1) << 8, values_ref(w->function, NULL, NULL), args,
                 3);
    else
        ask_back(w, id, "call", 0, values_ref(w->function, NULL, NULL), args, 3);
}

static void object(struct link *l, uint32_t id, struct value *args)
{
    int64_t which = values_as_int(values_at(args, 2), 1);

    answer(l, id, list(values_ref(which, "table", "thing"), NULL));
}

static void do_call(struct instance *w, uint32_t id, const char *path, struct value *args)
{
    struct link *l = w->far;
    int64_t pair[2] = {w->function, values_as_int(values_at(args, 2), 1)};
    struct value *map;

    if (strcmp(path, "echo") == 0) {
        struct value *results = values_array();
        for (size_t i = 2; i < values_count(args); i++)
            values_append(results, values_take(args, i));
        answer(l, id, results);
    } else if (strcmp(path, "never") == 0) {
        w->never[w->nevers++ % NEVER_MAX] = id;
    } else if (strcmp(path, "fail") == 0) {
        map = values_map();
        values_set(map, "error", values_text("boom"));
        values_set(map, "traceback", values_text("stack"));
        answer(l, id, map);
    } else if (strcmp(path, "throw") == 0) {
        map = values_map();
        values_set(map, "error", list(values_int(7), NULL));
        answer(l, id, map);
    } else if (strcmp(path, "nothere") == 0) {
        answer(l, id, list(values_nil(), values_text("no such file")));
    } else if (strcmp(path, "object") == 0) {
        object(l, id, args);
    } else if (strncmp(path, "back.", 5) == 0) {
        relay(w, id, args, path + 5);
    } else if (strcmp(path, "forget") == 0) {
        ck_assert_int_eq(link_release(l, pair, 1), 0);
        answer(l, id, list(NULL, NULL));
    } else if (strcmp(path, "garbage") == 0) {
        link_answer_raw(l, id, (const uint8_t *)"\x82\xff", 2);
    } else if (strcmp(path, "nolist") == 0) {
        link_answer_raw(l, id, (const uint8_t *)"\x01", 1);
    } else if (strcmp(path, "die") == 0) {
        die(w, -E_INSTANCE, "killed by signal SEGV");
    } else {
        link_fail(l, id, -E_NO_FUNCTION, path);
    }
}

static void on_call(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct instance *w = arg;
    struct value *both = ref_args(body, n);
    const char *name = values_as_string(values_at(both, 0), NULL);
    struct value *args = values_take(both, 1);
    const char *path = values_as_string(values_at(args, 1), NULL);

    ck_assert_ptr_nonnull(name);
    snprintf(w->seen, sizeof w->seen, "%s", name);
    if (strcmp(name, "call") == 0 && path) {
        do_call(w, id, path, args);
    } else if (strcmp(name, "call") == 0) { /* of an object */
        answer(l, id, list(values_int(values_ref_id(values_at(args, 1))), values_take(args, 2)));
    } else if (strcmp(name, "len") == 0) {
        answer(l, id, list(values_int(42), NULL));
    } else if (strcmp(name, "op") == 0) {
        answer(l, id, list(values_take(args, 0), values_take(args, 2)));
    } else {
        answer(l, id, list(values_take(args, 1), values_take(args, 2)));
    }
    values_free(args);
    values_free(both);
}

static void on_cancel(void *arg, struct link *l, uint32_t id)
{
    struct instance *w = arg;

    w->cancels++;
    link_fail(l, id, -E_CANCELLED, "as it was asked for");
}

static int on_release(void *arg, struct link *l, int64_t id, int64_t count)
{
    struct instance *w = arg;

    (void)l;
    ck_assert_int_lt(id, 10);
    w->released[id] += count;
    return 0;
}

/* Moves bytes both ways until nothing moves. */
static void on_pump(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct instance *w = timer->data;
    const uint8_t *bytes;
    size_t n, moved = 1;

    (void)loop;
    (void)revents;
    w->busy = 1;
    while (moved && !w->dead && !w->freed) {
        moved = w->handler.fill(w->arg, w->left, sizeof w->left);
        link_input(w->far, w->left, moved, context_now());
        if (w->dead || w->freed)
            break;
        link_output(w->far, &bytes, &n, context_now());
        n = n < sizeof w->left ? n : sizeof w->left;
        memcpy(w->left, bytes ? bytes : w->left, n);
        link_sent(w->far, n, context_now());
        moved += n;
        if (n)
            w->handler.bytes(w->arg, w->left, n);
    }
    w->busy = 0;
    if (w->freed) {
        link_free(w->far);
        free(w);
    }
}

void instance_ready(struct instance *w)
{
    if (!w->dead && !w->freed)
        ev_timer_start(w->g->loop, &w->pump);
}

static void on_wake(void *arg, struct link *l)
{
    (void)l;
    instance_ready(arg);
}

struct instance *instance_start(struct grapnel_server *s, const struct grapnel_instance_options *o,
                                const struct instance_handler *handler, void *arg, struct error *e)
{
    static const struct link_handler far = {
        .call_raw = on_call, .cancel = on_cancel, .release = on_release, .wake = on_wake};
    struct link_options options = {
        .features = LINK_FEATURE_REFS, .calls_max = LINK_CALLS_MOST, .body_max = LINK_BODY_MOST};
    struct instance *w = calloc(1, sizeof *w);

    (void)o;
    if (start_fails) {
        free(w);
        errors_set(e, -E_WORKER_MISSING, "none");
        return NULL;
    }
    w->g = connection_context(s);
    w->handler = *handler;
    w->arg = arg;
    w->far = link_new(&options, &far, w, context_now());
    ev_timer_init(&w->pump, on_pump, 0., 0.);
    w->pump.data = w;
    w->next = workers;
    workers = w;
    return w;
}

void instance_consumed(struct instance *w, size_t n)
{
    (void)w;
    (void)n;
}

static void on_left(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct instance *w = timer->data;

    (void)loop;
    (void)revents;
    if (!w->dead)
        die(w, -E_INSTANCE, "exited with status 0");
}

void instance_eof(struct instance *w)
{
    ev_timer_stop(w->g->loop, &w->pump);
    ev_set_cb(&w->pump, on_left);
    instance_ready(w);
}

void instance_cancel(struct instance *w)
{
    instance_eof(w);
}

void instance_free(struct instance *w)
{
    if (!w)
        return;
    for (struct instance **at = &workers; *at; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    ev_timer_stop(w->g->loop, &w->pump);
    w->freed = 1;
    if (!w->busy) {
        link_free(w->far);
        free(w);
    }
}

const struct grapnel_exec_status *instance_status(const struct instance *w)
{
    static const struct grapnel_exec_status left = {.exited = 1};

    (void)w;
    return &left;
}

void instance_cancel_all(struct grapnel_server *s)
{
    (void)s;
}

void instance_held_end_all(struct grapnel_server *s, const struct error *e)
{
    (void)s;
    (void)e;
}

void instance_held_free_all(struct grapnel_server *s)
{
    (void)s;
}

/* ---- what tests share ---- */

static struct grapnel *g;
static struct grapnel_server *server;
static struct grapnel_instance *it;
static struct grapnel_error error;

static void setup(void)
{
    struct grapnel_connect_options o = {.transport = "local"};

    g = grapnel_new(NULL, &error);
    ck_assert_ptr_nonnull(g);
    server = grapnel_open(g, "here", &o, &error);
    ck_assert_ptr_nonnull(server);
    it = grapnel_instance_open(server, NULL, &error);
    ck_assert_msg(it != NULL, "%s", error.detail);
}

static void teardown(void)
{
    grapnel_instance_free(it);
    grapnel_server_free(server);
    grapnel_free(g);
    it = NULL;
    ck_assert_ptr_null(workers);
}

static void check_json(struct grapnel_value *v, const char *expected)
{
    char *json = grapnel_value_json(v);

    ck_assert_str_eq(json, expected);
    grapnel_string_free(json);
    grapnel_value_free(v);
}

#define ck_call(...)                                                                               \
    ck_assert_msg(grapnel_call(__VA_ARGS__) == 0, "%s: %s", error.name, error.detail)

static void check_failure(int code, const char *detail)
{
    ck_assert_str_eq(error.name, grapnel_error_name(code));
    ck_assert_msg(strstr(error.detail, detail) != NULL, "%s", error.detail);
}

/* ---- arguments and values ---- */

START_TEST(every_type_of_argument_comes_back)
{
    struct grapnel_value *v, *some = grapnel_value_new_array();

    ck_call(it, "echo", &v, &error, "(nbbiuxtd)", 0, 2, -7, 7u, INT64_MIN, (uint64_t)INT64_MAX,
            1.5);
    check_json(v, "[null,false,true,-7,7,-9223372036854775808,9223372036854775807,1.5]");
    ck_call(it, "echo", &v, &error, "(sSsyy)", "text", "a\0b", (size_t)3, NULL, "by", (size_t)2,
            "\xff", (size_t)1);
    check_json(v, "[\"text\",\"a\\u0000b\",null,\"by\",{\"base64\":\"/w==\"}]");
    ck_call(it, "echo", &v, &error, "(asa(si)asaai)", 2u, "x", "y", 1u, "z", 5, 0u, 2u, 1u, 6, 0u);
    check_json(v, "[[\"x\",\"y\"],[[\"z\",5]],[],[[6],[]]]");
    ck_call(it, "echo", &v, &error, "({sisa{xb}}a{ss}{})", "n", 1, "m", 2u, (int64_t)3, 1,
            (int64_t)-3, 0, 0u);
    check_json(v, "[{\"n\":1,\"m\":{\"3\":true,\"-3\":false}},{},{}]");
    grapnel_value_append(some, grapnel_value_new_float(INFINITY));
    grapnel_value_append(some, grapnel_value_new_string("s", 1));
    ck_call(it, "echo", &v, &error, "(vv)", some, NULL);
    check_json(v, "[[\"Infinity\",\"s\"],null]");
    grapnel_value_free(some);
    ck_call(it, "echo", NULL, &error, "i", 1);
    ck_call(it, "echo", &v, &error, "");
    ck_assert_int_eq(grapnel_value_type(v), GRAPNEL_NIL);
    grapnel_value_free(v);
}
END_TEST

START_TEST(bad_arguments_are_refused_here)
{
    static const char *const formats[] = {"q", "a", "(", "(s", "{s", ")", "}", "a{s", "s*", "a)"};
    enum { MOST = 64 * 1024 * 1024, HALF = 40 * 1024 * 1024 };
    char *big = malloc(MOST);
    struct grapnel_value *v, *deep = grapnel_value_new_array();

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        ck_assert_int_lt(grapnel_call(it, "echo", &v, &error, formats[i], "s", "t"), 0);
        check_failure(-3, "format");
        ck_assert_ptr_null(v);
    }
    ck_assert_int_lt(grapnel_call(it, "echo", &v, &error, "{sis}", "a", 1, "b"), 0);
    check_failure(-3, "pairs");
    ck_assert_int_lt(grapnel_call(it, "echo", &v, &error, "{sisi}", "a", 1, "a", 2), 0);
    check_failure(-3, "twice");
    ck_assert_int_lt(grapnel_call(it, "echo", &v, &error, "{asi}", 0u, 1), 0);
    check_failure(-3, "key");
    ck_assert_int_lt(grapnel_call(it, "echo", &v, &error, "t", UINT64_MAX), 0);
    check_failure(-3, "2^63");
    ck_assert_ptr_nonnull(big);
    memset(big, 'x', MOST);
    ck_assert_int_lt(grapnel_call(it, "echo", &v, &error, "S", big, (size_t)MOST), 0);
    check_failure(-62, "channel");
    ck_assert_int_lt(
        grapnel_call(it, "echo", &v, &error, "SS", big, (size_t)HALF, big, (size_t)HALF), 0);
    check_failure(-62, "channel");
    ck_call(it, "echo", &v, &error, "S", big, (size_t)HALF);
    grapnel_value_free(v);
    free(big);
    for (int i = 0; i < 62; i++) {
        struct grapnel_value *outer = grapnel_value_new_array();
        grapnel_value_append(outer, deep);
        deep = outer;
    }
    ck_assert_int_lt(grapnel_call(it, "echo", &v, &error, "((v))", deep), 0);
    check_failure(-62, "levels");
    grapnel_value_free(deep);
}
END_TEST

START_TEST(json_becomes_a_value)
{
    static const char text[] = "{\"a\":[1,-2.5,true,null,\"\\u00fc\"],\"b\":{}}";
    static const char *const bad[] = {
        "", "{", "[1,]", "123456789012345678901234567890", "{\"a\":1,\"a\":2}", "nul"};
    struct grapnel_value *v = grapnel_value_from_json(text, sizeof text - 1, &error);
    char deep[400];

    ck_assert_ptr_nonnull(v);
    check_json(v, "{\"a\":[1,-2.5,true,null,\"ü\"],\"b\":{}}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_ptr_null(grapnel_value_from_json(bad[i], strlen(bad[i]), &error));
        check_failure(-3, "JSON");
    }
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    ck_assert_ptr_null(grapnel_value_from_json(deep, 200, &error));
    check_failure(-3, "levels");
}
END_TEST

START_TEST(failures_have_their_causes)
{
    struct grapnel_future *f;
    const struct grapnel_value *thrown;
    const char *traceback;

    ck_assert_int_eq(grapnel_call(it, "fail", NULL, &error, ""), -80);
    check_failure(-80, "boom; remote traceback: stack");
    ck_assert_int_eq(grapnel_call(it, "nothere", NULL, &error, ""), -80);
    check_failure(-80, "no such file");
    ck_assert_int_eq(grapnel_call(it, "who.knows", NULL, &error, ""), -83);
    check_failure(-83, "who.knows");
    ck_assert_int_eq(grapnel_call(it, "garbage", NULL, &error, ""), -63);
    ck_assert_int_eq(grapnel_call(it, "nolist", NULL, &error, ""), -63);
    f = grapnel_call_start(it, "throw", &error, "");
    ck_assert_int_eq(grapnel_future_wait(f, -1, &error), -80);
    check_failure(-80, "[7]");
    thrown = grapnel_future_thrown(f, &traceback);
    ck_assert_int_eq(grapnel_value_int(grapnel_value_at(thrown, 0), 0), 7);
    ck_assert_ptr_null(traceback);
    ck_assert_ptr_null(grapnel_future_value(f));
    grapnel_future_free(f);
    f = grapnel_call_start(it, "nothere", &error, "");
    ck_assert_int_eq(grapnel_future_wait(f, -1, NULL), -80);
    ck_assert_uint_eq(grapnel_value_count(grapnel_future_results(f)), 2);
    grapnel_future_free(f);
    ck_assert_int_eq(grapnel_instance_error(it, NULL), 0);
}
END_TEST

/* ---- futures ---- */

#define MANY 300000

START_TEST(hundreds_of_thousands_at_once)
{
    struct grapnel_future **all = calloc(MANY, sizeof(struct grapnel_future *));

    ck_assert_ptr_nonnull(all);
    for (int i = 0; i < MANY; i++) {
        all[i] = grapnel_call_start(it, "echo", &error, "i", i);
        ck_assert_ptr_nonnull(all[i]);
    }
    for (int i = MANY - 1; i >= 0; i--) {
        ck_assert_int_eq(grapnel_future_wait(all[i], 60000, &error), 0);
        ck_assert_int_eq(grapnel_value_int(grapnel_future_value(all[i]), -1), i);
        grapnel_future_free(all[i]);
    }
    free(all);
}
END_TEST

START_TEST(too_many_are_refused)
{
    struct grapnel_instance_options o = {.calls_max = 5};
    struct grapnel_instance *few = grapnel_instance_open(server, &o, &error);
    struct grapnel_future *f[5];

    for (int i = 0; i < 5; i++)
        f[i] = grapnel_call_start(few, "echo", &error, "i", i);
    ck_assert_ptr_nonnull(f[4]);
    ck_assert_ptr_null(grapnel_call_start(few, "echo", &error, "i", 5));
    check_failure(-10, "5 calls");
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(grapnel_future_wait(f[i], -1, NULL), 0);
        grapnel_future_free(f[i]);
    }
    ck_assert_int_eq(grapnel_call(few, "echo", NULL, NULL, ""), 0);
    grapnel_instance_free(few);
}
END_TEST

static int done_count;
static void on_done(void *arg, struct grapnel_future *f)
{
    ck_assert_int_eq(grapnel_future_ready(f), 1);
    *(int *)arg += 1;
    grapnel_future_free(f);
}

START_TEST(cancel_expire_and_wait)
{
    struct grapnel_future *f = grapnel_call_start(it, "never", &error, "");

    ck_assert_int_eq(grapnel_future_ready(f), 0);
    ck_assert_int_eq(grapnel_future_wait(f, 20, &error), -6);
    ck_assert_int_eq(grapnel_future_ready(f), 0);
    ck_assert_ptr_null(grapnel_future_value(f));
    ck_assert_int_eq(grapnel_future_error(f, NULL), 0);
    grapnel_future_cancel(f);
    grapnel_future_cancel(f);
    ck_assert_int_eq(grapnel_future_wait(f, -1, &error), -7);
    check_failure(-7, "as it was asked for");
    grapnel_future_free(f);
    ck_assert_int_eq(workers->cancels, 1);

    f = grapnel_call_start(it, "never", &error, "");
    ck_assert_int_eq(grapnel_future_expire(f, 20), 0);
    ck_assert_int_eq(grapnel_future_wait(f, -1, &error), -6);
    check_failure(-6, "time limit");
    ck_assert_int_eq(grapnel_future_ready(f), 1);
    grapnel_future_free(f);
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_int_eq(workers->cancels, 2);

    f = grapnel_call_start(it, "never", &error, "");
    ck_assert_int_eq(grapnel_future_expire(f, 20), 0);
    ck_assert_int_eq(grapnel_future_expire(f, -1), 0);
    ck_assert_int_eq(grapnel_future_wait(f, 60, NULL), -6);
    ck_assert_int_eq(grapnel_future_ready(f), 0);
    grapnel_future_free(f);
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_int_eq(workers->cancels, 3);
}
END_TEST

START_TEST(a_time_limit_for_all_calls)
{
    struct grapnel_instance_options o = {.call_timeout = 20};
    struct grapnel_instance *hasty = grapnel_instance_open(server, &o, &error);

    ck_assert_int_eq(grapnel_call(hasty, "never", NULL, &error, ""), -6);
    ck_assert_int_eq(grapnel_call(hasty, "echo", NULL, &error, ""), 0);
    ck_assert_int_eq(workers->cancels, 1);
    grapnel_instance_free(hasty);
}
END_TEST

START_TEST(callbacks_when_done)
{
    struct grapnel_future *f;

    done_count = 0;
    for (int i = 0; i < 100; i++) {
        f = grapnel_call_start(it, "echo", &error, "i", i);
        grapnel_future_on_done(f, on_done, &done_count);
    }
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_int_eq(done_count, 100);
    f = grapnel_call_start(it, "echo", &error, "");
    ck_assert_int_eq(grapnel_future_wait(f, -1, NULL), 0);
    grapnel_future_on_done(f, on_done, &done_count);
    ck_assert_int_eq(done_count, 101);
}
END_TEST

static void on_done_elsewhere(void *arg, struct grapnel_future *f)
{
    grapnel_future_free(f);
    sem_post(arg);
}

/* The first goes at once, and one that follows it soon goes a moment later. */
START_TEST(calls_go_out_though_nobody_waits)
{
    struct timespec until;
    sem_t done;

    ck_assert_int_eq(sem_init(&done, 0, 0), 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    for (int i = 0; i < 200; i++) {
        grapnel_future_on_done(grapnel_call_start(it, "echo", &error, "i", i), on_done_elsewhere,
                               &done);
        ck_assert_int_eq(sem_timedwait(&done, &until), 0);
    }
    sem_destroy(&done);
}
END_TEST

static void call_and_wait(void *arg, struct grapnel_future *f)
{
    struct grapnel_error e;

    ck_assert_int_eq(grapnel_call(it, "echo", NULL, &e, ""), -3);
    ck_assert_ptr_nonnull(strstr(e.detail, "must not wait"));
    *(struct grapnel_future **)arg = grapnel_call_start(it, "echo", &e, "i", 5);
    grapnel_future_free(f);
}

START_TEST(callbacks_start_but_do_not_wait)
{
    struct grapnel_future *f = grapnel_call_start(it, "echo", &error, ""), *next = NULL;

    grapnel_future_on_done(f, call_and_wait, &next);
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_ptr_nonnull(next);
    ck_assert_int_eq(grapnel_future_wait(next, -1, NULL), 0);
    ck_assert_int_eq(grapnel_value_int(grapnel_future_value(next), 0), 5);
    grapnel_future_free(next);
}
END_TEST

/* ---- refs ---- */

static struct grapnel_ref *get_object(int which)
{
    struct grapnel_value *v;
    struct grapnel_ref *ref;

    ck_call(it, "object", &v, &error, "i", which);
    ref = grapnel_value_ref(v);
    ck_assert_ptr_nonnull(ref);
    grapnel_value_free(v);
    return ref;
}

START_TEST(refs_are_the_same_and_are_given_back)
{
    struct grapnel_ref *a = get_object(1), *b = get_object(1), *c = get_object(2);
    struct grapnel_future *f;

    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c);
    ck_assert_str_eq(grapnel_ref_kind(a), "table");
    ck_assert_str_eq(grapnel_ref_name(a), "thing");
    grapnel_ref_free(c);
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_int_eq(workers->released[2], 1);
    grapnel_ref_free(a);
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_int_eq(workers->released[1], 0);
    grapnel_ref_free(b);
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_int_eq(workers->released[1], 2);
    /* Answers that nobody looks at. */
    f = grapnel_call_start(it, "object", &error, "i", 3);
    ck_assert_int_eq(grapnel_future_wait(f, -1, NULL), 0);
    grapnel_future_free(f);
    f = grapnel_call_start(it, "object", &error, "i", 4);
    grapnel_future_free(f);
    ck_call(it, "echo", NULL, &error, "");
    ck_call(it, "echo", NULL, &error, "");
    ck_assert_int_eq(workers->released[3], 1);
    ck_assert_int_eq(workers->released[4], 1);
}
END_TEST

START_TEST(refs_are_used)
{
    struct grapnel_ref *a = get_object(1), *same;
    struct grapnel_value *v, *args, *holds;
    struct grapnel_call_options plus = {.ref = a, .op = "op"};
    struct grapnel_future *f;

    ck_assert_int_eq(grapnel_call_ref(a, &v, &error, "s", "x"), 0);
    ck_assert_int_eq(grapnel_value_int(v, 0), 1);
    grapnel_value_free(v);
    ck_assert_int_eq(grapnel_ref_index(a, &v, &error, "s", "key"), 0);
    ck_assert_str_eq(grapnel_value_string(v, NULL), "key");
    ck_assert_str_eq(workers->seen, "index");
    grapnel_value_free(v);
    ck_assert_int_eq(grapnel_ref_set(a, &error, "si", "key", 1), 0);
    ck_assert_str_eq(workers->seen, "newindex");
    ck_assert_int_eq(grapnel_ref_length(a, &error), 42);
    ck_assert_int_eq(grapnel_ref_obtain(a, &v, &error), 0);
    grapnel_value_free(v);
    /* It goes home as itself, in an argument and in a value. */
    holds = grapnel_value_new_array();
    grapnel_value_append(holds, grapnel_value_new_ref(a));
    ck_call(it, "echo", &v, &error, "(rv)", a, holds);
    ck_assert_int_eq(grapnel_value_type(grapnel_value_at(v, 0)), GRAPNEL_REF);
    grapnel_value_free(v);
    grapnel_value_free(holds);
    args = grapnel_value_new_array();
    grapnel_value_append(args, grapnel_value_new_string("add", 3));
    grapnel_value_append(args, grapnel_value_new_int(2));
    plus.args = args;
    f = grapnel_callv(it, &plus, &error);
    ck_assert_int_eq(grapnel_future_wait(f, -1, NULL), 0);
    ck_assert_int_eq(grapnel_value_int(grapnel_value_at(grapnel_future_results(f), 1), 0), 2);
    grapnel_future_free(f);
    grapnel_value_free(args);
    same = grapnel_ref_share(a);
    grapnel_ref_free(a);
    grapnel_ref_free(same);
}
END_TEST

/* Mistakes of the caller are told as such, and harm nothing. */
START_TEST(nothing_is_refused)
{
    struct grapnel_value *v = NULL;

    ck_assert_int_eq(grapnel_call(it, NULL, &v, &error, "i", 1), -3);
    check_failure(-3, "the path is NULL");
    ck_assert_ptr_null(grapnel_call_start(it, NULL, &error, ""));
    check_failure(-3, "the path is NULL");
    ck_assert_int_eq(grapnel_call(it, "echo", &v, &error, NULL), -3);
    check_failure(-3, "the format is NULL");
    ck_assert_ptr_null(grapnel_call_start(it, "echo", &error, NULL));
    ck_assert_int_eq(grapnel_call_ref(NULL, &v, &error, ""), -3);
    check_failure(-3, "the ref is NULL");
    ck_assert_ptr_null(v);
    ck_assert_ptr_null(grapnel_call_ref_start(NULL, &error, ""));
    check_failure(-3, "the ref is NULL");
    ck_assert_int_eq(grapnel_ref_index(NULL, &v, NULL, "s", "key"), -3);
    ck_assert_int_eq(grapnel_ref_set(NULL, &error, "ss", "key", "value"), -3);
    ck_assert_int_eq(grapnel_ref_length(NULL, &error), -3);
    ck_assert_int_eq(grapnel_ref_obtain(NULL, &v, &error), -3);
    ck_assert_ptr_null(grapnel_ref_share(NULL));
    ck_assert_ptr_null(grapnel_ref_kind(NULL));
    ck_assert_ptr_null(grapnel_ref_name(NULL));
    ck_assert_ptr_null(grapnel_value_new_ref(NULL));
    ck_call(it, "echo", NULL, &error, "");
}
END_TEST

START_TEST(operations_have_their_arguments)
{
    static const struct {
        const char *op;
        size_t n;
        const char *why;
    } cases[] = {{"index", 0, "takes 1 argument, not 0"},  {"index", 2, "takes 1 argument, not 2"},
                 {"newindex", 1, "takes 2 arguments"},     {"len", 1, "takes 0 arguments"},
                 {"op", 0, "takes 2 arguments"},           {"op", 3, "takes 2 arguments"},
                 {"nonsense", 0, "no operation on a ref"}, {"root", 0, "no operation on a ref"}};
    struct grapnel_ref *a = get_object(1);

    ck_assert_int_eq(grapnel_ref_index(a, NULL, &error, ""), -3);
    check_failure(-3, "takes 1 argument, not 0");
    ck_assert_int_eq(grapnel_ref_index(a, NULL, &error, "ss", "a", "b"), -3);
    ck_assert_int_eq(grapnel_ref_set(a, &error, "s", "a"), -3);
    check_failure(-3, "takes 2 arguments, not 1");
    ck_assert_int_eq(grapnel_ref_set(a, &error, "sss", "a", "b", "c"), -3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grapnel_value *args = grapnel_value_new_array();
        struct grapnel_call_options call = {.ref = a, .op = cases[i].op, .args = args};
        for (size_t k = 0; k < cases[i].n; k++)
            grapnel_value_append(args, grapnel_value_new_string("add", 3));
        ck_assert_ptr_null(grapnel_callv(it, &call, &error));
        check_failure(-3, cases[i].why);
        grapnel_value_free(args);
    }
    ck_call(it, "echo", NULL, &error, "");
    grapnel_ref_free(a);
}
END_TEST

START_TEST(refs_of_others_are_refused)
{
    struct grapnel_instance *other = grapnel_instance_open(server, NULL, &error);
    struct grapnel_ref *a = get_object(1);
    struct grapnel_call_options call = {.ref = a};

    ck_assert_int_eq(grapnel_call(other, "echo", NULL, &error, "r", a), -3);
    check_failure(-3, "another instance");
    ck_assert_ptr_null(grapnel_callv(other, &call, &error));
    ck_assert_int_eq(grapnel_call(it, "die", NULL, &error, ""), -84);
    ck_assert_int_eq(grapnel_call(other, "echo", NULL, &error, "r", a), -82);
    ck_assert_int_eq(grapnel_call_ref(a, NULL, &error, ""), -84);
    check_failure(-84, "SEGV");
    grapnel_ref_free(a);
    grapnel_instance_free(other);
}
END_TEST

/* ---- functions ---- */

static struct grapnel_request *kept;
static int runs;
static int64_t gone;

static void add(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    int64_t sum = *(int64_t *)arg;

    runs++;
    for (size_t i = 0; i < grapnel_value_count(args); i++)
        sum += grapnel_value_int(grapnel_value_at(args, i), 0);
    grapnel_return(r, "xs", sum, "done");
}

static void refuse(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    (void)arg;
    (void)args;
    grapnel_fail(r, "not today");
}

static void keep(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    (void)arg;
    (void)args;
    kept = r;
    grapnel_stop(g);
}

static void frees_all(void *arg)
{
    (void)arg;
    gone++;
    grapnel_instance_free(it);
    it = NULL;
    grapnel_stop(g);
}

static void is_gone(void *arg)
{
    *(int64_t *)arg += 1;
}

START_TEST(functions_are_called_back)
{
    int64_t start = 100;
    struct grapnel_value *v;
    struct grapnel_future *f;

    ck_call(it, "back.", &v, &error, "fii", add, &start, 1, 2);
    ck_assert_int_eq(grapnel_value_int(v, 0), 103);
    grapnel_value_free(v);
    ck_assert_int_eq(grapnel_call(it, "back.", NULL, &error, "f", refuse, NULL), -80);
    check_failure(-80, "not today");
    f = grapnel_call_start(it, "back.", &error, "f", keep, NULL);
    ck_assert_int_eq(grapnel_drive(g, 5000), 0);
    ck_assert_int_eq(grapnel_future_ready(f), 0);
    ck_assert_int_eq(grapnel_request_cancelled(kept), 0);
    ck_assert_int_eq(grapnel_return(kept, "s", "later"), 0);
    ck_assert_int_eq(grapnel_future_wait(f, -1, NULL), 0);
    ck_assert_str_eq(grapnel_value_string(grapnel_future_value(f), NULL), "later");
    grapnel_future_free(f);
}
END_TEST

START_TEST(only_what_was_passed_can_be_called)
{
    int64_t start = 0;

    runs = 0;
    ck_assert_int_eq(grapnel_call(it, "back.denied", NULL, &error, "f", add, &start), -81);
    ck_assert_int_eq(grapnel_call(it, "back.stale", NULL, &error, "f", add, &start), -82);
    ck_assert_int_eq(grapnel_call(it, "back.index", NULL, &error, "fs", add, &start, "x"), -81);
    ck_assert_int_eq(grapnel_call(it, "back.deep", NULL, &error, "f", add, &start), -85);
    ck_assert_int_eq(runs, 0);
}
END_TEST

static void on_bottom(void *arg, struct grapnel_future *f)
{
    struct grapnel_error e;

    (void)arg;
    if (grapnel_future_error(f, &e) < 0) {
        ck_assert_str_eq(e.name, "DEPTH");
        grapnel_stop(g);
    }
    grapnel_future_free(f);
}

/* Calls again from within, two levels deeper each time. */
static void dive(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    struct grapnel_error e;
    struct grapnel_future *f;

    (void)args;
    *(int *)arg += 1;
    f = grapnel_call_start(it, "back.nested", &e, "f", dive, arg);
    ck_assert_ptr_nonnull(f);
    grapnel_future_on_done(f, on_bottom, NULL);
    grapnel_return(r, "");
}

START_TEST(nesting_has_a_limit)
{
    int depth = 0;
    struct grapnel_future *f = grapnel_call_start(it, "back.nested", &error, "f", dive, &depth);

    ck_assert_int_eq(grapnel_drive(g, 5000), 0);
    ck_assert_int_eq(depth, 32);
    ck_assert_int_eq(grapnel_future_wait(f, -1, NULL), 0);
    grapnel_future_free(f);
}
END_TEST

START_TEST(functions_are_counted)
{
    int64_t start = 1;
    struct grapnel_value *f = grapnel_value_new_function(add, &start, NULL);
    struct grapnel_value *g1, *v;

    gone = 0;
    g1 = grapnel_value_new_function(add, &gone, is_gone);
    grapnel_value_free(g1);
    ck_assert_int_eq(gone, 1);
    g1 = grapnel_value_new_function(add, &gone, is_gone);
    ck_call(it, "back.", &v, &error, "vi", g1, 0);
    grapnel_value_free(v);
    ck_call(it, "back.", &v, &error, "vi", g1, 0);
    grapnel_value_free(v);
    grapnel_value_free(g1);
    ck_assert_int_eq(gone, 1);
    ck_call(it, "forget", NULL, &error, "i", 1);
    ck_assert_int_eq(gone, 1);
    ck_call(it, "forget", NULL, &error, "i", 1);
    ck_assert_int_eq(gone, 2);
    /* What is not sent after all is not held. */
    g1 = grapnel_value_new_function(add, &gone, is_gone);
    ck_assert_int_lt(grapnel_call(it, "echo", NULL, &error, "vt", g1, UINT64_MAX), 0);
    grapnel_value_free(g1);
    ck_assert_int_eq(gone, 3);
    /* It comes home as itself. */
    ck_call(it, "echo", &v, &error, "v", f);
    grapnel_value_free(v);
    grapnel_value_free(f);
    /* And goes with its instance. */
    g1 = grapnel_value_new_function(add, &gone, is_gone);
    ck_call(it, "back.", NULL, &error, "v", g1);
    grapnel_value_free(g1);
    ck_assert_int_eq(grapnel_call(it, "die", NULL, &error, ""), -84);
    ck_assert_int_eq(gone, 4);
}
END_TEST

/* What is released may end the instance whose table it was in. */
START_TEST(an_end_while_something_is_released)
{
    struct grapnel_value *f = grapnel_value_new_function(add, &gone, frees_all);
    struct grapnel_value *other = grapnel_value_new_function(add, &gone, is_gone);
    struct grapnel_future *forget;

    gone = 0;
    ck_call(it, "back.", NULL, &error, "v", other);
    ck_call(it, "back.", NULL, &error, "v", f);
    grapnel_value_free(f);
    grapnel_value_free(other);
    forget = grapnel_call_start(it, "forget", &error, "i", 1);
    ck_assert_int_eq(grapnel_drive(g, 5000), 0);
    ck_assert_int_eq(gone, 2);
    ck_assert_int_eq(grapnel_future_wait(forget, 0, NULL), -7);
    grapnel_future_free(forget);
}
END_TEST

START_TEST(more_released_than_given_is_a_breach)
{
    int64_t start = 1;

    ck_call(it, "back.", NULL, &error, "f", add, &start);
    ck_assert_int_lt(grapnel_call(it, "forget", NULL, &error, "i", 2), 0);
    check_failure(-60, "");
    ck_assert_int_eq(grapnel_instance_error(it, NULL), -60);
}
END_TEST

/* ---- ends ---- */

static int ended_count;
static void on_ended(void *arg, struct grapnel_instance *i, const struct grapnel_error *e)
{
    (void)arg;
    ck_assert_str_eq(e->name, "INSTANCE");
    ck_assert_str_eq(grapnel_instance_name(i), "here:2");
    ended_count++;
}

START_TEST(death_fails_all_calls_and_it_can_be_had_again)
{
    struct grapnel_instance_options o = {.ended = on_ended, .number = 2};
    struct grapnel_instance *i = grapnel_instance_open(server, &o, &error);
    struct grapnel_future *f[3];

    ended_count = 0;
    for (int n = 0; n < 3; n++)
        f[n] = grapnel_call_start(i, "never", &error, "");
    ck_assert_int_eq(grapnel_call(i, "die", NULL, &error, ""), -84);
    check_failure(-84, "killed by signal SEGV");
    ck_assert_str_eq(error.host, "here:2");
    for (int n = 0; n < 3; n++) {
        ck_assert_int_eq(grapnel_future_wait(f[n], 0, &error), -84);
        check_failure(-84, "killed by signal SEGV");
        grapnel_future_free(f[n]);
    }
    ck_assert_int_eq(ended_count, 1);
    ck_assert_int_eq(grapnel_instance_error(i, NULL), -84);
    ck_assert_int_eq(grapnel_call(i, "echo", NULL, &error, ""), -84);
    start_fails = 1;
    ck_assert_int_lt(grapnel_instance_reopen(i, &error), 0);
    start_fails = 0;
    ck_assert_int_eq(grapnel_instance_error(i, NULL), -84);
    ck_assert_int_eq(grapnel_instance_reopen(i, &error), 0);
    ck_assert_int_eq(grapnel_call(i, "echo", NULL, &error, ""), 0);
    ck_assert_int_eq(grapnel_instance_close(i, 0, &error), 0);
    ck_assert_int_eq(grapnel_call(i, "echo", NULL, &error, ""), -7);
    grapnel_instance_free(i);
}
END_TEST

static void free_the_instance(void *arg, struct grapnel_future *f)
{
    (void)arg;
    grapnel_instance_free(it);
    it = NULL;
    grapnel_future_free(f);
    grapnel_stop(g);
}

START_TEST(all_is_freed_in_a_callback)
{
    struct grapnel_future *f = grapnel_call_start(it, "echo", &error, "");
    struct grapnel_future *pending = grapnel_call_start(it, "never", &error, "");

    grapnel_future_on_done(f, free_the_instance, NULL);
    ck_assert_int_eq(grapnel_drive(g, 5000), 0);
    ck_assert_int_eq(grapnel_future_wait(pending, 0, NULL), -7);
    grapnel_future_free(pending);
}
END_TEST

static void free_oneself(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    (void)arg;
    (void)args;
    grapnel_instance_free(it);
    it = NULL;
    ck_assert_int_lt(grapnel_return(r, "s", "too late"), 0);
    grapnel_stop(g);
}

START_TEST(a_function_frees_its_instance)
{
    struct grapnel_future *f = grapnel_call_start(it, "back.", &error, "f", free_oneself, NULL);

    ck_assert_int_eq(grapnel_drive(g, 5000), 0);
    ck_assert_int_eq(grapnel_future_ready(f), 1);
    grapnel_future_free(f);
}
END_TEST

START_TEST(the_server_goes_first)
{
    struct grapnel_future *f = grapnel_call_start(it, "never", &error, "");

    grapnel_server_free(server);
    server = NULL;
    ck_assert_int_lt(grapnel_instance_reopen(it, &error), 0);
    check_failure(-5, "freed");
    grapnel_instance_free(it);
    it = NULL;
    ck_assert_int_eq(grapnel_future_wait(f, 0, NULL), -7);
    grapnel_future_free(f);
}
END_TEST

/* ---- threads and other loops ---- */

static void *call_many(void *arg)
{
    for (int i = 0; i < 300; i++) {
        struct grapnel_value *v;
        struct grapnel_error e;
        ck_assert_int_eq(grapnel_call(arg, "echo", &v, &e, "i", i), 0);
        ck_assert_int_eq(grapnel_value_int(v, -1), i);
        grapnel_value_free(v);
    }
    return NULL;
}

START_TEST(threads_call_at_once)
{
    pthread_t threads[6];

    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_many, it), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

static pthread_t main_thread;
static void count_here(void *arg, struct grapnel_future *f)
{
    ck_assert(pthread_equal(pthread_self(), main_thread));
    on_done(arg, f);
}

START_TEST(a_loop_of_ones_own_with_two_contexts)
{
    struct grapnel_connect_options o = {.transport = "local"};
    struct grapnel *contexts[2] = {g, grapnel_new(NULL, &error)};
    struct grapnel_server *s2 = grapnel_open(contexts[1], "there", &o, &error);
    struct grapnel_instance *i2 = grapnel_instance_open(s2, NULL, &error);
    struct grapnel_instance *instances[2] = {it, i2};
    struct pollfd fds[2];
    int done[2] = {0, 0}, idle = 0;
    uint64_t began = context_now();

    main_thread = pthread_self();
    for (int c = 0; c < 2; c++) {
        fds[c] = (struct pollfd){.fd = grapnel_fd(contexts[c]), .events = POLLIN};
        ck_assert_int_ge(fds[c].fd, 0);
        ck_assert_int_eq(grapnel_fd(contexts[c]), fds[c].fd);
    }
    for (int n = 0; n < 100; n++) {
        for (int c = 0; c < 2; c++)
            grapnel_future_on_done(grapnel_call_start(instances[c], "echo", &error, "i", n),
                                   count_here, &done[c]);
    }
    for (int c = 0; c < 2; c++) { /* a time that comes by itself */
        struct grapnel_future *f = grapnel_call_start(instances[c], "never", &error, "");
        grapnel_future_expire(f, 300);
        grapnel_future_on_done(f, count_here, &done[c]);
    }
    while (done[0] + done[1] < 202) {
        ck_assert_uint_lt(context_now() - began, 10000000);
        poll(fds, 2, 5000);
        for (int c = 0; c < 2; c++) {
            if (fds[c].revents)
                ck_assert_int_eq(grapnel_dispatch(contexts[c]), 0);
        }
    }
    ck_assert_uint_ge(context_now() - began, 290000);
    /* Who waits in between does not get stuck, and nothing is due for long afterwards. */
    ck_assert_int_eq(grapnel_call(i2, "echo", NULL, &error, ""), 0);
    ck_assert_int_eq(grapnel_call(it, "echo", NULL, &error, ""), 0);
    for (int n = 0; n < 50 && idle < 3; n++) {
        if (poll(fds, 2, 50) == 0)
            idle++;
        for (int c = 0; c < 2; c++)
            ck_assert_int_eq(grapnel_dispatch(contexts[c]), 0);
    }
    ck_assert_int_eq(idle, 3);
    /* Looking wakes up nobody. */
    for (int n = 0; n < 10; n++) {
        struct grapnel_server_info info;
        grapnel_server_info(server, &info);
        ck_assert_int_eq(poll(fds, 2, 5), 0);
    }
    grapnel_instance_free(i2);
    grapnel_free(contexts[1]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("remote");
    TCase *t = tcase_create("remote");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, every_type_of_argument_comes_back);
    tcase_add_test(t, bad_arguments_are_refused_here);
    tcase_add_test(t, json_becomes_a_value);
    tcase_add_test(t, failures_have_their_causes);
    tcase_add_test(t, hundreds_of_thousands_at_once);
    tcase_add_test(t, too_many_are_refused);
    tcase_add_test(t, cancel_expire_and_wait);
    tcase_add_test(t, a_time_limit_for_all_calls);
    tcase_add_test(t, callbacks_when_done);
    tcase_add_test(t, calls_go_out_though_nobody_waits);
    tcase_add_test(t, callbacks_start_but_do_not_wait);
    tcase_add_test(t, refs_are_the_same_and_are_given_back);
    tcase_add_test(t, refs_are_used);
    tcase_add_test(t, nothing_is_refused);
    tcase_add_test(t, operations_have_their_arguments);
    tcase_add_test(t, refs_of_others_are_refused);
    tcase_add_test(t, functions_are_called_back);
    tcase_add_test(t, only_what_was_passed_can_be_called);
    tcase_add_test(t, nesting_has_a_limit);
    tcase_add_test(t, functions_are_counted);
    tcase_add_test(t, an_end_while_something_is_released);
    tcase_add_test(t, more_released_than_given_is_a_breach);
    tcase_add_test(t, death_fails_all_calls_and_it_can_be_had_again);
    tcase_add_test(t, all_is_freed_in_a_callback);
    tcase_add_test(t, a_function_frees_its_instance);
    tcase_add_test(t, the_server_goes_first);
    tcase_add_test(t, threads_call_at_once);
    tcase_add_test(t, a_loop_of_ones_own_with_two_contexts);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
