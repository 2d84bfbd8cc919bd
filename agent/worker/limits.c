#include "agent/worker/limits.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "proto/errors.h"

/* Small blocks, of which Lua wants most, come in steps from chunks, and go back to lists of their
 * size: the C library's allocators for small static programs are slow.  Sanitizers see more when
 * each block is the C library's. */
#define STEP        16
#define SMALL_STEPS 32
#ifdef __SANITIZE_ADDRESS__
#define SMALL 0
#else
#define SMALL (STEP * SMALL_STEPS)
#endif
#define CHUNK (32 * 1024 - 64)
#define SLACK (1024 * 1024) /* and an eighth of the limit, for what the worker does itself */

struct piece {
    struct piece *next;
};

struct chunk {
    struct chunk *next;
    _Alignas(max_align_t) unsigned char bytes[];
};

struct limits {
    size_t used, most, slack;
    const struct tasks *tasks;
    struct piece *freed[SMALL_STEPS]; /* of STEP * (i + 1) bytes */
    struct chunk *chunks;             /* the first is being cut */
    size_t cut;                       /* bytes of it that are given away */
};

struct limits *limits_new(size_t memory)
{
    struct limits *l = calloc(1, sizeof(*l));

    if (l != NULL) {
        l->most = memory == 0 ? SIZE_MAX : memory;
        l->slack = memory == 0 ? 0 : memory / 8 + SLACK;
        l->cut = CHUNK;
    }
    return l;
}

void limits_set_tasks(struct limits *l, const struct tasks *t)
{
    l->tasks = t;
}

size_t limits_used(const struct limits *l)
{
    return l->used;
}

void limits_free(struct limits *l)
{
    struct chunk *c, *next;

    for (c = l != NULL ? l->chunks : NULL; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    free(l);
}

static int allows(const struct limits *l, size_t more)
{
    size_t most = l->most;

    if (l->used + more <= most) {
        return 1;
    }
    if (l->tasks == NULL || !tasks_running(l->tasks)) {
        most += l->slack;
    }
    return l->used + more <= most;
}

static size_t step_of(size_t size)
{
    return (size - 1) / STEP;
}

static void *cut(struct limits *l, size_t size)
{
    struct chunk *c = l->chunks;

    if (l->cut + size > CHUNK) {
        c = malloc(sizeof(*c) + CHUNK);
        if (c == NULL) {
            return NULL;
        }
        c->next = l->chunks;
        l->chunks = c;
        l->cut = 0;
    }
    l->cut += size;
    return c->bytes + l->cut - size;
}

static void *get(struct limits *l, size_t size)
{
    struct piece *p;

    if (size > SMALL) {
        return malloc(size);
    }
    p = l->freed[step_of(size)];
    if (p != NULL) {
        l->freed[step_of(size)] = p->next;
        return p;
    }
    return cut(l, (step_of(size) + 1) * STEP);
}

static void give_back(struct limits *l, void *at, size_t size)
{
    struct piece *p = at;

    if (size > SMALL) {
        free(at);
        return;
    }
    p->next = l->freed[step_of(size)];
    l->freed[step_of(size)] = p;
}

static void *change(struct limits *l, void *p, size_t old, size_t size)
{
    void *q;

    if (old > SMALL && size > SMALL) {
        return realloc(p, size);
    }
    if (old <= SMALL && size <= SMALL && step_of(old) == step_of(size)) {
        return p;
    }
    q = get(l, size);
    if (q != NULL) {
        memcpy(q, p, old < size ? old : size);
        give_back(l, p, old);
    }
    return q;
}

void *limits_alloc(void *arg, void *p, size_t old, size_t size)
{
    struct limits *l = arg;
    void *q;

    if (p == NULL) {
        old = 0; /* it tells the kind of object */
    }
    if (size == 0) {
        if (old > 0) {
            give_back(l, p, old);
        }
        l->used -= old;
        return NULL;
    }
    if (size > old && !allows(l, size - old)) {
        return NULL;
    }
    q = old == 0 ? get(l, size) : change(l, p, old, size);
    if (q != NULL) {
        l->used = l->used - old + size;
    }
    return q;
}

int limits_cpu(uint64_t seconds)
{
    struct rlimit now, limit = {.rlim_cur = (rlim_t)seconds, .rlim_max = (rlim_t)seconds + 1};

    if (getrlimit(RLIMIT_CPU, &now) != 0) {
        return -E_SYSTEM;
    }
    if (now.rlim_max != RLIM_INFINITY && limit.rlim_max > now.rlim_max) {
        limit.rlim_max = now.rlim_max;
        limit.rlim_cur = limit.rlim_cur < limit.rlim_max ? limit.rlim_cur : limit.rlim_max;
    }
    return setrlimit(RLIMIT_CPU, &limit) == 0 ? 0 : -E_SYSTEM;
}
