#include "proto/deflate.h"

#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "proto/errors.h"

#define WINDOW_BITS 14
#define MEM_LEVEL   7
#define LEVEL       1

/* Time over which it is seen whether deflate pays: windows have to grow into what it gains. */
#define PACE_US 500000
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
    p->need_us = DEFLATE_LATE_US;
    p->hold_us = DEFLATE_HOLD_US;
    p->back = DEFLATE_BACK_MIN;
}

static void keep_pace(struct deflate_pace *pace, const struct deflate_mark *m)
{
    if (pace->took_us >= PACE_US) { /* what is long ago fades */
        pace->sent /= 2;
        pace->data /= 2;
        pace->took_us /= 2;
    }
    pace->sent += m->sent;
    pace->data += m->data;
    pace->took_us += m->took_us;
}

/* 1: it pays; -1: it does not; 0: it is too early to tell, or little has shrunk. */
static int pays(const struct deflate_pace *plain, const struct deflate_pace *packed)
{
    if (packed->took_us < PACE_US || packed->data < 1.5 * packed->sent) {
        return 0;
    }
    return packed->data * plain->took_us >= 1.25 * plain->data * packed->took_us ? 1 : -1;
}

static void judge_line(struct deflate_policy *p, const struct deflate_mark *m)
{
    /* One byte per microsecond is one MB/s. */
    double due = m->sent / (p->slow ? DEFLATE_FAST : DEFLATE_SLOW);
    double late = m->late_us - due * (m->took_us - m->idle_us) / m->took_us;
    double blocked = m->blocked_us - due;
    p->late_us += late > blocked ? late : blocked;
    if (p->late_us >= (p->slow ? DEFLATE_LATE_US : p->need_us)) {
        p->late_us = DEFLATE_LATE_US;
        p->slow = 1;
    } else if (p->late_us <= 0) {
        p->late_us = 0;
        p->slow = 0;
        p->hold_us = DEFLATE_HOLD_US;
    }
}

static double twice(double x, double most)
{
    return 2 * x < most ? 2 * x : most;
}

/* Whether what was slow, and is, should be so any longer. */
static void judge_slow(struct deflate_policy *p, const struct deflate_mark *m)
{
    int paid = pays(&p->plain, &p->packed);
    p->slow_us += m->took_us;
    if (paid > 0) {
        p->need_us = DEFLATE_LATE_US;
    }
    if (paid < 0) {
        p->need_us = twice(p->need_us, DEFLATE_LATE_MAX);
    } else if (p->slow_us >= p->hold_us) {
        p->hold_us = twice(p->hold_us, DEFLATE_HOLD_MAX);
    } else {
        return;
    }
    p->late_us = 0;
    p->slow = 0;
}

void deflate_policy_mark(struct deflate_policy *p, const struct deflate_mark *m)
{
    int was = p->slow;
    keep_pace(was ? &p->packed : &p->plain, m);
    judge_line(p, m);
    if (was && p->slow) {
        judge_slow(p, m);
    }
    if (p->slow != was) {
        p->packed = (struct deflate_pace){0};
        p->slow_us = 0;
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
