/* One host's way through a job: connecting, maybe more than once, what is to be done, the end. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cache/serverkey.h"
#include "launcher/fleet/aliases.h"
#include "launcher/fleet/fleet_impl.h"

#define REFUSALS_MAX   6    /* attempts more for which no host is blamed … */
#define REFUSED_MS     200  /* … after this, doubled for each, less up to half at random … */
#define REFUSED_MOST   2000 /* … but not more than this */
#define STUCK_MS       5000 /* who has not connected by then takes no place in the window */
#define CLOSE_MS       5000 /* for the agent to leave */
#define CONFIRM_MS     5000 /* for the host to say that what was cancelled has ended … */
#define GRACE_MS       2000 /* … after what is left to it (exec's default) */
#define DOUBLINGS_MOST 20
#define WINDOW_LEAST   4096

/* The window has room for another one. */
static void leave_window(struct task *t, enum window_end how)
{
    uint64_t now = context_now();

    if (!t->in_window)
        return;
    t->in_window = 0;
    window_end(&t->job->f->window, t->token, how, now - t->opened_us, now, randombytes_random());
    job_look(t->job);
}

static void end_attempt(struct task *t, enum window_end how)
{
    leave_window(t, how);
    if (t->connecting)
        t->job->counts.connecting--;
    t->connecting = 0;
}

static void set_timer(struct task *t, int64_t ms)
{
    struct ev_loop *loop = t->job->g->loop;

    ev_timer_stop(loop, &t->timer);
    ev_now_update(loop);
    ev_timer_set(&t->timer, (double)ms / 1e3, 0.);
    ev_timer_start(loop, &t->timer);
}

/* ---- the end ---- */

static void drop_server(struct task *t)
{
    if (!t->server)
        return;
    connection_ignore(t->server);
    grapnel_server_free(t->server);
    t->server = NULL;
}

/* The connection stays, or is gone; nobody tells t of it any more. */
static void part(struct task *t)
{
    struct host *host = &t->job->f->hosts[t->host];

    if (!t->server)
        return;
    t->result.begun |= connection_committed(t->server);
    t->result.confirmed |= connection_is_closed(t->server);
    if (t->job->f->options.keep && connection_state(t->server) == GRAPNEL_DEPLOYED) {
        connection_ignore(t->server);
        host->server = t->server;
        t->server = NULL;
    }
    drop_server(t);
}

/* Its turn for another attempt had come. */
static void leave_again(struct task *t)
{
    struct grapnel_fleet_job *job = t->job;
    struct task **at = &job->again;

    while (*at && *at != t)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = t->next;
    if (!*at)
        job->again_tail = at;
}

static void be_over(struct task *t)
{
    struct grapnel_fleet_job *job = t->job;

    if (t->state == TASK_OVER)
        return;
    end_attempt(t, WINDOW_FAILED);
    if (t->state == TASK_WAITING) {
        job->waiting--;
        job->counts.queued--;
        leave_again(t);
    } else if (t->state == TASK_RUNNING || t->state == TASK_CLOSING) {
        job->counts.running--;
    }
    t->state = TASK_OVER;
    ev_timer_stop(job->g->loop, &t->timer);
    part(t);
    work_free(t);
    told_fill(t);
    t->next = NULL;
    *job->over_tail = t;
    job->over_tail = &t->next;
    job_look(job);
}

static void fail(struct task *t, const struct error *e)
{
    told_fail(t, e);
    be_over(t);
}

/* ---- more attempts ---- */

/* A server that has too much to do, or a machine in between, looks like this. */
static int is_refusal(const struct task *t, int code)
{
    return (code == -E_DISCONNECTED && !t->phase_us[GRAPNEL_FLEET_AUTH]) || code == -E_DESCRIPTORS;
}

/* What may be different the next time.  Who has refused a login is not asked again: that may lock
 * the account. */
static int is_worth_another(const struct task *t, const struct error *e)
{
    if (t->phase_us[GRAPNEL_FLEET_AUTH])
        return 0;
    switch (e->code) {
    case -E_RESOLVE:
    case -E_REFUSED:
    case -E_UNREACHABLE:
    case -E_CONNECT_TIMEOUT:
    case -E_KEX:
    case -E_KEX_TIMEOUT:
    case -E_MUTE:
    case -E_DISCONNECTED:
    case -E_PROXY:
    case -E_TRANSPORT:
    case -E_DESCRIPTORS:
        return 1;
    default:
        return 0;
    }
}

/* Milliseconds before attempt `number` (from 0) after the first, less up to 1/part at random. */
static int64_t back_off(int64_t first, int64_t most, unsigned number, unsigned part_of)
{
    int64_t ms = first;

    for (unsigned i = 0; i < number && i < DOUBLINGS_MOST && ms < most; i++)
        ms *= 2;
    ms = ms < most ? ms : most;
    return ms - (int64_t)randombytes_uniform((uint32_t)(ms / part_of) + 1);
}

