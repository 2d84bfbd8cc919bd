/* How many hosts may be connected to at the same time: few at first, more while that goes well,
 * fewer where connections are refused because there are too many, no more where they only take
 * longer, since somebody on the way has enough to do, and fewer where they take so long that their
 * time limits come near.  It counts and decides, and does nothing else. */
#ifndef GRAPNEL_LAUNCHER_FLEET_WINDOW_H
#define GRAPNEL_LAUNCHER_FLEET_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#define WINDOW_FIRST 16
#define WINDOW_MOST  256

struct window {
    double limit; /* may be connecting */
    size_t most;
    size_t connecting;
    size_t fine, refused; /* since it was changed last */
    uint64_t fastest_us;  /* attempt that has succeeded; 0: none */
    int slow;             /* it was too wide once: grows by one for each window full only */
    unsigned epoch;       /* of attempts that began since it was changed last */
    unsigned cuts;        /* in a row, with nothing fine in between */
    uint64_t until_us;    /* nobody begins before that */
};

/* How an attempt has ended. */
enum window_end {
    WINDOW_CONNECTED,
    WINDOW_REFUSED, /* maybe because there were too many */
    WINDOW_FAILED,  /* for a reason of the host's own */
    WINDOW_SILENT,  /* nobody answers, and nobody has any work with it */
};

void window_init(struct window *w, size_t most);
/* 0 when another attempt may begin now; or the microseconds until it is worth asking again;
 * UINT64_MAX: not before one has ended. */
uint64_t window_wait(const struct window *w, uint64_t now_us);
/* One begins; what is returned is given back with its end. */
unsigned window_begin(struct window *w);
/* took_us: since window_begin.  random: any number. */
void window_end(struct window *w, unsigned token, enum window_end how, uint64_t took_us,
                uint64_t now_us, uint32_t random);

#endif
