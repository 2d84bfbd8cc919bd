#include "launcher/fleet/window.h"

#include <limits.h>

#define REFUSED_PART  8       /* one refusal among so many attempts is no sign … */
#define REFUSED_LEAST 2       /* … and one alone never is: some hosts refuse everybody */
#define BUSY_US       1000000 /* attempts that take longer than this … */
#define BUSY_TIMES    8 /* … and so many times longer than the fastest do not widen it … */
#define LATE_US       2000000 /* … and those that take longer than this make it narrower */
#define REMEMBERED    64      /* attempts: older ones count half */
#define PAUSE_US      100000  /* after a cut, doubled for each with nothing fine since … */
#define PAUSE_CUTS    5       /* … up to so many times */

void window_init(struct window *w, size_t most)
{
    *w = (struct window){.most = most ? most : WINDOW_MOST};
    w->limit = (double)(WINDOW_FIRST < w->most ? WINDOW_FIRST : w->most);
}

uint64_t window_wait(const struct window *w, uint64_t now_us)
{
    if ((double)w->connecting + 1. > w->limit)
        return UINT64_MAX;
    return now_us < w->until_us ? w->until_us - now_us : 0;
}

unsigned window_begin(struct window *w)
{
    w->connecting++;
    return w->epoch;
}

static void forget_old(struct window *w)
{
    if (w->fine + w->refused < REMEMBERED)
        return;
    w->fine /= 2;
    w->refused /= 2;
}

/* True when more at the same time would only wait for each other. */
static int is_busy(struct window *w, uint64_t took_us)
{
    if (!w->fastest_us || took_us < w->fastest_us)
        w->fastest_us = took_us ? took_us : 1;
    return took_us > BUSY_US && took_us / BUSY_TIMES > w->fastest_us;
}

static void widen(struct window *w)
{
    w->limit += w->slow ? 1. / w->limit : 1.;
    if (w->limit > (double)w->most)
        w->limit = (double)w->most;
}

/* Who was fast enough for that many is not any more: others want something of him, too. */
static void narrow(struct window *w)
{
    if (w->limit > WINDOW_FIRST)
        w->limit -= 1.;
}

static void cut(struct window *w, uint64_t now_us, uint32_t random)
{
    uint64_t pause;

    if (w->fine)
        w->cuts = 0;
    pause = (uint64_t)PAUSE_US << (w->cuts < PAUSE_CUTS ? w->cuts : PAUSE_CUTS);
    w->limit = w->limit >= 2. ? w->limit / 2. : 1.;
    w->slow = 1;
    w->cuts++;
    w->epoch++;
    w->fine = w->refused = 0;
    /* Less up to a quarter, so that many launchers do not come back in step. */
    w->until_us = now_us + pause - pause / 4 * (random % 1024) / 1024;
}

void window_end(struct window *w, unsigned token, enum window_end how, uint64_t took_us,
                uint64_t now_us, uint32_t random)
{
    w->connecting--;
    if (token != w->epoch || how == WINDOW_FAILED)
        return; /* it began in a window that was changed since: that has been seen to */
    if (how == WINDOW_SILENT) {
        widen(w);
        return;
    }
    forget_old(w);
    if (how == WINDOW_CONNECTED) {
        w->fine++;
        if (!is_busy(w, took_us))
            widen(w);
        else if (took_us > LATE_US)
            narrow(w);
    } else if (++w->refused >= REFUSED_LEAST && w->refused * REFUSED_PART >= w->fine + w->refused) {
        cut(w, now_us, random);
    }
}
