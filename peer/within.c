#include "peer/within.h"

#include <stdlib.h>
#include <string.h>

#include "peer/peer_impl.h"

struct within {
    struct within *next;
    struct peer *outer;
    struct peer *peer;     /* NULL: not made yet */
    struct stream *s;      /* of the outer link; NULL: gone */
    struct wire_buf early; /* what came before there was a peer */
    size_t withheld;       /* bytes that came and are not credited yet */
    struct error error;    /* why it is to be freed; code 0: it is not */
    struct task *task;     /* makes the peer; NULL: it has */
    struct tasks_timer end;
};

static const struct stream_handler nobody = {0};

/* ---- the end ---- */

static void let_go(struct within *w)
{
    tasks_timer_stop(&w->end);
    if (w->s != NULL) {
        int code = w->error.code == -E_CLOSED ? 0 : w->error.code;
        stream_set_handler(w->s, &nobody, NULL);
        stream_close(w->s, code, NULL, w->error.detail);
        w->s = NULL;
    }
    if (w->peer != NULL) {
        w->peer->family = NULL; /* what still holds the one may outlive the other */
        peer_free(w->peer);
        w->peer = NULL;
    }
    wire_free(&w->early);
}

static void on_end(void *arg)
{
    struct within *w = arg;
    struct peer *outer = w->outer;
    struct within **at = &outer->within;
    uint64_t number = w->peer != NULL ? w->peer->number : 0;

    while (*at != w) {
        at = &(*at)->next;
    }
    *at = w->next;
    outer->within_n--;
    let_go(w);
    free(w);
    if (number != 0 && outer->o.left != NULL) {
        outer->o.left(outer->o.arg, number);
    }
}

/* It ends soon, since somebody may be looking at it; without memory it ends with the outer link. */
static void end(struct within *w, int code, const char *detail)
{
    if (w->error.code != 0) {
        return;
    }
    errors_set(&w->error, code, "%s", detail);
    if (w->task == NULL) {
        (void)tasks_timer_set(w->outer->tasks, &w->end, 0, on_end, w);
    }
}

/* What follows from the state of the link.  Last words go out if there is credit for them. */
static void look(struct within *w)
{
    const char *detail = "";
    int code = peer_error(w->peer, &detail);
    size_t all = w->withheld;

    if (code != 0) {
        if (w->s == NULL || stream_credit(w->s) == 0 || peer_finished(w->peer)) {
            end(w, code, detail);
        }
    } else if (!peer_congested(w->peer) && w->s != NULL) {
        w->withheld = 0;
        stream_consumed(w->s, all);
    }
}

static void on_wake(void *arg)
{
    struct within *w = arg;

    if (w->s != NULL) {
        stream_ready(w->s);
    }
}

/* In a task: errors may be raised. */
static int l_make(lua_State *L)
{
    struct within *w = lua_touserdata(L, 1);
    struct peer_options options = {.policy = PEER_OPEN, .wake = on_wake, .arg = w};

    if (w->error.code != 0) {
        return 0;
    }
    options.depth_max = w->outer->o.depth_max;
    options.teleport = w->outer->o.teleport;
    options.name = w->outer->name;
    /* Links that have ended go with the objects that point to them, whose size says nothing of
     * that: this one counts as so much garbage. */
    (void)lua_gc(L, LUA_GCSTEP, (int)(sizeof(struct peer) / 1024));
    w->peer = peer_new(L, w->outer->tasks, &options);
    w->peer->family = w->outer;
    w->withheld = wire_length(&w->early);
    (void)peer_input(w->peer, wire_data(&w->early), wire_length(&w->early));
    wire_free(&w->early);
    on_wake(w);
    look(w);
    return 0;
}

static void on_made(void *arg, struct task *k, lua_State *L, int status, int n)
{
    struct within *w = arg;

    (void)k;
    (void)L;
    (void)n;
    w->task = NULL;
    if (w->outer == NULL) {
        free(w);
        return;
    }
    if (status != LUA_OK) {
        end(w, -E_NOMEM, "a link");
    } else if (w->error.code != 0) {
        on_end(w);
    }
}

static int start(struct within *w)
{
    lua_State *L;

    w->task = tasks_prepare(w->outer->tasks, &L);
    if (w->task == NULL) {
        return -E_NOMEM;
    }
    lua_pushcfunction(L, l_make);
    lua_pushlightuserdata(L, w);
    tasks_set_user(w->task, NULL);
    tasks_start(w->task, 1, on_made, w);
    return 0;
}

/* ---- the stream ---- */

static void lose(struct within *w, int code, const char *detail)
{
    if (w->peer != NULL) {
        peer_lost(w->peer, code, detail);
    }
    end(w, code, detail);
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct within *w = arg;

    (void)s;
    if (w->error.code != 0) {
        return n;
    }
    if (w->peer == NULL) { /* not more than a window of them */
        if (wire_put(&w->early, bytes, n) != 0) {
            end(w, -E_NOMEM, "a link");
        }
        return 0;
    }
    w->withheld += n;
    (void)peer_input(w->peer, bytes, n);
    look(w);
    return 0;
}

static void on_eof(void *arg, struct stream *s)
{
    (void)s;
    lose(arg, -E_CLOSED, "by the other end");
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct within *w = arg;

    (void)s;
    (void)result;
    w->s = NULL;
    lose(w, code != 0 ? code : -E_CLOSED, text);
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct within *w = arg;
    size_t got = 0;
    const uint8_t *bytes;
    size_t n;

    (void)s;
    if (w->peer == NULL) {
        return 0;
    }
    while (got < room && peer_output(w->peer, &bytes, &n) == 0 && n > 0) {
        n = n < room - got ? n : room - got;
        memcpy(at + got, bytes, n);
        peer_sent(w->peer, n);
        got += n;
    }
    look(w);
    return got;
}

/* ---- for the outer link ---- */

int within_offer(struct peer *p, struct stream *s, struct error *e)
{
    static const struct stream_handler handler = {
        .data = on_data, .eof = on_eof, .closed = on_closed, .fill = on_fill};
    struct within *w;

    if (p->o.links == 0) {
        return errors_set(e, -E_NO_SERVICE, "%s", "\"link\"");
    }
    if (p->o.policy != PEER_OPEN) {
        return errors_set(e, -E_DENIED, "%s", "\"link\"");
    }
    if (p->within_n >= p->o.links) {
        return errors_set(e, -E_LIMIT, "%zu links at a time", p->o.links);
    }
    w = calloc(1, sizeof *w);
    if (w == NULL) {
        return errors_set(e, -E_NOMEM, "%s", "a link");
    }
    w->outer = p;
    if (start(w) != 0) {
        free(w);
        return errors_set(e, -E_NOMEM, "%s", "a link");
    }
    w->s = s;
    stream_accept(s, &handler, w);
    w->next = p->within;
    p->within = w;
    p->within_n++;
    return 0;
}

void within_flush(struct peer *p)
{
    for (struct within *w = p->within; w != NULL; w = w->next) {
        if (w->peer != NULL && peer_has_output(w->peer)) {
            on_wake(w);
        }
    }
}

void within_free(struct peer *p)
{
    while (p->within != NULL) {
        struct within *w = p->within;
        p->within = w->next;
        let_go(w);
        if (w->task == NULL) {
            free(w);
        } else { /* it does that */
            errors_set(&w->error, -E_CLOSED, "%s", "");
            w->outer = NULL;
        }
    }
    p->within_n = 0;
}
