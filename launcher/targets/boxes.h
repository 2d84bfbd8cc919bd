/* Rows of numbers folded into products of sets of them, exactly: what the boxes have together is
 * what the rows were, and nothing twice. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_BOXES_H
#define GRAPNEL_LAUNCHER_TARGETS_BOXES_H

#include <stddef.h>
#include <stdint.h>

/* One side of a box: sorted numbers. */
struct boxes_side {
    const uint64_t *numbers;
    size_t count;
};

/* Folds rows of `columns` (> 0) numbers each, in the time that reading and sorting them takes.
 * Calls each(arg, sides) with `columns` sides for every box, in the order of their first rows,
 * until it answers other than 0; its answer is the result.  Else 0 or -E_NOMEM. */
int boxes_fold(const uint64_t *rows, size_t count, size_t columns,
               int (*each)(void *arg, const struct boxes_side *sides), void *arg);

#endif
