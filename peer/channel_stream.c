/* Channels, the link's side.  No Lua here. */
#include <stdlib.h>
#include <string.h>

#include "peer/channel_impl.h"
#include "peer/strict.h"

#define HEAD 4 /* bytes of an item's length */

/* ---- life ---- */

struct channel *channel_make(struct peer *p)
{
    struct channel *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    c->p = p;
    c->next = p->channels;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    p->channels = c;
    c->listed = true;
    return c;
}

void channel_attach(struct channel *c, struct stream *s)
{
    c->s = s;
    c->id = stream_id(s);
    c->holders++;
}

static void unlist(struct channel *c)
{
    if (c->listed) {
        *(c->prev != NULL ? &c->prev->next : &c->p->channels) = c->next;
        if (c->next != NULL) {
            c->next->prev = c->prev;
        }
        c->listed = false;
    }
}

static void give_back(void *arg, enum strict_ref what, int64_t id)
{
    struct peer *p = arg;
    if (what == STRICT_FAR) {
        proxy_released(p, id, 1);
    } else if (what == STRICT_HOME && p->refs != NULL) {
        refs_release(p->refs, id, 1);
    }
}

void channel_unpin(void *arg, enum strict_ref what, int64_t id)
{
    if (what == STRICT_HOME) {
        give_back(arg, what, id);
    }
}

static void adopt(struct channel *c)
{
    if (c->orphan > 0) {
        c->p->orphans--;
        c->p->orphan_bytes -= c->orphan;
        c->orphan = 0;
    }
}

void channel_claim(struct channel *c)
{
    c->claimed = true;
    adopt(c);
}

/* What is in `in` beyond what is held against the stream's credit. */
static void account(struct channel *c)
{
    size_t n = wire_length(&c->in), loose = n > c->held ? n - c->held : 0;
    c->p->loose = c->p->loose - c->loose + loose;
    c->loose = loose;
}

void channel_let(struct channel *c)
{
    const uint8_t *bytes;
    size_t n;
    bool refs;
    if (--c->holders > 0) {
        return;
    }
    unlist(c);
    adopt(c);
    while (channel_take(c, &bytes, &n, &refs)) {
        if (refs) {
            strict_check(bytes, n, give_back, c->p, NULL);
        }
    }
    message_done(c->p, &c->result, false);
    c->p->loose -= c->loose;
    wire_free(&c->in);
    wire_free(&c->out);
    free(c->text);
    free(c);
}

void channel_free(struct peer *p)
{
    struct channel *c = p->channels, *next;
    for (; c != NULL; c = next) {
        next = c->next;
        if (!c->claimed) {
            channel_let(c);
        }
    }
}

static struct channel *oldest_orphan(const struct peer *p)
{
    struct channel *last = NULL;
    for (struct channel *at = p->channels; at != NULL; at = at->next) {
        last = at->orphan > 0 ? at : last;
    }
    return last;
}

/* Nobody may ever ask for it: of such ones only the latest are kept. */
static void orphan(struct channel *c)
{
    struct peer *p = c->p;
    struct channel *dropped = NULL;
    c->orphan = 1 + wire_length(&c->in) + (c->result.bytes != NULL ? c->result.n : 0);
    p->orphan_bytes += c->orphan;
    p->orphans++;
    while ((p->orphans > CHANNEL_ORPHANS_MAX || p->orphan_bytes > CHANNEL_ORPHANS_HOLDING) &&
           (c = oldest_orphan(p)) != NULL) {
        adopt(c);
        unlist(c);
        c->next = dropped;
        dropped = c;
    }
    while ((c = dropped) != NULL) {
        dropped = c->next;
        channel_let(c);
    }
}

static void happened(struct channel *c)
{
    for (struct channel_wait *w = c->waits; w != NULL; w = w->next) {
        tasks_wake(&w->wait);
    }
}

/* ---- receiving ---- */

static uint32_t length_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void pin(void *arg, enum strict_ref what, int64_t id)
{
    struct peer *p = arg;
    void *object = what == STRICT_HOME ? refs_find(p->refs, id) : NULL;
    if (object != NULL) {
        refs_issue(p->refs, object);
    }
}

