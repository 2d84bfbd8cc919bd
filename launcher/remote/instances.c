#include "launcher/remote/instances.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSE_MS 5000

struct grapnel_instance {
    struct grapnel_instance *next; /* of its server */
    struct grapnel *g;
    struct grapnel_server *server;           /* NULL: freed */
    struct grapnel_instance_options options; /* strings and lists are its own */
    struct remote *remote;
    int closing; /* by its owner, who need not be told */
    int over;    /* the worker of `calls` has ended */
    char *name;
};

struct grapnel *instances_context(const struct grapnel_instance *i)
{
    return i->g;
}

struct remote *instances_remote(const struct grapnel_instance *i)
{
    return i->remote;
}

/* ---- making and freeing ---- */

static void free_list(const char *const *list)
{
    for (size_t n = 0; list && list[n]; n++)
        free((char *)(uintptr_t)list[n]);
    free((void *)(uintptr_t)list);
}

/* NULL when there is none, or memory is out (*bad is set). */
static const char *const *copy_list(const char *const *list, int *bad)
{
    const char **copy;
    size_t n = 0;

    while (list && list[n])
        n++;
    if (!list || (copy = calloc(n + 1, sizeof(char *))) == NULL) {
        *bad |= list != NULL;
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(list[i]);
        if (!copy[i]) {
            *bad = 1;
            break;
        }
    }
    return copy;
}

static void unlink_server(struct grapnel_instance *i)
{
    struct grapnel_instance **at;

    if (!i->server)
        return;
    for (at = connection_handles(i->server); *at; at = &(*at)->next) {
        if (*at == i) {
            *at = i->next;
            break;
        }
    }
    i->server = NULL;
}

void instances_forget(struct grapnel_server *s)
{
    for (struct grapnel_instance *i = *connection_handles(s); i; i = i->next)
        i->server = NULL;
    *connection_handles(s) = NULL;
}

/* What fails may free this instance and others, but it can have ended only once. */
static struct remote *next_alive(struct grapnel_server *s)
{
    for (struct grapnel_instance *i = *connection_handles(s); i; i = i->next) {
        if (i->remote && !i->remote->error.code)
            return i->remote;
    }
    return NULL;
}

void instances_end_all(struct grapnel_server *s, int code, const char *text)
{
    struct remote *c;

    while ((c = next_alive(s)) != NULL)
        remote_end(c, code, text);
}

static void destroy(struct grapnel_instance *i)
{
    unlink_server(i);
    free((char *)(uintptr_t)i->options.cwd);
    free_list(i->options.env);
    free_list(i->options.unset);
    free(i->name);
    free(i);
}

static struct grapnel_instance *make(struct grapnel_server *s,
                                     const struct grapnel_instance_options *o)
{
    struct grapnel_instance *i = calloc(1, sizeof *i);
    int bad = 0;

    if (!i)
        return NULL;
    i->g = connection_context(s);
    i->server = s;
    i->next = *connection_handles(s);
    *connection_handles(s) = i;
    i->options = *o;
    i->options.env = copy_list(o->env, &bad);
    i->options.unset = copy_list(o->unset, &bad);
    i->options.cwd = o->cwd ? strdup(o->cwd) : NULL;
    if (asprintf(&i->name, "%s:%d", connection_target(s), o->number > 0 ? o->number : 1) < 0)
        i->name = NULL;
    if (bad || !i->name || (o->cwd && !i->options.cwd)) {
        destroy(i);
        return NULL;
    }
    return i;
}

/* ---- what the worker does ---- */

static void on_ended(void *arg, const struct error *e)
{
    struct grapnel_instance *i = arg;
    struct grapnel_error error;

    i->over = 1;
    context_error(&error, i->name, e);
    if (i->options.ended && !i->closing)
        i->options.ended(i->options.arg, i, &error);
}

static void on_output(void *arg, const uint8_t *bytes, size_t n)
{
    struct grapnel_instance *i = arg;

    if (i->options.output)
        i->options.output(i->options.arg, i, bytes, n);
}

