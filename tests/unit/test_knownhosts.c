/* known_hosts: names, keys, markers, hashed names, new lines, size; and against ssh-keygen. */
#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "launcher/ssh/knownhosts.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

/* Blobs made from a number: Ed25519 takes any 32 bytes; so does a point's inside here. */
static size_t make_key(const char *type, unsigned number, uint8_t *out)
{
    struct wire_buf b = {0};
    uint8_t body[260];
    memset(body, (int)number + 1, sizeof body);
    ck_assert_int_eq(sshkey_put_string(&b, type, strlen(type)), 0);
    if (strcmp(type, "ssh-ed25519") == 0) {
        ck_assert_int_eq(sshkey_put_string(&b, body, 32), 0);
    } else if (strcmp(type, "ssh-rsa") == 0) {
        ck_assert_int_eq(sshkey_put_string(&b, "\1\0\1", 3), 0);
        ck_assert_int_eq(sshkey_put_string(&b, body, 256), 0);
    } else {
        body[0] = 4;
        ck_assert_int_eq(sshkey_put_string(&b, "nistp256", 8), 0);
        ck_assert_int_eq(sshkey_put_string(&b, body, 65), 0);
    }
    size_t n = wire_length(&b);
    memcpy(out, wire_data(&b), n);
    wire_free(&b);
    return n;
}

/* "type base64" of such a key; valid until the sixteenth call after it. */
static const char *text(const char *type, unsigned number)
{
    static char texts[16][600];
    static unsigned next;
    char *out = texts[next++ % 16];
    uint8_t key[400];
    size_t n = make_key(type, number, key);
    int used = snprintf(out, 600, "%s ", type);
    sshkey_base64_encode(key, n, out + used);
    return out;
}

#define ED  "ssh-ed25519"
#define EC  "ecdsa-sha2-nistp256"
#define RSA "ssh-rsa"

static struct knownhosts *open_one(const char *path)
{
    struct knownhosts *set;
    const char *const files[] = {path};
    struct error e = {0};
    ck_assert_msg(knownhosts_open(files, 1, &set, &e) == 0, "%s", e.detail);
    return set;
}

static struct knownhosts_match check(struct knownhosts *set, const char *host, unsigned port,
                                     const char *type, unsigned number)
{
    uint8_t key[400];
    struct knownhosts_match match;
    size_t n = make_key(type, number, key);
    ck_assert_int_eq(knownhosts_check(set, host, port, key, n, &match), 0);
    return match;
}

static int state(struct knownhosts *set, const char *host, unsigned port, const char *type,
                 unsigned number)
{
    return (int)check(set, host, port, type, number).state;
}

/* A file with something of everything. */
static struct knownhosts *open_mixed(void)
{
    char file[8192];
    (void)snprintf(file, sizeof file,
                   "# comment\n\n   \t\n"
                   "alpha,beta.example.com %s a comment\r\n"
                   "alpha %s\n"
                   "  [alpha]:2222\t%s\n"
                   "[gamma]:2222,[gamma]:2223 %s\n"
                   "*.wild.net,!not.wild.net %s\n"
                   "@revoked * %s\n"
                   "@cert-authority *.ca.org %s\n"
                   "@unknown alpha %s\n"
                   "broken\nbroken ssh-ed25519\nalpha ssh-ed25519 AAAA\nalpha ssh-rsa %s",
                   text(ED, 1), text(RSA, 2), text(ED, 3), text(ED, 4), text(ED, 5), text(ED, 66),
                   text(ED, 7), text(ED, 8), text(ED, 9) + 12);
    sshtools_write(sshtools_path("kh"), file);
    return open_one(sshtools_path("kh"));
}

