/* Timers: a binary heap by time, then by the order in which they were set. */
#include <stdlib.h>

#include "peer/tasks_internal.h"
#include "proto/errors.h"

static int before(const struct tasks_timer *a, const struct tasks_timer *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void put(struct tasks *t, size_t place, struct tasks_timer *timer)
{
    t->heap[place] = timer;
    timer->place = place;
}

/* Finds the place of `timer`, going from the free one at `place` up and down. */
static void settle(struct tasks *t, size_t place, struct tasks_timer *timer)
{
    while (place > 1 && before(timer, t->heap[place / 2])) {
        put(t, place, t->heap[place / 2]);
        place /= 2;
    }
    for (;;) {
        size_t child = place * 2;
        if (child > t->timers) {
            break;
        }
        if (child < t->timers && before(t->heap[child + 1], t->heap[child])) {
            child++;
        }
        if (!before(t->heap[child], timer)) {
            break;
        }
        put(t, place, t->heap[child]);
        place = child;
    }
    put(t, place, timer);
}

int tasks_timer_set(struct tasks *t, struct tasks_timer *timer, uint64_t at_us,
                    void (*fire)(void *arg), void *arg)
{
    size_t place = timer->place;

    if (place == 0) {
        if (t->timers + 1 >= t->heap_room) {
            size_t room = t->heap_room == 0 ? 16 : t->heap_room * 2;
            struct tasks_timer **heap = realloc(t->heap, room * sizeof(*heap));
            if (heap == NULL) {
                return -E_NOMEM;
            }
            t->heap = heap;
            t->heap_room = room;
        }
        place = ++t->timers;
    }
    timer->t = t;
    timer->fire = fire;
    timer->arg = arg;
    timer->at_us = at_us;
    timer->order = t->order++;
    settle(t, place, timer);
    return 0;
}

void tasks_timer_stop(struct tasks_timer *timer)
{
    struct tasks *t = timer->t;
    size_t place = timer->place;
    struct tasks_timer *last;

    if (place == 0) {
        return;
    }
    timer->place = 0;
    last = t->heap[t->timers--];
    if (last != timer) {
        settle(t, place, last);
    }
}

/* Only those that were due when it began: a timer that sets itself anew would hold us for ever. */
void tasks_fire_timers(struct tasks *t)
{
    uint64_t now, set_before = t->order;

    if (t->timers == 0) {
        return;
    }
    now = t->now_us();
    while (t->timers > 0 && t->heap[1]->at_us <= now && t->heap[1]->order < set_before) {
        struct tasks_timer *timer = t->heap[1];
        tasks_timer_stop(timer);
        timer->fire(timer->arg);
    }
}

void tasks_forget_timers(struct tasks *t)
{
    for (size_t i = 1; i <= t->timers; i++) {
        t->heap[i]->place = 0;
        t->heap[i]->t = NULL;
    }
    free(t->heap);
    t->heap = NULL;
    t->timers = t->heap_room = 0;
}

uint64_t tasks_next_deadline(const struct tasks *t)
{
    if (t->ready.first != NULL || t->later.first != NULL) {
        return 0;
    }
    return t->timers > 0 ? t->heap[1]->at_us : UINT64_MAX;
}
