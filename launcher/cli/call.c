#include "launcher/cli/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/far.h"
#include "launcher/cli/fleet/fleet.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"

#define CLOSE_MS 5000
#define LATE     "the code was stopped at its time limit"

struct call {
    struct far far;
    const struct options *o;
    const char *what; /* the function, for messages; NULL: an expression */
    struct grapnel_value *args;
    struct grapnel_instance *instance;
    struct grapnel_future *redirected; /* of an instance that is not its own */
    struct grapnel_future *answer;
};

/* ---- arguments ---- */

static int no_json(const struct options *o, size_t i, const char *why, struct grapnel_error *error)
{
    const char *word = o->words[i];

    if (!*word)
        return say_fail(error, "ARGUMENT", "%s: argument %zu is empty: an empty string is '\"\"'",
                        o->verb->name, i);
    if (!strpbrk(word, "\"'\\[{"))
        return say_fail(error, "ARGUMENT",
                        "%s: argument %zu is no JSON: %s: if a string is meant, quote it for JSON "
                        "and for the shell: '\"%s\"'",
                        o->verb->name, i, word, word);
    return say_fail(error, "ARGUMENT",
                    "%s: argument %zu is no JSON: %s: %s (a string is written '\"text\"')",
                    o->verb->name, i, word, why);
}

/* Takes the item. */
static int add(struct grapnel_value *args, struct grapnel_value *item, struct grapnel_error *error)
{
    if (grapnel_value_append(args, item) < 0)
        return say_fail(error, "NOMEM", "out of memory");
    return 0;
}

/* The words after the first; the first as well if it is an expression.  NULL with *error. */
static struct grapnel_value *read_arguments(const struct options *o, int expression,
                                            struct grapnel_error *error)
{
    struct grapnel_value *args = grapnel_value_new_array();
    int rc = 0;

    if (expression)
        rc = add(args, grapnel_value_new_string(o->words[0], strlen(o->words[0])), error);
    for (size_t i = 1; i < o->word_count && rc == 0; i++) {
        struct grapnel_error why;
        struct grapnel_value *item =
            grapnel_value_from_json(o->words[i], strlen(o->words[i]), &why);
        rc = item ? add(args, item, error) : no_json(o, i, why.detail, error);
    }
    if (rc == 0)
        return args;
    grapnel_value_free(args);
    return NULL;
}

/* ---- the call ---- */

static void on_print(void *arg, struct grapnel_request *request, const struct grapnel_value *args)
{
    size_t n = 0;
    const char *text = grapnel_value_string(grapnel_value_at(args, 0), &n);

    (void)arg;
    if (text)
        fwrite(text, 1, n, stderr);
    grapnel_return(request, "");
}

/* What an instance prints goes to who has made it, unless somebody asks for it. */
static int redirect(struct call *c)
{
    struct grapnel_value *both = grapnel_value_new_array(); /* stdout, stderr */
    struct grapnel_call_options call = {.path = "redirect_stdio", .args = both};
    int bad = 0;

    for (int i = 0; i < 2 && !bad; i++)
        bad = grapnel_value_append(both, grapnel_value_new_function(on_print, c, NULL)) < 0;
    if (bad)
        say_fail(&c->far.error, "NOMEM", "out of memory");
    else
        c->redirected = grapnel_callv(c->instance, &call, &c->far.error);
    grapnel_value_free(both);
    return c->redirected ? 0 : -1;
}

static int start(struct call *c)
{
    struct grapnel_instance_options instance;
    struct grapnel_call_options call = {.path = c->what ? c->what : "eval", .args = c->args};
    struct far *r = &c->far;

    if (far_begin(r, c->o, 1, 1) < 0)
        return -1;
    far_options(&instance, c->o);
    c->instance = grapnel_instance_open(r->server, &instance, &r->error);
    if (!c->instance || (c->o->instance && redirect(c) < 0))
        return -1;
    c->answer = grapnel_callv(c->instance, &call, &r->error);
    return c->answer ? 0 : -1;
}

/* The time that connecting takes is not the code's. */
static int wait_for_answer(struct call *c)
{
    struct grapnel_error *error = &c->far.error;

    if (grapnel_wait_ready(c->far.server, -1, error) < 0)
        return -1;
    if (c->o->timeout && grapnel_future_expire(c->answer, c->o->timeout) < 0)
        return say_fail(error, "NOMEM", "out of memory");
    return grapnel_future_wait(c->answer, -1, error) < 0 ? -1 : 0;
}

/* ---- what came of it ---- */

