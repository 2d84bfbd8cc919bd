#include "agent/warned.h"

#include <stdlib.h>

int warned_has(const struct warned *w, const struct tree_process *p)
{
    size_t low = 0;
    size_t high = w->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->list[middle].pid == p->pid) {
            return w->list[middle].started == p->started;
        }
        if (w->list[middle].pid < p->pid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
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
