/* Bytes as they stand on the wire: a growing buffer, and big-endian integers.
 * All wire bytes are written and read through this file. */
#ifndef GRAPNEL_PROTO_WIRE_H
#define GRAPNEL_PROTO_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* A growing byte queue: bytes are appended at the end and taken from the front.
 * Zero-initialised is empty and valid.  `limit` (bytes, 0 = none) bounds what it may hold. */
struct wire_buf {
    uint8_t *data; /* allocation */
    size_t start;  /* first byte not yet taken */
    size_t end;    /* one past the last byte */
    size_t size;   /* bytes allocated */
    size_t limit;
};

/* Frees the bytes and makes it empty; the limit stays.  NULL is legal. */
void wire_free(struct wire_buf *b);

/* Number of bytes held, and the first of them. */
size_t wire_length(const struct wire_buf *b);
const uint8_t *wire_data(const struct wire_buf *b);

/* Makes room for `n` more bytes at the end and sets *at to them (valid until the next call that
 * changes the buffer); the bytes count only after wire_commit(b, used <= n).
 * Returns 0, -E_NOMEM, or -E_LIMIT. */
int wire_reserve(struct wire_buf *b, size_t n, uint8_t **at);
void wire_commit(struct wire_buf *b, size_t n);

/* Appends.  0, -E_NOMEM or -E_LIMIT; on failure nothing is appended. */
int wire_put(struct wire_buf *b, const void *bytes, size_t n);
int wire_put_u8(struct wire_buf *b, uint8_t v);
int wire_put_u16(struct wire_buf *b, uint16_t v);
int wire_put_u32(struct wire_buf *b, uint32_t v);
int wire_put_u64(struct wire_buf *b, uint64_t v);

/* Drops n bytes from the front (n <= length).  An emptied buffer of more than `keep` bytes is
 * given back to the system by wire_trim. */
void wire_take(struct wire_buf *b, size_t n);
void wire_trim(struct wire_buf *b, size_t keep);

/* Reading: a cursor over bytes that someone else owns.  A read past the end yields 0 and sets
 * `short_read`, so that a decoder may read all its fields and test once. */
struct wire_reader {
    const uint8_t *at;
    size_t left;
    int short_read;
};
void wire_reader_init(struct wire_reader *r, const void *bytes, size_t n);
uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);

/* Big-endian integers at a given place, for headers that are filled in afterwards. */
void wire_store_u16(uint8_t *at, uint16_t v);
void wire_store_u32(uint8_t *at, uint32_t v);

#endif
