/* What hosts say, on its way to a terminal: the lines of it are the same for each way of cutting
 * it, what is shown of them is harmless, and the difference of two outputs leads from one to the
 * other. */
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/fleet/fleet_lines.h"
#include "launcher/cli/linediff.h"
#include "launcher/cli/say.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

struct joined {
    char *bytes;
    size_t n;
};

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {"\x01text\r\n\tmore", "\x02\x1b[31m\x9b\n\n\xc2\x9b",
                                      "\x03\xc3\xbc\xe2\x82\xac\n\xf0\x9f\x90\x9f",
                                      "\004a\nb\nc\nd\ne\na\nB\nc\nd\nE\n"};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static void take(void *arg, const unsigned char *line, size_t n)
{
    struct joined *j = arg;
    char *safe = malloc(4 * n + 1);
    size_t length = say_safe_bytes(safe, line, n);

    MUST(line[n] == '\0' && length <= 4 * n);
    for (size_t i = 0; i < length; i++)
        MUST(((unsigned char)safe[i] >= 0x20 && safe[i] != 0x7f) || safe[i] == '\t');
    free(safe);
    if (n > 0)
        memcpy(j->bytes + j->n, line, n);
    j->n += n;
    j->bytes[j->n++] = '\n';
}

static void check_lines(const uint8_t *data, size_t size, size_t piece)
{
    struct joined j = {malloc(2 * size + 2), 0};
    struct fleet_lines l = {0};

    for (size_t at = 0; at < size; at += piece)
        MUST(fleet_lines_feed(&l, data + at, size - at < piece ? size - at : piece, take, &j) == 0);
    fleet_lines_end(&l, take, &j);
    if (size <= FLEET_LINES_MAX) {
        MUST(j.n == size + (size > 0 && data[size - 1] != '\n'));
        MUST(size == 0 || !memcmp(j.bytes, data, size));
    }
    free(j.bytes);
}

static void check_difference(const char *a, size_t a_length, const char *b, size_t b_length)
{
    char *diff = linediff(a, a_length, "a", b, b_length, "b");
    int same = a_length == b_length && (a_length == 0 || !memcmp(a, b, a_length));

    MUST(diff != NULL && same == (*diff == '\0'));
    free(diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t half = size / 2;

    if (size == 0)
        return 0;
    check_lines(data + 1, size - 1, (size_t)data[0] % 7 + 1);
    check_difference((const char *)data, half, (const char *)data + half, size - half);
    return 0;
}
