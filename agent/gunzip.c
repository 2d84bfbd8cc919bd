#include "agent/gunzip.h"

#define ZLIB_CONST
#include <limits.h>
#include <zlib.h>

#define GZIP_ONLY (15 + 16) /* windowBits of inflateInit2: no other format is let in */

static int explain(const z_stream *z, int result, struct error *e)
{
    if (result == Z_MEM_ERROR) {
        return errors_set(e, -E_NOMEM, "unpacking");
    }
    if (result == Z_STREAM_END) {
        return errors_set(e, -E_MALFORMED, "%u bytes behind the gzip member", z->avail_in);
    }
    if (result == Z_BUF_ERROR || result == Z_OK) {
        return errors_set(e, -E_MALFORMED, "the gzip member is cut short");
    }
    return errors_set(e, -E_MALFORMED, "gzip: %s", z->msg != NULL ? z->msg : "bad data");
}

static int unpack(z_stream *z, gunzip_sink *sink, void *arg, struct error *e)
{
    uint8_t piece[GUNZIP_PIECE];
    int result = Z_OK;

    while (result == Z_OK) {
        size_t n;
        int code;
        z->next_out = piece;
        z->avail_out = sizeof piece;
        result = inflate(z, Z_NO_FLUSH);
        n = sizeof piece - z->avail_out;
        code = n > 0 ? sink(arg, piece, n) : 0;
        if (code != 0) {
            return code;
        }
    }
    return result == Z_STREAM_END && z->avail_in == 0 ? 0 : explain(z, result, e);
}

int gunzip_run(const uint8_t *packed, size_t n, gunzip_sink *sink, void *arg, struct error *e)
{
    z_stream z = {.next_in = packed, .avail_in = (uInt)n};
    int result;

    if (n > UINT_MAX) {
        return errors_set(e, -E_MALFORMED, "gzip: %zu bytes", n);
    }
    if (inflateInit2(&z, GZIP_ONLY) != Z_OK) {
        return errors_set(e, -E_NOMEM, "unpacking");
    }
    result = unpack(&z, sink, arg, e);
    inflateEnd(&z);
    return result;
}
