/* A link: one end of the framed, multiplexed protocol over one byte pipe.
 *
 * A link does no input or output of its own.  Its owner feeds it what the pipe delivers
 * (link_input), and asks it for what the pipe can take (link_output, link_sent); so a link runs
 * over a socket, an SSH channel, a pair of pipes or a stream of another link alike.
 * Time is given to it as monotonic microseconds.  A link belongs to one thread at a time.
 *
 * No callback may free the link; a callback may open, write, close and free streams and calls.
 */
#ifndef GRAPNEL_PROTO_LINK_H
#define GRAPNEL_PROTO_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "proto/errors.h"
#include "proto/values.h"

#define LINK_PREFACE        "GRAPNEL\n" /* 8 bytes before the first frame of each direction */
#define LINK_PREFACE_SIZE   8
#define LINK_ZEROS_MAX      (64 * 1024) /* zero bytes skipped before the preface */
#define LINK_MAJOR          1
#define LINK_MINOR          0
#define LINK_STREAMS_MAX    1024
#define LINK_CALLS_MAX      4096                /* default of calls_max … */
#define LINK_CALLS_MOST     65536               /* … and the most that it may be */
#define LINK_BODY_MAX       (1024 * 1024)       /* default of body_max … */
#define LINK_BODY_MOST      (64u * 1024 * 1024) /* … and the most that it may be */
#define LINK_CALLS_BYTES    (64u * 1024 * 1024) /* bodies of one end's unanswered calls together */
#define LINK_CREDIT_INITIAL (64 * 1024)         /* opener's first credit on a stream, unasked */
#define LINK_WINDOW_FIRST   (256 * 1024)        /* credit that OPEN gives the accepter */
#define LINK_WINDOW_MAX     (6u * 1024 * 1024)  /* most that one stream's window grows to */
#define LINK_MEMORY         (6u * 1024 * 1024)  /* default bound of all windows' growth together */
#define LINK_OUTPUT_MAX     (256 * 1024)        /* bulk bytes that wait for the pipe */
#define LINK_CONTROL_MAX    (2u * 1024 * 1024)  /* waiting, over which work, or reading, stops */
#define LINK_PINNED         (32 * 1024)         /* output that does not change once handed out */

/* Feature bits of HELLO. */
#define LINK_FEATURE_DEFLATE 0x1u
#define LINK_FEATURE_REFS    0x2u /* RELEASE, and refs in values */

struct link;
struct stream;
struct call;

struct link_handler {
    /* The peer's HELLO came; `facts` lives during the callback only.  May be NULL. */
    void (*hello)(void *arg, struct link *l, const struct value *facts);
    /* The peer opens a stream.  Accept it with stream_accept before returning 0, or return a
     * negative code with *e filled: the stream is closed with it.  NULL: every open is refused
     * with E_NO_SERVICE. */
    int (*open)(void *arg, struct stream *s, const char *service, const struct value *args,
                struct error *e);
    /* The peer calls.  Answer now or later with link_answer or link_fail, once, by `id`.  NULL:
     * every call fails with E_NO_SERVICE. */
    void (*call)(void *arg, struct link *l, uint32_t id, const char *name,
                 const struct value *args);
    /* The peer cancelled a call that is not answered yet; it still must be answered.  May be
     * NULL. */
    void (*cancel)(void *arg, struct link *l, uint32_t id);
    /* There is something to send where there was nothing: the owner should call link_output
     * soon.  Never called from within link_output.  May be NULL. */
    void (*wake)(void *arg, struct link *l);
    /* The peer said GOODBYE: it opens nothing more, and when its streams have ended calls nothing
     * more.  code is 0 or negative. */
    void (*goodbye)(void *arg, struct link *l, int code, const char *text);
    /* As `call`, with the body of CALL as it came ([name, args] if the peer is honest; nobody has
     * looked), alive during the callback only.  When set, it is used instead of `call`.  For what
     * breaks the protocol in it: link_end with E_MALFORMED or E_PROTOCOL. */
    void (*call_raw)(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n);
    /* The peer no longer holds `count` (1 or more) of the references it got to our object `id`;
     * refs_release does what is to be done.  Negative: it never had them, and the link ends with
     * that code.  NULL: nothing was ever issued.  Runs only with LINK_FEATURE_REFS in force, and in
     * order with the peer's calls. */
    int (*release)(void *arg, struct link *l, int64_t id, int64_t count);
    /* The peer has answered the PING with this token (link_probe).  May be NULL. */
    void (*pong)(void *arg, struct link *l, uint64_t token);
};

