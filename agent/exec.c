#include <stdlib.h>

#include "agent/agent.h"
#include "agent/clock.h"
#include "agent/deliver.h"
#include "agent/exec_internal.h"
#include "agent/pipes.h"
#include "agent/session.h"
#include "proto/signals.h"

/* ---- starting ---- */

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
    x->next = set->first;
    set->first = x;
    exec_init(x, plan->timeout_ms);
    return x;
}

static int start(struct exec *x, const struct plan *plan, int image, struct launch *launch,
                 struct error *e)
{
    const struct exec_options *options = &x->set->options;
    int result;

    x->began = clock_now_us();
    result = launch_start(plan, image, options->umask, options->files, launch, e);
    if (result != 0) {
        return result;
    }
    x->pid = launch->keeper.leader;
    x->child = reap_watch(options->reap, &launch->keeper, options->owner, exec_exited, x);
    if (x->child == NULL) {
        return errors_set(e, -E_NOMEM, "%s", plan->argv[0]);
    }
    return 0;
}

static int open_planned(struct exec_set *set, struct stream *s, const struct plan *plan, int image,
                        struct stream *err, struct error *e)
{
    struct launch launch = {.in = -1, .out = -1, .err = -1};
    struct exec *x = make(set, s, plan);
    int result;

    if (x == NULL) {
        return errors_set(e, -E_NOMEM, "%s", plan->argv[0]);
    }
    result = start(x, plan, image, &launch, e);
    if (result != 0) {
        launch_close(&launch);
        exec_free(x);
        return result;
    }
    x->err.s = err;
    if (exec_connect(x, &launch) != 0) {
        exec_begin_end(x, "out of memory");
        x->over_limit = 1; /* both outputs end */
        exec_kick(x);
    }
    return 0;
}

int exec_open(struct session *session, struct stream *s, const struct value *args, struct error *e)
{
    struct exec_set *set = session_execs(session);
    struct stream *err = NULL;
    struct plan plan;
    int image = -1;
    int result = plan_read(args, set->options.environment, &plan, e);

    if (result != 0) {
        return result;
    }
    if (set->leaving) {
        result = errors_set(e, -E_CLOSED, "the agent is leaving");
        goto out;
    }
    if (plan.has_blob) {
        image = deliver_file(agent_blobs(session_agent(session)), plan.blob);
        if (image < 0) {
            result = errors_set(e, -E_HASH, "%s: no blob of this hash is held", plan.argv[0]);
            goto out;
        }
    }
    if (plan.stderr_id != 0) {
        err = pipes_claim(stream_link(s), plan.stderr_id);
        if (err == NULL) {
            result = errors_set(e, -E_ARGUMENT, "stderr: %lu is not a free pipe",
                                (unsigned long)plan.stderr_id);
            goto out;
        }
    }
    result = open_planned(set, s, &plan, image, err, e);
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

void exec_signal(struct session *session, struct link *l, uint32_t id, const struct value *args)
{
    struct exec_set *set = session_execs(session);
    const char *name = values_as_string(values_at(args, 1), NULL);
    struct exec *x = find(set, args);
    int number = signals_forwarded(name) ? signals_number(name) : 0;

    if (x == NULL) {
        link_fail(l, id, -E_ARGUMENT, "no such command");
    } else if (number == 0) {
        link_fail(l, id, -E_ARGUMENT, "no such signal");
    } else {
        sigaddset(&x->passed_on, number);
        reap_signal_group(set->options.reap, x->child, number);
        link_answer(l, id, NULL);
    }
}

void exec_cancel(struct session *session, struct link *l, uint32_t id, const struct value *args)
{
    struct exec *x = find(session_execs(session), args);

    if (x == NULL) {
        link_fail(l, id, -E_ARGUMENT, "no such command");
        return;
    }
    exec_begin_end(x, "cancelled");
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

size_t exec_set_count(const struct exec_set *set)
{
    size_t n = 0;

    for (const struct exec *x = set->first; x != NULL; x = x->next) {
        n++;
    }
    return n;
}

void exec_set_leave(struct exec_set *set)
{
    set->leaving = 1;
    for (struct exec *x = set->first; x != NULL; x = x->next) {
        if (x->reason == NULL) {
            x->reason = "cancelled";
        }
    }
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
