/* Which known word did a person mean who mistyped it? */
#ifndef GRAPNEL_CLI_NEAR_H
#define GRAPNEL_CLI_NEAR_H

struct near {
    const char *word;
    const char *best;
    int distance;
};

/* Begins a search for `word`, which must live as long as *n. */
void near_begin(struct near *n, const char *word);
/* One more word that could be meant; must live as long as the answer is used. */
void near_offer(struct near *n, const char *candidate);
/* The nearest of those offered, the first of several as near; NULL: none is near enough (a third of
 * its letters may be wrong, missing, too many or swapped with a neighbour). */
const char *near_best(const struct near *n);

#endif
