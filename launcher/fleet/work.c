/* What is done on a host, once for each kind of job. */
#include <stdlib.h>
#include <string.h>

#include "launcher/exec/exec.h"
#include "launcher/fleet/copies.h"
#include "launcher/fleet/fleet_impl.h"
#include "launcher/fleet/input.h"
#include "launcher/fleet/map.h"
#include "launcher/fleet/script.h"
#include "launcher/remote/instances.h"

static const struct error none;

/* A ping that is under way; lives until it is answered, also when its task has ended. */
struct question {
    struct task *task; /* NULL: it has */
};

/* ---- output ---- */

static void stop_at_budget(struct task *t)
{
    struct error e = {0};

    errors_set(&e, -E_OUTPUT_LIMIT,
               "of all hosts together no more than %zu MiB may be kept at the same time",
               t->job->f->options.memory >> 20);
    task_stop(t, &e);
}

/* Kept until the result is told.  A command that says more than there is room for is stopped. */
static size_t gather(struct task *t, int which, const uint8_t *bytes, size_t n)
{
    struct grapnel_fleet_job *job = t->job;

    if (job->kept_bytes + n > job->f->options.memory ||
        wire_put(which == 2 ? &t->err : &t->out, bytes, n) < 0) {
        stop_at_budget(t);
        return n;
    }
    t->kept += n;
    job->kept_bytes += n;
    return n;
}

size_t work_output(struct task *t, int which, const uint8_t *bytes, size_t n)
{
    struct grapnel_fleet_job *job = t->job;
    size_t done;

    if (!job->handler.output)
        return gather(t, which, bytes, n);
    done = job->handler.output(job->arg, t->host, which, bytes, n);
    if (done > n)
        done = n;
    t->kept += n - done;
    job->kept_bytes += n - done;
    if (!t->exec && job->kept_bytes > job->f->options.memory)
        stop_at_budget(t); /* it does not wait, as commands do */
    return done;
}

static size_t on_out(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    (void)x;
    return work_output(arg, 1, bytes, n);
}

static size_t on_err(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    (void)x;
    return work_output(arg, 2, bytes, n);
}

void grapnel_fleet_consumed(struct grapnel_fleet_job *job, size_t host, int which, size_t n)
{
    struct task *t;

    context_lock(job->g);
    t = host < job->f->count ? job->tasks[host] : NULL;
    if (t && job->handler.output) {
        n = n < t->kept ? n : t->kept;
        t->kept -= n;
        job->kept_bytes -= n;
        if (t->exec)
            grapnel_exec_consumed(t->exec, which, n);
        if (t->script && t->kept == 0)
            script_consumed(t);
    }
    context_unlock(job->g);
}

/* ---- commands ---- */

static void on_writable(void *arg, struct grapnel_exec *x)
{
    struct task *t = arg;

    (void)x;
    input_give(t->job->input, t);
}

static void on_done(void *arg, struct grapnel_exec *x, const struct grapnel_exec_status *status,
                    const struct grapnel_error *error)
{
    struct task *t = arg;
    struct error e = {0};

    (void)x;
    if (status) {
        t->status = *status;
        t->has_status = 1;
    } else {
        errors_set(&e, error->code, "%s", error->detail);
    }
    task_work_over(t, &e);
}

static int begin_command(struct task *t, struct error *e)
{
    static const struct grapnel_exec_handler handler = {
        .out = on_out, .err = on_err, .writable = on_writable, .done = on_done};
    struct grapnel_fleet_job *job = t->job;
    struct grapnel_exec_options o = job->exec;
    struct grapnel_error error;

    if (job->handler.prepare && job->handler.prepare(job->arg, t->host, &o) < 0)
        return errors_set(e, -E_ARGUMENT, "the command could not be made for this host");
    o.use_fds = 0;
    o.no_input = job->input == NULL;
    t->exec = grapnel_exec_start(t->server, &o, &handler, t, &error);
    if (!t->exec)
        return errors_set(e, error.code, "%s", error.detail);
    t->input_at = 0;
    if (job->input)
        input_give(job->input, t);
    return 0;
}

