/* What the files of the link share: link.c (ids and life), link_input.c (parser), link_output.c
 * (what is sent, and in which order), link_time.c, link_mark.c, link_calls.c, link_held.c,
 * link_refs.c, stream.c and stream_input.c.
 * Not for anyone else. */
#ifndef GRAPNEL_PROTO_LINK_INTERNAL_H
#define GRAPNEL_PROTO_LINK_INTERNAL_H

#include <stdbool.h>

#include "proto/deflate.h"
#include "proto/frames.h"
#include "proto/link.h"
#include "proto/stream.h"

#define LINK_BULK_ALONE   (60 * 1024)   /* payload of DATA: whole pages suit read(2) on pipes */
#define LINK_BULK_SHARED  (32 * 1024)   /* the same while other streams wait for their turn */
#define LINK_BULK_LOW     (64 * 1024)   /* bulk is made again when less than this waits */
#define LINK_OUT_KEEP     (1024 * 1024) /* memory of `out` that stays when it is empty */
#define LINK_GRANT_MAX    (256 * 1024)  /* consumed bytes that are worth a CREDIT at any window */
#define LINK_IDLE_KEEP    4096          /* a buffer up to this size is kept while idle */
#define LINK_FIRST_FULL   16          /* streams that get LINK_WINDOW_FIRST; others start smaller */
#define LINK_RTT_LIFE_US  5000000u    /* a round trip older than this is measured again */
#define LINK_RTT_FIRST    1024        /* bytes of DATA that are not sent without a measurement */
#define LINK_RTT_BULK     (16 * 1024) /* received bytes that count as bulk and cause a measurement */
#define LINK_TOGETHER_US  30000000u   /* heartbeats that are as far apart wait for each other */
#define LINK_PINGS_MAX    8           /* unanswered PINGs after which no more are sent */
#define LINK_MARK_BYTES   (16 * 1024) /* sent bytes that are worth a mark … */
#define LINK_MARK_US      10000       /* … unless the last one was put only just now */
#define LINK_EXCERPT      60          /* characters shown of a peer that is none of ours */
#define LINK_CONTROL_COPY (16 * 1024) /* control up to this is copied, more is swapped in whole */
#define LINK_HELD_MAX     (LINK_CALLS_BYTES + 8u * 1024 * 1024) /* calls and RELEASEs held back */

/* Streams and calls share one number space and one table, chained by id. */
struct link_node {
    struct link_node *next;
    uint32_t id;
    bool is_call;
};

struct call {
    struct link_node node; /* first member */
    bool cancelled;
    bool held;     /* the peer's, not handed out yet */
    bool raw;      /* ours: which of the two is meant */
    uint32_t size; /* bytes of its body */
    union {
        link_answered *plain;
        link_answered_raw *raw;
    } answered; /* NULL: nobody wants to know */
    void *arg;
};

struct stream {
    struct link_node node; /* first member */
    struct link *link;
    struct stream_handler handler;
    void *arg;
    struct stream *next; /* in the ring or among the graves */

    /* sending */
    struct wire_buf queue;  /* from stream_write */
    struct wire_buf result; /* encoded body of our CLOSE */
    uint64_t credit;
    uint16_t close_code;
    bool accepted, in_ring;
    bool ready; /* fill may have something */
    bool eof_wanted, eof_sent;
    bool close_wanted; /* CLOSE follows what is queued ... */
    bool close_now;    /* ... or drops it */
    bool answer_late;  /* CLOSE wakes nobody */
    bool close_sent;

    /* receiving: allowed + held + owed = window */
    bool eof_got, close_got;
    bool gone;            /* closed has run: the handler is not called any more */
    size_t window;        /* bytes the peer may have under way */
    size_t grown;         /* of these, how many count against the link's memory */
    size_t allowed;       /* it may still send */
    size_t held;          /* handed out, not yet consumed */
    size_t owed;          /* consumed, not yet credited */
    size_t paced;         /* consumed since ... */
    uint64_t paced_since; /* ... then (µs), to see how long a whole window takes */
};

/* What link_mark.c knows. */
struct link_marks {
    uint64_t token;         /* of the mark under way; 0: none */
    uint64_t put;           /* when the last one was put into `out` (µs) … */
    uint64_t at;            /* … behind so many bytes of all that were or will be sent … */
    int64_t saved;          /* … by when packing had saved so many */
    uint64_t answered;      /* when the last answer came (µs) */
    uint64_t blocked;       /* since then: µs in which the pipe did not take what it was given */
    bool waiting;           /* it does so now … */
    uint64_t waiting_since; /* … since then (µs), or since it last took some */
    uint64_t least;         /* shortest round trip ever (µs); 0: unknown */
    struct deflate_mark told;
};

