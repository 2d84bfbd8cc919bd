#include "agent/exec.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/clock.h"
#include "agent/launch.h"
#include "agent/linux.h"
#include "agent/pipes.h"
#include "agent/signals.h"
#include "proto/pump.h"

#define DRAIN_SECONDS 0.02 /* between two looks at a pipe that outlives its command */

struct exec_set {
    struct exec_options options;
    struct exec *first;
    int leaving;
};

/* One of the two outputs of a command. */
struct output {
    struct stream *s; /* NULL: none, or gone */
    struct pump_source *source;
    uint64_t count; /* bytes so far */
    int fd;         /* the source's, while that reads */
    int ended;      /* nothing more will come */
    int settled;    /* ... and the stream knows */
};

struct exec {
    struct exec *next;
    struct exec_set *set;
    struct output out, err;
    struct pump_sink *in;
    struct reap_child *child;
    struct reap_ending *ending;
    ev_timer limit; /* the time limit */
    ev_timer drain;
    ev_timer kick; /* never started: fed when settle must run */
    pid_t pid;
    uint64_t since;   /* linux_ticks */
    uint64_t began;   /* microseconds */
    uint64_t stopped; /* microseconds: when the leader's end was taken */
    uint64_t output_limit;
    unsigned grace_ms;
    int reaped;
    int status; /* as of waitpid */
    struct rusage usage;
    const char *reason; /* why it is being ended; NULL: it is not */
    int in_ended, over_limit, tree_gone;
    size_t left;
};

/* ---- life ---- */

static void kick(struct exec *x)
{
    ev_feed_event(x->set->options.loop, &x->kick, EV_CUSTOM);
}

static void exec_free(struct exec *x)
{
    struct ev_loop *loop;

    if (x == NULL) {
        return;
    }
    loop = x->set->options.loop;
    for (struct exec **at = &x->set->first; *at != NULL; at = &(*at)->next) {
        if (*at == x) {
            *at = x->next;
            break;
        }
    }
    ev_timer_stop(loop, &x->limit);
    ev_timer_stop(loop, &x->drain);
    ev_clear_pending(loop, &x->kick);
    reap_stop(x->set->options.reap, x->ending);
    reap_forget(x->set->options.reap, x->child);
    pump_sink_free(x->in);
    pump_source_free(x->out.source);
    pump_source_free(x->err.source);
    free(x);
}

static void end_output(struct output *o)
{
    pump_source_free(o->source);
    o->source = NULL;
    o->fd = -1;
    o->ended = 1;
}

static void on_tree_gone(void *arg, size_t left)
{
    struct exec *x = arg;

    x->ending = NULL;
    x->tree_gone = 1;
    x->left = left;
    kick(x);
}

/* Begins to end the command with all that belongs to it; the first reason counts. */
static void begin_end(struct exec *x, const char *reason)
{
    struct exec_set *set = x->set;
    int alone = set->first == x && x->next == NULL;

    if (x->reason != NULL || set->leaving) {
        return;
    }
    x->reason = reason;
    ev_timer_stop(set->options.loop, &x->limit);
    pump_sink_free(x->in);
    x->in = NULL;
    x->ending =
        reap_end_command(set->options.reap, x->pid, x->since, alone, x->grace_ms, on_tree_gone, x);
    if (x->ending == NULL) {
        reap_signal_group(set->options.reap, x->pid, SIGKILL);
        on_tree_gone(x, 0);
    }
}

/* ---- result ---- */

static int64_t microseconds(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000 + (int64_t)t.tv_usec;
}

static struct value *result_of(const struct exec *x)
{
    struct value *map = values_map();
    char number[16];

