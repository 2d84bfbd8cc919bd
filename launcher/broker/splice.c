#include "launcher/broker/splice.h"

#include <stdlib.h>
#include <string.h>

#include "proto/fifo.h"

/* One of the two: what came on it waits in `came`, to go out on the other. */
struct side {
    struct splice *splice;
    struct side *other;
    struct stream *stream; /* NULL: its `closed` has run */
    struct fifo came;
    uint64_t passed; /* bytes of it that went out */
    int eof;         /* no more comes */
    int eof_passed;
    int ended; /* it was closed, with … */
    int code;
    struct value *result; /* … these, until they are passed on */
    char *text;
};

struct splice {
    struct side near, far;
    int joined; /* there is a far side, or was one */
    splice_ended *on_ended;
    void *arg;
};

static void side_clear(struct side *s)
{
    fifo_free(&s->came);
    values_free(s->result);
    free(s->text);
}

/* When nothing that came on s waits any more, its end goes where its bytes went. */
static void pass_end(struct side *s)
{
    struct stream *to = s->other->stream;

    if (!to || fifo_length(&s->came) > 0)
        return;
    if (s->ended) {
        stream_close(to, s->code, s->result, s->text);
        s->result = NULL;
    } else if (s->eof && !s->eof_passed) {
        s->eof_passed = 1;
        stream_eof(to);
    }
}

static size_t on_data(void *arg, struct stream *stream, const uint8_t *bytes, size_t n)
{
    struct side *s = arg;

    (void)stream;
    if (s->splice->joined && !s->other->stream)
        return n;
    if (fifo_put(&s->came, bytes, n) < 0) {
        splice_break(s->splice, -E_NOMEM, "a line through the broker");
        return n;
    }
    if (s->other->stream)
        stream_ready(s->other->stream);
    return 0;
}

static void on_eof(void *arg, struct stream *stream)
{
    struct side *s = arg;

    (void)stream;
    s->eof = 1;
    pass_end(s);
}

/* What came on the other side goes out on s. */
static size_t on_fill(void *arg, struct stream *stream, uint8_t *at, size_t room)
{
    struct side *s = arg, *from = s->other;
    size_t done = 0, n;
    const uint8_t *bytes;

    (void)stream;
    while (done < room && (bytes = fifo_data(&from->came, &n)) && n > 0) {
        n = n < room - done ? n : room - done;
        memcpy(at + done, bytes, n);
        fifo_take(&from->came, n);
        done += n;
    }
    from->passed += done;
    if (from->stream && done)
        stream_consumed(from->stream, done);
    pass_end(from);
    return done;
}

static void free_when_done(struct splice *p)
{
    splice_ended *ended = p->on_ended;
    void *arg = p->arg;

    if (p->near.stream || p->far.stream)
        return;
    side_clear(&p->near);
    side_clear(&p->far);
    free(p);
    ended(arg);
}

/* An end by the peer comes after all that it sent, and waits for its turn; that of a link, which
 * has an error, overtakes. */
static void on_closed(void *arg, struct stream *stream, int code, const struct value *result,
                      const char *text)
{
    struct side *s = arg;
    struct wire_buf copy = {0};

    s->stream = NULL;
    s->ended = 1;
    s->code = code;
    s->text = code ? strdup(text) : NULL;
    if (!code && values_encode(result, &copy) == 0)
        values_decode(wire_data(&copy), wire_length(&copy), &s->result);
    wire_free(&copy);
    if (link_error(stream_link(stream))->code)
        fifo_free(&s->came);
    fifo_free(&s->other->came); /* nobody takes it any more */
    pass_end(s);
    free_when_done(s->splice);
}

static const struct stream_handler handler = {on_data, on_eof, on_closed, on_fill};

struct splice *splice_new(struct stream *near, splice_ended *ended, void *arg)
{
    struct splice *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->near = (struct side){.splice = p, .other = &p->far};
    p->far = (struct side){.splice = p, .other = &p->near};
    p->on_ended = ended;
    p->arg = arg;
    p->near.stream = near;
    stream_accept(near, &handler, &p->near);
    return p;
}

int splice_join(struct splice *p, struct link *far, const char *service, struct value *args,
                struct error *e)
{
    p->far.stream = stream_open(far, service, args, &handler, &p->far, e);
    if (!p->far.stream)
        return e->code;
    p->joined = 1;
    stream_ready(p->far.stream);
    pass_end(&p->near);
    return 0;
}

void splice_break(struct splice *p, int code, const char *text)
{
    fifo_free(&p->near.came);
    fifo_free(&p->far.came);
    if (p->near.stream)
        stream_close(p->near.stream, code, NULL, text);
    if (p->far.stream)
        stream_close(p->far.stream, code, NULL, text);
}

void splice_count(const struct splice *p, uint64_t *out, uint64_t *back)
{
    *out = p->near.passed;
    *back = p->far.passed;
}
