/* Deflate on a link: raw DEFLATE (RFC 1951) with one context per direction, shared by all streams,
 * and the judgement whether it pays.
 *
 * Each body is one chunk that ends with a sync flush, so that the receiver has all of it at once;
 * the four bytes 00 00 ff ff with which every such chunk ends are left out on the wire.  The window
 * is 16 KiB (so a context takes about 140 KiB to pack, 24 KiB to unpack).  A body that went through
 * deflate_out_pack must be sent, deflated, and in that order: the peer's context follows ours.
 */
#ifndef GRAPNEL_PROTO_DEFLATE_H
#define GRAPNEL_PROTO_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

#define DEFLATE_IN_MAX   57344   /* most bytes of a body before packing: 56 KiB, see below */
#define DEFLATE_WORTH    128     /* bodies of fewer bytes are not worth it */
#define DEFLATE_SLOW     30      /* MB/s: a line that is slower is helped … */
#define DEFLATE_FAST     60      /* … until it looks faster than this */
#define DEFLATE_LATE_US  100000  /* lateness that makes a line slow, at first … */
#define DEFLATE_LATE_MAX 6400000 /* … and at most */
#define DEFLATE_HOLD_US                                                                            \
    5000000 /* of packing, after which the line is looked at anew, at first …                    \
             */
#define DEFLATE_HOLD_MAX 80000000 /* … and at most */
#define DEFLATE_BACK_MIN 65536   /* bytes let by after a sample that did not shrink, at first … */
#define DEFLATE_BACK_MAX 8388608 /* … and at most */

/* Room that is always enough for n packed bytes.  DEFLATE_IN_MAX is chosen so that its bound is
 * below the 65,535 bytes that a frame holds. */
#define DEFLATE_BOUND(n) ((n) + (n) / 8 + (n) / 64 + 64)

struct deflate_out;
struct deflate_in;

/* A context for one direction.  NULL when memory is out; _free takes NULL. */
struct deflate_out *deflate_out_new(void);
void deflate_out_free(struct deflate_out *d);
struct deflate_in *deflate_in_new(void);
void deflate_in_free(struct deflate_in *d);

/* Packs n bytes (n > 0) to `out` and sets *used.  0; -E_LIMIT when room < DEFLATE_BOUND(n): then
 * nothing has happened and the context is as before; -E_ARGUMENT (n is 0); -E_NOMEM. */
int deflate_out_pack(struct deflate_out *d, const uint8_t *in, size_t n, uint8_t *out, size_t room,
                     size_t *used);

/* Unpacks one body of n bytes to `out` and sets *used (more than 0).  0; -E_PROTOCOL when it would
 * give more than `room` bytes; -E_MALFORMED when it is not deflate, has a last block, does not end
 * where a block ends, reaches back behind the window, or gives nothing; -E_NOMEM.  After an error
 * the context is of no more use. */
int deflate_in_unpack(struct deflate_in *d, const uint8_t *in, size_t n, uint8_t *out, size_t room,
                      size_t *used);

/* What a mark tells: a PING that goes in line with the data, and which the peer answers at once,
 * whatever its readers do.  (Real numbers, because no product of them can overflow.) */
struct deflate_mark {
    double sent;       /* bytes between the mark before and this one */
    double data;       /* as many as they would have been without deflate */
    double took_us;    /* in which they got through, idle time left out; more than 0 */
    double idle_us;    /* round trip of the idle line; at most took_us */
    double late_us;    /* how much longer this one took, for standing behind data */
    double blocked_us; /* in which the pipe did not take what it was given */
};

struct deflate_pace {
    double sent, data, took_us;
};

/* When to deflate: while the line is slow, the data shrinks, and it pays.  Has no clock and does no
 * work of its own.  To be set up by deflate_policy_init; its fields are its own business, but
 * `slow` may be read.
 *
 * Slow: neither what the pipe takes nor what the peer credits tells how fast a line is.  The
 * buffers of an SSH connection swallow a whole window of credit at once, and credit waits also for
 * the round trip and for a reader that does not read.  What a mark is late by, or what the pipe was
 * blocked for, is the line's alone: slow readers, slow sources and small windows make nothing late.
 * Such time is added up, and the time that the bytes account for at DEFLATE_SLOW is taken off; from
 * DEFLATE_LATE_US on the line is slow, until nothing is left at DEFLATE_FAST.  The share of the
 * bytes that fell into the plain round trip is left out.  The others count, although some had
 * arrived before this mark was sent: that errs towards fast.
 *
 * Pays: busy processors make marks late as well, and windows that do not grow hold data up; against
 * both deflate is in vain.  When data that shrank by a third does not get through faster by a
 * quarter than plain data did, it is stopped, and twice the lateness is wanted next time.  And
 * since packed data cannot tell what plain data would do, plain data is tried again after a while;
 * on a line that is still slow that is noticed at once, and not done again for twice as long. */
struct deflate_policy {
    double late_us; /* not accounted for */
    double need_us; /* how much of it makes the line slow */
    double slow_us; /* for how long it is … */
    double hold_us; /* … and may be before plain data is tried */
    struct deflate_pace plain, packed;
    uint64_t sample_in; /* of the present sample of the data */
    uint64_t sample_out;
    uint64_t let_by; /* bytes that still go by before the next sample */
    uint64_t back;   /* what let_by becomes after the next sample in vain */
    int slow;        /* bodies that shrink are packed */
};

void deflate_policy_init(struct deflate_policy *p);

/* A mark was answered. */
void deflate_policy_mark(struct deflate_policy *p, const struct deflate_mark *m);

/* A body of `in` bytes was packed into `out`. */
void deflate_policy_packed(struct deflate_policy *p, size_t in, size_t out);

/* True when the next body, of n bytes, should be packed.  To be asked once for each body. */
int deflate_policy_wants(struct deflate_policy *p, size_t n);

#endif