/* Checks the items that have become whole.  0 or negative. */
static int scan(struct channel *c)
{
    size_t have = wire_length(&c->in);
    while (have - c->scanned >= HEAD) {
        uint8_t *at = c->in.data + c->in.start + c->scanned;
        uint32_t n = length_at(at);
        size_t refs;
        if (n > CODEC_ITEM_MAX) {
            return -E_TOO_LARGE;
        }
        if (have - c->scanned - HEAD < n) {
            return 0;
        }
        int rc = strict_check(at + HEAD, n, pin, c->p, &refs);
        if (rc != 0) {
            return rc;
        }
        if (refs > 0) {
            wire_store_u32(at, n | CHANNEL_REFS);
        }
        c->scanned += HEAD + n;
    }
    return 0;
}

/* Whole items are held until they are taken; the beginning of one that is alone is not, since it
 * may be larger than any window; but while nobody has asked for the channel all of it is.
 * Who waits for the end reads nothing: then all of it is loose. */
static size_t to_hold(const struct channel *c)
{
    if (c->enders > 0) {
        return 0;
    }
    return c->scanned > 0 || !c->claimed ? wire_length(&c->in) : 0;
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct channel *c = arg;
    if (c->eof) {
        return n;
    }
    int rc = wire_put(&c->in, bytes, n);
    if (rc == 0) {
        rc = scan(c);
    }
    account(c);
    if (rc == 0 && c->p->loose > c->p->loose_max) {
        rc = -E_LIMIT;
    }
    if (rc != 0) {
        c->eof = c->shut = true;
        c->code = rc;
        c->in.end = c->in.start + c->scanned;
        account(c);
        stream_close(s, rc, NULL,
                     rc == -E_LIMIT ? "too much that nobody has read" : "a channel's item");
        happened(c);
        return n;
    }
    if (c->scanned > 0) {
        happened(c);
    }
    c->held += n;
    size_t hold = to_hold(c), done = c->held > hold ? c->held - hold : 0;
    done = done < n ? done : n;
    c->held -= done;
    account(c);
    return done;
}

void channel_credit(struct channel *c)
{
    size_t hold = to_hold(c), held = c->held;
    c->held = held < hold ? held : hold;
    account(c);
    if (held > hold) {
        size_t done = held - hold;
        if (c->s != NULL) {
            stream_consumed(c->s, done);
        }
    }
}

bool channel_take(struct channel *c, const uint8_t **bytes, size_t *n, bool *refs)
{
    if (c->scanned == 0) {
        return false;
    }
    const uint8_t *at = wire_data(&c->in);
    uint32_t length = length_at(at);
    *refs = (length & CHANNEL_REFS) != 0;
    *n = length & ~CHANNEL_REFS;
    *bytes = at + HEAD;
    c->scanned -= HEAD + *n;
    wire_take(&c->in, HEAD + *n);
    return true;
}

static void on_eof(void *arg, struct stream *s)
{
    struct channel *c = arg;
    (void)s;
    c->eof = c->told = true;
    happened(c);
}

static void keep_result(struct channel *c, const struct value *result)
{
    struct wire_buf body = {0};
    if (values_type(result) == VALUE_MAP && values_encode(result, &body) == 0) {
        message_take(c->p, &c->result, wire_data(&body), wire_length(&body));
    }
    wire_free(&body);
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct channel *c = arg;
    (void)s;
    c->s = NULL;
    c->eof = c->shut = true;
    if (c->code == 0) {
        c->code = code;
        c->text = text != NULL && text[0] != '\0' ? strdup(text) : NULL;
    }
    if (code == 0) {
        keep_result(c, result);
    }
    happened(c);
    if (c->claimed) {
        unlist(c);
        channel_let(c);
    } else {
        orphan(c); /* it stays for a while */
    }
}

/* ---- sending ---- */

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct channel *c = arg;
    size_t n = wire_length(&c->out);
    (void)s;
    n = n < room ? n : room;
    if (n > 0) {
        memcpy(at, wire_data(&c->out), n);
        wire_take(&c->out, n);
    }
    if (wire_length(&c->out) <= CHANNEL_QUEUE / 2) {
        happened(c);
    }
    return n;
}

void channel_flush(struct channel *c)
{
    size_t n = wire_length(&c->out);
    if (n > 0 && c->s != NULL) {
        stream_write(c->s, wire_data(&c->out), n);
        wire_take(&c->out, n);
    }
}

const struct stream_handler channel_handler = {
    .data = on_data, .eof = on_eof, .closed = on_closed, .fill = on_fill};
