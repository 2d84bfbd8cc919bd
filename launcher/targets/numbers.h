/* The numbers in names, as folding sees them: with their leading zeros, so that 1 and 01 differ.
 * Each is a uint64_t whose order is that of digits first, then of value. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_NUMBERS_H
#define GRAPNEL_LAUNCHER_TARGETS_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

/* How many digits s (of n bytes) begins with. */
size_t numbers_digits(const char *s, size_t n);

/* The number of so many digits (1 to PATTERN_DIGITS_MAX). */
uint64_t numbers_read(const char *s, size_t digits);

/* Sorts them, and drops what is there twice.  How many are left. */
size_t numbers_sort(uint64_t *numbers, size_t count);

/* Appends one number as it is; several (sorted, count > 0) as [1-3,5].  Results as wire_put. */
int numbers_put(struct wire_buf *out, const uint64_t *numbers, size_t count);

#endif
