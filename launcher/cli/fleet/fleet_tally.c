#include "launcher/cli/fleet/fleet_tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_pick.h"
#include "launcher/cli/leave.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"
#include "launcher/cli/verdict.h"

#define CODE_FAILED 1 /* exit status: code on the host threw an error */
#define NO_ROOM                                                                                    \
    "free some space where it goes to (to be shown together: in TMPDIR, or /tmp), bound it with "  \
    "--max-output, or have it written elsewhere with --outdir"

/* Hosts that failed for the same reason. */
struct cause {
    const char *phase, *text, *hint; /* static */
    char *detail;                    /* of the first … */
    int differ;                      /* … and others have another one */
    int exit_status;
    size_t *hosts;
    size_t count;
};

struct part {
    int exit_status;
    unsigned char ended, failed, skipped, alias, stopped, confirmed;
    struct grapnel_error *error; /* NULL: none, or a status alone */
    int64_t phase_us[GRAPNEL_FLEET_PHASES];
};

struct fleet_tally {
    const char *const *names, *late;
    size_t count;
    struct part *parts;
    int exit_status;
};

struct fleet_tally *fleet_tally_new(const char *const *names, size_t count, const char *late)
{
    struct fleet_tally *t = calloc(1, sizeof *t);

    if (!t || (t->parts = calloc(count + 1, sizeof *t->parts)) == NULL) {
        free(t);
        return NULL;
    }
    t->names = names;
    t->late = late;
    t->count = count;
    return t;
}

void fleet_tally_free(struct fleet_tally *t)
{
    for (size_t i = 0; t && i < t->count; i++)
        free(t->parts[i].error);
    if (t)
        free(t->parts);
    free(t);
}

/* ---- one host ---- */

/* Each host's may be another one; -v and --json have it.  Returns where it begins; NULL: there is
 * none. */
static const char *cut_traceback(char *detail)
{
    static const char mark[] = "; remote traceback: ";
    char *at = strstr(detail, mark);

    if (!at)
        return NULL;
    *at = '\0';
    return at + strlen(mark);
}

/* Where it is not the usual one.  An output limit of the command's own has a status. */
static void name_way_out(struct grapnel_error *error)
{
    size_t n = strlen(error->detail);

    if (!strcmp(error->name, "OUTPUT_LIMIT")) {
        error->text = "there was more output than can be kept here";
        error->hint = "have it written to files with --outdir, or bound it with -f or --max-output";
    } else if (!strcmp(error->name, "NOT_HELD")) {
        error->hint = "grapnel connect with the same --instance makes it";
        n = 0; /* which one it is, is known */
    } else if (strstr(error->detail, "earlier: ")) {
        error->hint = "grapnel connect with the same --instance makes a new one";
    } else {
        return;
    }
    snprintf(error->detail + n, sizeof error->detail - n, "%s%s", n ? "; " : "", error->hint);
}

/* As of one host: it is no command. */
static void name_late(struct grapnel_error *error, const char *late)
{
    error->name = "TIMEOUT";
    error->phase = "remote code";
    error->text = late;
}

/* The exit status; *error is filled when there is more to say. */
static int judge(const struct fleet_tally *t, const struct grapnel_fleet_result *r, int write_error,
                 struct grapnel_error *error)
{
    *error = (struct grapnel_error){.phase = "", .text = "", .hint = ""};
    if (r->alias)
        return 0;
    if (write_error) {
        snprintf(error->detail, sizeof error->detail, "%s", strerror(write_error));
        return verdict_say(error, "IO", "local", "its output could not be written", NO_ROOM);
    }
    if (r->error) {
        *error = *r->error;
        if (!strcmp(error->name, "REMOTE")) {
            cut_traceback(error->detail);
            error->hint = "-v shows where on each host";
            return CODE_FAILED;
        }
        name_way_out(error);
        if (t->late && !strcmp(error->name, "EXEC_TIMEOUT"))
            name_late(error, t->late);
        if (!strcmp(error->name, "CPU_LIMIT") && r->status)
            return leave_status(r->status->signal_number);
        return error->exit_status ? error->exit_status : SAY_FAILED;
    }
    return r->status ? verdict_of(r->status, error) : 0;
}

/* We have ended what ran there, or have tried to. */
static int is_stop(const struct grapnel_error *error)
{
    static const char *const stops[] = {"CANCELLED", "TIMEOUT", "EXEC_TIMEOUT", "OUTPUT_LIMIT"};

    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        if (error->name && !strcmp(error->name, stops[i]))
            return 1;
    }
    return 0;
}

