#include "proto/deflate.h"

#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "proto/errors.h"

#define WINDOW_BITS 14
#define MEM_LEVEL   7
#define LEVEL       1

/* A measurement of the line is worth something after so long a wait … */
#define MEASURE_US    20000
#define MEASURE_BYTES (256 * 1024)
/* … or, on lines on which that many bytes take long, after this one. */
#define MEASURE_LONG_US 100000
/* So much going out without such a wait means that the line is not what holds things up. */
#define FREE_BYTES (16 * 1024 * 1024)
/* Bytes that a judgement about the data looks at. */
#define SAMPLE_BYTES 8192

_Static_assert(DEFLATE_BOUND(DEFLATE_IN_MAX) <= 65535, "a packed body fits into a frame");

static const uint8_t sync_tail[4] = {0x00, 0x00, 0xff, 0xff};

struct deflate_out {
    z_stream z;
};

struct deflate_in {
    z_stream z;
};

struct deflate_out *deflate_out_new(void)
{
    struct deflate_out *d = calloc(1, sizeof(*d));
    if (d != NULL && deflateInit2(&d->z, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEM_LEVEL,
                                  Z_DEFAULT_STRATEGY) != Z_OK) {
        free(d);
        return NULL;
    }
    return d;
}

void deflate_out_free(struct deflate_out *d)
{
    if (d != NULL) {
        (void)deflateEnd(&d->z);
        free(d);
    }
}

struct deflate_in *deflate_in_new(void)
{
    struct deflate_in *d = calloc(1, sizeof(*d));
    if (d != NULL && inflateInit2(&d->z, -WINDOW_BITS) != Z_OK) {
        free(d);
        return NULL;
    }
    return d;
}

void deflate_in_free(struct deflate_in *d)
{
    if (d != NULL) {
        (void)inflateEnd(&d->z);
        free(d);
    }
}

int deflate_out_pack(struct deflate_out *d, const uint8_t *in, size_t n, uint8_t *out, size_t room,
                     size_t *used)
{
    if (n == 0) {
        return -E_ARGUMENT;
    }
    /* Asked beforehand, because a context that has taken the bytes cannot give them back. */
    if (n > UINT32_MAX / 2 || room < DEFLATE_BOUND(n)) {
        return -E_LIMIT;
    }
    z_stream *z = &d->z;
    z->next_in = in;
    z->avail_in = (uInt)n;
    z->next_out = out;
    z->avail_out = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
    uInt before = z->avail_out;
    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_in != 0 || z->avail_out == 0) {
        return -E_NOMEM;
    }
    *used = before - z->avail_out - sizeof(sync_tail);
    return 0;
}

/* Unpacks n bytes to where z's output stands.  0, -E_MALFORMED, or -E_NOMEM. */
static int feed(z_stream *z, const uint8_t *in, size_t n)
{
    z->next_in = in;
    z->avail_in = (uInt)n;
    int rc = inflate(z, Z_SYNC_FLUSH);
    if (rc == Z_MEM_ERROR) {
        return -E_NOMEM;
    }
    /* No progress is no error: it says only that all has come out. */
    return rc == Z_OK || rc == Z_BUF_ERROR ? 0 : -E_MALFORMED;
}

int deflate_in_unpack(struct deflate_in *d, const uint8_t *in, size_t n, uint8_t *out, size_t room,
                      size_t *used)
{
    z_stream *z = &d->z;
    uint8_t over; /* where the first byte too many would go */
    if (n == 0 || n > UINT32_MAX / 2) {
        return -E_MALFORMED;
    }
    uInt most = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
    z->next_out = out;
    z->avail_out = most;
    int rc = feed(z, in, n);
    size_t given = most - z->avail_out;
    if (rc == 0 && z->avail_out == 0) {
        z->next_out = &over;
        z->avail_out = 1;
        rc = feed(z, z->next_in, z->avail_in);
        if (rc == 0 && z->avail_out == 0) {
            return -E_PROTOCOL;
        }
    }
    if (rc != 0) {
        return rc;
    }
    uInt left = z->avail_out;
    rc = feed(z, sync_tail, sizeof(sync_tail));
    if (rc != 0) {
        return rc;
    }
    /* zlib.h, inflate: 128 says that a block has just ended, the low bits how many bits of the last
     * byte are unused. */
    if (given == 0 || z->avail_out != left || z->avail_in != 0 || z->data_type != 128) {
        return -E_MALFORMED;
    }
    *used = given;
    return 0;
}

void deflate_policy_init(struct deflate_policy *p)
{
    memset(p, 0, sizeof(*p));
    p->back = DEFLATE_BACK_MIN;
}

/* Starts the next measurement of the line. */
static void measured(struct deflate_policy *p, int slow)
{
    p->slow = slow;
    p->blocked_bytes = 0;
    p->blocked_us = 0;
    p->free_bytes = 0;
}

void deflate_policy_sent(struct deflate_policy *p, uint64_t bytes, uint64_t blocked_us)
{
    if (blocked_us == 0) {
        /* Says only how much the buffers of the pipe hold, not how fast it drains. */
        p->free_bytes += bytes;
        if (p->free_bytes >= FREE_BYTES) {
            measured(p, 0);
        }
        return;
    }
    p->blocked_bytes += bytes;
    p->blocked_us += blocked_us;
    if (p->blocked_us >= MEASURE_LONG_US ||
        (p->blocked_us >= MEASURE_US && p->blocked_bytes >= MEASURE_BYTES)) {
        /* One byte per microsecond is one MB/s. */
        measured(p, p->blocked_bytes / p->blocked_us < DEFLATE_SLOW);
    } else if (p->blocked_bytes >= FREE_BYTES) {
        measured(p, 0);
    }
}

void deflate_policy_packed(struct deflate_policy *p, size_t in, size_t out)
{
    p->sample_in += in;
    p->sample_out += out;
    if (p->sample_in < SAMPLE_BYTES) {
        return;
    }
    if (p->sample_out >= p->sample_in / 10 * 9) {
        p->let_by = p->back;
        p->back = p->back < DEFLATE_BACK_MAX / 2 ? 2 * p->back : DEFLATE_BACK_MAX;
    } else {
        p->back = DEFLATE_BACK_MIN;
    }
    p->sample_in = 0;
    p->sample_out = 0;
}

int deflate_policy_wants(struct deflate_policy *p, size_t n)
{
    if (!p->slow || n < DEFLATE_WORTH) {
        return 0;
    }
    if (p->let_by > 0) {
        p->let_by -= p->let_by < n ? p->let_by : n;
        return 0;
    }
    return 1;
}
