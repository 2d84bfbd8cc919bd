#include "launcher/cli/run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet.h"
#include "launcher/cli/interrupts.h"
#include "launcher/cli/leave.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"
#include "launcher/cli/spool.h"
#include "launcher/cli/verdict.h"

#define JSON_OUTPUT ((int64_t)64 << 20)
#define CLOSE_MS    5000

struct run {
    const struct options *o;
    struct grapnel *g;
    struct grapnel_server *server;
    struct grapnel_exec *x;
    struct reach_trace trace;
    struct reach reach;
    struct interrupts interrupts;
    int out, err; /* where output goes: 1 and 2, or gathered for JSON */
    int64_t started_ms;
    int left; /* the signal that was left on; 0: none */
    /* Written by the callback before `finished`. */
    struct grapnel_exec_status status;
    struct grapnel_error error; /* code 0: none */
    atomic_int finished;
};

static void on_done(void *arg, struct grapnel_exec *x, const struct grapnel_exec_status *status,
                    const struct grapnel_error *error)
{
    struct run *r = arg;

    (void)x;
    if (status)
        r->status = *status;
    else
        r->error = *error;
    atomic_store(&r->finished, 1);
    grapnel_stop(r->g);
}

static int open_output(struct run *r)
{
    r->out = STDOUT_FILENO;
    r->err = STDERR_FILENO;
    if (!r->o->json)
        return 0;
    r->out = spool_open();
    r->err = r->out < 0 ? -1 : spool_open();
    if (r->err >= 0)
        return 0;
    return say_fail(&r->error, "SYSTEM", "no place to gather the output: %s", strerror(errno));
}

static struct grapnel_exec_options exec_options(const struct options *o)
{
    return (struct grapnel_exec_options){
        .argv = o->word_count > 1 ? o->words : NULL,
        .line = o->word_count == 1 ? o->words[0] : NULL,
        .shell = o->shell,
        .cwd = o->cwd,
        .env = o->env.items,
        .unset = o->unset.items,
        .clean_env = o->clean_env,
        .merge = o->merge,
        .timeout = o->timeout,
        .output_limit = o->output_limit ? o->output_limit
                        : o->json       ? JSON_OUTPUT
                                        : 0,
    };
}

static int start(struct run *r)
{
    static const struct grapnel_exec_handler handler = {.done = on_done};
    const struct options *o = r->o;
    struct grapnel_exec_options options = exec_options(o);

    options.use_fds = 1;
    options.in = o->no_input ? -1 : STDIN_FILENO;
    options.out = r->out;
    options.err = r->err;
    r->g = reach_context(&r->trace, 1, &r->error);
    if (!r->g)
        return -1;
    /* Before anything is begun that would have to be ended. */
    if (interrupts_begin(&r->interrupts, r->g, &r->reach.ready) < 0)
        return say_fail(&r->error, "SYSTEM", "signals cannot be caught");
    r->server = reach_open(&r->reach, r->g, o, o->target, 1, &r->error);
    if (!r->server)
        return -1;
    r->x = grapnel_exec_start(r->server, &options, &handler, r, &r->error);
    if (!r->x)
        return -1;
    interrupts_attach(&r->interrupts, r->x);
    return 0;
}

static int ended_badly(struct run *r, const char *name, const char *phase, const char *text,
                       const char *hint)
{
    return verdict_say(&r->error, name, phase, text, hint);
}

/* The exit status of a command that was run; r->error gets what there is to say of it. */
static int judge(struct run *r)
{
    const struct grapnel_exec_status *s = &r->status;
    /* A limit that came first is what ended it. */
    int of_ours = atomic_load(&r->interrupts.cancelled) &&
                  (!s->reason ||
                   (strcmp(s->reason, "timeout") != 0 && strcmp(s->reason, "output-limit") != 0));

    r->error.detail[0] = '\0';
    snprintf(r->error.host, sizeof r->error.host, "%s", r->o->target);
    if (s->input_error) {
        snprintf(r->error.detail, sizeof r->error.detail, "%s", strerror(s->input_error));
        return ended_badly(r, "IO", "local", "the input could not be read",
                           "give another input, or none with -n; the command was stopped");
    }
    if (s->left > 0)
        snprintf(r->error.detail, sizeof r->error.detail,
                 "processes of it that go on, being another user's: %lld", (long long)s->left);
    if (s->local_error) {
        snprintf(r->error.detail, sizeof r->error.detail, "%s", strerror(s->local_error));
        return ended_badly(r, "IO", "local", "the output could not be written",
                           s->local_error == EPIPE
                               ? "its reader has gone; the command was stopped"
                               : "free some space where it goes to; the command was stopped");
    }
    if (of_ours && s->left > 0)
        ended_badly(r, "CANCELLED", "exec", "not all of the command could be stopped",
                    "end the rest on the host");
    if (of_ours)
        return leave_status(atomic_load(&r->interrupts.ending));
    return verdict_of(s, &r->error);
}

