#include "agent/agent.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/deliver.h"
#include "agent/exec.h"
#include "agent/facts.h"
#include "agent/intro.h"
#include "agent/linux.h"
#include "agent/reap.h"
#include "agent/services.h"
#include "agent/single.h"
#include "proto/link.h"
#include "proto/stream.h"

#define INPUT_SIZE   (128 * 1024)      /* bytes read from the line at once */
#define BULK_BYTES   (4 * 1024 * 1024) /* so much … */
#define BULK_US      100000u           /* … in this time is called bulk */
#define BULK_PIPE    (512 * 1024)
#define OUTPUT_TURN  (1024 * 1024) /* bytes written before others get their turn */
#define GRACE_MS     2000u
#define LAST_SECONDS 2.0 /* for the last words to reach a launcher that does not read */

enum life {
    LIFE_SERVE,
    LIFE_FINISH, /* the launcher said goodbye: streams run to their ends */
    LIFE_END,    /* all descendants are being ended */
    LIFE_LEAVE,  /* they are gone; the last words are being sent */
};

/* One direction of the line. */
struct flow {
    uint64_t since; /* microseconds */
    size_t bytes;   /* that have flowed since then */
    int wide;
};

struct agent {
    const struct agent_options *options;
    struct ev_loop *loop;
    struct link *link;
    struct reap *reap;
    struct exec_set *execs;
    struct deliver_set *blobs;
    ev_io input, output, guardian;
    ev_timer tick;
    ev_timer flush; /* never started: fed when there is something to send */
    ev_timer leave;
    ev_signal told[3]; /* to end */
    enum life life;
    int input_over;     /* the launcher closed its direction */
    int line_gone;      /* nothing can be sent or received any more */
    struct error error; /* why it ends */
    struct flow heard, said;
    struct intro intro;
    uint8_t buffer[INPUT_SIZE];
};

/* ---- for the services ---- */

struct exec_set *agent_execs(struct agent *a)
{
    return a->execs;
}

struct deliver_set *agent_blobs(struct agent *a)
{
    return a->blobs;
}

struct reap *agent_reap(struct agent *a)
{
    return a->reap;
}

const struct single *agent_served(const struct agent *a)
{
    return a->options->served;
}

/* ---- ending ---- */

static void feed_flush(struct agent *a)
{
    ev_feed_event(a->loop, &a->flush, EV_CUSTOM);
}

static void on_all_ended(void *arg, size_t left)
{
    struct agent *a = arg;
    int code = a->error.code;

    a->life = LIFE_LEAVE;
    if (left > 0) {
        errors_set(&a->error, -E_SYSTEM, "%zu processes of another user could not be ended", left);
    }
    if (a->line_gone) {
        ev_break(a->loop, EVBREAK_ALL);
        return;
    }
    (void)link_goodbye(a->link, code, a->error.detail);
    ev_timer_start(a->loop, &a->leave);
    feed_flush(a);
}

/* Ends everything; the first cause counts. */
static void end(struct agent *a, int code, const char *text)
{
    if (a->life >= LIFE_END) {
        return;
    }
    a->life = LIFE_END;
    if (a->error.code == 0 && code != 0) {
        errors_set(&a->error, code, "%s", text);
    }
    exec_set_leave(a->execs);
    if (reap_end_all(a->reap, GRACE_MS, on_all_ended, a) == NULL) {
        ev_break(a->loop, EVBREAK_ALL); /* without memory the guardian does it */
    }
}

static void lose_line(struct agent *a, int code, const char *text)
{
    if (a->line_gone) {
        return;
    }
    a->line_gone = 1;
    ev_io_stop(a->loop, &a->input);
    ev_io_stop(a->loop, &a->output);
    ev_timer_stop(a->loop, &a->tick);
    link_end(a->link, code, text);
    if (a->life == LIFE_LEAVE) {
        ev_break(a->loop, EVBREAK_ALL);
    } else {
        end(a, code, text);
    }
}

/* The link has ended by itself: because of what came, or by its lease.  It may have last words,
 * which are sent if the pipe takes them at once. */
static void link_ended(struct agent *a)
{
    struct error e = *link_error(a->link);
    const uint8_t *bytes;
    size_t n;

    if (a->line_gone) {
        return;
    }
    if (link_output(a->link, &bytes, &n, clock_now_us()) == 0 && n > 0) {
        (void)!write(a->options->output, bytes, n);
    }
    lose_line(a, e.code, e.detail);
}