static int print_results(struct call *c)
{
    const struct grapnel_value *results = grapnel_future_results(c->answer);
    struct grapnel_error *error = &c->far.error;
    json_t *host = c->o->json ? say_json_text(c->o->target) : NULL;
    char *name = host ? json_dumps(host, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;

    json_decref(host);
    if (c->o->json)
        printf("{\"host\":%s,\"results\":[", name ? name : "null");
    free(name);
    for (size_t i = 0; i < grapnel_value_count(results); i++) {
        char *text = grapnel_value_json(grapnel_value_at(results, i));
        char *safe = text ? say_json_safe(text) : NULL;
        grapnel_string_free(text);
        if (!safe)
            return say_fail(error, "NOMEM", "out of memory");
        if (c->o->json && i > 0)
            putchar(',');
        fputs(safe, stdout);
        free(safe);
        if (!c->o->json)
            putchar('\n');
    }
    if (c->o->json)
        puts("]}");
    return say_flush(error);
}

/* NULL: memory is out, or Jansson cannot take it: it knows no zero bytes in the keys of objects. */
static json_t *json_of(const char *text)
{
    return text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
}

/* {"host", "error"}, the latter as everywhere, with the traceback and what was thrown. */
static int print_failure_json(struct call *c, const struct grapnel_value *thrown,
                              const char *traceback)
{
    struct grapnel_error *error = &c->far.error;
    char *text = thrown ? grapnel_value_json(thrown) : NULL;
    json_t *value = json_of(text);
    json_t *object = say_json_error(error);

    grapnel_string_free(text);
    if (value)
        json_object_set_new(object, "thrown", value);
    if (traceback)
        json_object_set_new(object, "traceback", say_json_text(traceback));
    object = json_pack("{s:o, s:o}", "host", say_json_text(c->o->target), "error", object);
    return say_json(object, error) < 0 || say_flush(error) < 0 ? -1 : 0;
}

/* The code failed, and nothing of ours. */
static int report_failure(struct call *c)
{
    struct far *r = &c->far;
    const char *traceback = NULL, *said;
    const struct grapnel_value *thrown = grapnel_future_thrown(c->answer, &traceback);
    char *json = NULL;

    said = grapnel_value_string(thrown, NULL);
    if (thrown && !said)
        said = json = grapnel_value_json(thrown);
    if (thrown)
        snprintf(r->error.detail, sizeof r->error.detail, "%s", said ? said : "?");
    if (!c->o->json) {
        far_say(r, c->what, said ? said : r->error.detail, c->o->quiet ? NULL : traceback);
    } else if (print_failure_json(c, thrown, traceback) < 0) {
        say_error(&r->error);
        grapnel_string_free(json);
        return SAY_FAILED;
    }
    grapnel_string_free(json);
    return FAR_FAILED;
}

static int fail(struct call *c)
{
    struct far *r = &c->far;
    const char *name = r->error.name ? r->error.name : "";

    if (r->g && leave_number(&r->leave))
        return far_fail(r);
    if (c->answer && !strcmp(name, "REMOTE"))
        return report_failure(c);
    if (c->answer && c->o->timeout && !strcmp(name, "TIMEOUT")) {
        r->error.exit_status = FAR_TIMEOUT;
        r->error.phase = "remote code";
        r->error.text = LATE;
        r->error.hint = "raise --timeout";
        r->error.detail[0] = '\0';
    }
    return far_fail(r);
}

static int work(struct call *c)
{
    c->args = read_arguments(c->o, !c->what, &c->far.error);
    if (!c->args) {
        say_error(&c->far.error);
        return SAY_FAILED;
    }
    if (start(c) < 0 || wait_for_answer(c) < 0 || print_results(c) < 0)
        return fail(c);
    return 0;
}

static int verb(const struct options *o, const char *what)
{
    struct call *c = calloc(1, sizeof *c);
    int status;

    if (!c) {
        say_note("out of memory");
        return SAY_FAILED;
    }
    c->o = o;
    c->what = what;
    status = work(c);
    grapnel_future_free(c->answer);
    grapnel_future_free(c->redirected);
    /* It leaves by itself, and all that it printed comes before its end. */
    if (c->instance && status != FAR_TIMEOUT && !leave_number(&c->far.leave))
        grapnel_instance_close(c->instance, CLOSE_MS, NULL);
    grapnel_instance_free(c->instance);
    grapnel_value_free(c->args);
    far_end(&c->far);
    free(c);
    return status;
}

/* ---- many hosts ---- */

/* Tables have no order of their own: here they get one, that equal ones look the same. */
static void text_of_many(FILE *f, const struct options *o, const struct grapnel_fleet_result *r)
{
    (void)o;
    for (size_t i = 0; i < grapnel_value_count(r->results); i++) {
        char *text = grapnel_value_json(grapnel_value_at(r->results, i));
        json_t *json = json_of(text);

        if (json)
            json_dumpf(json, f, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
        else
            fputs(text ? text : "null", f);
        fputc('\n', f);
        json_decref(json);
        grapnel_string_free(text);
    }
}

/* What Jansson cannot take is there as text. */
static void json_of_many(json_t *object, const struct grapnel_fleet_result *r)
{
    char *text = grapnel_value_json(r->results);
    json_t *json = json_of(text);

    json_object_set_new(object, "results", json || !text ? json : json_string(text));
    grapnel_string_free(text);
}

static struct grapnel_fleet_job *start_many(const struct fleet_kind *kind, const struct options *o,
                                            struct grapnel_fleet *f,
                                            const struct grapnel_fleet_handler *handler, void *arg,
                                            struct grapnel_error *error)
{
    (void)kind;
    int expression = o->verb->id == VERB_EVAL;
    struct grapnel_instance_options instance;
    struct grapnel_call_options call = {.path = expression ? "eval" : o->words[0],
                                        .timeout = o->timeout};
    struct grapnel_value *args = read_arguments(o, expression, error);
    struct grapnel_fleet_job *job = NULL;

    call.args = args;
    if (args && far_options_of_many(&instance, o, error) == 0)
        job = grapnel_fleet_call(f, &instance, &call, handler, arg, error);
    grapnel_value_free(args);
    return job;
}

static int verb_of_many(const struct options *o)
{
    static const struct fleet_kind many = {
        .start = start_many, .text = text_of_many, .json = json_of_many, .late = LATE};

    return fleet_verb(o, &many);
}

int call_verb(const struct options *o)
{
    return o->many ? verb_of_many(o) : verb(o, o->words[0]);
}

int eval_verb(const struct options *o)
{
    return o->many ? verb_of_many(o) : verb(o, NULL);
}
