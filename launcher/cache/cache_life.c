/* How the servers of the cache come, are looked after, and go. */
#include <sodium.h>
#include <stdlib.h>

#include "launcher/cache/cache_impl.h"

#define DOUBT_MS 50 /* clocks and timers differ by less */

/* A question for a sign of life, which may outlive who asked. */
struct check {
    struct cached *of; /* NULL: nobody cares any more */
};

static void set_timer(struct cached *s, int64_t ms)
{
    ev_timer_stop(s->c->g->loop, &s->timer);
    ev_now_update(s->c->g->loop);
    ev_timer_set(&s->timer, (double)ms / 1e3, 0.);
    ev_timer_start(s->c->g->loop, &s->timer);
}

static void stop_timer(struct cached *s)
{
    ev_timer_stop(s->c->g->loop, &s->timer);
}

/* ---- waiters ---- */

/* Those that wait now, not those that come while they are told.  s is not freed by it. */
static void tell(struct cached *s, int rest, const struct error *e)
{
    unsigned turn = ++s->turn;
    struct cache_waiter *w;

    s->users++;
    for (;;) {
        for (w = s->waiters; w && (w->rest != rest || w->turn >= turn); w = w->next)
            ;
        if (!w)
            break;
        cache_leave(w);
        w->told(w->arg, s, e);
    }
    s->users--;
}

/* ---- signs of life ---- */

static void on_answered(void *arg, const struct error *e, int64_t round_trip_us)
{
    static const struct error none;
    struct check *check = arg;
    struct cached *s = check->of;

    (void)round_trip_us;
    free(check);
    if (!s)
        return;
    s->check = NULL;
    if (e || (s->status != CACHE_CHECKING && s->status != CACHE_READY))
        return; /* that it has ended is told to cache_life_changed */
    stop_timer(s);
    if (s->status == CACHE_READY)
        return; /* it was in doubt only */
    s->status = CACHE_READY;
    s->wanted = 0;
    tell(s, 0, &none);
    cache_life_settle(s);
}

void cache_life_forget_check(struct cached *s)
{
    if (s->check)
        s->check->of = NULL;
    s->check = NULL;
}

static int send_check(struct cached *s, struct error *e)
{
    struct check *check = calloc(1, sizeof *check);

    if (!check)
        return errors_set(e, -E_NOMEM, "ping");
    cache_life_forget_check(s);
    check->of = s;
    if (connection_ping(s->server, on_answered, check, e) < 0) {
        free(check);
        return e->code;
    }
    s->check = check;
    set_timer(s, s->c->limits.patience);
    return 0;
}

static int ask(struct cached *s, struct error *e)
{
    if (send_check(s, e) < 0)
        return e->code;
    s->status = CACHE_CHECKING;
    s->wanted = 1;
    return 0;
}

void cache_doubt(struct cached *s)
{
    struct error e = {0};

    if (s->status == CACHE_READY && !s->check)
        send_check(s, &e); /* without memory it stays in doubt */
}

/* ---- coming ---- */

static void start_waiting(struct cached *s)
{
    const struct grapnel_cache_limits *l = &s->c->limits;

    if (l->reconnect < 0 || s->failures < (unsigned)l->reconnect)
        set_timer(s, cache_limit_back_off(l, s->failures, randombytes_random()));
}

/* An attempt begins.  0, or negative with s->error filled, when it has failed at once. */
static int begin(struct cached *s)
{
    struct error e = {0};

    stop_timer(s);
    s->wanted = 0;
    s->kept = connection_state(s->server) == GRAPNEL_UNDEPLOYED;
    s->status = CACHE_CONNECTING;
    if (connection_revive(s->server, &e) == 0)
        return 0;
    s->status = CACHE_DOWN;
    s->error = e;
    return e.code;
}

