#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "agent/clock.h"
#include "agent/exec_internal.h"
#include "agent/pipes.h"
#include "proto/signals.h"

#define DRAIN_SECONDS 0.02    /* between two looks at a pipe that outlives its command */
#define STALL_US      500000u /* for a launcher to take more of what a stopped command has left */
#define EOF_SECONDS   0.005   /* between the end of an output and that of its command, mostly */
#define CUT_SECONDS   0.02    /* at least, from the decision to end a command to its input's end */

void exec_kick(struct exec *x)
{
    ev_feed_event(x->set->options.loop, &x->kick, EV_CUSTOM);
}

static void close_input(struct exec *x)
{
    if (x->in != NULL) {
        pump_sink_free(x->in);
        x->in = NULL;
        reap_end_input(x->child);
    }
}

void exec_free(struct exec *x)
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
    ev_timer_stop(loop, &x->cut);
    ev_timer_stop(loop, &x->eof);
    ev_clear_pending(loop, &x->kick);
    if (!x->set->leaving) { /* else it was stopped already */
        reap_stop(x->set->options.reap, x->ending);
    }
    close_input(x);
    reap_forget(x->child);
    pump_source_free(x->out.source);
    pump_source_free(x->err.source);
    free(x);
}

void exec_cut_input(struct exec *x)
{
    if (x->in == NULL || x->in_cut) {
        return;
    }
    x->in_cut = 1;
    pump_sink_detach(x->in);
    /* TERM goes out in the loop's next turn. */
    ev_now_update(x->set->options.loop);
    ev_timer_start(x->set->options.loop, &x->cut);
}

/* Who has not had his TERM yet would take it for the end of what was to come. */
static void on_cut(struct ev_loop *loop, ev_timer *w, int events)
{
    struct exec *x = w->data;

    (void)events;
    if (!reap_end_warned(x->set->options.reap, x->child)) {
        ev_timer_set(w, CUT_SECONDS, 0.0);
        ev_timer_start(loop, w);
        return;
    }
    close_input(x);
}

static void on_tree_gone(void *arg, size_t left)
{
    struct exec *x = arg;

    x->ending = NULL;
    x->tree_gone = 1;
    x->left = left;
    exec_kick(x);
}

void exec_begin_end(struct exec *x, const char *reason)
{
    struct exec_set *set = x->set;

    if (x->reason != NULL || set->leaving) {
        return;
    }
    x->reason = reason;
    ev_timer_stop(set->options.loop, &x->limit);
    exec_cut_input(x);
    x->ending = reap_end_command(set->options.reap, x->child, x->grace_ms, on_tree_gone, x);
    if (x->ending == NULL) {
        reap_signal_group(set->options.reap, x->child, SIGKILL);
        on_tree_gone(x, 0);
    }
}

/* ---- result ---- */

static int64_t microseconds(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000 + (int64_t)t.tv_usec;
}

static struct value *signal_of(int number)
{
    const char *name = signals_name(number);
    char text[16];

    snprintf(text, sizeof text, "%d", number);
    return values_text(name != NULL ? name : text);
}

static struct value *result_of(const struct exec *x)
{
    struct value *map = values_map();

    values_set(map, "pid", values_int(x->pid));
    if (x->reaped && WIFSIGNALED(x->status)) {
        values_set(map, "signal", signal_of(WTERMSIG(x->status)));
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
        exec_end_output(o);
    }
}

static int is_starved(const struct output *o)
{
    return !o->ended && o->s != NULL && stream_credit(o->s) == 0;
}

/* It died of a signal that the launcher had passed on, and nobody takes what it left. */
static int was_killed_unread(const struct exec *x)
{
    return x->reaped && WIFSIGNALED(x->status) &&
           sigismember(&x->passed_on, WTERMSIG(x->status)) == 1 &&
           (is_starved(&x->out) || is_starved(&x->err));
}

/* What the launcher gives no credit for must not hold up the confirmation that a command was
 * stopped. */
static void check_stalled(struct exec *x)
{
    uint64_t count = x->out.count + x->err.count;
    uint64_t now = clock_now_us();

    if (count != x->moved || x->moved_at == 0) {
        x->moved = count;
        x->moved_at = now;
    } else if (now - x->moved_at >= STALL_US) {
        exec_end_output(&x->out);
        exec_end_output(&x->err);
    }
}

/* Most outputs end because their command does, which is heard of a moment later: then all of it
 * makes one message. */
static int awaits_exit(struct exec *x)
{
    if (x->reaped || x->tree_gone || x->eof_due) {
        return 0;
    }
    if (!ev_is_active(&x->eof)) {
        ev_timer_set(&x->eof, EOF_SECONDS, 0.0);
        ev_timer_start(x->set->options.loop, &x->eof);
    }
    return 1;
}

static void settle_output(struct exec *x, struct output *o)
{
    if (!o->ended || o->settled) {
        return;
    }
    exec_end_output(o);
    if (o->s != NULL && awaits_exit(x)) {
        return;
    }
    o->settled = 1;
    /* When the command is over as well its CLOSE follows, and must come behind stderr's: then
     * finish says EOF. */
    if (o->s != NULL && !(x->reaped && x->out.ended && x->err.ended)) {
        stream_eof(o->s);
    }
}

static void settle(struct exec *x)
{
    int stopped;

    if (x->in_ended) {
        close_input(x);
    }
    if (x->over_limit) {
        exec_begin_end(x, "output-limit");
        exec_end_output(&x->out);
        exec_end_output(&x->err);
    }
    stopped = x->tree_gone || was_killed_unread(x);
    if (x->tree_gone) {
        check_drained(&x->out);
        check_drained(&x->err);
    }
    if (stopped) {
        check_stalled(x);
    }
    settle_output(x, &x->out);
    settle_output(x, &x->err);
    if (x->ending != NULL || !x->out.ended || !x->err.ended) {
        if (stopped && !ev_is_active(&x->drain)) {
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

static void on_eof_due(struct ev_loop *loop, ev_timer *w, int events)
{
    struct exec *x = w->data;

    (void)loop;
    (void)events;
    x->eof_due = 1;
    settle(x);
}

static void on_limit(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    exec_begin_end(w->data, "timeout");
}

void exec_exited(void *arg, const struct keeper_report *end)
{
    struct exec *x = arg;

    x->reaped = 1;
    x->status = end->status;
    x->usage = end->usage;
    x->stopped = end->at;
    exec_kick(x);
}

void exec_init(struct exec *x, uint64_t timeout_ms)
{
    sigemptyset(&x->passed_on);
    ev_init(&x->kick, on_kick);
    ev_init(&x->drain, on_kick);
    ev_init(&x->eof, on_eof_due);
    ev_timer_init(&x->cut, on_cut, CUT_SECONDS, 0.0);
    ev_timer_init(&x->limit, on_limit, (double)timeout_ms / 1e3, 0.0);
    x->kick.data = x->drain.data = x->eof.data = x->cut.data = x->limit.data = x;
    if (timeout_ms != 0) {
        ev_now_update(x->set->options.loop);
        ev_timer_start(x->set->options.loop, &x->limit);
    }
}
