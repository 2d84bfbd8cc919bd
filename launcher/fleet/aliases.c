#include "launcher/fleet/aliases.h"

#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST 16 /* bytes, so that no two keys share one */

struct claim {
    size_t host; /* plus 1; 0: free */
    uint8_t digest[DIGEST];
};

struct aliases {
    size_t mask;
    struct claim claims[]; /* open addressing; at least half of them stay free */
};

struct aliases *aliases_new(size_t hosts)
{
    struct aliases *a;
    size_t n = 16;

    while (n < 2 * hosts)
        n *= 2;
    a = calloc(1, sizeof *a + n * sizeof *a->claims);
    if (a)
        a->mask = n - 1;
    return a;
}

void aliases_free(struct aliases *a)
{
    free(a);
}

size_t aliases_claim(struct aliases *a, const char *key, size_t host)
{
    uint8_t digest[DIGEST];
    uint64_t at;

    crypto_generichash(digest, sizeof digest, (const uint8_t *)key, strlen(key), NULL, 0);
    memcpy(&at, digest, sizeof at);
    for (;; at++) {
        struct claim *c = &a->claims[at & a->mask];

        if (!c->host) {
            c->host = host + 1;
            memcpy(c->digest, digest, sizeof digest);
            return host;
        }
        if (memcmp(c->digest, digest, sizeof digest) == 0)
            return c->host - 1;
    }
}
