/* A launcher's link within a stream of another one, for tests: what harness.h does over a line. */
#ifndef TESTS_AGENT_NEST_H
#define TESTS_AGENT_NEST_H

#include "tests/agent/harness.h"

struct nest {
    struct harness h; /* for harness_run and all else that takes one that was started */
    struct stream *s; /* of the outer link; NULL: closed */
    int code;         /* of its CLOSE */
    char text[256];
    int hold;            /* what comes is kept, and gets no credit */
    int mute;            /* nothing is sent, as from a launcher that is stopped */
    uint64_t sent;       /* bytes that the outer link took */
    struct wire_buf raw; /* goes before what the link has to send */
    struct wire_buf kept;
};

/* Opens one on a harness that was started.  lease_ms: the launcher's, for HELLO. */
struct nest *nest_open(struct harness *outer, uint32_t lease_ms);
/* Without a link of ours: only nest_send. */
struct nest *nest_open_bare(struct harness *outer);
/* Sends n bytes in no frames. */
void nest_send(struct nest *n, const void *bytes, size_t size);
/* No longer holds. */
void nest_release(struct nest *n);
/* Waits for the stream's CLOSE. */
void nest_closed(struct nest *n);
/* Waits for HELLO. */
void nest_greeted(struct nest *n);
/* Frees it; if its stream stands it says goodbye before, and checks that it is answered. */
void nest_end(struct nest *n);

#endif