enum link_in { IN_PREFACE, IN_HEADER, IN_DATA, IN_BODY };

struct link {
    struct link_handler handler;
    void *arg;
    struct error error; /* code 0: lives */
    bool opener;
    uint64_t lease_us; /* ours: silence of the peer after which we give it up; 0: never */
    size_t memory;
    size_t window_first;
    uint32_t features; /* offered; after HELLO: those that both offered */
    uint64_t now;      /* as last told */
    unsigned depth;    /* callbacks may be running: nothing is freed */

    /* ids */
    struct link_node **buckets;
    size_t bucket_mask, nodes;
    uint32_t next_id, peer_highest;
    bool ids_wrapped;
    size_t streams_own, streams_peer, calls_own, calls_peer;
    size_t calls_max;                         /* of either */
    size_t body_max;                          /* of one call or answer */
    size_t calls_own_bytes, calls_peer_bytes; /* bodies of those unanswered */
    struct call *spare;                       /* to be used again, chained by node.next */
    size_t unclosed;                          /* streams without close_sent */
    struct stream *graves;                    /* freed when depth is 0 */
    size_t grown;                             /* sum of all streams' grown */

    /* input */
    enum link_in in_state;
    uint8_t in_header[FRAMES_HEADER];
    size_t in_have;  /* bytes of the preface or of in_header */
    size_t in_zeros; /* skipped before the preface */
    struct frames_header in;
    size_t in_left;         /* of a DATA body that is passed on as it comes */
    struct wire_buf gather; /* payload of one frame that came in pieces */
    struct wire_buf parts;  /* bodies of a MORE sequence */
    struct frame parts_head;
    bool in_parts;
    struct wire_buf held; /* calls and RELEASEs that wait until less waits to be sent */
    bool greeted, peer_goodbye, input_ended;
    uint64_t last_heard, received;

    /* output */
    struct wire_buf control;     /* whole frames that go ahead of bulk */
    struct wire_buf out;         /* whole frames in sending order, the first perhaps partly sent */
    size_t partial;              /* bytes left of the first frame (or preface) in out */
    size_t pinned;               /* bytes of out that were handed out and must stay as they are */
    size_t control_end;          /* offset in out behind the last control frame in it; 0: none */
    size_t replies, replies_out; /* bytes of control and of out that answer the peer's frames, but
                                  * for those that answer its calls: link_held.c sees to them */
    struct stream *ring, *ring_tail;
    bool woken, in_output, goodbye_said;
    uint64_t sent;

    /* time */
    uint32_t peer_lease_ms;
    uint64_t next_ping, last_tick;
    bool beating;   /* the first beat is over */
    unsigned pings; /* unanswered */
    uint64_t ping_token;
    uint64_t rtt, rtt_when;
    uint64_t rtt_token, rtt_sent; /* the PING that is being measured; token 0: none */
    size_t bulk_received;         /* since the last measurement */
    bool out_used;                /* since the last tick */

    /* deflate */
    struct deflate_policy policy;
    struct deflate_out *packer; /* contexts: made at first use */
    struct deflate_in *unpacker;
    struct wire_buf unpacked;
    int64_t saved_sending, saved_receiving; /* packing may also cost a little */
    struct link_marks marks;
};

static inline bool link_alive(const struct link *l)
{
    return l->error.code == 0;
}