static void ready(struct cached *s)
{
    static const struct error none;

    s->status = CACHE_READY;
    if (!s->unasked)
        s->failures = 0;
    s->came_us = context_now();
    s->generation++;
    s->used_us = context_now();
    s->error = none;
    s->users++;
    if (s->generation > 1 && s->c->limits.reconnect)
        cache_instance_renew_all(s);
    if (s->status == CACHE_READY)
        tell(s, 0, &none);
    s->users--;
    cache_life_settle(s);
}

/* ---- going ---- */

static void finish(struct cached *s)
{
    static const struct error none;
    struct grapnel_server *server = s->server;
    struct error e = *connection_error(server);

    s->status = CACHE_CLOSED;
    s->server = NULL;
    stop_timer(s);
    cache_life_forget_check(s);
    connection_watch(server, NULL, NULL);
    s->users++; /* what ends by this may be all that used it */
    grapnel_server_free(server);
    tell(s, 0, &s->error);
    tell(s, 1, e.code && e.code != -E_CLOSED && s->had_agent ? &e : &none);
    s->users--;
    cache_life_settle(s);
}

/* On a line that was there before, and may not have been good for anything: on a new one, then. */
static int try_new_line(struct cached *s)
{
    if (s->status != CACHE_CONNECTING || !s->kept)
        return 0;
    if (connection_state(s->server) == GRAPNEL_UNDEPLOYED)
        connection_cut(s->server, -E_CLOSED, "");
    return begin(s) == 0;
}

/* What comes back only to go again has not come back. */
static void count_failure(struct cached *s, enum cache_status before)
{
    uint64_t least_ms = (uint64_t)s->c->limits.back_off_most;

    if (before == CACHE_CONNECTING)
        s->failures += s->generation > 0;
    else if (s->unasked)
        s->failures = (context_now() - s->came_us) / 1000 < least_ms ? s->failures + 1 : 0;
}

/* No agent is left, or none has come. */
static void no_agent(struct cached *s)
{
    static const struct error none;
    enum cache_status before = s->status;

    if (try_new_line(s))
        return;
    s->status = CACHE_DOWN;
    s->error = *connection_error(s->server);
    if (before == CACHE_READY || before == CACHE_CHECKING)
        context_trace(s->c->g, 1, s->name, "lost: %s: %s", errors_text(s->error.code),
                      s->error.detail);
    cache_place_forget(s); /* it may be elsewhere by now */
    stop_timer(s);
    cache_life_forget_check(s);
    count_failure(s, before);
    if (before == CACHE_UNDEPLOYING)
        tell(s, 1, s->error.code == -E_CLOSED ? &none : &s->error);
    if (s->status == CACHE_DOWN && s->wanted) {
        s->unasked = 0;
        begin(s);
    }
    if (s->status != CACHE_DOWN) {
        cache_life_settle(s);
        return;
    }
    s->users++;
    tell(s, 0, &s->error);
    if (s->status == CACHE_DOWN && before == CACHE_CONNECTING)
        cache_instance_tell_all(s, &s->error);
    s->users--;
    if (s->status == CACHE_DOWN && s->users > 0 && s->generation > 0 && before != CACHE_UNDEPLOYING)
        start_waiting(s);
    cache_life_settle(s);
}

/* What has become of the server since it was looked at last. */
static void look(struct cached *s)
{
    enum grapnel_server_state state = connection_state(s->server);
    int agent = state == GRAPNEL_CONNECTING || state == GRAPNEL_DEPLOYED;

    if (s->status == CACHE_CONNECTING && state == GRAPNEL_DEPLOYED)
        ready(s);
    else if (s->status == CACHE_CLOSING && !agent)
        finish(s);
    else if (s->status != CACHE_DOWN && !agent)
        no_agent(s);
    else if (s->status == CACHE_DOWN && state == GRAPNEL_GONE)
        cache_life_settle(s); /* the line of one that was undeployed has ended */
}

void cache_life_changed(void *arg, struct grapnel_server *server)
{
    (void)server;
    look(arg);
}

