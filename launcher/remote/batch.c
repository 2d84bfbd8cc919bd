#include "launcher/remote/batch.h"

#define BATCH_S                                                                                    \
    0.0005 /* between one sending and the next, unless there is much or somebody waits */

static void send_now(struct batch *b)
{
    b->held = 0;
    b->send(b->arg);
}

static void start(struct batch *b)
{
    ev_now_update(b->loop);
    ev_timer_set(&b->timer, BATCH_S, 0.);
    ev_timer_start(b->loop, &b->timer);
}

static void on_time(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct batch *b = w->data;

    (void)loop;
    (void)revents;
    if (b->held) {
        start(b);
        send_now(b);
    }
}

void batch_init(struct batch *b, struct ev_loop *loop, void (*send)(void *arg), void *arg)
{
    *b = (struct batch){.loop = loop, .send = send, .arg = arg};
    ev_timer_init(&b->timer, on_time, 0., 0.);
    b->timer.data = b;
}

void batch_add(struct batch *b)
{
    if (ev_is_active(&b->timer)) {
        b->held = 1;
        return;
    }
    start(b);
    send_now(b);
}

void batch_send(struct batch *b)
{
    if (b->held)
        send_now(b);
}

void batch_stop(struct batch *b)
{
    b->held = 0;
    ev_timer_stop(b->loop, &b->timer);
}
