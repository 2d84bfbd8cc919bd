/* Fleets: the hosts, and the connections that are kept: struct grapnel_fleet of the public header.
 */
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/aliases.h"
#include "launcher/fleet/copies.h"
#include "launcher/fleet/fleet_impl.h"

#define BACK_OFF_MS      1000
#define BACK_OFF_MOST_MS 30000
#define MEMORY           ((size_t)256 << 20)
#define CLOSE_MS         5000

static const struct grapnel_fleet_options defaults;

static int fill(struct grapnel_fleet *f, const char *const *targets,
                const struct grapnel_fleet_options *o)
{
    size_t n = 0;

    while (targets[n])
        n++;
    f->options = *o;
    f->options.connect = NULL;
    if (o->back_off <= 0)
        f->options.back_off = BACK_OFF_MS;
    if (o->back_off_most <= 0)
        f->options.back_off_most = BACK_OFF_MOST_MS;
    if (!o->memory)
        f->options.memory = MEMORY;
    if (copies_connect(&f->connect, o->connect) < 0)
        return -E_NOMEM;
    f->aliases = o->aliases ? NULL : aliases_new(n);
    if (!o->aliases && !f->aliases)
        return -E_NOMEM;
    f->connect.phase = NULL;
    f->connect.one_shot = !o->keep;
    f->hosts = calloc(n + 1, sizeof *f->hosts);
    while (f->hosts && f->count < n) {
        if ((f->hosts[f->count].name = strdup(targets[f->count])) == NULL)
            return -E_NOMEM;
        f->count++;
    }
    return f->hosts ? 0 : -E_NOMEM;
}

struct grapnel_fleet *grapnel_fleet_new(struct grapnel *g, const char *const *targets,
                                        const struct grapnel_fleet_options *options,
                                        struct grapnel_error *error)
{
    struct grapnel_fleet *f;
    struct error e = {0};

    if (job_lacks(g, "context", error) || job_lacks(targets, "list of targets", error))
        return NULL;
    f = calloc(1, sizeof *f);
    if (!f || fill(f, targets, options ? options : &defaults) < 0) {
        errors_set(&e, -E_NOMEM, "fleet");
        context_error(error, "", &e);
        grapnel_fleet_free(f);
        return NULL;
    }
    f->g = g;
    window_init(&f->window, 0);
    return f;
}

size_t grapnel_fleet_count(const struct grapnel_fleet *f)
{
    return f ? f->count : 0;
}

const char *grapnel_fleet_name(const struct grapnel_fleet *f, size_t host)
{
    return f && host < f->count ? f->hosts[host].name : NULL;
}

/* ---- the end ---- */

static int all_closed(void *arg)
{
    const struct grapnel_fleet *f = arg;

    for (size_t i = 0; i < f->count; i++) {
        if (f->hosts[i].server && connection_state(f->hosts[i].server) != GRAPNEL_GONE)
            return 0;
    }
    return 1;
}

static void cut_all(struct grapnel_fleet *f)
{
    for (size_t i = 0; i < f->count; i++) {
        grapnel_server_free(f->hosts[i].server);
        f->hosts[i].server = NULL;
    }
}

/* The first one that has not left in good order. */
static void find_failed(const struct grapnel_fleet *f, struct grapnel_error *error, struct error *e)
{
    for (size_t i = 0; i < f->count && !e->code; i++) {
        const struct grapnel_server *s = f->hosts[i].server;

        if (!s || connection_is_closed(s))
            continue;
        *e = *connection_error(s);
        if (!e->code)
            errors_set(e, -E_TIMEOUT, "the agent does not leave: the line was cut");
        context_error(error, f->hosts[i].name, e);
    }
}

int grapnel_fleet_close(struct grapnel_fleet *f, int64_t timeout, struct grapnel_error *error)
{
    struct error e = {0};

    if (job_lacks(f, "fleet", error))
        return -E_ARGUMENT;
    context_lock(f->g);
    if (f->job || context_in_callback(f->g)) {
        errors_set(&e, -E_ARGUMENT,
                   "closing waits, and so is not for callbacks or while a job runs");
        context_error(error, "", &e);
    } else {
        for (size_t i = 0; i < f->count; i++) {
            if (f->hosts[i].server)
                connection_finish(f->hosts[i].server);
        }
        context_wait(f->g, all_closed, f, context_deadline(timeout > 0 ? timeout : CLOSE_MS));
        find_failed(f, error, &e);
        cut_all(f);
    }
    context_unlock(f->g);
    return e.code;
}

void grapnel_fleet_free(struct grapnel_fleet *f)
{
    if (!f)
        return;
    if (f->g) {
        context_lock(f->g);
        cut_all(f);
        context_unlock(f->g);
    }
    for (size_t i = 0; i < f->count; i++)
        free(f->hosts[i].name);
    free(f->hosts);
    aliases_free(f->aliases);
    copies_clear_connect(&f->connect);
    free(f);
}