START_TEST(test_states)
{
    struct knownhosts *set = open_mixed();
    struct knownhosts_match m = check(set, "alpha", 22, ED, 1);
    ck_assert_int_eq(m.state, KNOWNHOSTS_KNOWN);
    ck_assert_uint_eq(m.line, 4);
    ck_assert_str_eq(m.file, sshtools_path("kh"));
    ck_assert_int_eq(state(set, "ALPHA", 22, ED, 1), KNOWNHOSTS_KNOWN);
    ck_assert_int_eq(state(set, "Beta.Example.COM", 22, ED, 1), KNOWNHOSTS_KNOWN);
    ck_assert_int_eq(state(set, "alpha", 22, RSA, 2), KNOWNHOSTS_KNOWN);

    /* Another key of a known type; a type of which there is no key. */
    m = check(set, "alpha", 22, ED, 10);
    ck_assert_int_eq(m.state, KNOWNHOSTS_CHANGED);
    ck_assert_uint_eq(m.line, 4);
    ck_assert_int_eq(m.same_type, 1);
    m = check(set, "alpha", 22, RSA, 10);
    ck_assert_uint_eq(m.line, 5);
    ck_assert_int_eq(m.same_type, 1);
    m = check(set, "alpha", 22, EC, 10);
    ck_assert_int_eq(m.state, KNOWNHOSTS_CHANGED);
    ck_assert_int_eq(m.same_type, 0);

    ck_assert_int_eq(state(set, "delta", 22, ED, 1), KNOWNHOSTS_UNKNOWN);
    ck_assert_int_eq(state(set, "broken", 22, ED, 1), KNOWNHOSTS_UNKNOWN);
    ck_assert_int_eq(state(set, "alph", 22, ED, 1), KNOWNHOSTS_UNKNOWN);
    ck_assert_int_eq(state(set, "alpha.example.com", 22, ED, 1), KNOWNHOSTS_UNKNOWN);
    knownhosts_free(set);
}
END_TEST

START_TEST(test_states_of_ports_and_patterns)
{
    struct knownhosts *set = open_mixed();

    /* Ports: other names; the plain name's key counts, its other keys do not. */
    ck_assert_int_eq(state(set, "alpha", 2222, ED, 3), KNOWNHOSTS_KNOWN);
    ck_assert_int_eq(state(set, "alpha", 2222, ED, 1), KNOWNHOSTS_CHANGED);
    ck_assert_int_eq(state(set, "alpha", 22, ED, 3), KNOWNHOSTS_CHANGED);
    ck_assert_int_eq(state(set, "alpha", 2223, ED, 1), KNOWNHOSTS_KNOWN);
    ck_assert_int_eq(state(set, "alpha", 2223, ED, 3), KNOWNHOSTS_UNKNOWN);
    ck_assert_int_eq(state(set, "gamma", 2223, ED, 4), KNOWNHOSTS_KNOWN);
    ck_assert_int_eq(state(set, "gamma", 22, ED, 4), KNOWNHOSTS_UNKNOWN);
    ck_assert_int_eq(state(set, "[gamma]:2222", 0, ED, 4), KNOWNHOSTS_KNOWN);

    ck_assert_int_eq(state(set, "a.wild.net", 22, ED, 5), KNOWNHOSTS_KNOWN);
    ck_assert_int_eq(state(set, "A.WILD.net", 22, ED, 5), KNOWNHOSTS_KNOWN);
    ck_assert_int_eq(state(set, "not.wild.net", 22, ED, 5), KNOWNHOSTS_UNKNOWN);
    knownhosts_free(set);
}
END_TEST

START_TEST(test_states_of_marked_lines)
{
    struct knownhosts *set = open_mixed();
    struct knownhosts_match m = check(set, "alpha", 22, ED, 66);
    ck_assert_int_eq(m.state, KNOWNHOSTS_REVOKED);
    ck_assert_uint_eq(m.line, 9);
    ck_assert_int_eq(state(set, "nobody", 2200, ED, 66), KNOWNHOSTS_REVOKED);

    m = check(set, "x.ca.org", 22, ED, 7);
    ck_assert_int_eq(m.state, KNOWNHOSTS_UNKNOWN);
    ck_assert_int_eq(m.authority, 1);
    ck_assert_int_eq(check(set, "alpha", 22, ED, 1).authority, 0);
    ck_assert_int_eq(state(set, "alpha", 22, ED, 8), KNOWNHOSTS_CHANGED);
    knownhosts_free(set);
}
END_TEST

