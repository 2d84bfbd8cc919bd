/* Calls: the part of the link that asks and answers (link.h, "calls"). */
#include <stdlib.h>
#include <string.h>

#include "proto/link_internal.h"

#define CALL_TEXT_MAX 4096 /* of ERROR; frames.def's limit */

/* ---- names and texts, also for streams ---- */

const char *link_text(char *to, size_t size, const uint8_t *bytes, size_t n)
{
    n = n < size - 1 ? n : size - 1;
    if (n > 0) {
        memcpy(to, bytes, n);
    }
    to[n] = '\0';
    return to;
}

size_t link_text_length(const char *text, size_t most)
{
    size_t n = strlen(text);
    if (n <= most) {
        return n;
    }
    n = most;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

int link_encode_named(struct wire_buf *to, const char *name, struct value *args)
{
    struct value *both = values_array();
    int rc = both == NULL ? -E_NOMEM : values_append(both, values_text(name));
    struct value *last = args != NULL ? args : values_nil();
    if (rc == 0) {
        rc = values_append(both, last);
    } else {
        values_free(last);
    }
    if (rc == 0) {
        rc = values_encode(both, to);
    }
    values_free(both);
    return rc;
}

int link_named(struct link *l, const struct frame *f, struct value **both, const char **name,
               const struct value **args)
{
    int rc = link_decode(l, f->body, f->body_length, both);
    if (rc != 0) {
        return link_broken(l, rc, "%s with a malformed value", frames_name(f->type));
    }
    *name = values_count(*both) == 2 ? values_as_string(values_at(*both, 0), NULL) : NULL;
    if (*name == NULL || values_type(*both) != VALUE_ARRAY) {
        values_free(*both);
        *both = NULL;
        return link_broken(l, -E_PROTOCOL, "%s without a name", frames_name(f->type));
    }
    *args = values_at(*both, 1);
    return 0;
}

/* ---- the table ---- */

static struct call *make(struct link *l, uint32_t id, size_t size)
{
    struct call *c = l->spare;
    if (c != NULL) {
        l->spare = (struct call *)c->node.next;
    } else if ((c = malloc(sizeof(*c))) == NULL) {
        return NULL;
    }
    *c = (struct call){.node = {.id = id, .is_call = true}, .size = (uint32_t)size};
    link_add(l, &c->node);
    bool own = link_own_id(l, id);
    *(own ? &l->calls_own : &l->calls_peer) += 1;
    *(own ? &l->calls_own_bytes : &l->calls_peer_bytes) += size;
    return c;
}

/* Takes c out of the table; it stands for nothing any more. */
static void drop(struct link *l, struct call *c)
{
    bool own = link_own_id(l, c->node.id);
    link_remove(l, &c->node);
    *(own ? &l->calls_own : &l->calls_peer) -= 1;
    *(own ? &l->calls_own_bytes : &l->calls_peer_bytes) -= c->size;
    c->node.next = (struct link_node *)l->spare;
    l->spare = c;
}

void link_free_spare(struct link *l)
{
    while (l->spare != NULL) {
        struct call *c = l->spare;
        l->spare = (struct call *)c->node.next;
        free(c);
    }
}

/* Room for one more call of either end's. */
static bool has_room(const struct link *l, bool own, size_t size)
{
    size_t calls = own ? l->calls_own : l->calls_peer;
    size_t bytes = own ? l->calls_own_bytes : l->calls_peer_bytes;
    return calls < l->calls_max && bytes + size <= LINK_CALLS_BYTES;
}

int link_is_full(const struct link *l, size_t n)
{
    return !has_room(l, true, n);
}

struct call *link_find_call(const struct link *l, uint32_t id)
{
    struct link_node *n = link_find(l, id);
    return n == NULL || !n->is_call ? NULL : (struct call *)n;
}

void link_call_done(struct call *c, struct link *l, int code, const struct value *result,
                    const char *text)
{
    struct call was = *c;
    bool own = link_own_id(l, c->node.id);
    drop(l, c);
    if (own && was.raw && was.answered.raw != NULL) {
        was.answered.raw(was.arg, code, NULL, 0, text);
    } else if (own && !was.raw && was.answered.plain != NULL) {
        was.answered.plain(was.arg, code, result, text);
    }
}

/* ---- asking ---- */

/* Sends a call that is `like` this one, with that body. */
static int ask(struct link *l, const struct call *like, const uint8_t *body, size_t n, uint32_t *id)
{
    bool over = l->goodbye_said && l->streams_own + l->streams_peer == 0;
    if (!link_alive(l) || over || l->input_ended) {
        return -E_CLOSED;
    }
    if (n == 0 || n > l->body_max) {
        return n == 0 ? -E_ARGUMENT : -E_TOO_LARGE;
    }
    if (!has_room(l, true, n)) {
        return -E_LIMIT;
    }
    struct call *c = make(l, link_fresh_id(l), n);
    if (c == NULL) {
        return -E_NOMEM;
    }
    c->raw = like->raw;
    c->answered = like->answered;
    c->arg = like->arg;
    if (id != NULL) {
        *id = c->node.id;
    }
    struct frame f = {.id = c->node.id, .type = FRAME_CALL, .body = body, .body_length = n};
    link_enter(l);
    int rc = link_put(l, &f);
    if (rc != 0) {
        drop(l, c);
    }
    link_leave(l);
    return rc;
}

int link_call_raw(struct link *l, const uint8_t *body, size_t n, link_answered_raw *answered,
                  void *arg, uint32_t *id)
{
    struct call like = {.raw = true, .answered.raw = answered, .arg = arg};
    return ask(l, &like, body, n, id);
}

int link_call(struct link *l, const char *name, struct value *args, link_answered *answered,
              void *arg, uint32_t *id)
{
    struct call like = {.answered.plain = answered, .arg = arg};
    struct wire_buf body = {0};
    int rc = link_encode_named(&body, name, args);
    if (rc == 0) {
        rc = ask(l, &like, wire_data(&body), wire_length(&body), id);
    }
    wire_free(&body);
    return rc;
}

void link_cancel(struct link *l, uint32_t id)
{
    struct call *c = link_find_call(l, id);
    if (c == NULL || !link_own_id(l, id) || c->cancelled) {
        return;
    }
    c->cancelled = true;
    struct frame f = {.id = id, .type = FRAME_CANCEL};
    link_enter(l);
    link_must_put(l, &f);
    link_leave(l);
}

/* ---- answering ---- */

/* Answers a call of the peer's with a frame.  One that is not there any more needs none. */
static int answer(struct link *l, const struct frame *f)
{
    struct call *c = link_find_call(l, f->id);
    if (!link_alive(l) || c == NULL || link_own_id(l, f->id)) {
        return link_alive(l) ? 0 : -E_CLOSED;
    }
    link_enter(l);
    int rc = link_put(l, f);
    if (rc == 0) {
        drop(l, c);
    }
    link_leave(l);
    return rc;
}

int link_answer_raw(struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct frame f = {.id = id, .type = FRAME_RETURN, .body = body, .body_length = n};
    if (n == 0 || n > l->body_max) {
        return n == 0 ? -E_ARGUMENT : -E_TOO_LARGE;
    }
    return answer(l, &f);
}

int link_answer(struct link *l, uint32_t id, struct value *result)
{
    struct wire_buf body = {0};
    int rc = values_encode(result, &body);
    if (rc == 0) {
        rc = link_answer_raw(l, id, wire_data(&body), wire_length(&body));
    }
    values_free(result);
    wire_free(&body);
    return rc;
}

int link_fail(struct link *l, uint32_t id, int code, const char *text)
{
    const char *words = text != NULL ? text : "";
    struct frame f = {.id = id,
                      .type = FRAME_ERROR,
                      .error = {.code = (uint16_t)-code},
                      .body = (const uint8_t *)words,
                      .body_length = link_text_length(words, frames_body_limit(FRAME_ERROR))};
    return answer(l, &f);
}

/* ---- what came ---- */

void link_hand_out(struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    if (l->handler.call_raw != NULL) {
        l->handler.call_raw(l->arg, l, id, body, n);
        return;
    }
    struct frame f = {.id = id, .type = FRAME_CALL, .body = body, .body_length = n};
    struct value *both = NULL;
    const struct value *args = NULL;
    const char *name = "";
    if (link_named(l, &f, &both, &name, &args) != 0) {
        return;
    }
    if (l->handler.call == NULL) {
        link_fail(l, id, -E_NO_SERVICE, name);
    } else {
        l->handler.call(l->arg, l, id, name, args);
    }
    values_free(both);
}

/* An answer to a call that is not even looked at.  Refusals count as what must be got rid of before
 * more is read; they come only to a peer that does not keep to the bounds. */
static void refuse(struct link *l, uint32_t id)
{
    static const char text[] = "too many calls";
    struct frame f = {.id = id,
                      .type = FRAME_ERROR,
                      .error = {.code = E_LIMIT},
                      .body = (const uint8_t *)text,
                      .body_length = sizeof(text) - 1};
    l->replies += FRAMES_HEADER + sizeof(f.error.code) + f.body_length;
    link_must_put(l, &f);
}

int link_in_call(struct link *l, const struct frame *f)
{
    if (link_peer_id(l, f->id, "CALL") != 0) {
        return l->error.code;
    }
    if (f->body_length == 0) {
        return link_broken(l, -E_MALFORMED, "CALL with a malformed value");
    }
    if (!has_room(l, false, f->body_length)) {
        refuse(l, f->id);
        return l->error.code;
    }
    struct call *c = make(l, f->id, f->body_length);
    if (c == NULL) {
        return link_broken(l, -E_NOMEM, "a call could not be taken");
    }
    if (!link_holds(l)) {
        link_hand_out(l, f->id, f->body, f->body_length);
        return l->error.code;
    }
    c->held = true;
    int rc = link_hold(l, f->id, f->body, f->body_length);
    return rc != 0 ? link_broken(l, rc, "a call could not be taken") : 0;
}

int link_in_answer(struct link *l, const struct frame *f)
{
    struct link_node *n = link_find(l, f->id);
    if (!link_own_id(l, f->id) || (n != NULL ? !n->is_call : !link_past_id(l, f->id))) {
        return link_broken(l, -E_PROTOCOL, "%s for id %lu, which is no call of ours",
                           frames_name(f->type), (unsigned long)f->id);
    }
    struct call *c = (struct call *)n;
    if (f->type == FRAME_ERROR) {
        char text[CALL_TEXT_MAX + 1];
        link_text(text, sizeof(text), f->body, f->body_length);
        if (c != NULL) {
            link_call_done(c, l, f->error.code != 0 ? -(int)f->error.code : -E_PROTOCOL, NULL,
                           text);
        }
        return l->error.code;
    }
    if (c != NULL && c->raw && f->body_length > 0) {
        struct call was = *c;
        drop(l, c);
        if (was.answered.raw != NULL) {
            was.answered.raw(was.arg, 0, f->body, f->body_length, "");
        }
        return l->error.code;
    }
    struct value *result = NULL;
    int rc = link_decode(l, f->body, f->body_length, &result);
    if (rc != 0) {
        return link_broken(l, rc, "RETURN with a malformed value");
    }
    if (c != NULL) {
        link_call_done(c, l, 0, result, "");
    }
    values_free(result);
    return l->error.code;
}

int link_in_cancel(struct link *l, const struct frame *f)
{
    struct link_node *n = link_find(l, f->id);
    if (link_own_id(l, f->id) || (n != NULL ? !n->is_call : !link_past_id(l, f->id))) {
        return link_broken(l, -E_PROTOCOL, "CANCEL for id %lu, which is no call of the peer's",
                           (unsigned long)f->id);
    }
    struct call *c = (struct call *)n;
    if (c != NULL && !c->cancelled) {
        c->cancelled = true;
        /* One that is held back is not known to the owner yet, and never will be. */
        if (!c->held && l->handler.cancel != NULL) {
            l->handler.cancel(l->arg, l, f->id);
        }
    }
    return l->error.code;
}
