#include "launcher/remote/remote.h"

#include <stdlib.h>
#include <string.h>

#include "proto/values.h"

#define MUCH (32 * 1024) /* bytes of calls that do not wait for more of them */

/* ---- holders ---- */

void remote_hold(struct remote *c)
{
    c->holders++;
}

static void destroy(struct remote *c)
{
    struct grapnel_future *f;

    ev_timer_stop(c->g->loop, &c->tick);
    batch_stop(&c->batch);
    instance_free(c->worker);
    link_free(c->link);
    refs_free(c->functions);
    ref_free_table(c);
    while ((f = c->spare) != NULL) {
        c->spare = f->next;
        free(f);
    }
    wire_free(&c->released);
    wire_free(&c->scratch);
    free(c->issued.ids);
    free(c->name);
    free(c);
}

void remote_release(struct remote *c)
{
    if (--c->holders == 0)
        destroy(c);
}

/* ---- the end ---- */

/* Calls that the link has not taken. */
static void fail_queue(struct remote *c)
{
    struct grapnel_future *f;

    while ((f = c->queue) != NULL) {
        c->queue = f->next;
        c->pending--;
        answer_came(f, c->error.code, NULL, 0, c->error.detail);
    }
    c->queue_tail = NULL;
    c->queued_bytes = 0;
}

/* The table must outlive what runs when something is released, which may end all. */
int remote_release_function(struct remote *c, int64_t id, int64_t count)
{
    struct refs *functions = c->functions;
    int before = c->releasing, rc;

    if (!functions)
        return 0;
    c->releasing = 1;
    rc = refs_release(functions, id, count);
    c->releasing = before;
    if (!before && c->error.code) {
        c->functions = NULL;
        refs_free(functions);
    }
    return rc;
}

void remote_end(struct remote *c, int code, const char *text)
{
    struct refs *functions = c->functions;

    if (c->error.code)
        return;
    remote_hold(c);
    errors_set(&c->error, code, "%s", text);
    link_end(c->link, code, text);
    fail_queue(c);
    if (!c->releasing) {
        c->functions = NULL;
        refs_free(functions);
    }
    if (c->worker) {
        instance_ready(c->worker); /* the last words */
        instance_eof(c->worker);
    }
    remote_release(c);
}

void remote_leave(struct remote *c, int code, const char *text)
{
    c->ended = NULL;
    c->output = NULL;
    remote_hold(c);
    remote_end(c, code, text);
    instance_free(c->worker);
    c->worker = NULL;
    ev_timer_stop(c->g->loop, &c->tick);
    batch_stop(&c->batch);
    remote_release(c); /* what remote_hold took */
    remote_release(c);
}

/* instance_handler */
static void on_ended(void *arg, const struct error *e)
{
    struct remote *c = arg;
    struct error cause = *e;

    remote_hold(c);
    c->status = *instance_status(c->worker);
    instance_free(c->worker);
    c->worker = NULL;
    ev_timer_stop(c->g->loop, &c->tick);
    batch_stop(&c->batch);
    remote_end(c, cause.code, cause.detail);
    if (c->ended)
        c->ended(c->arg, &c->error);
    remote_release(c);
}

/* ---- bytes ---- */

static void schedule_tick(struct remote *c)
{
    uint64_t now = context_now(), next = link_tick(c->link, now);

    ev_timer_stop(c->g->loop, &c->tick);
    if (next == UINT64_MAX || c->error.code)
        return;
    ev_timer_set(&c->tick, next > now ? (double)(next - now) / 1e6 : 0., 0.);
    ev_timer_start(c->g->loop, &c->tick);
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    schedule_tick(w->data);
}

/* While answers pile up that the worker does not read, it gets no more room to ask. */
static void give_room(struct remote *c)
{
    size_t n = c->owed;

    if (!c->worker || n == 0 || (!c->error.code && link_congested(c->link)))
        return;
    c->owed = 0;
    instance_consumed(c->worker, n);
}

static void on_bytes(void *arg, const uint8_t *bytes, size_t n)
{
    struct remote *c = arg;

    remote_hold(c);
    c->owed += n;
    if (!c->error.code && link_input(c->link, bytes, n, context_now()) < 0) {
        struct error e = *link_error(c->link);
        remote_end(c, e.code, e.detail);
        if (c->worker && e.code == -E_PROTOCOL)
            instance_cancel(c->worker); /* it may not leave by itself */
    }
    give_room(c);
    remote_release(c);
}

