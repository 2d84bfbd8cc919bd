#include "launcher/cli/facts.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/cli/each.h"
#include "launcher/cli/fleet/fleet.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"

#define ASK_MS 30000

static void print_value(FILE *f, const char *key, const json_t *value)
{
    char size[QUANTITY_TEXT];
    char *text;

    if (json_is_string(value)) {
        say_text(f, json_string_value(value));
    } else if (json_is_integer(value) && !strcmp(key, "memory")) {
        fprintf(f, "%" JSON_INTEGER_FORMAT " (%s)", json_integer_value(value),
                quantity_size_text(size, json_integer_value(value)));
    } else {
        text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        say_text(f, text ? text : "?");
        free(text);
    }
    fputc('\n', f);
}

static void print_lines(FILE *f, json_t *facts)
{
    const char *key;
    json_t *value;
    int width = 0;

    json_object_foreach(facts, key, value)
    {
        if ((int)strlen(key) > width)
            width = (int)strlen(key);
    }
    json_object_foreach(facts, key, value)
    {
        char safe[256];

        fprintf(f, "%-*s  ", width, say_safe(safe, sizeof safe, key));
        print_value(f, key, value);
    }
}

static int print_facts(const struct options *o, const char *target, const char *text,
                       struct grapnel_error *error)
{
    json_t *facts = json_loads(text, 0, NULL);
    int rc = 0;

    if (!json_is_object(facts))
        rc = say_fail(error, "MALFORMED", "%s: the host's facts make no sense", target);
    else if (o->json)
        rc =
            say_json(json_pack("{s:o, s:O}", "host", say_json_text(target), "facts", facts), error);
    else
        print_lines(stdout, facts);
    json_decref(facts);
    return rc ? rc : say_flush(error);
}

static int show(const struct options *o, const char *target, struct grapnel_server *s,
                struct grapnel_error *error)
{
    char *text = grapnel_facts_json(s, 0, ASK_MS, error);
    int rc = text ? print_facts(o, target, text, error) : -1;

    grapnel_string_free(text);
    return rc;
}

/* ---- many hosts ---- */

static json_t *facts_of(const struct grapnel_value *value)
{
    char *text = grapnel_value_json(value);
    json_t *facts = text ? json_loads(text, 0, NULL) : NULL;

    grapnel_string_free(text);
    return facts;
}

/* Where hosts are compared it is without what is never the same. */
static void text_of_many(FILE *f, const struct options *o, const struct grapnel_fleet_result *r)
{
    json_t *facts = facts_of(r->value);

    if (o->group || o->diff) {
        json_object_del(facts, "hostname");
        json_object_del(facts, "pid");
    }
    print_lines(f, facts);
    json_decref(facts);
}

static void json_of_many(json_t *object, const struct grapnel_fleet_result *r)
{
    json_object_set_new(object, "facts", facts_of(r->value));
}

static struct grapnel_fleet_job *start_many(const struct fleet_kind *kind, const struct options *o,
                                            struct grapnel_fleet *f,
                                            const struct grapnel_fleet_handler *handler, void *arg,
                                            struct grapnel_error *error)
{
    (void)kind;
    (void)o;
    return grapnel_fleet_facts(f, handler, arg, error);
}

int facts_verb(const struct options *o)
{
    static const struct each_job job = {.one_shot = 1, .show = show};
    static const struct fleet_kind many = {
        .start = start_many, .text = text_of_many, .json = json_of_many};

    if (o->many)
        return fleet_verb(o, &many);
    return each_target(o, &job);
}
