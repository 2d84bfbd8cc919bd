#include "launcher/fleet/script.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/copies.h"
#include "launcher/fleet/input.h"
#include "launcher/remote/instances.h"
#include "lua_script_far.h"
#include "lua_script_line.h"
#include "proto/signals.h"

/* What script_far.lua says. */
enum { SAID_VALUE, SAID_OUT, SAID_ERR };

#define HELD_MOST 256 /* script_line.lua has less under way */

/* The functions that the script is given may outlive the task. */
struct script {
    struct task *task; /* NULL: it has done with this */
    int holders;
    struct grapnel_future
        *redirected;                /* what a held instance prints comes here; NULL: no such one */
    struct grapnel_request *asking; /* for input; NULL: it does not */
    struct grapnel_request *held[HELD_MOST];
    size_t held_count; /* until what they have said is done with */
};

static void release(void *arg)
{
    struct script *s = arg;

    if (--s->holders == 0)
        free(s);
}

/* ---- what it says ---- */

/* Tables have no order of their own: here they get one, that equal ones look the same; but not
 * where a key has a zero byte, which Jansson does not know.  For free. */
static char *json_line(const struct value *v, size_t *n)
{
    char *text = values_json(v), *sorted = NULL, *line = NULL;
    json_t *json = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;

    if (json)
        sorted = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    json_decref(json);
    if (sorted)
        free(text);
    else
        sorted = text;
    if (sorted && (line = realloc(sorted, strlen(sorted) + 2)) != NULL) {
        *n = strlen(line) + 1;
        memcpy(line + *n - 1, "\n", 2);
    } else {
        free(sorted);
    }
    return line;
}

/* True when all of it is done with. */
static int tell(struct task *t, int which, const char *bytes, size_t n)
{
    return n == 0 || work_output(t, which, (const uint8_t *)bytes, n) == n;
}

static int tell_value(struct task *t, const struct value *v)
{
    struct error e = {0};
    size_t n = 0;
    char *line = json_line(v, &n);
    int done = 1;

    if (line) {
        done = tell(t, 1, line, n);
    } else {
        errors_set(&e, -E_NOMEM, "a value that the script has sent");
        task_stop(t, &e);
    }
    free(line);
    return done;
}

/* False: it is refused, as nobody listens, or as it does not wait until it is heard. */
static int admit(struct script *s, struct grapnel_request *request)
{
    struct error e = {0};

    if (s->task && s->held_count < HELD_MOST)
        return 1;
    grapnel_fail(request, "nobody listens any more");
    if (s->task) {
        errors_set(&e, -E_PROTOCOL, "the script does not wait until it is heard");
        task_stop(s->task, &e);
    }
    return 0;
}

static void answer(struct script *s, struct grapnel_request *request, int done)
{
    if (done || !s->task)
        grapnel_return(request, "");
    else
        s->held[s->held_count++] = request;
}

static void on_say(void *arg, struct grapnel_request *request, const struct grapnel_value *args)
{
    struct script *s = arg;
    const struct grapnel_value *item = grapnel_value_at(args, 0);
    const struct grapnel_value *what = grapnel_value_at(item, 1);
    int64_t kind = grapnel_value_int(grapnel_value_at(item, 0), -1);
    struct value *nil = NULL;
    size_t n = 0;
    const char *text = grapnel_value_string(what, &n);
    int done = 1;

    if (!admit(s, request))
        return;
    if (kind == SAID_VALUE && !what)
        what = (const struct grapnel_value *)(nil = values_nil());
    if (kind == SAID_VALUE)
        done = tell_value(s->task, (const struct value *)what);
    else if ((kind == SAID_OUT || kind == SAID_ERR) && text)
        done = tell(s->task, (int)kind, text, n);
    values_free(nil);
    answer(s, request, done);
}

static void on_print(void *arg, struct grapnel_request *request, const struct grapnel_value *args)
{
    struct script *s = arg;
    size_t n = 0;
    const char *text = grapnel_value_string(grapnel_value_at(args, 0), &n);

    if (admit(s, request))
        answer(s, request, !text || tell(s->task, 1, text, n));
}

void script_consumed(struct task *t)
{
    struct script *s = t->script;
    size_t n = s->held_count;

    s->held_count = 0;
    for (size_t i = 0; i < n; i++)
        grapnel_return(s->held[i], "");
}

/* ---- what it asks for ---- */

void script_input(struct task *t)
{
    struct script *s = t->script;
    struct grapnel_request *request = s->asking;
    const uint8_t *bytes;
    size_t n;
    int rc;

    if (!request)
        return;
    rc = t->job->input ? input_take(t->job->input, t, &bytes, &n) : 0;
    if (rc == -E_TIMEOUT)
        return;
    s->asking = NULL;
    if (rc > 0)
        grapnel_return(request, "y", bytes, n);
    else if (rc == 0)
        grapnel_return(request, "");
    else
        grapnel_fail(request, "the input could not be read");
}

static void on_ask(void *arg, struct grapnel_request *request, const struct grapnel_value *args)
{
    struct script *s = arg;

    (void)args;
    if (!s->task || s->asking) {
        grapnel_fail(request, "it is asked for already");
        return;
    }
    s->asking = request;
    script_input(s->task);
}

