/* Answers that are under way: struct grapnel_future of the public header. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/remote/remote.h"
#include "proto/values.h"

#define REF_MARK "\xd8\x27" /* how a ref begins: what holds none of these bytes holds no ref */

/* ---- life ---- */

struct grapnel_future *answer_new(struct remote *c)
{
    struct grapnel_future *f = c->spare;

    if (f) {
        c->spare = f->next;
        c->spares--;
        memset(f, 0, offsetof(struct grapnel_future, small));
    } else if ((f = malloc(sizeof *f)) == NULL) {
        return NULL;
    } else {
        memset(f, 0, offsetof(struct grapnel_future, small));
    }
    f->results = f->thrown = NULL;
    f->done = NULL;
    f->arg = NULL;
    f->expiry = NULL;
    f->remote = c;
    remote_hold(c);
    return f;
}

static void drop_body(struct grapnel_future *f)
{
    if (f->body != f->small)
        free(f->body);
    f->body = NULL;
    f->n = 0;
}

static void stop_expiry(struct grapnel_future *f)
{
    if (!f->expiry)
        return;
    ev_timer_stop(f->remote->g->loop, f->expiry);
    free(f->expiry);
    f->expiry = NULL;
}

void answer_destroy(struct grapnel_future *f)
{
    struct remote *c = f->remote;

    stop_expiry(f);
    drop_body(f);
    free(f->text);
    values_free(f->results);
    values_free(f->thrown);
    if (c->spares < REMOTE_SPARES) {
        f->next = c->spare;
        c->spare = f;
        c->spares++;
    } else {
        free(f);
    }
    remote_release(c);
}

int answer_keep(struct grapnel_future *f, const uint8_t *bytes, size_t n)
{
    drop_body(f);
    f->body = n <= sizeof f->small ? f->small : malloc(n);
    if (!f->body)
        return -E_NOMEM;
    memcpy(f->body, bytes, n);
    f->n = n;
    return 0;
}

/* ---- the answer ---- */

static void fail(struct grapnel_future *f, int code, const char *text)
{
    drop_body(f);
    f->code = code;
    free(f->text);
    f->text = text && *text ? strdup(text) : NULL;
}

/* What the code there threw, as words. */
static void fail_thrown(struct grapnel_future *f)
{
    const struct value *thrown = values_get(f->thrown, "error");
    const char *traceback = values_as_string(values_get(f->thrown, "traceback"), NULL);
    const char *said = values_as_string(thrown, NULL);
    char *json = said ? NULL : values_json(thrown), *text;

    said = said ? said : json ? json : "an error that cannot be shown";
    if (traceback && *traceback && asprintf(&text, "%s; remote traceback: %s", said, traceback) > 0)
        said = text;
    else
        text = NULL;
    fail(f, -E_REMOTE, said);
    free(json);
    free(text);
}

/* nil and a text: how functions of Lua say that they failed. */
static void judge(struct grapnel_future *f)
{
    const char *said = values_as_string(values_at(f->results, 1), NULL);

    if (f->is_call && said && values_type(values_at(f->results, 0)) == VALUE_NIL)
        fail(f, -E_REMOTE, said);
}

static void decode(struct grapnel_future *f)
{
    struct value *v = NULL;
    int rc;

    if (f->decoded || f->code)
        return;
    f->decoded = 1;
    rc = values_decode_many(f->body, f->n, REMOTE_ITEMS_MAX, &v);
    if (rc == 0)
        rc = ref_bind(f->remote, v);
    if (rc < 0) {
        values_free(v);
        fail(f, rc, "the answer");
        return;
    }
    drop_body(f);
    if (values_type(v) == VALUE_ARRAY) {
        f->results = v;
        judge(f);
    } else if (values_get(v, "error") || values_type(v) == VALUE_MAP) {
        f->thrown = v;
        fail_thrown(f);
    } else {
        values_free(v);
        fail(f, -E_MALFORMED, "the answer is no list of results");
    }
}

/* Of an answer that nobody wants: what is counted in it is given back. */
static void discard(struct remote *c, const uint8_t *body, size_t n)
{
    struct value *v = NULL;

    if (n > 0 && memmem(body, n, REF_MARK, 2) &&
        values_decode_many(body, n, REMOTE_ITEMS_MAX, &v) == 0) {
        ref_bind(c, v);
        values_free(v);
    }
}

static void become_ready(struct grapnel_future *f)
{
    stop_expiry(f);
    f->ready = 1;
    if (f->done)
        f->done(f->arg, f);
}

void answer_came(struct grapnel_future *f, int code, const uint8_t *body, size_t n,
                 const char *text)
{
    f->id = 0;
    f->under_way = 0;
    if (f->freed || f->ready) {
        discard(f->remote, body, n);
        if (f->freed)
            answer_destroy(f);
        return;
    }
    if (code)
        fail(f, code, text);
    else if (answer_keep(f, body, n) < 0)
        fail(f, -E_NOMEM, "the answer");
    else if (memmem(body, n, REF_MARK, 2))
        decode(f); /* what is counted must not wait */
    become_ready(f);
}

/* ---- public ---- */

static void decode_ready(struct grapnel_future *f)
{
    if (f->ready)
        decode(f);
}

int grapnel_future_ready(const struct grapnel_future *f)
{
    struct grapnel *g = f->remote->g;
    int ready;

    context_lock(g);
    ready = f->ready;
    context_unlock_quiet(g);
    return ready;
}

