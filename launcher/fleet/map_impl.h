/* What the files of maps share: map.c (the job, and what there is to do), map_queue.c (tasks until
 * they are done, and results until they are told), map_crew.c (a host's instances), map_chunk.c
 * (tasks on their way to an instance), map_reply.c (what comes back, and when).  Not for anyone
 * else; everything needs the context's lock.
 *
 * What a host does is called a task in fleet_impl.h; what a map has for it to do is an item. */
#ifndef GRAPNEL_LAUNCHER_FLEET_MAP_IMPL_H
#define GRAPNEL_LAUNCHER_FLEET_MAP_IMPL_H

#include "launcher/fleet/fleet_impl.h"
#include "launcher/fleet/map.h"

#define CREW_DEATHS 3 /* of an instance in a row with nothing done, and its host is given up */
#define CHUNKS_MOST 2 /* with an instance at a time: one that it does, and the next one */

/* A task of the map's. */
struct item {
    struct item *next;
    uint64_t index;
    struct outcome *outcome; /* to be filled */
    unsigned begun;          /* how often it was, or may have been */
    int alone;               /* it is sent with no other */
    size_t count;            /* arguments … */
    size_t n;                /* … encoded in so many bytes */
    uint8_t bytes[];
};

struct items { /* a queue */
    struct item *first, **end;
    size_t count;
};

/* Its result. */
struct outcome {
    struct outcome *next;
    struct grapnel_map_result result;
    struct value *values;        /* what the code returned, or {thrown, traceback} */
    struct grapnel_error *error; /* NULL: it is done */
    size_t weight;
};

struct map {
    struct grapnel_fleet_job *job;
    struct grapnel_map_options options;       /* strings are its own … */
    struct grapnel_instance_options instance; /* … and here */
    void (*result)(void *arg, const struct grapnel_map_result *r);
    unsigned redo;
    int alone; /* all are sent so */

    /* ---- map_queue.c ---- */
    struct items again;    /* were taken, and are to be done */
    uint64_t pulled;       /* by `next` … */
    int ended, later;      /* … which has no more, or none now */
    struct error failed;   /* … as something there has failed; code 0: nothing has */
    uint64_t told;         /* results that their reader has done with */
    size_t under_way;      /* items with an instance */
    size_t weight;         /* bytes of items and results in memory … */
    double size;           /* … and of a result on average; < 0: not known */
    struct outcome **held; /* results that wait for their turn, by index … */
    size_t held_size;      /* … a power of two */
    uint64_t turn;         /* the index that is told next, in order */
    struct outcome *ready, **ready_end;
    struct outcome *taken; /* what map_next gave last */

    /* ---- map.c ---- */
    struct error over;               /* code 0: tasks are done; else none is begun any more */
    struct grapnel_error why;        /* the same for people; of the host that failed last, before */
    struct worker *idle, **idle_end; /* could take more, or have died */
    size_t workers;                  /* instances that are ready */
    struct wire_buf scratch;         /* what is sent */
};

/* Tasks that are sent together. */
struct chunk {
    struct items items;
    struct grapnel_future *future;
    uint64_t number; /* of all that its instance has got */
    size_t known;    /* outcomes that were told before its end */
};

/* One instance of a host's. */
struct worker {
    struct worker *next; /* idle */
    int is_idle;
    struct crew *crew;
    int number;
    struct grapnel_instance *instance;
    struct grapnel_future *setup; /* until it is ready */
    struct grapnel_ref *function; /* NULL: it is not */
    struct chunk chunks[CHUNKS_MOST];
    size_t n;      /* of them that are under way, the first one is done now */
    uint64_t sent; /* of them in all … */
    uint64_t cut;  /* … and those that were to be cut short */
    size_t last;   /* items that were sent together last */
    ev_timer limit;
    int expired;                  /* the time of its task is up */
    int overdue;                  /* what it does takes long: nothing shall wait for that … */
    struct grapnel_future *asked; /* … so it cuts short what it has; NULL: it was not told to */
    int dead;                     /* it has ended, or must, for this reason */
    struct error error;
    unsigned deaths; /* since it has done something */
};

/* A host's instances. */
struct crew {
    struct map *map;
    struct task *task;
    double cost_us;   /* of a task on average; < 0: not known */
    uint64_t trip_us; /* of the line */
    size_t count;
    struct worker workers[];
};

/* ---- map_queue.c ---- */

void queue_init(struct map *m);
void queue_free(struct map *m);

void items_add(struct items *q, struct item *it);
struct item *items_take(struct items *q);

/* True when queue_take would give one, or ask `next` for it. */
int queue_has(const struct map *m);
/* The next one to be done; NULL: none now.  May call back.  fresh: only one that may go with
 * others. */
struct item *queue_take(struct map *m, int fresh);
/* Puts them back, to be done before others, in their order. */
void queue_return(struct map *m, struct items *q);
/* It is done by w: values (taken over; may be NULL) are what it returned, or threw if e is not
 * NULL.  Frees it. */
void queue_done(struct map *m, struct item *it, const struct worker *w, struct value *values,
                const struct error *e);
/* The same of all that wait. */
void queue_drop_all(struct map *m);
/* True when there is nothing left to do. */
int queue_is_done(const struct map *m);
/* Bytes that a value takes in memory, about. */
size_t queue_weigh(const struct value *v);
/* True when queue_next would give one. */
int queue_has_next(const struct map *m);
/* The next result, to be freed by queue_told; NULL: none. */
struct outcome *queue_next(struct map *m);
/* Its reader has done with it.  NULL is legal. */
void queue_told(struct map *m, struct outcome *o);

/* ---- map_crew.c ---- */

/* It has room, or something to be looked at. */
void crew_note(struct worker *w);
/* It has ended, or must, for this reason. */
void crew_lost(struct worker *w, const struct error *why);
/* Does for it what there is to do; it was taken from those that are idle. */
void crew_look(struct worker *w);

/* ---- map_chunk.c ---- */

/* True when it could be given more. */
int chunk_wanted(const struct worker *w);
/* Sends more, if there is more.  False: nothing was sent. */
int chunk_send(struct worker *w);
/* Tasks that cannot be sent, or not be answered, while the instance lives: whose fault that is, is
 * seen when each is alone. */
void chunk_refuse(struct worker *w, struct items *items, const struct error *e);
/* The instance does nothing any more: its tasks are done again, if they may. */
void chunk_lost(struct worker *w, const struct error *why);
/* Microseconds that the tasks of a message should take; after so many times that, what is left of
 * them is for others. */
double chunk_target_us(const struct worker *w);
#define CHUNK_OVERDUE 4

/* ---- map_reply.c ---- */

/* grapnel_future_on_done of a message. */
void reply_came(void *arg, struct grapnel_future *f);
/* The first message's tasks have some time now. */
void reply_time(struct worker *w);
/* ev_timer: it is over. */
void reply_late(struct ev_loop *loop, ev_timer *timer, int revents);

#endif
