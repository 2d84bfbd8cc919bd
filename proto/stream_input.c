/* What a stream receives: data within its window, credit, and the peer's ends. */
#include "proto/link_internal.h"

/* ---- windows ---- */

/* Most by which the window may grow now, within the stream's and the link's bounds. */
static size_t growth(const struct stream *s, size_t wish)
{
    const struct link *l = s->link;
    size_t memory = l->memory - (l->grown < l->memory ? l->grown : l->memory);
    size_t room = s->window < LINK_WINDOW_MAX ? LINK_WINDOW_MAX - s->window : 0;
    wish = wish < room ? wish : room;
    return wish < memory ? wish : memory;
}

/* To be called when s has consumed some.  Adds to `owed` what the window grows by. */
static void grow(struct stream *s)
{
    struct link *l = s->link;
    if (s->window < l->window_first && link_stream_count(l) <= LINK_FIRST_FULL) {
        s->owed += l->window_first - s->window; /* what the implied first credit lacks */
        s->window = l->window_first;
        s->paced = 0;
        return;
    }
    if (s->paced < s->window) {
        return;
    }
    /* A whole window within two round trips: it, not the line, may be what limits. */
    bool fast = l->rtt != 0 && l->now - s->paced_since <= 2 * l->rtt;
    size_t more = fast ? growth(s, s->window) : 0;
    s->paced = 0;
    s->paced_since = l->now; /* the rest of what has come may be consumed before more comes */
    if (more >= LINK_BULK_ALONE) {
        s->owed += more;
        s->window += more;
        s->grown += more;
        l->grown += more;
    }
}

/* Gives back what was consumed, once it is worth a frame.  What waits here is missing from the
 * line, so that it must be a small part of a window that is just large enough. */
static void grant(struct stream *s)
{
    struct link *l = s->link;
    size_t worth = s->window / 4 < LINK_GRANT_MAX ? s->window / 4 : LINK_GRANT_MAX;
    if (s->owed < worth || s->eof_got || s->close_got || s->close_sent || !link_alive(l)) {
        return;
    }
    grow(s);
    struct frame f = {
        .id = s->node.id, .type = FRAME_CREDIT, .credit = {.bytes = (uint32_t)s->owed}};
    s->allowed += s->owed;
    s->owed = 0;
    link_must_put(l, &f);
}

void stream_consumed(struct stream *s, size_t n)
{
    n = n < s->held ? n : s->held;
    s->held -= n;
    s->owed += n;
    s->paced += n;
    link_enter(s->link);
    grant(s);
    link_leave(s->link);
}

/* The round trip is needed where bulk arrives, and only there: nobody is pinged for a few bytes. */
static void measure(struct link *l, size_t n)
{
    l->bulk_received += n;
    if (l->bulk_received < LINK_RTT_BULK || l->rtt_token != 0) {
        return;
    }
    if (l->rtt == 0 || l->now - l->rtt_when > LINK_RTT_LIFE_US) {
        link_ping(l, true);
    }
    l->bulk_received = 0;
}

/* Spends n bytes of the credit that we gave.  0 or the link has ended. */
static int spend(struct link *l, struct stream *s, size_t n)
{
    if (s->eof_got || s->close_got) {
        return link_broken(l, -E_PROTOCOL, "DATA on stream %lu after its %s",
                           (unsigned long)s->node.id, s->close_got ? "CLOSE" : "EOF");
    }
    if (n > s->allowed) {
        return link_broken(l, -E_PROTOCOL, "stream %lu: %zu bytes of DATA with a credit of %zu",
                           (unsigned long)s->node.id, n, s->allowed);
    }
    s->allowed -= n;
    if (s->paced == 0) {
        s->paced_since = l->now;
    }
    measure(l, n);
    return l->error.code;
}

int stream_in_data(struct link *l, const struct frames_header *h)
{
    struct stream *s = stream_any(l, h->id);
    if (s != NULL) {
        return (h->flags & FRAMES_DEFLATE) != 0 ? 0 : spend(l, s, h->length);
    }
    if (!link_past_id(l, h->id) || link_find(l, h->id) != NULL) {
        return link_broken(l, -E_PROTOCOL, "DATA for id %lu, which is no stream",
                           (unsigned long)h->id);
    }
    return 0; /* it crossed our CLOSE */
}

void stream_in_bytes(struct link *l, uint32_t id, const uint8_t *bytes, size_t n)
{
    struct stream *s = stream_any(l, id);
    if (s == NULL || n == 0) {
        return;
    }
    /* Counted as held during the callback, which may report part of it by stream_consumed. */
    s->held += n;
    size_t done = n;
    if (!s->gone && !s->close_wanted && s->handler.data != NULL) {
        done = s->handler.data(s->arg, s, bytes, n);
        done = done < n ? done : n;
    }
    stream_consumed(s, done);
}