struct link_options {
    int opener;          /* 1: launcher's side (odd ids), 0: agent's side (even ids) */
    uint32_t lease_ms;   /* announced in HELLO: silence after which we may give the peer up */
    size_t memory;       /* bound of all receive windows' growth, bytes; 0: LINK_MEMORY */
    uint32_t features;   /* offered */
    uint32_t calls_max;  /* calls of each end that may be unanswered; 0: LINK_CALLS_MAX.  Both ends
                          * must have agreed on it, if only by being made for each other */
    uint32_t body_max;   /* bytes of one CALL or RETURN, either way; 0: LINK_BODY_MAX.  The same */
    struct value *facts; /* body of HELLO; taken over; NULL: an empty map */
};

/* Makes a link and queues preface and HELLO.  *handler is copied.  NULL when memory is out
 * (facts is freed in any case). */
struct link *link_new(const struct link_options *options, const struct link_handler *handler,
                      void *arg, uint64_t now_us);

/* Ends every stream and call with `code` (negative; their closed/answered callbacks run) and
 * makes the link useless but for link_free and for its last words: bulk is dropped, and
 * link_output still gives a GOODBYE with the code.  Repeating it does nothing. */
void link_end(struct link *l, int code, const char *text);

/* link_end with E_CLOSED if it was not ended before, then frees.  NULL is legal. */
void link_free(struct link *l);

/* Takes n bytes from the pipe.  0, or the negative code with which the link has ended by this
 * (E_PROTOCOL, E_VERSION, E_NOMEM, …); link_error tells more. */
int link_input(struct link *l, const uint8_t *bytes, size_t n, uint64_t now_us);

/* The pipe ended for reading: link_end with E_LOST, unless the peer has said GOODBYE(0) and no
 * stream is left. */
void link_input_end(struct link *l, uint64_t now_us);

/* Sets *bytes and *n to what should be sent now (n = 0: nothing), after pulling data from the
 * streams that have some, and handing out what was held back (link_backlog).  The pointer is valid
 * until the next call on the link; the first LINK_PINNED bytes keep their contents until they are
 * sent, for transports that must be given the same bytes again (libssh2 after EAGAIN), while
 * control frames may still be put in behind them. 0, or the link's error once it has ended and its
 * last words (GOODBYE with the reason) were handed out: sending them is a courtesy that tells the
 * peer why. */
int link_output(struct link *l, const uint8_t **bytes, size_t *n, uint64_t now_us);
/* The first n of them were sent. */
void link_sent(struct link *l, size_t n, uint64_t now_us);
/* Both, for a pipe that is another link's stream: copies what should be sent now to `at`, at most
 * `room` bytes, and returns how many, which count as sent. */
size_t link_fill(struct link *l, uint8_t *at, size_t room, uint64_t now_us);
/* True when link_output would give something. */
int link_has_output(const struct link *l);
/* True when the owner must stop reading the pipe until output has drained: a peer that does not
 * read makes us answer ever more.  A peer that keeps to the protocol's bounds never causes it. */
int link_congested(const struct link *l);

/* To be called at or after the time that the last call returned (or at once): sends PING every
 * third of the shorter lease (an accepter: while none come from the peer), ends the link with
 * E_SILENT (opener) or E_LEASE (accepter) when the peer has been silent for the lease that *it*
 * agreed to be bound by (our own `lease_ms`).  An opener counts from the peer's HELLO.  Time in
 * which this was not called when due (a stopped process) is not taken for the peer's silence.
 * Buffers unused since the last call are freed. Returns the monotonic microseconds of the next
 * call; UINT64_MAX: none needed. */
uint64_t link_tick(struct link *l, uint64_t now_us);

/* Sends a PING now, ahead of all data, for who wants to know whether the peer lives: its token,
 * which handler.pong gets.  0: the link has ended. */
