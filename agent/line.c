#include "agent/line.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/clock.h"
#include "agent/intro.h"
#include "agent/linux.h"
#include "agent/session.h"

#define INPUT_SIZE  (128 * 1024)      /* bytes read from the line at once */
#define BULK_BYTES  (4 * 1024 * 1024) /* so much … */
#define BULK_US     100000u           /* … in this time is called bulk */
#define BULK_PIPE   (512 * 1024)
#define OUTPUT_TURN (1024 * 1024) /* bytes written before others get their turn */

/* One direction of the line. */
struct flow {
    uint64_t since; /* microseconds */
    size_t bytes;   /* that have flowed since then */
    int wide;
};

struct line {
    const struct agent_options *options;
    struct ev_loop *loop;
    struct session *session;
    struct link *link; /* the session's */
    ev_io input, output;
    ev_timer flush; /* never started: fed when there is something to send */
    int gone;
    struct flow heard, said;
    struct intro intro;
    uint8_t buffer[INPUT_SIZE];
};

/* The server fills or empties the pipe between us once in each of its turns, so that a larger one
 * spares both of us turns.  But what is in it cannot be overtaken, and what a user's pipes may hold
 * together is limited: so only a line that carries much, and fast, gets one. */
static void expect_bulk(struct flow *f, int fd, size_t n, uint64_t now)
{
    if (f->wide) {
        return;
    }
    if (now - f->since > BULK_US) {
        f->since = now;
        f->bytes = 0;
    }
    f->bytes += n;
    if (f->bytes >= BULK_BYTES) {
        f->wide = 1;
        linux_pipe_size(fd, BULK_PIPE);
    }
}

/* ---- sending ---- */

static void on_flush(struct ev_loop *loop, ev_timer *w, int events)
{
    struct line *l = w->data;
    size_t budget = OUTPUT_TURN;
    const uint8_t *bytes;
    size_t n;

    (void)events;
    while (!l->gone && link_output(l->link, &bytes, &n, clock_now_us()) == 0 && n > 0) {
        ssize_t written;
        uint64_t now;
        if (budget == 0) {
            break;
        }
        written = write(l->options->output, bytes, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        }
        if (written < 0) {
            session_lose(l->session, -E_LOST, strerror(errno));
            return;
        }
        now = clock_now_us();
        link_sent(l->link, (size_t)written, now);
        expect_bulk(&l->said, l->options->output, (size_t)written, now);
        budget -= (size_t)written < budget ? (size_t)written : budget;
    }
    if (!l->gone) {
        if (link_has_output(l->link)) {
            ev_io_start(loop, &l->output);
        } else {
            ev_io_stop(loop, &l->output);
        }
        session_look(l->session);
    }
}

static void wake(void *arg)
{
    struct line *l = arg;

    ev_feed_event(l->loop, &l->flush, EV_CUSTOM);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    wake(w->data);
}

/* ---- receiving ---- */

/* Passes over what comes before the link.  What that is nobody has promised, so that the launcher's
 * lease must not lapse over it: zeros, which the link passes over itself, stand for it. */
static size_t take_intro(struct line *l, size_t n, uint64_t now)
{
    static const uint8_t zero = 0;
    size_t taken = intro_take(&l->intro, l->buffer, n);

    if (l->intro.over) {
        (void)link_input(l->link, (const uint8_t *)LINK_PREFACE, LINK_PREFACE_SIZE, now);
    } else if (l->intro.passed > INTRO_MOST) {
        link_end(l->link, -E_PROTOCOL, "no link begins here");
    } else if (n >= INTRO_SIGN) {
        (void)link_input(l->link, &zero, 1, now);
    }
    return taken;
}

static void read_input(struct line *l)
{
    uint64_t now = clock_now_us();
    ssize_t n = read(l->options->input, l->buffer, sizeof l->buffer);
    size_t taken = 0;

    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) {
        return;
    }
    if (n < 0) {
        session_lose(l->session, -E_LOST, strerror(errno));
        return;
    }
    if (n == 0) {
        session_input_end(l->session);
        return;
    }
    expect_bulk(&l->heard, l->options->input, (size_t)n, now);
    if (!l->intro.over) {
        taken = take_intro(l, (size_t)n, now);
    }
    session_input(l->session, l->buffer + taken, (size_t)n - taken);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    read_input(w->data);
}

/* ---- for the session ---- */

static void listen_on(void *arg, int wanted)
{
    struct line *l = arg;

    if (wanted) {
        ev_io_start(l->loop, &l->input);
    } else {
        ev_io_stop(l->loop, &l->input);
    }
}

static void hear(void *arg)
{
    struct line *l = arg;

    if (ev_is_active(&l->input)) {
        read_input(l);
    }
}

static void stop(void *arg, int speak)
{
    struct line *l = arg;
    const uint8_t *bytes;
    size_t n;

    if (speak && link_output(l->link, &bytes, &n, clock_now_us()) == 0 && n > 0) {
        (void)!write(l->options->output, bytes, n);
    }
    l->gone = 1;
    ev_io_stop(l->loop, &l->input);
    ev_io_stop(l->loop, &l->output);
}

static void over(void *arg)
{
    struct line *l = arg;

    ev_break(l->loop, EVBREAK_ALL);
}

/* ---- life ---- */

static void unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0) {
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

static void init_watchers(struct line *l)
{
    ev_io_init(&l->input, on_readable, l->options->input, EV_READ);
    ev_io_init(&l->output, on_writable, l->options->output, EV_WRITE);
    ev_init(&l->flush, on_flush);
    /* After everything else that happens at the same time, so that its output goes in one go. */
    ev_set_priority(&l->flush, EV_MINPRI);
    l->input.data = l->output.data = l->flush.data = l;
}

struct line *line_new(struct agent *a)
{
    static const struct session_pipe pipe = {
        .wake = wake, .listen = listen_on, .hear = hear, .stop = stop, .over = over};
    struct line *l = calloc(1, sizeof *l);
    struct session_options options = {
        .agent = a, .features = LINK_FEATURE_DEFLATE, .pipe = &pipe, .arg = l};

    if (l == NULL) {
        return NULL;
    }
    l->options = agent_options(a);
    l->loop = agent_loop(a);
    l->intro.over = !l->options->introduced;
    unblock(l->options->input);
    unblock(l->options->output);
    init_watchers(l);
    l->session = session_new(&options);
    if (l->session == NULL) {
        line_free(l);
        return NULL;
    }
    l->link = session_link(l->session);
    ev_io_start(l->loop, &l->input);
    return l;
}

void line_free(struct line *l)
{
    if (l == NULL) {
        return;
    }
    session_free(l->session);
    ev_io_stop(l->loop, &l->input);
    ev_io_stop(l->loop, &l->output);
    ev_clear_pending(l->loop, &l->flush);
    free(l);
}

struct session *line_session(struct line *l)
{
    return l->session;
}
