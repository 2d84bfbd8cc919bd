#include "launcher/cli/fleet/fleet_flow.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/cli/say.h"

#define CHUNK     16384
#define NOTE      "grapnel: "
#define PIPE_STEP 4096 /* a pipe that is writable at all takes so much … */
#define TTY_STEP  256  /* … and a terminal this */

struct chunk {
    struct chunk *next;
    int fd;
    size_t used, gone, size;
    char bytes[];
};

struct fleet_flow {
    struct chunk *first, *last;
    size_t pending;
    size_t bar;     /* columns of the bar that is shown */
    int tty[3];     /* of descriptor 1 and 2 */
    int together;   /* both go to the same place */
    size_t step[3]; /* of descriptor 1 and 2: bytes that a write takes without waiting */
    int error[3];   /* errno; 0: works */
};

static size_t step_of(int fd)
{
    struct stat st;

    if (isatty(fd))
        return TTY_STEP;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? CHUNK : PIPE_STEP;
}

static int go_together(void)
{
    struct stat out, err;

    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 &&
           out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

struct fleet_flow *fleet_flow_new(void)
{
    struct fleet_flow *f = calloc(1, sizeof *f);

    for (int fd = 1; f && fd <= 2; fd++) {
        f->tty[fd] = isatty(fd);
        f->step[fd] = step_of(fd);
    }
    if (f)
        f->together = go_together();
    return f;
}

static void drop_first(struct fleet_flow *f)
{
    struct chunk *c = f->first;

    f->pending -= c->used - c->gone;
    f->first = c->next;
    if (!f->first)
        f->last = NULL;
    free(c);
}

void fleet_flow_free(struct fleet_flow *f)
{
    while (f && f->first)
        drop_first(f);
    free(f);
}

static struct chunk *room(struct fleet_flow *f, int fd, size_t n)
{
    size_t size = n > CHUNK ? n : CHUNK;
    struct chunk *c = f->last;

    if (c && c->fd == fd && c->size - c->used >= n)
        return c;
    c = malloc(sizeof *c + size);
    if (!c)
        return NULL;
    *c = (struct chunk){.fd = fd, .size = size};
    if (f->last)
        f->last->next = c;
    else
        f->first = c;
    return f->last = c;
}

static void put(struct fleet_flow *f, int fd, const void *bytes, size_t n)
{
    struct chunk *c;

    if (n == 0 || f->error[fd])
        return;
    c = room(f, fd, n);
    if (!c) {
        f->error[fd] = ENOMEM;
        return;
    }
    memcpy(c->bytes + c->used, bytes, n);
    c->used += n;
    f->pending += n;
}

/* With spaces: so it goes on every terminal. */
static void hide_bar(struct fleet_flow *f)
{
    char blank[256];
    size_t n = f->bar < sizeof blank - 2 ? f->bar : sizeof blank - 2;

    f->bar = 0;
    memset(blank, ' ', sizeof blank);
    blank[0] = blank[n + 1] = '\r';
    put(f, STDERR_FILENO, blank, n + 2);
}

void fleet_flow_put(struct fleet_flow *f, int fd, const void *bytes, size_t n)
{
    if (f->bar && f->tty[fd] && n > 0)
        hide_bar(f);
    put(f, fd, bytes, n);
}

void fleet_flow_bar(struct fleet_flow *f, const char *text, size_t width)
{
    size_t before = f->bar, n = text ? strlen(text) : 0;

    if (f->pending > 0)
        return;
    if (!n && before)
        hide_bar(f);
    if (!n)
        return;
    put(f, STDERR_FILENO, "\r", 1);
    put(f, STDERR_FILENO, text, n);
    for (size_t i = n; i < before && i + 1 < width; i++)
        put(f, STDERR_FILENO, " ", 1);
    f->bar = n;
}

static void note(struct fleet_flow *f, const char *format, va_list ap)
{
    char *text = NULL, *line = NULL;
    size_t size = 0;

    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    if (text) {
        size = 4 * strlen(text) + 1; /* each byte may become \xNN */
        line = malloc(size);
    }
    if (line) {
        fleet_flow_put(f, STDERR_FILENO, NOTE, sizeof NOTE - 1);
        fleet_flow_put(f, STDERR_FILENO, line, strlen(say_safe(line, size, text)));
        fleet_flow_put(f, STDERR_FILENO, "\n", 1);
    }
    free(text);
    free(line);
}

void fleet_flow_note(struct fleet_flow *f, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    note(f, format, ap);
    va_end(ap);
}

/* Behind the first one that is a part of a line on standard error. */
static struct chunk **place_ahead(struct fleet_flow *f)
{
    struct chunk *c = f->first;

    return c && c->fd == STDERR_FILENO && c->gone > 0 ? &c->next : &f->first;
}

void fleet_flow_urgent(struct fleet_flow *f, const char *format, ...)
{
    struct chunk **place = place_ahead(f), *rest = *place, *last = f->last;
    va_list ap;

    if (!f->together && rest) {
        *place = NULL;
        f->last = place == &f->first ? NULL : f->first;
    }
    va_start(ap, format);
    note(f, format, ap);
    va_end(ap);
    if (!f->together && rest) {
        if (f->last)
            f->last->next = rest;
        else
            f->first = rest;
        f->last = last;
    }
    fleet_flow_write(f);
}

size_t fleet_flow_pending(const struct fleet_flow *f)
{
    return f->pending;
}

int fleet_flow_next(const struct fleet_flow *f)
{
    return f->first ? f->first->fd : 0;
}

static int is_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, 0) > 0;
}

void fleet_flow_write(struct fleet_flow *f)
{
    struct chunk *c;

    while ((c = f->first) != NULL) {
        size_t n = c->used - c->gone, most = f->step[c->fd];
        ssize_t wrote;

        if (n == 0 || f->error[c->fd]) {
            drop_first(f);
            continue;
        }
        if (!is_writable(c->fd))
            return;
        wrote = write(c->fd, c->bytes + c->gone, n < most ? n : most);
        if (wrote < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        if (wrote < 0) {
            f->error[c->fd] = errno;
            continue;
        }
        c->gone += (size_t)wrote;
        f->pending -= (size_t)wrote;
    }
}

int fleet_flow_error(const struct fleet_flow *f)
{
    return f->error[STDOUT_FILENO];
}

void fleet_flow_fail(struct fleet_flow *f, int number)
{
    if (!f->error[STDOUT_FILENO])
        f->error[STDOUT_FILENO] = number;
}
