/* Functions of ours that the other end may call, and its calls: struct grapnel_request of the
 * public header.  It gets at nothing but what was passed to it. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/remote/remote.h"
#include "launcher/remote/typed.h"
#include "proto/values.h"

#define FLAG_NO_REPLY 0x2
#define DEPTH_SHIFT   8

struct function {
    atomic_size_t users; /* values, tables of what was passed, and calls under way */
    grapnel_function *function;
    void *arg;
    void (*gone)(void *arg);
};

struct function *function_new(grapnel_function *function, void *arg, void (*gone)(void *arg))
{
    struct function *f = malloc(sizeof *f);

    if (!f)
        return NULL;
    atomic_init(&f->users, 1);
    f->function = function;
    f->arg = arg;
    f->gone = gone;
    return f;
}

void function_hold(struct function *f)
{
    atomic_fetch_add(&f->users, 1);
}

void function_drop(void *object)
{
    struct function *f = object;

    if (atomic_fetch_sub(&f->users, 1) > 1)
        return;
    if (f->gone)
        f->gone(f->arg);
    free(f);
}

/* The id is only there to tell functions apart; what is sent has one of its own. */
struct value *function_value(struct function *f)
{
    struct value *v = values_ref((int64_t)((uintptr_t)f >> 1), "function", NULL);

    if (v) {
        function_hold(f);
        values_ref_bind(v, f, function_drop);
    }
    return v;
}

struct function *function_of(const struct value *v)
{
    return values_ref_object(v, function_drop);
}

struct grapnel_value *grapnel_value_new_function(grapnel_function *function, void *arg,
                                                 void (*gone)(void *arg))
{
    struct function *f = function_new(function, arg, gone);
    struct value *v = f ? function_value(f) : NULL;

    if (v)
        function_drop(f); /* v holds it */
    else
        free(f);
    return (struct grapnel_value *)v;
}

/* ---- passing ---- */

static int note(struct remote_issued *to, int64_t id)
{
    if (to->n == to->size) {
        size_t size = to->size ? 2 * to->size : 16;
        int64_t *ids = realloc(to->ids, size * sizeof *ids);
        if (!ids)
            return -E_NOMEM;
        to->ids = ids;
        to->size = size;
    }
    to->ids[to->n++] = id;
    return 0;
}

int64_t function_issue(struct remote *c, struct function *f)
{
    int64_t id;
    int first;

    if (!c->functions)
        return -E_CLOSED;
    first = refs_id(c->functions, f) == 0;
    id = refs_issue(c->functions, f);
    if (id < 0)
        return id;
    if (first)
        function_hold(f);
    if (note(&c->issued, id) < 0) {
        refs_release(c->functions, id, 1);
        return -E_NOMEM;
    }
    return id;
}

void function_gone(void *arg, void *object, int64_t id)
{
    (void)arg;
    (void)id;
    function_drop(object);
}

/* ---- its calls ---- */

static const uint8_t no_results = 0x80; /* an empty array */

/* Ids of one end are all even or all odd. */
static struct grapnel_request **list_of(struct remote *c, uint32_t id)
{
    return &c->requests[id / 2 % REMOTE_LISTS];
}

/* Calls whose results nobody wants are answered at once; but while very many of them run, at their
 * end: so they count among the unanswered ones, of which there is a limit. */
static struct grapnel_request *request_new(struct remote *c, uint32_t id, int quiet)
{
    struct grapnel_request *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->remote = c;
    r->id = id;
    r->quiet = quiet;
    if (quiet && c->silent < REMOTE_SILENT) {
        r->id = 0;
        c->silent++;
        link_answer_raw(c->link, id, &no_results, 1);
    }
    r->at = list_of(c, id);
    r->next = *r->at;
    if (r->next)
        r->next->at = &r->next;
    *r->at = r;
    remote_hold(c);
    return r;
}

static void request_free(struct grapnel_request *r)
{
    struct remote *c = r->remote;

    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    c->silent -= r->id == 0;
    free(r);
    remote_release(c);
}

void function_cancelled(void *arg, struct link *l, uint32_t id)
{
    struct remote *c = arg;

    (void)l;
    for (struct grapnel_request *r = *list_of(c, id); r; r = r->next) {
        if (r->id == id)
            r->cancelled = 1;
    }
}

int grapnel_request_cancelled(const struct grapnel_request *request)
{
    struct remote *c = request->remote;
    int cancelled;

    context_lock(c->g);
    cancelled = request->cancelled || c->error.code;
    context_unlock_quiet(c->g);
    return cancelled;
}

