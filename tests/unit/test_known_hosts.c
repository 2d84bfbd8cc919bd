/* Putting keys into known_hosts files, some in the place of others: grapnel_known_hosts_write. */
#include <errno.h>
#include <sys/file.h>

#include "launcher/grapnel.h"
#include "launcher/ssh/knownhosts.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

/* Ed25519 keys of bytes 1 … */
static const char *key(int number)
{
    static char texts[8][100];
    char *out = texts[number % 8];
    uint8_t blob[51] = "\0\0\0\x0bssh-ed25519\0\0\0\x20";

    memset(blob + 19, number, 32);
    sshkey_base64_encode(blob, sizeof blob, out);
    return out;
}

static const char *line(const char *names, int number, const char *end)
{
    static char texts[16][400];
    static unsigned next;
    char *out = texts[next++ % 16];

    (void)snprintf(out, sizeof texts[0], "%s ssh-ed25519 %s%s", names, key(number), end);
    return out;
}

static void file_is(const char *path, const char *text)
{
    size_t n;
    char *is = sshtools_read(path, &n);

    ck_assert_str_eq(is, text);
    free(is);
}

static size_t files_in_folder(void)
{
    DIR *d = opendir(sshtools_folder);
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* One key, `name`'s, in the place of an old one (0: none). */
static struct grapnel_known_host put(const char *path, const char *name, int number, int old)
{
    struct grapnel_known_host h = {
        .file = path, .name = name, .key = key(number), .old_key = old ? key(old) : NULL};
    struct grapnel_error e = {0};

    ck_assert_msg(grapnel_known_hosts_write(&h, 1, &e) == 0, "%s: %s", e.text, e.detail);
    return h;
}

START_TEST(test_added)
{
    const char *path = sshtools_path("kh");
    char expected[1000];

    ck_assert_ptr_null(put(path, "a", 1, 0).kept);
    file_is(path, line("a", 1, "\n"));
    ck_assert_ptr_null(put(path, "a", 1, 0).kept); /* it is there */
    file_is(path, line("a", 1, "\n"));
    sshtools_write(path, "# no newline");
    ck_assert_ptr_null(put(path, "[b]:22", 2, 0).kept);
    (void)snprintf(expected, sizeof expected, "# no newline\n%s", line("[b]:22", 2, "\n"));
    file_is(path, expected);
}
END_TEST

START_TEST(test_added_to_several_files)
{
    const char *one = sshtools_path("one"), *two = sshtools_path("two");
    struct grapnel_known_host hosts[] = {
        {.file = one, .name = "a", .key = key(1)},
        {.file = two, .name = "a", .key = key(2)},
        {.file = one, .name = "b", .key = key(3)},
        {.file = one, .name = "b", .key = key(3)}, /* the same host by another name */
    };
    struct grapnel_error e = {0};
    char expected[1000];

    ck_assert_int_eq(grapnel_known_hosts_write(hosts, 4, &e), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_null(hosts[i].kept);
    (void)snprintf(expected, sizeof expected, "%s%s", line("a", 1, "\n"), line("b", 3, "\n"));
    file_is(one, expected);
    file_is(two, line("a", 2, "\n"));
}
END_TEST

START_TEST(test_one_file_fails)
{
    const char *bad = sshtools_path("no/such"), *good = sshtools_path("good");
    struct grapnel_known_host hosts[] = {
        {.file = bad, .name = "a", .key = key(1)},
        {.file = good, .name = "a", .key = key(1)},
    };
    struct grapnel_error e = {0};

    ck_assert_int_lt(grapnel_known_hosts_write(hosts, 2, &e), 0);
    ck_assert_str_eq(e.name, "IO");
    ck_assert_ptr_nonnull(strstr(e.detail, bad));
    ck_assert_ptr_nonnull(hosts[0].kept);
    ck_assert_ptr_null(hosts[1].kept);
    file_is(good, line("a", 1, "\n"));
}
END_TEST

START_TEST(test_replaced)
{
    const char *path = sshtools_path("kh");
    char before[2000], after[2000];
    size_t files;
    struct stat st;

    (void)snprintf(before, sizeof before, "# %s%s%s  \t%s%s%s", line("a", 1, "\n"),
                   line("b,A,c", 1, " comment\r\n"), line("a", 2, "\n"), line("a", 1, "\n"),
                   line("a.b", 1, "\n"), line("a,a", 1, ""));
    (void)snprintf(after, sizeof after, "# %s%s%s%s%s", line("a", 1, "\n"),
                   line("b,c", 1, " comment\r\n"), line("a", 2, "\n"), line("a.b", 1, "\n"),
                   line("a", 3, "\n"));
    sshtools_write_n(path, before, strlen(before), 0640);
    files = files_in_folder();
    ck_assert_ptr_null(put(path, "a", 3, 1).kept);
    file_is(path, after);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0640);
    ck_assert_uint_eq(files_in_folder(), files);
}
END_TEST

/* The last one had no newline, and another one follows it now. */
START_TEST(test_replaced_at_the_end)
{
    const char *path = sshtools_path("kh");
    char text[1000];

    (void)snprintf(text, sizeof text, "%s%s", line("a", 1, "\n"), line("x", 1, ""));
    sshtools_write(path, text);
    ck_assert_ptr_null(put(path, "a", 2, 1).kept);
    (void)snprintf(text, sizeof text, "%s%s", line("x", 1, "\n"), line("a", 2, "\n"));
    file_is(path, text);
}
END_TEST

START_TEST(test_marked_lines_stay)
{
    const char *path = sshtools_path("kh");
    char before[1000], after[1000];

    (void)snprintf(before, sizeof before, "@revoked %s@cert-authority %s%s", line("a", 1, "\n"),
                   line("a", 1, "\n"), line("a", 1, "\n"));
    (void)snprintf(after, sizeof after, "@revoked %s@cert-authority %s%s", line("a", 1, "\n"),
                   line("a", 1, "\n"), line("a", 2, "\n"));
    sshtools_write(path, before);
    ck_assert_ptr_null(put(path, "a", 2, 1).kept);
    file_is(path, after);
}
END_TEST

START_TEST(test_patterns_stay)
{
    static const char *const names[] = {"*", "a,?", "x,a*,!ab"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = sshtools_path("kh%zu", i), *before = line(names[i], 1, "\n");
        struct grapnel_known_host h;

        sshtools_write(path, before);
        h = put(path, "a", 2, 1);
        ck_assert_ptr_nonnull(h.kept);
        ck_assert_uint_eq(h.line, 1);
        file_is(path, before);
    }
}
END_TEST

START_TEST(test_pattern_for_others)
{
    const char *path = sshtools_path("kh");
    char after[1000];

    sshtools_write(path, line("b*,a,!c", 1, "\n"));
    ck_assert_ptr_null(put(path, "a", 2, 1).kept);
    (void)snprintf(after, sizeof after, "%s%s", line("b*,!c", 1, "\n"), line("a", 2, "\n"));
    file_is(path, after);
}
END_TEST

/* What has come to stand there since the key was looked up. */
START_TEST(test_meanwhile)
{
    const char *path = sshtools_path("kh");
    char before[1000];
    struct grapnel_known_host h;

    sshtools_write(path, line("a", 1, "\n"));
    h = put(path, "a", 2, 0);
    ck_assert_ptr_nonnull(h.kept);
    ck_assert_uint_eq(h.line, 1);
    h = put(path, "a", 2, 3); /* the old one has gone, there is another one */
    ck_assert_ptr_nonnull(h.kept);
    (void)snprintf(before, sizeof before, "%s@revoked %s", line("b", 1, "\n"), line("*", 2, "\n"));
    sshtools_write(path, before);
    h = put(path, "a", 2, 0);
    ck_assert_ptr_nonnull(h.kept);
    ck_assert_uint_eq(h.line, 2);
    file_is(path, before);
}
END_TEST

START_TEST(test_no_keys_and_names)
{
    static const char *const names[] = {"",   "a b",      "a\nb", "a,b", "*",
                                        "!a", "@revoked", "|1|",  "#"};
    const char *path = sshtools_path("kh");
    struct grapnel_known_host h = {.file = path, .name = "a", .key = "AAAA"};
    struct grapnel_error e = {0};

    sshtools_write(path, "");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_ptr_nonnull(put(path, names[i], 1, 0).kept);
    ck_assert_int_eq(grapnel_known_hosts_write(&h, 1, &e), 0);
    ck_assert_ptr_nonnull(h.kept);
    h.key = "AAAAC3NzaC1lZDI1NTE5AAAAIA== x\nb";
    ck_assert_int_eq(grapnel_known_hosts_write(&h, 1, &e), 0);
    ck_assert_ptr_nonnull(h.kept);
    file_is(path, "");
}
END_TEST

/* A thousand clones, each with its old line, some hashed. */
START_TEST(test_many)
{
    enum { HOSTS = 1000 };
    const char *path = sshtools_path("kh");
    struct grapnel_known_host *hosts = calloc(HOSTS, sizeof *hosts);
    char(*names)[16] = calloc(HOSTS, sizeof *names);
    struct grapnel_error e = {0};
    struct knownhosts *set;
    struct knownhosts_match m;
    uint8_t blob[64];
    size_t n = sizeof blob;

    ck_assert_int_eq(sshkey_base64_decode(key(1), strlen(key(1)), blob, &n), 0);
    for (int i = 0; i < HOSTS; i++) {
        (void)snprintf(names[i], sizeof names[i], "h%d", i);
        ck_assert_int_eq(knownhosts_add(NULL, path, names[i], 0, blob, n, i % 2, NULL), 0);
        hosts[i] = (struct grapnel_known_host){
            .file = path, .name = names[i], .key = key(2), .old_key = key(1), .hashed = i % 3 == 0};
    }
    ck_assert_int_eq(grapnel_known_hosts_write(hosts, HOSTS, &e), 0);
    ck_assert_int_eq(knownhosts_open(&path, 1, &set, NULL), 0);
    ck_assert_uint_eq(knownhosts_count(set), HOSTS);
    n = sizeof blob;
    ck_assert_int_eq(sshkey_base64_decode(key(2), strlen(key(2)), blob, &n), 0);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_ptr_null(hosts[i].kept);
        ck_assert_int_eq(knownhosts_check(set, names[i], 0, blob, n, &m), 0);
        ck_assert_int_eq(m.state, KNOWNHOSTS_KNOWN);
    }
    knownhosts_free(set);
    free(hosts);
    free(names);
}
END_TEST

