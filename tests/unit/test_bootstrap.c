/* The bootstrap's script run by real shells, with a shell script in the agent's place. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "launcher/bootstrap.h"
#include "tests/unit/unit.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* Says what it was given, and deletes itself as the agent does. */
static const char fake[] = "#!/bin/sh\n"
                           "[ \"$1\" = probe ] && exit 0\n"
                           "d=${0%/*}; rm -rf \"$d\"\n"
                           "echo GRAPNEL\n"
                           "echo \"$1 $2 umask=$GRAPNEL_UMASK own=$(umask) in=${d%/.grapnel-*}\"\n"
                           "exec tr -d \"\\000\"\n";

static struct agents_binary agent;
static char home[] = "/tmp/grapnel-boot-test-XXXXXX";

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
    agent = (struct agents_binary){.name = "fake",
                                   .hash_hex = HASH,
                                   .packed = packed,
                                   .packed_size = z.total_out,
                                   .plain_size = sizeof fake - 1};
    snprintf(agent.uname, sizeof agent.uname, "%s", uname);
    deflateEnd(&z);
}

static void own_uname(char *text, size_t size)
{
    FILE *f = popen("uname -sm", "r");

    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, (int)size, f));
    text[strcspn(text, "\n")] = '\0';
    pclose(f);
}

static size_t entries_left(void)
{
    DIR *d = opendir(home);
    size_t n = 0;
    struct dirent *entry;

    ck_assert_ptr_nonnull(d);
    while ((entry = readdir(d)))
        n += strncmp(entry->d_name, ".grapnel-", 9) == 0;
    closedir(d);
    return n;
}

/* One attempt: `shell` runs the command with the environment's TMPDIR = home. */
struct attempt {
    enum bootstrap_result result;
    struct error error;
    char rest[8192]; /* what followed the start */
    size_t rest_length;
    int ran;
    struct bootstrap_options next;
    char uname[64];
};

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

static void read_child(int fd, struct bootstrap *b, struct attempt *a)
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

static struct attempt try(const char *const *shell, const struct bootstrap_options *o,
                          const char *path, size_t cut)
{
    struct attempt a = {.result = BOOTSTRAP_MORE, .next = *o};
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
        setenv("TMPDIR", home, 1);
        setenv("HOME", home, 1);
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
    bootstrap_free(b);
    return a;
}

static void expect_started(const struct attempt *a)
{
    char line[300];

    ck_assert_msg(a->result == BOOTSTRAP_STARTED, "%s: %s", errors_text(a->error.code),
                  a->error.detail);
    ck_assert_int_eq(strncmp(a->rest, "GRAPNEL\n", 8), 0);
    snprintf(line, sizeof line, "boot " HASH " umask=0027 own=0077 in=%s\n", home);
    ck_assert_msg(strstr(a->rest, line) || strstr(a->rest, "umask=27") ||
                      strstr(a->rest, "umask=027"),
                  "%s", a->rest);
    ck_assert_ptr_nonnull(strstr(a->rest, "after the agent\n"));
    ck_assert_uint_eq(entries_left(), 0);
}

/* ---- the shells ---- */

static const char *const shells[][4] = {
    {"sh", "-c"},   {"bash", "-c"}, {"dash", "-c"}, {"busybox", "sh", "-c"},   {"zsh", "-c"},
    {"tcsh", "-c"}, {"csh", "-c"},  {"fish", "-c"}, {"bash", "--posix", "-c"},
};
#define SHELLS (sizeof shells / sizeof *shells)

START_TEST(starts_from_every_shell)
{
    struct bootstrap_options o = {.agent = &agent};
    struct attempt a = try(shells[_i], &o, NULL, 0);

    expect_started(&a);
}
END_TEST

START_TEST(starts_unpacked)
{
    struct bootstrap_options o = {.agent = &agent, .plain = 1};
    struct attempt a = try(shells[_i], &o, NULL, 0);

    expect_started(&a);
}
END_TEST

/* A folder with the named tools only. */
static void tools(char *folder, size_t size, const char *const *names)
{
    snprintf(folder, size, "%s/bin", home);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    for (; *names; names++) {
        char command[500];
        snprintf(command, sizeof command, "ln -s \"$(command -v %s)\" %s/", *names, folder);
        ck_assert_int_eq(system(command), 0);
    }
}

