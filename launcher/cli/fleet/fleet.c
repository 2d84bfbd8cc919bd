#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_impl.h"
#include "launcher/cli/fleet/fleet_plan.h"
#include "launcher/cli/interrupts.h"
#include "launcher/cli/leave.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"

#define TICK_MS  200 /* the bar, and a look at what nobody tells us of */
#define BEGIN_MS 500 /* what is over so soon needs none */

/* ---- signals ---- */

static void say_running(struct fleet *x)
{
    size_t *hosts = calloc(x->pick.count + 1, sizeof *hosts), n = 0, waiting = 0;
    char *folded, more[40] = "";

    for (size_t i = 0; hosts && i < x->pick.count; i++) {
        if (x->states[i] == AT_WORK)
            hosts[n++] = i;
        waiting += x->states[i] == NOT_BEGUN;
    }
    if (waiting)
        snprintf(more, sizeof more, ", %zu not begun", waiting);
    folded = hosts ? fleet_pick_fold(x->pick.names, hosts, n) : NULL;
    fleet_flow_urgent(x->flow, "still at work: %s (%zu)%s; Ctrl-C again stops them",
                      folded && n ? folded : "none", n, more);
    grapnel_string_free(folded);
    free(hosts);
}

static void stop(struct fleet *x, int number)
{
    if (!x->ending && number) {
        x->ending = number;
        if (!x->o->quiet)
            fleet_flow_urgent(x->flow, "stopping; once more leaves at once");
    }
    grapnel_fleet_cancel(x->job);
}

/* INT: who is at work; the second: stop; the third: leave.  Others stop at once, and then leave. */
static void on_signal(void *arg, int number)
{
    struct fleet *x = arg;

    if (!x->job || x->ending || number == SIGQUIT)
        x->leave = number;
    else if (number == SIGINT && x->interrupts++ == 0)
        say_running(x);
    else
        stop(x, number);
    fleet_told_wake(x);
}

/* The write fails, too, and that is told. */
static void on_too_large(void *arg, int number)
{
    (void)arg;
    (void)number;
}

static int catch_signals(struct fleet *x, struct grapnel_error *error)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) {
        if (interrupts_catch(x->g, caught[i], on_signal, x) < 0)
            return say_fail(error, "SYSTEM", "signals cannot be caught");
    }
    if (interrupts_catch(x->g, SIGXFSZ, on_too_large, x) < 0)
        return say_fail(error, "SYSTEM", "signals cannot be caught");
    return 0;
}

/* ---- the log ---- */

static const char *log_path(const struct fleet *x)
{
    return x->o->log ? x->o->log : x->o->resume;
}

/* Before the hosts are picked, when it says which; else when all is well so far.  0, or -1. */
static int open_log(struct fleet *x, struct grapnel_error *error)
{
    struct grapnel_error why;

    if (!log_path(x) || x->o->dry_run || x->journal)
        return 0;
    x->journal = fleet_journal_open(log_path(x), x->o->log != NULL, x->o->resume != NULL, &why);
    if (x->journal)
        return 0;
    return say_fail(error, why.name, "%s: %.900s", x->o->log ? "--log" : "--resume", why.detail);
}

/* ---- the loop ---- */

static void show_bar(struct fleet *x)
{
    struct grapnel_fleet_counts counts;
    struct winsize size = {.ws_col = 80};
    char text[FLEET_BAR_TEXT];
    double now = grapnel_now();

    if (!x->has_bar || now - x->bar.at < TICK_MS / 1e3 || now - x->began < BEGIN_MS / 1e3)
        return;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        size.ws_col = 80;
    grapnel_fleet_counts(x->job, &counts);
    fleet_bar_note(&x->bar, &counts, now);
    fleet_flow_bar(x->flow, fleet_bar_text(text, &x->bar, &counts, size.ws_col), size.ws_col);
}

/* Standard output can take no more.  That its reader has gone is seen by what is written; but there
 * may be nothing to write for long. */
static void look_at_output(struct fleet *x)
{
    struct pollfd p = {.fd = STDOUT_FILENO};
    double now = grapnel_now();

    if (x->output_failed)
        return;
    if (now - x->looked >= TICK_MS / 1e3) {
        x->looked = now;
        if (poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP | POLLNVAL)))
            fleet_flow_fail(x->flow, EPIPE);
    }
    if (!fleet_flow_error(x->flow))
        return;
    x->output_failed = 1;
    grapnel_fleet_cancel(x->job);
}

