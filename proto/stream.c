#include "proto/stream.h"

#include <stdlib.h>
#include <string.h>

#include "proto/link_internal.h"

/* ---- making and ending ---- */

struct stream *stream_make(struct link *l, uint32_t id, size_t window, size_t credit)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->node.id = id;
    s->link = l;
    s->window = s->allowed = window;
    s->credit = credit;
    link_add(l, &s->node);
    *(link_own_id(l, id) ? &l->streams_own : &l->streams_peer) += 1;
    l->unclosed++;
    return s;
}

void stream_destroy(struct stream *s)
{
    wire_free(&s->queue);
    wire_free(&s->result);
    free(s);
}

void stream_bury(struct stream *s)
{
    struct link *l = s->link;
    link_unschedule(s);
    link_remove(l, &s->node);
    *(link_own_id(l, s->node.id) ? &l->streams_own : &l->streams_peer) -= 1;
    l->grown -= s->grown;
    s->grown = 0;
    l->unclosed -= !s->close_sent;
    s->close_sent = true;
    wire_free(&s->queue);
    s->next = l->graves;
    l->graves = s;
}

void stream_finish(struct stream *s, int code, const struct value *result, const char *text)
{
    if (s->gone) {
        return;
    }
    s->gone = true;
    if (s->handler.closed != NULL) {
        s->handler.closed(s->arg, s, code, result, text);
    }
}

/* The first window is smaller when there are many streams, so that it can do without a budget. */
static size_t first_window(const struct link *l)
{
    size_t window =
        link_stream_count(l) < LINK_FIRST_FULL ? LINK_WINDOW_FIRST : LINK_CREDIT_INITIAL;

    return window < l->window_first ? window : l->window_first;
}

static int may_open(struct link *l, struct error *e)
{
    if (!link_alive(l) || l->goodbye_said || l->input_ended) {
        return errors_set(e, -E_CLOSED, "the link opens nothing more");
    }
    if (l->streams_own >= LINK_STREAMS_MAX) {
        return errors_set(e, -E_LIMIT, "%d streams are open", LINK_STREAMS_MAX);
    }
    return 0;
}

struct stream *stream_open(struct link *l, const char *service, struct value *args,
                           const struct stream_handler *handler, void *arg, struct error *e)
{
    struct stream *s = NULL;
    struct wire_buf body = {0};
    int rc = may_open(l, e);
    if (rc != 0) {
        values_free(args);
        return NULL;
    }
    link_enter(l);
    rc = link_encode_named(&body, service, args);
    if (rc != 0) {
        goto out;
    }
    size_t window = first_window(l);
    s = stream_make(l, link_fresh_id(l), window, LINK_CREDIT_INITIAL);
    if (s == NULL) {
        rc = -E_NOMEM;
        goto out;
    }
    stream_accept(s, handler, arg);
    struct frame f = {.id = s->node.id,
                      .type = FRAME_OPEN,
                      .open = {.credit = (uint32_t)window},
                      .body = wire_data(&body),
                      .body_length = wire_length(&body)};
    rc = link_put(l, &f);
    if (rc != 0) {
        stream_bury(s);
        s = NULL;
    }
out:
    if (rc != 0) {
        errors_set(e, rc, "a stream to \"%s\" could not be opened", service);
    }
    wire_free(&body);
    link_leave(l);
    return s;
}

void stream_accept(struct stream *s, const struct stream_handler *handler, void *arg)
{
    s->accepted = true;
    stream_set_handler(s, handler, arg);
}

void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *arg)
{
    s->handler = *handler;
    s->arg = arg;
    link_schedule(s);
}

/* ---- looking ---- */

uint32_t stream_id(const struct stream *s)
{
    return s->node.id;
}

struct link *stream_link(const struct stream *s)
{
    return s->link;
}

void *stream_arg(const struct stream *s)
{
    return s->arg;
}

struct stream *stream_any(struct link *l, uint32_t id)
{
    struct link_node *n = link_find(l, id);
    return n == NULL || n->is_call ? NULL : (struct stream *)n;
}

struct stream *stream_find(struct link *l, uint32_t id)
{
    struct stream *s = stream_any(l, id);
    return s == NULL || s->gone ? NULL : s;
}

size_t stream_queued(const struct stream *s)
{
    return wire_length(&s->queue);
}

uint64_t stream_credit(const struct stream *s)
{
    return s->credit;
}

size_t stream_window(const struct stream *s)
{
    return s->window;
}

/* ---- sending ---- */

void stream_ready(struct stream *s)
{
    if (!s->ready) {
        s->ready = true;
        link_schedule(s);
    }
}

int stream_write(struct stream *s, const void *bytes, size_t n)
{
    if (s->eof_wanted || s->close_wanted || s->close_got || !link_alive(s->link)) {
        return -E_CLOSED;
    }
    int rc = wire_put(&s->queue, bytes, n);
    if (rc == 0) {
        link_schedule(s);
    }
    return rc;
}

void stream_eof(struct stream *s)
{
    s->eof_wanted = true;
    link_schedule(s);
}

/* Encodes what goes into CLOSE; if that fails, the failure is what the peer is told. */
static void set_result(struct stream *s, int code, struct value *result, const char *text)
{
    struct value *said = code < 0 && text != NULL ? values_text(text) : NULL;
    s->close_code = (uint16_t)-code;
    int rc = 0;
    wire_free(&s->result);
    if (said != NULL || result != NULL) {
        s->result.limit = frames_body_limit(FRAME_CLOSE);
        rc = values_encode(said != NULL ? said : result, &s->result);
    }
    if (rc != 0) {
        wire_free(&s->result);
        s->close_code = rc == -E_NOMEM ? E_NOMEM : E_TOO_LARGE;
    }
    values_free(said);
}

void stream_answer_late(struct stream *s)
{
    s->answer_late = true;
}

void stream_close(struct stream *s, int code, struct value *result, const char *text)
{
    /* A failure overtakes an orderly end that still waits behind queued data. */
    bool sooner = code != 0 && !s->close_now && !s->close_sent;
    if ((!s->close_wanted || sooner) && link_alive(s->link)) {
        s->close_wanted = true;
        set_result(s, code, result, text);
        if (code != 0 || s->close_got) {
            s->close_now = true;
            wire_free(&s->queue);
        }
        link_schedule(s);
    }
    values_free(result);
}