static void remove_tools(const char *folder)
{
    char command[300];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static const char *const sh[] = {"/bin/sh", "-c", NULL};

START_TEST(does_without_head_and_mktemp)
{
    static const char *const have[] = {"uname", "dd", "gzip", "mkdir", "rm", "chmod", "tr", NULL};
    struct bootstrap_options o = {.agent = &agent};
    char folder[100];
    struct attempt a;

    tools(folder, sizeof folder, have);
    a = try(sh, &o, folder, 0);
    remove_tools(folder);
    expect_started(&a);
}
END_TEST

START_TEST(asks_for_the_plain_agent_without_gzip)
{
    static const char *const have[] = {"uname", "head", "cat", "mkdir", "rm", "chmod", "tr", NULL};
    struct bootstrap_options o = {.agent = &agent};
    char folder[100];
    struct attempt a, b;

    tools(folder, sizeof folder, have);
    a = try(sh, &o, folder, 0);
    b = try(sh, &a.next, folder, 0);
    remove_tools(folder);
    ck_assert_int_eq(a.result, BOOTSTRAP_AGAIN);
    ck_assert_int_eq(a.next.plain, 1);
    expect_started(&b);
}
END_TEST

START_TEST(tells_the_architecture_when_the_guess_was_wrong)
{
    struct bootstrap_options o = {.agent = &agent};
    char real[64];
    struct attempt a;

    snprintf(real, sizeof real, "%s", agent.uname);
    snprintf(agent.uname, sizeof agent.uname, "Plan9 mips");
    a = try(sh, &o, NULL, 0);
    snprintf(agent.uname, sizeof agent.uname, "%s", real);
    ck_assert_int_eq(a.result, BOOTSTRAP_AGAIN);
    ck_assert_str_eq(a.uname, real);
    ck_assert_uint_eq(entries_left(), 0);
}
END_TEST

START_TEST(a_line_cut_in_the_upload_leaves_nothing)
{
    struct bootstrap_options o = {.agent = &agent};
    struct attempt a = try(sh, &o, NULL, agent.packed_size / 2);

    ck_assert_int_ne(a.result, BOOTSTRAP_STARTED);
    ck_assert_uint_eq(entries_left(), 0);
}
END_TEST

START_TEST(a_shell_that_is_none_is_told)
{
    static const char *const nologin[] = {
        "sh", "-c", "echo This account is currently not available.; exit 1", NULL};
    static const char *const silent[] = {"false", NULL};
    struct bootstrap_options o = {.agent = &agent};
    struct attempt a = try(nologin, &o, NULL, 0), b = try(silent, &o, NULL, 0);

    ck_assert_int_eq(a.result, BOOTSTRAP_FAILED);
    ck_assert_int_eq(a.error.code, -E_NOLOGIN);
    ck_assert_int_eq(a.ran, 0);
    ck_assert_int_eq(b.error.code, -E_SHELL);
    ck_assert_ptr_nonnull(strstr(b.error.detail, "status 1"));
}
END_TEST

/* ---- answers, byte by byte ---- */

static const char *nonce_of(const struct bootstrap *b)
{
    return strstr(bootstrap_command(b), "n=") + 2;
}

static enum bootstrap_result feed(struct bootstrap *b, const char *text, size_t piece, size_t *rest,
                                  struct error *e)
{
    size_t n = strlen(text), at = 0;
    enum bootstrap_result result = BOOTSTRAP_MORE;

    while (at < n && result == BOOTSTRAP_MORE) {
        size_t used, now = n - at < piece ? n - at : piece;
        result = bootstrap_input(b, (const uint8_t *)text + at, now, &used, e);
        at += used;
    }
    *rest = n - at;
    return result;
}

START_TEST(noise_is_skipped_in_any_cut)
{
    struct bootstrap_options o = {.agent = &agent};

    for (size_t piece = 1; piece < 200; piece++) {
        struct error e = {0};
        struct bootstrap *b = bootstrap_new(&o, &e);
        char text[600];
        size_t rest;
        snprintf(text, sizeof text,
                 "Welcome to @grapnel 12 sys!\r\n\a@grapnel %.32s sys Linux x86_64\nGRAPNEL\nmore",
                 nonce_of(b));
        ck_assert_int_eq(feed(b, text, piece, &rest, &e), BOOTSTRAP_STARTED);
        ck_assert_uint_ge(rest, 1);
        ck_assert_ptr_nonnull(strstr("GRAPNEL\nmore", text + strlen(text) - rest));
        bootstrap_free(b);
    }
}
END_TEST

START_TEST(endless_noise_is_refused_with_an_excerpt)
{
    struct bootstrap_options o = {.agent = &agent};
    struct error e = {0};
    struct bootstrap *b = bootstrap_new(&o, &e);
    enum bootstrap_result result = BOOTSTRAP_MORE;
    size_t fed = 0, rest;

    while (result == BOOTSTRAP_MORE && fed < 4 * BOOTSTRAP_NOISE_MAX) {
        result = feed(b, "motd \033[31m line\n", 4096, &rest, &e);
        fed += 16;
    }
    ck_assert_int_eq(result, BOOTSTRAP_FAILED);
    ck_assert_int_eq(e.code, -E_SHELL);
    ck_assert_ptr_nonnull(strstr(e.detail, "motd"));
    ck_assert_ptr_null(strchr(e.detail, '\033'));
    ck_assert_uint_lt(fed, BOOTSTRAP_NOISE_MAX + 8192);
    bootstrap_free(b);
}
END_TEST

START_TEST(sudo_is_told_apart)
{
    struct bootstrap_options o = {.agent = &agent, .sudo_user = ""};
    struct error e = {0};
    struct bootstrap *b = bootstrap_new(&o, &e);
    static const char said[] = "sudo: a password is required\n";

    ck_assert_ptr_nonnull(strstr(bootstrap_command(b), "exec sudo -n -H -u root -- /bin/sh -c '"));
    bootstrap_diagnostics(b, (const uint8_t *)said, strlen(said));
    ck_assert_int_eq(bootstrap_ended(b, 1, &e), BOOTSTRAP_FAILED);
    ck_assert_int_eq(e.code, -E_SUDO_PASSWORD);
    bootstrap_free(b);
    o.sudo_user = "x; rm -rf /";
    ck_assert_ptr_null(bootstrap_new(&o, &e));
    ck_assert_int_eq(e.code, -E_ARGUMENT);
}
END_TEST

/* The text must mean the same in every shell's quotes. */
START_TEST(command_holds_nothing_that_a_shell_would_expand)
{
    struct bootstrap_options o = {.agent = &agent};
    struct error e = {0};
    struct bootstrap *b = bootstrap_new(&o, &e);
    const char *body = strchr(bootstrap_command(b), '\'');

    ck_assert_uint_eq(strcspn(body + 1, "'\\!\n"), strlen(body) - 2);
    bootstrap_free(b);
}
END_TEST

static void setup(void)
{
    char uname[64];

    signal(SIGPIPE, SIG_IGN);
    own_uname(uname, sizeof uname);
    make_agent(uname);
    strcpy(strrchr(home, '-'), "-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
}

static void teardown(void)
{
    char command[100];

    ck_assert_uint_eq(entries_left(), 0);
    snprintf(command, sizeof command, "rm -rf %s", home); /* fish keeps files in its home */
    ck_assert_int_eq(system(command), 0);
}

static Suite *bootstrap_suite(void)
{
    Suite *s = suite_create("bootstrap");
    TCase *t = tcase_create("bootstrap");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, starts_from_every_shell, 0, SHELLS);
    tcase_add_loop_test(t, starts_unpacked, 0, SHELLS);
    tcase_add_test(t, does_without_head_and_mktemp);
    tcase_add_test(t, asks_for_the_plain_agent_without_gzip);
    tcase_add_test(t, tells_the_architecture_when_the_guess_was_wrong);
    tcase_add_test(t, a_line_cut_in_the_upload_leaves_nothing);
    tcase_add_test(t, a_shell_that_is_none_is_told);
    tcase_add_test(t, noise_is_skipped_in_any_cut);
    tcase_add_test(t, endless_noise_is_refused_with_an_excerpt);
    tcase_add_test(t, sudo_is_told_apart);
    tcase_add_test(t, command_holds_nothing_that_a_shell_would_expand);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(bootstrap_suite)