/* What follows from the link's state after it was fed or emptied. */
static void look(struct agent *a)
{
    if (a->line_gone) {
        return;
    }
    if (link_error(a->link)->code != 0 && !(a->life == LIFE_LEAVE && link_has_output(a->link))) {
        link_ended(a);
        return;
    }
    /* The launcher's own CLOSE is not waited for: that would cost it a round trip. */
    if (a->life == LIFE_FINISH && link_unclosed_count(a->link) == 0) {
        end(a, 0, "");
    }
    if (a->life == LIFE_LEAVE && link_finished(a->link)) {
        ev_break(a->loop, EVBREAK_ALL);
    }
    if (!link_congested(a->link) && !a->input_over) {
        ev_io_start(a->loop, &a->input);
    } else {
        ev_io_stop(a->loop, &a->input);
    }
}

/* ---- the line ---- */

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

static void on_flush(struct ev_loop *loop, ev_timer *w, int events)
{
    struct agent *a = w->data;
    size_t budget = OUTPUT_TURN;
    const uint8_t *bytes;
    size_t n;

    (void)events;
    while (!a->line_gone && link_output(a->link, &bytes, &n, clock_now_us()) == 0 && n > 0) {
        ssize_t written;
        uint64_t now;
        if (budget == 0) {
            break;
        }
        written = write(a->options->output, bytes, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        }
        if (written < 0) {
            lose_line(a, -E_LOST, strerror(errno));
            return;
        }
        now = clock_now_us();
        link_sent(a->link, (size_t)written, now);
        expect_bulk(&a->said, a->options->output, (size_t)written, now);
        budget -= (size_t)written < budget ? (size_t)written : budget;
    }
    if (!a->line_gone) {
        if (link_has_output(a->link)) {
            ev_io_start(loop, &a->output);
        } else {
            ev_io_stop(loop, &a->output);
        }
        look(a);
    }
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    feed_flush(w->data);
}

static void on_wake(void *arg, struct link *l)
{
    (void)l;
    feed_flush(arg);
}

static void set_tick(struct agent *a)
{
    uint64_t now = clock_now_us();
    uint64_t next = link_tick(a->link, now);

    ev_timer_stop(a->loop, &a->tick);
    if (next != UINT64_MAX) {
        ev_now_update(a->loop);
        ev_timer_set(&a->tick, next > now ? (double)(next - now) / 1e6 : 0.0, 0.0);
        ev_timer_start(a->loop, &a->tick);
    }
}

static void end_of_input(struct agent *a)
{
    a->input_over = 1;
    ev_io_stop(a->loop, &a->input);
    link_input_end(a->link, clock_now_us());
    if (a->life >= LIFE_END && link_peer_goodbye(a->link)) {
        return; /* it has nothing more to say, but may still listen */
    }
    if (link_error(a->link)->code != 0) {
        lose_line(a, link_error(a->link)->code, link_error(a->link)->detail);
    } else {
        lose_line(a, 0, "");
    }
}

/* Passes over what comes before the link.  What that is nobody has promised, so that the launcher's
 * lease must not lapse over it: zeros, which the link passes over itself, stand for it. */
static size_t take_intro(struct agent *a, size_t n, uint64_t now)
{
    static const uint8_t zero = 0;
    size_t taken = intro_take(&a->intro, a->buffer, n);

    if (a->intro.over) {
        (void)link_input(a->link, (const uint8_t *)LINK_PREFACE, LINK_PREFACE_SIZE, now);
    } else if (a->intro.passed > INTRO_MOST) {
        link_end(a->link, -E_PROTOCOL, "no link begins here");
    } else if (n >= INTRO_SIGN) {
        (void)link_input(a->link, &zero, 1, now);
    }
    return taken;
}

static void read_input(struct agent *a)
{
    int greeted = link_greeted(a->link);
    uint64_t now = clock_now_us();
    ssize_t n = read(a->options->input, a->buffer, sizeof a->buffer);
    size_t taken = 0;

    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) {
        return;
    }
    if (n < 0) {
        lose_line(a, -E_LOST, strerror(errno));
        return;
    }
    if (n == 0) {
        end_of_input(a);
        return;
    }
    expect_bulk(&a->heard, a->options->input, (size_t)n, now);
    if (!a->intro.over) {
        taken = take_intro(a, (size_t)n, now);
    }
    if (taken < (size_t)n && link_input(a->link, a->buffer + taken, (size_t)n - taken, now) == 0 &&
        !greeted && link_greeted(a->link)) {
        set_tick(a); /* the launcher's lease may be shorter than ours */
    }
    look(a);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    read_input(w->data);
}

