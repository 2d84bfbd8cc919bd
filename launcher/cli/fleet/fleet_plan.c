#include "launcher/cli/fleet/fleet_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/quantity.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"

static const char *text_at(const struct grapnel_value *map, const char *key)
{
    return grapnel_value_string(grapnel_value_get(map, key), NULL);
}

static void show_text(const char *before, const char *text)
{
    if (!text)
        return;
    fputs(before, stdout);
    say_text(stdout, text);
}

/* What is the same for all of them. */
struct plan {
    struct grapnel *g;
    const struct options *o;
    json_t *places; /* that were shown, with the names that lead there */
    fleet_plan_words *words;
    void *arg;
};

/* root, where nobody is named; NULL: the user who has logged in. */
static const char *sudo_user(const struct options *o)
{
    return o->sudo_user && !*o->sudo_user ? "root" : o->sudo_user;
}

/* Those that there are: ssh tries a number of usual names. */
static void show_keys(const struct grapnel_value *route)
{
    const struct grapnel_value *keys = grapnel_value_get(route, "identities");
    const char *before = ", key ";

    for (size_t i = 0; i < grapnel_value_count(keys); i++) {
        const char *path = grapnel_value_string(grapnel_value_at(keys, i), NULL);

        if (!path || access(path, F_OK) < 0)
            continue;
        show_text(before, path);
        before = ", ";
    }
}

static void show_route(const struct plan *p, const char *name, const char *same,
                       const struct grapnel_value *route, const char *const *words)
{
    char size[QUANTITY_TEXT];

    say_text(stdout, name);
    if (same) {
        show_text(": the same as ", same);
        putchar('\n');
        return;
    }
    show_text(": ", text_at(route, "transport"));
    show_text(" ", text_at(route, "user"));
    show_text("@", text_at(route, "host"));
    if (grapnel_value_get(route, "port"))
        printf(", port %d", (int)grapnel_value_int(grapnel_value_get(route, "port"), 0));
    show_text(", by way of ", text_at(route, "jump"));
    show_text(", through ", text_at(route, "proxy"));
    show_keys(route);
    show_text(", ssh-agent ", text_at(route, "ssh_agent"));
    show_text(", agent ", text_at(route, "agent"));
    printf(" (%s)",
           quantity_size_text(size, grapnel_value_int(grapnel_value_get(route, "agent_bytes"), 0)));
    show_text(", as ", sudo_user(p->o));
    for (const char *before = ": "; words && *words; words++, before = " ")
        show_text(before, *words);
    putchar('\n');
}

static json_t *json_words(const char *const *words)
{
    json_t *array = json_array();

    for (; *words; words++)
        json_array_append_new(array, say_json_text(*words));
    return array;
}

static int show_json(const struct plan *p, const char *name, const char *same,
                     const struct grapnel_value *route, const char *const *words,
                     struct grapnel_error *error)
{
    char *text = grapnel_value_json(route);
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;

    grapnel_string_free(text);
    object = json_pack("{s:o, s:o}", "host", say_json_text(name), "route", object);
    if (object && same)
        json_object_set_new(object, "same_as", say_json_text(same));
    if (object && sudo_user(p->o))
        json_object_set_new(object, "sudo", say_json_text(sudo_user(p->o)));
    if (object && words)
        json_object_set_new(object, "words", json_words(words));
    return say_json(object, error);
}

/* The host before that a route leads to as well, which will not be done twice; NULL: none, and it
 * is noted. */
static const char *same_as(json_t *places, const char *name, const struct grapnel_value *route)
{
    const char *place = text_at(route, "place");
    const char *before = json_string_value(json_object_get(places, place));

    if (!before)
        json_object_set_new(places, place, say_json_text(name));
    return before;
}

/* 0, or -1 with *error. */
static int show_host(const struct plan *p, const char *name, size_t host,
                     struct grapnel_error *error)
{
    struct grapnel_connect_options connect = reach_options(p->o);
    struct grapnel_value *route = grapnel_route(p->g, name, &connect, error);
    const char *same = route && !p->o->aliases ? same_as(p->places, name, route) : NULL;
    const char *const *words = NULL;
    char why[600];
    int rc = route ? 0 : -1;

    if (rc == 0 && p->words && !same && !(words = p->words(p->arg, host, why, sizeof why)))
        rc = say_fail(error, "ARGUMENT", "%s", why);
    if (rc == 0 && p->o->json)
        rc = show_json(p, name, same, route, words, error);
    else if (rc == 0)
        show_route(p, name, same, route, words);
    grapnel_value_free(route);
    return rc;
}

int fleet_plan_show(struct grapnel *g, const struct fleet_pick *p, const struct options *o,
                    fleet_plan_words *words, void *arg)
{
    struct plan plan = {.g = g, .o = o, .places = json_object(), .words = words, .arg = arg};
    struct grapnel_error error;
    int status = 0;

    for (size_t i = 0; i < p->count; i++) {
        if (show_host(&plan, p->names[i], i, &error) < 0) {
            say_error(&error);
            status = SAY_FAILED;
        }
    }
    json_decref(plan.places);
    if (say_flush(&error) < 0) {
        say_error(&error);
        return SAY_FAILED;
    }
    return status;
}

static void show_question(FILE *f, const struct fleet_pick *p, const struct options *o)
{
    char *folded = grapnel_targets_fold_names(p->names, p->count);

    fprintf(f, "grapnel %s", o->verb->name);
    for (size_t i = 0; verbs_takes_words(o->verb) && i < o->word_count; i++) {
        fputc(' ', f);
        say_text(f, o->words[i]);
    }
    fprintf(f, "\non %zu host%s: ", p->count, p->count == 1 ? "" : "s");
    say_text(f, folded ? folded : "?");
    fputs("\nBegin? [y/N] ", f);
    fflush(f);
    grapnel_string_free(folded);
}

int fleet_plan_confirm(const struct fleet_pick *p, const struct options *o,
                       struct grapnel_error *error)
{
    FILE *f = fopen("/dev/tty", "r+e");
    char answer[16] = "";

    if (!f)
        return say_fail(error, "ARGUMENT", "--confirm needs a terminal to ask on");
    show_question(f, p, o);
    if (!fgets(answer, sizeof answer, f))
        answer[0] = '\0';
    fclose(f);
    if (!strcmp(answer, "y\n") || !strcmp(answer, "yes\n"))
        return 0;
    return say_fail(error, "CANCELLED", "nothing was begun");
}
