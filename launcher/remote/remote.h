/* One end of an inner link: what this program and the code of one worker ask of each other.  It is
 * made with a worker and ends with it; futures, refs and requests hold it longer.
 *
 * remote.c: the link and its end.  remote_send.c: calls.  answer.c: answers.  ref.c: objects of the
 * other end. function.c: functions of ours.  typed.c: arguments.  Not for anyone else but
 * instances.c and call.c. Everything here needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_REMOTE_REMOTE_H
#define GRAPNEL_LAUNCHER_REMOTE_REMOTE_H

#include "launcher/remote/batch.h"
#include "launcher/remote/instance.h"
#include "proto/link.h"
#include "proto/refs.h"
#include "proto/wire.h"

#define REMOTE_DEPTH     64    /* default of the most calls within calls */
#define REMOTE_LISTS     1024  /* so that one request is found quickly among very many */
#define REMOTE_SILENT    16384 /* calls of the other end's that are answered before they run */
#define REMOTE_PENDING   (1024 * 1024)  /* default of calls_max */
#define REMOTE_BODY_MAX  LINK_BODY_MOST /* bytes of one call or answer */
#define REMOTE_ITEMS_MAX (4u << 20)     /* values in one answer, all levels together */
#define REMOTE_QUEUE_MAX (256u << 20)   /* bytes of calls that wait for the link */
#define REMOTE_SPARES    1024           /* futures kept for the next ones */

struct grapnel_future {
    struct grapnel_future *next; /* spare, or waiting for the link */
    struct remote *remote;
    uint32_t id; /* on the link; 0: not there */
    /* ready: there is an answer for its owner.  under_way: the end holds it. */
    uint8_t ready, under_way, freed, cancelled, is_call, no_reply, decoded, taken;
    int code;      /* 0 or negative, when ready */
    char *text;    /* with a code; may be NULL */
    uint8_t *body; /* to be sent, then what came; is `small`, an allocation, or NULL */
    size_t n;
    uint8_t small[32];
    struct value *results; /* when decoded: the array, or NULL */
    struct value *thrown;  /* likewise, of code that failed */
    void (*done)(void *arg, struct grapnel_future *f);
    void *arg;
    ev_timer *expiry;
};

struct grapnel_request {
    struct grapnel_request *next; /* in its list … */
    struct grapnel_request **at;  /* … and what points here */
    struct remote *remote;
    uint32_t id; /* 0: it was answered before it ran */
    int quiet;   /* nobody wants its results */
    int cancelled;
};

/* What was issued for a body that is being made, to be taken back if it is not sent. */
struct remote_issued {
    int64_t *ids;
    size_t n, size;
};

struct remote {
    struct grapnel *g;
    char *name;
    size_t holders;
    struct link *link;
    struct instance *worker;           /* NULL: has ended */
    struct error error;                /* code 0: lives */
    struct grapnel_exec_status status; /* of the worker, once it has ended */
    void (*ended)(void *arg, const struct error *e);
    void (*output)(void *arg, const uint8_t *bytes, size_t n);
    void *arg;

    int releasing;                /* something in the following table is being released */
    struct refs *functions;       /* ours, that the other end holds */
    struct grapnel_ref **objects; /* the other end's, by id */
    size_t object_mask, object_count;
    struct wire_buf released;                       /* pairs of int64_t for RELEASE */
    struct grapnel_request *requests[REMOTE_LISTS]; /* by id */

    size_t pending, pending_max, queued_bytes;
    struct grapnel_future *queue, *queue_tail; /* wait for the link to take them */
    struct grapnel_future *spare;
    size_t spares;
    struct wire_buf scratch; /* a body that is being made */
    struct remote_issued issued;
    size_t owed; /* bytes taken, but not told: answers pile up */
    int depth, depth_max;
    size_t silent;      /* requests that were answered before they ran */
    int64_t timeout_ms; /* of a call that is waited for; -1: none */
    int hurry;          /* what is said now is waited for */
    int news;           /* the leading thread must be told that there is something to send */
    struct batch batch; /* what is not */
    ev_timer tick;
};