/* Milliseconds until another attempt; negative: there is none. */
static int64_t another(struct task *t, const struct error *e)
{
    const struct grapnel_fleet_options *o = &t->job->f->options;

    if (t->job->stop.code || t->stopped || t->result.begun ||
        (t->server && connection_committed(t->server)))
        return -1;
    if (is_refusal(t, e->code) && t->refusals < REFUSALS_MAX)
        return back_off(REFUSED_MS, REFUSED_MOST, t->refusals++, 2);
    if (is_worth_another(t, e) && (int64_t)t->failures < o->retry)
        return back_off(o->back_off, o->back_off_most, t->failures++, 4);
    return -1;
}

static void wait_for_another(struct task *t, int64_t ms)
{
    work_free(t);
    told_clear(t);
    drop_server(t);
    t->work_over = t->has_status = 0;
    t->state = TASK_WAITING;
    t->job->waiting++;
    t->job->counts.queued++;
    set_timer(t, ms);
}

static void connect_failed(struct task *t, const struct error *e)
{
    int64_t ms = another(t, e);

    end_attempt(t, is_refusal(t, e->code) ? WINDOW_REFUSED : WINDOW_FAILED);
    if (ms >= 0)
        wait_for_another(t, ms);
    else
        fail(t, e);
}

/* ---- what the connection tells ---- */

static const char *const phase_names[GRAPNEL_FLEET_PHASES] = {"resolve", "connect", "kex",
                                                              "auth",    "shell",   "ready"};

static void on_phase(void *arg, const char *phase, const char *note, int64_t elapsed_us)
{
    struct task *t = arg;

    (void)note;
    for (size_t i = 0; i < GRAPNEL_FLEET_PHASES; i++) {
        if (!t->phase_us[i] && strcmp(phase, phase_names[i]) == 0)
            t->phase_us[i] = elapsed_us > 0 ? (uint64_t)elapsed_us : 1;
    }
}

static void on_ready(struct task *t)
{
    if (t->state != TASK_CONNECTING)
        return;
    if (!t->stopped)
        ev_timer_stop(t->job->g->loop, &t->timer);
    t->state = TASK_RUNNING;
    end_attempt(t, WINDOW_CONNECTED);
    t->job->counts.running++;
    work_ready(t);
}

static void on_gone(struct task *t)
{
    struct error e = *connection_error(t->server);

    if (t->state == TASK_CONNECTING && e.code != -E_CLOSED) {
        connect_failed(t, &e);
    } else if (t->work_over || t->state == TASK_CLOSING) {
        be_over(t);
    } else { /* it took the work along */
        if (!e.code)
            errors_set(&e, -E_CLOSED, "the line was closed");
        fail(t, &e);
    }
}

static void on_changed(void *arg, struct grapnel_server *s)
{
    struct task *t = arg;

    switch (connection_state(s)) {
    case GRAPNEL_DEPLOYED:
        on_ready(t);
        break;
    case GRAPNEL_UNDEPLOYED:
    case GRAPNEL_GONE:
        on_gone(t);
        break;
    case GRAPNEL_CONNECTING:
        break;
    }
}

/* ---- attempts ---- */

/* True when another host's name leads to the same place, and so t has nothing to do. */
static int is_alias(struct task *t, const struct route *route,
                    const struct grapnel_connect_options *o)
{
    char *key = t->job->f->aliases ? serverkey_make(route, o) : NULL;

    t->result.same = key ? aliases_claim(t->job->f->aliases, key, t->host) : t->host;
    free(key);
    t->result.alias = t->result.same != t->host;
    return t->result.alias;
}

/* What readers do not take fills the windows of two streams at most: all hosts' together are not
 * more than the budget, as far as anything can move then. */
static void limit_memory(struct task *t)
{
    const struct grapnel_fleet *f = t->job->f;
    size_t hosts = f->count < t->job->fanout ? f->count : t->job->fanout;
    size_t share = f->options.memory / (hosts ? hosts : 1), first = share / 2;

    if (first > LINK_WINDOW_FIRST)
        first = LINK_WINDOW_FIRST;
    if (first < WINDOW_LEAST)
        first = WINDOW_LEAST;
    share = share > 2 * first ? share - 2 * first : 0;
    link_limit_memory(connection_link(t->server), first, share < LINK_MEMORY ? share : LINK_MEMORY);
}

/* A connection for t, unless it is an alias: 0 or negative with *e filled. */
static int open_server(struct task *t, struct error *e)
{
    struct grapnel_fleet *f = t->job->f;
    struct grapnel_connect_options o = f->connect;
    struct route *route;

    if (f->options.adjust)
        f->options.adjust(f->options.adjust_arg, t->host, &o);
    o.phase = on_phase;
    o.phase_arg = t;
    o.one_shot = !f->options.keep;
    route = route_new(t->job->g, f->hosts[t->host].name, &o, e);
    if (!route)
        return e->code;
    if (is_alias(t, route, &o)) {
        route_free(route);
        return 0;
    }
    t->server = connection_open_route(t->job->g, route, &o, e);
    if (!t->server)
        return e->code;
    limit_memory(t);
    connection_watch(t->server, on_changed, t);
    return 0;
}

