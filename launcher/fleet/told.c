/* What is told of a host's part in a job. */
#include <stdlib.h>

#include "launcher/fleet/fleet_impl.h"

const char *grapnel_fleet_phase_name(int phase)
{
    static const char *const names[GRAPNEL_FLEET_PHASES] = {"resolve", "connect", "kex",
                                                            "auth",    "deploy",  "exec"};

    return phase >= 0 && phase < GRAPNEL_FLEET_PHASES ? names[phase] : "unknown";
}

/* How far it has come; `none` when it was not begun. */
static const char *phase_now(const struct task *t, const char *none)
{
    for (int i = GRAPNEL_FLEET_PHASES - 1; i >= 0; i--) {
        if (t->phase_us[i])
            return grapnel_fleet_phase_name(i);
    }
    return none;
}

void told_fail(struct task *t, const struct error *e)
{
    if (t->error || (t->error = malloc(sizeof *t->error)) == NULL)
        return; /* the first one counts */
    context_error(t->error, t->job->f->hosts[t->host].name, e);
    if (e->code == -E_CANCELLED || e->code == -E_TIMEOUT)
        t->error->phase = phase_now(t, t->error->phase);
}

/* A phase lasts until the next one that there was. */
static void fill_phases(struct task *t)
{
    uint64_t end = t->ended_us ? t->ended_us : context_now() - t->opened_us;

    for (int i = GRAPNEL_FLEET_PHASES - 1; i >= 0; i--) {
        uint64_t begin = t->phase_us[i];

        t->result.phase_us[i] = begin ? (int64_t)(end > begin ? end - begin : 0) : -1;
        end = begin ? begin : end;
    }
}

/* NULL when nothing was gathered, or memory is out for the last byte. */
static const char *terminated(struct wire_buf *b)
{
    return wire_put_u8(b, 0) == 0 ? (const char *)wire_data(b) : NULL;
}

static void fill_output(struct task *t)
{
    struct grapnel_fleet_result *r = &t->result;

    if (t->job->kind == JOB_PING || t->job->kind == JOB_FACTS || t->job->kind == JOB_KEYS ||
        t->job->handler.output || r->began <= 0. || r->alias)
        return;
    r->out_length = wire_length(&t->out);
    r->err_length = wire_length(&t->err);
    r->out = terminated(&t->out);
    r->err = terminated(&t->err);
}

void told_fill(struct task *t)
{
    static struct grapnel_error no_memory = {
        .name = "NOMEM", .phase = "local", .text = "out of memory", .hint = ""};
    struct grapnel_fleet_result *r = &t->result;

    if (t->job->kind == JOB_MAP && !r->alias)
        t->value = values_int((int64_t)t->did);
    r->status = t->has_status ? &t->status : NULL;
    r->results = (const struct grapnel_value *)t->results;
    r->value = t->value ? (const struct grapnel_value *)t->value : grapnel_value_at(r->results, 0);
    r->error = t->error;
    if (!r->error && !r->status && !r->value && !r->alias)
        r->error = &no_memory;
    r->failed =
        r->error ||
        (r->status && (!r->status->exited || r->status->exit_status != 0 || r->status->reason));
    if (r->alias)
        r->attempts = 0;
    r->confirmed |= !r->begun || t->has_status || (t->work_over && !t->stopped);
    r->ended = grapnel_now();
    fill_phases(t);
    fill_output(t);
}

void told_clear(struct task *t)
{
    size_t *kept = &t->job->kept_bytes;
    size_t mine = t->kept < *kept ? t->kept : *kept;

    *kept -= mine;
    t->kept = 0;
    wire_free(&t->out);
    wire_free(&t->err);
    values_free(t->value);
    values_free(t->results);
    t->value = t->results = NULL;
    free(t->error);
    t->error = NULL;
}
