/* A known_hosts file of any contents, asked for several names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/ssh/knownhosts_impl.h"
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
        ("another,host ssh-ed25519 " KEY_TEXT "\nh*,host ssh-ed25519 " KEY_TEXT),
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

/* Ed25519 keys of these bytes. */
#define NEW_TEXT "AAAAC3NzaC1lZDI1NTE5AAAAIAUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF"

static struct knownhosts *open_bytes(const void *bytes, size_t n)
{
    char path[64];
    const char *const files[] = {path};
    struct knownhosts *set;
    int fd = memfd_create("known_hosts", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    MUST(knownhosts_open(files, 1, &set, NULL) == 0);
    close(fd);
    return set;
}

/* Keys take the place of others: what was to be written is known then, what was to go is not, and
 * nobody else's line has changed. */
static void edit(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"host", "[host]:2222", "a.example.org"};
    struct knownhosts_change changes[4] = {
        {.name = names[0], .key = NEW_TEXT, .old = KEY_TEXT},
        {.name = names[1], .key = NEW_TEXT, .old = KEY_TEXT},
        {.name = names[2], .key = NEW_TEXT},
        {.name = "other host", .key = NEW_TEXT},
    };
    uint8_t old[64], new[64];
    size_t old_n = sizeof(old), new_n = sizeof(new);
    struct wire_buf kept = {0}, added = {0};
    struct knownhosts_match match, before;
    char *text = malloc(size + 1);
    struct knownhosts *set = open_bytes(data, size), *after;
    MUST(sshkey_base64_decode(KEY_TEXT, strlen(KEY_TEXT), old, &old_n) == 0);
    MUST(sshkey_base64_decode(NEW_TEXT, strlen(NEW_TEXT), new, &new_n) == 0);
    MUST(knownhosts_check(set, "another", 0, old, old_n, &before) == 0);
    memcpy(text, data, size);
    text[size] = '\0';
    MUST(knownhosts_edit(set, "file", text, size, changes, 4, &kept, &added) == 0);
    MUST(wire_length(&kept) <= size && changes[3].kept != NULL);
    MUST(wire_put(&kept, "\n", 1) == 0);
    MUST(wire_put(&kept, wire_data(&added), wire_length(&added)) == 0);
    after = open_bytes(wire_data(&kept), wire_length(&kept));
    for (size_t i = 0; i < 3; i++) {
        if (changes[i].kept != NULL)
            continue;
        MUST(knownhosts_check(after, changes[i].name, 0, new, new_n, &match) == 0);
        MUST(match.state == KNOWNHOSTS_KNOWN);
        MUST(knownhosts_check(after, changes[i].name, 0, old, old_n, &match) == 0);
        MUST(changes[i].old == NULL || match.state != KNOWNHOSTS_KNOWN);
    }
    MUST(knownhosts_check(after, "another", 0, old, old_n, &match) == 0);
    MUST(match.state == before.state);
    knownhosts_free(after);
    knownhosts_free(set);
    wire_free(&kept);
    wire_free(&added);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"host", "a.example.org", "bad.example.org", "::1"};
    uint8_t key[64];
    size_t key_n = sizeof(key);
    char out[512];
    struct knownhosts *set;
    MUST(sshkey_base64_decode(KEY_TEXT, strlen(KEY_TEXT), key, &key_n) == 0);
    edit(data, size);
    set = open_bytes(data, size);
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