/* A revoked line wins wherever it stands. */
START_TEST(test_revoked_first)
{
    for (int order = 0; order < 2; order++) {
        char file[2048];
        (void)snprintf(file, sizeof file, order ? "@revoked h %s\nh %s\n" : "h %s\n@revoked h %s\n",
                       text(ED, 1), text(ED, 1));
        sshtools_write(sshtools_path("kh"), file);
        struct knownhosts *set = open_one(sshtools_path("kh"));
        ck_assert_int_eq(state(set, "h", 22, ED, 1), KNOWNHOSTS_REVOKED);
        ck_assert_int_eq(state(set, "h", 22, ED, 2),
                         KNOWNHOSTS_CHANGED); /* the line without marker holds another */
        char types[100];
        ck_assert_int_eq(knownhosts_types(set, "h", 22, types, sizeof types), 0);
        ck_assert_str_eq(types, ED);
        knownhosts_free(set);
    }
}
END_TEST

START_TEST(test_algorithms)
{
    char file[4096], out[200];
    (void)snprintf(file, sizeof file, "h %s\nh %s\nh %s\nh %s\n@cert-authority h %s\n[p]:99 %s\n",
                   text(RSA, 1), text(RSA, 2), text(ED, 3), "ssh-ed25519 AAAA", text(EC, 1),
                   text(EC, 5));
    sshtools_write(sshtools_path("kh"), file);
    struct knownhosts *set = open_one(sshtools_path("kh"));
    ck_assert_int_eq(knownhosts_types(set, "h", 22, out, sizeof out), 0);
    ck_assert_str_eq(out, "ssh-rsa,ssh-ed25519");
    ck_assert_int_eq(knownhosts_algorithms(set, "h", 22, out, sizeof out), 0);
    ck_assert_str_eq(out, "rsa-sha2-512,rsa-sha2-256,ssh-ed25519");
    ck_assert_int_eq(knownhosts_algorithms(set, "h", 77, out, sizeof out), 0);
    ck_assert_str_eq(out, "rsa-sha2-512,rsa-sha2-256,ssh-ed25519"); /* by the plain name */
    ck_assert_int_eq(knownhosts_algorithms(set, "p", 99, out, sizeof out), 0);
    ck_assert_str_eq(out, "ecdsa-sha2-nistp256");
    ck_assert_int_eq(knownhosts_algorithms(set, "q", 22, out, sizeof out), 0);
    ck_assert_str_eq(out, "");
    ck_assert_int_eq(knownhosts_types(set, "h", 22, out, 8), -E_LIMIT);
    ck_assert_int_eq(knownhosts_types(set, "h", 22, out, 9), -E_LIMIT);
    knownhosts_free(set);
}
END_TEST

START_TEST(test_files)
{
    struct knownhosts *set;
    struct error e = {0};
    char a[700], b[700];
    (void)snprintf(a, sizeof a, "h %s\n", text(ED, 1));
    (void)snprintf(b, sizeof b, "h %s\nx %s\n", text(ED, 2), text(ED, 3));
    sshtools_write(sshtools_path("a"), a);
    sshtools_write(sshtools_path("b"), b);
    const char *const files[] = {sshtools_path("a"), sshtools_path("missing"), "/dev/null",
                                 sshtools_path("b")};
    ck_assert_int_eq(knownhosts_open(files, 4, &set, &e), 0);
    ck_assert_uint_eq(knownhosts_count(set), 3);
    struct knownhosts_match m = check(set, "h", 22, ED, 2);
    ck_assert_int_eq(m.state, KNOWNHOSTS_KNOWN);
    ck_assert_str_eq(m.file, files[3]);
    ck_assert_uint_eq(m.line, 1);
    m = check(set, "h", 22, ED, 3);
    ck_assert_str_eq(m.file, files[0]);
    knownhosts_free(set);

    const char *const folder[] = {sshtools_folder};
    ck_assert_int_eq(knownhosts_open(folder, 1, &set, &e), -E_IO);
    ck_assert_ptr_null(set);
    ck_assert_ptr_nonnull(strstr(e.detail, sshtools_folder));
    ck_assert_int_eq(knownhosts_open(NULL, 0, &set, &e), 0);
    ck_assert_int_eq(state(set, "h", 22, ED, 2), KNOWNHOSTS_UNKNOWN);
    knownhosts_free(set);
    knownhosts_free(NULL);
}
END_TEST