/* Hosts that are in no log would be run again. */
static void look_at_log(struct fleet *x)
{
    if (!x->journal)
        return;
    fleet_journal_sync(x->journal, grapnel_now());
    if (!fleet_journal_error(x->journal) || x->log_failed)
        return;
    x->log_failed = 1;
    fleet_flow_note(x->flow, "%s: %s: all hosts are stopped", log_path(x),
                    strerror(fleet_journal_error(x->journal)));
    grapnel_fleet_cancel(x->job);
}

/* Until one of our callbacks has something for us to do (fleet_told_wake). */
static void turn(struct fleet *x)
{
    int next = fleet_flow_next(x->flow);

    if (next)
        grapnel_drive_writable(x->g, next, TICK_MS);
    else
        grapnel_drive(x->g, TICK_MS);
    fleet_flow_write(x->flow);
    fleet_show_more(x->show);
    look_at_output(x);
    fleet_told_settle(x);
    show_bar(x);
    look_at_log(x);
}

/* Until all has ended and was shown, or is on its way out. */
static void drive(struct fleet *x)
{
    while (!x->over && !x->leave)
        turn(x);
    fleet_flow_bar(x->flow, NULL, 0);
    x->has_bar = 0;
    fleet_show_done(x->show);
    while (!x->leave && fleet_show_more(x->show))
        turn(x);
}

static void drain(struct fleet *x)
{
    while (!x->leave && fleet_flow_next(x->flow))
        turn(x);
}

/* ---- beginning and end ---- */

static void on_trace(void *arg, const char *text)
{
    fleet_flow_note(arg, "%s", text);
}

static int prepare(struct fleet *x, struct grapnel_error *error)
{
    const struct options *o = x->o;
    size_t count = x->pick.count;

    x->flow = fleet_flow_new();
    x->tally = fleet_tally_new(x->pick.names, count, x->kind->late);
    x->states = calloc(count + 1, 1);
    x->owed = calloc(count + 1, sizeof *x->owed);
    x->owing = calloc(count + 1, sizeof *x->owing);
    if (!x->flow || !x->tally || !x->states || !x->owed || !x->owing)
        return say_fail(error, "NOMEM", "out of memory");
    x->show = fleet_show_new(o, x->pick.names, count, x->flow, error);
    if (!x->show)
        return -1;
    if (open_log(x, error) < 0)
        return -1;
    x->has_bar = isatty(STDERR_FILENO) && !o->quiet && count > 1;
    x->trace.note = on_trace;
    x->trace.note_arg = x->flow;
    x->g = reach_context(&x->trace, 1, error);
    return x->g ? catch_signals(x, error) : -1;
}

static int start(struct fleet *x, struct grapnel_error *error)
{
    const struct options *o = x->o;
    int64_t count = (int64_t)x->pick.count;
    struct grapnel_connect_options connect = reach_options(o);
    struct grapnel_fleet_options options = {
        .connect = &connect,
        .fanout = (size_t)o->fanout,
        .aliases = o->aliases,
        .retry = (int)o->retry,
        .batch = o->batch ? (size_t)quantity_of(o->batch, count) : 0,
        .max_fail = o->max_fail ? (size_t)quantity_of(o->max_fail, count) : 0,
        .total_timeout = o->total_timeout,
    };
    struct grapnel_fleet_handler handler = fleet_told_handler(x);

    /* A thousand hosts have nobody to ask a thousand questions. */
    connect.interactive = 0;
    x->began = grapnel_now();
    fleet_bar_note(&x->bar, &(struct grapnel_fleet_counts){0}, x->began);
    x->f = grapnel_fleet_new(x->g, x->pick.names, &options, error);
    if (x->f)
        x->job = x->kind->start(x->kind, o, x->f, &handler, x, error);
    return x->job ? 0 : -1;
}

/* --json has it all in its lines: a program reads them. */
static void report(struct fleet *x)
{
    const struct options *o = x->o;
    int terminal = isatty(STDERR_FILENO), silent = o->quiet || (o->json && !terminal);

    if (x->output_failed) {
        fleet_flow_note(x->flow, "the output could not be written: %s; all hosts were stopped",
                        strerror(fleet_flow_error(x->flow)));
        return;
    }
    if (o->stats)
        fleet_tally_say_phases(x->tally, x->flow);
    if (o->stats || o->verbose || (!silent && (terminal || fleet_tally_uneven(x->tally))))
        fleet_tally_say(x->tally, x->flow, grapnel_now() - x->began);
    if (!o->json || !silent)
        fleet_tally_say_causes(x->tally, x->flow, silent);
    if (!silent)
        fleet_tally_say_stopped(x->tally, x->flow);
}