uint64_t link_probe(struct link *l, uint64_t now_us);

/* Says GOODBYE: nothing more will be opened from here, and calls are made only as long as streams
 * live (a signal to a running command).  With code 0 the streams run to their ends; with a
 * negative code it is link_end(l, code, text), and the peer ends the link at once, too.
 * link_finished is true when our GOODBYE was said, no stream and no call is left, and all output
 * was sent. */
int link_goodbye(struct link *l, int code, const char *text);
int link_finished(const struct link *l);

/* State: the error it ended with (code 0: lives), whether the peer's HELLO / GOODBYE came, round
 * trip (µs, smoothed minimum, 0: unknown), microseconds of the last byte from the peer. */
const struct error *link_error(const struct link *l);
int link_greeted(const struct link *l);
int link_peer_goodbye(const struct link *l);
uint64_t link_round_trip(const struct link *l);
uint64_t link_last_heard(const struct link *l);
size_t link_stream_count(const struct link *l);
/* Those of them whose CLOSE has not been handed out: nothing is left to say on the others. */
size_t link_unclosed_count(const struct link *l);
/* Bytes of frames so far, as sent and received (after deflate), and deflate's saving in bytes. */
struct link_counters {
    uint64_t sent, received, saved;
};
struct link_counters link_counters(const struct link *l);

/* ---- calls ---- */

/* `code` 0 with a value (alive during the callback), or negative with a text.  Runs once. */
typedef void link_answered(void *arg, int code, const struct value *result, const char *text);

/* Sends CALL [name, args] (args taken over, NULL: nil) and later runs `answered`.  Returns 0 and
 * the id, or negative: then `answered` does not run.  -E_LIMIT: calls_max or LINK_CALLS_BYTES is
 * reached; it can be done when some have been answered. */
int link_call(struct link *l, const char *name, struct value *args, link_answered *answered,
              void *arg, uint32_t *id);
/* True when nothing but answers makes room for a call of n bytes. */
int link_is_full(const struct link *l, size_t n);
/* Sends CANCEL; `answered` still runs when the answer comes or the link ends. */
void link_cancel(struct link *l, uint32_t id);
/* Answers a call of the peer's.  result is taken over (NULL: nil).  An unknown id is ignored. */
int link_answer(struct link *l, uint32_t id, struct value *result);
int link_fail(struct link *l, uint32_t id, int code, const char *text);

/* Raw: bodies as they stand on the wire, for those who have an encoder of their own.  The link does
 * not look into them.  (None: -E_ARGUMENT; over body_max: -E_TOO_LARGE.)  `code` 0 with the body of
 * RETURN (alive during the callback), or negative with a text.  Runs once. */
typedef void link_answered_raw(void *arg, int code, const uint8_t *body, size_t n,
                               const char *text);
/* As link_call; body: [name, args], n bytes, copied. */
int link_call_raw(struct link *l, const uint8_t *body, size_t n, link_answered_raw *answered,
                  void *arg, uint32_t *id);
/* As link_answer; body: one value, n bytes, copied. */
int link_answer_raw(struct link *l, uint32_t id, const uint8_t *body, size_t n);

/* Bytes that wait to be sent, bulk included.  While they are more than LINK_CONTROL_MAX the link
 * holds the peer's calls back; who works on calls that it got before should wait, too, or the
 * answers to a peer that does not read fill the memory.  Never wait with reading for that: a peer
 * that does the same would wait forever. */
size_t link_backlog(const struct link *l);

/* Streams that are opened from now on begin with at most this window, and all windows together grow
 * by at most `growth` bytes: for who has many links and one budget. */
void link_limit_memory(struct link *l, size_t first, size_t growth);

/* ---- references ---- */

/* Tells the peer that of each of `pairs`' n objects of its so many references are no longer held:
 * id, count, id, count, … (2 * n numbers, each 1 or more).  0; -E_UNSUPPORTED when the feature is
 * not in force (before the peer's HELLO, too: nothing can have been got by then), -E_ARGUMENT,
 * -E_CLOSED, or -E_NOMEM, with which the link has ended. */
int link_release(struct link *l, const int64_t *pairs, size_t n);

#endif
