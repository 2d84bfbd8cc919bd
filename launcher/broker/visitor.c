/* One client of the broker: its line, and what it asks for. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/broker/broker_impl.h"

void visitor_add(struct visitor *v, struct task *t, uint32_t id, void (*drop)(struct task *t))
{
    t->v = v;
    t->id = id;
    t->drop = drop;
    t->next = v->tasks;
    v->tasks = t;
}

static void take_off(struct task *t)
{
    struct task **at = t->v ? &t->v->tasks : NULL;

    while (at && *at && *at != t)
        at = &(*at)->next;
    if (at && *at)
        *at = t->next;
}

void visitor_answer(struct task *t, struct value *result, const struct error *e)
{
    struct link *l = t->v ? sockline_link(t->v->line) : NULL;

    take_off(t);
    t->v = NULL;
    if (l && e && e->code)
        link_fail(l, t->id, e->code, e->detail);
    else if (l)
        link_answer(l, t->id, result);
    if (!l || (e && e->code))
        values_free(result);
}

/* ---- what it says ---- */

static void leave_call(struct visitor *v, uint32_t id, const struct value *args)
{
    (void)args;
    link_answer(sockline_link(v->line), id, NULL);
    broker_leave(v->b);
}

static const struct {
    const char *name;
    void (*call)(struct visitor *v, uint32_t id, const struct value *args);
} calls[] = {
    {"hold", visitor_hold},
    {"close", visitor_close},
    {"list", visitor_list},
    {"leave", leave_call},
};

static void on_call(void *arg, struct link *l, uint32_t id, const char *name,
                    const struct value *args)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (!strcmp(calls[i].name, name)) {
            calls[i].call(arg, id, args);
            return;
        }
    }
    link_fail(l, id, -E_NO_SERVICE, name);
}

static int on_open(void *arg, struct stream *s, const char *service, const struct value *args,
                   struct error *e)
{
    if (!strcmp(service, "server"))
        return visitor_line_open(arg, s, args, e);
    if (!strcmp(service, "instance"))
        return visitor_line_open_instance(arg, s, args, e);
    return errors_set(e, -E_NO_SERVICE, "\"%.100s\"", service);
}

static void on_wake(void *arg, struct link *l)
{
    struct visitor *v = arg;

    (void)l;
    if (v->line)
        sockline_wake(v->line);
}

static const struct link_handler link_callbacks = {
    .open = on_open,
    .call = on_call,
    .wake = on_wake,
};

/* ---- coming and going ---- */

static void on_ended(void *arg, struct sockline *line)
{
    struct visitor *v = arg;
    struct broker *b = v->b;

    (void)line;
    visitor_free(v);
    broker_look(b);
}

void visitor_free(struct visitor *v)
{
    struct sockline *line = v->line;
    struct visitor **at = &v->b->visitors;
    struct task *t;

    while (*at && *at != v)
        at = &(*at)->next;
    if (*at)
        *at = v->next;
    while ((t = v->tasks)) {
        v->tasks = t->next;
        t->v = NULL;
        t->drop(t);
    }
    visitor_ask_nobody(v);
    v->line = NULL;
    sockline_free(line);
    free(v);
}

static struct value *facts(struct broker *b)
{
    struct value *map = values_map();

    values_set(map, "version", values_text(GRAPNEL_VERSION));
    values_set(map, "build", values_text(b->build));
    values_set(map, "pid", values_int(getpid()));
    values_set(map, "leaving", values_bool(b->leaving));
    return map;
}

void visitor_new(struct broker *b, int fd)
{
    struct visitor *v = calloc(1, sizeof *v);
    struct sockline_options options = {.handler = &link_callbacks, .arg = v, .ended = on_ended};

    if (!v) {
        close(fd);
        return;
    }
    v->b = b;
    options.facts = facts(b);
    v->line = sockline_new(b->g, fd, &options);
    if (!v->line) {
        free(v);
        return;
    }
    v->next = b->visitors;
    b->visitors = v;
}
