/* The broker: a process that holds servers for the commands of an account.  Bytes between a client
 * and an agent pass through it, and nobody here looks into them; what a client has started there is
 * ended by the agent, when its stream ends. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/broker/broker_impl.h"

#define IDLE_MS    60000
#define LEASE_MS   300000 /* what hundreds of idle servers cost is their heartbeats */
#define TIDY_S     15.    /* links have given back by then what they do not need */
#define RETRY_S    1.     /* when the lock is not to be had: somebody is about to come */
#define LOCK_MS    1000   /* at the start */
#define ACCEPT_MAX 16     /* at once, before others have their turn */

/* ---- leaving ---- */

static void stop_listening(struct broker *b)
{
    if (b->listener.fd < 0)
        return;
    ev_io_stop(b->g->loop, &b->listener);
    close(b->listener.fd);
    ev_io_set(&b->listener, -1, EV_READ);
}

static int is_empty(const struct broker *b)
{
    return !b->visitors && !b->lines && !cache_next(b->cache, NULL);
}

static void arm(struct broker *b, double seconds)
{
    ev_timer_stop(b->g->loop, &b->idle);
    ev_now_update(b->g->loop);
    ev_timer_set(&b->idle, seconds, 0.);
    ev_timer_start(b->g->loop, &b->idle);
}

static void let_go_unused(struct broker *b)
{
    struct cached *held = cache_next(b->cache, NULL), *next;

    for (; held; held = next) {
        next = cache_next(b->cache, held);
        if (cache_users(held) == 0)
            cache_close(held);
    }
}

void broker_look(struct broker *b)
{
    if (b->leaving) {
        let_go_unused(b);
        b->done = is_empty(b);
        return;
    }
    if (b->listener.fd >= 0)
        ev_io_start(b->g->loop, &b->listener);
    arm(b, b->idle_s);
    ev_timer_start(b->g->loop, &b->tidy);
}

/* Logins take much for a moment; what is held for long should not keep it. */
static void on_tidy(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    ev_timer_stop(loop, w);
    malloc_trim(0);
}

void broker_leave(struct broker *b)
{
    struct error e = {0};
    int lock = place_lock(b->place, 0, &e); /* who starts another has it, and knows of us */

    place_unlisten(b->place);
    if (lock >= 0)
        close(lock);
    b->leaving = 1;
    stop_listening(b);
    broker_look(b);
}

/* Nothing has happened for a while. */
static void on_idle(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct broker *b = w->data;
    struct error e = {0};
    int lock;

    (void)loop;
    (void)revents;
    if (!b->leaving && !place_is_mine(b->place)) {
        broker_leave(b); /* nobody finds us any more */
        return;
    }
    if (!is_empty(b)) {
        arm(b, b->idle_s);
        return;
    }
    lock = place_lock(b->place, 0, &e);
    if (lock < 0) {
        arm(b, RETRY_S);
        return;
    }
    place_unlisten(b->place);
    close(lock);
    stop_listening(b);
    b->done = 1;
}

static void on_signal(void *arg, int number)
{
    struct broker *b = arg;

    context_trace(b->g, 0, NULL, "the broker leaves on signal %d", number);
    place_unlisten(b->place);
    stop_listening(b);
    b->done = 1;
}

/* ---- coming ---- */

static void on_connect(struct ev_loop *loop, ev_io *w, int revents)
{
    struct broker *b = w->data;
    struct error e = {0};

    (void)loop;
    (void)revents;
    for (int i = 0; i < ACCEPT_MAX; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            context_trace(b->g, 0, NULL, "no more descriptors");
            ev_io_stop(loop, w); /* until something ends */
            return;
        }
        if (fd < 0)
            return;
        if (place_check_peer(fd, NULL, &e) < 0) {
            context_trace(b->g, 0, NULL, "refused: %s", e.detail);
            close(fd);
        } else {
            visitor_new(b, fd);
        }
    }
}

static int is_done(void *arg)
{
    return ((struct broker *)arg)->done;
}

static int open_place(struct broker *b, int held, struct error *e)
{
    int lock, fd = -1, rc = place_find(NULL, 1, &b->place, e);

    if (rc < 0)
        return rc;
    lock = held > 0 ? held : place_lock(b->place, LOCK_MS, e);
    if (lock < 0)
        return lock;
    rc = place_connect(b->place, &fd, e);
    if (rc == 1)
        rc = errors_set(e, -E_BROKER, "there is one already (%s)", place_socket(b->place));
    if (fd >= 0)
        close(fd);
    if (rc == 0)
        rc = place_listen(b->place, e);
    close(lock);
    return rc;
}

static void raise_limits(void)
{
    struct rlimit files, none = {0, 0};

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    setrlimit(RLIMIT_CORE, &none); /* passwords pass through here */
}

static int start(struct broker *b, const struct grapnel_broker_options *o, struct error *e)
{
    static const int ending[] = {SIGTERM, SIGINT, SIGHUP};
    int fd;

    b->cache = cache_of(b->g);
    if (!b->cache || context_need_heartbeat(b->g) < 0)
        return errors_set(e, -E_NOMEM, "the broker");
    mallopt(M_ARENA_MAX, 1); /* threads do little here, and each arena keeps what was taken once */
    b->g->lease_ms = LEASE_MS;
    agents_build(b->build);
    raise_limits();
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        if (grapnel_on_signal(b->g, ending[i], on_signal, b) < 0)
            return errors_set(e, -E_NOMEM, "signals");
    }
    fd = open_place(b, o ? o->lock : 0, e);
    if (fd < 0)
        return fd;
    b->idle_s = (double)(o && o->idle > 0 ? o->idle : IDLE_MS) / 1e3;
    ev_io_set(&b->listener, fd, EV_READ);
    ev_io_start(b->g->loop, &b->listener);
    arm(b, b->idle_s);
    if (o && o->listening)
        o->listening(o->arg, place_socket(b->place));
    return 0;
}

int grapnel_broker_run(struct grapnel *g, const struct grapnel_broker_options *options,
                       struct grapnel_error *error)
{
    struct broker b = {.g = g};
    struct error e = {0};

    context_lock(g);
    ev_io_init(&b.listener, on_connect, -1, EV_READ);
    ev_timer_init(&b.idle, on_idle, 0., 0.);
    ev_timer_init(&b.tidy, on_tidy, TIDY_S, 0.);
    b.listener.data = b.idle.data = b.tidy.data = &b;
    if (start(&b, options, &e) == 0)
        e.code = context_wait(g, is_done, &b, UINT64_MAX);
    stop_listening(&b);
    ev_timer_stop(g->loop, &b.idle);
    ev_timer_stop(g->loop, &b.tidy);
    while (b.visitors)
        visitor_free(b.visitors);
    cache_free(b.cache); /* cuts the lines, upon which the agents clean up; what uses them uses b */
    context_unlock(g);
    place_free(b.place);
    return e.code ? context_error(error, "", &e) : 0;
}