int fleet_tally_add(struct fleet_tally *t, const struct grapnel_fleet_result *r, int write_error)
{
    struct part *p = &t->parts[r->host];
    struct grapnel_error error;

    p->exit_status = judge(t, r, write_error, &error);
    p->ended = 1;
    p->alias = r->alias != 0;
    p->failed = p->exit_status != 0;
    p->skipped = !r->alias && r->failed && r->began <= 0;
    p->stopped = r->begun && (is_stop(&error) || (r->error && is_stop(r->error)));
    p->confirmed = r->confirmed != 0;
    memcpy(p->phase_us, r->phase_us, sizeof p->phase_us);
    if (error.code && (p->error = malloc(sizeof error)) != NULL)
        *p->error = error;
    if (p->exit_status > t->exit_status)
        t->exit_status = p->exit_status;
    return p->exit_status;
}

static json_t *json_error(const struct grapnel_error *error, const struct grapnel_fleet_result *r)
{
    json_t *object = say_json_error(error);
    struct grapnel_error whole;
    const char *traceback;

    if (object && r->error && !strcmp(error->name, "REMOTE")) {
        whole = *r->error;
        traceback = cut_traceback(whole.detail);
        if (traceback)
            json_object_set_new(object, "traceback", say_json_text(traceback));
    }
    return object;
}

json_t *fleet_tally_json(const struct fleet_tally *t, const struct grapnel_fleet_result *r)
{
    const struct part *p = &t->parts[r->host];
    json_t *phases = json_object();
    json_t *object =
        json_pack("{s:o, s:i, s:b, s:b, s:i, s:o}", "host", say_json_text(t->names[r->host]),
                  "exit", p->exit_status, "failed", p->failed, "begun", r->begun, "attempts",
                  r->attempts, "phase_us", phases);

    if (!object)
        return NULL;
    for (int i = 0; i < GRAPNEL_FLEET_PHASES; i++) {
        if (r->phase_us[i] >= 0)
            json_object_set_new(phases, grapnel_fleet_phase_name(i), json_integer(r->phase_us[i]));
    }
    if (r->alias)
        json_object_set_new(object, "same_as", say_json_text(t->names[r->same]));
    if (r->status)
        verdict_json(object, r->status);
    if (p->stopped)
        json_object_set_new(object, "confirmed", json_boolean(p->confirmed));
    if (p->error)
        json_object_set_new(object, "error", json_error(p->error, r));
    return object;
}

/* ---- all of them ---- */

int fleet_tally_exit(const struct fleet_tally *t)
{
    return t->exit_status;
}

int fleet_tally_uneven(const struct fleet_tally *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->parts[i].failed || t->parts[i].alias)
            return 1;
    }
    return 0;
}

/* Hosts of one kind, in order, for free. */
static size_t *select_hosts(const struct fleet_tally *t, int (*fits)(const struct part *p),
                            size_t *n)
{
    size_t *hosts = malloc((t->count + 1) * sizeof *hosts);

    *n = 0;
    for (size_t i = 0; hosts && i < t->count; i++) {
        if (fits(&t->parts[i]))
            hosts[(*n)++] = i;
    }
    return hosts;
}

static int is_failed(const struct part *p)
{
    return p->failed || !p->ended;
}

static int is_alias(const struct part *p)
{
    return p->alias;
}

static int is_confirmed(const struct part *p)
{
    return p->stopped && p->confirmed;
}

static int is_unconfirmed(const struct part *p)
{
    return p->stopped && !p->confirmed;
}

size_t *fleet_tally_failed(const struct fleet_tally *t, size_t *n)
{
    return select_hosts(t, is_failed, n);
}

static int same_cause(const struct cause *c, const struct part *p)
{
    if (!p->error)
        return !c->text && c->exit_status == p->exit_status;
    return c->text && !strcmp(c->text, p->error->text) && !strcmp(c->phase, p->error->phase);
}

/* Into the cause that is the same, or a new one at the end; there is room for that. */
static int sort_in(struct cause *causes, size_t *count, const struct fleet_tally *t, size_t host)
{
    const struct part *p = &t->parts[host];
    struct cause *c = causes;

    while (c < causes + *count && !same_cause(c, p))
        c++;
    if (c == causes + *count) {
        *c = (struct cause){.exit_status = p->exit_status};
        if (p->error) {
            c->phase = p->error->phase;
            c->text = p->error->text;
            c->hint = p->error->hint;
            c->detail = p->error->detail;
        }
        c->hosts = malloc(t->count * sizeof *c->hosts);
        if (!c->hosts)
            return -1;
        ++*count;
    }
    c->differ |= c->detail && p->error && strcmp(c->detail, p->error->detail) != 0;
    c->hosts[c->count++] = host;
    return 0;
}

static void say_cause(const struct fleet_tally *t, struct fleet_flow *flow, const struct cause *c)
{
    char *folded = fleet_pick_fold(t->names, c->hosts, c->count);
    const char *names = folded ? folded : "?";

    if (!c->text && c->exit_status > 128)
        fleet_flow_note(flow, "ended by signal %d: %s (%zu)", c->exit_status - 128, names,
                        c->count);
    else if (!c->text)
        fleet_flow_note(flow, "exit status %d: %s (%zu)", c->exit_status, names, c->count);
    else
        fleet_flow_note(flow, "%s: %s%s%s%s: %s (%zu)", c->phase, c->text,
                        c->detail && *c->detail ? ": " : "", c->detail ? c->detail : "",
                        c->differ ? ", among others" : "", names, c->count);
    grapnel_string_free(folded);
}

