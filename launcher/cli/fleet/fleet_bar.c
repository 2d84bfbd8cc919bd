#include "launcher/cli/fleet/fleet_bar.h"

#include <stdio.h>
#include <string.h>

#define BAR    20  /* columns between the brackets */
#define WINDOW 5.0 /* seconds over which the rate is smoothed */

static size_t ended_of(const struct grapnel_fleet_counts *c)
{
    return c->done + c->failed + c->skipped;
}

void fleet_bar_note(struct fleet_bar *b, const struct grapnel_fleet_counts *counts, double now)
{
    size_t ended = ended_of(counts);
    double seconds = now - b->at, weight = seconds < WINDOW ? seconds / WINDOW : 1;

    if (b->at <= 0) {
        *b = (struct fleet_bar){.began = now, .at = now, .ended = ended, .before = ended};
        return;
    }
    if (seconds <= 0)
        return;
    /* A few hosts at first are no rate: what there was so far is. */
    if (now - b->began <= WINDOW)
        b->rate = (double)(ended - b->before) / (now - b->began);
    else
        b->rate += weight * ((double)(ended - b->ended) / seconds - b->rate);
    b->at = now;
    b->ended = ended;
}

static size_t time_left(char *to, size_t size, double seconds)
{
    long s = (long)(seconds + 0.999);

    if (s >= 3600)
        return (size_t)snprintf(to, size, ", %ldh%02ldm left", s / 3600, s / 60 % 60);
    if (s >= 60)
        return (size_t)snprintf(to, size, ", %ldm%02lds left", s / 60, s % 60);
    return (size_t)snprintf(to, size, ", %lds left", s);
}

const char *fleet_bar_text(char text[FLEET_BAR_TEXT], const struct fleet_bar *b,
                           const struct grapnel_fleet_counts *counts, size_t width)
{
    size_t ended = ended_of(counts), used, full = counts->hosts ? ended * BAR / counts->hosts : 0;
    char bar[BAR + 1];
    size_t most = width > 0 && width < FLEET_BAR_TEXT ? width - 1 : FLEET_BAR_TEXT - 1;

    memset(bar, ' ', BAR);
    memset(bar, '=', full);
    bar[BAR] = '\0';
    used =
        (size_t)snprintf(text, FLEET_BAR_TEXT, "[%s] %zu/%zu, %zu running, %zu failed", bar, ended,
                         counts->hosts, counts->connecting + counts->running, counts->failed);
    if (b->rate > 0) {
        used += (size_t)snprintf(text + used, FLEET_BAR_TEXT - used,
                                 b->rate < 10 ? ", %.1f/s" : ", %.0f/s", b->rate);
        used += time_left(text + used, FLEET_BAR_TEXT - used,
                          (double)(counts->hosts - ended) / b->rate);
    }
    if (used > most) /* the numbers say more than the bar */
        memmove(text, text + BAR + 3, used - BAR - 2);
    text[most] = '\0';
    return text;
}
