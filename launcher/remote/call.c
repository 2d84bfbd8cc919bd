/* Asking the code of an instance: grapnel_call and its like of the public header. */
#include "launcher/remote/call.h"

#include <string.h>

#include "launcher/remote/instances.h"
#include "launcher/remote/typed.h"
#include "proto/values.h"

#define FLAG_COPY     0x1u /* of the operation "call" */
#define FLAG_NO_REPLY 0x2u
#define DEPTH_SHIFT   8

/* What is asked of whom. */
struct question {
    struct remote *remote;
    const char *op;   /* "call", "index" … */
    const char *path; /* of a call; NULL: */
    const struct grapnel_ref *ref;
    unsigned flags; /* GRAPNEL_CALL_* */
};

/* How many arguments each operation takes besides the object. */
static const struct {
    const char *name;
    size_t least, most;
} operations[] = {{"call", 0, SIZE_MAX}, {"index", 1, 1},    {"newindex", 2, 2},
                  {"len", 0, 0},         {"tostring", 0, 0}, {"obtain", 0, 0},
                  {"close", 0, 0},       {"op", 1, 2},       {"next", 3, 3}};

/* What the other end would take for a breach is the caller's mistake. */
static int check_question(const struct question *q, size_t count, struct error *e)
{
    size_t i = 0, most = sizeof operations / sizeof *operations;

    if (context_refuse_forked(q->remote->g, e) < 0)
        return e->code;
    while (i < most && strcmp(operations[i].name, q->op) != 0)
        i++;
    if (i == most)
        return errors_set(e, -E_ARGUMENT, "\"%.40s\" is no operation on a ref", q->op);
    if (!q->path && !q->ref)
        return errors_set(e, -E_ARGUMENT, "the path is NULL");
    if (count < operations[i].least || count > operations[i].most)
        return errors_set(e, -E_ARGUMENT, "\"%s\" of a ref takes %zu argument%s, not %zu", q->op,
                          operations[i].most, operations[i].most == 1 ? "" : "s", count);
    return 0;
}

/* Writes the body up to the arguments, of which `count` follow. */
static int begin(const struct question *q, size_t count, struct error *e)
{
    struct remote *c = q->remote;
    struct wire_buf *to = &c->scratch;
    int is_call = strcmp(q->op, "call") == 0;
    uint64_t flags = (uint64_t)(unsigned)c->depth << DEPTH_SHIFT;
    int rc = remote_begin(c, q->op, count + 1 + (is_call ? 1 : 0), e);

    if (rc < 0)
        return rc;
    if (is_call) {
        flags |= q->flags & GRAPNEL_CALL_REFS ? 0 : FLAG_COPY;
        flags |= q->flags & GRAPNEL_CALL_NO_REPLY ? FLAG_NO_REPLY : 0;
        rc = typed_put_head(to, TYPED_UINT, flags);
    }
    if (rc == 0 && q->ref)
        rc = typed_put_ref(to, ref_id(q->ref), NULL);
    else if (rc == 0 && q->path)
        rc = typed_put_text(to, q->path, strlen(q->path));
    return rc < 0 ? errors_set(e, rc, "a call") : 0;
}

static struct grapnel_future *finish(const struct question *q, int rc, struct error *e)
{
    struct grapnel_future *f = rc == 0 ? remote_send(q->remote, e) : NULL;

    if (!f) {
        remote_undo_issued(q->remote);
        return NULL;
    }
    f->is_call = strcmp(q->op, "call") == 0;
    f->no_reply = (q->flags & GRAPNEL_CALL_NO_REPLY) != 0;
    return f;
}

static struct grapnel_future *ask(const struct question *q, const char *format,
                                  struct typed_list *list, struct error *e)
{
    int n = typed_count(format, e);
    int rc = n < 0 ? n : check_question(q, (size_t)n, e);

    rc = rc < 0 ? rc : begin(q, (size_t)n, e);
    if (rc == 0 && n > 0)
        rc = typed_put(q->remote, format, list, e);
    return finish(q, rc, e);
}

/* "op" [name, operand] is written with the object between the two; where there is only one operand,
 * it is the object again, as Lua does it. */
static int put_operation(const struct question *q, const struct value *args, struct error *e)
{
    struct wire_buf *to = &q->remote->scratch;
    int rc = remote_begin(q->remote, q->op, 3, e);

    if (rc == 0)
        rc = typed_put_value(q->remote, values_at(args, 0), e);
    if (rc == 0)
        rc = typed_put_ref(to, ref_id(q->ref), NULL);
    if (rc != 0)
        return rc;
    return values_count(args) == 1 ? typed_put_ref(to, ref_id(q->ref), NULL)
                                   : typed_put_value(q->remote, values_at(args, 1), e);
}