START_TEST(test_bad_arguments)
{
    struct knownhosts *set;
    struct knownhosts_match m;
    uint8_t key[400];
    char name[64], fingerprint[KNOWNHOSTS_FINGERPRINT_MAX];
    size_t n = make_key(ED, 1, key);
    ck_assert_int_eq(knownhosts_open(NULL, 0, &set, NULL), 0);
    static const char *const bad[] = {"",   "a b",  "a,b",      "*",   "a?",
                                      "!a", "|1|x", "@revoked", "a\n", "#x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_eq(knownhosts_check(set, bad[i], 22, key, n, &m), -E_ARGUMENT);
        ck_assert_int_eq(m.state, KNOWNHOSTS_UNKNOWN);
        ck_assert_int_eq(knownhosts_add(set, sshtools_path("kh"), bad[i], 22, key, n, 0, NULL),
                         -E_ARGUMENT);
    }
    for (size_t cut = 0; cut < n; cut++) {
        ck_assert_int_eq(knownhosts_check(set, "h", 22, key, cut, &m), -E_MALFORMED);
        ck_assert_int_eq(knownhosts_add(set, sshtools_path("kh"), "h", 22, key, cut, 0, NULL),
                         -E_MALFORMED);
    }
    ck_assert_int_eq(access(sshtools_path("kh"), F_OK), -1);
    ck_assert_int_eq(knownhosts_name("Host", 70000, name, sizeof name), -E_ARGUMENT);
    ck_assert_int_eq(knownhosts_name("Host", 2222, name, 11), -E_LIMIT);
    ck_assert_int_eq(knownhosts_name("Host", 2222, name, 12), 0);
    ck_assert_str_eq(name, "[host]:2222");
    ck_assert_int_eq(knownhosts_name("FE80::1", 22, name, sizeof name), 0);
    ck_assert_str_eq(name, "fe80::1");
    ck_assert_int_eq(knownhosts_fingerprint("abc", 3, fingerprint), -E_MALFORMED);
    ck_assert_str_eq(fingerprint, "");
    knownhosts_free(set);
}
END_TEST

/* The name is hashed by ssh-keygen, and what we hash is found by ssh-keygen. */
START_TEST(test_hashed_with_ssh_keygen)
{
    char file[2048], out[2048], line[512];
    uint8_t key[400];
    if (!sshtools_have("ssh-keygen"))
        return;
    (void)snprintf(file, sizeof file, "alpha %s\n[alpha]:2222 %s\nbeta %s\n", text(ED, 1),
                   text(ED, 2), text(EC, 3));
    sshtools_write(sshtools_path("kh"), file);
    ck_assert_int_eq(sshtools_run(NULL, 0, "ssh-keygen -q -H -f kh >/dev/null 2>&1"), 0);
    char *hashed = sshtools_read(sshtools_path("kh"), NULL);
    ck_assert_ptr_null(strstr(hashed, "alpha"));
    free(hashed);
    struct knownhosts *set = open_one(sshtools_path("kh"));
    for (int twice = 0; twice < 2; twice++) {
        ck_assert_int_eq(state(set, "Alpha", 22, ED, 1), KNOWNHOSTS_KNOWN);
        ck_assert_int_eq(state(set, "alpha", 22, ED, 2), KNOWNHOSTS_CHANGED);
        ck_assert_int_eq(state(set, "alpha", 2222, ED, 2), KNOWNHOSTS_KNOWN);
        ck_assert_int_eq(state(set, "beta", 22, EC, 3), KNOWNHOSTS_KNOWN);
        ck_assert_int_eq(state(set, "gamma", 22, EC, 3), KNOWNHOSTS_UNKNOWN);
    }
    struct error e = {0};
    size_t n = make_key(ED, 9, key);
    ck_assert_int_eq(knownhosts_add(set, sshtools_path("kh"), "New.Host", 2200, key, n, 1, &e), 0);
    ck_assert_int_eq(state(set, "new.host", 2200, ED, 9), KNOWNHOSTS_KNOWN);
    knownhosts_free(set);
    ck_assert_int_eq(sshtools_run(out, sizeof out, "ssh-keygen -F '[new.host]:2200' -f kh"), 0);
    ck_assert_ptr_nonnull(strstr(out, strchr(text(ED, 9), ' ') + 1));
    ck_assert_int_eq(sshtools_run(line, sizeof line, "grep -c 'new.host' kh"), 1);
    set = open_one(sshtools_path("kh"));
    ck_assert_int_eq(state(set, "new.host", 2200, ED, 9), KNOWNHOSTS_KNOWN);
    knownhosts_free(set);
}
END_TEST