static size_t on_fill(void *arg, uint8_t *at, size_t room)
{
    struct remote *c = arg;
    size_t done;

    remote_hold(c);
    ref_send_released(c);
    done = link_fill(c->link, at, room, context_now());
    give_room(c);
    remote_release(c);
    return done;
}

static void on_output(void *arg, const uint8_t *bytes, size_t n)
{
    struct remote *c = arg;

    if (c->output)
        c->output(c->arg, bytes, n);
}

void remote_wake(struct remote *c)
{
    c->news = 1;
    if (c->worker)
        instance_ready(c->worker);
}

/* ---- the link ---- */

/* A loop of the program's own should not have to wake up only for the batch. */
static void on_wake(void *arg, struct link *l)
{
    struct remote *c = arg;

    (void)l;
    if (c->hurry || c->g->foreign || !c->worker || context_in_callback(c->g))
        remote_wake(c);
    else
        batch_add(&c->batch);
}

static void send_batch(void *arg)
{
    remote_wake(arg);
}

void remote_unlock(struct remote *c)
{
    int news;

    if (c->batch.held && link_backlog(c->link) >= MUCH)
        batch_send(&c->batch);
    news = c->news;
    c->news = 0;
    if (news)
        context_unlock(c->g);
    else
        context_unlock_quiet(c->g);
}

static void on_hello(void *arg, struct link *l, const struct value *facts)
{
    (void)l;
    (void)facts;
    schedule_tick(arg);
}

static int on_release(void *arg, struct link *l, int64_t id, int64_t count)
{
    (void)l;
    return remote_release_function(arg, id, count);
}

static int on_open(void *arg, struct stream *s, const char *service, const struct value *args,
                   struct error *e)
{
    (void)arg;
    (void)s;
    (void)args;
    return errors_set(e, -E_DENIED, "\"%.100s\": only functions that were passed can be called",
                      service);
}

static struct link *make_link(struct remote *c)
{
    static const struct link_handler handler = {.hello = on_hello,
                                                .open = on_open,
                                                .cancel = function_cancelled,
                                                .wake = on_wake,
                                                .call_raw = function_called,
                                                .release = on_release};
    struct link_options o = {.opener = 1,
                             .features = LINK_FEATURE_REFS,
                             .calls_max = LINK_CALLS_MOST,
                             .body_max = REMOTE_BODY_MAX,
                             .facts = values_map()};

    values_set(o.facts, "version", values_text(GRAPNEL_VERSION));
    return link_new(&o, &handler, c, context_now());
}

struct remote *remote_start(struct grapnel_server *s, const struct grapnel_instance_options *o,
                            const char *name, void (*ended)(void *arg, const struct error *e),
                            void (*output)(void *arg, const uint8_t *bytes, size_t n), void *arg,
                            struct error *e)
{
    static const struct instance_handler handler = {
        .bytes = on_bytes, .fill = on_fill, .output = on_output, .ended = on_ended};
    struct remote *c = calloc(1, sizeof *c);

    if (!c) {
        errors_set(e, -E_NOMEM, "instance");
        return NULL;
    }
    c->g = connection_context(s);
    c->holders = 1;
    c->ended = ended;
    c->output = output;
    c->arg = arg;
    c->depth_max = o->depth > 0 ? o->depth : REMOTE_DEPTH;
    c->pending_max = o->calls_max ? o->calls_max : REMOTE_PENDING;
    c->timeout_ms = o->call_timeout > 0 ? o->call_timeout : -1;
    c->scratch.limit = 2 * REMOTE_BODY_MAX;
    ev_timer_init(&c->tick, on_tick, 0., 0.);
    c->tick.data = c;
    batch_init(&c->batch, c->g->loop, send_batch, c);
    c->name = strdup(name);
    c->functions = refs_new(0, function_gone, c);
    c->link = c->name && c->functions ? make_link(c) : NULL;
    if (!c->link)
        errors_set(e, -E_NOMEM, "instance");
    else
        c->worker = instance_start(s, o, &handler, c, e);
    if (!c->worker) {
        remote_release(c);
        return NULL;
    }
    instance_ready(c->worker);
    return c;
}
