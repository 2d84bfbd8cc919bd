/* Calls of ours, from their bodies to the link (remote.h). */
#include <stdlib.h>
#include <string.h>

#include "launcher/remote/remote.h"
#include "launcher/remote/typed.h"

#define SCRATCH_KEEP (64 * 1024)

int remote_begin(struct remote *c, const char *op, size_t count, struct error *e)
{
    const struct error *over = c->error.code ? &c->error : link_error(c->link);

    size_t n = strlen(op);
    int rc;

    if (over->code)
        return errors_set(e, over->code, "%s", over->detail);
    if (c->depth > c->depth_max)
        return errors_set(e, -E_DEPTH, "%d calls within calls", c->depth);
    if (c->pending >= c->pending_max)
        return errors_set(e, -E_LIMIT, "%zu calls wait for their answers", c->pending);
    wire_take(&c->scratch, wire_length(&c->scratch));
    wire_trim(&c->scratch, SCRATCH_KEEP);
    rc = typed_put_head(&c->scratch, TYPED_ARRAY, 2);
    if (rc == 0)
        rc = typed_put_text(&c->scratch, op, n);
    if (rc == 0)
        rc = typed_put_head(&c->scratch, TYPED_ARRAY, count);
    return rc < 0 ? errors_set(e, rc, "a call") : 0;
}

void remote_keep_issued(struct remote *c)
{
    c->issued.n = 0;
}

void remote_undo_issued(struct remote *c)
{
    struct remote_issued issued = c->issued;

    c->issued = (struct remote_issued){0}; /* what is released may call again */
    for (size_t i = 0; i < issued.n; i++)
        remote_release_function(c, issued.ids[i], 1);
    free(issued.ids);
}

static void on_answered(void *arg, int code, const uint8_t *body, size_t n, const char *text);

/* The link has taken f, or will not: -E_LIMIT means later. */
static int give_link(struct grapnel_future *f, const uint8_t *body, size_t n)
{
    return link_call_raw(f->remote->link, body, n, on_answered, f, &f->id);
}

/* Calls that had to wait, as far as the link takes them now. */
static void send_queue(struct remote *c)
{
    while (c->queue && !c->error.code) {
        struct grapnel_future *f = c->queue;
        int rc = f->cancelled ? -E_CANCELLED : give_link(f, f->body, f->n);
        if (rc == -E_LIMIT)
            return;
        c->queue = f->next;
        c->queue_tail = c->queue ? c->queue_tail : NULL;
        c->queued_bytes -= f->n;
        if (rc < 0) {
            c->pending--;
            answer_came(f, rc, NULL, 0, "before it was sent");
        } else if (f->body != f->small) {
            free(f->body);
            f->body = NULL;
        }
    }
}

static void on_answered(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct grapnel_future *f = arg;
    struct remote *c = f->remote;

    remote_hold(c);
    c->pending--;
    answer_came(f, code, body, n, text);
    if (c->queue)
        send_queue(c);
    remote_release(c);
}

static int enqueue(struct remote *c, struct grapnel_future *f)
{
    size_t n = wire_length(&c->scratch);

    if (c->queued_bytes + n > REMOTE_QUEUE_MAX)
        return -E_LIMIT;
    if (answer_keep(f, wire_data(&c->scratch), n) < 0)
        return -E_NOMEM;
    f->next = NULL;
    *(c->queue ? &c->queue_tail->next : &c->queue) = f;
    c->queue_tail = f;
    c->queued_bytes += n;
    return 0;
}

struct grapnel_future *remote_send(struct remote *c, struct error *e)
{
    struct grapnel_future *f = answer_new(c);
    size_t n = wire_length(&c->scratch);
    int rc;

    if (!f)
        rc = -E_NOMEM;
    else if (n > REMOTE_BODY_MAX)
        rc = -E_TOO_LARGE;
    else
        rc = c->queue ? -E_LIMIT : give_link(f, wire_data(&c->scratch), n);
    if (f && rc == -E_LIMIT)
        rc = enqueue(c, f);
    if (rc == 0) {
        remote_keep_issued(c);
        f->under_way = 1;
        c->pending++;
        return f;
    }
    if (rc == -E_TOO_LARGE)
        errors_set(e, rc, "a call of %zu bytes; send it through a channel", n);
    else
        errors_set(e, rc, "%zu calls wait for their answers", c->pending);
    if (f)
        answer_destroy(f);
    return NULL;
}
