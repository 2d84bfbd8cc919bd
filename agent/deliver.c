#include "agent/deliver.h"

#include <errno.h>
#include <sodium/crypto_generichash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/linux.h"
#include "agent/pipes.h"

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

static void refuse(struct delivery *d, int code, const char *text)
{
    stream_set_handler(d->s, pipes_nobody(), NULL);
    stream_close(d->s, code, NULL, text);
    delivery_free(d);
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct delivery *d = arg;
    size_t done = 0;

    (void)s;
    if (n > d->size - d->got) {
        refuse(d, -E_HASH, "more bytes than were announced");
        return n;
    }
    while (done < n) {
        ssize_t written = write(d->blob->fd, bytes + done, n - done);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            refuse(d, errno == ENOMEM ? -E_NOMEM : -E_SYSTEM, strerror(errno));
            return n;
        }
        done += (size_t)written;
    }
    crypto_generichash_update(&d->state, bytes, n);
    d->got += n;
    return n;
}

static void on_eof(void *arg, struct stream *s)
{
    struct delivery *d = arg;
    struct deliver_set *set = d->set;
    uint8_t hash[DELIVER_HASH];
    const struct blob *held;

    crypto_generichash_final(&d->state, hash, sizeof hash);
    if (d->got != d->size) {
        refuse(d, -E_HASH, "fewer bytes than were announced");
        return;
    }
    if (memcmp(hash, d->blob->hash, sizeof hash) != 0) {
        refuse(d, -E_HASH, "the bytes are not those of the hash");
        return;
    }
    held = find(set, hash); /* the same may have been delivered twice at a time */
    if (held == NULL && linux_seal(&d->blob->fd) != 0) {
        refuse(d, -E_SYSTEM, strerror(errno));
        return;
    }
    if (held == NULL) {
        held = d->blob;
        d->blob->next = set->first;
        set->first = d->blob;
        d->blob = NULL;
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

int deliver_open(struct agent *a, struct stream *s, const struct value *args, struct error *e)
{
    struct deliver_set *set = agent_blobs(a);
    const struct value *hash = values_get(args, "hash");
    int64_t size = values_as_int(values_get(args, "size"), -1);
    size_t n = 0;
    const uint8_t *bytes = (const uint8_t *)values_as_string(hash, &n);
    const struct blob *held;
    struct delivery *d;

    if (values_type(hash) != VALUE_BYTES || n != DELIVER_HASH || size < 0) {
        return errors_set(e, -E_ARGUMENT, "deliver needs a hash of %d bytes and a size",
                          DELIVER_HASH);
    }
    held = find(set, bytes);
    if (held != NULL) {
        stream_accept(s, pipes_nobody(), NULL);
        say_held(s, held, 1);
        return 0;
    }
    if ((uint64_t)size > DELIVER_MOST - set->used) {
        return errors_set(e, -E_TOO_LARGE, "%lld bytes; of %u are %llu taken", (long long)size,
                          DELIVER_MOST, (unsigned long long)set->used);
    }
    d = delivery_new(set, s, bytes, (uint64_t)size);
    if (d == NULL) {
        return errors_set(e, -E_NOMEM, "a blob of %lld bytes", (long long)size);
    }
    if (d->blob->fd < 0) {
        errors_set_system(e, -E_SYSTEM, errno, "a place for a blob");
        delivery_free(d);
        return e->code;
    }
    stream_accept(s, &handler, d);
    return 0;
}
