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
#define DEFLATE_SLOW     30      /* MB/s: a line that drains faster is not helped */
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

/* When to deflate: while the line is slow and the data shrinks.  Has no clock and does no work of
 * its own.  To be set up by deflate_policy_init; the fields are its own business. */
struct deflate_policy {
    uint64_t blocked_bytes; /* taken by the pipe after it had been blocked, in this measurement */
    uint64_t blocked_us;
    uint64_t free_bytes; /* taken without a wait since the last measurement */
    uint64_t sample_in;  /* of the present sample */
    uint64_t sample_out;
    uint64_t let_by; /* bytes that still go by before the next sample */
    uint64_t back;   /* what let_by becomes after the next sample in vain */
    int slow;
};

void deflate_policy_init(struct deflate_policy *p);

/* The pipe took `bytes` (as sent) after it had been unable to take any for blocked_us (0: it took
 * them at once). */
void deflate_policy_sent(struct deflate_policy *p, uint64_t bytes, uint64_t blocked_us);

/* A body of `in` bytes was packed into `out`. */
void deflate_policy_packed(struct deflate_policy *p, size_t in, size_t out);

/* True when the next body, of n bytes, should be packed.  To be asked once for each body. */
int deflate_policy_wants(struct deflate_policy *p, size_t n);

#endif
