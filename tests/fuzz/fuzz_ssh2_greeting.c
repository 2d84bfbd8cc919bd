/* The plain text of an SSH server, in one piece and in pieces: both must come to the same. */
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/ssh2_greeting.h"
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

static void seeds_greeting(seeds_sink *sink, void *arg)
{
    static const uint8_t kexinit[] =
        "SSH-2.0-x\r\n"
        "\0\0\0\x3d\4\24cookiecookiecook"
        "\0\0\0\1a\0\0\0\1b\0\0\0\1c\0\0\0\1d\0\0\0\1e\0\0\0\1f\0\0\0\1g"
        "\0\0\0\1h\0\0\0\0\0\0\0\0\0\0\0\0\0pppp"
        "\0\0\0\5\3\25ppp"
        "encrypted";
    static const uint8_t disconnect[] =
        "hello\nSSH-2.0-y\n\0\0\0\24\4\1\0\0\0\2\0\0\0\2no\0\0\0\0pppp";

    sink(arg, kexinit, sizeof kexinit - 1);
    sink(arg, disconnect, sizeof disconnect - 1);
    sink(arg, (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n", 26);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds_greeting);
}

static int same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ssh2_greeting *once = ssh2_greeting_new(), *pieces = ssh2_greeting_new();
    int first = 0, second = 0;
    size_t step = size ? 1 + data[0] % 9 : 1;

    MUST(once && pieces);
    first = ssh2_greeting_feed(once, data, size);
    for (size_t i = 0; i < size && !second; i += step)
        second = ssh2_greeting_feed(pieces, data + i, size - i < step ? size - i : step);
    MUST(first == second);
    MUST(first == 0 || first == -E_NOT_SSH || first == -E_MALFORMED);
    MUST(same(ssh2_greeting_version(once), ssh2_greeting_version(pieces)));
    MUST(same(ssh2_greeting_disconnect(once), ssh2_greeting_disconnect(pieces)));
    for (int i = 0; i < SSH2_GREETING_LISTS; i++)
        MUST(same(ssh2_greeting_names(once, (enum ssh2_greeting_list)i),
                  ssh2_greeting_names(pieces, (enum ssh2_greeting_list)i)));
    MUST(ssh2_greeting_behind(once) == ssh2_greeting_behind(pieces));
    ssh2_greeting_free(once);
    ssh2_greeting_free(pieces);
    return 0;
}
