/* The agent client: against the real ssh-agent, and against one that lies. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "launcher/ssh/sshagent.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

static pid_t agent_pid;

static void start_agent(void)
{
    sshtools_enter();
    agent_pid = -1;
    if (!sshtools_have("ssh-agent"))
        return;
    agent_pid = fork();
    ck_assert_int_ge(agent_pid, 0);
    if (agent_pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        (void)execlp("ssh-agent", "ssh-agent", "-D", "-a", sshtools_path("sock"), (char *)NULL);
        _exit(127);
    }
    /* It listens when ssh-add gets an answer, be it that there are no keys. */
    ck_assert_int_eq(setenv("SSH_AUTH_SOCK", sshtools_path("sock"), 1), 0);
    for (int i = 0; i < 500 && sshtools_run(NULL, 0, "ssh-add -l >/dev/null 2>&1") == 2; i++)
        (void)poll(NULL, 0, 10);
}

static void stop_agent(void)
{
    if (agent_pid > 0) {
        (void)kill(agent_pid, SIGKILL);
        (void)waitpid(agent_pid, NULL, 0);
    }
    sshtools_leave();
}

/* Steps until the answer is there or an error. */
static int drive(struct sshagent *a, struct error *e)
{
    for (;;) {
        int rc = sshagent_step(a, e);
        if (rc <= 0)
            return rc;
        struct pollfd p = {.fd = sshagent_fd(a),
                           .events = rc == SSHAGENT_WANT_READ ? POLLIN : POLLOUT};
        ck_assert_int_eq(poll(&p, 1, 10000), 1);
    }
}

/* Gives the agent a new key; further words are for ssh-keygen. */
static void add_key(int number, const char *type)
{
    char line[256];
    (void)snprintf(line, sizeof line,
                   "ssh-keygen -q -t %s -N '' -C 'key %d' -f k%d && ssh-add -q k%d 2>/dev/null",
                   type, number, number, number);
    ck_assert_int_eq(sshtools_run(NULL, 0, line), 0);
}

static struct sshagent *open_real(void)
{
    struct sshagent *a;
    struct error e = {0};
    ck_assert_msg(sshagent_open(sshtools_path("sock"), &a, &e) == 0, "%s", e.detail);
    return a;
}

/* Lists, and copies the public key of one; its length. */
static size_t list_blob(struct sshagent *a, size_t number, uint8_t blob[2048])
{
    struct error e = {0};
    ck_assert_int_eq(sshagent_list(a), 0);
    ck_assert_int_eq(drive(a, &e), 0);
    const struct sshagent_identity *id = sshagent_identity(a, number);
    ck_assert_ptr_nonnull(id);
    ck_assert_int_eq(sshkey_check(id->blob, id->blob_n), 0);
    memcpy(blob, id->blob, id->blob_n);
    return id->blob_n;
}

/* A signature by a key that the agent has, and by one that it has not. */
static void check_signing(struct sshagent *a, uint8_t *blob, size_t blob_n, const char *algorithm)
{
    struct error e = {0};
    size_t n, inner_n;
    char name[SSHKEY_NAME_MAX];
    ck_assert_int_eq(sshagent_sign(a, blob, blob_n, "data", 4, sshagent_flags(algorithm)), 0);
    ck_assert_uint_eq(sshagent_count(a), 0);
    ck_assert_msg(drive(a, &e) == 0, "%s", e.detail);
    const uint8_t *sig = sshagent_signature(a, &n), *inner;
    ck_assert_int_eq(sshkey_signature_split(sig, n, name, &inner, &inner_n), 0);
    ck_assert_str_eq(name, algorithm);
    ck_assert_int_eq(sshkey_verify(blob, blob_n, sig, n, "data", 4), 0);
    ck_assert_int_eq(sshkey_verify(blob, blob_n, sig, n, "Data", 4), -E_AUTH);
    blob[blob_n - 1] ^= 1;
    ck_assert_int_eq(sshagent_sign(a, blob, blob_n, "data", 4, 0), 0);
    ck_assert_int_eq(drive(a, &e), -E_AUTH);
    ck_assert_ptr_null(sshagent_signature(a, &n));
    ck_assert_uint_eq(n, 0);
}

