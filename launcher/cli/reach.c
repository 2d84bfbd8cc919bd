#include "launcher/cli/reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/say.h"

#define TRACE_LINE 4096

static struct reach_phase *append(struct reach *d)
{
    size_t i = atomic_load(&d->count);

    return i < REACH_PHASES ? &d->phases[i] : NULL;
}

static struct reach_phase *last(struct reach *d)
{
    size_t i = atomic_load(&d->count);

    return i > 0 ? &d->phases[i - 1] : NULL;
}

static void remark(struct reach *d, const char *text)
{
    struct reach_phase *p = append(d);

    if (!p)
        return;
    p->name = NULL;
    p->at_us = 0;
    say_safe(p->note, sizeof p->note, text);
    atomic_fetch_add(&d->count, 1);
}

static void trace(void *arg, int level, const char *host, const char *text)
{
    const struct reach_trace *t = arg;
    char line[TRACE_LINE];

    if (t->record && level <= 1)
        remark(t->record, text);
    if (t->o->quiet || level > t->o->verbose)
        return;
    snprintf(line, sizeof line, "%s%s%s", host ? host : "", host && *host ? ": " : "", text);
    if (t->note)
        t->note(t->note_arg, line);
    else
        say_note("%s", line);
}

struct grapnel *reach_context(struct reach_trace *t, int driven, struct grapnel_error *error)
{
    struct grapnel_options options = {
        .verbose = t->o->verbose > 3 ? 3 : t->o->verbose,
        .trace = trace,
        .trace_arg = t,
        .driven = driven,
    };

    if (t->record && options.verbose < 1)
        options.verbose = 1;
    return grapnel_new(&options, error);
}

/* A phase is traced, too: that is not worth a remark. */
static void drop_echo(struct reach *d, const char *name, const char *note)
{
    struct reach_phase *p = last(d);
    char echo[2 * sizeof p->note], cut[sizeof p->note];

    snprintf(echo, sizeof echo, "%s: %s", name, note);
    if (p && !p->name && !strcmp(p->note, say_safe(cut, sizeof cut, echo)))
        atomic_fetch_sub(&d->count, 1);
}

static void phase(void *arg, const char *name, const char *note, int64_t elapsed_us)
{
    struct reach *d = arg;
    struct reach_phase *p;
    char safe[sizeof p->note];

    say_safe(safe, sizeof safe, note ? note : "");
    drop_echo(d, name, safe);
    p = reach_last(d) >= 0 ? &d->phases[reach_last(d)] : NULL;
    /* What was chosen is often told only when it is known, after the phase has begun. */
    if (!p || *p->note || strcmp(p->name, name) != 0) {
        p = append(d);
        if (p) {
            p->name = name;
            p->at_us = elapsed_us;
            p->note[0] = '\0';
            atomic_fetch_add(&d->count, 1);
        }
    }
    if (p)
        memcpy(p->note, safe, sizeof safe);
    if (!strcmp(name, "ready"))
        atomic_store(&d->ready, 1);
}

struct grapnel_connect_options reach_options(const struct options *o)
{
    return (struct grapnel_connect_options){
        .config_file = o->config_file,
        .ssh_options = o->ssh_options.items,
        .late_options = o->ssh_options.count - o->early_options,
        .transport = o->transport,
        .sudo_user = o->sudo_user,
        .connect_timeout = o->connect_timeout,
        .lease = o->lease,
        .cache_agent = o->cache_agent,
        .interactive = 1,
        .broker = !o->no_broker && options_fits(options_by_name("no-broker", 9), o->verb)
                      ? (o->instance ? 2 : 1)
                      : 0,
    };
}

struct grapnel_instance_options reach_instance(const struct options *o)
{
    return (struct grapnel_instance_options){
        .memory = o->memory,
        .cpu_seconds = (o->cpu + 999) / 1000,
        .cwd = o->cwd,
        .env = o->env.items,
        .unset = o->unset.items,
    };
}

struct grapnel_server *reach_open(struct reach *d, struct grapnel *g, const struct options *o,
                                  const char *target, int one_shot, struct grapnel_error *error)
{
    struct grapnel_connect_options options = reach_options(o);

    options.one_shot = one_shot;
    options.phase = phase;
    options.phase_arg = d;
    atomic_init(&d->count, 0);
    atomic_init(&d->ready, 0);
    return grapnel_open(g, target, &options, error);
}

int64_t reach_phase_us(const struct reach *d, size_t i)
{
    for (size_t next = i + 1; next < atomic_load(&d->count); next++) {
        if (d->phases[next].name)
            return d->phases[next].at_us - d->phases[i].at_us;
    }
    return 0;
}

int reach_last(const struct reach *d)
{
    int i = (int)atomic_load(&d->count) - 1;

    while (i >= 0 && !d->phases[i].name)
        i--;
    return i;
}

json_t *reach_json(const struct reach *d)
{
    json_t *array = json_array();

    for (size_t i = 0; i < atomic_load(&d->count); i++) {
        const struct reach_phase *p = &d->phases[i];
        json_t *item;

        if (!p->name)
            continue; /* a remark */
        item = json_pack("{s:s, s:o, s:I}", "phase", p->name, "note", say_json_text(p->note),
                         "at_us", (json_int_t)p->at_us);
        if (json_array_append_new(array, item) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}
