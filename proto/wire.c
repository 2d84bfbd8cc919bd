#include "proto/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"

#define WIRE_FIRST 256 /* bytes of the smallest allocation */

void wire_free(struct wire_buf *b)
{
    if (b == NULL) {
        return;
    }
    free(b->data);
    b->data = NULL;
    b->start = 0;
    b->end = 0;
    b->size = 0;
}

size_t wire_length(const struct wire_buf *b)
{
    return b->end - b->start;
}

const uint8_t *wire_data(const struct wire_buf *b)
{
    return b->data == NULL ? NULL : b->data + b->start;
}

/* Moves what is held into a larger allocation, which has room for n more. */
static int grow(struct wire_buf *b, size_t n)
{
    size_t length = b->end - b->start;
    size_t size = b->size < WIRE_FIRST ? WIRE_FIRST / 2 : b->size;
    do {
        if (size > PTRDIFF_MAX / 2) {
            return -E_NOMEM;
        }
        size *= 2;
    } while (size - length < n);
    uint8_t *data = malloc(size);
    if (data == NULL) {
        return -E_NOMEM;
    }
    if (b->data != NULL) {
        memcpy(data, b->data + b->start, length);
    }
    free(b->data);
    b->data = data;
    b->start = 0;
    b->end = length;
    b->size = size;
    return 0;
}

int wire_reserve(struct wire_buf *b, size_t n, uint8_t **at)
{
    size_t length = b->end - b->start;
    if (b->limit != 0 && (length > b->limit || n > b->limit - length)) {
        return -E_LIMIT;
    }
    if (n > SIZE_MAX / 2 || length > SIZE_MAX / 2) {
        return -E_NOMEM;
    }
    if (b->data == NULL || b->size - b->end < n) {
        /* Moving to the front costs no more than a few times what was taken since the last move, so
         * a queue that is filled and drained by turns neither grows nor becomes quadratic. */
        if (b->data != NULL && b->size - length >= n && b->start >= length / 4) {
            memmove(b->data, b->data + b->start, length);
            b->start = 0;
            b->end = length;
        } else {
            int rc = grow(b, n);
            if (rc != 0) {
                return rc;
            }
        }
    }
    *at = b->data + b->end;
    return 0;
}

void wire_commit(struct wire_buf *b, size_t n)
{
    assert(n <= b->size - b->end);
    b->end += n;
}

int wire_put(struct wire_buf *b, const void *bytes, size_t n)
{
    if (n == 0) {
        return 0;
    }
    uint8_t *at;
    int rc = wire_reserve(b, n, &at);
    if (rc != 0) {
        return rc;
    }
    memcpy(at, bytes, n);
    b->end += n;
    return 0;
}

int wire_put_u8(struct wire_buf *b, uint8_t v)
{
    return wire_put(b, &v, 1);
}

int wire_put_u16(struct wire_buf *b, uint16_t v)
{
    uint8_t bytes[2];
    wire_store_u16(bytes, v);
    return wire_put(b, bytes, sizeof(bytes));
}

int wire_put_u32(struct wire_buf *b, uint32_t v)
{
    uint8_t bytes[4];
    wire_store_u32(bytes, v);
    return wire_put(b, bytes, sizeof(bytes));
}

int wire_put_u64(struct wire_buf *b, uint64_t v)
{
    uint8_t bytes[8];
    wire_store_u32(bytes, (uint32_t)(v >> 32));
    wire_store_u32(bytes + 4, (uint32_t)v);
    return wire_put(b, bytes, sizeof(bytes));
}

void wire_take(struct wire_buf *b, size_t n)
{
    assert(n <= b->end - b->start);
    b->start += n;
    if (b->start == b->end) {
        b->start = 0;
        b->end = 0;
    }
}

void wire_trim(struct wire_buf *b, size_t keep)
{
    if (b->start == b->end && b->size > keep) {
        wire_free(b);
    }
}

void wire_reader_init(struct wire_reader *r, const void *bytes, size_t n)
{
    r->at = bytes;
    r->left = n;
    r->short_read = 0;
}

/* The next n bytes as one big-endian number, n <= 8. */
static uint64_t get(struct wire_reader *r, size_t n)
{
    if (r->left < n) {
        /* All that follows must fail too, or a later field would be read from the wrong place. */
        r->left = 0;
        r->short_read = 1;
        return 0;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | r->at[i];
    }
    r->at += n;
    r->left -= n;
    return v;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
    return (uint8_t)get(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r)
{
    return (uint16_t)get(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    return (uint32_t)get(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
    return get(r, 8);
}

void wire_store_u16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

void wire_store_u32(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}
