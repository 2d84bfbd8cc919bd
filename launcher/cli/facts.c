#include "launcher/cli/facts.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/cli/each.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"

#define ASK_MS 30000

static void print_value(const char *key, const json_t *value)
{
    char size[QUANTITY_TEXT];
    char *text;

    if (json_is_string(value)) {
        say_text(stdout, json_string_value(value));
    } else if (json_is_integer(value) && !strcmp(key, "memory")) {
        printf("%" JSON_INTEGER_FORMAT " (%s)", json_integer_value(value),
               quantity_size_text(size, json_integer_value(value)));
    } else {
        text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        say_text(stdout, text ? text : "?");
        free(text);
    }
    putchar('\n');
}

static void print_lines(const struct options *o, const char *target, json_t *facts)
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

        if (o->word_count > 1) {
            say_text(stdout, target);
            fputs(": ", stdout);
        }
        printf("%-*s  ", width, say_safe(safe, sizeof safe, key));
        print_value(key, value);
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
        print_lines(o, target, facts);
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

int facts_verb(const struct options *o)
{
    static const struct each_job job = {.one_shot = 1, .show = show};

    return each_target(o, &job);
}
