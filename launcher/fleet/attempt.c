/* Attempts to connect one host of a job, and what the connection tells. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cache/serverkey.h"
#include "launcher/fleet/aliases.h"
#include "launcher/fleet/fleet_impl.h"

#define REFUSALS_MAX   6    /* attempts more for which no host is blamed … */
#define REFUSED_MS     200  /* … after this, doubled for each, less up to half at random … */
#define REFUSED_MOST   2000 /* … but not more than this */
#define STUCK_MS       5000 /* who has not connected by then takes no place in the window … */
#define SILENT_MS      1000 /* … and by then who has not answered at all */
#define DOUBLINGS_MOST 20
#define WINDOW_LEAST   4096

/* ---- their ends ---- */

void attempt_leave_window(struct task *t, enum window_end how)
{
    uint64_t now = context_now();

    if (!t->in_window)
        return;
    t->in_window = 0;
    window_end(&t->job->f->window, t->token, how, now - t->opened_us, now, randombytes_random());
    job_look(t->job);
}

/* A name or an address that nobody answers for, as far as this process sees it. */
static int is_silent(const struct task *t)
{
    return t->phase_us[GRAPNEL_FLEET_RESOLVE] && !t->phase_us[GRAPNEL_FLEET_KEX];
}

void attempt_linger(struct task *t)
{
    int64_t ms = (int64_t)((context_now() - t->opened_us) / 1000);

    if (is_silent(t))
        attempt_leave_window(t, WINDOW_SILENT);
    else if (ms >= STUCK_MS)
        attempt_leave_window(t, WINDOW_FAILED);
    else
        task_set_timer(t, STUCK_MS - ms);
}

void attempt_end(struct task *t, enum window_end how)
{
    attempt_leave_window(t, how);
    if (t->connecting)
        t->job->counts.connecting--;
    t->connecting = 0;
}

/* ---- more attempts ---- */

/* What ssh says, on the way through a host in between, when that host's server hangs up on it. */
static int says_hung_up(const char *detail)
{
    return strstr(detail, "kex_exchange_identification") ||
           strstr(detail, "Connection closed by") || strstr(detail, "Connection reset by");
}

/* A server that has too much to do, or a machine in between, looks like this. */
static int is_refusal(const struct task *t, const struct error *e)
{
    return (e->code == -E_DISCONNECTED && !t->phase_us[GRAPNEL_FLEET_AUTH]) ||
           (e->code == -E_PROXY && says_hung_up(e->detail)) || e->code == -E_DESCRIPTORS;
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
    if (is_refusal(t, e) && t->refusals < REFUSALS_MAX)
        return back_off(REFUSED_MS, REFUSED_MOST, t->refusals++, 2);
    if (is_worth_another(t, e) && (int64_t)t->failures < o->retry)
        return back_off(o->back_off, o->back_off_most, t->failures++, 4);
    return -1;
}

static void wait_for_another(struct task *t, int64_t ms)
{
    work_free(t);
    told_clear(t);
    task_drop_server(t);
    t->work_over = t->has_status = 0;
    t->state = TASK_WAITING;
    t->job->waiting++;
    t->job->counts.queued++;
    task_set_timer(t, ms);
}

void attempt_failed(struct task *t, const struct error *e)
{
    int64_t ms = another(t, e);

    attempt_end(t, is_refusal(t, e) ? WINDOW_REFUSED : WINDOW_FAILED);
    if (ms >= 0)
        wait_for_another(t, ms);
    else
        task_fail(t, e);
}

/* ---- what the connection tells ---- */

static const char *const phase_names[GRAPNEL_FLEET_PHASES] = {"resolve", "connect", "kex",
                                                              "auth",    "shell",   "ready"};

void attempt_phase(struct task *t, const char *phase, uint64_t elapsed_us)
{
    for (size_t i = 0; i < GRAPNEL_FLEET_PHASES; i++) {
        if (!t->phase_us[i] && strcmp(phase, phase_names[i]) == 0)
            t->phase_us[i] = elapsed_us > 0 ? elapsed_us : 1;
    }
}

static void on_phase(void *arg, const char *phase, const char *note, int64_t elapsed_us)
{
    (void)note;
    attempt_phase(arg, phase, elapsed_us > 0 ? (uint64_t)elapsed_us : 0);
}

void attempt_ready(struct task *t)
{
    if (t->state != TASK_CONNECTING)
        return;
    if (!t->stopped)
        ev_timer_stop(t->job->g->loop, &t->timer);
    t->state = TASK_RUNNING;
    attempt_end(t, WINDOW_CONNECTED);
    t->job->counts.running++;
    if (!t->stopped)
        task_watch_time(t);
    work_ready(t);
}

static void on_gone(struct task *t)
{
    struct error e = *connection_error(t->server);

    if (t->state == TASK_CONNECTING && e.code != -E_CLOSED) {
        attempt_failed(t, &e);
    } else if (t->work_over || t->state == TASK_CLOSING) {
        task_over(t);
    } else { /* it took the work along */
        if (!e.code)
            errors_set(&e, -E_CLOSED, "the line was closed");
        task_fail(t, &e);
    }
}

static void on_changed(void *arg, struct grapnel_server *s)
{
    struct task *t = arg;

    switch (connection_state(s)) {
    case GRAPNEL_DEPLOYED:
        attempt_ready(t);
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
    int keys = t->job->kind == JOB_KEYS;
    char *key = !t->job->f->aliases ? NULL : keys ? keys_name(route) : serverkey_place(route, o);

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
    o.one_shot = !f->options.keep && t->job->kind != JOB_MAP;
    if (t->job->kind == JOB_KEYS)
        o.transport = "ssh2";
    route = route_new(t->job->g, f->hosts[t->host].name, &o, e);
    if (!route)
        return e->code;
    if (is_alias(t, route, &o)) {
        route_free(route);
        return 0;
    }
    if (t->job->kind == JOB_KEYS)
        return keys_begin(t, route, e);
    t->server = connection_open_route(t->job->g, route, &o, e);
    if (!t->server)
        return e->code;
    limit_memory(t);
    connection_watch(t->server, on_changed, t);
    return 0;
}

void attempt_begin(struct task *t)
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
    task_set_timer(t, SILENT_MS);
    if (open_server(t, &e) < 0)
        attempt_failed(t, &e);
    else if (t->result.alias)
        task_over(t);
    else if (work_begin(t, &e) < 0)
        task_fail(t, &e);
}

int attempt_use_kept(struct task *t)
{
    struct host *host = &t->job->f->hosts[t->host];
    struct error e = {0};

    if (!host->server)
        return 0;
    t->server = host->server;
    host->server = NULL;
    if (connection_state(t->server) != GRAPNEL_DEPLOYED) {
        task_drop_server(t);
        return 0;
    }
    connection_watch(t->server, on_changed, t);
    t->state = TASK_RUNNING;
    t->job->counts.running++;
    t->opened_us = context_now();
    t->phase_us[GRAPNEL_FLEET_EXEC] = 1;
    t->result.begun = 1;
    if (work_begin(t, &e) < 0) {
        task_fail(t, &e);
        return 1;
    }
    task_watch_time(t);
    work_ready(t);
    return 1;
}
