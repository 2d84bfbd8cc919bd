/* The parser of a link: takes what the pipe delivers in any cuts.  Bodies of DATA are passed on as
 * they come; every other frame is gathered whole (at most FRAMES_PAYLOAD_MAX bytes), and MORE
 * sequences are joined up to the limit in the table. */
#include <stdio.h>
#include <string.h>

#include "proto/link_internal.h"

/* ---- before the first frame ---- */

/* Ends the link with an excerpt of what came instead of the preface. */
static void not_ours(struct link *l, const uint8_t *bytes, size_t n)
{
    char shown[LINK_EXCERPT + 1];
    size_t length = 0;
    for (size_t i = 0; i < l->in_have && length < LINK_EXCERPT; i++) {
        char c = LINK_PREFACE[i];
        shown[length++] = c;
    }
    for (size_t i = 0; i < n && length < LINK_EXCERPT; i++) {
        shown[length++] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '?';
    }
    shown[length] = '\0';
    link_broken(l, -E_PROTOCOL, "the peer does not speak grapnel's protocol; it sent \"%s\"",
                shown);
}

static size_t in_preface(struct link *l, const uint8_t *bytes, size_t n)
{
    size_t used = 0;
    while (used < n && l->in_have < LINK_PREFACE_SIZE) {
        uint8_t c = bytes[used];
        if (c == 0 && l->in_have == 0 && l->in_zeros < LINK_ZEROS_MAX) {
            l->in_zeros++;
        } else if (c == (uint8_t)LINK_PREFACE[l->in_have]) {
            l->in_have++;
        } else {
            not_ours(l, bytes + used, n - used);
            return n;
        }
        used++;
    }
    if (l->in_have == LINK_PREFACE_SIZE) {
        l->in_have = 0;
        l->in_state = IN_HEADER;
    }
    return used;
}

/* ---- frames about the link itself ---- */

static int in_hello(struct link *l, const struct frame *f)
{
    struct value *facts = NULL;
    if (l->greeted) {
        return link_broken(l, -E_PROTOCOL, "second HELLO");
    }
    int rc = values_decode(f->body, f->body_length, &facts);
    if (rc == 0 && values_type(facts) != VALUE_MAP) {
        rc = -E_MALFORMED;
    }
    if (rc != 0) {
        values_free(facts);
        return link_broken(l, rc, "HELLO with malformed facts");
    }
    l->greeted = true;
    l->features &= f->hello.features;
    l->peer_lease_ms = f->hello.lease;
    l->next_ping = l->now;
    if (l->handler.hello != NULL) {
        l->handler.hello(l->arg, l, facts);
    }
    values_free(facts);
    return l->error.code;
}

static int in_goodbye(struct link *l, const struct frame *f)
{
    char text[sizeof(l->error.detail)];
    int code = -(int)f->goodbye.code;
    link_text(text, sizeof(text), f->body, f->body_length);
    if (l->peer_goodbye && code == 0) {
        return link_broken(l, -E_PROTOCOL, "second GOODBYE");
    }
    l->peer_goodbye = true;
    link_wake(l); /* for answers that wait for company */
    if (l->handler.goodbye != NULL) {
        l->handler.goodbye(l->arg, l, code, text);
    }
    if (code != 0) {
        link_end(l, code, text);
    }
    return l->error.code;
}

/* Another major version may have another HELLO, but its first field is the version. */
static int check_version(struct link *l, const uint8_t *payload, size_t n)
{
    struct wire_reader r;
    wire_reader_init(&r, payload, n);
    unsigned major = wire_get_u16(&r);
    if (!r.short_read && major != LINK_MAJOR) {
        return link_broken(l, -E_VERSION, "the peer speaks version %u, this side version %d", major,
                           LINK_MAJOR);
    }
    return 0;
}

