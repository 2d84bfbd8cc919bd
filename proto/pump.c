#include "proto/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "proto/fifo.h"

#define PUMP_TTY_PIECE 256 /* a terminal that says writable takes at least so much */

/* How a descriptor is read or written without ever waiting. */
enum pump_way {
    WAY_NONBLOCK, /* its open file description is ours and has O_NONBLOCK */
    WAY_FILE,     /* regular file, block device or /dev/null: never waits for a peer */
    WAY_SOCKET,   /* MSG_DONTWAIT */
    WAY_POLL,     /* poll(2) first, then a piece that does not wait */
};

struct pump_end {
    int fd;
    enum pump_way way;
    bool shared, socket, tty, master;
};

/* An open file description of our own for the same pipe or terminal, with O_NONBLOCK; -1: none is
 * to be had.  The master of a pseudo-terminal would be another terminal when opened again. */
static int reopen(const struct pump_end *e, const struct stat *st, bool writing)
{
    char path[40];
    bool again = S_ISFIFO(st->st_mode) || (writing && e->tty && !e->master);
    if (!again) {
        return -1;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", e->fd);
    int access = writing ? O_WRONLY : O_RDONLY;
    return open(path, access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/* /dev/null is worth knowing, because much output goes there, and going there costs nothing. */
static bool never_waits(const struct stat *st)
{
    struct stat null;
    return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode) ||
           (S_ISCHR(st->st_mode) && stat("/dev/null", &null) == 0 && S_ISCHR(null.st_mode) &&
            st->st_rdev == null.st_rdev);
}

static void end_open(struct pump_end *e, int fd, unsigned flags, bool writing)
{
    struct stat st = {0};
    struct termios term;
    char name[64];
    *e = (struct pump_end){.fd = fd, .way = WAY_POLL, .shared = (flags & PUMP_SHARED) != 0};
    if (fstat(fd, &st) != 0) {
        return; /* reading or writing will tell */
    }
    e->socket = S_ISSOCK(st.st_mode);
    e->tty = S_ISCHR(st.st_mode) && tcgetattr(fd, &term) == 0;
    e->master = e->tty && ptsname_r(fd, name, sizeof(name)) == 0;
    if (never_waits(&st)) {
        e->way = WAY_FILE;
    } else if (e->socket) {
        e->way = WAY_SOCKET;
    } else if (!e->shared) {
        int present = fcntl(fd, F_GETFL);
        if (present != -1 && fcntl(fd, F_SETFL, present | O_NONBLOCK) == 0) {
            e->way = WAY_NONBLOCK;
        }
    } else {
        int own = reopen(e, &st, writing);
        if (own >= 0) {
            close(fd);
            e->fd = own;
            e->way = WAY_NONBLOCK;
        }
    }
}

static bool poll_says(int fd, short event)
{
    struct pollfd p = {.fd = fd, .events = event};
    return poll(&p, 1, 0) > 0;
}

/* read(2) that never waits; EAGAIN instead. */
static ssize_t end_read(const struct pump_end *e, uint8_t *at, size_t room)
{
    if (e->way == WAY_SOCKET) {
        return recv(e->fd, at, room, MSG_DONTWAIT);
    }
    if (e->way == WAY_POLL && !poll_says(e->fd, POLLIN)) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t n = read(e->fd, at, room);
    if (n < 0 && errno == EIO && e->master) {
        return 0; /* how the master of a pseudo-terminal reports that nobody has it open */
    }
    return n;
}

/* write(2) that never waits; EAGAIN instead. */
static ssize_t end_write(const struct pump_end *e, const uint8_t *bytes, size_t n)
{
    if (e->way == WAY_SOCKET) {
        return send(e->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (e->way == WAY_POLL) {
        size_t piece = e->tty ? PUMP_TTY_PIECE : PIPE_BUF;
        n = n < piece ? n : piece;
        if (!poll_says(e->fd, POLLOUT)) {
            errno = EAGAIN;
            return -1;
        }
    }
    return write(e->fd, bytes, n);
}

static bool would_wait(int number)
{
    return number == EAGAIN || number == EWOULDBLOCK;
}

/* ---- source ---- */

struct pump_source {
    struct ev_loop *loop;
    struct ev_io io;
    struct pump_end end; /* fd -1: ended */
    struct stream *s;
    pump_source_ended *ended;
    void *arg;
    uint64_t count, limit;
};

static void on_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
    struct pump_source *p = io->data;
    (void)events;
    /* Nobody looks again until fill has found it empty, or a full pipe would keep the loop busy
     * while the stream has no credit. */
    ev_io_stop(loop, io);
    stream_ready(p->s);
}

struct pump_source *pump_source_new(struct ev_loop *loop, int fd, unsigned flags, struct stream *s,
                                    pump_source_ended *ended, void *arg)
{
    struct pump_source *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        close(fd);
        return NULL;
    }
    p->loop = loop;
    p->s = s;
    p->ended = ended;
    p->arg = arg;
    end_open(&p->end, fd, flags, false);
    ev_io_init(&p->io, on_readable, p->end.fd, EV_READ);
    p->io.data = p;
    ev_io_start(loop, &p->io);
    return p;
}

static void source_stop(struct pump_source *p)
{
    if (p->end.fd >= 0) {
        ev_io_stop(p->loop, &p->io);
        close(p->end.fd);
        p->end.fd = -1;
    }
}

size_t pump_source_fill(struct pump_source *p, uint8_t *at, size_t room)
{
    size_t got = 0;
    int code = 0, number = 0;
    bool over = false;
    if (p->end.fd < 0) {
        return 0;
    }
    if (p->limit != 0 && room > p->limit - p->count) {
        room = (size_t)(p->limit - p->count);
    }
    while (got < room && !over) {
        ssize_t n = end_read(&p->end, at + got, room - got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && !would_wait(errno)) {
            number = errno;
            code = -E_IO;
        }
        over = n == 0 || code != 0;
        got += n > 0 ? (size_t)n : 0;
        /* Anything but a file gives all that it has, so that a second look would be in vain. */
        if (n < 0 || (got < room && p->end.way != WAY_FILE)) {
            break;
        }
    }
    p->count += got;
    if (!over && p->limit != 0 && p->count >= p->limit) {
        over = true;
        code = -E_LIMIT;
    }
    if (over) {
        source_stop(p);
        p->ended(p->arg, code, number); /* may free p */
    } else if (got < room) {
        ev_io_start(p->loop, &p->io);
    }
    return got;
}

uint64_t pump_source_count(const struct pump_source *p)
{
    return p->count;
}

void pump_source_limit(struct pump_source *p, uint64_t limit)
{
    /* A limit that is already passed ends it at the next byte. */
    p->limit = limit != 0 && limit <= p->count ? p->count + 1 : limit;
}

void pump_source_free(struct pump_source *p)
{
    if (p != NULL) {
        source_stop(p);
        free(p);
    }
}

/* ---- sink ---- */

struct pump_sink {
    struct ev_loop *loop;
    struct ev_io io;
    struct ev_timer report; /* runs `ended` from the loop, not from within the caller */
    struct pump_end end;    /* fd -1: ended */
    struct stream *s;
    pump_sink_ended *ended;
    void *arg;
    struct fifo queue;
    bool eof;
    int code, number;
};

static void sink_stop(struct pump_sink *p, int code, int number)
{
    if (p->end.fd < 0) {
        return;
    }
    ev_io_stop(p->loop, &p->io);
    if (p->end.socket && !p->end.shared && code == 0) {
        shutdown(p->end.fd, SHUT_WR); /* its other direction may be open elsewhere */
    }
    if (close(p->end.fd) != 0 && errno != EINTR && code == 0) {
        code = -E_IO; /* some file systems tell only now that there is no space */
        number = errno;
    }
    p->end.fd = -1;
    p->code = code;
    p->number = number;
    ev_timer_start(p->loop, &p->report);
}

static void on_report(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    struct pump_sink *p = timer->data;
    (void)loop;
    (void)events;
    p->ended(p->arg, p->code, p->number); /* may free p */
}

/* Writes until all is written, the descriptor would wait, or it fails (then the sink stops).
 * Returns how many bytes were written. */
static size_t write_some(struct pump_sink *p, const uint8_t *bytes, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = end_write(&p->end, bytes + done, n - done);
        if (k > 0) {
            done += (size_t)k;
        } else if (k == 0 || would_wait(errno)) {
            break;
        } else if (errno != EINTR) {
            sink_stop(p, -E_IO, errno);
            break;
        }
    }
    return done;
}

/* Writes what is queued, or drops it when the sink has stopped.  Returns how many bytes went. */
static size_t drain(struct pump_sink *p)
{
    size_t before = fifo_length(&p->queue), n, done;
    do {
        const uint8_t *bytes = fifo_data(&p->queue, &n);
        done = write_some(p, bytes, n);
        fifo_take(&p->queue, done);
    } while (n > 0 && done == n);
    if (p->end.fd < 0) {
        fifo_free(&p->queue);
    }
    return before - fifo_length(&p->queue);
}

static void on_writable(struct ev_loop *loop, struct ev_io *io, int events)
{
    struct pump_sink *p = io->data;
    struct stream *s = p->s;
    (void)events;
    size_t done = drain(p);
    if (fifo_length(&p->queue) == 0) {
        ev_io_stop(loop, io);
        if (p->eof) {
            sink_stop(p, 0, 0);
        }
    }
    if (s != NULL && done > 0) {
        stream_consumed(s, done); /* last, because it may lead to our end */
    }
}

struct pump_sink *pump_sink_new(struct ev_loop *loop, int fd, unsigned flags, struct stream *s,
                                pump_sink_ended *ended, void *arg)
{
    struct pump_sink *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        close(fd);
        return NULL;
    }
    p->loop = loop;
    p->s = s;
    p->ended = ended;
    p->arg = arg;
    end_open(&p->end, fd, flags, true);
    ev_io_init(&p->io, on_writable, p->end.fd, EV_WRITE);
    ev_timer_init(&p->report, on_report, 0., 0.);
    p->io.data = p;
    p->report.data = p;
    return p;
}