/* Who waits for the lock while the file is replaced writes to the new one. */
START_TEST(test_lock_of_a_file_that_is_replaced)
{
    const char *path = sshtools_path("kh"), *other = sshtools_path("other");
    char expected[1000];
    int fd, status;
    pid_t child;

    sshtools_write(path, line("a", 1, "\n"));
    sshtools_write(other, line("b", 1, "\n"));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    child = fork();
    if (child == 0) {
        close(fd); /* the lock is the parent's alone */
        (void)put(path, "c", 1, 0);
        _exit(0);
    }
    /* It waits, once the kernel knows two of them. */
    for (int waiting = 0; !waiting;) {
        char text[4096] = "";
        int locks = open("/proc/locks", O_RDONLY | O_CLOEXEC);

        if (locks < 0 || read(locks, text, sizeof text - 1) < 0)
            break;
        close(locks);
        (void)snprintf(expected, sizeof expected, "-> FLOCK  ADVISORY  WRITE %d ", (int)child);
        waiting = strstr(text, expected) != NULL || waitpid(child, &status, WNOHANG) != 0;
    }
    ck_assert_int_eq(rename(other, path), 0);
    close(fd);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    (void)snprintf(expected, sizeof expected, "%s%s", line("b", 1, "\n"), line("c", 1, "\n"));
    file_is(path, expected);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("known_hosts");
    TCase *t = tcase_create("all");

    tcase_add_checked_fixture(t, sshtools_enter, sshtools_leave);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_added);
    tcase_add_test(t, test_added_to_several_files);
    tcase_add_test(t, test_one_file_fails);
    tcase_add_test(t, test_replaced);
    tcase_add_test(t, test_replaced_at_the_end);
    tcase_add_test(t, test_marked_lines_stay);
    tcase_add_test(t, test_patterns_stay);
    tcase_add_test(t, test_pattern_for_others);
    tcase_add_test(t, test_meanwhile);
    tcase_add_test(t, test_no_keys_and_names);
    tcase_add_test(t, test_many);
    tcase_add_test(t, test_lock_of_a_file_that_is_replaced);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
