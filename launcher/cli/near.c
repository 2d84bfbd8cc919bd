#include "launcher/cli/near.h"

#include <limits.h>
#include <string.h>

#define LONGEST 32

static int least(int a, int b, int c)
{
    int least_ab = a < b ? a : b;

    return least_ab < c ? least_ab : c;
}

/* Edits that make b of a: insert, remove, replace, or swap two neighbours. */
static int distance(const char *a, const char *b)
{
    int d[LONGEST + 1][LONGEST + 1];
    size_t na = strlen(a), nb = strlen(b);

    if (na > LONGEST || nb > LONGEST)
        return INT_MAX;
    for (size_t i = 0; i <= na; i++)
        d[i][0] = (int)i;
    for (size_t j = 0; j <= nb; j++)
        d[0][j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        for (size_t j = 1; j <= nb; j++) {
            int differs = a[i - 1] != b[j - 1];

            d[i][j] = least(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + differs);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[na][nb];
}

void near_begin(struct near *n, const char *word)
{
    *n = (struct near){.word = word, .distance = INT_MAX};
}

void near_offer(struct near *n, const char *candidate)
{
    size_t length = strlen(candidate);
    int far = distance(n->word, candidate), limit = (int)(length + 2) / 3;

    /* What begins like it is meant, however much is missing. */
    if (strlen(n->word) >= 2 && !strncmp(n->word, candidate, strlen(n->word)))
        far = 1;
    if (far <= limit && far < n->distance) {
        n->best = candidate;
        n->distance = far;
    }
}

const char *near_best(const struct near *n)
{
    return n->best;
}
