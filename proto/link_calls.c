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
    int rc = values_decode(f->body, f->body_length, both);
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

/* ---- asking ---- */

static struct call *make(struct link *l, uint32_t id, link_answered *answered, void *arg)
{
    struct call *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    c->node.id = id;
    c->node.is_call = true;
    c->answered = answered;
    c->arg = arg;
    link_add(l, &c->node);
    *(link_own_id(l, id) ? &l->calls_own : &l->calls_peer) += 1;
    return c;
}

void link_call_done(struct call *c, struct link *l, int code, const struct value *result,
                    const char *text)
{
    link_answered *answered = c->answered;
    void *arg = c->arg;
    bool own = link_own_id(l, c->node.id);
    link_remove(l, &c->node);
    *(own ? &l->calls_own : &l->calls_peer) -= 1;
    free(c);
    if (own && answered != NULL) {
        answered(arg, code, result, text);
    }
}

int link_call(struct link *l, const char *name, struct value *args, link_answered *answered,
              void *arg, uint32_t *id)
{
    bool over = l->goodbye_said && l->streams_own + l->streams_peer == 0;
    if (!link_alive(l) || over || l->input_ended || l->calls_own >= LINK_CALLS_MAX) {
        values_free(args);
        return l->calls_own >= LINK_CALLS_MAX ? -E_LIMIT : -E_CLOSED;
    }
    struct call *c = NULL;
    struct wire_buf body = {0};
    link_enter(l);
    int rc = link_encode_named(&body, name, args);
    if (rc != 0) {
        goto out;
    }
    c = make(l, link_fresh_id(l), answered, arg);
    if (c == NULL) {
        rc = -E_NOMEM;
        goto out;
    }
    if (id != NULL) {
        *id = c->node.id;
    }
    struct frame f = {.id = c->node.id,
                      .type = FRAME_CALL,
                      .body = wire_data(&body),
                      .body_length = wire_length(&body)};
    rc = link_put(l, &f);
    if (rc != 0) {
        c->answered = NULL;
        link_call_done(c, l, rc, NULL, "");
    }
out:
    wire_free(&body);
    link_leave(l);
    return rc;
}

/* The live call of that id, or NULL. */
static struct call *find(const struct link *l, uint32_t id)
{
    struct link_node *n = link_find(l, id);
    return n == NULL || !n->is_call ? NULL : (struct call *)n;
}

void link_cancel(struct link *l, uint32_t id)
{
    struct call *c = find(l, id);
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

int link_answer(struct link *l, uint32_t id, struct value *result)
{
    static const uint8_t nil = 0xf6;
    struct call *c = find(l, id);
    struct wire_buf body = {0};
    int rc = 0;
    if (!link_alive(l) || c == NULL || link_own_id(l, id)) {
        rc = link_alive(l) ? 0 : -E_CLOSED;
        goto out;
    }
    rc = result == NULL ? wire_put(&body, &nil, 1) : values_encode(result, &body);
    if (rc != 0) {
        goto out;
    }
    struct frame f = {.id = id,
                      .type = FRAME_RETURN,
                      .body = wire_data(&body),
                      .body_length = wire_length(&body)};
    link_enter(l);
    rc = link_put(l, &f);
    if (rc == 0) {
        link_call_done(c, l, 0, NULL, "");
    }
    link_leave(l);
out:
    values_free(result);
    wire_free(&body);
    return rc;
}

int link_fail(struct link *l, uint32_t id, int code, const char *text)
{
    struct call *c = find(l, id);
    if (!link_alive(l) || c == NULL || link_own_id(l, id)) {
        return link_alive(l) ? 0 : -E_CLOSED;
    }
    const char *words = text != NULL ? text : "";
    struct frame f = {.id = id,
                      .type = FRAME_ERROR,
                      .error = {.code = (uint16_t)-code},
                      .body = (const uint8_t *)words,
                      .body_length = link_text_length(words, frames_body_limit(FRAME_ERROR))};
    link_enter(l);
    int rc = link_put(l, &f);
    if (rc == 0) {
        link_call_done(c, l, 0, NULL, "");
    }
    link_leave(l);
    return rc;
}

/* ---- what came ---- */

int link_in_call(struct link *l, const struct frame *f)
{
    struct value *both = NULL;
    const struct value *args = NULL;
    const char *name = "";
    int rc = link_peer_id(l, f->id, "CALL");
    if (rc != 0 || (rc = link_named(l, f, &both, &name, &args)) != 0) {
        return rc;
    }
    if (l->calls_peer >= LINK_CALLS_MAX) {
        static const char text[] = "too many calls";
        struct frame full = {.id = f->id,
                             .type = FRAME_ERROR,
                             .error = {.code = E_LIMIT},
                             .body = (const uint8_t *)text,
                             .body_length = sizeof(text) - 1};
        link_must_put(l, &full);
    } else if (make(l, f->id, NULL, NULL) == NULL) {
        link_broken(l, -E_NOMEM, "a call could not be taken");
    } else if (l->handler.call == NULL) {
        link_fail(l, f->id, -E_NO_SERVICE, name);
    } else {
        l->handler.call(l->arg, l, f->id, name, args);
    }
    values_free(both);
    return l->error.code;
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
    struct value *result = NULL;
    int rc = values_decode(f->body, f->body_length, &result);
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
        if (l->handler.cancel != NULL) {
            l->handler.cancel(l->arg, l, f->id);
        }
    }
    return l->error.code;
}