int stream_in_unpacked(struct link *l, uint32_t id, const uint8_t *bytes, size_t n)
{
    struct stream *s = stream_any(l, id);
    if (s != NULL && spend(l, s, n) == 0) {
        stream_in_bytes(l, id, bytes, n);
    }
    return l->error.code;
}

/* The stream that a frame is for; NULL: ignore it, or the link has ended. */
static struct stream *target(struct link *l, const struct frame *f)
{
    struct link_node *n = link_find(l, f->id);
    if (n != NULL ? n->is_call : !link_past_id(l, f->id)) {
        link_broken(l, -E_PROTOCOL, "%s for id %lu, which is no stream", frames_name(f->type),
                    (unsigned long)f->id);
        return NULL;
    }
    return (struct stream *)n;
}

int stream_in_credit(struct link *l, const struct frame *f)
{
    struct stream *s = target(l, f);
    if (s != NULL) {
        s->credit += f->credit.bytes;
        link_schedule(s);
    }
    return l->error.code;
}

int stream_in_eof(struct link *l, const struct frame *f)
{
    struct stream *s = target(l, f);
    if (s == NULL) {
        return l->error.code;
    }
    if (s->eof_got || s->close_got) {
        return link_broken(l, -E_PROTOCOL, "EOF on stream %lu after its %s", (unsigned long)f->id,
                           s->close_got ? "CLOSE" : "EOF");
    }
    s->eof_got = true;
    if (!s->gone && !s->close_wanted && s->handler.eof != NULL) {
        s->handler.eof(s->arg, s);
    }
    return l->error.code;
}

int stream_in_close(struct link *l, const struct frame *f)
{
    struct value *result = NULL;
    struct stream *s = target(l, f);
    if (s == NULL) {
        return l->error.code;
    }
    if (s->close_got) {
        return link_broken(l, -E_PROTOCOL, "second CLOSE on stream %lu", (unsigned long)f->id);
    }
    int rc = link_decode(l, f->body, f->body_length, &result);
    if (rc != 0) {
        return link_broken(l, rc, "CLOSE with a malformed value");
    }
    s->close_got = true;
    const char *text = f->close.code != 0 ? values_as_string(result, NULL) : NULL;
    stream_finish(s, -(int)f->close.code, result, text != NULL ? text : "");
    values_free(result);
    if (!link_alive(l)) {
        return l->error.code; /* it was buried with the link */
    }
    if (s->close_sent) {
        stream_bury(s);
        return 0;
    }
    /* Answered with what stream_close said, if it was called, else simply. */
    s->close_wanted = s->close_now = true;
    wire_free(&s->queue);
    link_schedule(s);
    return l->error.code;
}

static void refuse(struct link *l, uint32_t id, int code, const char *text)
{
    struct wire_buf body = {0};
    struct value *said = values_text(text);
    if (said == NULL || values_encode(said, &body) != 0) {
        link_broken(l, -E_NOMEM, "a stream could not be refused");
    }
    struct frame f = {.id = id,
                      .type = FRAME_CLOSE,
                      .close = {.code = (uint16_t)-code},
                      .body = wire_data(&body),
                      .body_length = wire_length(&body)};
    link_must_put(l, &f);
    values_free(said);
    wire_free(&body);
}

/* Asks the owner.  A refused stream is forgotten at once: what the peer still sends for its id is
 * ignored like anything that crosses a CLOSE. */
static void offer(struct link *l, struct stream *s, const char *service, const struct value *args)
{
    struct error e = {0};
    int code = -E_NO_SERVICE;
    if (l->handler.open != NULL) {
        code = l->handler.open(l->arg, s, service, args, &e);
    }
    if (!link_alive(l)) {
        return;
    }
    if (code == 0 && s->accepted) {
        link_schedule(s);
        return;
    }
    uint32_t id = s->node.id;
    s->gone = true;
    stream_bury(s);
    if (code >= 0) {
        code = -E_NO_SERVICE;
    }
    if (e.detail[0] == '\0' && code == -E_NO_SERVICE) {
        errors_set(&e, code, "\"%.100s\"", service);
    }
    refuse(l, id, code, e.detail);
}

int stream_in_open(struct link *l, const struct frame *f)
{
    struct value *both;
    const struct value *args;
    const char *service;
    if (l->peer_goodbye) {
        return link_broken(l, -E_PROTOCOL, "OPEN after GOODBYE");
    }
    int rc = link_peer_id(l, f->id, "OPEN");
    if (rc != 0 || (rc = link_named(l, f, &both, &service, &args)) != 0) {
        return rc;
    }
    if (l->streams_peer >= LINK_STREAMS_MAX) {
        refuse(l, f->id, -E_LIMIT, "too many streams");
        goto out;
    }
    struct stream *s = stream_make(l, f->id, LINK_CREDIT_INITIAL, f->open.credit);
    if (s == NULL) {
        link_broken(l, -E_NOMEM, "a stream could not be taken");
        goto out;
    }
    offer(l, s, service, args);
out:
    values_free(both);
    return l->error.code;
}
