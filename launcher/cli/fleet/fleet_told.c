/* What the library tells while many hosts are at work. */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_impl.h"
#include "launcher/cli/fleet/fleet_words.h"
#include "launcher/cli/say.h"

void fleet_told_wake(struct fleet *x)
{
    grapnel_stop(x->g);
}

static void on_began(void *arg, size_t host)
{
    struct fleet *x = arg;

    x->states[host] = AT_WORK;
}

/* All is taken; but while much is on its way out, a host whose lines are shown as they come is told
 * so later. */
static size_t on_output(void *arg, size_t host, int which, const uint8_t *bytes, size_t n)
{
    struct fleet *x = arg;
    struct owed *owed = &x->owed[host];

    /* What code prints is beside the value. */
    if (x->kind->text)
        which = STDERR_FILENO;
    if (fleet_show_output(x->show, host, which, bytes, n) < 0)
        grapnel_fleet_stop(x->job, host); /* for nobody */
    if (fleet_show_gathers(x->show))
        return n;
    fleet_told_wake(x);
    if (fleet_flow_pending(x->flow) < FLEET_FLOW_HIGH)
        return n;
    owed->bytes[which - 1] += n;
    if (!owed->listed)
        x->owing[x->owing_count++] = host;
    owed->listed = 1;
    return 0;
}

void fleet_told_settle(struct fleet *x)
{
    if (x->owing_count == 0 || fleet_flow_pending(x->flow) >= FLEET_FLOW_HIGH / 2)
        return;
    for (size_t i = 0; i < x->owing_count; i++) {
        struct owed *owed = &x->owed[x->owing[i]];

        for (int which = 1; which <= 2; which++) {
            if (owed->bytes[which - 1])
                grapnel_fleet_consumed(x->job, x->owing[i], which, owed->bytes[which - 1]);
        }
        *owed = (struct owed){.listed = 0};
    }
    x->owing_count = 0;
}

/* What a value is as text, for free. */
static char *text_of(const struct fleet *x, const struct grapnel_fleet_result *r, size_t *n)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, n);

    if (f)
        x->kind->text(f, x->o, r);
    if (f && fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}

/* A value is shown as if it were output, beside the error output that what was printed is. */
static void put_value(const struct fleet *x, const struct grapnel_fleet_result *r)
{
    size_t n = 0;
    char *text = text_of(x, r, &n);

    if (!text)
        fleet_flow_fail(x->flow, ENOMEM);
    else
        fleet_show_output(x->show, r->host, STDOUT_FILENO, text, n);
    free(text);
}

static json_t *json_of(const struct fleet *x, const struct grapnel_fleet_result *r)
{
    json_t *object = fleet_tally_json(x->tally, r);

    if (object && r->value && x->kind->json)
        x->kind->json(object, r);
    return object;
}

static int is_finished(const struct grapnel_fleet_result *r)
{
    if (r->status)
        return !r->status->reason || strcmp(r->status->reason, "cancelled") != 0;
    return r->value || (r->error && !strcmp(r->error->name, "REMOTE"));
}

static void note_in_journal(struct fleet *x, const struct grapnel_fleet_result *r)
{
    json_t *object = fleet_tally_json(x->tally, r);

    if (object)
        json_object_set_new(object, "finished", json_boolean(is_finished(r)));
    fleet_journal_add(x->journal, object);
}

static void on_ended(void *arg, const struct grapnel_fleet_result *r)
{
    struct fleet *x = arg;
    const struct options *o = x->o;

    x->states[r->host] = ENDED;
    fleet_told_wake(x);
    if (x->kind->ended)
        x->kind->ended(x->kind->arg, r);
    if (x->kind->text && r->value && !o->json)
        put_value(x, r);
    fleet_tally_add(x->tally, r, fleet_show_error(x->show, r->host));
    fleet_show_ended(x->show, r, o->json ? json_of(x, r) : NULL, x->kind->text != NULL);
    if (x->journal)
        note_in_journal(x, r);
    if (o->verbose && r->error)
        fleet_flow_note(x->flow, "%s: %s: %s: %s", x->pick.names[r->host], r->error->phase,
                        r->error->text, r->error->detail);
}

