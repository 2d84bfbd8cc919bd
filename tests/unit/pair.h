/* Two links joined by memory, with simulated time, delay, rate and cuts; and a stream handler that
 * writes down what happens to it. */
#ifndef TESTS_UNIT_PAIR_H
#define TESTS_UNIT_PAIR_H

#include <stdbool.h>

#include "proto/frames.h"
#include "proto/link.h"
#include "proto/stream.h"

/* One stream's end: what it has to send and what came. */
struct pair_flow {
    struct stream *s; /* NULL once closed */
    uint64_t to_send; /* bytes of the pattern that fill still gives */
    uint64_t sent;
    bool eof_after; /* stream_eof when all is given */
    bool keep;      /* hold everything back: no credit is returned */
    bool echo;      /* write what comes back */
    bool blind;     /* much data: not looked at */
    bool random;    /* incompressible instead of the pattern */
    bool close_on_eof;
    uint64_t received, held;
    bool wrong; /* bytes differed from the pattern */
    int eofs, closes;
    int code;
    int64_t result;
    char text[200];
    char order[64]; /* d: data (once for a run), e: eof, c: closed */
};

struct pair_chunk {
    uint64_t at;
    size_t n;
};

/* One direction of the line. */
struct pair_line {
    struct wire_buf bytes;
    struct pair_chunk chunks[4096];
    size_t first, count;
    uint64_t busy_until;
};

#define PAIR_FLOWS 2100

struct pair_side {
    struct pair *pair;
    struct link *link;
    struct pair_flow flows[PAIR_FLOWS]; /* of the streams that the peer opened, in order */
    size_t flow_count;
    struct pair_flow model; /* what a new flow starts as */
    int refuse;             /* code for open, 0: accept */
    int hellos, goodbyes, goodbye_code, wakes;
    int calls, cancels;
    uint32_t call_id;   /* the last one */
    char call_name[64]; /* its name and its argument, if an int */
    int64_t call_arg;
    bool answer; /* answer each call at once with its argument + 1 */
};

struct pair {
    struct pair_side a, b; /* a: opener */
    struct pair_line ab, ba;
    uint64_t now;
    uint64_t delay; /* µs one way */
    uint64_t rate;  /* bytes per second, 0: unlimited */
    bool deep;      /* buffers on the way take all at once, which still arrives at that rate */
    size_t cut;     /* bytes for each link_input, 0: all */
};

extern const struct stream_handler pair_handler;    /* arg: struct pair_flow */
extern const struct link_handler pair_link_handler; /* arg: struct pair_side */

/* A pair at time 1,000,000 µs; the options may be NULL.  Greets each other unless `raw`. */
struct pair *pair_new(const struct link_options *a, const struct link_options *b);
void pair_free(struct pair *p);

/* Moves bytes until nothing moves any more at the present time (delay counts as time passing:
 * then time goes on until nothing is under way). */
void pair_run(struct pair *p);
/* Moves bytes as time goes on to p->now + us. */
void pair_run_for(struct pair *p, uint64_t us);

/* A flow opened by `side`; freed by nobody: it is the caller's. */
struct stream *pair_open(struct pair_side *side, struct pair_flow *f);

/* A lone link (opener or not) that has seen the preface and a good HELLO of a hand-made peer. */
struct pair_side *pair_lone(int opener);
/* The same with options (`opener` included), and a peer that offers those features. */
struct pair_side *pair_lone_with(const struct link_options *options, uint8_t features);
void pair_lone_free(struct pair_side *side);
/* Feeds a hand-made frame; returns link_input's result. */
int pair_feed(struct pair_side *side, uint32_t id, unsigned type, unsigned flags,
              const void *payload, size_t n);
/* Drains the lone link's output and looks for the first frame of that type.  0 and the frame
 * (its body in memory that lives until the next call), or -1. */
int pair_sent(struct pair_side *side, uint8_t type, struct frame *f);

#endif
