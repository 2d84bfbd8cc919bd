/* What a link sends: control frames first, then the streams in turn.
 *
 * `out` holds whole frames in sending order.  Bytes that were handed to the owner once stay as
 * they are up to LINK_PINNED (a transport may have taken them although it said "try again"); a
 * control frame that arises later is put in at the first frame boundary after those. */
#include <string.h>

#include "proto/link_internal.h"

void link_wake(struct link *l)
{
    if (l->woken || l->in_output) {
        return;
    }
    l->woken = true;
    if (l->handler.wake != NULL) {
        l->handler.wake(l->arg, l);
    }
}

static bool answers_peer(uint8_t type)
{
    return type == FRAME_PONG || type == FRAME_CREDIT || type == FRAME_CLOSE;
}

int link_put(struct link *l, const struct frame *f)
{
    size_t before = wire_length(&l->control);
    int rc = frames_encode(&l->control, f);
    if (rc != 0) {
        return rc;
    }
    if (answers_peer(f->type)) {
        l->replies += wire_length(&l->control) - before;
    }
    link_wake(l);
    return 0;
}

void link_must_put(struct link *l, const struct frame *f)
{
    if (!link_alive(l)) {
        return;
    }
    int rc = link_put(l, f);
    if (rc != 0) {
        link_broken(l, rc, "%s could not be queued", frames_name(f->type));
    }
}

/* ---- the ring of streams that have something to send ---- */

static bool has_data(const struct stream *s)
{
    return wire_length(&s->queue) > 0 ||
           (s->ready && s->handler.fill != NULL && !s->eof_wanted && !s->close_wanted);
}

/* True when a turn would bring something forth. */
static bool sendable(const struct stream *s)
{
    if (s->close_sent || !link_alive(s->link)) {
        return false;
    }
    if (s->close_now) {
        return true;
    }
    if (has_data(s)) {
        return s->credit > 0;
    }
    return (s->eof_wanted && !s->eof_sent) || s->close_wanted;
}

static void ring_push(struct link *l, struct stream *s)
{
    s->next = NULL;
    s->in_ring = true;
    if (l->ring == NULL) {
        l->ring = s;
    } else {
        l->ring_tail->next = s;
    }
    l->ring_tail = s;
}

static struct stream *ring_pop(struct link *l)
{
    struct stream *s = l->ring;
    l->ring = s->next;
    s->next = NULL;
    s->in_ring = false;
    return s;
}

void link_unschedule(struct stream *s)
{
    struct link *l = s->link;
    struct stream *before = NULL;
    for (struct stream *at = l->ring; s->in_ring && at != NULL; at = at->next) {
        if (at == s) {
            *(before != NULL ? &before->next : &l->ring) = s->next;
            l->ring_tail = l->ring_tail == s ? before : l->ring_tail;
            s->in_ring = false;
            s->next = NULL;
            break;
        }
        before = at;
    }
}

void link_schedule(struct stream *s)
{
    if (!s->in_ring && sendable(s)) {
        ring_push(s->link, s);
        /* Behind a goodbye nothing more comes that it could go with. */
        if (!s->answer_late || s->link->goodbye_said || s->link->peer_goodbye) {
            link_wake(s->link);
        }
    }
}

/* ---- one stream's turn ---- */

/* Puts at most `room` bytes of s at `at`: what is queued first, then what fill gives. */
static size_t take_data(struct stream *s, uint8_t *at, size_t room)
{
    size_t n = wire_length(&s->queue);
    n = n < room ? n : room;
    if (n > 0) {
        memcpy(at, wire_data(&s->queue), n);
        wire_take(&s->queue, n);
        wire_trim(&s->queue, LINK_IDLE_KEEP);
    }
    if (n == room || !has_data(s)) {
        return n;
    }
    /* Cleared before, because fill may lead to a stream_ready that must not be lost. */
    s->ready = false;
    size_t got = s->handler.fill(s->arg, s, at + n, room - n);
    if (got >= room - n) {
        got = room - n;
        s->ready = true;
    }
    return n + got;
}

static bool may_deflate(const struct link *l)
{
    return l->greeted && (l->features & LINK_FEATURE_DEFLATE) != 0;
}

/* Packs the body of *h at `body` in its place, by way of the room behind it, if that pays. */
static int pack(struct link *l, struct frames_header *h, uint8_t *body)
{
    size_t n = h->length, packed;
    if (!deflate_policy_wants(&l->policy, n)) {
        return 0;
    }
    if (l->packer == NULL && (l->packer = deflate_out_new()) == NULL) {
        return 0; /* nothing has gone through the context yet, so that plain is still right */
    }
    int rc = deflate_out_pack(l->packer, body, n, body + n, DEFLATE_BOUND(n), &packed);
    if (rc != 0) {
        return rc;
    }
    memmove(body, body + n, packed);
    h->length = (uint16_t)packed;
    h->flags = FRAMES_DEFLATE;
    deflate_policy_packed(&l->policy, n, packed);
    l->saved_sending += (int64_t)n - (int64_t)packed;
    return 0;
}

