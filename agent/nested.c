#include "agent/nested.h"

#include <ev.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/clock.h"
#include "agent/pipes.h"
#include "agent/session.h"

struct nested {
    struct nested *next;
    struct nested_set *set;
    struct session *session;
    struct stream *stream; /* NULL: gone */
    ev_timer end;          /* never started: fed when all is over */
    size_t withheld;       /* bytes that came and are not credited yet */
    int deaf, mute;        /* nothing more is received, or sent */
};

struct nested_set {
    struct agent *agent;
    struct nested *first;
    unsigned last_number;
    int leaving;
};

/* Frees it, which is in the list no more. */
static void nested_free(struct nested *n)
{
    ev_clear_pending(agent_loop(n->set->agent), &n->end);
    session_free(n->session);
    free(n);
}

static void on_end(struct ev_loop *loop, ev_timer *w, int events)
{
    struct nested *n = w->data;
    struct nested **at = &n->set->first;
    const struct error *why = session_error(n->session);

    (void)loop;
    (void)events;
    if (n->stream != NULL) {
        stream_set_handler(n->stream, pipes_nobody(), NULL);
        stream_close(n->stream, why->code, NULL, why->detail);
    }
    while (*at != n) {
        at = &(*at)->next;
    }
    *at = n->next;
    nested_free(n);
}

/* ---- for the session ---- */

static void wake(void *arg)
{
    struct nested *n = arg;

    if (n->stream != NULL) {
        stream_ready(n->stream);
    }
}

/* All that comes is taken, as much as there is credit for; what is not wanted gets no new one. */
static void listen_on(void *arg, int wanted)
{
    struct nested *n = arg;
    size_t all = n->withheld;

    if (wanted && n->stream != NULL) {
        n->withheld = 0;
        stream_consumed(n->stream, all);
    }
}

/* The last words are taken like all others, as long as the stream lasts. */
static void stop(void *arg, int speak)
{
    struct nested *n = arg;

    n->deaf = 1;
    n->mute = !speak;
}

static void over(void *arg)
{
    struct nested *n = arg;

    ev_feed_event(agent_loop(n->set->agent), &n->end, EV_CUSTOM);
}

static const struct session_pipe pipe_of_stream = {
    .wake = wake, .listen = listen_on, .stop = stop, .over = over};

/* ---- the stream ---- */

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct nested *nested = arg;

    (void)s;
    if (nested->deaf) {
        return n;
    }
    nested->withheld += n;
    session_input(nested->session, bytes, n);
    return 0;
}

static void on_eof(void *arg, struct stream *s)
{
    struct nested *n = arg;

    (void)s;
    session_input_end(n->session);
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct nested *n = arg;

    (void)s;
    (void)result;
    n->stream = NULL;
    session_lose(n->session, code, text);
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct nested *n = arg;
    size_t got = 0;

    (void)s;
    if (!n->mute) {
        got = link_fill(session_link(n->session), at, room, clock_now_us());
    }
    session_look(n->session);
    return got;
}

/* ---- the service ---- */

int nested_open(struct session *session, struct stream *s, const struct value *args,
                struct error *e)
{
    static const struct stream_handler handler = {
        .data = on_data, .eof = on_eof, .closed = on_closed, .fill = on_fill};
    struct nested_set *set = agent_nested(session_agent(session));
    struct session_options options = {.agent = set->agent, .pipe = &pipe_of_stream};
    struct nested *n;

    (void)args;
    if (session_number(session) != 0) {
        return errors_set(e, -E_NO_SERVICE, "\"link\" within a link");
    }
    if (set->leaving) {
        return errors_set(e, -E_CLOSED, "the agent is leaving");
    }
    if (nested_set_count(set) >= NESTED_MOST) {
        return errors_set(e, -E_LIMIT, "%d links at a time", NESTED_MOST);
    }
    n = calloc(1, sizeof *n);
    if (n == NULL) {
        return errors_set(e, -E_NOMEM, "a link");
    }
    n->set = set;
    n->stream = s;
    ev_init(&n->end, on_end);
    n->end.data = n;
    options.arg = n;
    options.number = set->last_number = set->last_number % UINT_MAX + 1;
    stream_accept(s, &handler, n);
    n->session = session_new(&options);
    if (n->session == NULL) {
        free(n);
        return errors_set(e, -E_NOMEM, "a link");
    }
    n->next = set->first;
    set->first = n;
    return 0;
}

/* ---- the set ---- */

struct nested_set *nested_set_new(struct agent *a)
{
    struct nested_set *set = calloc(1, sizeof *set);

    if (set != NULL) {
        set->agent = a;
    }
    return set;
}

void nested_set_free(struct nested_set *set)
{
    while (set != NULL && set->first != NULL) {
        struct nested *n = set->first;
        set->first = n->next;
        nested_free(n);
    }
    free(set);
}

size_t nested_set_count(const struct nested_set *set)
{
    size_t count = 0;

    for (const struct nested *n = set->first; n != NULL; n = n->next) {
        count++;
    }
    return count;
}

void nested_set_leave(struct nested_set *set)
{
    set->leaving = 1;
    for (struct nested *n = set->first; n != NULL; n = n->next) {
        session_leave(n->session);
    }
}
