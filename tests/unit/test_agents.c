/* The store of binaries: where agents and workers are looked for, and that only the bytes of the
 * build are taken. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/bootstrap/agents.h"
#include "tests/unit/unit.h"

static char root[64]; /* a fresh folder for each test */
static struct agents *store;
static struct error error;

static void setup(void)
{
    ck_assert_int_ge(sodium_init(), 0);
    strcpy(root, "/tmp/agents-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    unsetenv("GRAPNEL_AGENTS");
}

static void teardown(void)
{
    char command[128];

    agents_free(store);
    store = NULL;
    snprintf(command, sizeof command, "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}

/* All of a file, for the caller to free; there is room for one byte more. */
static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    uint8_t *bytes;

    ck_assert_msg(f && fstat(fileno(f), &st) == 0, "%s", path);
    *n = (size_t)st.st_size;
    bytes = malloc(*n + 1);
    ck_assert_uint_eq(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

static void write_file(const char *path, const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(path, "we");

    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static const char *path_in(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void folder(const char *name)
{
    ck_assert_int_eq(mkdir(path_in(name), 0700), 0);
}

/* The two kinds, as a test needs them: where the build put them, where a store in `root` looks. */
static const struct {
    const char *built, *place;
    int missing, tampered;
} kinds[] = {
    {AGENT_PATH, ".", -E_AGENT_MISSING, -E_AGENT_TAMPERED},
    {WORKER_PATH, "workers", -E_WORKER_MISSING, -E_WORKER_TAMPERED},
};

static const struct agents_binary *find(int kind)
{
    error = (struct error){0};
    if (!store)
        store = agents_new(root);
    ck_assert_ptr_nonnull(store);
    return kind == 0 ? agents_find(store, NULL, &error)
                     : agents_worker(store, GRAPNEL_OS_ARCH, &error);
}

/* Copies the packed binary to place/, with one byte changed at `flip` (negative: none) and `more`
 * bytes more or fewer. */
static void put(int kind, const char *place, long flip, long more)
{
    char path[256];
    uint8_t *bytes;
    size_t n;

    snprintf(path, sizeof path, "%s.gz", kinds[kind].built);
    bytes = read_file(path, &n);
    bytes[n] = '\n';
    if (flip >= 0)
        bytes[flip] ^= 0x10;
    snprintf(path, sizeof path, "%s/%s/%s.gz", root, place, GRAPNEL_OS_ARCH);
    write_file(path, bytes, (size_t)((long)n + more));
    free(bytes);
}

/* What is found is the build's, hash and all. */
static void check_genuine(int kind)
{
    const struct agents_binary *b = find(kind);
    unsigned char hash[32];
    char hex[65];
    uint8_t *built, *plain;
    size_t n;

    ck_assert_msg(b != NULL, "%s %s", errors_name(error.code), error.detail);
    ck_assert_str_eq(b->name, GRAPNEL_OS_ARCH);
    built = read_file(kinds[kind].built, &n);
    ck_assert_uint_eq(b->plain_size, n);
    crypto_generichash(hash, sizeof hash, built, n, NULL, 0);
    ck_assert_str_eq(b->hash_hex, sodium_bin2hex(hex, sizeof hex, hash, sizeof hash));
    plain = agents_unpack(b, &error);
    ck_assert_ptr_nonnull(plain);
    ck_assert_mem_eq(plain, built, n);
    ck_assert_ptr_eq(find(kind), b); /* loaded once */
    free(plain);
    free(built);
}

static void check_refused(int kind, int code, const char *where)
{
    ck_assert_ptr_null(find(kind));
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.detail, where) != NULL, "%s", error.detail);
    agents_free(store);
    store = NULL;
}

START_TEST(test_genuine)
{
    folder("workers");
    put(_i, kinds[_i].place, -1, 0);
    check_genuine(_i);
}
END_TEST

START_TEST(test_missing)
{
    char where[128];

    check_refused(_i, kinds[_i].missing, root);
    folder("workers");
    snprintf(where, sizeof where, "%s%s/%s.gz: No such file", root, _i ? "/workers" : "",
             GRAPNEL_OS_ARCH);
    check_refused(_i, kinds[_i].missing, where);
    put(!_i, kinds[!_i].place, -1, 0); /* the other kind does not serve */
    check_refused(_i, kinds[_i].missing, where);
}
END_TEST

/* Any byte counts, and so does the size. */
START_TEST(test_tampered)
{
    static const struct {
        long flip, more;
    } changes[] = {{0, 0}, {5000, 0}, {20000, 0}, {-1, -1}, {-1, 1}, {-1, -20000}};

    folder("workers");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        put(_i, kinds[_i].place, changes[i].flip, changes[i].more);
        check_refused(_i, kinds[_i].tampered, root);
    }
    put(_i, kinds[_i].place, -1, 0);
    check_genuine(_i);
}
END_TEST

/* A worker lies in the folder of the agents, or else beside it; the first that is there counts. */
START_TEST(test_places)
{
    char agents[80];

    folder("agents");
    folder("workers");
    snprintf(agents, sizeof agents, "%s/agents", root);
    put(1, "workers", -1, 0);
    store = agents_new(agents);
    check_genuine(1);
    agents_free(store);

    folder("agents/workers");
    put(1, "agents/workers", 100, 0);
    store = agents_new(agents);
    check_refused(1, -E_WORKER_TAMPERED, "/agents/workers/");

    put(1, "agents/workers", -1, 0);
    put(1, "workers", 100, 0);
    store = agents_new(agents);
    check_genuine(1);
    agents_free(store);

    setenv("GRAPNEL_AGENTS", agents, 1);
    store = agents_new(NULL);
    check_genuine(1);
}
END_TEST

/* What the build has no binary for; a name is never a path. */
START_TEST(test_unknown)
{
    static const char *const names[] = {"plan9-vax", "", ("../" GRAPNEL_OS_ARCH), "linux"};

    folder("workers");
    put(0, ".", -1, 0);
    put(1, "workers", -1, 0);
    store = agents_new(root);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert_ptr_null(agents_worker(store, names[i], &error));
        ck_assert_int_eq(error.code, -E_WORKER_MISSING);
        ck_assert_ptr_nonnull(strstr(error.detail, GRAPNEL_OS_ARCH));
    }
    ck_assert_ptr_null(agents_find(store, "Plan9 vax", &error));
    ck_assert_int_eq(error.code, -E_ARCH);
    ck_assert_ptr_nonnull(strstr(error.detail, "Plan9 vax"));
    ck_assert_ptr_nonnull(strstr(error.detail, GRAPNEL_OS_ARCH));
    agents_free(NULL);
}
END_TEST

/* An agent that was found by what the host says of itself names the worker for that host. */
/* What is asked for first needs no file; it is read when the agent is to be sent. */
START_TEST(test_known)
{
    const struct agents_binary *known;

    store = agents_new(root);
    known = agents_known(store, NULL, &error);
    ck_assert_ptr_nonnull(known);
    ck_assert_str_eq(known->name, GRAPNEL_OS_ARCH);
    ck_assert_uint_eq(strlen(known->hash_hex), 64);
    ck_assert_ptr_null(known->packed);
    ck_assert_ptr_null(agents_find(store, known->uname, &error));
    ck_assert_int_eq(error.code, -E_AGENT_MISSING);
    put(0, kinds[0].place, -1, 0);
    ck_assert_msg(agents_find(store, known->uname, &error) == known, "%s", error.detail);
    ck_assert_ptr_nonnull(known->packed);
    ck_assert_ptr_null(agents_known(store, "Plan9 vax", &error));
}
END_TEST

START_TEST(test_worker_of_agent)
{
    const struct agents_binary *agent;

    folder("workers");
    put(0, ".", -1, 0);
    put(1, "workers", -1, 0);
    agent = find(0);
    ck_assert_ptr_nonnull(agent);
    ck_assert_ptr_eq(agents_worker(store, agent->name, &error), find(1));
    ck_assert_ptr_eq(agents_find(store, agent->uname, &error), agent);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("agents");
    TCase *t = tcase_create("agents");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, test_genuine, 0, 2);
    tcase_add_loop_test(t, test_missing, 0, 2);
    tcase_add_loop_test(t, test_tampered, 0, 2);
    tcase_add_test(t, test_places);
    tcase_add_test(t, test_unknown);
    tcase_add_test(t, test_known);
    tcase_add_test(t, test_worker_of_agent);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
