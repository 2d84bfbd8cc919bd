/* How two texts differ, line by line. */
#ifndef GRAPNEL_CLI_LINEDIFF_H
#define GRAPNEL_CLI_LINEDIFF_H

#include <stddef.h>

/* Unified, with three lines of context, for free; "" when they are equal.  Where they have little
 * in common, all that lies between their first and last difference is shown as replaced.  NULL:
 * memory is out. */
char *linediff(const char *a, size_t a_length, const char *a_title, const char *b, size_t b_length,
               const char *b_title);

#endif