/* Unless it is a part of the cause, or nothing. */
static void say_hint(struct fleet_flow *flow, const struct cause *c)
{
    static const char start[] = "  way out: ";

    if (!c->hint || !*c->hint || !strncmp(c->hint, "nothing", 7) ||
        (c->detail && strstr(c->detail, c->hint)))
        return;
    fleet_flow_put(flow, STDERR_FILENO, start, strlen(start));
    fleet_flow_put(flow, STDERR_FILENO, c->hint, strlen(c->hint));
    fleet_flow_put(flow, STDERR_FILENO, "\n", 1);
}

void fleet_tally_say_causes(const struct fleet_tally *t, struct fleet_flow *flow, int only_errors)
{
    size_t failed = 0, count = 0;
    size_t *hosts = fleet_tally_failed(t, &failed);
    struct cause *causes = hosts ? calloc(failed + 1, sizeof *causes) : NULL;

    for (size_t i = 0; causes && i < failed; i++) {
        if (t->parts[hosts[i]].ended && sort_in(causes, &count, t, hosts[i]) < 0)
            break;
    }
    for (size_t i = 0; i < count; i++) {
        if (causes[i].text || !only_errors)
            say_cause(t, flow, &causes[i]);
        if (!only_errors)
            say_hint(flow, &causes[i]);
        free(causes[i].hosts);
    }
    free(causes);
    free(hosts);
}

static void say_hosts(const struct fleet_tally *t, struct fleet_flow *flow, const char *what,
                      int (*fits)(const struct part *p))
{
    size_t n;
    size_t *hosts = select_hosts(t, fits, &n);
    char *folded = hosts && n ? fleet_pick_fold(t->names, hosts, n) : NULL;

    if (folded)
        fleet_flow_note(flow, "%s: %s (%zu)", what, folded, n);
    grapnel_string_free(folded);
    free(hosts);
}

void fleet_tally_say(const struct fleet_tally *t, struct fleet_flow *flow, double seconds)
{
    size_t failed = 0, skipped = 0, aliases = 0, done = 0;
    char text[200];
    int n;

    for (size_t i = 0; i < t->count; i++) {
        const struct part *p = &t->parts[i];

        skipped += p->skipped;
        aliases += p->alias;
        failed += p->failed && !p->skipped;
        done += p->ended && !p->failed && !p->alias;
    }
    n = snprintf(text, sizeof text, "%zu host%s: %zu done, %zu failed", t->count,
                 t->count == 1 ? "" : "s", done, failed);
    if (skipped)
        n += snprintf(text + n, sizeof text - (size_t)n, ", %zu not begun", skipped);
    if (aliases)
        (void)snprintf(text + n, sizeof text - (size_t)n, ", %zu other names of the same", aliases);
    fleet_flow_note(flow, "%s, in %.1f s", text, seconds);
    say_hosts(t, flow, "other names of hosts above, not run twice", is_alias);
}

void fleet_tally_say_stopped(const struct fleet_tally *t, struct fleet_flow *flow)
{
    say_hosts(t, flow, "stopped, and the host has confirmed it", is_confirmed);
    say_hosts(t, flow, "stopped, not confirmed: the host cleans up by itself", is_unconfirmed);
}

/* ---- phases ---- */

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void say_phase(const struct fleet_tally *t, struct fleet_flow *flow, int phase,
                      int64_t *times)
{
    static const int percentiles[] = {50, 90, 99};
    char text[200] = "", time[QUANTITY_TEXT];
    size_t n = 0, used = 0;

    for (size_t i = 0; i < t->count; i++) {
        if (t->parts[i].ended && !t->parts[i].alias && t->parts[i].phase_us[phase] >= 0)
            times[n++] = t->parts[i].phase_us[phase];
    }
    if (n == 0)
        return;
    qsort(times, n, sizeof *times, by_time);
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
        used += (size_t)snprintf(
            text + used, sizeof text - used, "%d%%: %s, ", percentiles[i],
            quantity_time_text(time, times[(n * (size_t)percentiles[i] + 99) / 100 - 1]));
    fleet_flow_note(flow, "%-7s  %smost: %s (%zu hosts)", grapnel_fleet_phase_name(phase), text,
                    quantity_time_text(time, times[n - 1]), n);
}

void fleet_tally_say_phases(const struct fleet_tally *t, struct fleet_flow *flow)
{
    int64_t *times = malloc((t->count + 1) * sizeof *times);

    for (int i = 0; times && i < GRAPNEL_FLEET_PHASES; i++)
        say_phase(t, flow, i, times);
    free(times);
}
