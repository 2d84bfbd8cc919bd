/* What comes before the link of a served agent: the client's command, and the bytes that are passed
 * over.  The first byte says which, and for bytes in what pieces they come. */
#include <stdlib.h>
#include <string.h>

#include "agent/intro.h"
#include "proto/link.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define NONCE "0123456789abcdef0123456789abcdef"

/* ---- seeds ---- */

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const commands[] = {
        "\0exec /bin/sh -c 'n=" NONCE "; set -- x'",
        "\0exec /bin/sh -c 'n=" NONCE "0;'",
        "\0exec /bin/sh -c 'n=0123;'",
        "\0'n='n=" NONCE ";",
        "\0ls",
    };
    uint8_t bytes[300] = {7, 'a'};

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        sink(arg, (const uint8_t *)commands[i], 1 + strlen(commands[i] + 1));
    }
    memcpy(bytes + 2 + INTRO_ZEROS, LINK_PREFACE, LINK_PREFACE_SIZE);
    sink(arg, bytes, sizeof bytes);
    bytes[1 + INTRO_ZEROS] = 'a'; /* too few */
    sink(arg, bytes, sizeof bytes);
    bytes[150 + INTRO_ZEROS] = 'G';
    sink(arg, bytes, sizeof bytes);
    memcpy(bytes + 151 + INTRO_ZEROS, LINK_PREFACE, LINK_PREFACE_SIZE);
    sink(arg, bytes, sizeof bytes);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

/* ---- what must hold ---- */

/* Only hexadecimal digits of the client's are said back, and only on one line of ours. */
static void check_line(const uint8_t *data, size_t size)
{
    static const char head[] = "@grapnel ";
    char *command = malloc(size + 1);
    char line[256];
    const char *end;
    size_t n;

    MUST(command != NULL);
    memcpy(command, data, size);
    command[size] = '\0';
    MUST(intro_line(command, line, 40) == 0); /* too short for any */
    n = intro_line(command, line, sizeof line);
    free(command);
    if (n == 0) {
        return;
    }
    MUST(n < sizeof line && strlen(line) == n);
    MUST(strncmp(line, head, sizeof head - 1) == 0);
    end = line + sizeof head - 1 + INTRO_NONCE;
    MUST(strspn(line + sizeof head - 1, "0123456789abcdef") == INTRO_NONCE);
    MUST(strncmp(end, " sys ", 5) == 0 && strchr(end, '\n') == line + n - 1);
}

/* Where the link begins, found in another way: behind the first preface with zeros before it. */
static size_t expected(const uint8_t *data, size_t size)
{
    for (size_t at = INTRO_ZEROS; at + LINK_PREFACE_SIZE <= size; at++) {
        size_t zeros = 0;
        while (zeros < INTRO_ZEROS && data[at - 1 - zeros] == 0) {
            zeros++;
        }
        if (zeros == INTRO_ZEROS && memcmp(data + at, LINK_PREFACE, LINK_PREFACE_SIZE) == 0) {
            return at + LINK_PREFACE_SIZE;
        }
    }
    return 0;
}

static void check_bytes(const uint8_t *data, size_t size, size_t piece)
{
    struct intro i = {0};
    size_t at = 0;

    while (at < size && !i.over) {
        size_t n = piece < size - at ? piece : size - at;
        size_t taken = intro_take(&i, data + at, n);
        MUST(taken == n || (i.over && taken < n));
        at += taken;
    }
    MUST(i.passed == at);
    MUST(i.over == (expected(data, size) != 0));
    MUST(!i.over || at == expected(data, size));
    MUST(!i.over || intro_take(&i, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 0) {
        check_line(data + 1, size - 1);
    } else if (size > 0) {
        check_bytes(data + 1, size - 1, data[0]);
    }
    return 0;
}