struct grapnel_fleet_job *grapnel_fleet_run(struct grapnel_fleet *f,
                                            const struct grapnel_exec_options *command,
                                            const struct grapnel_fleet_handler *handler, void *arg,
                                            struct grapnel_error *error)
{
    struct grapnel_fleet_job *job;
    struct error e = {0};

    if (job_lacks(f, "fleet", error) || job_lacks(command, "command", error))
        return NULL;
    context_lock(f->g);
    job = job_new(f, JOB_RUN, handler, arg, &e);
    if (job && copies_exec(&job->exec, command) < 0)
        errors_set(&e, -E_NOMEM, "command");
    if (job && !e.code && command->use_fds && command->in >= 0)
        job->input = input_new(job, command->in, &e);
    job = job_start(job, &e, error);
    context_unlock(f->g);
    return job;
}

/* ---- signs of life, facts ---- */

static void on_answered(void *arg, const struct error *e, int64_t round_trip_us)
{
    struct question *q = arg;
    struct task *t = q->task;

    free(q);
    if (!t)
        return;
    t->question = NULL;
    t->value = e ? NULL : values_int(round_trip_us);
    task_work_over(t, e ? e : &none);
}

/* The task may end before the answer comes. */
static void begin_ping(struct task *t)
{
    struct question *q = calloc(1, sizeof *q);
    struct error e = {0};

    if (!q) {
        errors_set(&e, -E_NOMEM, "ping");
    } else if (connection_ping(t->server, on_answered, q, &e) == 0) {
        q->task = t;
        t->question = q;
        return;
    }
    free(q);
    task_work_over(t, &e);
}

static struct grapnel_fleet_job *start_plain(struct grapnel_fleet *f, enum job_kind kind,
                                             const struct grapnel_fleet_handler *handler, void *arg,
                                             struct grapnel_error *error)
{
    struct grapnel_fleet_job *job;
    struct error e = {0};

    if (job_lacks(f, "fleet", error))
        return NULL;
    context_lock(f->g);
    job = job_start(job_new(f, kind, handler, arg, &e), &e, error);
    context_unlock(f->g);
    return job;
}

struct grapnel_fleet_job *grapnel_fleet_ping(struct grapnel_fleet *f,
                                             const struct grapnel_fleet_handler *handler, void *arg,
                                             struct grapnel_error *error)
{
    return start_plain(f, JOB_PING, handler, arg, error);
}

struct grapnel_fleet_job *grapnel_fleet_facts(struct grapnel_fleet *f,
                                              const struct grapnel_fleet_handler *handler,
                                              void *arg, struct grapnel_error *error)
{
    return start_plain(f, JOB_FACTS, handler, arg, error);
}

/* ---- calls ---- */

/* Of a script: what other programs print that it has started. */
static void on_printed(void *arg, struct grapnel_instance *i, const void *bytes, size_t n)
{
    struct task *t = arg;

    (void)i;
    work_output(t, t->job->kind == JOB_SCRIPT ? 2 : 1, bytes, n);
}

/* A call without results has nil for its value. */
static void keep_results(struct task *t, struct grapnel_future *f)
{
    t->results = answer_take_results(f);
    if (t->results && values_count(t->results) == 0)
        t->value = values_nil();
}

static void on_returned(void *arg, struct grapnel_future *f)
{
    struct task *t = arg;
    struct grapnel_error error = {0};
    struct error e = {0};

    if (grapnel_future_error(f, &error) < 0 && error.code == -E_TIMEOUT)
        errors_set(&e, -E_EXEC_TIMEOUT, "%s", "");
    else if (error.code)
        errors_set(&e, error.code, "%s", error.detail);
    else
        keep_results(t, f);
    if (t->job->kind == JOB_SCRIPT)
        script_judge(t, &e);
    task_work_over(t, &e);
}

static int begin_call(struct task *t, struct error *e)
{
    struct grapnel_fleet_job *job = t->job;
    struct grapnel_instance_options o = job->instance;
    struct grapnel_call_options call = job->call;
    struct grapnel_error error;

    o.output = on_printed;
    o.ended = NULL;
    o.arg = t;
    call.timeout = 0; /* connecting takes time, too */
    t->instance = grapnel_instance_open(t->server, &o, &error);
    if (!t->instance)
        return errors_set(e, error.code, "%s", error.detail);
    if (job->kind == JOB_SCRIPT && script_begin(t, e) < 0)
        return e->code;
    if (job->kind == JOB_CALL && o.held && script_redirect(t, e) < 0)
        return e->code;
    if (job->kind == JOB_CALL && (t->future = grapnel_callv(t->instance, &call, &error)) == NULL)
        return errors_set(e, error.code, "%s", error.detail);
    grapnel_future_on_done(t->future, on_returned, t);
    return 0;
}

