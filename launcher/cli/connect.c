#include "launcher/cli/connect.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_pick.h"
#include "launcher/cli/leave.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"

struct connecting {
    const struct options *o;
    const char *const *targets;
    struct leave leave;
    int failed;
};

/* As it was installed, not as somebody may call something else by now. */
static int own_path(char *path, struct grapnel_error *error)
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

    if (n <= 0)
        return say_fail(error, "SYSTEM", "where grapnel itself lies is not known");
    path[n] = '\0';
    return 0;
}

static int print(const struct options *o, const char *target, const char *text,
                 struct grapnel_error *error)
{
    json_t *held = json_loads(text, 0, NULL);
    const char *ended = json_string_value(json_object_get(held, "ended"));
    int rc;

    if (!json_is_object(held)) {
        rc = say_fail(error, "MALFORMED", "%s: the broker's answer makes no sense", target);
    } else if (o->json) {
        json_object_set_new(held, "host", say_json_text(target));
        return say_json(held, error) < 0 ? -1 : say_flush(error);
    } else {
        say_text(stdout, json_string_value(json_object_get(held, "name")));
        putchar('\n');
        rc = say_flush(error);
        if (ended && !o->quiet)
            say_note("%s: the instance had ended: %s; there is a new one, which is empty", target,
                     ended);
    }
    json_decref(held);
    return rc;
}

static void on_each(void *arg, size_t i, const char *text, const struct grapnel_error *failed)
{
    struct connecting *c = arg;
    const char *target = c->targets[i];
    struct grapnel_error error;

    if (text && print(c->o, target, text, &error) == 0)
        return;
    c->failed = 1;
    if (failed)
        error = *failed;
    if (leave_number(&c->leave))
        leave_error(&error, target, leave_number(&c->leave));
    if (c->o->json)
        say_json(
            json_pack("{s:o, s:o}", "host", say_json_text(target), "error", say_json_error(&error)),
            &error);
    else if (!leave_number(&c->leave))
        say_error(&error);
}

static int hold(struct connecting *c, struct grapnel *g, struct grapnel_error *error)
{
    struct grapnel_connect_options connect = reach_options(c->o);
    struct grapnel_instance_options worker = reach_instance(c->o);
    struct grapnel_hold_options options = {.connect = &connect,
                                           .instance = c->o->instance,
                                           .worker = &worker,
                                           .keep = c->o->keep,
                                           .each = on_each,
                                           .arg = c};
    char path[PATH_MAX];
    const char *const start[] = {path, "__broker", NULL};
    struct grapnel_broker *b;
    int rc;

    if (own_path(path, error) < 0)
        return -1;
    b = grapnel_broker_open(g, start, error);
    rc = b ? grapnel_broker_hold(b, c->targets, &options, error) : -1;
    grapnel_broker_free(b);
    return rc;
}

int connect_verb(const struct options *o)
{
    struct connecting c = {.o = o, .targets = o->words};
    struct reach_trace trace = {.o = o};
    struct fleet_pick pick = {0};
    struct grapnel_error error;
    struct grapnel *g = NULL;
    int rc = 0, number;

    if (o->many && (rc = fleet_pick(&pick, o, &error)) == 0)
        c.targets = pick.names;
    if (rc == 0)
        rc = (g = reach_context(&trace, 0, &error)) ? 0 : -1;
    if (rc == 0 && leave_begin(&c.leave, g, -1) < 0)
        rc = say_fail(&error, "SYSTEM", "signals cannot be caught");
    if (rc == 0)
        rc = hold(&c, g, &error);
    number = g ? leave_number(&c.leave) : 0;
    if (number)
        leave_now(leave_status(number));
    if (rc < 0)
        say_error(&error);
    grapnel_free(g);
    fleet_pick_clear(&pick);
    return rc < 0 || c.failed ? SAY_FAILED : 0;
}
