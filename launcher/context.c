#include "launcher/context.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launcher/blocking.h"
#include "launcher/bootstrap/agents.h"
#include "launcher/cache/cache.h"
#include "launcher/connection.h"
#include "launcher/foreign.h"
#include "launcher/safetext.h"
#include "launcher/ssh/sshfiles.h"
#include "launcher/ssh/transport_ssh2.h"

#define HANDOVER_MS 20 /* how long the heartbeat thread leaves the lead to those who come back */

uint64_t context_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t context_deadline(int64_t timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : context_now() + (uint64_t)timeout_ms * 1000;
}

/* How often this process has come about by fork(): asking the system each time for who it is would
 * cost more than many a call that asks. */
static unsigned forks;

static void on_fork(void)
{
    forks++;
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, on_fork);
}

static int is_ours(const struct grapnel *g)
{
    return g->forks == forks;
}

int context_refuse_forked(const struct grapnel *g, struct error *e)
{
    if (is_ours(g))
        return 0;
    return errors_set(e, -E_ARGUMENT, "the process was forked: what its parent has is not for it");
}

int context_forked(const struct grapnel *g, struct grapnel_error *to)
{
    struct error e = {0};

    if (context_refuse_forked(g, &e) == 0)
        return 0;
    context_error(to, "", &e);
    return 1;
}

void context_lock(struct grapnel *g)
{
    if (is_ours(g))
        pthread_mutex_lock(&g->lock);
}

int context_enter(struct grapnel *g, struct grapnel_error *error)
{
    if (context_forked(g, error))
        return -E_ARGUMENT;
    pthread_mutex_lock(&g->lock);
    return 0;
}

void context_wake(struct grapnel *g)
{
    wakeup_set(&g->awake);
}

void context_unlock(struct grapnel *g)
{
    if (!is_ours(g))
        return;
    if (g->led && !pthread_equal(g->leader, pthread_self()))
        context_wake(g);
    pthread_mutex_unlock(&g->lock);
}

void context_unlock_quiet(struct grapnel *g)
{
    if (is_ours(g))
        pthread_mutex_unlock(&g->lock);
}

/* ---- driving ---- */

/* libev calls these around its poll: the lock is free while the leader sleeps. */
static void release(struct ev_loop *loop) EV_NOEXCEPT
{
    struct grapnel *g = ev_userdata(loop);

    g->depth--;
    pthread_mutex_unlock(&g->lock);
}

static void acquire(struct ev_loop *loop) EV_NOEXCEPT
{
    struct grapnel *g = ev_userdata(loop);

    pthread_mutex_lock(&g->lock);
    g->depth++;
}

static void on_wake(struct ev_loop *loop, ev_io *w, int revents)
{
    struct grapnel *g = ev_userdata(loop);

    (void)w;
    (void)revents;
    wakeup_clear(&g->awake);
    if (g->abandoned)
        connection_end_all(g);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static void on_before_poll(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)loop;
    (void)revents;
    connection_flush_all(w->data);
}

/* One iteration with at most `limit_us` of sleep. */
static void lead_once(struct grapnel *g, uint64_t limit_us)
{
    ev_timer timer;

    g->led = 1;
    g->leader = pthread_self();
    ev_timer_init(&timer, on_deadline, 0., 0.);
    if (limit_us != UINT64_MAX) {
        ev_now_update(g->loop);
        ev_timer_set(&timer, (double)limit_us / 1e6, 0.);
        ev_timer_start(g->loop, &timer);
    }
    g->depth++;
    ev_run(g->loop, EVRUN_ONCE);
    g->depth--;
    ev_timer_stop(g->loop, &timer);
    g->led = 0;
    if (g->followers)
        pthread_cond_broadcast(&g->happened);
}

static void wait_condition(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t deadline_us)
{
    struct timespec t = {(time_t)(deadline_us / 1000000), (long)(deadline_us % 1000000) * 1000};

    if (deadline_us == UINT64_MAX)
        pthread_cond_wait(condition, lock);
    else
        pthread_cond_timedwait(condition, lock, &t);
}

int context_in_callback(const struct grapnel *g)
{
    return g->led && g->depth > 0 && pthread_equal(g->leader, pthread_self());
}

void context_hold_sigpipe(struct context_sigpipe *held)
{
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &held->before);
}