struct grapnel_fleet_job *grapnel_fleet_call(struct grapnel_fleet *f,
                                             const struct grapnel_instance_options *instance,
                                             const struct grapnel_call_options *call,
                                             const struct grapnel_fleet_handler *handler, void *arg,
                                             struct grapnel_error *error)
{
    struct grapnel_fleet_job *job;
    struct error e = {0};
    int rc;

    if (job_lacks(f, "fleet", error) || job_lacks(call, "call", error))
        return NULL;
    context_lock(f->g);
    job = job_new(f, JOB_CALL, handler, arg, &e);
    if (job && (call->ref || !call->path))
        errors_set(&e, -E_ARGUMENT, "what is called on many hosts has a path");
    else if (job && ((rc = copies_instance(&job->instance, instance)) < 0 ||
                     (rc = copies_call(&job->call, call)) < 0))
        errors_set(&e, rc == -E_NOMEM ? rc : -E_ARGUMENT, "arguments go by copy");
    job = job_start(job, &e, error);
    context_unlock(f->g);
    return job;
}

struct grapnel_fleet_job *grapnel_fleet_script(struct grapnel_fleet *f,
                                               const struct grapnel_instance_options *instance,
                                               const struct grapnel_fleet_script *script,
                                               const struct grapnel_fleet_handler *handler,
                                               void *arg, struct grapnel_error *error)
{
    struct grapnel_fleet_job *job;
    struct error e = {0};

    if (job_lacks(f, "fleet", error) || job_lacks(script, "script", error))
        return NULL;
    context_lock(f->g);
    job = job_new(f, JOB_SCRIPT, handler, arg, &e);
    if (job) {
        job->call.timeout = script->timeout;
        job->call.args = (const struct grapnel_value *)script_start(script);
        if (copies_instance(&job->instance, instance) < 0 || !job->call.args)
            errors_set(&e, -E_NOMEM, "script");
        else if (script->use_in)
            job->input = input_new(job, script->in, &e);
    }
    job = job_start(job, &e, error);
    context_unlock(f->g);
    return job;
}

/* ---- for tasks ---- */

int work_begin(struct task *t, struct error *e)
{
    switch (t->job->kind) {
    case JOB_RUN:
        return begin_command(t, e);
    case JOB_CALL:
    case JOB_SCRIPT:
        return begin_call(t, e);
    case JOB_PING:
    case JOB_FACTS:
    case JOB_MAP:
    case JOB_KEYS:
        break; /* there is an agent to be asked first */
    }
    return 0;
}

void work_ready(struct task *t)
{
    struct error e = {0};

    if (t->stopped)
        return;
    if (t->job->kind == JOB_PING) {
        begin_ping(t);
    } else if (t->job->kind == JOB_FACTS) {
        t->value = connection_facts(t->server);
        task_work_over(t, &none);
    } else if (t->job->kind == JOB_MAP) {
        crew_begin(t);
    } else if (t->future && t->job->call.timeout > 0 &&
               grapnel_future_expire(t->future, t->job->call.timeout) < 0) {
        errors_set(&e, -E_NOMEM, "time limit");
        task_work_over(t, &e);
    }
}

void work_input(struct task *t)
{
    if (t->exec)
        exec_ask_writable(t->exec);
    else if (t->script)
        script_input(t);
}

void work_cancel(struct task *t)
{
    if (t->exec)
        grapnel_exec_cancel(t->exec);
    else
        connection_finish(t->server);
}

void work_free(struct task *t)
{
    if (t->question)
        t->question->task = NULL;
    t->question = NULL;
    crew_free(t->crew);
    keys_free(t);
    grapnel_exec_free(t->exec);
    grapnel_future_free(t->future);
    script_free(t);
    grapnel_instance_free(t->instance);
    t->crew = NULL;
    t->exec = NULL;
    t->future = NULL;
    t->instance = NULL;
}
