/* A host of another architecture than was guessed: agent and worker of the first flight are wrong,
 * and what was said early is said again for the right ones.  The table of binaries (agents.c) is
 * this test's own: the machine that it takes this one for does not exist. */
#include <check.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/grapnel.h"
#include "tests/unit/unit.h"

static struct agents_binary wrong = {.name = "linux-wrong", .uname = "Linux wrong"};
static struct agents_binary wrong_worker = {.name = "linux-wrong"};
static struct agents_binary right, right_worker;
static char hashes[4][65];

static uint8_t *read_file(const char *path, size_t *n)
{
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat st;
    uint8_t *bytes;

    ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
    *n = (size_t)st.st_size;
    bytes = malloc(*n);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(read(fd, bytes, *n), st.st_size);
    close(fd);
    return bytes;
}

static void load(struct agents_binary *b, char hash[65], const char *path)
{
    struct utsname u;
    uint8_t digest[32], *plain = read_file(path, &b->plain_size);
    char packed[4096];

    crypto_generichash(digest, sizeof digest, plain, b->plain_size, NULL, 0);
    sodium_bin2hex(hash, 65, digest, sizeof digest);
    b->hash_hex = hash;
    free(plain);
    snprintf(packed, sizeof packed, "%s.gz", path);
    b->packed = read_file(packed, &b->packed_size);
    uname(&u);
    snprintf(b->uname, sizeof b->uname, "%.20s %.40s", u.sysname, u.machine);
    strcpy(b->name, "right");
}

static void make_wrong(struct agents_binary *b, char hash[65], size_t size)
{
    memset(hash, 'a', 64);
    hash[64] = '\0';
    b->hash_hex = hash;
    b->packed = malloc(size);
    ck_assert_ptr_nonnull(b->packed);
    randombytes_buf(b->packed, size);
    b->packed_size = b->plain_size = size;
}

struct agents *agents_new(const char *folder)
{
    (void)folder;
    make_wrong(&wrong, hashes[0], 50000);
    make_wrong(&wrong_worker, hashes[1], 150000 + 100000 * (size_t)(randombytes_uniform(3)));
    hashes[1][0] = 'b';
    load(&right, hashes[2], getenv("GRAPNEL_AGENT"));
    load(&right_worker, hashes[3], WORKER_PATH);
    return (struct agents *)&right;
}

void agents_free(struct agents *a)
{
    (void)a;
    free(wrong.packed);
    free(wrong_worker.packed);
    free(right.packed);
    free(right_worker.packed);
}

const struct agents_binary *agents_find(struct agents *a, const char *uname, struct error *e)
{
    (void)a;
    (void)e;
    return uname ? &right : &wrong;
}

const struct agents_binary *agents_known(struct agents *a, const char *uname, struct error *e)
{
    return agents_find(a, uname, e);
}

void agents_build(char text[AGENTS_BUILD])
{
    memset(text, '0', AGENTS_BUILD - 1);
    text[AGENTS_BUILD - 1] = '\0';
}

const struct agents_binary *agents_worker(struct agents *a, const char *name, struct error *e)
{
    (void)a;
    (void)e;
    return strcmp(name, "right") == 0 ? &right_worker : &wrong_worker;
}

uint8_t *agents_unpack(const struct agents_binary *b, struct error *e)
{
    (void)b;
    (void)e;
    return NULL;
}

START_TEST(the_right_worker_follows)
{
    struct grapnel_error error = {0};
    struct grapnel_connect_options o = {.transport = "local", .one_shot = _i == 2};
    struct grapnel *g = grapnel_new(NULL, &error);
    struct grapnel_server *s = grapnel_open(g, "here", &o, &error);
    struct grapnel_exec_options before = {.line = "echo before"};
    struct grapnel_exec *x = _i == 2 ? NULL : grapnel_exec_start(s, &before, NULL, NULL, &error);
    struct grapnel_instance *i = grapnel_instance_open(s, NULL, &error), *second = NULL;
    struct grapnel_server_info info;
    struct grapnel_value *v;

    ck_assert_ptr_nonnull(i);
    if (_i == 1)
        second = grapnel_instance_open(s, NULL, &error);
    ck_assert_msg(grapnel_call(i, "eval", &v, &error, "s", "6 * 7") == 0, "%s: %s", error.name,
                  error.detail);
    ck_assert_int_eq(grapnel_value_int(v, 0), 42);
    grapnel_value_free(v);
    if (second)
        ck_assert_int_eq(grapnel_call(second, "math.abs", NULL, &error, "i", 1), 0);
    grapnel_server_info(s, &info);
    ck_assert_str_eq(info.agent, "right");
    ck_assert_int_eq(info.boot_attempts, 2);
    if (x)
        ck_assert_int_eq(grapnel_exec_wait(x, -1, NULL, &error), 0);
    grapnel_exec_free(x);
    grapnel_instance_free(second);
    grapnel_instance_free(i);
    ck_assert_int_eq(grapnel_close(s, 10000, &error), 0);
    grapnel_server_free(s);
    grapnel_free(g);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("worker_arch");
    TCase *t = tcase_create("worker_arch");

    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, the_right_worker_follows, 0, 3);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
