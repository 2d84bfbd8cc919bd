#include "launcher/remote/delivery.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/bootstrap/early.h"
#include "proto/stream.h"

struct delivery {
    const struct agents_binary *worker;
    uint8_t hash[DELIVERY_HASH];
    uint32_t id; /* of its stream */
    int sent;    /* and not refused */
    struct error error;
};

static int take_worker(struct delivery *d, struct grapnel_server *s, struct error *e)
{
    const struct agents_binary *worker =
        agents_worker(connection_context(s)->agents, connection_agent(s)->name, e);

    if (!worker)
        return e->code < 0 ? e->code : -E_WORKER_MISSING;
    d->worker = worker;
    sodium_hex2bin(d->hash, sizeof d->hash, worker->hash_hex, strlen(worker->hash_hex), NULL, NULL,
                   NULL);
    return 0;
}

/* NULL: memory is out. */
static struct value *arguments(const struct delivery *d)
{
    struct value *map = values_map();
    int bad = values_set(map, "hash", values_bytes(d->hash, sizeof d->hash)) |
              values_set(map, "size", values_int((int64_t)d->worker->plain_size)) |
              values_set(map, "encoding", values_text("gzip")) |
              values_set(map, "data", values_bytes(d->worker->packed, d->worker->packed_size));

    if (!bad)
        return map;
    values_free(map);
    return NULL;
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct delivery *d = arg;

    (void)s;
    (void)result;
    if (code) {
        d->sent = 0;
        errors_set(&d->error, code, "the worker was not taken: %s", text);
    }
}

int delivery_ensure(struct grapnel_server *s, struct error *e)
{
    static const struct stream_handler handler = {.closed = on_closed};
    struct delivery **at = connection_delivery(s), *d = *at;
    struct stream *stream = NULL;
    struct value *args;

    if (!d && (d = *at = calloc(1, sizeof *d)) == NULL)
        return errors_set(e, -E_NOMEM, "the worker");
    if (d->sent)
        return 0;
    if (take_worker(d, s, e) < 0)
        return e->code;
    if ((args = arguments(d)) == NULL)
        return errors_set(e, -E_NOMEM, "the worker");
    stream = stream_open(connection_link(s), "deliver", args, &handler, d, e);
    if (!stream)
        return e->code;
    d->id = stream_id(stream);
    d->sent = 1;
    d->error = (struct error){0};
    return 0;
}

const uint8_t *delivery_hash(struct grapnel_server *s)
{
    return (*connection_delivery(s))->hash;
}

const struct error *delivery_error(const struct delivery *d)
{
    return &d->error;
}

/* The body of OPEN as the link makes it: [service, arguments]. */
static int encode_open(const struct delivery *d, struct wire_buf *to)
{
    struct value *both = values_array();
    int rc = values_append(both, values_text("deliver"));

    if (rc == 0)
        rc = values_append(both, arguments(d));
    if (rc == 0)
        rc = values_encode(both, to);
    values_free(both);
    return rc;
}

int delivery_agent_changed(struct delivery *d, struct grapnel_server *s, struct wire_buf *early,
                           struct error *e)
{
    struct wire_buf body = {0};
    uint8_t before[DELIVERY_HASH];
    int rc;

    if (!d || !d->sent)
        return 0;
    memcpy(before, d->hash, sizeof before);
    if (take_worker(d, s, &d->error) < 0) {
        d->sent = 0; /* what was opened with it fails for this reason, and nothing else does */
        return 0;
    }
    rc = encode_open(d, &body);
    if (rc == 0)
        rc = early_replace(early, d->id, wire_data(&body), wire_length(&body));
    wire_free(&body);
    if (rc < 0)
        return errors_set(e, rc, "the worker");
    early_exchange(early, before, d->hash, sizeof before);
    return 0;
}

void delivery_free(struct delivery *d)
{
    free(d);
}