START_TEST(test_fingerprint)
{
    char out[1024], fingerprint[KNOWNHOSTS_FINGERPRINT_MAX], line[700];
    uint8_t key[400];
    if (!sshtools_have("ssh-keygen"))
        return;
    (void)snprintf(line, sizeof line, "%s\n", text(ED, 1));
    sshtools_write(sshtools_path("k.pub"), line);
    ck_assert_int_eq(sshtools_run(out, sizeof out, "ssh-keygen -l -f k.pub"), 0);
    ck_assert_int_eq(knownhosts_fingerprint(key, make_key(ED, 1, key), fingerprint), 0);
    ck_assert_uint_eq(strlen(fingerprint), 7 + 43);
    ck_assert_ptr_nonnull(strstr(out, fingerprint));
}
END_TEST

START_TEST(test_add)
{
    struct knownhosts *set;
    struct error e = {0};
    struct stat st;
    uint8_t key[400];
    size_t n;
    const char *path = sshtools_path("dot.ssh/known_hosts");
    const char *const files[] = {path};
    ck_assert_int_eq(knownhosts_open(files, 1, &set, &e), 0);
    ck_assert_int_eq(state(set, "h", 22, ED, 1), KNOWNHOSTS_UNKNOWN); /* remembered as unknown */
    n = make_key(ED, 1, key);
    mode_t before = umask(0);
    ck_assert_int_eq(knownhosts_add(set, path, "H", 22, key, n, 0, &e), -E_IO);
    knownhosts_make_folder(path, sshtools_path("dot.ssh"));
    ck_assert_int_eq(knownhosts_add(set, path, "H", 22, key, n, 0, &e), 0);
    umask(before);
    ck_assert_int_eq(state(set, "h", 22, ED, 1), KNOWNHOSTS_KNOWN);
    ck_assert_str_eq(check(set, "h", 22, ED, 1).file, path);
    ck_assert_int_eq(knownhosts_add(set, path, "h", 22, key, n, 0, &e), 0); /* no second line */
    ck_assert_int_eq(stat(sshtools_path("dot.ssh"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    char expected[2048], *got = sshtools_read(path, NULL);
    (void)snprintf(expected, sizeof expected, "h %s\n", text(ED, 1));
    ck_assert_str_eq(got, expected);
    free(got);
    knownhosts_free(set);

    /* The last line has no end; no set; another port. */
    expected[strlen(expected) - 1] = '\0';
    sshtools_write(path, expected);
    n = make_key(RSA, 4, key);
    ck_assert_int_eq(knownhosts_add(NULL, path, "other", 222, key, n, 0, &e), 0);
    got = sshtools_read(path, NULL);
    (void)snprintf(expected, sizeof expected, "h %s\n[other]:222 %s\n", text(ED, 1), text(RSA, 4));
    ck_assert_str_eq(got, expected);
    free(got);

    ck_assert_int_eq(knownhosts_add(NULL, sshtools_path("no/such/folder"), "h", 22, key, n, 0, &e),
                     -E_IO);
    ck_assert_int_eq(knownhosts_add(NULL, "/dev/null", "h", 22, key, n, 0, &e), 0);
}
END_TEST

/* Many writers, also into a file that lacks its last newline: every line is whole. */
/* Only the one folder is made, and only for a file in it. */
START_TEST(test_make_folder)
{
    struct stat st;
    char folder[256];
    (void)snprintf(folder, sizeof folder, "%s", sshtools_path(".ssh"));
    knownhosts_make_folder(sshtools_path(".sshx/kh"), folder);
    knownhosts_make_folder(sshtools_path("other/kh"), folder);
    knownhosts_make_folder("kh", folder);
    knownhosts_make_folder(folder, folder);
    ck_assert_int_ne(stat(folder, &st), 0);
    ck_assert_int_ne(stat(sshtools_path(".sshx"), &st), 0);
    ck_assert_int_ne(stat(sshtools_path("other"), &st), 0);
    knownhosts_make_folder(sshtools_path(".ssh/deeper/kh"), folder);
    ck_assert_int_eq(stat(folder, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    ck_assert_int_ne(stat(sshtools_path(".ssh/deeper"), &st), 0);
}
END_TEST

START_TEST(test_add_concurrently)
{
    enum { WRITERS = 6, LINES = 20 };
    sshtools_write(sshtools_path("kh"), "# no newline here");
    const char *path = sshtools_path("kh");
    pid_t pids[WRITERS];
    for (unsigned w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        ck_assert_int_ge(pids[w], 0);
        for (unsigned i = 0; pids[w] == 0 && i < LINES; i++) {
            char host[32];
            uint8_t key[400];
            (void)snprintf(host, sizeof host, "h%u", w * LINES + i);
            if (knownhosts_add(NULL, path, host, 22, key, make_key(ED, w * LINES + i, key),
                               (int)(i % 2), NULL) != 0)
                _exit(1);
        }
        if (pids[w] == 0)
            _exit(0);
    }
    for (unsigned w = 0; w < WRITERS; w++) {
        int status;
        ck_assert_int_eq(waitpid(pids[w], &status, 0), pids[w]);
        ck_assert_int_eq(status, 0);
    }
    struct knownhosts *set = open_one(path);
    ck_assert_uint_eq(knownhosts_count(set), WRITERS * LINES);
    for (unsigned i = 0; i < WRITERS * LINES; i++) {
        char host[32];
        (void)snprintf(host, sizeof host, "h%u", i);
        ck_assert_int_eq(state(set, host, 22, ED, i), KNOWNHOSTS_KNOWN);
    }
    knownhosts_free(set);
}
END_TEST

static double cpu_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* 100,000 lines: read once, a thousand lookups.  The bounds are far above what it takes (some
 * 0.05 s), and far below what a search line by line would. */
START_TEST(test_many_lines)
{
    enum { LINES = 100000 };
    FILE *f = fopen(sshtools_path("kh"), "we");
    ck_assert_ptr_nonnull(f);
    for (unsigned i = 0; i < LINES; i++)
        ck_assert_int_gt(fprintf(f, "h%u.example.org,10.%u.%u.%u %s\n", i, i >> 16, i >> 8 & 255,
                                 i & 255, text(ED, i % 200)),
                         0);
    ck_assert_int_eq(fclose(f), 0);
    double before = cpu_seconds();
    struct knownhosts *set = open_one(sshtools_path("kh"));
    ck_assert_uint_eq(knownhosts_count(set), LINES);
    for (unsigned i = 0; i < 1000; i++) {
        char host[32];
        (void)snprintf(host, sizeof host, "h%u.example.org", i * 97);
        ck_assert_int_eq(state(set, host, 22, ED, i * 97 % 200), KNOWNHOSTS_KNOWN);
    }
    ck_assert_double_lt(cpu_seconds() - before, 3.0);
    knownhosts_free(set);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("knownhosts");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, sshtools_enter, sshtools_leave);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_states);
    tcase_add_test(t, test_states_of_ports_and_patterns);
    tcase_add_test(t, test_states_of_marked_lines);
    tcase_add_test(t, test_revoked_first);
    tcase_add_test(t, test_algorithms);
    tcase_add_test(t, test_files);
    tcase_add_test(t, test_bad_arguments);
    tcase_add_test(t, test_hashed_with_ssh_keygen);
    tcase_add_test(t, test_fingerprint);
    tcase_add_test(t, test_add);
    tcase_add_test(t, test_make_folder);
    tcase_add_test(t, test_add_concurrently);
    tcase_add_test(t, test_many_lines);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