static int put_data(struct link *l, struct stream *s, size_t most)
{
    bool deflate = may_deflate(l);
    most = deflate && most > DEFLATE_IN_MAX ? DEFLATE_IN_MAX : most;
    size_t room = s->credit < most ? (size_t)s->credit : most;
    if (!s->ready || s->handler.fill == NULL) {
        size_t queued = wire_length(&s->queue);
        room = queued < room ? queued : room;
    }
    uint8_t *at;
    size_t need = FRAMES_HEADER + room + (deflate ? DEFLATE_BOUND(room) : 0);
    int rc = wire_reserve(&l->out, need, &at);
    if (rc != 0) {
        return rc;
    }
    size_t n = take_data(s, at + FRAMES_HEADER, room);
    if (n == 0 || !link_alive(l) || s->close_now) {
        return 0;
    }
    struct frames_header h = {.id = s->node.id, .type = FRAME_DATA, .length = (uint16_t)n};
    if (deflate && n >= LINK_RTT_FIRST && l->marks.least == 0 && l->rtt_token == 0) {
        link_ping(l, true); /* which goes ahead, while the line is still empty */
    }
    if (deflate) {
        rc = pack(l, &h, at + FRAMES_HEADER);
    }
    frames_put_header(at, &h);
    wire_commit(&l->out, FRAMES_HEADER + (size_t)h.length);
    s->credit -= n;
    return rc;
}

static int put_eof(struct link *l, struct stream *s)
{
    struct frame f = {.id = s->node.id, .type = FRAME_EOF};
    s->eof_sent = true;
    return frames_encode(&l->out, &f);
}

static int put_close(struct link *l, struct stream *s)
{
    static const uint8_t nil = 0xf6;
    bool empty = wire_length(&s->result) == 0;
    struct frame f = {.id = s->node.id,
                      .type = FRAME_CLOSE,
                      .close = {.code = s->close_code},
                      .body = empty ? &nil : wire_data(&s->result),
                      .body_length = empty ? 1 : wire_length(&s->result)};
    int rc = frames_encode(&l->out, &f);
    s->close_sent = true;
    l->unclosed--;
    wire_free(&s->result);
    if (s->close_got) {
        stream_bury(s);
    }
    return rc;
}

/* At most one DATA frame of s, with the EOF and CLOSE that follow it. */
static int turn(struct link *l, struct stream *s, size_t most)
{
    int rc = 0;
    if (!s->close_now && has_data(s) && s->credit > 0) {
        rc = put_data(l, s, most);
    }
    if (rc == 0 && link_alive(l) && !s->close_now && s->eof_wanted && !s->eof_sent &&
        !has_data(s)) {
        rc = put_eof(l, s);
    }
    if (rc == 0 && link_alive(l) && s->close_wanted && (s->close_now || !has_data(s))) {
        rc = put_close(l, s);
    }
    return rc;
}

/* Bodies that are packed take a while to make, in which l->now stands still: no mark is put behind
 * them before they are handed out. */
static int mark(struct link *l, bool first)
{
    return may_deflate(l) && (first || !l->policy.slow) ? link_mark_put(l) : 0;
}

/* `waits`: bytes that stood in `out` before this turn. */
static void pull(struct link *l, size_t waits)
{
    /* Bulk is only made again when little is left, so that what comes later does not stand behind
     * much, and moving bytes within `out` stays cheap. */
    if (waits >= LINK_BULK_LOW) {
        return;
    }
    /* A pipe that took all is likely to take much again. */
    size_t enough = waits == 0 ? LINK_OUTPUT_MAX : LINK_BULK_LOW;
    bool first = true;
    while (l->ring != NULL && link_alive(l) && wire_length(&l->out) < enough) {
        struct stream *s = ring_pop(l);
        if (!sendable(s)) {
            continue; /* a callback in its last turn put it in again, and the turn did the rest */
        }
        int rc = mark(l, first);
        if (rc == 0) {
            rc = turn(l, s, l->ring == NULL ? LINK_BULK_ALONE : LINK_BULK_SHARED);
        }
        first = false;
        if (rc != 0) {
            link_broken(l, rc, "stream %lu could not be sent", (unsigned long)s->node.id);
        } else if (!s->in_ring && sendable(s)) {
            ring_push(l, s);
        }
    }
}

/* ---- putting together ---- */

/* Offset in `out` of the first frame that may still be preceded by others. */
static size_t boundary(const struct link *l)
{
    size_t length = wire_length(&l->out);
    size_t at = l->partial < length ? l->partial : length; /* the preface is not in it at first */
    /* Control frames keep their order among themselves. */
    at = at < l->control_end ? l->control_end : at;
    while (at < l->pinned) {
        at += FRAMES_HEADER + frames_length(wire_data(&l->out) + at);
    }
    return at;
}