static void on_over(void *arg)
{
    struct fleet *x = arg;

    x->over = 1;
    fleet_told_wake(x);
}

/* ---- words ---- */

/* Of the inventory; "%u" is the user that the route leads to. */
struct asking {
    struct fleet *x;
    const char *name;
    struct grapnel_value *route;
    struct grapnel_error error; /* the inventory cannot be read */
};

static const char *value_of(void *arg, const char *key)
{
    struct asking *a = arg;
    struct grapnel_connect_options connect = reach_options(a->x->o);
    const struct passwd *us;
    const char *user;

    if (strcmp(key, "%u") != 0)
        return grapnel_targets_value(a->x->pick.targets, a->name, key, &a->error);
    if (!a->route)
        a->route = grapnel_route(a->x->g, a->name, &connect, NULL);
    user = grapnel_value_string(grapnel_value_get(a->route, "user"), NULL);
    if (user || !a->route)
        return user;
    us = getpwuid(geteuid()); /* it is this machine, or a command's affair */
    return us ? us->pw_name : NULL;
}

void fleet_told_clear(struct fleet *x)
{
    for (size_t i = 0; x->words && x->words[i]; i++)
        free(x->words[i]);
    free(x->words);
    x->words = NULL;
}

/* 0, or -1 with why[] filled.  user: as of struct fleet_words_host. */
static int make_words(struct fleet *x, size_t host, const char *user, char *why, size_t why_size)
{
    const struct options *o = x->o;
    struct asking a = {.x = x, .name = x->pick.names[host]};
    struct fleet_words_host about = {
        .name = a.name, .number = host + 1, .user = user, .value = value_of, .arg = &a};
    int rc = 0;

    fleet_told_clear(x);
    x->words = calloc(o->word_count + 1, sizeof *x->words);
    snprintf(why, why_size, "out of memory");
    for (size_t i = 0; x->words && i < o->word_count && rc == 0; i++) {
        x->words[i] = fleet_words(o->words[i], &about, o->word_count == 1, why, why_size);
        rc = x->words[i] ? 0 : -1;
    }
    if (rc < 0 && a.error.code != 0)
        snprintf(why, why_size, "%.500s", a.error.detail);
    grapnel_value_free(a.route);
    return x->words ? rc : -1;
}

int fleet_told_check(struct fleet *x, struct grapnel_error *error)
{
    char why[600];

    for (size_t i = 0; x->o->substitute && i < x->pick.count; i++) {
        if (make_words(x, i, "user", why, sizeof why) < 0)
            return say_fail(error, "ARGUMENT", "%s", why);
    }
    return 0;
}

const char *const *fleet_told_words(void *fleet, size_t host, char *why, size_t why_size)
{
    struct fleet *x = fleet;

    return make_words(x, host, NULL, why, why_size) < 0 ? NULL : (const char *const *)x->words;
}

static int on_prepare(void *arg, size_t host, struct grapnel_exec_options *command)
{
    struct fleet *x = arg;
    char why[600];

    if (make_words(x, host, NULL, why, sizeof why) < 0) {
        fleet_flow_note(x->flow, "%s", why);
        return -1;
    }
    command->line = x->o->word_count == 1 ? x->words[0] : NULL;
    command->argv = x->o->word_count == 1 ? NULL : (const char *const *)x->words;
    return 0;
}

struct grapnel_fleet_handler fleet_told_handler(const struct fleet *x)
{
    return (struct grapnel_fleet_handler){
        .began = on_began,
        .output = on_output,
        .ended = on_ended,
        .done = on_over,
        .prepare = x->kind->commands && x->o->substitute ? on_prepare : NULL,
    };
}