    values_set(map, "pid", values_int(x->pid));
    if (x->reaped && WIFSIGNALED(x->status)) {
        values_set(map, "signal",
                   values_text(signals_name(WTERMSIG(x->status), number, sizeof number)));
        values_set(map, "core", values_bool(WCOREDUMP(x->status) != 0));
    } else if (x->reaped) {
        values_set(map, "status", values_int(WEXITSTATUS(x->status)));
        values_set(map, "core", values_bool(0));
    }
    values_set(map, "wall_us",
               values_int((int64_t)((x->reaped ? x->stopped : clock_now_us()) - x->began)));
    values_set(map, "user_us", values_int(microseconds(x->usage.ru_utime)));
    values_set(map, "system_us", values_int(microseconds(x->usage.ru_stime)));
    values_set(map, "max_rss", values_int((int64_t)x->usage.ru_maxrss * 1024));
    if (x->reason != NULL) {
        values_set(map, "reason", values_text(x->reason));
    }
    if (x->left > 0) {
        values_set(map, "left", values_int((int64_t)x->left));
    }
    return map;
}

/* Says the result on what streams are left, and is gone. */
static void finish(struct exec *x)
{
    if (x->err.s != NULL) {
        pipes_close(x->err.s);
    }
    if (x->out.s != NULL) {
        stream_eof(x->out.s);
        stream_set_handler(x->out.s, pipes_nobody(), NULL);
        stream_close(x->out.s, 0, result_of(x), NULL);
    }
    exec_free(x);
}

/* ---- settling: what follows from what happened, outside of the callbacks that told it ---- */

/* The command is gone but somebody whom we could not end, or who was never its descendant, still
 * holds the pipe: what is in it is delivered, but its end is not waited for. */
static void check_drained(struct output *o)
{
    struct pollfd p = {.fd = o->fd, .events = POLLIN};
    int n = 0;

    if (o->ended || o->source == NULL) {
        return;
    }
    if (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP) != 0) {
        return; /* its end will be read */
    }
    if (ioctl(o->fd, FIONREAD, &n) != 0 || n == 0) {
        end_output(o);
    }
}

static void settle_output(struct exec *x, struct output *o)
{
    if (!o->ended || o->settled) {
        return;
    }
    o->settled = 1;
    end_output(o);
    /* When the command is over as well its CLOSE follows, and must come behind stderr's: then
     * finish says EOF. */
    if (o->s != NULL && !(x->reaped && x->out.ended && x->err.ended)) {
        stream_eof(o->s);
    }
}

static void settle(struct exec *x)
{
    if (x->in_ended) {
        pump_sink_free(x->in);
        x->in = NULL;
    }
    if (x->over_limit) {
        begin_end(x, "output-limit");
        end_output(&x->out);
        end_output(&x->err);
    }
    if (x->tree_gone) {
        check_drained(&x->out);
        check_drained(&x->err);
    }
    settle_output(x, &x->out);
    settle_output(x, &x->err);
    if (x->ending != NULL || !x->out.ended || !x->err.ended) {
        if (x->tree_gone && !ev_is_active(&x->drain)) {
            ev_timer_set(&x->drain, DRAIN_SECONDS, 0.0);
            ev_timer_start(x->set->options.loop, &x->drain);
        }
        return;
    }
    if (x->reaped || x->tree_gone) {
        finish(x);
    }
}

static void on_kick(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    settle(w->data);
}

static void on_limit(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    begin_end(w->data, "timeout");
}

static void on_exited(void *arg, int status, const struct rusage *usage)
{
    struct exec *x = arg;

    x->child = NULL;
    x->reaped = 1;
    x->status = status;
    x->usage = *usage;
    x->stopped = clock_now_us();
    kick(x);
}

/* ---- streams and pipes ---- */

static void on_out_ended(void *arg, int code, int number)
{
    struct exec *x = arg;

    (void)code;
    (void)number;
    x->out.ended = 1;
    x->out.fd = -1;
    kick(x);
}

static void on_err_ended(void *arg, int code, int number)
{
    struct exec *x = arg;

    (void)code;
    (void)number;
    x->err.ended = 1;
    x->err.fd = -1;
    kick(x);
}

/* A command may close its stdin at any time: what still comes is discarded by the sink. */
static void on_in_ended(void *arg, int code, int number)
{
    struct exec *x = arg;

    (void)code;
    (void)number;
    if (code == 0) {
        x->in_ended = 1;
        kick(x);
    }
}

