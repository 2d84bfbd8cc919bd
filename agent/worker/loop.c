#include "agent/worker/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "proto/errors.h"

#define INPUT_SIZE  (256 * 1024)  /* bytes read at once */
#define OUTPUT_TURN (1024 * 1024) /* bytes written before others get their turn */
#define LAST_MS     200           /* for the last words */
#define LEAVE_US    1000000u      /* for the tasks to end when all is over */

struct loop {
    struct ev_loop *ev;
    struct peer *peer;
    struct tasks *tasks;
    int in, out;
    ev_io input, output;
    ev_timer deadline;
    ev_signal term; /* watched for by a service */
    int over;       /* the pipe is gone, or nothing is wanted from it any more */
    int code;       /* why; 0: the launcher let it go */
    uint8_t buffer[INPUT_SIZE];
};

struct ev_loop *loop_events(struct loop *l)
{
    return l->ev;
}

uint64_t loop_now_us(void)
{
    return clock_now_us();
}

/* ---- the pipe ---- */

static void end(struct loop *l, int code, const char *detail)
{
    if (l->over) {
        return;
    }
    l->over = 1;
    l->code = code;
    ev_io_stop(l->ev, &l->input);
    ev_io_stop(l->ev, &l->output);
    tasks_cancel_all(l->tasks);
    peer_lost(l->peer, code != 0 ? code : -E_CLOSED, detail);
}

/* Who ends the process tree says so before the pipe does: a service can still tell its code. */
static void on_term(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop;
    (void)events;
    end(w->data, 0, "it was told to end");
}

/* Ends with the link, whose last words may be sent if the pipe takes them at once. */
static void look(struct loop *l)
{
    const char *detail = "";
    int code = peer_error(l->peer, &detail);

    if (l->over) {
        return;
    }
    if (code != 0) {
        const uint8_t *bytes;
        size_t n;
        if (peer_output(l->peer, &bytes, &n) == 0 && n > 0) {
            (void)!write(l->out, bytes, n);
        }
        /* A service that refuses its client is in order. */
        end(l, code == -E_CLOSED || code == -E_REMOTE ? 0 : code, detail);
        return;
    }
    if (peer_serves(l->peer)) {
        ev_signal_start(l->ev, &l->term);
    }
    if (peer_congested(l->peer)) {
        ev_io_stop(l->ev, &l->input);
    } else {
        ev_io_start(l->ev, &l->input);
    }
}

/* Returns true when more is left than the pipe takes. */
static int send_some(struct loop *l)
{
    size_t budget = OUTPUT_TURN;
    const uint8_t *bytes;
    size_t n;

    while (peer_output(l->peer, &bytes, &n) == 0 && n > 0) {
        ssize_t written;
        if (budget == 0) {
            return 1;
        }
        written = write(l->out, bytes, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return 1;
        }
        if (written < 0) {
            end(l, errno == EPIPE ? 0 : -E_LOST, strerror(errno));
            return 0;
        }
        peer_sent(l->peer, (size_t)written);
        budget -= (size_t)written < budget ? (size_t)written : budget;
    }
    return 0;
}

static void flush(struct loop *l)
{
    if (l->peer == NULL || l->over || ev_is_active(&l->output)) {
        return;
    }
    if (send_some(l) && !l->over) {
        ev_io_start(l->ev, &l->output);
    }
    look(l);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)events;
    ev_io_stop(loop, w); /* the next flush tries again */
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct loop *l = w->data;
    ssize_t n = read(l->in, l->buffer, sizeof l->buffer);

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) {
        return;
    }
    if (n <= 0) {
        end(l, n == 0 ? 0 : -E_LOST, n == 0 ? "the launcher closed it" : strerror(errno));
        return;
    }
    (void)peer_input(l->peer, l->buffer, (size_t)n);
    look(l);
}

/* ---- waiting ---- */

static void on_deadline(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

static int set_deadline(struct loop *l, uint64_t deadline_us)
{
    uint64_t now = clock_now_us();

    if (deadline_us <= now) {
        return 0;
    }
    ev_now_update(l->ev);
    ev_timer_set(&l->deadline, (double)(deadline_us - now) / 1e6, 0.0);
    ev_timer_start(l->ev, &l->deadline);
    return 1;
}

/* An event that was fed since the last turn, as by a close of what another task reads, is there
 * already; ev_run alone would wait for one more. */
static void turn(struct loop *l, int wait)
{
    wait = wait && ev_pending_count(l->ev) == 0;
    ev_run(l->ev, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
}

int loop_wait(void *arg, uint64_t deadline_us)
{
    struct loop *l = arg;
    int timed = deadline_us != UINT64_MAX;

    flush(l);
    if (l->over && l->peer != NULL) {
        return -E_CLOSED;
    }
    if (deadline_us == 0 || (l->tasks != NULL && tasks_woken(l->tasks)) ||
        (timed && !set_deadline(l, deadline_us))) {
        turn(l, 0);
        return 0;
    }
    turn(l, 1);
    if (timed) {
        ev_timer_stop(l->ev, &l->deadline);
    }
    return 0;
}

/* ---- life ---- */

static void unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0) {
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

/* libev aborts the process when it lacks the descriptors of its own pipe. */
static int has_descriptors(void)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return 0;
    }
    close(ends[0]);
    close(ends[1]);
    return 1;
}

struct loop *loop_new(int input, int output)
{
    struct loop *l = calloc(1, sizeof(*l));

    if (l == NULL || !has_descriptors()) {
        free(l);
        return NULL;
    }
    l->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (l->ev == NULL) {
        free(l);
        return NULL;
    }
    l->in = input;
    l->out = output;
    unblock(input);
    unblock(output);
    ev_io_init(&l->input, on_readable, input, EV_READ);
    ev_io_init(&l->output, on_writable, output, EV_WRITE);
    ev_init(&l->deadline, on_deadline);
    ev_signal_init(&l->term, on_term, SIGTERM);
    l->input.data = l->output.data = l->term.data = l;
    return l;
}

void loop_attach(struct loop *l, struct peer *p, struct tasks *t)
{
    l->peer = p;
    l->tasks = t;
    look(l);
}

/* What was running has been told to end; it, and what the end itself has started (a service's last
 * callback), gets a moment. */
static void leave(struct loop *l)
{
    struct tasks *t = l->tasks;
    uint64_t until = clock_now_us() + LEAVE_US;

    while (tasks_count(t) > 0 && clock_now_us() < until) {
        uint64_t next = tasks_run(t) ? 0 : tasks_next_deadline(t);
        if (tasks_count(t) > 0) {
            next = next < until ? next : until;
            turn(l, next != 0 && set_deadline(l, next));
            ev_timer_stop(l->ev, &l->deadline);
        }
    }
}

int loop_run(struct loop *l)
{
    while (!l->over) {
        int more = tasks_run(l->tasks);
        (void)loop_wait(l, more ? 0 : tasks_next_deadline(l->tasks));
    }
    leave(l);
    return l->code;
}

void loop_last_words(struct loop *l)
{
    struct pollfd p = {.fd = l->out, .events = POLLOUT};

    if (l->peer == NULL || l->over) {
        return;
    }
    while (send_some(l) && poll(&p, 1, LAST_MS) > 0) {
    }
}

void loop_free(struct loop *l)
{
    if (l == NULL) {
        return;
    }
    ev_loop_destroy(l->ev);
    free(l);
}
