/* When what was said goes on its way: at once when nothing was for a moment, else with what follows
 * it, so that not each of many calls makes a packet and wakes a thread.  Needs the context's lock;
 * memory is the owner's. */
#ifndef GRAPNEL_LAUNCHER_REMOTE_BATCH_H
#define GRAPNEL_LAUNCHER_REMOTE_BATCH_H

#include <ev.h>

struct batch {
    struct ev_loop *loop;
    ev_timer timer;
    void (*send)(void *arg);
    void *arg;
    int held; /* something waits for its time */
};

/* send: lets the loop take what there is to send; may run in the loop. */
void batch_init(struct batch *b, struct ev_loop *loop, void (*send)(void *arg), void *arg);

/* Something was said: sends, or waits. */
void batch_add(struct batch *b);

/* Sends what waits: somebody waits for the answer, or it has become much. */
void batch_send(struct batch *b);

/* Nothing will be said any more. */
void batch_stop(struct batch *b);

#endif