/* Runs f with the arguments behind flags and callee. */
static void run(struct remote *c, uint32_t id, struct function *f, struct value *args,
                int64_t flags)
{
    int before = c->depth;
    struct grapnel_request *r = request_new(c, id, (flags & FLAG_NO_REPLY) != 0);
    struct value *passed = values_array();

    for (size_t i = 2; i < values_count(args) && passed; i++) {
        if (values_append(passed, values_take(args, i)) < 0) {
            values_free(passed);
            passed = NULL;
        }
    }
    if (!r || !passed) {
        if (!r || r->id)
            link_fail(c->link, id, -E_NOMEM, "a call of a function");
        if (r)
            request_free(r);
        values_free(passed);
        return;
    }
    function_hold(f);
    c->depth = (int)(flags >> DEPTH_SHIFT) + 1;
    f->function(f->arg, r, (struct grapnel_value *)passed);
    c->depth = before;
    function_drop(f);
    values_free(passed);
}

static void call(struct remote *c, uint32_t id, struct value *args)
{
    int64_t flags = values_as_int(values_at(args, 0), -1);
    const struct value *callee = values_at(args, 1);
    struct function *f = function_of(callee);

    if (flags < 0)
        link_fail(c->link, id, -E_ARGUMENT, "call without flags");
    else if (flags >> DEPTH_SHIFT > c->depth_max)
        link_fail(c->link, id, -E_DEPTH, "");
    else if (f)
        run(c, id, f, args, flags);
    else if (values_type(callee) == VALUE_REF && !values_ref_kind(callee))
        link_fail(c->link, id, -E_STALE, "a function that is not there any more");
    else
        link_fail(c->link, id, -E_DENIED, "only functions that were passed can be called");
}

void function_called(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct remote *c = arg;
    struct value *both = NULL;
    int rc = values_decode_refs(body, n, &both);
    struct value *args;
    const char *name;

    if (rc == 0)
        rc = ref_bind(c, both);
    name = values_as_string(values_at(both, 0), NULL);
    if (rc == -E_TOO_LARGE || rc == -E_NOMEM) {
        values_free(both);
        link_fail(l, id, rc, "arguments of a function");
        return;
    }
    if (rc < 0 || !name || values_count(both) != 2) {
        values_free(both);
        link_end(l, rc < 0 ? rc : -E_PROTOCOL, "a malformed call");
        return;
    }
    args = values_take(both, 1);
    if (strcmp(name, "call") == 0)
        call(c, id, args);
    else if (strcmp(name, "tostring") == 0 && function_of(values_at(args, 0)))
        link_answer_raw(l, id,
                        (const uint8_t *)"\x81\x68"
                                         "function",
                        10);
    else
        link_fail(l, id, -E_DENIED, "functions can be called, and nothing else");
    values_free(args);
    values_free(both);
}

/* ---- answers ---- */

static int answer(struct grapnel_request *r, const char *format, struct typed_list *list,
                  struct error *e)
{
    struct remote *c = r->remote;
    int n = typed_count(format, e), rc;

    if (n < 0)
        return n;
    wire_take(&c->scratch, wire_length(&c->scratch));
    rc = typed_put_head(&c->scratch, TYPED_ARRAY, (unsigned)n);
    if (rc == 0)
        rc = typed_put(c, format, list, e);
    if (rc == 0 && wire_length(&c->scratch) > REMOTE_BODY_MAX)
        rc = errors_set(e, -E_TOO_LARGE, "results of over %u bytes", REMOTE_BODY_MAX);
    if (rc == 0 && r->id && !r->quiet)
        rc = link_answer_raw(c->link, r->id, wire_data(&c->scratch), wire_length(&c->scratch));
    if (rc == 0 && !r->quiet)
        remote_keep_issued(c);
    else
        remote_undo_issued(c);
    return rc;
}

int grapnel_return(struct grapnel_request *request, const char *format, ...)
{
    struct remote *c = request->remote;
    struct grapnel *g = c->g;
    va_list ap;
    struct typed_list list = {0};
    struct error e = {0};
    int rc;

    va_start(ap, format);
    list.at = &ap;
    context_lock(g);
    rc = c->error.code ? -E_CLOSED : answer(request, format, &list, &e);
    if (request->quiet && request->id && !c->error.code)
        link_answer_raw(c->link, request->id, &no_results, 1);
    else if (rc < 0 && request->id)
        link_fail(c->link, request->id, rc, e.detail);
    request_free(request);
    context_unlock(g);
    va_end(ap);
    return rc;
}

/* {"error": message} */
static int put_failure(struct wire_buf *to, const char *message)
{
    int rc = typed_put_head(to, TYPED_MAP, 1);

    if (rc == 0)
        rc = typed_put_text(to, "error", 5);
    return rc == 0 ? typed_put_text(to, message, strlen(message)) : rc;
}

void grapnel_fail(struct grapnel_request *request, const char *message)
{
    struct remote *c = request->remote;
    struct grapnel *g = c->g;
    struct wire_buf body = {0};

    context_lock(g);
    if (request->id && !c->error.code) {
        if (put_failure(&body, message) < 0 ||
            link_answer_raw(c->link, request->id, wire_data(&body), wire_length(&body)) < 0)
            link_fail(c->link, request->id, -E_REMOTE, message);
        wire_free(&body);
    }
    request_free(request);
    context_unlock(g);
}