static int start(struct grapnel_instance *i, struct error *e)
{
    struct remote *remote;

    if (!i->server)
        return errors_set(e, -E_CLOSED, "the server was freed");
    remote = remote_start(i->server, &i->options, i->name, on_ended, on_output, i, e);
    if (!remote)
        return e->code;
    i->remote = remote;
    i->over = i->closing = 0;
    return 0;
}

struct grapnel_instance *instances_open(struct grapnel_server *s,
                                        const struct grapnel_instance_options *o, struct error *e)
{
    struct grapnel_instance *i = make(s, o);

    if (!i) {
        errors_set(e, -E_NOMEM, "instance");
    } else if (start(i, e) < 0) {
        destroy(i);
        i = NULL;
    }
    return i;
}

int instances_reopen(struct grapnel_instance *i, struct error *e)
{
    struct remote *before = i->remote;

    if (start(i, e) < 0)
        return e->code;
    remote_leave(before, -E_CANCELLED, "the instance was opened again");
    return 0;
}

void instances_end(struct grapnel_instance *i, int code, const char *text)
{
    i->closing = 1;
    remote_end(i->remote, code, text);
}

/* There is no worker to wait for before there is an agent to start it. */
int instances_is_over(const struct grapnel_instance *i)
{
    return i->over ||
           (i->closing && i->server && connection_state(i->server) == GRAPNEL_CONNECTING);
}

const struct grapnel_exec_status *instances_status(const struct grapnel_instance *i)
{
    return &i->remote->status;
}

int instances_is_greeted(const struct grapnel_instance *i)
{
    return link_greeted(i->remote->link);
}

/* ---- public ---- */

struct grapnel_instance *grapnel_instance_open(struct grapnel_server *s,
                                               const struct grapnel_instance_options *options,
                                               struct grapnel_error *error)
{
    static const struct grapnel_instance_options defaults;
    struct grapnel *g = connection_context(s);
    struct grapnel_instance *i;
    struct error e = {0};

    if (context_enter(g, error) < 0)
        return NULL;
    i = instances_open(s, options ? options : &defaults, &e);
    if (!i)
        context_error(error, connection_target(s), &e);
    context_unlock(g);
    return i;
}

int grapnel_instance_error(struct grapnel_instance *i, struct grapnel_error *error)
{
    struct error e;

    context_lock(i->g);
    e = i->remote->error;
    context_unlock_quiet(i->g);
    return e.code ? context_error(error, i->name, &e) : 0;
}

const char *grapnel_instance_name(const struct grapnel_instance *i)
{
    return i->name;
}

int grapnel_instance_reopen(struct grapnel_instance *i, struct grapnel_error *error)
{
    struct error e = {0};

    if (context_enter(i->g, error) < 0)
        return -E_ARGUMENT;
    instances_reopen(i, &e);
    context_unlock(i->g);
    return e.code ? context_error(error, i->name, &e) : 0;
}

static int is_over(void *arg)
{
    return instances_is_over(arg);
}

int grapnel_instance_close(struct grapnel_instance *i, int64_t timeout, struct grapnel_error *error)
{
    struct grapnel *g = i->g;
    struct error e = {0};

    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    if (context_in_callback(g)) {
        errors_set(&e, -E_ARGUMENT, "closing waits, and so is not for callbacks");
    } else {
        instances_end(i, -E_CANCELLED, "the instance was closed");
        e.code = context_wait(g, is_over, i, context_deadline(timeout > 0 ? timeout : CLOSE_MS));
        if (e.code)
            errors_set(&e, e.code, "the worker does not leave");
    }
    context_unlock(g);
    return e.code ? context_error(error, i->name, &e) : 0;
}

void grapnel_instance_free(struct grapnel_instance *i)
{
    struct grapnel *g = i ? i->g : NULL;
    struct remote *remote;

    if (!i || context_enter(g, NULL) < 0)
        return;
    remote = i->remote;
    destroy(i);
    remote_leave(remote, -E_CANCELLED, "the instance was freed");
    context_unlock(g);
}