void context_release_sigpipe(const struct context_sigpipe *held)
{
    static const struct timespec at_once;
    sigset_t pipe;

    if (sigismember(&held->before, SIGPIPE))
        return;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    while (sigtimedwait(&pipe, NULL, &at_once) > 0)
        ;
    pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

int context_wait(struct grapnel *g, int (*reached)(void *arg), void *arg, uint64_t deadline_us)
{
    struct context_sigpipe held;
    int result = 0;

    if (!is_ours(g) || context_in_callback(g))
        return -E_ARGUMENT;
    context_hold_sigpipe(&held);
    while (!reached(arg)) {
        uint64_t now = context_now();
        if (now >= deadline_us) {
            result = -E_TIMEOUT;
            break;
        }
        if (foreign_run(g))
            continue;
        if (!g->led) {
            lead_once(g, deadline_us == UINT64_MAX ? UINT64_MAX : deadline_us - now);
            continue;
        }
        g->followers++;
        if (g->heartbeat_leads)
            context_wake(g);
        wait_condition(&g->happened, &g->lock, deadline_us);
        g->followers--;
    }
    if (g->heartbeat_rests)
        pthread_cond_signal(&g->resting);
    else if (g->followers)
        pthread_cond_broadcast(&g->happened);
    context_release_sigpipe(&held);
    return result;
}

/* ---- heartbeat ---- */

static void *heartbeat(void *arg)
{
    struct grapnel *g = arg;

    pthread_mutex_lock(&g->lock);
    while (!g->ending) {
        /* Whoever led will most likely be back at once: do not take the lead in between. */
        g->heartbeat_rests = 1;
        if (g->led || g->followers)
            pthread_cond_wait(&g->resting, &g->lock);
        g->heartbeat_rests = 0;
        if (!g->ending && !g->foreign) /* or who ends the context would wait along */
            wait_condition(&g->resting, &g->lock, context_now() + HANDOVER_MS * 1000);
        g->heartbeat_leads = 1;
        while (!g->led && !g->followers && !g->ending)
            lead_once(g, UINT64_MAX);
        g->heartbeat_leads = 0;
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

int context_need_heartbeat(struct grapnel *g)
{
    sigset_t all, old;

    if (g->heartbeat_runs)
        return 0;
    /* The application's signals are for its own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    g->heartbeat_runs = pthread_create(&g->heartbeat, NULL, heartbeat, g) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return g->heartbeat_runs ? 0 : -E_SYSTEM;
}

/* ---- making and freeing ---- */

static void init_locks(struct grapnel *g)
{
    pthread_mutexattr_t recursive;
    pthread_condattr_t monotonic;

    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&g->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&g->happened, &monotonic);
    pthread_cond_init(&g->resting, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* libev aborts the process when it lacks the two descriptors of its own pipe, which it makes when
 * it first needs them. */
static int has_descriptors(void)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return 1;
}

static int init_loop(struct grapnel *g)
{
    g->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!g->loop)
        return -E_DESCRIPTORS;
    ev_set_userdata(g->loop, g);
    ev_set_loop_release_cb(g->loop, release, acquire);
    if (wakeup_make(&g->awake) < 0 || !has_descriptors())
        return -E_DESCRIPTORS;
    ev_io_init(&g->wake, on_wake, g->awake.reader, EV_READ);
    ev_io_start(g->loop, &g->wake);
    ev_prepare_init(&g->before_poll, on_before_poll);
    g->before_poll.data = g;
    ev_prepare_start(g->loop, &g->before_poll);
    return 0;
}

struct grapnel *grapnel_new(const struct grapnel_options *options, struct grapnel_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct grapnel *g = calloc(1, sizeof *g);
    struct error e = {.code = -E_NOMEM};

    if (!g)
        goto failed;
    if (options)
        g->options = *options;
    pthread_once(&once, watch_forks);
    g->forks = forks;
    g->lease_ms = CONNECTION_LEASE_MS;
    init_locks(g);
    if (sodium_init() < 0) {
        errors_set(&e, -E_SYSTEM, "libsodium does not start");
        goto failed;
    }
    if ((e.code = init_loop(g)) < 0)
        goto failed;
    e.code = -E_NOMEM;
    g->blocking = blocking_new(g->loop);
    g->agents = agents_new(g->options.agents);
    g->files = sshfiles_new();
    g->options.agents = NULL; /* the caller's, borrowed for this call only */
    if (!g->blocking || !g->agents || !g->files)
        goto failed;
    return g;
failed:
    context_error(error, "", &e);
    grapnel_free(g);
    return NULL;
}

void grapnel_free(struct grapnel *g)
{
    if (!g || context_forked(g, NULL))
        return; /* its threads are not here, and its lines are not ours to end */
    context_lock(g);
    g->ending = 1;
    pthread_cond_broadcast(&g->resting);
    foreign_end(g);
    context_unlock(g);
    if (g->heartbeat_runs)
        pthread_join(g->heartbeat, NULL);
    foreign_free(g);
    cache_free(g->cache);
    if (g->loop)
        connection_free_all(g);
    transport_ssh2_free_keys(g->keys);
    sshfiles_free(g->files);
    blocking_free(g->blocking);
    agents_free(g->agents);
    if (g->loop) {
        context_free_signals(g);
        ev_loop_destroy(g->loop);
    }
    wakeup_free(&g->awake);
    pthread_cond_destroy(&g->happened);
    pthread_cond_destroy(&g->resting);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

const char *grapnel_version(void)
{
    return GRAPNEL_VERSION;
}

/* ---- words ---- */

void context_trace(struct grapnel *g, int level, const char *host, const char *format, ...)
{
    char text[1000], safe[1200];
    va_list args;

    if (!g->options.trace || level > g->options.verbose)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    safetext_copy(safe, sizeof safe, text, strlen(text), 0);
    g->options.trace(g->options.trace_arg, level, host, safe);
}

int context_error(struct grapnel_error *to, const char *host, const struct error *inner)
{
    if (!to)
        return inner->code;
    memset(to, 0, sizeof *to);
    to->code = inner->code;
    to->exit_status = errors_exit(inner->code);
    to->name = errors_name(inner->code);
    to->phase = errors_phase_name(errors_phase(inner->code));
    to->text = errors_text(inner->code);
    to->hint = errors_hint(inner->code);
    safetext_copy(to->host, sizeof to->host, host, strlen(host), 0);
    safetext_copy(to->detail, sizeof to->detail, inner->detail, strlen(inner->detail), 0);
    return inner->code;
}

const char *grapnel_error_name(int code)
{
    return errors_name(code);
}

void grapnel_error_format(const struct grapnel_error *error, char *text, size_t n)
{
    snprintf(text, n, "grapnel: %s%s%s: %s%s%s (%s)", error->host, *error->host ? ": " : "",
             error->phase, error->text, *error->detail ? ": " : "", error->detail, error->hint);
}
