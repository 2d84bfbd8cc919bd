/* The line of /proc/PID/stat.  Whatever it is, reading it ends; and what the kernel would write of
 * a process with an arbitrary name is read as that process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/tree.h"
#include "proto/errors.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define NAME_MOST 64 /* bytes of a name; those of kernel threads are the longest */
#define LINE_MOST 512

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "1 (systemd) S 0 1 1 0 -1 4194560 84121 3906 97 1017 45 31 9 12 20 0 1 0 3 172974080 3335",
        "77 (a) b) R 1 (c) T 5 77 70 34816 77 0 0 0 0 0 0 0 0 0 20 0 3 0 4711 1 1\n",
        "9 () Z 8 9 9 0 -1 4227084 0 0 0 0 0 0 0 0 20 0 1 0 12 0 0",
        "9 (x) Z 8 9 9 0 -1 4227084 0 0 0 0 0 0 0 0 20 0 2 0 12 0 0",
        "9 (\n) S 1 2",
        "9 (no end S 1 2 3",
        ") ",
        "",
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static void any_line(const uint8_t *data, size_t size)
{
    struct tree_process p = {.pid = 77};
    char *text = malloc(size + 1); /* of its own, so that reading beyond it is seen */
    int result;

    MUST(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    result = tree_read(text, &p);
    MUST(result == 0 || result == -E_SYSTEM);
    MUST(p.pid == 77 && p.marked == 0 && p.dead <= 1);
    MUST(result != 0 || strchr(text, ')') != NULL);
    MUST(!p.dead || p.state == 'Z' || p.state == 'X');
    free(text);
}

/* The kernel's format, with a name and numbers from the input. */
static void kernels_line(const uint8_t *data, size_t size)
{
    static const char states[] = "RSDZTtWXI";
    char line[LINE_MOST];
    char name[NAME_MOST + 1] = "";
    struct tree_process p = {0};
    unsigned numbers[4];
    char state;
    int threads;
    unsigned long long started;
    int n;

    if (size < sizeof numbers + 10) {
        return;
    }
    memcpy(numbers, data, sizeof numbers);
    for (size_t i = 0; i < 4; i++) {
        numbers[i] &= 0x3fffffu; /* the most that the kernel gives */
    }
    data += sizeof numbers;
    state = states[data[0] % (sizeof states - 1)];
    threads = data[1];
    memcpy(&started, data + 2, sizeof started);
    data += 10;
    size -= sizeof numbers + 10;
    memcpy(name, data, size < NAME_MOST ? size : NAME_MOST);
    n = snprintf(line, sizeof line,
                 "%u (%s) %c %u %u %u -1 -1 4194304 1 2 3 4 5 6 -7 -8 20 -19 %d 0 %llu 999 "
                 "18446744073709551615",
                 numbers[0], name, state, numbers[1], numbers[2], numbers[3], threads, started);
    MUST(n > 0 && (size_t)n < sizeof line);
    MUST(tree_read(line, &p) == 0);
    MUST(p.state == state && p.parent == (pid_t)numbers[1] && p.group == (pid_t)numbers[2] &&
         p.session == (pid_t)numbers[3] && p.started == started);
    MUST(p.dead == ((state == 'Z' || state == 'X') && threads <= 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    any_line(data, size);
    kernels_line(data, size);
    return 0;
}
