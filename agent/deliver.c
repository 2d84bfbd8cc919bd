#include "agent/deliver.h"

#include <errno.h>
#include <sodium/crypto_generichash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/gunzip.h"
#include "agent/linux.h"
#include "agent/pipes.h"
#include "agent/session.h"

struct blob {
    struct blob *next;
    uint8_t hash[DELIVER_HASH];
    int fd;
};

struct deliver_set {
    struct blob *first;
    uint64_t used; /* bytes of the blobs held and of those that are coming */
};

/* A blob that is coming. */
struct delivery {
    struct deliver_set *set;
    struct stream *s;
    struct blob *blob;
    uint64_t size; /* as announced */
    uint64_t got;
    struct error error; /* why it is given up */
    crypto_generichash_state state;
};

struct deliver_set *deliver_set_new(void)
{
    return calloc(1, sizeof(struct deliver_set));
}

static void blob_free(struct blob *b)
{
    if (b != NULL) {
        if (b->fd >= 0) {
            close(b->fd);
        }
        free(b);
    }
}

void deliver_set_free(struct deliver_set *set)
{
    if (set == NULL) {
        return;
    }
    while (set->first != NULL) {
        struct blob *b = set->first;
        set->first = b->next;
        blob_free(b);
    }
    free(set);
}

static const struct blob *find(const struct deliver_set *set, const uint8_t *hash)
{
    for (const struct blob *b = set->first; b != NULL; b = b->next) {
        if (memcmp(b->hash, hash, DELIVER_HASH) == 0) {
            return b;
        }
    }
    return NULL;
}

/* Gives up a delivery, with its bytes if they were not kept. */
static void delivery_free(struct delivery *d)
{
    if (d->blob != NULL) {
        d->set->used -= d->size;
        blob_free(d->blob);
    }
    free(d);
}

static void say_held(struct stream *s, const struct blob *b, int have)
{
    struct value *map = values_map();
    char path[64];

    snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)getpid(), b->fd);
    values_set(map, "have", values_bool(have));
    values_set(map, "path", values_text(path));
    stream_close(s, 0, map, NULL);
}

/* ---- the bytes of a delivery ---- */

/* gunzip_sink */
static int put(void *arg, const uint8_t *bytes, size_t n)
{
    struct delivery *d = arg;
    size_t done = 0;

    if (n > d->size - d->got) {
        return errors_set(&d->error, -E_HASH, "more bytes than were announced");
    }
    while (done < n) {
        ssize_t written = write(d->blob->fd, bytes + done, n - done);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return errors_set(&d->error, errno == ENOMEM ? -E_NOMEM : -E_SYSTEM, "%s",
                              strerror(errno));
        }
        done += (size_t)written;
    }
    crypto_generichash_update(&d->state, bytes, n);
    d->got += n;
    return 0;
}

/* All bytes have come: the blob is kept if it is what was announced.  NULL with d->error filled. */
static const struct blob *keep(struct delivery *d)
{
    struct deliver_set *set = d->set;
    uint8_t hash[DELIVER_HASH];
    const struct blob *held;

    crypto_generichash_final(&d->state, hash, sizeof hash);
    if (d->got != d->size) {
        errors_set(&d->error, -E_HASH, "fewer bytes than were announced");
        return NULL;
    }
    if (memcmp(hash, d->blob->hash, sizeof hash) != 0) {
        errors_set(&d->error, -E_HASH, "the bytes are not those of the hash");
        return NULL;
    }
    held = find(set, hash); /* the same may have been delivered twice at a time */
    if (held != NULL) {
        return held;
    }
    if (linux_seal(&d->blob->fd) != 0) {
        errors_set(&d->error, -E_SYSTEM, "%s", strerror(errno));
        return NULL;
    }
    held = d->blob;
    d->blob->next = set->first;
    set->first = d->blob;
    d->blob = NULL;
    return held;
}

/* ---- as the stream's data ---- */

static void refuse(struct delivery *d)
{
    stream_set_handler(d->s, pipes_nobody(), NULL);
    stream_close(d->s, d->error.code, NULL, d->error.detail);
    delivery_free(d);
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct delivery *d = arg;

    (void)s;
    if (put(d, bytes, n) != 0) {
        refuse(d);
    }
    return n;
}