/* Nothing was heard since it was asked, not even something else: answers may be long in coming when
 * much is under way.  One that somebody waits for has no such excuse. */
static int is_mute(const struct cached *s)
{
    return s->status == CACHE_CHECKING ||
           connection_silence(s->server) > s->c->limits.patience - DOUBT_MS;
}

void cache_life_on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct cached *s = w->data;

    (void)loop;
    (void)revents;
    if (s->status == CACHE_CHECKING || s->status == CACHE_READY) {
        cache_life_forget_check(s);
        if (!is_mute(s))
            return;
        connection_cut(s->server, -E_SILENT, "no answer to a ping");
        look(s);
    } else if (s->status == CACHE_DOWN) {
        s->unasked = 1;
        if (begin(s) == 0)
            return;
        s->status = CACHE_CONNECTING; /* it was an attempt */
        no_agent(s);
    }
}

int cache_life_want(struct cached *s, struct error *e)
{
    int64_t silence;

    look(s);
    if (s->status == CACHE_READY) {
        silence = connection_silence(s->server);
        if ((silence < 0 || silence > s->c->limits.fresh) && ask(s, e) < 0)
            return e->code;
    } else if (s->status == CACHE_DOWN) {
        s->unasked = 0;
        if (begin(s) < 0) {
            *e = s->error;
            return e->code;
        }
    } else if (s->status == CACHE_CHECKING || s->status == CACHE_UNDEPLOYING) {
        s->wanted = 1;
    }
    return 0;
}

int cache_renew(struct cached *s, struct error *e)
{
    if (s->status >= CACHE_CLOSING)
        return errors_set(e, -E_CLOSED, "%s", s->name);
    return cache_life_want(s, e);
}

/* ---- leaving ---- */

static void take_out(struct cached *s)
{
    for (struct cached **at = &s->c->servers; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    s->c->server_count--;
    cache_place_forget(s);
    s->next = s->c->closing;
    s->c->closing = s;
}

void cache_close(struct cached *s)
{
    enum grapnel_server_state state;

    if (s->status >= CACHE_CLOSING)
        return;
    take_out(s);
    state = connection_state(s->server);
    errors_set(&s->error, -E_CLOSED, "the connection was closed");
    s->users++;
    cache_instance_close_all(s, -E_CLOSED, "the connection was closed");
    s->users--;
    stop_timer(s);
    cache_life_forget_check(s);
    s->status = CACHE_CLOSING;
    s->had_agent = state == GRAPNEL_DEPLOYED;
    if (!s->had_agent || s->c->ending) {
        finish(s);
        return;
    }
    connection_undeploy(s->server, CACHE_CLOSE_MS);
    s->users++;
    tell(s, 0, &s->error);
    s->users--;
}

void cache_undeploy(struct cached *s)
{
    if (s->status == CACHE_CONNECTING) {
        cache_close(s); /* there is nothing worth keeping yet */
        return;
    }
    if (s->status != CACHE_READY && s->status != CACHE_CHECKING)
        return;
    s->users++;
    cache_instance_close_all(s, -E_CLOSED, "the server was undeployed");
    s->users--;
    stop_timer(s);
    cache_life_forget_check(s);
    s->status = CACHE_UNDEPLOYING;
    connection_undeploy(s->server, CACHE_CLOSE_MS);
}

static void forget(struct cached *s)
{
    for (struct cached **at = &s->c->closing; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    cache_destroy(s);
}

/* Nothing is left of it. */
static int is_spent(const struct cached *s)
{
    if (s->status != CACHE_DOWN)
        return 0;
    if (s->lasting && s->instances)
        return 0;
    return s->generation == 0 || connection_state(s->server) == GRAPNEL_GONE;
}

void cache_life_settle(struct cached *s)
{
    if (s->users > 0)
        return;
    if (s->status == CACHE_CLOSED)
        forget(s);
    else if (is_spent(s) || (s->passing && !s->instances))
        cache_close(s);
    else
        cache_limit_unused(s);
}
