/* Times and sizes as people write them. */
#ifndef GRAPNEL_CLI_QUANTITY_H
#define GRAPNEL_CLI_QUANTITY_H

#include <stddef.h>
#include <stdint.h>

#define QUANTITY_TIME_MAX                                                                          \
    ((int64_t)366 * 24 * 3600 * 1000) /* a year, in ms: the agent's own bound */
#define QUANTITY_SIZE_MAX ((int64_t)1 << 60)

/* What the readers answer beside 0. */
enum { QUANTITY_MALFORMED = -1, QUANTITY_TOO_LARGE = -2 };

/* "10", "1.5s", "500ms", "2m", "1h", "7d": a decimal number (at most six digits after the point)
 * and a unit, seconds when there is none.  *ms: milliseconds, rounded up so that a little never
 * becomes nothing.  0, QUANTITY_MALFORMED (also when negative), QUANTITY_TOO_LARGE (over
 * QUANTITY_TIME_MAX). */
int quantity_time(const char *text, int64_t *ms);

/* "4096", "64k", "10M", "1.5G", "1T", also "64KiB" and "64KB": all by 1,024.  *bytes rounded up.
 * 0, QUANTITY_MALFORMED (also when negative), QUANTITY_TOO_LARGE (over QUANTITY_SIZE_MAX). */
int quantity_size(const char *text, int64_t *bytes);

/* "20": so many of something, from 1 to 1,000,000,000; "20%": *share is -20, 1 to 100.  0 or
 * QUANTITY_MALFORMED. */
int quantity_share(const char *text, int64_t *share);
/* What a share is of this many, at least 1. */
int64_t quantity_of(int64_t share, int64_t whole);

#define QUANTITY_TEXT 32 /* bytes that are enough for the texts below */

/* "512 bytes", "3.1 KiB", "1.9 GiB".  Returns text. */
const char *quantity_size_text(char text[QUANTITY_TEXT], int64_t bytes);
/* Microseconds as "0.35 ms", "12.1 ms", "350 ms", "4.20 s".  Returns text. */
const char *quantity_time_text(char text[QUANTITY_TEXT], int64_t us);

#endif
