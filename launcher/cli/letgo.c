#include "launcher/cli/letgo.h"

#include <string.h>

#include "launcher/cli/each.h"
#include "launcher/cli/leave.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"

#define PURGE_MS 30000
#define NOTHING  1 /* exit status when nothing was held there */

struct letgo {
    const struct options *o;
    struct grapnel_broker *b; /* NULL: there is none */
    struct leave leave;
    int undeploy;
    int status;
};

static void worsen(struct letgo *l, int status)
{
    l->status = status > l->status ? status : l->status;
}

static void fail(struct letgo *l, const struct grapnel_error *error)
{
    struct grapnel_error ours;

    worsen(l, SAY_FAILED);
    if (!l->o->json)
        say_error(error);
    else if (say_json(json_pack("{s:o, s:o}", "host", say_json_text(error->host), "error",
                                say_json_error(error)),
                      &ours) < 0)
        say_error(&ours);
}

static void print_one(struct letgo *l, json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *code = json_string_value(json_object_get(item, "error"));
    const char *detail = json_string_value(json_object_get(item, "detail"));
    struct grapnel_error error;

    if (code)
        worsen(l, SAY_FAILED);
    if (l->o->json && say_json(json_incref(item), &error) < 0)
        fail(l, &error);
    if (l->o->json || !name)
        return;
    say_text(stdout, name);
    putchar('\n');
    if (code && !l->o->quiet)
        say_note("%s: it did not end in good order: %s%s%s", name, code,
                 detail && *detail ? ": " : "", detail ? detail : "");
}

/* target: NULL: all. */
static void say_nothing(const struct letgo *l, const char *target)
{
    if (l->o->instance)
        say_note("%s: no connection %d is held there", target, l->o->instance);
    else
        say_note("%s: nothing is held there", target);
}

static void let_go(struct letgo *l, const char *target)
{
    struct grapnel_connect_options connect = reach_options(l->o);
    struct grapnel_error error;
    char *text = NULL;
    json_t *list, *item;
    size_t i;

    if (l->b) {
        text = grapnel_broker_close(l->b, target, &connect, l->o->instance, l->undeploy, &error);
        if (!text) {
            fail(l, &error);
            return;
        }
    }
    list = text ? json_loads(text, 0, NULL) : json_array();
    json_array_foreach(list, i, item) print_one(l, item);
    if (json_array_size(list) == 0 && target) {
        worsen(l, NOTHING);
        if (!l->o->quiet && !l->o->json && !l->o->purge)
            say_nothing(l, target);
    }
    json_decref(list);
    grapnel_string_free(text);
}

static int let_go_all(const struct options *o, int undeploy)
{
    struct letgo l = {.o = o, .undeploy = undeploy};
    struct reach_trace trace = {.o = o};
    struct grapnel_error error = {0};
    struct grapnel *g = reach_context(&trace, 0, &error);

    if (g && leave_begin(&l.leave, g, -1) < 0)
        say_fail(&error, "SYSTEM", "signals cannot be caught");
    else if (g && (l.b = grapnel_broker_open(g, NULL, &error)) == NULL &&
             !strcmp(error.name, "NOT_HELD"))
        error.code = 0;
    if (error.code) {
        fail(&l, &error);
    } else {
        for (size_t i = 0; i < o->word_count && !leave_number(&l.leave); i++)
            let_go(&l, o->words[i]);
        if (o->all)
            let_go(&l, NULL);
    }
    if (g && leave_number(&l.leave))
        leave_now(leave_status(leave_number(&l.leave)));
    if (say_flush(&error) < 0)
        fail(&l, &error);
    grapnel_broker_free(l.b);
    grapnel_free(g);
    return l.status;
}

int close_verb(const struct options *o)
{
    return let_go_all(o, 0);
}

/* ---- agents that are kept ---- */

static int purge(const struct options *o, const char *target, struct grapnel_server *s,
                 struct grapnel_error *error)
{
    int64_t count = 0;

    if (grapnel_purge(s, PURGE_MS, &count, error) < 0)
        return -1;
    if (o->json)
        return say_json(json_pack("{s:o, s:I}", "host", say_json_text(target), "purged",
                                  (json_int_t)count),
                        error) < 0
                   ? -1
                   : say_flush(error);
    say_text(stdout, target);
    printf(": %lld kept agents removed\n", (long long)count);
    return say_flush(error);
}

int undeploy_verb(const struct options *o)
{
    static const struct each_job job = {.show = purge};
    int status = let_go_all(o, 1), purged;

    if (!o->purge)
        return status;
    purged = each_target(o, &job); /* by a connection of its own: what is held has no agent now */
    return purged || status == NOTHING ? purged : status;
}