static int dispatch(struct link *l, const struct frame *f)
{
    switch ((enum frames_type)f->type) {
    case FRAME_HELLO:
        return in_hello(l, f);
    case FRAME_PING: {
        struct frame pong = {.type = FRAME_PONG, .pong = {.token = f->ping.token}};
        link_must_put(l, &pong);
        link_pinged(l);
        return l->error.code;
    }
    case FRAME_PONG:
        link_pong(l, f->pong.token);
        if (l->handler.pong != NULL) {
            l->handler.pong(l->arg, l, f->pong.token);
        }
        return l->error.code;
    case FRAME_GOODBYE:
        return in_goodbye(l, f);
    case FRAME_OPEN:
        return stream_in_open(l, f);
    case FRAME_CREDIT:
        return stream_in_credit(l, f);
    case FRAME_EOF:
        return stream_in_eof(l, f);
    case FRAME_CLOSE:
        return stream_in_close(l, f);
    case FRAME_CALL:
        return link_in_call(l, f);
    case FRAME_RETURN:
    case FRAME_ERROR:
        return link_in_answer(l, f);
    case FRAME_CANCEL:
        return link_in_cancel(l, f);
    case FRAME_RELEASE:
        return link_in_release(l, f);
    case FRAME_DATA:
        break;
    }
    return link_broken(l, -E_PROTOCOL, "unexpected %s", frames_name(f->type));
}

/* ---- deflated DATA ---- */

/* Unpacked even if nobody wants it any more, because the context must follow the sender's. */
static int in_deflated(struct link *l, const uint8_t *payload)
{
    uint8_t *at;
    size_t n = 0;
    if (l->unpacker == NULL && (l->unpacker = deflate_in_new()) == NULL) {
        return link_broken(l, -E_NOMEM, "DATA could not be unpacked");
    }
    int rc = wire_reserve(&l->unpacked, DEFLATE_IN_MAX, &at);
    if (rc == 0) {
        rc = deflate_in_unpack(l->unpacker, payload, l->in.length, at, DEFLATE_IN_MAX, &n);
    }
    if (rc != 0) {
        return link_broken(l, rc, "DATA could not be unpacked");
    }
    l->saved_receiving += (int64_t)n - l->in.length;
    return stream_in_unpacked(l, l->in.id, at, n);
}

/* ---- frames that come in parts ---- */

static size_t body_limit(const struct link *l, uint8_t type)
{
    size_t limit = frames_body_limit(type);
    bool call = type == FRAME_CALL || type == FRAME_RETURN;
    return call && limit > l->body_max ? l->body_max : limit;
}

/* Adds a part to the sequence.  1: it is complete and *f is the whole; 0: more to come; negative:
 * the link has ended. */
static int join(struct link *l, struct frame *f)
{
    if (!l->in_parts) {
        l->parts_head = *f;
        l->in_parts = true;
    }
    size_t limit = body_limit(l, f->type);
    if (wire_length(&l->parts) + f->body_length > limit) {
        return link_broken(l, -E_TOO_LARGE, "%s with a body over %zu bytes", frames_name(f->type),
                           limit);
    }
    int rc = wire_put(&l->parts, f->body, f->body_length);
    if (rc != 0) {
        return link_broken(l, rc, "%s in parts", frames_name(f->type));
    }
    if ((f->flags & FRAMES_MORE) != 0) {
        return 0;
    }
    *f = l->parts_head;
    f->flags &= (uint8_t)~FRAMES_MORE;
    f->body = wire_data(&l->parts);
    f->body_length = wire_length(&l->parts);
    l->in_parts = false;
    return 1;
}

static int whole_frame(struct link *l, const uint8_t *payload)
{
    const struct frames_header *h = &l->in;
    struct frame f;
    struct error e; /* filled when it is needed: it is large */
    bool same_type = l->in_parts && l->parts_head.type == h->type;
    bool more = (h->flags & FRAMES_MORE) != 0;
    if (h->type == FRAME_DATA) {
        return in_deflated(l, payload);
    }
    if (h->type == FRAME_HELLO && check_version(l, payload, h->length) != 0) {
        return l->error.code;
    }
    if (l->in_parts && (same_type ? l->parts_head.id != h->id : more)) {
        return link_broken(l, -E_PROTOCOL, "%s within the parts of %s", frames_name(h->type),
                           frames_name(l->parts_head.type));
    }
    int rc = frames_decode(h, payload, same_type, &f, &e);
    if (rc != 0) {
        return link_broken(l, rc, "%s", e.detail);
    }
    if (!same_type && !more) {
        return dispatch(l, &f);
    }
    rc = join(l, &f);
    if (rc <= 0) {
        return rc;
    }
    rc = dispatch(l, &f);
    wire_free(&l->parts);
    return rc;
}

/* ---- the machine ---- */

