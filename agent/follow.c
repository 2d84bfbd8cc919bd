#include "agent/follow.h"

#include <stdlib.h>
#include <unistd.h>

int follow_knows(const struct follow *f, const struct tree_process *p)
{
    size_t low = 0;
    size_t high = f->known_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->known[middle].pid == p->pid) {
            return f->known[middle].started == p->started;
        }
        if (f->known[middle].pid < p->pid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

/* Whose parent is this process itself: it is the command's when it stayed in a session of the
 * command's, or when there is no other command whose it could be. */
static int orphan_belongs(const struct follow *f, const struct tree *t,
                          const struct tree_process *p, int is_leader)
{
    const struct tree_process *head = tree_find(t, p->session);

    if (head != NULL && head != p && head->marked) {
        return 1;
    }
    return f->alone && p->started >= f->since && !is_leader;
}

size_t follow_mark(const struct follow *f, struct tree *t, int (*is_leader)(void *arg, pid_t pid),
                   void *arg)
{
    pid_t self = getpid();
    size_t count = 0;
    int changed;

    for (size_t i = 0; i < t->count; i++) {
        struct tree_process *p = &t->p[i];
        p->marked = p->below && (f->leader == 0 || p->session == f->leader || p->pid == f->leader ||
                                 follow_knows(f, p));
    }
    do {
        changed = 0;
        for (size_t i = 0; i < t->count; i++) {
            struct tree_process *p = &t->p[i];
            const struct tree_process *parent;
            if (p->marked || !p->below) {
                continue;
            }
            parent = tree_find(t, p->parent);
            if (p->parent == self ? orphan_belongs(f, t, p, is_leader(arg, p->pid))
                                  : parent != NULL && parent->marked) {
                p->marked = 1;
                changed = 1;
            }
        }
    } while (changed);
    for (size_t i = 0; i < t->count; i++) {
        count += t->p[i].marked && !t->p[i].dead;
    }
    return count;
}

void follow_keep(struct follow *f, const struct tree *t)
{
    struct follow_known *list = calloc(t->count + 1, sizeof *list);
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
    free(f->known);
    f->known = list;
    f->known_count = n;
}

void follow_free(struct follow *f)
{
    free(f->known);
    f->known = NULL;
    f->known_count = 0;
}
