#include "agent/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/errors.h"

/* proc(5): the command stands in parentheses and may hold any byte, so the fields are counted
 * from the last closing one. */
int tree_read(const char *text, struct tree_process *p)
{
    enum { PARENT = 4, GROUP = 5, SESSION = 6, THREADS = 20, STARTED = 22 };
    const char *at = strrchr(text, ')');
    unsigned long long field[STARTED + 1] = {0};

    if (at == NULL || at[1] != ' ' || at[2] == '\0') {
        return -E_SYSTEM;
    }
    p->state = at[2];
    at += 3;
    for (size_t i = PARENT; i <= STARTED; i++) {
        char *end;
        field[i] = strtoull(at, &end, 10);
        if (end == at) {
            return -E_SYSTEM;
        }
        at = end;
    }
    p->parent = (pid_t)field[PARENT];
    p->group = (pid_t)field[GROUP];
    p->session = (pid_t)field[SESSION];
    p->started = field[STARTED];
    /* The first thread may have ended before the others: then the process lives on. */
    p->dead = (p->state == 'Z' || p->state == 'X') && field[THREADS] <= 1;
    return 0;
}

int tree_look(pid_t pid, struct tree_process *p)
{
    char path[32];
    char text[512];
    ssize_t n;
    int fd;

    memset(p, 0, sizeof *p);
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -E_SYSTEM;
    }
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return -E_SYSTEM;
    }
    text[n] = '\0';
    p->pid = pid;
    return tree_read(text, p);
}

static int append(struct tree *t, const struct tree_process *p)
{
    if (t->count == t->room) {
        size_t room = t->room == 0 ? 128 : t->room * 2;
        struct tree_process *more = realloc(t->p, room * sizeof *more);
        if (more == NULL) {
            return -E_NOMEM;
        }
        t->p = more;
        t->room = room;
    }
    t->p[t->count++] = *p;
    return 0;
}

static int by_pid(const void *a, const void *b)
{
    const struct tree_process *x = a;
    const struct tree_process *y = b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

static const struct tree_process *find(const struct tree *t, pid_t pid)
{
    struct tree_process key = {.pid = pid};

    if (t->count == 0) {
        return NULL;
    }
    return bsearch(&key, t->p, t->count, sizeof *t->p, by_pid);
}

/* A parent usually has the smaller number, so few rounds are needed; numbers that began anew
 * after the highest cost some more. */
size_t tree_spread(struct tree *t)
{
    size_t alive = 0;
    int changed;

    do {
        changed = 0;
        for (size_t i = 0; i < t->count; i++) {
            const struct tree_process *parent = t->p[i].marked ? NULL : find(t, t->p[i].parent);
            if (parent != NULL && parent->marked) {
                t->p[i].marked = 1;
                changed = 1;
            }
        }
    } while (changed);
    for (size_t i = 0; i < t->count; i++) {
        alive += t->p[i].marked && !t->p[i].dead;
    }
    return alive;
}

size_t tree_mark(struct tree *t, pid_t root)
{
    for (size_t i = 0; i < t->count; i++) {
        t->p[i].marked = t->p[i].parent == root;
    }
    return tree_spread(t);
}

int tree_scan(struct tree *t)
{
    DIR *d = opendir("/proc");
    struct dirent *entry;
    int result = 0;
    int sorted = 1;

    t->count = 0;
    if (d == NULL) {
        return -E_UNSUPPORTED;
    }
    while (result == 0 && (entry = readdir(d)) != NULL) {
        struct tree_process p;
        long pid = 0;
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') {
            continue;
        }
        pid = strtol(entry->d_name, NULL, 10);
        if (tree_look((pid_t)pid, &p) != 0) {
            continue; /* it has ended meanwhile */
        }
        sorted = sorted && (t->count == 0 || t->p[t->count - 1].pid < p.pid);
        result = append(t, &p);
    }
    closedir(d);
    if (result != 0) {
        return result;
    }
    if (t->count == 0) {
        return -E_UNSUPPORTED; /* an empty /proc, as in a bare chroot */
    }
    if (!sorted) {
        qsort(t->p, t->count, sizeof *t->p, by_pid);
    }
    return 0;
}

void tree_free(struct tree *t)
{
    if (t != NULL) {
        free(t->p);
        memset(t, 0, sizeof *t);
    }
}
