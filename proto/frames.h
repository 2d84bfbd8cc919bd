/* Frames: encoder and decoder, derived from the table frames.def. */
#ifndef GRAPNEL_PROTO_FRAMES_H
#define GRAPNEL_PROTO_FRAMES_H

#include "proto/wire.h"

#define FRAMES_HEADER      8     /* u32 id, u8 type, u8 flags, u16 length; big-endian */
#define FRAMES_PAYLOAD_MAX 65535 /* bytes after the header */

/* Flags.  MORE is legal only for types whose largest body does not fit into one frame. */
#define FRAMES_MORE    0x01 /* the body goes on in the next frame of this type and id */
#define FRAMES_DEFLATE 0x02 /* DATA: the body is deflated (RFC 1951) with the link's context */

enum frames_type {
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc) FRAME_##NAME = (code),
#include "proto/frames.def"
#undef FRAME
};

enum frames_id_rule { FRAMES_ID_LINK, FRAMES_ID_STREAM, FRAMES_ID_CALL };
enum frames_body_rule { FRAMES_BODY_NONE, FRAMES_BODY_BYTES, FRAMES_BODY_VALUE };

/* The fixed fields of each type: struct frame_hello { uint16_t major; ... } and so on.  Types
 * without any get a dummy member so that the struct is valid C. */
#define U16(field, doc) uint16_t field;
#define U32(field, doc) uint32_t field;
#define U64(field, doc) uint64_t field;
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc)                                      \
    struct frame_##name {                                                                          \
        FIELDS char no_fields[1];                                                                  \
    };
#include "proto/frames.def"
#undef FRAME
#undef U16
#undef U32
#undef U64

/* One frame, decoded.  `body` points into the bytes that were decoded. */
struct frame {
    uint32_t id;
    uint8_t type;
    uint8_t flags;
    union {
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc) struct frame_##name name;
#include "proto/frames.def"
#undef FRAME
    };
    const uint8_t *body;
    size_t body_length; /* bytes */
};

/* The eight bytes that stand before every payload. */
struct frames_header {
    uint32_t id;
    uint8_t type;
    uint8_t flags;
    uint16_t length; /* of the payload, bytes */
};

/* Reads a header from FRAMES_HEADER bytes and checks type, flags, id rule and length against the
 * table.  0, or -E_PROTOCOL with a text in *e (may be NULL). */
struct error;
int frames_get_header(const uint8_t *at, struct frames_header *h, struct error *e);
void frames_put_header(uint8_t *at, const struct frames_header *h);
/* Bytes of the payload behind a header that is known to be right. */
size_t frames_length(const uint8_t *header);

/* Decodes the payload that belongs to `h` (h->length bytes at `payload`).  `continued` is true for
 * the second and later parts of a MORE sequence, which have no fixed fields.
 * 0 or -E_PROTOCOL: too short, trailing bytes where no body is allowed, body over its limit, a
 * part of a sequence without any bytes.  The limit of a whole sequence is the caller's to check. */
int frames_decode(const struct frames_header *h, const uint8_t *payload, int continued,
                  struct frame *f, struct error *e);

/* Appends `f` to `out`, split by MORE where the body is too large for one frame.
 * Sets MORE itself; all of `f` is appended or nothing.  0, -E_NOMEM, -E_LIMIT (out's limit),
 * -E_TOO_LARGE (the table's) or -E_ARGUMENT (type, flags or id against the table). */
int frames_encode(struct wire_buf *out, const struct frame *f);

/* Columns of the table.  Name: "HELLO" or "type 77".  For an unknown type the others are 0. */
const char *frames_name(uint8_t type);
enum frames_id_rule frames_id_rule(uint8_t type);
enum frames_body_rule frames_body_rule(uint8_t type);
size_t frames_body_limit(uint8_t type);
size_t frames_fixed_size(uint8_t type); /* bytes of the fixed fields */
int frames_known(uint8_t type);

#endif
