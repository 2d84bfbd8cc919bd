#include "launcher/ssh/sshsources.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "proto/errors.h"

#define COUNT_MAX 64
#define LOOK_US   100
#define TICK_NS   20000000 /* the coarsest time stamps of file systems that are worth a thought */

struct source {
    char *path;
    int there;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed; /* not the contents' own time, which a copy may keep */
};

struct sshsources {
    unsigned holders;
    uint64_t looked_us;
    int unsure, differs;
    size_t count, size;
    struct source *at;
};

static void look(struct source *x, const char *path)
{
    struct stat st;

    x->there = stat(path, &st) == 0;
    if (!x->there)
        return;
    x->device = st.st_dev;
    x->inode = st.st_ino;
    x->size = st.st_size;
    x->changed = st.st_ctim;
}

static int equal(const struct source *a, const struct source *b)
{
    if (!a->there || !b->there)
        return a->there == b->there;
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Another change within the same tick of the file system's clock would leave the same stamp. */
static int is_recent(const struct source *x)
{
    struct timespec now;
    long long ns;

    clock_gettime(CLOCK_REALTIME, &now);
    if (!x->there || llabs((long long)now.tv_sec - x->changed.tv_sec) > 1)
        return 0;
    ns =
        (long long)(now.tv_sec - x->changed.tv_sec) * 1000000000 + now.tv_nsec - x->changed.tv_nsec;
    return llabs(ns) < TICK_NS;
}

static int make_room(struct sshsources *s)
{
    size_t size = s->size ? s->size * 2 : 4;
    struct source *at = s->count < s->size ? s->at : realloc(s->at, size * sizeof *at);

    if (!at)
        return -E_NOMEM;
    s->size = s->count < s->size ? s->size : size;
    s->at = at;
    return 0;
}

int sshsources_add(struct sshsources **list, const char *path)
{
    struct sshsources *s = *list ? *list : calloc(1, sizeof *s);
    struct source x = {0};

    if (!s)
        return -E_NOMEM;
    if (!*list)
        s->holders = 1;
    *list = s;
    if (s->count == COUNT_MAX)
        return 0;
    if (make_room(s) < 0 || (x.path = strdup(path)) == NULL)
        return -E_NOMEM;
    look(&x, path);
    s->unsure |= is_recent(&x);
    s->at[s->count++] = x;
    return 0;
}

int sshsources_add_pattern(struct sshsources **list, const char *pattern)
{
    size_t n = strcspn(pattern, "*?[\\");
    char *folder;
    int rc;

    if (!pattern[n])
        return sshsources_add(list, pattern);
    while (n > 0 && pattern[n - 1] != '/')
        n--;
    folder = n > 0 ? strndup(pattern, n) : strdup(".");
    rc = folder ? sshsources_add(list, folder) : -E_NOMEM;
    free(folder);
    return rc;
}

struct sshsources *sshsources_hold(struct sshsources *s)
{
    if (s)
        s->holders++;
    return s;
}

void sshsources_free(struct sshsources *s)
{
    if (!s || --s->holders > 0)
        return;
    for (size_t i = 0; i < s->count; i++)
        free(s->at[i].path);
    free(s->at);
    free(s);
}

int sshsources_same(const struct sshsources *a, const struct sshsources *b)
{
    if (!a || !b || a->count != b->count)
        return a == b;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->at[i].path, b->at[i].path) != 0 || !equal(&a->at[i], &b->at[i]))
            return 0;
    }
    return 1;
}

int sshsources_changed(struct sshsources *s, uint64_t now_us)
{
    struct source now;

    if (!s || s->unsure || s->differs)
        return s != NULL;
    if (now_us - s->looked_us < LOOK_US)
        return 0;
    s->looked_us = now_us;
    for (size_t i = 0; i < s->count && !s->differs; i++) {
        look(&now, s->at[i].path);
        s->differs = !equal(&now, &s->at[i]);
    }
    return s->differs;
}
