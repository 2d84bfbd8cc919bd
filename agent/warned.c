#include "agent/warned.h"

#include <stdlib.h>

static int by_pid(const void *a, const void *b)
{
    const struct warned_process *x = a;
    const struct warned_process *y = b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

int warned_has(const struct warned *w, const struct tree_process *p)
{
    const struct warned_process key = {.pid = p->pid};
    const struct warned_process *found =
        w->count > 0 ? bsearch(&key, w->list, w->count, sizeof key, by_pid) : NULL;

    return found != NULL && found->started == p->started;
}

void warned_keep(struct warned *w, const struct tree *t)
{
    struct warned_process *list = calloc(t->count + 1, sizeof *list);
    size_t n = 0;

    if (list == NULL) {
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        if (t->p[i].marked && !t->p[i].dead) {
            list[n].pid = t->p[i].pid;
            list[n].started = t->p[i].started;
            n++;
        }
    }
    free(w->list);
    w->list = list;
    w->count = n;
}

void warned_free(struct warned *w)
{
    free(w->list);
    w->list = NULL;
    w->count = 0;
}
