/* A known_hosts file of any contents, asked for several names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/ssh/knownhosts.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define KEY_TEXT "AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        ("host,[host]:2222 ssh-ed25519 " KEY_TEXT " comment\n"),
        ("*.example.org,!bad.example.org ssh-ed25519 " KEY_TEXT "\r\n# x\n\n"),
        ("@revoked * ssh-ed25519 " KEY_TEXT "\n@cert-authority host ssh-ed25519 " KEY_TEXT "\n"),
        ("|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-ed25519 " KEY_TEXT),
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"host", "a.example.org", "bad.example.org", "::1"};
    uint8_t key[64];
    size_t key_n = sizeof(key);
    char path[64];
    char out[512];
    struct knownhosts *set;
    const char *const files[] = {path};
    MUST(sshkey_base64_decode(KEY_TEXT, strlen(KEY_TEXT), key, &key_n) == 0);
    int fd = memfd_create("known_hosts", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    MUST(knownhosts_open(files, 1, &set, NULL) == 0);
    close(fd);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (unsigned port = 22; port <= 2222; port += 2200) {
            struct knownhosts_match first;
            struct knownhosts_match again;
            MUST(knownhosts_check(set, names[i], port, key, key_n, &first) == 0);
            MUST(knownhosts_check(set, names[i], port, key, key_n, &again) == 0);
            MUST(first.state == again.state && first.line == again.line);
            MUST((first.state == KNOWNHOSTS_UNKNOWN) == (first.file == NULL));
            MUST(knownhosts_algorithms(set, names[i], port, out, sizeof(out)) == 0);
            MUST(first.state != KNOWNHOSTS_KNOWN || strstr(out, "ssh-ed25519") != NULL);
        }
    }
    struct knownhosts_match match;
    MUST(knownhosts_add(set, "/dev/null", names[0], 22, key, key_n, 0, NULL) == 0);
    MUST(knownhosts_check(set, names[0], 22, key, key_n, &match) == 0);
    MUST(match.state == KNOWNHOSTS_KNOWN || match.state == KNOWNHOSTS_REVOKED);
    knownhosts_free(set);
    return 0;
}