static int exit_status(struct fleet *x)
{
    if (fleet_flow_error(x->flow))
        return SAY_FAILED;
    return x->ending ? leave_status(x->ending) : fleet_tally_exit(x->tally);
}

static int leave(struct fleet *x)
{
    grapnel_abandon(x->g);
    fleet_flow_bar(x->flow, NULL, 0);
    fleet_flow_write(x->flow);
    if (!x->o->quiet)
        say_note("left on a signal; the hosts clean up by themselves");
    leave_now(leave_status(x->leave));
}

/* What failed, or was not begun, a line for each. */
static int write_failed(struct fleet *x)
{
    const char *path = x->o->failed_to;
    FILE *f = path ? fopen(path, "we") : NULL;
    size_t n = 0;
    size_t *hosts = path ? fleet_tally_failed(x->tally, &n) : NULL;
    int bad = path && (!f || !hosts);

    for (size_t i = 0; f && hosts && i < n; i++)
        bad |= fprintf(f, "%s\n", x->pick.names[hosts[i]]) < 0;
    if (f)
        bad |= fclose(f) != 0;
    free(hosts);
    if (bad)
        say_note("--failed-to: %s: %s", path, strerror(errno));
    return bad ? -1 : 0;
}

/* Nothing could be begun. */
static int fail_all(struct fleet *x, const struct grapnel_error *error)
{
    struct grapnel_error ours;

    if (!x->o->json || x->ending || x->leave)
        say_error(error);
    for (size_t i = 0; x->o->json && i < x->pick.count; i++) {
        if (say_json(json_pack("{s:o, s:i, s:b, s:b, s:o}", "host", say_json_text(x->pick.names[i]),
                               "exit", SAY_FAILED, "failed", 1, "begun", 0, "error",
                               say_json_error(error)),
                     &ours) < 0) {
            say_error(&ours);
            break;
        }
    }
    if (x->o->json && say_flush(&ours) < 0)
        say_error(&ours);
    return SAY_FAILED;
}

static int run(struct fleet *x)
{
    struct grapnel_error error;
    int status;

    if (fleet_told_check(x, &error) < 0 ||
        (x->o->confirm && fleet_plan_confirm(&x->pick, x->o, &error) < 0) ||
        prepare(x, &error) < 0 || start(x, &error) < 0)
        return fail_all(x, &error);
    drive(x);
    if (!x->leave)
        report(x);
    drain(x);
    status = exit_status(x);
    if (write_failed(x) < 0)
        status = SAY_FAILED;
    if (x->leave)
        leave(x);
    return status;
}

static int show_plan(struct fleet *x)
{
    struct grapnel_error error;

    if (fleet_told_check(x, &error) == 0 && (x->g = reach_context(&x->trace, 1, &error)) != NULL)
        return fleet_plan_show(x->g, &x->pick, x->o, x->o->substitute ? fleet_told_words : NULL, x);
    say_error(&error);
    return SAY_FAILED;
}

static int work(struct fleet *x)
{
    struct grapnel_error error;

    if ((x->o->resume && open_log(x, &error) < 0) || fleet_pick(&x->pick, x->o, &error) < 0) {
        say_error(&error);
        return SAY_FAILED;
    }
    if (x->pick.finished && !x->o->quiet)
        say_note("%zu host%s finished already", x->pick.finished,
                 x->pick.finished == 1 ? " is" : "s are");
    if (x->pick.none_again && !x->o->quiet)
        say_note("%s names no host: there is nothing to do again", x->o->rerun);
    if (x->pick.count == 0)
        return 0;
    return x->o->dry_run ? show_plan(x) : run(x);
}

int fleet_verb(const struct options *o, const struct fleet_kind *kind)
{
    struct fleet x = {.o = o, .kind = kind, .trace = {.o = o}};
    int status = work(&x);

    grapnel_fleet_job_free(x.job);
    grapnel_fleet_free(x.f);
    grapnel_free(x.g);
    if (kind->finish && x.over) {
        int finished = kind->finish(kind->arg, o, x.pick.names, x.ending != 0);

        status = finished > status ? finished : status;
    }
    if (fleet_journal_close(x.journal) < 0) {
        if (!x.log_failed)
            say_note("%s: %s", log_path(&x), strerror(errno));
        status = SAY_FAILED;
    }
    fleet_show_free(x.show);
    fleet_tally_free(x.tally);
    fleet_flow_free(x.flow);
    fleet_told_clear(&x);
    fleet_pick_clear(&x.pick);
    free(x.states);
    free(x.owed);
    free(x.owing);
    return status;
}