START_TEST(test_real_agent)
{
    static const char *const types[] = {"ed25519", "ecdsa", "rsa"};
    static const char *const algorithms[] = {"ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256",
                                             "rsa-sha2-512"};
    struct error e = {0};
    char comment[16];
    uint8_t blob[2048];
    if (agent_pid < 0)
        return;
    size_t files = sshtools_open_files();
    struct sshagent *a = open_real();
    ck_assert_int_eq(sshagent_step(a, &e), SSHAGENT_DONE); /* nothing was asked */
    ck_assert_int_eq(sshagent_list(a), 0);
    ck_assert_int_eq(sshagent_list(a), -E_ARGUMENT); /* one at a time */
    ck_assert_int_eq(drive(a, &e), 0);
    ck_assert_uint_eq(sshagent_count(a), 0);
    ck_assert_ptr_null(sshagent_identity(a, 0));
    for (int i = 0; i < 3; i++)
        add_key(i, types[i]);
    for (int i = 0; i < 4; i++) {
        int number = i < 3 ? i : 2;
        size_t blob_n = list_blob(a, (size_t)number, blob);
        ck_assert_uint_eq(sshagent_count(a), 3);
        ck_assert_int_eq(sshkey_fits(sshagent_identity(a, (size_t)number)->type, algorithms[i]), 1);
        (void)snprintf(comment, sizeof comment, "key %d", number);
        ck_assert_str_eq(sshagent_identity(a, (size_t)number)->comment, comment);
        check_signing(a, blob, blob_n, algorithms[i]);
    }
    sshagent_free(a);
    sshagent_free(NULL);
    ck_assert_uint_eq(sshtools_open_files(), files);
}
END_TEST

/* 200 KB of data, more than a socket holds at once; and more than a message may hold. */
START_TEST(test_large_data)
{
    static uint8_t large[200000], too_large[SSHAGENT_MESSAGE_MAX];
    struct error e = {0};
    uint8_t blob[2048];
    size_t n;
    if (agent_pid < 0)
        return;
    struct sshagent *a = open_real();
    add_key(0, "ed25519");
    size_t blob_n = list_blob(a, 0, blob);
    ck_assert_int_eq(sshagent_sign(a, blob, blob_n, large, sizeof large, 0), 0);
    ck_assert_int_eq(drive(a, &e), 0);
    const uint8_t *sig = sshagent_signature(a, &n);
    ck_assert_int_eq(sshkey_verify(blob, blob_n, sig, n, large, sizeof large), 0);
    ck_assert_int_eq(sshagent_sign(a, blob, blob_n, too_large, sizeof too_large - 60, 0),
                     -E_TOO_LARGE);
    ck_assert_int_eq(sshagent_sign(a, blob, SIZE_MAX, too_large, 2, 0), -E_TOO_LARGE);
    sshagent_free(a);
}
END_TEST

START_TEST(test_locked_agent)
{
    struct sshagent *a;
    struct error e = {0};
    if (agent_pid < 0)
        return;
    ck_assert_int_eq(sshtools_run(NULL, 0,
                                  "ssh-keygen -q -t ed25519 -N '' -f k && "
                                  "ssh-add -q k 2>/dev/null"),
                     0);
    ck_assert_int_eq(sshagent_open(sshtools_path("sock"), &a, &e), 0);
    /* Killed in the middle of a request: told, and not used again. */
    ck_assert_int_eq(kill(agent_pid, SIGSTOP), 0);
    ck_assert_int_eq(sshagent_list(a), 0);
    ck_assert_int_eq(sshagent_step(a, &e), SSHAGENT_WANT_READ);
    ck_assert_int_eq(kill(agent_pid, SIGKILL), 0);
    ck_assert_int_eq(drive(a, &e), -E_DISCONNECTED);
    ck_assert_int_eq(sshagent_step(a, &e), -E_CLOSED);
    ck_assert_int_eq(sshagent_list(a), -E_CLOSED);
    sshagent_free(a);
    ck_assert_int_eq(sshagent_open(sshtools_path("none"), &a, &e), -E_IO);
    ck_assert_ptr_null(a);
    char path[300];
    memset(path, 'a', sizeof path);
    path[299] = '\0';
    ck_assert_int_eq(sshagent_open(path, &a, &e), -E_ARGUMENT);
}
END_TEST

/* What a lying agent answers to a list or a sign request, sent byte by byte. */
static int answer(int sign, const void *bytes, size_t n, int hang_up, struct sshagent **out)
{
    int ends[2];
    struct sshagent *a;
    struct error e = {0};
    uint8_t request[256];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(sshagent_adopt(ends[0], &a, &e), 0);
    ck_assert_int_eq(sign ? sshagent_sign(a, "blob", 4, "data", 4, 2) : sshagent_list(a), 0);
    ck_assert_int_eq(sshagent_step(a, &e), SSHAGENT_WANT_READ);
    ck_assert_int_eq(read(ends[1], request, sizeof request), sign ? 25 : 5);
    ck_assert_mem_eq(request, sign ? "\0\0\0\25\15\0\0\0\4blob\0\0\0\4data\0\0\0\2" : "\0\0\0\1\13",
                     sign ? 25 : 5);
    int rc = SSHAGENT_WANT_READ;
    for (size_t i = 0; i < n && rc == SSHAGENT_WANT_READ; i++) {
        ck_assert_int_eq(write(ends[1], (const char *)bytes + i, 1), 1);
        rc = sshagent_step(a, &e);
    }
    close(ends[1]);
    if (rc == SSHAGENT_WANT_READ && hang_up)
        rc = sshagent_step(a, &e);
    if (out != NULL && rc == 0)
        *out = a;
    else
        sshagent_free(a);
    return rc;
}