static struct grapnel_future *ask_value(const struct question *q, const struct value *args,
                                        struct error *e)
{
    size_t n = values_count(args);
    int rc = check_question(q, n, e);

    if (rc == 0 && strcmp(q->op, "op") == 0) {
        rc = put_operation(q, args, e);
    } else if (rc == 0) {
        rc = begin(q, n, e);
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = typed_put_value(q->remote, values_at(args, i), e);
    }
    if (rc < 0 && !e->code)
        errors_set(e, rc == -E_LIMIT ? -E_TOO_LARGE : rc, "arguments");
    return finish(q, rc, e);
}

/* ---- starting ---- */

static struct question of_path(const struct grapnel_instance *i, const char *path)
{
    return (struct question){.remote = instances_remote(i), .op = "call", .path = path};
}

/* What was not had is NULL: an instance of a connection that was not made, the ref of a value that
 * is none. */
static int no_object(const char *what, struct grapnel_error *error)
{
    struct error e = {0};

    errors_set(&e, -E_ARGUMENT, "the %s is NULL", what);
    return context_error(error, "", &e);
}

static struct question of_ref(const struct grapnel_ref *ref, const char *op)
{
    return (struct question){.remote = ref_remote(ref), .op = op, .ref = ref};
}

static struct grapnel_future *start(const struct question *q, struct grapnel_error *error,
                                    const char *format, struct typed_list *list)
{
    struct grapnel_future *f;
    struct error e = {0};

    f = ask(q, format, list, &e);
    if (!f)
        context_error(error, q->remote->name, &e);
    return f;
}

struct grapnel_future *grapnel_call_start(struct grapnel_instance *i, const char *path,
                                          struct grapnel_error *error, const char *format, ...)
{
    struct grapnel_future *f;
    struct grapnel *g;
    va_list ap;
    struct typed_list list = {0};
    struct question q;

    if (!i) {
        no_object("instance", error);
        return NULL;
    }
    g = instances_context(i);
    va_start(ap, format);
    list.at = &ap;
    context_lock(g);
    q = of_path(i, path);
    f = start(&q, error, format, &list);
    remote_unlock(q.remote);
    va_end(ap);
    return f;
}

struct grapnel_future *grapnel_call_ref_start(struct grapnel_ref *ref, struct grapnel_error *error,
                                              const char *format, ...)
{
    struct grapnel_future *f;
    va_list ap;
    struct typed_list list = {0};
    struct question q;

    if (!ref) {
        no_object("ref", error);
        return NULL;
    }
    q = of_ref(ref, "call");
    va_start(ap, format);
    list.at = &ap;
    context_lock(q.remote->g);
    f = start(&q, error, format, &list);
    remote_unlock(q.remote);
    va_end(ap);
    return f;
}

static int check(const struct grapnel_call_options *call, const struct remote *c, struct error *e)
{
    if (!call->path == !call->ref)
        return errors_set(e, -E_ARGUMENT, "give either a path or a ref");
    if (call->ref && ref_remote(call->ref) != c)
        return errors_set(e, -E_STALE, "the ref is not of this instance, or of one before");
    if (call->op && !call->ref)
        return errors_set(e, -E_ARGUMENT, "\"%.40s\" is for refs", call->op);
    if (call->args && grapnel_value_type(call->args) != GRAPNEL_ARRAY)
        return errors_set(e, -E_ARGUMENT, "the arguments are no array");
    return 0;
}

struct grapnel_future *grapnel_callv(struct grapnel_instance *i,
                                     const struct grapnel_call_options *call,
                                     struct grapnel_error *error)
{
    struct grapnel_future *f = NULL;
    struct error e = {0};
    struct grapnel *g;

    if (!i) {
        no_object("instance", error);
        return NULL;
    }
    g = instances_context(i);
    context_lock(g);
    struct question q = {.remote = instances_remote(i),
                         .op = call->op ? call->op : "call",
                         .path = call->path,
                         .ref = call->ref,
                         .flags = call->flags};
    if (check(call, q.remote, &e) == 0)
        f = ask_value(&q, (const struct value *)call->args, &e);
    if (f && call->timeout > 0)
        grapnel_future_expire(f, call->timeout);
    if (!f)
        context_error(error, q.remote->name, &e);
    remote_unlock(q.remote);
    return f;
}

