/* Driving a context from outside: waiting, stopping, abandoning, and signals of the process. */
#include <stdlib.h>

#include "launcher/context.h"

struct context_signal {
    struct context_signal *next;
    struct grapnel *g;
    ev_signal watcher;
    void (*callback)(void *arg, int signal);
    void *arg;
};

static int is_stopped(void *arg)
{
    return ((struct grapnel *)arg)->stopped;
}

int grapnel_drive(struct grapnel *g, int64_t timeout)
{
    int result;

    context_lock(g);
    result = context_wait(g, is_stopped, g, context_deadline(timeout));
    if (result == 0)
        g->stopped = 0;
    context_unlock(g);
    return result;
}

struct writable {
    struct grapnel *g;
    int reached;
};

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct writable *until = w->data;

    (void)loop;
    (void)revents;
    until->reached = 1;
}

static int is_stopped_or_writable(void *arg)
{
    const struct writable *until = arg;

    return until->reached || until->g->stopped;
}

int grapnel_drive_writable(struct grapnel *g, int fd, int64_t timeout)
{
    struct writable until = {.g = g};
    ev_io io;
    int result;

    if (context_enter(g, NULL) < 0)
        return -E_ARGUMENT;
    ev_io_init(&io, on_writable, fd, EV_WRITE);
    io.data = &until;
    ev_io_start(g->loop, &io);
    if (g->led)
        context_wake(g); /* whoever sleeps in the loop does not know of it */
    result = context_wait(g, is_stopped_or_writable, &until, context_deadline(timeout));
    ev_io_stop(g->loop, &io);
    if (result == 0 && until.reached)
        result = 1;
    else if (result == 0)
        g->stopped = 0;
    context_unlock(g);
    return result;
}

void grapnel_stop(struct grapnel *g)
{
    context_lock(g);
    g->stopped = 1;
    if (g->followers)
        pthread_cond_broadcast(&g->happened);
    context_unlock(g);
}

/* The rest is done in the loop, where nothing is freed beneath its caller. */
void grapnel_abandon(struct grapnel *g)
{
    context_lock(g);
    g->abandoned = 1;
    context_wake(g);
    context_unlock(g);
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    struct context_signal *s = w->data;

    (void)loop;
    (void)revents;
    s->callback(s->arg, w->signum);
}

int grapnel_on_signal(struct grapnel *g, int signal, void (*callback)(void *arg, int signal),
                      void *arg)
{
    struct context_signal *s = calloc(1, sizeof *s);

    if (!s)
        return -E_NOMEM;
    s->g = g;
    s->callback = callback;
    s->arg = arg;
    ev_signal_init(&s->watcher, on_signal, signal);
    s->watcher.data = s;
    context_lock(g);
    s->next = g->signals;
    g->signals = s;
    ev_signal_start(g->loop, &s->watcher);
    context_unlock(g);
    return 0;
}

void context_free_signals(struct grapnel *g)
{
    struct context_signal *s;

    while ((s = g->signals)) {
        g->signals = s->next;
        ev_signal_stop(g->loop, &s->watcher);
        free(s);
    }
}