static void on_eof(void *arg, struct stream *s)
{
    struct delivery *d = arg;
    const struct blob *held = keep(d);

    if (held == NULL) {
        refuse(d);
        return;
    }
    stream_set_handler(s, pipes_nobody(), NULL);
    say_held(s, held, 0);
    delivery_free(d);
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    (void)s;
    (void)code;
    (void)result;
    (void)text;
    delivery_free(arg);
}

static const struct stream_handler handler = {.data = on_data, .eof = on_eof, .closed = on_closed};

static struct delivery *delivery_new(struct deliver_set *set, struct stream *s, const uint8_t *hash,
                                     uint64_t size)
{
    struct delivery *d = calloc(1, sizeof *d);

    if (d == NULL) {
        return NULL;
    }
    d->blob = calloc(1, sizeof *d->blob);
    if (d->blob == NULL) {
        free(d);
        return NULL;
    }
    memcpy(d->blob->hash, hash, DELIVER_HASH);
    d->blob->fd = linux_blob("grapnel");
    d->set = set;
    d->s = s;
    d->size = size;
    set->used += size;
    crypto_generichash_init(&d->state, NULL, 0, DELIVER_HASH);
    return d;
}

/* ---- the service ---- */

/* The blob came whole, within the arguments: so it is there before anything that is asked for next.
 */
static int take_whole(struct delivery *d, const struct value *args, struct error *e)
{
    const struct value *encoding = values_get(args, "encoding");
    const char *how = values_as_string(encoding, NULL);
    size_t n = 0;
    const uint8_t *data = (const uint8_t *)values_as_string(values_get(args, "data"), &n);
    const struct blob *held = NULL;
    int result;

    if (values_type(values_get(args, "data")) != VALUE_BYTES) {
        return errors_set(e, -E_ARGUMENT, "data is not bytes");
    }
    if (values_type(encoding) != VALUE_NIL && (how == NULL || strcmp(how, "gzip") != 0)) {
        return errors_set(e, -E_ARGUMENT, "encoding is not gzip");
    }
    result = how != NULL ? gunzip_run(data, n, put, d, &d->error) : put(d, data, n);
    if (result == 0) {
        held = keep(d);
    }
    if (held == NULL) {
        return errors_set(e, d->error.code, "%s", d->error.detail);
    }
    stream_accept(d->s, pipes_nobody(), NULL);
    say_held(d->s, held, 0);
    return 0;
}

/* A blob that is not held begins. */
static int begin(struct deliver_set *set, struct stream *s, const uint8_t *hash, uint64_t size,
                 const struct value *args, struct error *e)
{
    struct delivery *d;
    int result = 0;

    if (size > DELIVER_MOST - set->used) {
        return errors_set(e, -E_TOO_LARGE, "%llu bytes; of %u are %llu taken",
                          (unsigned long long)size, DELIVER_MOST, (unsigned long long)set->used);
    }
    d = delivery_new(set, s, hash, size);
    if (d == NULL) {
        return errors_set(e, -E_NOMEM, "a blob of %llu bytes", (unsigned long long)size);
    }
    if (d->blob->fd < 0) {
        result = errors_set_system(e, -E_SYSTEM, errno, "a place for a blob");
    } else if (values_type(values_get(args, "data")) != VALUE_NIL) {
        result = take_whole(d, args, e);
    } else {
        stream_accept(s, &handler, d);
        return 0;
    }
    delivery_free(d);
    return result;
}

int deliver_open(struct session *session, struct stream *s, const struct value *args,
                 struct error *e)
{
    struct deliver_set *set = agent_blobs(session_agent(session));
    const struct value *hash = values_get(args, "hash");
    int64_t size = values_as_int(values_get(args, "size"), -1);
    size_t n = 0;
    const uint8_t *bytes = (const uint8_t *)values_as_string(hash, &n);
    const struct blob *held;

    if (values_type(hash) != VALUE_BYTES || n != DELIVER_HASH || size < 0) {
        return errors_set(e, -E_ARGUMENT, "deliver needs a hash of %d bytes and a size",
                          DELIVER_HASH);
    }
    held = find(set, bytes);
    if (held == NULL) {
        return begin(set, s, bytes, (uint64_t)size, args, e);
    }
    stream_accept(s, pipes_nobody(), NULL);
    say_held(s, held, 1);
    return 0;
}

int deliver_file(const struct deliver_set *set, const uint8_t *hash)
{
    const struct blob *held = find(set, hash);

    return held != NULL ? held->fd : -1;
}