void task_attempt(struct task *t)
{
    struct error e = {0};

    if (t->state == TASK_WAITING) {
        t->job->waiting--;
        t->job->counts.queued--;
    }
    t->state = TASK_CONNECTING;
    t->opened_us = context_now();
    memset(t->phase_us, 0, sizeof t->phase_us);
    t->ended_us = 0;
    t->result.attempts++;
    t->connecting = t->in_window = 1;
    t->job->counts.connecting++;
    t->token = window_begin(&t->job->f->window);
    set_timer(t, STUCK_MS);
    if (open_server(t, &e) < 0)
        connect_failed(t, &e);
    else if (t->result.alias)
        be_over(t);
    else if (work_begin(t, &e) < 0)
        fail(t, &e);
}

/* The one that was kept, if it is alive. */
static int use_kept(struct task *t)
{
    struct host *host = &t->job->f->hosts[t->host];
    struct error e = {0};

    if (!host->server)
        return 0;
    t->server = host->server;
    host->server = NULL;
    if (connection_state(t->server) != GRAPNEL_DEPLOYED) {
        drop_server(t);
        return 0;
    }
    connection_watch(t->server, on_changed, t);
    t->state = TASK_RUNNING;
    t->job->counts.running++;
    t->opened_us = context_now();
    t->phase_us[GRAPNEL_FLEET_EXEC] = 1;
    t->result.begun = 1;
    if (work_begin(t, &e) < 0)
        fail(t, &e);
    else
        work_ready(t);
    return 1;
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct task *t = w->data;
    struct grapnel_fleet_job *job = t->job;

    (void)loop;
    (void)revents;
    if (t->state == TASK_WAITING) {
        t->next = NULL;
        *job->again_tail = t;
        job->again_tail = &t->next;
        job_look(job);
    } else if (t->state == TASK_CONNECTING && !t->stopped) {
        leave_window(t, WINDOW_FAILED); /* the others need not wait for it */
    } else {
        /* The work is over; or the host, which has not confirmed that it was cancelled, ends it by
         * itself. */
        be_over(t);
    }
}

static struct task *make(struct grapnel_fleet_job *job, size_t host)
{
    struct task *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->job = job;
    t->host = t->result.host = host;
    ev_timer_init(&t->timer, on_timer, 0., 0.);
    t->timer.data = t;
    return t;
}

struct task *task_begin(struct grapnel_fleet_job *job, size_t host)
{
    struct task *t = make(job, host);

    if (!t)
        return NULL;
    job->tasks[host] = t;
    t->result.began = grapnel_now();
    if (job->handler.began)
        job->handler.began(job->arg, host);
    if (!use_kept(t)) {
        t->state = TASK_CONNECTING;
        task_attempt(t);
    }
    return t;
}

struct task *task_refuse(struct grapnel_fleet_job *job, size_t host, const struct error *why)
{
    struct task *t = make(job, host);

    if (!t)
        return NULL;
    t->state = TASK_OVER;
    told_fail(t, why);
    told_fill(t);
    return t;
}

/* ---- ending ---- */

void task_work_over(struct task *t, const struct error *e)
{
    if (t->work_over || t->state == TASK_OVER || connection_error(t->server)->code)
        return; /* when its line has ended, that is told next */
    t->work_over = 1;
    t->ended_us = context_now() - t->opened_us;
    if (e->code)
        told_fail(t, e);
    if (t->state == TASK_CONNECTING) /* that it is ready is not told yet */
        on_ready(t);
    t->state = TASK_CLOSING;
    if (t->job->f->options.keep && !t->stopped) {
        set_timer(t, 0);
        return;
    }
    connection_finish(t->server);
    set_timer(t, CLOSE_MS);
}

void task_stop(struct task *t, const struct error *why)
{
    int64_t grace = t->job->exec.grace > 0 ? t->job->exec.grace : GRACE_MS;

    if (t->state == TASK_OVER || t->state == TASK_CLOSING || t->stopped)
        return;
    t->stopped = 1;
    told_fail(t, why);
    if (t->state == TASK_WAITING ||
        (t->state == TASK_CONNECTING && !connection_committed(t->server))) {
        be_over(t);
        return;
    }
    set_timer(t, grace + CONFIRM_MS);
    work_cancel(t);
}

void task_free(struct task *t)
{
    if (!t)
        return;
    ev_timer_stop(t->job->g->loop, &t->timer);
    if (t->state != TASK_OVER)
        end_attempt(t, WINDOW_FAILED);
    work_free(t);
    drop_server(t);
    told_clear(t);
    free(t);
}
