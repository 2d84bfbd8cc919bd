#include "bootrig.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* Says what it was given, and deletes itself as the agent does. */
static const char fake[] = "#!/bin/sh\n"
                           "[ \"$1\" = probe ] && exit 0\n"
                           "d=${0%/*}; rm -rf \"$d\"\n"
                           "echo GRAPNEL\n"
                           "echo \"$1 $2 umask=$(umask) in=${d%/.grapnel-*}\"\n"
                           "exec tr -d \"\\000\"\n";

struct agents_binary bootrig_agent;
char bootrig_home[] = "/tmp/grapnel-boot-test-XXXXXX";

static void make_agent(const char *uname)
{
    static uint8_t packed[4096];
    z_stream z = {0};

    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)fake;
    z.avail_in = sizeof fake - 1;
    z.next_out = packed;
    z.avail_out = sizeof packed;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    bootrig_agent = (struct agents_binary){.name = "fake",
                                           .hash_hex = HASH,
                                           .packed = packed,
                                           .packed_size = z.total_out,
                                           .plain_size = sizeof fake - 1};
    snprintf(bootrig_agent.uname, sizeof bootrig_agent.uname, "%s", uname);
    deflateEnd(&z);
}

void bootrig_own_uname(char *text, size_t size)
{
    FILE *f = popen("uname -sm", "r");

    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, (int)size, f));
    text[strcspn(text, "\n")] = '\0';
    pclose(f);
}

size_t bootrig_entries_left(void)
{
    DIR *d = opendir(bootrig_home);
    size_t n = 0;
    struct dirent *entry;

    ck_assert_ptr_nonnull(d);
    while ((entry = readdir(d)))
        n += strncmp(entry->d_name, ".grapnel-", 9) == 0;
    closedir(d);
    return n;
}

static void feed_child(int fd, const struct bootstrap *b, size_t cut)
{
    size_t left = bootstrap_payload_size(b), at = 0;

    if (cut && cut < left)
        left = cut;
    while (left) {
        size_t n;
        const uint8_t *payload = bootstrap_payload(b, at, &n);
        ssize_t k = write(fd, payload, n < left ? n : left);
        if (k < 0)
            break;
        at += (size_t)k;
        left -= (size_t)k;
    }
    if (!cut && write(fd, "after the agent\n", 16) != 16)
        ck_assert_int_eq(errno, EPIPE);
}

static void read_child(int fd, struct bootstrap *b, struct bootrig_attempt *a)
{
    uint8_t bytes[512];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
        size_t used = 0;
        if (a->result == BOOTSTRAP_MORE)
            a->result = bootstrap_input(b, bytes, (size_t)n, &used, &a->error);
        if (a->result == BOOTSTRAP_STARTED) {
            ck_assert_uint_lt(a->rest_length + (size_t)n - used, sizeof a->rest);
            memcpy(a->rest + a->rest_length, bytes + used, (size_t)n - used);
            a->rest_length += (size_t)n - used;
        }
    }
}

struct bootrig_attempt bootrig_try(const char *const *shell, const struct bootstrap_options *o,
                                   const char *path, size_t cut)
{
    struct bootrig_attempt a = {.result = BOOTSTRAP_MORE, .next = *o};
    struct bootstrap *b = bootstrap_new(o, &a.error);
    int in[2], out[2], status;
    const char *uname;
    pid_t pid;

    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        const char *argv[5] = {0};
        size_t n = 0;
        dup2(in[0], 0);
        dup2(out[1], 1);
        setenv("TMPDIR", bootrig_home, 1);
        setenv("HOME", bootrig_home, 1);
        if (getenv("NO_HOME"))
            unsetenv("HOME");
        if (path)
            setenv("PATH", path, 1);
        umask(027);
        while (shell[n]) {
            argv[n] = shell[n];
            n++;
        }
        argv[n] = bootstrap_command(b);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    close(in[0]);
    close(out[1]);
    feed_child(in[1], b, cut);
    close(in[1]);
    read_child(out[0], b, &a);
    close(out[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (a.result == BOOTSTRAP_MORE)
        a.result = bootstrap_ended(b, WIFEXITED(status) ? WEXITSTATUS(status) : -1, &a.error);
    a.ran = bootstrap_shell_runs(b);
    if (a.result == BOOTSTRAP_AGAIN && (uname = bootstrap_next(b, &a.next)))
        snprintf(a.uname, sizeof a.uname, "%s", uname);
    a.rest[a.rest_length] = '\0';
    a.kept = bootstrap_kept(b, &a.level);
    bootstrap_free(b);
    return a;
}

void bootrig_expect_started(const struct bootrig_attempt *a)
{
    char line[300];

    ck_assert_msg(a->result == BOOTSTRAP_STARTED, "%s: %s", errors_text(a->error.code),
                  a->error.detail);
    ck_assert_int_eq(strncmp(a->rest, "GRAPNEL\n", 8), 0);
    snprintf(line, sizeof line, "boot %s umask=0027 in=%s\n", bootrig_agent.hash_hex, bootrig_home);
    ck_assert_msg(strstr(a->rest, line) || strstr(a->rest, "umask=27") ||
                      strstr(a->rest, "umask=027"),
                  "%s", a->rest);
    ck_assert_ptr_nonnull(strstr(a->rest, "after the agent\n"));
    ck_assert_uint_eq(bootrig_entries_left(), 0);
}

const char *const bootrig_shells[BOOTRIG_SHELLS][4] = {
    {"sh", "-c"},   {"bash", "-c"}, {"dash", "-c"}, {"busybox", "sh", "-c"},   {"zsh", "-c"},
    {"tcsh", "-c"}, {"csh", "-c"},  {"fish", "-c"}, {"bash", "--posix", "-c"},
};
void bootrig_tools(char *folder, size_t size, const char *const *names)
{
    snprintf(folder, size, "%s/bin", bootrig_home);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    for (; *names; names++) {
        char command[500];
        snprintf(command, sizeof command, "ln -s \"$(command -v %s)\" %s/", *names, folder);
        ck_assert_int_eq(system(command), 0);
    }
}

void bootrig_remove_tools(const char *folder)
{
    char command[300];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

const char *const bootrig_sh[] = {"/bin/sh", "-c", NULL};

void bootrig_hash(void)
{
    static char hash[65], sha[65];
    uint8_t bytes[32];

    crypto_generichash(bytes, 32, (const uint8_t *)fake, sizeof fake - 1, NULL, 0);
    sodium_bin2hex(hash, sizeof hash, bytes, 32);
    crypto_hash_sha256(bytes, (const uint8_t *)fake, sizeof fake - 1);
    sodium_bin2hex(sha, sizeof sha, bytes, 32);
    bootrig_agent.hash_hex = hash;
    bootrig_agent.sha256_hex = sha;
}

void bootrig_setup(void)
{
    char uname[64];

    signal(SIGPIPE, SIG_IGN);
    bootrig_own_uname(uname, sizeof uname);
    make_agent(uname);
    strcpy(strrchr(bootrig_home, '-'), "-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(bootrig_home));
}

void bootrig_teardown(void)
{
    char command[100];

    ck_assert_uint_eq(bootrig_entries_left(), 0);
    snprintf(command, sizeof command, "rm -rf %s", bootrig_home); /* fish keeps files in its home */
    ck_assert_int_eq(system(command), 0);
}