/* ---- remote.c ---- */

/* Starts a worker and the link to it; the caller is the one holder.  `ended` runs once when it has
 * ended, and `output` with what the worker prints, both until remote_leave.  NULL with *e filled.
 */
struct remote *remote_start(struct grapnel_server *s, const struct grapnel_instance_options *o,
                            const char *name, void (*ended)(void *arg, const struct error *e),
                            void (*output)(void *arg, const uint8_t *bytes, size_t n), void *arg,
                            struct error *e);
void remote_hold(struct remote *c);
void remote_release(struct remote *c);
/* Its instance has done with it: everything ends with that code, and no callbacks follow. */
void remote_leave(struct remote *c, int code, const char *text);
/* Everything ends with that code; the worker is asked to leave, and `ended` follows. */
void remote_end(struct remote *c, int code, const char *text);

/* The other end does not hold `count` of those that it got of a function of ours.  0 or
 * -E_PROTOCOL. */
int remote_release_function(struct remote *c, int64_t id, int64_t count);
/* There is something to send. */
void remote_wake(struct remote *c);
/* Unlocks the context after calls that nobody waits for yet. */
void remote_unlock(struct remote *c);

/* ---- remote_send.c ---- */

/* Begins a body in c->scratch: CALL's [op, [flags?, …]] with `count` items after what this writes.
 * 0 or negative with *e filled. */
int remote_begin(struct remote *c, const char *op, size_t count, struct error *e);
/* The body in c->scratch is sent, now or when the link takes more.  NULL with *e filled. */
struct grapnel_future *remote_send(struct remote *c, struct error *e);
/* What was issued for the body stays issued; or is taken back. */
void remote_keep_issued(struct remote *c);
void remote_undo_issued(struct remote *c);

/* ---- answer.c ---- */

/* NULL: memory is out. */
struct grapnel_future *answer_new(struct remote *c);
/* Keeps n bytes as its body.  0 or -E_NOMEM. */
int answer_keep(struct grapnel_future *f, const uint8_t *bytes, size_t n);
/* The answer: code 0 with a body, or a code with a text. */
void answer_came(struct grapnel_future *f, int code, const uint8_t *body, size_t n,
                 const char *text);
/* grapnel_future_wait, with the lock held once. */
int answer_wait(struct grapnel_future *f, int64_t timeout, struct grapnel_error *error);
/* The array of all results, which f has no more; NULL as of grapnel_future_results, or when it has
 * failed. */
struct value *answer_take_results(struct grapnel_future *f);
/* Frees it at once. */
void answer_destroy(struct grapnel_future *f);

/* ---- ref.c ---- */

/* Gives every ref in v, which came over c, its object; they are counted.  0 or -E_NOMEM. */
int ref_bind(struct remote *c, struct value *v);
/* The ref in v if it is an object of the other end, and the end that it came from. */
struct grapnel_ref *ref_of(const struct value *v);
struct remote *ref_remote(const struct grapnel_ref *ref);
int64_t ref_id(const struct grapnel_ref *ref);
/* Tells the other end what is not held any more. */
void ref_send_released(struct remote *c);
/* The end is freed: no ref is left. */
void ref_free_table(struct remote *c);

/* ---- function.c ---- */

struct function;
struct function *function_new(grapnel_function *function, void *arg, void (*gone)(void *arg));
void function_hold(struct function *f);
void function_drop(void *f);
/* A value that is f (held by it); NULL: memory is out. */
struct value *function_value(struct function *f);
struct function *function_of(const struct value *v);
/* One sending of it: its id, noted in c->issued; negative: it cannot be. */
int64_t function_issue(struct remote *c, struct function *f);
/* refs_gone */
void function_gone(void *arg, void *object, int64_t id);
/* link_handler */
void function_called(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n);
void function_cancelled(void *arg, struct link *l, uint32_t id);

#endif
