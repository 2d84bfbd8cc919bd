/* Text for terminals: whatever comes in, what goes out is printable ASCII and whole visible
 * characters, the same for each way of cutting the input. */
#include <stdlib.h>
#include <string.h>

#include "launcher/safetext.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {"\x01text\r\n\tmore", "\x02\x1b[31m\x9b\xc2\x9b",
                                      "\x03\xc3\xbc\xe2\x82\xac\xf0\x9f\x90\x9f",
                                      "\x04\xe2\x80\xae\xf3\xa0\x80\x81\xed\xa0\x80\xc0\xaf"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

/* No control characters, C1 controls included. */
static void check_harmless(const char *s, size_t n, unsigned flags)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        int allowed = (flags & SAFETEXT_LINES) != 0 && (c == '\n' || c == '\t');
        MUST((c >= 0x20 && c != 0x7f) || allowed);
        MUST(c != 0xc2 || (unsigned char)s[i + 1] >= 0xa0);
        if (c >= 0x80 && (c & 0xc0) == 0x80) { /* never the first of a character */
            MUST(i > 0 && (unsigned char)s[i - 1] >= 0x80);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    unsigned flags = data[0] & 1;
    size_t piece = (size_t)(data[0] >> 1) % 7 + 1;
    data++;
    size--;
    char *whole = safetext_dup(data, size, flags);
    MUST(whole != NULL);
    size_t n = strlen(whole);
    check_harmless(whole, n, flags);

    struct safetext st = {.flags = flags};
    struct wire_buf out = {0};
    for (size_t at = 0; at < size; at += piece) {
        MUST(safetext_feed(&st, &out, data + at, size - at < piece ? size - at : piece) == 0);
    }
    MUST(safetext_finish(&st, &out) == 0);
    MUST(wire_length(&out) == n && (n == 0 || memcmp(wire_data(&out), whole, n) == 0));

    char cut[8];
    MUST(safetext_copy(cut, sizeof(cut), data, size, flags) == n);
    MUST(strlen(cut) < sizeof(cut) && memcmp(cut, whole, strlen(cut)) == 0);
    check_harmless(cut, strlen(cut), flags);
    wire_free(&out);
    free(whole);
    return 0;
}
