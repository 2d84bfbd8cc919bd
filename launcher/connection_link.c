/* The link of a connection: what it says, and what it has to send. */
#include "launcher/bootstrap/agents.h"
#include "launcher/connection_impl.h"

#define EARLY_MAX (1024 * 1024)

void connection_mark_dirty(struct grapnel_server *s)
{
    if (s->dirty)
        return;
    s->dirty = 1;
    s->next_dirty = s->g->dirty;
    s->g->dirty = s;
}

static void on_link_wake(void *arg, struct link *l)
{
    (void)l;
    connection_mark_dirty(arg);
}

static void schedule_tick(struct grapnel_server *s)
{
    uint64_t now = context_now(), next = link_tick(s->link, now);

    if (link_error(s->link)->code) {
        connection_end(s, link_error(s->link));
        return;
    }
    ev_timer_stop(s->g->loop, &s->tick);
    if (next == UINT64_MAX)
        return;
    ev_now_update(s->g->loop); /* or it would come too early by what it is behind, and once more */
    ev_timer_set(&s->tick, next > now ? (double)(next - now) / 1e6 : 0., 0.);
    ev_timer_start(s->g->loop, &s->tick);
}

void connection_on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    schedule_tick(w->data);
}

static struct value *copy_of(const struct value *v)
{
    struct wire_buf bytes = {0};
    struct value *copy = NULL;

    if (v && values_encode(v, &bytes) == 0)
        values_decode(wire_data(&bytes), wire_length(&bytes), &copy);
    wire_free(&bytes);
    return copy;
}

struct value *connection_facts(const struct grapnel_server *s)
{
    return copy_of(s->facts);
}

static void on_link_hello(void *arg, struct link *l, const struct value *facts)
{
    struct grapnel_server *s = arg;

    (void)l;
    s->greeted = 1;
    if (!s->leaving)
        ev_timer_stop(s->g->loop, &s->deadline);
    connection_mark_dirty(s); /* what went early is not kept any longer */
    s->facts = copy_of(facts);
    connection_tell_phase(s, "ready", s->boot_options.agent->name);
    schedule_tick(s);
}

/* The agent says so when it has ended everything and has nothing left to do. */
static void on_link_goodbye(void *arg, struct link *l, int code, const char *text)
{
    struct grapnel_server *s = arg;

    (void)l;
    if (code == 0)
        s->closed = 1;
    else /* whoever cancelled it, it was nobody here */
        connection_end_with(s, code == -E_CANCELLED ? -E_LOST : code, text);
}

static void on_link_pong(void *arg, struct link *l, uint64_t token)
{
    (void)l;
    connection_pong(arg, token);
}

static const struct link_handler link_callbacks = {
    .pong = on_link_pong,
    .hello = on_link_hello,
    .wake = on_link_wake,
    .goodbye = on_link_goodbye,
};

struct link *connection_link_new(struct grapnel_server *s)
{
    struct link_options o = {
        .opener = 1,
        .lease_ms = s->boot_options.lease_ms,
        .features = LINK_FEATURE_DEFLATE,
        .facts = values_map(),
    };

    values_set(o.facts, "version", values_text(GRAPNEL_VERSION));
    return link_new(&o, &link_callbacks, s, context_now());
}

void connection_command_opened(struct grapnel_server *s)
{
    if (!s->one_shot)
        return;
    s->one_shot = 0;
    link_goodbye(s->link, 0, NULL);
}

int connection_committed(const struct grapnel_server *s)
{
    if (s->greeted || s->early_sent == 0)
        return s->greeted;
    /* What a program has taken of us it may not have passed on. */
    return !route_is_program(s->route) || !s->boot || bootstrap_shell_runs(s->boot);
}

/* ---- output ---- */

/* Gives the transport what it takes of n bytes; false when it is full. */
static int give(struct grapnel_server *s, const uint8_t *bytes, size_t n, size_t *done)
{
    *done = n ? transport_write(s->transport, bytes, n) : 0;
    if (*done < n)
        s->can_write = 0;
    return s->can_write;
}

/* The agent and the padding; true when all of it is on its way. */
static int flush_payload(struct grapnel_server *s)
{
    size_t n, done;

    if (!s->boot)
        return 1;
    if (!bootstrap_shell_runs(s->boot) && route_waits_for_shell(s->route))
        return 0;
    do {
        const uint8_t *piece = bootstrap_payload(s->boot, s->payload_sent, &n);
        if (n == 0)
            return 1;
        give(s, piece, n, &done);
        s->payload_sent += done;
    } while (s->can_write);
    return 0;
}

/* The agent may greet before all of it has left. */
static int flush_early(struct grapnel_server *s)
{
    size_t n = wire_length(&s->early), done;

    if (s->early_sent < n) {
        give(s, wire_data(&s->early) + s->early_sent, n - s->early_sent, &done);
        s->early_sent += done;
        if (s->early_sent < n)
            return 0;
    }
    if (s->greeted)
        wire_free(&s->early);
    return 1;
}

int connection_gather_early(struct grapnel_server *s)
{
    const uint8_t *bytes;
    size_t n;

    while (link_output(s->link, &bytes, &n, context_now()) == 0 && n > 0) {
        if (wire_put(&s->early, bytes, n) < 0)
            return -E_NOMEM;
        link_sent(s->link, n, context_now());
    }
    return 0;
}

static void flush_link(struct grapnel_server *s)
{
    const uint8_t *bytes;
    size_t n, done;

    while (s->can_write) {
        uint64_t now = context_now();
        if (link_output(s->link, &bytes, &n, now) < 0 || n == 0)
            return;
        if (!s->greeted) {
            if (wire_length(&s->early) + n > EARLY_MAX)
                return;
            if (wire_put(&s->early, bytes, n) < 0) {
                connection_end_with(s, -E_NOMEM, "early output");
                return;
            }
        }
        give(s, bytes, n, &done);
        /* Until HELLO the rest is sent from the copy. */
        link_sent(s->link, s->greeted ? done : n, now);
        if (!s->greeted)
            s->early_sent += done;
    }
}

static void flush(struct grapnel_server *s)
{
    if (!s->transport || !s->can_write || s->error.code)
        return;
    if (flush_payload(s) && s->can_write && flush_early(s) && s->can_write)
        flush_link(s);
    if (s->paused && !link_congested(s->link)) {
        s->paused = 0;
        transport_pause(s->transport, 0);
    }
}

void connection_flush_all(struct grapnel *g)
{
    struct grapnel_server *s;

    while ((s = g->dirty)) {
        g->dirty = s->next_dirty;
        s->dirty = 0;
        if (!s->doomed)
            connection_settle(s);
        if (s->doomed)
            connection_release(s);
        else
            flush(s);
    }
}
