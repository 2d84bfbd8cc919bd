/* A hostile worker: frames of every kind and with any body come to a program that calls, looks at
 * all it gets, holds refs, and has passed functions.  Whatever comes, nothing crashes, nothing that
 * was not passed is run, and at the end all is freed.
 *
 * The input is a list of frames: type, id, and two bytes of length, in which the highest bit tells
 * that the program does something first; then the body. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/connection_impl.h"
#include "launcher/remote/remote.h"
#include "proto/frames.h"
#include "tests/fuzz/seeds.h"

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define FUTURES  4
#define REFS     4
#define REQUESTS 4

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct grapnel *g;
static struct grapnel_server server; /* nothing of it is looked at but its context */
static struct grapnel_instance *it;
static struct grapnel_future *futures[FUTURES];
static struct grapnel_ref *refs[REFS];
static struct grapnel_request *requests[REQUESTS];
static unsigned step;
static int passed, gone;

/* ---- in the place of launcher/remote/instance.c and of a connection ---- */

struct instance {
    struct instance_handler handler;
    void *arg;
    int freed, busy;
};
static struct instance *worker;

struct instance *instance_start(struct grapnel_server *s, const struct grapnel_instance_options *o,
                                const struct instance_handler *handler, void *arg, struct error *e)
{
    (void)s;
    (void)o;
    (void)e;
    worker = calloc(1, sizeof *worker);
    CHECK(worker);
    worker->handler = *handler;
    worker->arg = arg;
    return worker;
}

void instance_ready(struct instance *i)
{
    (void)i;
}

void instance_consumed(struct instance *i, size_t n)
{
    (void)i;
    (void)n;
}

void instance_eof(struct instance *i)
{
    (void)i;
}

void instance_cancel(struct instance *i)
{
    (void)i;
}