/* What came while we did not run counts, so it is read before the lease is judged. */
static void on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    struct agent *a = w->data;

    (void)loop;
    (void)events;
    if (ev_is_active(&a->input)) {
        read_input(a);
    }
    if (!a->line_gone) {
        set_tick(a);
        look(a);
    }
}

static void on_goodbye(void *arg, struct link *l, int code, const char *text)
{
    struct agent *a = arg;

    (void)l;
    (void)text;
    if (code == 0 && a->life == LIFE_SERVE) {
        a->life = LIFE_FINISH;
    }
}

/* ---- other ends ---- */

static void on_told(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop;
    (void)events;
    end(w->data, -E_CANCELLED, "the agent was told to end by a signal");
}

static void on_guardian_gone(struct ev_loop *loop, ev_io *w, int events)
{
    (void)events;
    ev_io_stop(loop, w);
    end(w->data, -E_CANCELLED, "the agent's guardian was killed");
}

static void on_leave(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)w;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* ---- life ---- */

static void unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0) {
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

static void start_watchers(struct agent *a)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGINT};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        ev_signal_init(&a->told[i], on_told, signals[i]);
        a->told[i].data = a;
        ev_signal_start(a->loop, &a->told[i]);
    }
    ev_io_init(&a->input, on_readable, a->options->input, EV_READ);
    ev_io_init(&a->output, on_writable, a->options->output, EV_WRITE);
    ev_io_init(&a->guardian, on_guardian_gone, a->options->guardian, EV_READ);
    ev_init(&a->tick, on_tick);
    ev_init(&a->flush, on_flush);
    ev_timer_init(&a->leave, on_leave, LAST_SECONDS, 0.0);
    /* After everything else that happens at the same time, so that its output goes in one go. */
    ev_set_priority(&a->flush, EV_MINPRI);
    a->input.data = a->output.data = a->guardian.data = a;
    a->tick.data = a->flush.data = a->leave.data = a;
    ev_io_start(a->loop, &a->input);
    if (a->options->guardian >= 0) {
        ev_io_start(a->loop, &a->guardian);
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

static int set_up(struct agent *a)
{
    int all = a->options->served == NULL;
    const struct link_handler handler = {.open = all ? services_open : single_open,
                                         .call = all ? services_call : single_call,
                                         .wake = on_wake,
                                         .goodbye = on_goodbye};
    struct link_options link = {.lease_ms = a->options->lease_ms,
                                .features = LINK_FEATURE_DEFLATE,
                                .facts = all ? facts_get() : facts_public()};
    struct exec_options exec = {.environment = a->options->environment,
                                .umask = a->options->umask,
                                .files = a->options->files};

    a->link = link_new(&link, &handler, a, clock_now_us());
    a->blobs = deliver_set_new();
    a->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (a->loop == NULL || a->link == NULL || a->blobs == NULL) {
        return -E_NOMEM;
    }
    if (!has_descriptors()) {
        return -E_DESCRIPTORS;
    }
    start_watchers(a);
    a->reap = reap_new(a->loop);
    exec.loop = a->loop;
    exec.reap = a->reap;
    a->execs = exec_set_new(&exec);
    return a->reap == NULL || a->execs == NULL ? -E_NOMEM : 0;
}

static void tear_down(struct agent *a)
{
    link_free(a->link);
    exec_set_free(a->execs);
    deliver_set_free(a->blobs);
    reap_free(a->reap);
    if (a->loop != NULL) {
        ev_loop_destroy(a->loop);
    }
    if (a->options->guardian >= 0) {
        close(a->options->guardian);
    }
    free(a);
}

int agent_run(const struct agent_options *options, struct error *e)
{
    struct agent *a = calloc(1, sizeof *a);
    int result;

    if (a == NULL) {
        return errors_set(e, -E_NOMEM, "the agent");
    }
    a->options = options;
    a->intro.over = !options->introduced;
    unblock(options->input);
    unblock(options->output);
    result = set_up(a);
    if (result != 0) {
        errors_set(e, result, "the agent");
        goto out;
    }
    set_tick(a);
    feed_flush(a);
    ev_run(a->loop, 0);
    if (a->error.code != 0) {
        result = errors_set(e, a->error.code, "%s", a->error.detail);
    }
out:
    tear_down(a);
    return result;
}
