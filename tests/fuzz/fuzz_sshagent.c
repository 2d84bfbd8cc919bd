/* What an agent answers.  The first byte chooses the request; the rest comes over a socket. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/ssh/sshagent.h"
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
    static const char list[] = "\0\0\0\0\44\14\0\0\0\2"
                               "\0\0\0\5\0\0\0\1a\0\0\0\3c\0d"
                               "\0\0\0\5\0\0\0\1b\0\0\0\2e\0";
    static const char signature[] = "\1\0\0\0\17\16\0\0\0\12\0\0\0\1a\0\0\0\1b";
    static const char failure[] = "\1\0\0\0\1\5";
    sink(arg, (const uint8_t *)list, sizeof(list) - 1);
    sink(arg, (const uint8_t *)signature, sizeof(signature) - 1);
    sink(arg, (const uint8_t *)failure, sizeof(failure) - 1);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static void check_answer(const struct sshagent *a)
{
    size_t n;
    const uint8_t *sig = sshagent_signature(a, &n);
    MUST((sig == NULL) == (n == 0));
    volatile uint8_t touched = 0;
    for (size_t i = 0; i < n; i++) {
        touched = (uint8_t)(touched + sig[i]);
    }
    MUST(sshagent_count(a) <= SSHAGENT_IDENTITIES_MAX);
    for (size_t i = 0; i < sshagent_count(a); i++) {
        const struct sshagent_identity *id = sshagent_identity(a, i);
        MUST(id->type[0] != '\0' && strlen(id->comment) <= SSHAGENT_MESSAGE_MAX);
        for (size_t j = 0; j < id->blob_n; j++) {
            touched = (uint8_t)(touched + id->blob[j]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    struct sshagent *a;
    if (size == 0 || size > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        return 0;
    }
    MUST(sshagent_adopt(ends[0], &a, NULL) == 0);
    MUST((data[0] & 1 ? sshagent_sign(a, "k", 1, "d", 1, 0) : sshagent_list(a)) == 0);
    MUST(write(ends[1], data + 1, size - 1) == (ssize_t)size - 1);
    MUST(shutdown(ends[1], SHUT_WR) == 0);
    int rc = sshagent_step(a, NULL);
    MUST(rc <= 0); /* it is all there, and the end */
    if (rc == 0) {
        check_answer(a);
        (void)sshagent_list(a);
        (void)sshagent_step(a, NULL);
    }
    sshagent_free(a);
    close(ends[1]);
    return 0;
}