/* ---- beginning ---- */

static struct value *text_of(const char *text, size_t n)
{
    return values_text_n(text, n);
}

struct value *script_start(const struct grapnel_fleet_script *o)
{
    struct value *start = values_map(), *args = values_array(), *all = values_array();
    int rc = start && args && all ? 0 : -E_NOMEM;

    for (size_t i = 0; rc == 0 && o->args && o->args[i]; i++)
        rc = values_append(args, text_of(o->args[i], strlen(o->args[i])));
    if (rc == 0)
        rc = values_set(start, "source", text_of(o->source, o->length));
    if (rc == 0)
        rc = values_set(start, "name", text_of(o->name, strlen(o->name)));
    if (rc == 0) {
        rc = values_set(start, "args", args);
        args = NULL;
    }
    if (rc == 0)
        rc = values_append(all, text_of(lua_script_line, lua_script_line_size));
    if (rc == 0)
        rc = values_append(all, text_of(lua_script_far, lua_script_far_size));
    if (rc == 0) {
        rc = values_append(all, start);
        start = NULL;
    }
    values_free(start);
    values_free(args);
    if (rc == 0)
        return all;
    values_free(all);
    return NULL;
}

/* Calls t's instance with these arguments, an array that is freed (NULL: memory is out), and two
 * functions behind them. */
static struct grapnel_future *call(struct task *t, const char *path, struct value *args,
                                   grapnel_function *first, grapnel_function *second,
                                   struct error *e)
{
    grapnel_function *const functions[] = {first, second};
    struct grapnel_call_options o = {.path = path};
    struct grapnel_future *future = NULL;
    struct grapnel_error error = {.code = -E_NOMEM};
    int rc = args ? 0 : -E_NOMEM;

    for (size_t i = 0; i < 2 && rc == 0; i++) {
        struct grapnel_value *f = grapnel_value_new_function(functions[i], t->script, release);

        t->script->holders += f != NULL;
        rc = values_append(args, (struct value *)f);
    }
    o.args = (const struct grapnel_value *)args;
    if (rc == 0)
        future = grapnel_callv(t->instance, &o, &error);
    values_free(args);
    if (!future)
        errors_set(e, error.code, "%s", error.detail);
    return future;
}

static int make(struct task *t, struct error *e)
{
    t->script = calloc(1, sizeof *t->script);
    if (!t->script)
        return errors_set(e, -E_NOMEM, "script");
    t->script->task = t;
    t->script->holders = 1;
    return 0;
}

/* What every host is called with. */
static struct value *copy_arguments(const struct task *t)
{
    struct grapnel_call_options copy = {0};
    struct value *args = NULL;

    if (copies_call(&copy, &t->job->call) == 0)
        args = (struct value *)(uintptr_t)copy.args;
    if (args)
        copy.args = NULL;
    copies_clear_call(&copy);
    return args;
}

int script_begin(struct task *t, struct error *e)
{
    t->input_at = 0;
    if (make(t, e) == 0)
        t->future = call(t, "execute", copy_arguments(t), on_say, on_ask, e);
    return e->code;
}

int script_redirect(struct task *t, struct error *e)
{
    if (make(t, e) == 0)
        t->script->redirected = call(t, "redirect_stdio", values_array(), on_print, on_print, e);
    return e->code;
}

/* ---- the end ---- */

/* Of an instance that the broker holds there are words only. */
static int read_words(const char *words, struct grapnel_exec_status *status)
{
    static const char exited[] = "exited with status ", killed[] = "killed by signal ";
    char name[16];

    *status = (struct grapnel_exec_status){0};
    if (strncmp(words, exited, strlen(exited)) == 0) {
        status->exited = 1;
        status->exit_status = (int)strtol(words + strlen(exited), NULL, 10) & 0xff;
    } else if (strncmp(words, killed, strlen(killed)) == 0 &&
               sscanf(words + strlen(killed), "%15[A-Z0-9+]", name) == 1) {
        status->signal = signals_known(name);
        status->signal_number = signals_number(name);
    }
    return status->exited || status->signal;
}

void script_judge(struct task *t, struct error *e)
{
    struct grapnel_exec_status status = *instances_status(t->instance);

    if (e->code != -E_INSTANCE && e->code != -E_CPU_LIMIT)
        return;
    if (!status.exited && !status.signal && !read_words(e->detail, &status))
        return;
    t->status = status;
    t->status.reason = NULL; /* that is the agent's, which ends what the worker has left */
    t->status.left = 0;
    t->has_status = 1;
    if (e->code == -E_INSTANCE)
        *e = (struct error){0};
}

void script_free(struct task *t)
{
    struct script *s = t->script;

    if (!s)
        return;
    t->script = NULL;
    s->task = NULL;
    grapnel_future_free(s->redirected);
    s->redirected = NULL;
    for (size_t i = 0; i < s->held_count; i++)
        grapnel_return(s->held[i], "");
    if (s->asking)
        grapnel_fail(s->asking, "nobody listens any more");
    s->held_count = 0;
    s->asking = NULL;
    release(s);
}