/* One byte more than the limit is asked for, to tell output that just fits from more. */
static size_t fill(struct exec *x, struct output *o, uint8_t *at, size_t room)
{
    uint64_t left = UINT64_MAX;
    size_t n;

    if (o->source == NULL || o->ended || x->over_limit) {
        return 0;
    }
    if (x->output_limit != 0) {
        left = x->output_limit - x->out.count - x->err.count;
    }
    n = pump_source_fill(o->source, at, room <= left ? room : (size_t)left + 1);
    if (n > left) {
        n = (size_t)left;
        x->over_limit = 1;
        kick(x);
    }
    o->count += n;
    return n;
}

static size_t on_fill_out(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct exec *x = arg;

    (void)s;
    return fill(x, &x->out, at, room);
}

static size_t on_fill_err(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct exec *x = arg;

    (void)s;
    return fill(x, &x->err, at, room);
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct exec *x = arg;

    (void)s;
    return x->in != NULL ? pump_sink_data(x->in, bytes, n) : n;
}

static void on_eof(void *arg, struct stream *s)
{
    struct exec *x = arg;

    (void)s;
    if (x->in != NULL) {
        pump_sink_eof(x->in);
    }
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct exec *x = arg;

    (void)s;
    (void)code;
    (void)result;
    (void)text;
    x->out.s = NULL;
    pump_sink_free(x->in);
    x->in = NULL;
    end_output(&x->out);
    end_output(&x->err);
    begin_end(x, "cancelled");
    kick(x);
}

/* Nobody wants stderr any more: the command finds its pipe broken, as in a shell. */
static void on_err_closed(void *arg, struct stream *s, int code, const struct value *result,
                          const char *text)
{
    struct exec *x = arg;

    (void)s;
    (void)code;
    (void)result;
    (void)text;
    x->err.s = NULL;
    end_output(&x->err);
    kick(x);
}

static const struct stream_handler out_handler = {
    .data = on_data, .eof = on_eof, .closed = on_closed, .fill = on_fill_out};
static const struct stream_handler err_handler = {.closed = on_err_closed, .fill = on_fill_err};

/* ---- starting ---- */

/* Hands our ends of the pipes to pumps, which own them from then on even when this fails. */
static int connect_pumps(struct exec *x, struct launch *launch)
{
    struct ev_loop *loop = x->set->options.loop;
    int with_stdin = launch->in >= 0;

    x->out.fd = launch->out;
    x->out.source = pump_source_new(loop, launch->out, 0, x->out.s, on_out_ended, x);
    x->err.ended = x->err.settled = x->err.s == NULL;
    if (x->err.s != NULL) {
        x->err.fd = launch->err;
        x->err.source = pump_source_new(loop, launch->err, 0, x->err.s, on_err_ended, x);
    }
    if (with_stdin) {
        x->in = pump_sink_new(loop, launch->in, 0, x->out.s, on_in_ended, x);
    }
    launch->in = launch->out = launch->err = -1;
    if (x->out.source == NULL || (x->err.s != NULL && x->err.source == NULL) ||
        (with_stdin && x->in == NULL)) {
        return -E_NOMEM;
    }
    return 0;
}

static struct exec *make(struct exec_set *set, struct stream *s, const struct plan *plan)
{
    struct exec *x = calloc(1, sizeof *x);

    if (x == NULL) {
        return NULL;
    }
    x->set = set;
    x->out.s = s;
    x->out.fd = x->err.fd = -1;
    x->output_limit = plan->output_limit;
    x->grace_ms = plan->grace_ms;
    ev_init(&x->kick, on_kick);
    ev_init(&x->drain, on_kick);
    ev_timer_init(&x->limit, on_limit, (double)plan->timeout_ms / 1e3, 0.0);
    x->kick.data = x->drain.data = x->limit.data = x;
    x->next = set->first;
    set->first = x;
    return x;
}