/* link.c: between these two nothing is freed that a callback's caller may still look at. */
void link_enter(struct link *l);
void link_leave(struct link *l);
/* Ends the link because of what the peer did, or for want of memory.  Returns code. */
int link_broken(struct link *l, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ids.  link_find also finds streams that are only waiting for the peer's CLOSE. */
uint32_t link_fresh_id(struct link *l);
bool link_own_id(const struct link *l, uint32_t id);
bool link_past_id(const struct link *l, uint32_t id); /* lives or may have lived */
struct link_node *link_find(const struct link *l, uint32_t id);
void link_add(struct link *l, struct link_node *n);
void link_remove(struct link *l, struct link_node *n);
/* A new id of the peer's.  0, or the link has ended. */
int link_peer_id(struct link *l, uint32_t id, const char *what);

/* link_time.c */
void link_ping(struct link *l, bool measure); /* measure: it is the one that tells the round trip */
void link_pong(struct link *l, uint64_t token);
void link_pinged(struct link *l); /* a PING came, and is answered */

/* link_mark.c */
/* Puts a mark behind all that is in `out`, if it is time for one.  0 or -E_NOMEM. */
int link_mark_put(struct link *l);
/* A PONG came; nothing happens if it is for another PING. */
void link_mark_answered(struct link *l, uint64_t token);
/* Another PING took so long (µs). */
void link_mark_round_trip(struct link *l, uint64_t us);
/* The pipe took some or all of what it was given. */
void link_mark_taken(struct link *l, bool all);

/* link_output.c */
/* Queues a control frame.  0 or negative (-E_TOO_LARGE, -E_NOMEM). */
int link_put(struct link *l, const struct frame *f);
/* The same for frames that cannot be left out: a failure ends the link. */
void link_must_put(struct link *l, const struct frame *f);
void link_wake(struct link *l);
/* Puts s in the ring if it has something that can be sent now. */
void link_schedule(struct stream *s);
void link_unschedule(struct stream *s);
/* The link has ended: drops bulk that is not partly sent and queues GOODBYE. */
void link_last_words(struct link *l, int code, const char *text);

/* stream_input.c: frames that came.  0 or the code with which the link has ended. */
int stream_in_open(struct link *l, const struct frame *f);
int stream_in_data(struct link *l, const struct frames_header *h);
void stream_in_bytes(struct link *l, uint32_t id, const uint8_t *bytes, size_t n);
int stream_in_credit(struct link *l, const struct frame *f);
int stream_in_eof(struct link *l, const struct frame *f);
int stream_in_close(struct link *l, const struct frame *f);
/* A whole DATA body that came deflated. */
int stream_in_unpacked(struct link *l, uint32_t id, const uint8_t *bytes, size_t n);

/* stream.c */
/* A new stream in the table, with a receive window and a credit to send.  NULL: no memory. */
struct stream *stream_make(struct link *l, uint32_t id, size_t window, size_t credit);
/* The stream of that id, also one that only waits for the peer's CLOSE.  NULL: none. */
struct stream *stream_any(struct link *l, uint32_t id);
/* Runs closed, if it has not run. */
void stream_finish(struct stream *s, int code, const struct value *result, const char *text);
/* Takes s out of the table; it is freed when no callback can be looking at it. */
void stream_bury(struct stream *s);
void stream_destroy(struct stream *s);

/* link_calls.c */
int link_in_call(struct link *l, const struct frame *f);
/* Hands a call of the peer's, which is in the table, to the handler. */
void link_hand_out(struct link *l, uint32_t id, const uint8_t *body, size_t n);
struct call *link_find_call(const struct link *l, uint32_t id); /* NULL: none */
/* Frees what was kept to be used again. */
void link_free_spare(struct link *l);
int link_in_answer(struct link *l, const struct frame *f);
int link_in_cancel(struct link *l, const struct frame *f);
void link_call_done(struct call *c, struct link *l, int code, const struct value *result,
                    const char *text);

/* link_held.c */
/* True when what came must wait for its turn. */
bool link_holds(const struct link *l);
/* Keeps a call of that id, or a RELEASE (id 0).  0 or -E_NOMEM. */
int link_hold(struct link *l, uint32_t id, const uint8_t *body, size_t n);
/* True when something that was held back can go on. */
bool link_may_unhold(const struct link *l);
void link_unhold(struct link *l);

/* link_refs.c */
int link_in_release(struct link *l, const struct frame *f);
/* Tells the handler what a RELEASE said. */
void link_released(struct link *l, const uint8_t *body, size_t n);

/* values_decode, with refs where they were agreed on. */
int link_decode(const struct link *l, const uint8_t *bytes, size_t n, struct value **v);
/* Copies a text of the peer's (n bytes) into `to` of `size` bytes, cut to fit, terminated. */
const char *link_text(char *to, size_t size, const uint8_t *bytes, size_t n);
/* Bytes of `text` up to `most`, not cut within a UTF-8 character. */
size_t link_text_length(const char *text, size_t most);
/* Decodes [name, args].  0 with *both to free, or the link has ended. */
int link_named(struct link *l, const struct frame *f, struct value **both, const char **name,
               const struct value **args);
/* Encodes [name, args] (args taken over) behind what is in `to`.  0 or negative. */
int link_encode_named(struct wire_buf *to, const char *name, struct value *args);

#endif
