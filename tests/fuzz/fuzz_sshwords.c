/* What the OpenSSH client wrote to stderr, which the other side has a say in, as the bootstrap
 * hands it on.  The first byte says what was running, how it ended and by which way it went. */
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/bootstrap/bootstrap.h"
#include "launcher/safetext.h"
#include "launcher/ssh/sshwords.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define BEFORE "as it was"

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "\x01ssh: Could not resolve hostname x: Name or service not known\r\n",
        "\x01@@@@@\r\nREMOTE HOST IDENTIFICATION HAS CHANGED!\r\nThe fingerprint for x "
        "is\r\ny.\r\n",
        "\x01The RSA host key for h is marked as revoked.\nREVOKED HOST KEY DETECTED!\n",
        "\x01No x host key is known for h.\r\nHost key verification failed.\r\n",
        "\x01ssh: connect to host h port 1: Connection refused|No route to host",
        "\x01ssh: connect to host h port 1: Network is unreachable",
        "\x01"
        "Connection timed out during banner exchange\r\nConnection to h port 1 timed out",
        "\x01u@h: Permission denied (publickey,password).\r\n",
        "\x01Received disconnect from h port 22:2: Too many authentication failures",
        "\x01Unable to negotiate with h port 1: no matching host key type found.",
        "\x01"
        "command-line: line 0: Bad configuration option: foo",
        "\x01"
        "Bad owner or permissions on /home/x/.ssh/config",
        "\x09kex_exchange_identification: Connection closed by remote host",
        "\x11kex_exchange_identification: read: Connection reset by peer",
        "\x11kex_exchange_identification: write: Broken pipe",
        "\x01kex_exchange_identification: banner line contains invalid characters",
        "\x01"
        "banner exchange: Connection to h port 1: invalid format",
        "\x09"
        "channel 0: open failed: administratively prohibited\nstdio forwarding failed",
        "\x01"
        "Connection reset by 1.2.3.4 port 22",
        "\x11sh: 1: nc: not found",
        "\x03no such container \xc3\xbc\xe2\x82\xac\xf0\x9f\x90\x9f",
        "\x07\x1b[31m\xc2\x9b\x9b\xe2\x80\xae\a\t",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
    /* Longer than what is shown, of characters that may be cut. */
    uint8_t banner[BOOTSTRAP_TEXT] = "\x01\x33The fingerprint for REMOTE HOST IDENTIFICATION HAS "
                                     "CHANGED";
    size_t n = strlen((const char *)banner);
    while (n + 3 <= sizeof(banner)) {
        memcpy(banner + n, "\xe2\x82\xac", 3);
        n += 3;
    }
    sink(arg, banner, n);
    banner[1] = '\n';
    memcpy(banner + 2, "Connection refused", 18);
    sink(arg, banner, n - 3);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

/* Terminated, not empty, harmless for a terminal, no character cut in two. */
static void check_shown(const struct error *e)
{
    char safe[2 * sizeof(e->detail)];
    size_t n = strnlen(e->detail, sizeof(e->detail));
    MUST(n > 0 && n < sizeof(e->detail));
    MUST(safetext_copy(safe, sizeof(safe), e->detail, n, 0) == n && strcmp(safe, e->detail) == 0);
}

static void explain(uint8_t how, const char *said)
{
    static const int befores[] = {-E_SHELL, -E_NOLOGIN, -E_SUDO};
    static const int others[] = {0, 1, 137, -1};
    struct sshwords about = {.status = (how & 1) != 0 ? 255 : others[how >> 6],
                             .said = said,
                             .any_command = (how & 2) != 0};
    struct error e = {.code = befores[(how >> 5 & 3) % 3], .detail = BEFORE};
    int before = e.code;
    char command[300] = "nc";
    if ((how & 4) != 0) {
        memset(command, 'c', sizeof(command) - 1);
    }
    about.proxy_jump = (how & 8) != 0 ? command : NULL;
    about.proxy_command = (how & 16) != 0 ? command : NULL;
    sshwords_explain(&about, &e);
    check_shown(&e);
    MUST(e.code < 0 && errors_known(e.code));
    /* Nothing is made of what came with a status that was not the program's own. */
    if (about.status <= 0 || (about.status != 255 && (!about.any_command || before != -E_SHELL))) {
        MUST(e.code == before && strcmp(e.detail, BEFORE) == 0);
    }
    /* ssh's own end is always explained, be it by its last words. */
    if (about.status == 255 && !about.any_command) {
        MUST(e.code != before && strcmp(e.detail, BEFORE) != 0);
    }
    MUST(e.code != -E_PROXY || about.proxy_jump != NULL || about.proxy_command != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct agents_binary agent = {0};
    struct bootstrap_options options = {.agent = &agent};
    struct error e;
    char said[BOOTSTRAP_TEXT + 1];
    if (size == 0) {
        return 0;
    }
    struct bootstrap *b = bootstrap_new(&options, &e);
    MUST(b != NULL);
    bootstrap_diagnostics(b, data + 1, size - 1);
    bootstrap_noise(b, said, sizeof(said));
    explain(data[0], said);
    bootstrap_free(b);
    return 0;
}
