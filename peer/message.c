/* Messages between their arrival and their decoding (peer_impl.h). */
#include <stdlib.h>
#include <string.h>

#include "peer/peer_impl.h"
#include "peer/strict.h"

struct pinning {
    struct peer *p;
    size_t pinned, limit; /* references that came home */
    bool stale;
};

static void pin(void *arg, enum strict_ref what, int64_t id)
{
    struct pinning *a = arg;
    if (what != STRICT_HOME || a->stale) {
        return;
    }
    void *object = refs_find(a->p->refs, id);
    a->stale = object == NULL || refs_issue(a->p->refs, object) < 0;
    a->pinned += !a->stale;
}

/* Undoes the first `limit` pins, and gives far objects back. */
static void give_back(void *arg, enum strict_ref what, int64_t id)
{
    struct pinning *a = arg;
    if (what == STRICT_FAR) {
        proxy_released(a->p, id, 1);
    } else if (what == STRICT_HOME && a->pinned < a->limit && a->p->refs != NULL) {
        a->pinned++;
        refs_release(a->p->refs, id, 1);
    }
}

static void unpin(void *arg, enum strict_ref what, int64_t id)
{
    struct peer *p = arg;
    if (what == STRICT_HOME && p->refs != NULL) {
        refs_release(p->refs, id, 1);
    }
}

int message_take(struct peer *p, struct message *m, const uint8_t *bytes, size_t n)
{
    struct pinning a = {.p = p};
    size_t refs;
    m->bytes = n <= sizeof(m->inside) ? m->inside : malloc(n);
    m->n = n;
    int rc = strict_check(bytes, n, pin, &a, &refs);
    if (rc == 0 && m->bytes == NULL) {
        rc = -E_NOMEM;
    } else if (rc == 0 && a.stale) {
        rc = -E_STALE;
    }
    m->refs = refs > 0;
    if (rc == 0) {
        memcpy(m->bytes, bytes, n);
        return 0;
    }
    /* After a breach the link ends, and with it all references. */
    if (m->refs && (rc == -E_STALE || rc == -E_NOMEM)) {
        struct pinning undo = {.p = p, .limit = a.pinned};
        strict_check(bytes, n, give_back, &undo, NULL);
    }
    if (m->bytes != m->inside) {
        free(m->bytes);
    }
    m->bytes = NULL;
    return rc;
}

void message_done(struct peer *p, struct message *m, bool decoded)
{
    if (m->bytes == NULL) {
        return;
    }
    if (m->refs && decoded) {
        strict_check(m->bytes, m->n, unpin, p, NULL);
    } else if (m->refs) {
        struct pinning undo = {.p = p, .limit = SIZE_MAX};
        strict_check(m->bytes, m->n, give_back, &undo, NULL);
    }
    if (m->bytes != m->inside) {
        free(m->bytes);
    }
    m->bytes = NULL;
}
