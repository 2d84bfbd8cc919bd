#include "launcher/foreign.h"

#include <stdlib.h>

#include "launcher/connection.h"
#include "launcher/context.h"

struct foreign {
    struct wakeup fd;    /* readable while `due` */
    int due;             /* the heartbeat thread waits for what is pending to be run … */
    pthread_cond_t done; /* … and hears of it by this */
};

/* That somebody's unlocking has woken it up, or that it is about to sleep with nothing to send,
 * concerns no callback. */
static int concerns_nobody(struct grapnel *g)
{
    unsigned idle = 0;

    if (ev_is_pending(&g->wake) && !g->abandoned)
        idle++;
    if (ev_is_pending(&g->before_poll) && !g->dirty)
        idle++;
    return ev_pending_count(g->loop) == idle;
}

/* libev calls this instead of running what is pending. */
static void invoke_pending(struct ev_loop *loop)
{
    struct grapnel *g = ev_userdata(loop);
    struct foreign *f = g->foreign;

    if (!g->heartbeat_leads || !pthread_equal(pthread_self(), g->heartbeat) || concerns_nobody(g)) {
        ev_invoke_pending(loop);
        return;
    }
    f->due = 1;
    wakeup_set(&f->fd);
    if (g->followers)
        pthread_cond_broadcast(&g->happened);
    while (f->due && !g->ending)
        pthread_cond_wait(&f->done, &g->lock);
    f->due = 0;
}

int foreign_run(struct grapnel *g)
{
    struct foreign *f = g->foreign;
    pthread_t leader;

    if (!f || !f->due)
        return 0;
    wakeup_clear(&f->fd);
    leader = g->leader;
    g->leader = pthread_self();
    ev_invoke_pending(g->loop);
    connection_flush_all(g); /* it would only wake us up again for that */
    g->leader = leader;
    f->due = 0;
    pthread_cond_signal(&f->done);
    if (g->followers)
        pthread_cond_broadcast(&g->happened);
    return 1;
}

void foreign_end(struct grapnel *g)
{
    if (g->foreign)
        pthread_cond_broadcast(&g->foreign->done);
}

void foreign_free(struct grapnel *g)
{
    struct foreign *f = g->foreign;

    if (!f)
        return;
    wakeup_free(&f->fd);
    pthread_cond_destroy(&f->done);
    free(f);
    g->foreign = NULL;
}

static int make(struct grapnel *g)
{
    struct foreign *f = calloc(1, sizeof *f);

    if (!f)
        return -E_NOMEM;
    if (wakeup_make(&f->fd) < 0) {
        free(f);
        return -E_DESCRIPTORS;
    }
    pthread_cond_init(&f->done, NULL);
    g->foreign = f;
    ev_set_invoke_pending_cb(g->loop, invoke_pending);
    return 0;
}

int grapnel_fd(struct grapnel *g)
{
    int rc = context_enter(g, NULL);

    if (rc < 0)
        return rc;
    if (!g->foreign)
        rc = make(g);
    if (rc == 0)
        rc = context_need_heartbeat(g);
    if (rc == 0)
        rc = g->foreign->fd.reader;
    context_unlock(g);
    return rc;
}

int grapnel_dispatch(struct grapnel *g)
{
    struct context_sigpipe held;
    int rc = context_enter(g, NULL);

    if (rc < 0)
        return rc;
    if (context_in_callback(g)) {
        rc = -E_ARGUMENT;
    } else {
        context_hold_sigpipe(&held);
        foreign_run(g);
        context_release_sigpipe(&held);
    }
    context_unlock_quiet(g);
    return rc;
}

double grapnel_now(void)
{
    return (double)context_now() / 1e6;
}