static int is_ready(void *arg)
{
    return ((struct grapnel_future *)arg)->ready;
}

/* With the lock held: what there is to say of a ready one. */
static int tell(struct grapnel_future *f, struct grapnel_error *error)
{
    struct error e = {0};

    decode(f);
    if (!f->code)
        return 0;
    errors_set(&e, f->code, "%s", f->text ? f->text : "");
    return context_error(error, f->remote->name, &e);
}

int answer_wait(struct grapnel_future *f, int64_t timeout, struct grapnel_error *error)
{
    struct remote *c = f->remote;
    struct error e = {0};
    int code = 0;

    if (!f->ready) {
        batch_send(&c->batch);
        code = context_wait(c->g, is_ready, f, context_deadline(timeout));
    }
    if (code == 0)
        return tell(f, error);
    errors_set(&e, code, code == -E_TIMEOUT ? "no answer yet" : "callbacks must not wait");
    return context_error(error, c->name, &e);
}

int grapnel_future_wait(struct grapnel_future *f, int64_t timeout, struct grapnel_error *error)
{
    struct remote *c = f->remote;
    int code;

    if (context_enter(c->g, error) < 0)
        return -E_ARGUMENT;
    code = answer_wait(f, timeout, error);
    remote_unlock(c);
    return code;
}

int grapnel_future_error(struct grapnel_future *f, struct grapnel_error *error)
{
    int code;

    context_lock(f->remote->g);
    code = f->ready ? tell(f, error) : 0;
    context_unlock_quiet(f->remote->g);
    return code;
}

const struct grapnel_value *grapnel_future_results(struct grapnel_future *f)
{
    const struct value *v;

    context_lock(f->remote->g);
    decode_ready(f);
    v = f->taken ? NULL : f->results;
    context_unlock_quiet(f->remote->g);
    return (const struct grapnel_value *)v;
}

const struct grapnel_value *grapnel_future_value(struct grapnel_future *f)
{
    const struct grapnel_value *results = grapnel_future_results(f);

    if (!results || f->code)
        return NULL;
    return grapnel_value_at(results, 0);
}

struct grapnel_value *grapnel_future_take(struct grapnel_future *f)
{
    struct value *v = NULL;

    context_lock(f->remote->g);
    decode_ready(f);
    if (f->results && !f->code && !f->taken) {
        v = values_count(f->results) ? values_take(f->results, 0) : values_nil();
        f->taken = 1;
    }
    context_unlock_quiet(f->remote->g);
    return (struct grapnel_value *)v;
}

struct value *answer_take_results(struct grapnel_future *f)
{
    struct value *v = NULL;

    decode_ready(f);
    if (!f->code && !f->taken) {
        v = f->results;
        f->results = NULL;
        f->taken = 1;
    }
    return v;
}

const struct grapnel_value *grapnel_future_thrown(struct grapnel_future *f, const char **traceback)
{
    const struct value *v;

    context_lock(f->remote->g);
    decode_ready(f);
    v = values_get(f->thrown, "error");
    if (traceback)
        *traceback = values_as_string(values_get(f->thrown, "traceback"), NULL);
    context_unlock_quiet(f->remote->g);
    return (const struct grapnel_value *)v;
}

/* Asks for its end; one that was not sent yet is answered from here in its turn. */
static void cancel(struct grapnel_future *f)
{
    if (f->cancelled || f->ready || f->no_reply)
        return;
    f->cancelled = 1;
    if (f->id)
        link_cancel(f->remote->link, f->id);
}

void grapnel_future_cancel(struct grapnel_future *f)
{
    context_lock(f->remote->g);
    cancel(f);
    context_unlock(f->remote->g);
}

static void on_expiry(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct grapnel_future *f = w->data;

    (void)loop;
    (void)revents;
    cancel(f);
    fail(f, -E_TIMEOUT, "the call was cancelled at its time limit");
    become_ready(f);
}

int grapnel_future_expire(struct grapnel_future *f, int64_t timeout)
{
    struct grapnel *g = f->remote->g;
    int rc = 0;

    context_lock(g);
    stop_expiry(f);
    if (!f->ready && timeout >= 0) {
        f->expiry = malloc(sizeof *f->expiry);
        rc = f->expiry ? 0 : -E_NOMEM;
    }
    if (f->expiry) {
        ev_now_update(g->loop);
        ev_timer_init(f->expiry, on_expiry, (double)timeout / 1e3, 0.);
        f->expiry->data = f;
        ev_timer_start(g->loop, f->expiry);
    }
    context_unlock(g);
    return rc;
}

void grapnel_future_on_done(struct grapnel_future *f,
                            void (*done)(void *arg, struct grapnel_future *f), void *arg)
{
    struct grapnel *g = f->remote->g;

    context_lock(g);
    f->done = done;
    f->arg = arg;
    if (f->ready && done)
        done(arg, f);
    context_unlock(g);
}

void grapnel_future_free(struct grapnel_future *f)
{
    struct grapnel *g = f ? f->remote->g : NULL;

    if (!f || context_enter(g, NULL) < 0)
        return;
    if (!f->under_way) {
        answer_destroy(f);
        context_unlock_quiet(g);
        return;
    }
    stop_expiry(f);
    cancel(f);
    f->freed = 1;
    context_unlock(g);
}