/* Puts the control frames into `out` at offset `at`, moving the smaller part. */
static int insert(struct link *l, size_t at)
{
    size_t n = wire_length(&l->control);
    struct wire_buf *out = &l->out;
    if (out->start >= n && at <= wire_length(out) / 2) {
        memmove(out->data + out->start - n, out->data + out->start, at);
        out->start -= n;
    } else {
        uint8_t *end;
        int rc = wire_reserve(out, n, &end);
        if (rc != 0) {
            return rc;
        }
        uint8_t *gap = out->data + out->start + at;
        memmove(gap + n, gap, (size_t)(end - gap));
        wire_commit(out, n);
    }
    memcpy(out->data + out->start + at, wire_data(&l->control), n);
    return 0;
}

static int merge_control(struct link *l)
{
    size_t n = wire_length(&l->control);
    if (n == 0) {
        return 0;
    }
    int rc = 0;
    if (wire_length(&l->out) == 0 && n > LINK_CONTROL_COPY) {
        struct wire_buf swap = l->out;
        l->out = l->control;
        l->control = swap;
        l->control_end = n;
    } else {
        size_t at = boundary(l);
        rc = insert(l, at);
        if (rc == 0) {
            l->control_end = at + n;
            wire_take(&l->control, n);
            wire_trim(&l->control, LINK_CONTROL_COPY);
        }
    }
    if (rc == 0) {
        l->replies_out += l->replies;
        l->replies = 0;
    }
    return rc;
}

int link_output(struct link *l, const uint8_t **bytes, size_t *n, uint64_t now_us)
{
    *bytes = NULL;
    *n = 0;
    if (l->in_output) {
        return 0;
    }
    if (now_us > l->now) {
        l->now = now_us;
    }
    link_enter(l);
    l->in_output = true;
    l->woken = false;
    link_unhold(l);
    size_t waits = wire_length(&l->out);
    int rc = merge_control(l);
    if (rc == 0) {
        pull(l, waits);
        rc = merge_control(l); /* what the callbacks of pull brought forth */
    }
    l->in_output = false;
    if (rc != 0) {
        link_broken(l, rc, "output could not be queued");
    }
    *n = wire_length(&l->out);
    *bytes = wire_data(&l->out);
    l->pinned = *n < LINK_PINNED ? *n : LINK_PINNED;
    l->out_used = l->out_used || *n > 0;
    link_leave(l);
    return *n > 0 ? 0 : l->error.code;
}

void link_sent(struct link *l, size_t n, uint64_t now_us)
{
    if (now_us > l->now) {
        l->now = now_us;
    }
    link_mark_taken(l, n == wire_length(&l->out));
    l->sent += n;
    l->pinned -= n < l->pinned ? n : l->pinned;
    l->control_end -= n < l->control_end ? n : l->control_end;
    l->replies_out -= n < l->replies_out ? n : l->replies_out;
    if (n == wire_length(&l->out)) {
        l->partial = 0;
        wire_take(&l->out, n);
        wire_trim(&l->out, LINK_OUT_KEEP);
        n = 0;
    }
    while (n > 0) {
        if (l->partial == 0) {
            l->partial = FRAMES_HEADER + frames_length(wire_data(&l->out));
        }
        size_t part = n < l->partial ? n : l->partial;
        wire_take(&l->out, part);
        l->partial -= part;
        n -= part;
    }
    if (link_may_unhold(l)) {
        link_wake(l);
    }
}

int link_has_output(const struct link *l)
{
    return link_backlog(l) > 0 || l->ring != NULL || link_may_unhold(l);
}

size_t link_backlog(const struct link *l)
{
    return wire_length(&l->out) + wire_length(&l->control);
}

int link_congested(const struct link *l)
{
    return l->replies + l->replies_out > LINK_CONTROL_MAX;
}

void link_last_words(struct link *l, int code, const char *text)
{
    /* The streams are taken off the ring here, because none of them is served any more. */
    while (l->ring != NULL) {
        ring_pop(l);
    }
    size_t keep = boundary(l);
    if (keep < wire_length(&l->out)) {
        l->out.end = l->out.start + keep;
    }
    struct frame f = {.type = FRAME_GOODBYE,
                      .goodbye = {.code = (uint16_t)-code},
                      .body = (const uint8_t *)text,
                      .body_length = link_text_length(text, frames_body_limit(FRAME_GOODBYE))};
    (void)link_put(l, &f); /* without memory the peer learns it from the pipe's end */
}

size_t link_fill(struct link *l, uint8_t *at, size_t room, uint64_t now_us)
{
    size_t done = 0, n;
    const uint8_t *bytes;

    while (done < room && link_output(l, &bytes, &n, now_us) == 0 && n > 0) {
        n = n < room - done ? n : room - done;
        memcpy(at + done, bytes, n);
        link_sent(l, n, now_us);
        done += n;
    }
    return done;
}