size_t pump_sink_data(struct pump_sink *p, const uint8_t *bytes, size_t n)
{
    size_t done = 0;
    if (p->end.fd < 0 || p->eof) {
        return n;
    }
    if (fifo_length(&p->queue) == 0) {
        done = write_some(p, bytes, n);
    }
    if (p->end.fd >= 0 && done < n) {
        if (fifo_put(&p->queue, bytes + done, n - done) == 0) {
            ev_io_start(p->loop, &p->io);
            return done;
        }
        sink_stop(p, -E_NOMEM, ENOMEM);
    }
    return n;
}

void pump_sink_eof(struct pump_sink *p)
{
    p->eof = true;
    if (fifo_length(&p->queue) == 0) {
        sink_stop(p, 0, 0);
    }
}

size_t pump_sink_queued(const struct pump_sink *p)
{
    return fifo_length(&p->queue);
}

void pump_sink_detach(struct pump_sink *p)
{
    p->s = NULL;
}

void pump_sink_free(struct pump_sink *p)
{
    if (p == NULL) {
        return;
    }
    ev_timer_stop(p->loop, &p->report);
    if (p->end.fd >= 0) {
        ev_io_stop(p->loop, &p->io);
        close(p->end.fd);
    }
    fifo_free(&p->queue);
    free(p);
}
