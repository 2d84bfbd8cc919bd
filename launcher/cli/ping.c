#include "launcher/cli/ping.h"

#include <string.h>

#include "launcher/cli/each.h"
#include "launcher/cli/fleet/fleet.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"

#define ANSWER_MS 30000

static int show(const struct options *o, const char *target, struct grapnel_server *s,
                struct grapnel_error *error)
{
    struct grapnel_server_info info;
    char text[QUANTITY_TEXT];
    int64_t us = 0;
    int held;

    if (grapnel_ping(s, ANSWER_MS, &us, error) < 0)
        return -1;
    grapnel_server_info(s, &info);
    held = !strcmp(info.transport, "broker");
    if (o->json)
        return say_json(json_pack("{s:o, s:I, s:b}", "host", say_json_text(target), "round_trip_us",
                                  (json_int_t)us, "held", held),
                        error) < 0
                   ? -1
                   : say_flush(error);
    say_text(stdout, target);
    printf(": %s%s\n", quantity_time_text(text, us), held ? ", held" : "");
    return say_flush(error);
}

/* ---- many hosts ---- */

static void text_of_many(FILE *f, const struct options *o, const struct grapnel_fleet_result *r)
{
    char text[QUANTITY_TEXT];

    (void)o;
    fprintf(f, "%s\n", quantity_time_text(text, grapnel_value_int(r->value, 0)));
}

static void json_of_many(json_t *object, const struct grapnel_fleet_result *r)
{
    json_object_set_new(object, "round_trip_us", json_integer(grapnel_value_int(r->value, 0)));
}

static struct grapnel_fleet_job *start_many(const struct fleet_kind *kind, const struct options *o,
                                            struct grapnel_fleet *f,
                                            const struct grapnel_fleet_handler *handler, void *arg,
                                            struct grapnel_error *error)
{
    (void)kind;
    (void)o;
    return grapnel_fleet_ping(f, handler, arg, error);
}

int ping_verb(const struct options *o)
{
    static const struct each_job job = {.show = show};
    static const struct fleet_kind many = {
        .start = start_many, .text = text_of_many, .json = json_of_many};

    if (o->many)
        return fleet_verb(o, &many);
    return each_target(o, &job);
}