#define TEXT(s) s, sizeof(s) - 1

START_TEST(test_lying_agent)
{
    static const struct {
        int sign;
        const char *bytes;
        size_t n;
        int result;
    } all[] = {
        {0, TEXT("\0\0\0\5\14\0\0\0\0"), 0},
        {0, TEXT("\0\0\0\1\5"), -E_AUTH},
        {0, TEXT("\0\0\0\1\36"), -E_AUTH},
        {1, TEXT("\0\0\0\1\146"), -E_AUTH},
        {0, TEXT("\0\0\0\0"), -E_MALFORMED},
        {0, TEXT("\0\4\0\1"), -E_TOO_LARGE},
        {0, TEXT("\377\377\377\377"), -E_TOO_LARGE},
        {0, TEXT("\0\4\0\0"), -E_DISCONNECTED}, /* the longest there may be, then nothing */
        {0, TEXT("\0\0\0\5\14\0\0\0"), -E_DISCONNECTED},
        {0, TEXT(""), -E_DISCONNECTED},
        {0, TEXT("\0\0\0\1\6"), -E_MALFORMED},
        {0, TEXT("\0\0\0\1\14"), -E_MALFORMED},
        {0, TEXT("\0\0\0\6\14\0\0\0\0x"), -E_MALFORMED},
        {0, TEXT("\0\0\0\5\14\0\0\0\1"), -E_MALFORMED},
        {0, TEXT("\0\0\0\5\14\377\377\377\377"), -E_MALFORMED},
        {0, TEXT("\0\0\0\15\14\0\0\0\1\0\0\0\0\0\0\0\1"), -E_MALFORMED},
        {0, TEXT("\0\0\0\15\14\0\0\0\1\377\377\377\377\0\0\0\0"), -E_MALFORMED},
        {0, TEXT("\0\0\0\15\14\0\0\0\1\0\0\0\0\0\0\0\0"), 0}, /* a key without name: left out */
        {0, TEXT("\0\0\0\5\16\0\0\0\0"), -E_MALFORMED},       /* a signature for a list */
        {1, TEXT("\0\0\0\5\14\0\0\0\0"), -E_MALFORMED},       /* a list for a signature */
        {1, TEXT("\0\0\0\5\16\0\0\0\0"), -E_MALFORMED},
        {1, TEXT("\0\0\0\6\16\0\0\0\0x"), -E_MALFORMED},
        {1, TEXT("\0\0\0\5\16\377\377\377\377"), -E_MALFORMED},
        {1, TEXT("\0\0\0\16\16\0\0\0\11\0\0\0\5a\0bcd"), -E_MALFORMED},
        {1, TEXT("\0\0\0\17\16\0\0\0\12\0\0\0\1a\0\0\0\1b"), 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct sshagent *a = NULL;
        int rc = answer(all[i].sign, all[i].bytes, all[i].n, 1, &a);
        ck_assert_msg(rc == all[i].result, "%zu: %d", i, rc);
        if (rc == 0)
            ck_assert_uint_eq(sshagent_count(a), 0);
        sshagent_free(a);
    }
}
END_TEST

/* Comments with zero bytes and without any; two keys. */
START_TEST(test_odd_comments)
{
    struct sshagent *a = NULL;
    ck_assert_int_eq(answer(0,
                            TEXT("\0\0\0\44\14\0\0\0\2"
                                 "\0\0\0\5\0\0\0\1a\0\0\0\3c\0d"
                                 "\0\0\0\5\0\0\0\1b\0\0\0\1e"),
                            1, &a),
                     -E_DISCONNECTED); /* its length is one too large */
    ck_assert_int_eq(answer(0,
                            TEXT("\0\0\0\44\14\0\0\0\2"
                                 "\0\0\0\5\0\0\0\1a\0\0\0\3c\0d"
                                 "\0\0\0\5\0\0\0\1b\0\0\0\2e\0"),
                            1, &a),
                     0);
    ck_assert_uint_eq(sshagent_count(a), 2);
    ck_assert_str_eq(sshagent_identity(a, 0)->comment, "c");
    ck_assert_str_eq(sshagent_identity(a, 1)->type, "b");
    ck_assert_str_eq(sshagent_identity(a, 1)->comment, "e");
    ck_assert_ptr_null(sshagent_identity(a, 2));
    sshagent_free(a);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sshagent");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, start_agent, stop_agent);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_real_agent);
    tcase_add_test(t, test_large_data);
    tcase_add_test(t, test_locked_agent);
    tcase_add_test(t, test_lying_agent);
    tcase_add_test(t, test_odd_comments);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