static int start(struct exec *x, const struct plan *plan, struct launch *launch, struct error *e)
{
    const struct exec_options *options = &x->set->options;
    int result;

    x->since = linux_ticks();
    x->began = clock_now_us();
    result = launch_start(plan, options->umask, options->files, launch, e);
    if (result != 0) {
        return result;
    }
    x->pid = launch->pid;
    x->child = reap_watch(options->reap, x->pid, on_exited, x);
    if (x->child == NULL) {
        (void)kill(-x->pid, SIGKILL);
        return errors_set(e, -E_NOMEM, "%s", plan->argv[0]);
    }
    return 0;
}

static int open_planned(struct exec_set *set, struct stream *s, const struct plan *plan,
                        struct stream *err, struct error *e)
{
    struct launch launch = {.in = -1, .out = -1, .err = -1};
    struct exec *x = make(set, s, plan);
    int result;

    if (x == NULL) {
        return errors_set(e, -E_NOMEM, "%s", plan->argv[0]);
    }
    result = start(x, plan, &launch, e);
    if (result != 0) {
        launch_close(&launch);
        exec_free(x);
        return result;
    }
    stream_accept(s, &out_handler, x);
    if (err != NULL) {
        x->err.s = err;
        stream_set_handler(err, &err_handler, x);
    }
    if (connect_pumps(x, &launch) != 0) {
        begin_end(x, "out of memory");
        x->over_limit = 1; /* both outputs end */
        kick(x);
    }
    if (plan->timeout_ms != 0) {
        ev_now_update(set->options.loop);
        ev_timer_start(set->options.loop, &x->limit);
    }
    return 0;
}

int exec_open(struct agent *a, struct stream *s, const struct value *args, struct error *e)
{
    struct exec_set *set = agent_execs(a);
    struct stream *err = NULL;
    struct plan plan;
    int result = plan_read(args, set->options.environment, &plan, e);

    if (result != 0) {
        return result;
    }
    if (set->leaving) {
        result = errors_set(e, -E_CLOSED, "the agent is leaving");
        goto out;
    }
    if (plan.stderr_id != 0) {
        err = pipes_claim(stream_link(s), plan.stderr_id);
        if (err == NULL) {
            result = errors_set(e, -E_ARGUMENT, "stderr: %lu is not a free pipe",
                                (unsigned long)plan.stderr_id);
            goto out;
        }
    }
    result = open_planned(set, s, &plan, err, e);
    if (result != 0 && err != NULL) {
        pipes_close(err);
    }
out:
    plan_free(&plan);
    return result;
}

/* ---- calls ---- */

static struct exec *find(struct exec_set *set, const struct value *args)
{
    int64_t id = values_as_int(values_at(args, 0), 0);

    for (struct exec *x = set->first; x != NULL; x = x->next) {
        if (x->out.s != NULL && (int64_t)stream_id(x->out.s) == id) {
            return x;
        }
    }
    return NULL;
}

void exec_signal(struct agent *a, struct link *l, uint32_t id, const struct value *args)
{
    struct exec_set *set = agent_execs(a);
    const char *name = values_as_string(values_at(args, 1), NULL);
    struct exec *x = find(set, args);
    int number = signals_forwarded(name);

    if (x == NULL) {
        link_fail(l, id, -E_ARGUMENT, "no such command");
    } else if (number == 0) {
        link_fail(l, id, -E_ARGUMENT, "no such signal");
    } else {
        reap_signal_group(set->options.reap, x->pid, number);
        link_answer(l, id, NULL);
    }
}

void exec_cancel(struct agent *a, struct link *l, uint32_t id, const struct value *args)
{
    struct exec *x = find(agent_execs(a), args);

    if (x == NULL) {
        link_fail(l, id, -E_ARGUMENT, "no such command");
        return;
    }
    begin_end(x, "cancelled");
    link_answer(l, id, NULL);
}

/* ---- the set ---- */

struct exec_set *exec_set_new(const struct exec_options *options)
{
    struct exec_set *set = calloc(1, sizeof *set);

    if (set != NULL) {
        set->options = *options;
    }
    return set;
}

void exec_set_leave(struct exec_set *set)
{
    set->leaving = 1;
}

void exec_set_free(struct exec_set *set)
{
    if (set == NULL) {
        return;
    }
    while (set->first != NULL) {
        exec_free(set->first);
    }
    free(set);
}