struct grapnel_future *call_encoded(const struct grapnel_ref *ref, size_t count,
                                    const struct wire_buf *args, struct error *e)
{
    struct question q = of_ref(ref, "call");
    struct remote *c = q.remote;
    struct grapnel_future *f;
    int rc;

    context_lock(c->g);
    rc = begin(&q, count, e);
    if (rc == 0 && wire_put(&c->scratch, wire_data(args), wire_length(args)) < 0)
        rc = errors_set(e, -E_NOMEM, "a call");
    f = finish(&q, rc, e);
    remote_unlock(c);
    return f;
}

/* ---- waiting ---- */

/* Waits for f (NULL: it was not started, and *error is filled), frees it, and hands its value on.
 */
static int conclude(struct grapnel_future *f, int64_t timeout, struct grapnel_value **reply,
                    struct grapnel_error *error, int code)
{
    if (reply)
        *reply = NULL;
    if (!f)
        return code;
    code = answer_wait(f, timeout, error);
    if (code == 0 && reply)
        *reply = grapnel_future_take(f);
    grapnel_future_free(f);
    return code;
}

static struct grapnel_future *ask_at_once(const struct question *q, const char *format,
                                          struct typed_list *list, struct error *e)
{
    struct remote *c = q->remote;
    struct grapnel_future *f;

    c->hurry = 1;
    f = ask(q, format, list, e);
    c->hurry = 0;
    return f;
}

/* Asks and waits: once, with the lock held from the asking to the waiting. */
static int ask_and_wait(const struct question *q, int64_t timeout, struct grapnel_value **reply,
                        struct grapnel_error *error, const char *format, struct typed_list *list)
{
    struct grapnel *g = q->remote->g;
    struct grapnel_future *f = NULL;
    struct error e = {0};

    if (context_in_callback(g))
        errors_set(&e, -E_ARGUMENT, "callbacks must not wait: start a call");
    else
        f = ask_at_once(q, format, list, &e);
    if (!f)
        context_error(error, q->remote->name, &e);
    return conclude(f, timeout, reply, error, e.code);
}

int grapnel_call(struct grapnel_instance *i, const char *path, struct grapnel_value **reply,
                 struct grapnel_error *error, const char *format, ...)
{
    struct grapnel *g;
    va_list ap;
    struct typed_list list = {0};
    struct question q;
    int code;

    if (!i)
        return conclude(NULL, 0, reply, error, no_object("instance", error));
    g = instances_context(i);
    va_start(ap, format);
    list.at = &ap;
    context_lock(g);
    q = of_path(i, path);
    code = ask_and_wait(&q, q.remote->timeout_ms, reply, error, format, &list);
    context_unlock(g);
    va_end(ap);
    return code;
}

/* The operation `op` on ref. */
static int operate(struct grapnel_ref *ref, const char *op, struct grapnel_value **reply,
                   struct grapnel_error *error, const char *format, struct typed_list *list)
{
    struct question q;
    struct grapnel *g;
    int code;

    if (!ref)
        return conclude(NULL, 0, reply, error, no_object("ref", error));
    q = of_ref(ref, op);
    g = q.remote->g;
    context_lock(g);
    code = ask_and_wait(&q, q.remote->timeout_ms, reply, error, format, list);
    context_unlock(g);
    return code;
}

int grapnel_call_ref(struct grapnel_ref *ref, struct grapnel_value **reply,
                     struct grapnel_error *error, const char *format, ...)
{
    va_list ap;
    struct typed_list list = {0};
    int code;

    va_start(ap, format);
    list.at = &ap;
    code = operate(ref, "call", reply, error, format, &list);
    va_end(ap);
    return code;
}

int grapnel_ref_index(struct grapnel_ref *ref, struct grapnel_value **reply,
                      struct grapnel_error *error, const char *format, ...)
{
    va_list ap;
    struct typed_list list = {0};
    int code;

    va_start(ap, format);
    list.at = &ap;
    code = operate(ref, "index", reply, error, format, &list);
    va_end(ap);
    return code;
}

int grapnel_ref_set(struct grapnel_ref *ref, struct grapnel_error *error, const char *format, ...)
{
    va_list ap;
    struct typed_list list = {0};
    int code;

    va_start(ap, format);
    list.at = &ap;
    code = operate(ref, "newindex", NULL, error, format, &list);
    va_end(ap);
    return code;
}

int64_t grapnel_ref_length(struct grapnel_ref *ref, struct grapnel_error *error)
{
    struct grapnel_value *reply;
    int64_t n = operate(ref, "len", &reply, error, "", NULL);

    if (n == 0)
        n = grapnel_value_int(reply, 0);
    grapnel_value_free(reply);
    return n;
}

int grapnel_ref_obtain(struct grapnel_ref *ref, struct grapnel_value **reply,
                       struct grapnel_error *error)
{
    return operate(ref, "obtain", reply, error, "", NULL);
}
