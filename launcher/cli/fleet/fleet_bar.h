/* How far it is, in one line. */
#ifndef GRAPNEL_CLI_FLEET_BAR_H
#define GRAPNEL_CLI_FLEET_BAR_H

#include <stddef.h>

#include "launcher/grapnel.h"

#define FLEET_BAR_TEXT 256

/* Hosts that end in a second, smoothed.  Zero-initialise. */
struct fleet_bar {
    double rate, at, began;
    size_t ended, before; /* by now, and when it began */
};

/* Notes how many have ended by now (grapnel_now); the first time it begins. */
void fleet_bar_note(struct fleet_bar *b, const struct grapnel_fleet_counts *counts, double now);
/* "[====      ] 40/100, 8 running, 2 failed, 12/s, 5s left", ASCII, less than `width` columns:
 * where there are too few, it begins with 40/100.  Returns text. */
const char *fleet_bar_text(char text[FLEET_BAR_TEXT], const struct fleet_bar *b,
                           const struct grapnel_fleet_counts *counts, size_t width);

#endif