void instance_free(struct instance *i)
{
    if (!i)
        return;
    i->freed = 1;
    if (!i->busy) {
        free(i);
        worker = NULL;
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

/* ---- the program ---- */

static void look(const struct grapnel_value *v)
{
    const struct grapnel_value *key, *item;
    struct grapnel_ref *ref = grapnel_value_ref(v);
    size_t n = 0;

    grapnel_value_string(v, &n);
    if (ref) {
        CHECK(grapnel_ref_kind(ref));
        grapnel_ref_free(refs[step % REFS]);
        refs[step % REFS] = ref;
    }
    for (size_t i = 0; i < grapnel_value_count(v); i++) {
        if (grapnel_value_pair(v, i, &key, &item)) {
            look(key);
            look(item);
        } else {
            look(grapnel_value_at(v, i));
        }
    }
}

static void called(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    char *json = grapnel_value_json(args);

    CHECK(arg == &passed && passed > 0);
    look(args);
    grapnel_string_free(json);
    switch (step % 4) {
    case 0:
        grapnel_return(r, "vs", grapnel_value_at(args, 0), "text");
        break;
    case 1:
        grapnel_fail(r, "no");
        break;
    case 2:
        grapnel_instance_free(it);
        it = NULL;
        grapnel_return(r, "");
        break;
    default:
        if (requests[step % REQUESTS])
            grapnel_return(requests[step % REQUESTS], "");
        requests[step % REQUESTS] = r;
    }
}

static void on_gone(void *arg)
{
    CHECK(arg == &passed);
    gone++;
}

static void finish(struct grapnel_future **f)
{
    struct grapnel_error e;

    if (*f && grapnel_future_ready(*f)) {
        look(grapnel_future_results(*f));
        look(grapnel_future_thrown(*f, NULL));
        grapnel_value_free(grapnel_future_take(*f));
        grapnel_future_error(*f, &e);
    }
    grapnel_future_free(*f);
    *f = NULL;
}

static void ask(void)
{
    struct grapnel_future **f = &futures[step % FUTURES];
    struct grapnel_value *function;
    struct grapnel_ref *ref;

    finish(f);
    if (!it)
        return;
    ref = refs[step % REFS];
    switch (step % 3) {
    case 0:
        function = grapnel_value_new_function(called, &passed, on_gone);
        CHECK(function);
        passed++;
        *f = grapnel_call_start(it, "f", NULL, "vi", function, 1);
        grapnel_value_free(function);
        break;
    case 1:
        *f = grapnel_call_start(it, "f", NULL, "r", ref);
        break;
    default:
        if (ref)
            *f = grapnel_call_ref_start(ref, NULL, "");
        grapnel_ref_free(ref);
        refs[step % REFS] = NULL;
    }
}

/* ---- the worker ---- */

static uint8_t sink[64 * 1024];

static void say(const uint8_t *bytes, size_t n)
{
    if (!worker)
        return;
    worker->busy = 1;
    worker->handler.bytes(worker->arg, bytes, n);
    while (!worker->freed && worker->handler.fill(worker->arg, sink, sizeof sink) > 0)
        ;
    worker->busy = 0;
    if (worker->freed) {
        free(worker);
        worker = NULL;
    }
}

static void greet(void)
{
    static const uint8_t hello[] = "GRAPNEL\n\0\0\0\0\1\0\0\15\0\1\0\0\0\0\0\2\0\0\0\0\240";

    say(hello, sizeof hello - 1);
}

static void say_frame(const uint8_t *head, const uint8_t *body, size_t n)
{
    uint8_t *frame = malloc(FRAMES_HEADER + n);
    struct frames_header h = {.id = head[1], .type = head[0], .length = (uint16_t)n};

    CHECK(frame);
    frames_put_header(frame, &h);
    if (n > 0)
        memcpy(frame + FRAMES_HEADER, body, n);
    say(frame, FRAMES_HEADER + n);
    free(frame);
}

static void end(void)
{
    struct error e = {.code = -E_INSTANCE};

    if (worker && step % 2) {
        worker->busy = 1;
        worker->handler.ended(worker->arg, &e);
        free(worker);
        worker = NULL;
    }
    grapnel_instance_free(it);
    it = NULL;
    for (int i = 0; i < FUTURES; i++)
        finish(&futures[i]);
    for (int i = 0; i < REFS; i++) {
        grapnel_ref_free(refs[i]);
        refs[i] = NULL;
    }
    for (int i = 0; i < REQUESTS; i++) {
        if (requests[i])
            grapnel_fail(requests[i], "over");
        requests[i] = NULL;
    }
    CHECK(gone == passed && !worker);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct grapnel_connect_options o = {.transport = "local"};
    struct error e = {0};

    step = 0;
    passed = gone = 0;
    if (!g) {
        g = grapnel_new(NULL, NULL);
        CHECK(g);
        server.g = g;
        server.route = route_new(g, "here", &o, &e);
        CHECK(server.route);
    }
    it = grapnel_instance_open(&server, NULL, NULL);
    CHECK(it);
    context_lock(g);
    ask();
    greet();
    while (n >= 4) {
        size_t length = (size_t)(bytes[2] & 0x7f) << 8 | bytes[3];
        step++;
        if (bytes[2] & 0x80)
            ask();
        length = length < n - 4 ? length : n - 4;
        say_frame(bytes, bytes + 4, length);
        bytes += 4 + length;
        n -= 4 + length;
    }
    end();
    context_unlock(g);
    return 0;
}

/* ---- seeds: each value of the vectors as a body of each frame of calls ---- */

struct seeding {
    seeds_sink *sink;
    void *arg;
};

static void put(struct wire_buf *to, uint8_t type, uint8_t id, const uint8_t *body, size_t n)
{
    const uint8_t head[4] = {type, id, (uint8_t)(0x80 | n >> 8), (uint8_t)n};

    wire_put(to, head, sizeof head);
    wire_put(to, body, n);
}

static void with_value(void *arg, const uint8_t *bytes, size_t n)
{
    static const uint8_t call[] = "\x82\x64"
                                  "call\x83\x00\xd8\x27\x01";
    static const uint8_t object[] = "\x81\xd8\x27\x83\x07\x65"
                                    "table\x61n";
    static const uint8_t release[] = "\x82\x01\x01";
    struct seeding *to = arg;
    struct wire_buf all = {0}, body = {0};

    if (n > 1000)
        return;
    put(&all, FRAME_RETURN, 1, object, sizeof object - 1);
    wire_put(&body, call, sizeof call - 1);
    wire_put(&body, bytes, n);
    put(&all, FRAME_CALL, 2, wire_data(&body), wire_length(&body));
    put(&all, FRAME_RETURN, 3, bytes, n);
    put(&all, FRAME_RELEASE, 0, release, sizeof release - 1);
    to->sink(to->arg, wire_data(&all), wire_length(&all));
    wire_free(&all);
    wire_free(&body);
}

static void all_seeds(seeds_sink *to, void *arg)
{
    struct seeding seeding = {to, arg};

    seeds_values(with_value, &seeding);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, all_seeds);
}
