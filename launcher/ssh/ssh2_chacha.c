/* chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305) for libssh2, by libsodium.
 *
 * libssh2 1.11.1 carries ChaCha20 and Poly1305 in portable C, and spends four fifths of its time in
 * them; libsodium's use the processor's vector units and take a third of that.  Its static library
 * reaches them through the three functions below, which are not in its header: the Makefile leaves
 * its own out where these are defined.  With a shared libssh2 they are of no effect.
 * Names and types are therefore not ours to choose. */
#include "launcher/ssh/ssh2_chacha.h"

#include <libssh2.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "proto/wire.h"

int ssh2_chacha_prepare(void)
{
    return sodium_init() < 0 ? -1 : 0;
}

#if LIBSSH2_VERSION_NUM == 0x010b01

enum { KEY = 32, TAG = crypto_onetimeauth_BYTES, NONCE = crypto_stream_chacha20_NONCEBYTES };

/* libssh2 allocates it, as two tables of sixteen 32-bit words. */
struct chachapoly_ctx {
    unsigned char payload[KEY];
    unsigned char length[KEY];
    unsigned char unused[64];
};

_Static_assert(sizeof(struct chachapoly_ctx) == 128, "as large as libssh2's own");

int chachapoly_init(struct chachapoly_ctx *ctx, const unsigned char *key, unsigned keylen);
int chachapoly_crypt(struct chachapoly_ctx *ctx, unsigned seqnr, unsigned char *dest,
                     const unsigned char *src, unsigned len, unsigned aadlen, int do_encrypt);
int chachapoly_get_length(struct chachapoly_ctx *ctx, unsigned *plenp, unsigned seqnr,
                          const unsigned char *cp, unsigned len);

int chachapoly_init(struct chachapoly_ctx *ctx, const unsigned char *key, unsigned keylen)
{
    if (keylen != 2 * KEY)
        return LIBSSH2_ERROR_INVAL;
    memcpy(ctx->payload, key, KEY);
    memcpy(ctx->length, key + KEY, KEY);
    return 0;
}

/* The packet's number, as 64 bits. */
static void make_nonce(unsigned char nonce[NONCE], unsigned seqnr)
{
    memset(nonce, 0, NONCE);
    wire_store_u32(nonce + 4, seqnr);
}

int chachapoly_crypt(struct chachapoly_ctx *ctx, unsigned seqnr, unsigned char *dest,
                     const unsigned char *src, unsigned len, unsigned aadlen, int do_encrypt)
{
    unsigned char nonce[NONCE], key[crypto_onetimeauth_KEYBYTES];
    int result = 0;

    make_nonce(nonce, seqnr);
    crypto_stream_chacha20(key, sizeof key, nonce, ctx->payload);
    if (!do_encrypt && crypto_onetimeauth_verify(src + aadlen + len, src, aadlen + len, key) != 0) {
        result = LIBSSH2_ERROR_DECRYPT;
        goto out;
    }
    if (aadlen)
        crypto_stream_chacha20_xor(dest, src, aadlen, nonce, ctx->length);
    /* Block 0 made the key of the tag. */
    crypto_stream_chacha20_xor_ic(dest + aadlen, src + aadlen, len, nonce, 1, ctx->payload);
    if (do_encrypt)
        crypto_onetimeauth(dest + aadlen + len, dest, aadlen + len, key);
out:
    sodium_memzero(key, sizeof key);
    return result;
}

int chachapoly_get_length(struct chachapoly_ctx *ctx, unsigned *plenp, unsigned seqnr,
                          const unsigned char *cp, unsigned len)
{
    unsigned char nonce[NONCE], plain[4];
    struct wire_reader r;

    if (len < sizeof plain)
        return -1;
    make_nonce(nonce, seqnr);
    crypto_stream_chacha20_xor(plain, cp, sizeof plain, nonce, ctx->length);
    wire_reader_init(&r, plain, sizeof plain);
    *plenp = wire_get_u32(&r);
    return 0;
}

#endif
