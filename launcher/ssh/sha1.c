#include "launcher/ssh/sha1.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 64

static uint32_t rotate(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

static void spread(const uint8_t block[BLOCK], uint32_t words[80])
{
    for (size_t i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (size_t i = 16; i < 80; i++)
        words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
}

/* FIPS 180-4, 6.1.2. */
static void add_block(uint32_t state[5], const uint8_t block[BLOCK])
{
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

    spread(block, words);
    for (size_t i = 0; i < 80; i++) {
        uint32_t mixed = i < 20              ? (b & c) | (~b & d)
                         : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d)
                                             : b ^ c ^ d;
        uint32_t next = rotate(a, 5) + mixed + e + constants[i / 20] + words[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1_hex(const void *bytes, size_t n, char hex[SHA1_HEX])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *at = bytes;
    uint8_t last[2 * BLOCK] = {0};
    size_t rest = n % BLOCK, ends = rest + 9 > BLOCK ? 2 * BLOCK : BLOCK;

    for (; at < (const uint8_t *)bytes + (n - rest); at += BLOCK)
        add_block(state, at);
    if (rest)
        memcpy(last, at, rest);
    last[rest] = 0x80;
    for (size_t i = 0; i < 8; i++)
        last[ends - 1 - i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
    for (size_t done = 0; done < ends; done += BLOCK)
        add_block(state, last + done);
    for (size_t i = 0; i < 5; i++)
        snprintf(hex + 8 * i, 9, "%08x", state[i]);
}
