#include "launcher/cli/facts.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/cli/quantity.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"

#define AT_ONCE  32 /* connections: well under any limit of descriptors, with sockets and pipes */
#define CLOSE_MS 5000
#define ASK_MS   30000

struct host {
    struct reach reach;
    struct grapnel_server *server;
    struct grapnel_error error; /* of the attempt, when server is NULL */
};

struct asking {
    const struct options *o;
    struct grapnel *g;
    struct host *hosts; /* AT_ONCE of them, a ring over the targets */
    size_t begun;       /* targets whose connection was started */
};

static struct host *host_of(struct asking *a, size_t i)
{
    return &a->hosts[i % AT_ONCE];
}

static void begin(struct asking *a)
{
    struct host *h = host_of(a, a->begun);

    h->server = reach_open(&h->reach, a->g, a->o, a->o->words[a->begun], 1, &h->error);
    a->begun++;
}

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

static int fail(const struct options *o, const char *target, const struct grapnel_error *error)
{
    struct grapnel_error ours;

    if (!o->json)
        say_error(error);
    else if (say_json(json_pack("{s:o, s:o}", "host", say_json_text(target), "error",
                                say_json_error(error)),
                      &ours) < 0 ||
             say_flush(&ours) < 0)
        say_error(&ours);
    return SAY_FAILED;
}

static int finish(struct asking *a, size_t i)
{
    const char *target = a->o->words[i];
    struct host *h = host_of(a, i);
    struct grapnel_error error = h->error;
    char *text = NULL;
    int status = 0;

    if (h->server && grapnel_wait_ready(h->server, -1, &error) == 0)
        text = grapnel_facts_json(h->server, 0, ASK_MS, &error);
    if (!text || print_facts(a->o, target, text, &error) < 0)
        status = fail(a->o, target, &error);
    if (text)
        grapnel_close(h->server, CLOSE_MS, NULL);
    grapnel_string_free(text);
    grapnel_server_free(h->server);
    h->server = NULL;
    return status;
}

int facts_verb(const struct options *o)
{
    struct asking a = {.o = o, .hosts = calloc(AT_ONCE, sizeof *a.hosts)};
    struct reach_trace trace = {.o = o};
    struct grapnel_error error;
    int status = 0;

    a.g = a.hosts ? reach_context(&trace, &error) : NULL;
    if (!a.hosts)
        say_fail(&error, "NOMEM", "out of memory");
    if (!a.g) {
        say_error(&error);
        free(a.hosts);
        return SAY_FAILED;
    }
    for (size_t i = 0; i < o->word_count; i++) {
        while (a.begun < o->word_count && a.begun < i + AT_ONCE)
            begin(&a);
        if (finish(&a, i) != 0)
            status = SAY_FAILED;
    }
    grapnel_free(a.g);
    free(a.hosts);
    return status;
}