static void begin_frame(struct link *l, const uint8_t *header)
{
    struct error e; /* filled when it is needed: it is large */
    l->in_state = IN_HEADER;
    l->in_have = 0;
    if (frames_get_header(header, &l->in, &e) != 0) {
        link_broken(l, e.code, "%s", e.detail);
        return;
    }
    if (!l->greeted && l->in.type != FRAME_HELLO) {
        link_broken(l, -E_PROTOCOL, "%s before HELLO", frames_name(l->in.type));
        return;
    }
    if (l->in.type != FRAME_DATA) {
        l->in_state = IN_BODY;
        return;
    }
    if ((l->in.flags & FRAMES_DEFLATE) != 0 && (l->features & LINK_FEATURE_DEFLATE) == 0) {
        link_broken(l, -E_PROTOCOL, "deflated DATA, which was not agreed on");
        return;
    }
    if (stream_in_data(l, &l->in) != 0) {
        return;
    }
    l->in_left = l->in.length;
    if (l->in_left == 0 && (l->in.flags & FRAMES_DEFLATE) != 0) {
        link_broken(l, -E_MALFORMED, "deflated DATA without a byte");
        return;
    }
    if (l->in_left > 0) {
        l->in_state = (l->in.flags & FRAMES_DEFLATE) != 0 ? IN_BODY : IN_DATA;
    }
}

static size_t in_header(struct link *l, const uint8_t *bytes, size_t n)
{
    if (l->in_have == 0 && n >= FRAMES_HEADER) {
        begin_frame(l, bytes);
        return FRAMES_HEADER;
    }
    size_t part = FRAMES_HEADER - l->in_have;
    part = part < n ? part : n;
    memcpy(l->in_header + l->in_have, bytes, part);
    l->in_have += part;
    if (l->in_have == FRAMES_HEADER) {
        begin_frame(l, l->in_header);
    }
    return part;
}

static size_t in_data(struct link *l, const uint8_t *bytes, size_t n)
{
    size_t part = l->in_left < n ? l->in_left : n;
    l->in_left -= part;
    if (l->in_left == 0) {
        l->in_state = IN_HEADER;
    }
    stream_in_bytes(l, l->in.id, bytes, part);
    return part;
}

static size_t in_body(struct link *l, const uint8_t *bytes, size_t n)
{
    size_t have = wire_length(&l->gather);
    if (have == 0 && n >= l->in.length) {
        l->in_state = IN_HEADER;
        whole_frame(l, bytes);
        return l->in.length;
    }
    size_t part = l->in.length - have;
    part = part < n ? part : n;
    int rc = wire_put(&l->gather, bytes, part);
    if (rc != 0) {
        link_broken(l, rc, "%s could not be taken", frames_name(l->in.type));
        return n;
    }
    if (have + part == l->in.length) {
        l->in_state = IN_HEADER;
        whole_frame(l, wire_data(&l->gather));
        wire_take(&l->gather, have + part);
        wire_trim(&l->gather, LINK_IDLE_KEEP);
    }
    return part;
}

int link_input(struct link *l, const uint8_t *bytes, size_t n, uint64_t now_us)
{
    if (!link_alive(l) || n == 0) {
        return l->error.code;
    }
    if (now_us > l->now) {
        l->now = now_us;
    }
    l->last_heard = l->now;
    l->received += n;
    link_enter(l);
    /* A frame without a body is complete when its header is. */
    while (link_alive(l) && (n > 0 || (l->in_state == IN_BODY && l->in.length == 0))) {
        size_t used = 0;
        switch (l->in_state) {
        case IN_PREFACE:
            used = in_preface(l, bytes, n);
            break;
        case IN_HEADER:
            used = in_header(l, bytes, n);
            break;
        case IN_DATA:
            used = in_data(l, bytes, n);
            break;
        case IN_BODY:
            used = in_body(l, bytes, n);
            break;
        }
        bytes += used;
        n -= used;
    }
    link_leave(l);
    return l->error.code;
}

void link_input_end(struct link *l, uint64_t now_us)
{
    if (!link_alive(l)) {
        return;
    }
    if (now_us > l->now) {
        l->now = now_us;
    }
    l->input_ended = true;
    if (!l->peer_goodbye || l->nodes > 0) {
        link_end(l, -E_LOST, "the pipe to the peer has ended");
    }
}