static json_t *json_status(const struct run *r, int exit_status)
{
    const struct grapnel_exec_status *s = &r->status;
    json_t *object = json_pack("{s:o, s:i, s:b}", "host", say_json_text(r->o->target), "exit",
                               exit_status, "failed", exit_status != 0);

    if (r->error.code == 0 || s->pid)
        verdict_json(object, s);
    return object;
}

static int json_output(json_t *object, const char *key, int fd)
{
    size_t n;
    char *bytes = spool_read(fd, &n);
    int rc = bytes ? say_json_bytes(object, key, bytes, n) : -1;

    free(bytes);
    return rc;
}

/* Prints the one object; returns exit_status, or another if that fails. */
static int report_json(struct run *r, int exit_status)
{
    json_t *object = json_status(r, exit_status);
    struct grapnel_error error;
    int failed = 0;

    if (r->out >= 0 && r->err >= 0)
        failed =
            json_output(object, "stdout", r->out) < 0 || json_output(object, "stderr", r->err) < 0;
    failed |= json_object_set_new(object, "phases", reach_json(&r->reach)) < 0;
    failed |= json_object_set_new(object, "elapsed_ms",
                                  json_integer(interrupts_clock() - r->started_ms)) < 0;
    if (r->error.code != 0)
        failed |= json_object_set_new(object, "error", say_json_error(&r->error)) < 0;
    if (failed) {
        json_decref(object);
        object = NULL;
    }
    if (say_json(object, &error) < 0 || say_flush(&error) < 0) {
        say_error(&error);
        return SAY_FAILED;
    }
    return exit_status;
}

static void report_stats(const struct run *r)
{
    const struct grapnel_exec_status *s = &r->status;
    char wall[QUANTITY_TEXT], user[QUANTITY_TEXT], system[QUANTITY_TEXT], rss[QUANTITY_TEXT];

    say_note("%s: command %s wall, %s user, %s system, %s resident; %.3f s in all", r->o->target,
             quantity_time_text(wall, s->wall_us), quantity_time_text(user, s->user_us),
             quantity_time_text(system, s->system_us), quantity_size_text(rss, s->max_rss),
             (double)(interrupts_clock() - r->started_ms) / 1e3);
}

static int report(struct run *r, int exit_status)
{
    if (r->o->json)
        return report_json(r, exit_status);
    if (r->left && r->left != SIGINT && !r->o->quiet)
        say_note("%s: left on a signal; the host cleans up by itself", r->o->target);
    if (r->error.code != 0 && !r->left)
        say_error(&r->error);
    if (r->o->stats && r->status.pid)
        report_stats(r);
    return exit_status;
}

/* The line is cut, upon which the host cleans up by itself. */
static int cut(struct run *r, int number)
{
    grapnel_exec_free(r->x);
    grapnel_server_free(r->server);
    r->x = NULL;
    r->server = NULL;
    r->left = number;
    leave_error(&r->error, r->o->target, number);
    return leave_status(number);
}

static int work(struct run *r)
{
    int number;

    if (open_output(r) < 0 || start(r) < 0)
        return r->error.exit_status ? r->error.exit_status : SAY_FAILED;
    number = interrupts_drive(&r->interrupts, &r->finished);
    interrupts_release();
    if (number)
        return cut(r, number);
    if (r->error.code != 0) {
        number = atomic_load(&r->interrupts.ending);
        return number ? leave_status(number) : r->error.exit_status;
    }
    return judge(r);
}

static int run_one(const struct options *o)
{
    struct run *r = calloc(1, sizeof *r);
    int exit_status;

    if (!r) {
        say_note("out of memory");
        return SAY_FAILED;
    }
    r->o = o;
    r->trace.o = o;
    r->out = r->err = -1;
    r->started_ms = interrupts_clock();
    exit_status = report(r, work(r));
    if (r->left)
        leave_now(exit_status);
    /* What the command left running ends before we do: that is what is waited for here. */
    if (r->server && r->status.pid)
        grapnel_close(r->server, CLOSE_MS, NULL);
    grapnel_exec_free(r->x);
    grapnel_server_free(r->server);
    grapnel_free(r->g);
    if (o->json && r->out >= 0)
        close(r->out);
    if (o->json && r->err >= 0)
        close(r->err);
    free(r);
    return exit_status;
}

/* ---- many hosts ---- */

static struct grapnel_fleet_job *start_many(const struct fleet_kind *kind, const struct options *o,
                                            struct grapnel_fleet *f,
                                            const struct grapnel_fleet_handler *handler, void *arg,
                                            struct grapnel_error *error)
{
    (void)kind;
    struct grapnel_exec_options options = exec_options(o);

    options.use_fds = 1;
    /* A person who types means one command. */
    options.in = o->no_input || isatty(STDIN_FILENO) ? -1 : STDIN_FILENO;
    options.out = options.err = -1;
    return grapnel_fleet_run(f, &options, handler, arg, error);
}

int run_verb(const struct options *o)
{
    static const struct fleet_kind many = {.start = start_many, .commands = 1};

    return o->many ? fleet_verb(o, &many) : run_one(o);
}
