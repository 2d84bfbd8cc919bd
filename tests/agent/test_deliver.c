/* Blobs: delivered, checked, kept, run. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

struct delivery {
    const uint8_t *bytes;
    size_t left;
    int closed, code;
    int have;
    char path[128];
    char text[256];
};

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct delivery *d = arg;
    size_t n = d->left < room ? d->left : room;

    memcpy(at, d->bytes, n);
    d->bytes += n;
    d->left -= n;
    if (d->left == 0) {
        stream_eof(s);
    }
    return n;
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct delivery *d = arg;
    const char *path = values_as_string(values_get(result, "path"), NULL);

    (void)s;
    d->closed = 1;
    d->code = code;
    d->have = values_as_bool(values_get(result, "have"), -1);
    snprintf(d->path, sizeof d->path, "%s", path != NULL ? path : "");
    snprintf(d->text, sizeof d->text, "%s", text);
}

static int is_closed(void *arg)
{
    const struct delivery *d = arg;

    return d->closed;
}

static struct stream *start(struct harness *h, struct delivery *d, const void *bytes, size_t n,
                            size_t announced, const void *hashed, size_t hashed_n)
{
    static const struct stream_handler handler = {.fill = on_fill, .closed = on_closed};
    struct value *args = values_map();
    struct error e = {0};
    uint8_t hash[32];
    struct stream *s;

    memset(d, 0, sizeof *d);
    d->bytes = bytes;
    d->left = n;
    crypto_generichash(hash, sizeof hash, hashed, hashed_n, NULL, 0);
    values_set(args, "hash", values_bytes(hash, sizeof hash));
    values_set(args, "size", values_int((int64_t)announced));
    s = stream_open(h->link, "deliver", args, &handler, d, &e);
    ck_assert_msg(s != NULL, "%s", e.detail);
    stream_ready(s);
    return s;
}

static void deliver(struct harness *h, struct delivery *d, const void *bytes, size_t n,
                    size_t announced, const void *hashed, size_t hashed_n)
{
    (void)start(h, d, bytes, n, announced, hashed, hashed_n);
    harness_until(h, is_closed, d);
}

static const char script[] = "#!/bin/sh\necho \"delivered $1\"\n";
#define SCRIPT script, sizeof script - 1

START_TEST(good_and_held)
{
    struct harness *h = harness_start(NULL);
    struct delivery d;
    struct run r = {0};
    char first[128];

    deliver(h, &d, SCRIPT, sizeof script - 1, SCRIPT);
    ck_assert_msg(d.code == 0, "%s", d.text);
    ck_assert_int_eq(d.have, 0);
    snprintf(first, sizeof first, "%s", d.path);
    harness_do(h, &r, harness_argv("sh", first, "x", NULL), 0);
    ck_assert_str_eq(harness_text(&r), "delivered x\n");
    harness_free(&r);
    /* Nobody can change it, not even through its path. */
    harness_do(h, &r, harness_argv("sh", "-c", "(echo no >>$0) 2>/dev/null || exit 9", first, NULL),
               0);
    ck_assert_int_eq(harness_int(&r, "status", -1), 9);
    harness_free(&r);
    deliver(h, &d, "", 0, sizeof script - 1, SCRIPT);
    ck_assert_int_eq(d.code, 0);
    ck_assert_int_eq(d.have, 1);
    ck_assert_str_eq(d.path, first);
    harness_end(h);
}
END_TEST

START_TEST(programs_run_from_there)
{
    struct harness *h = harness_start(NULL);
    struct delivery d;
    struct run r = {0};
    struct stat st;
    FILE *f = fopen("/bin/true", "rb");
    uint8_t *bytes;

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    bytes = malloc((size_t)st.st_size);
    ck_assert_uint_eq(fread(bytes, 1, (size_t)st.st_size, f), (size_t)st.st_size);
    fclose(f);
    deliver(h, &d, bytes, (size_t)st.st_size, (size_t)st.st_size, bytes, (size_t)st.st_size);
    ck_assert_msg(d.code == 0, "%s", d.text);
    harness_do(h, &r, harness_argv(d.path, NULL), 0);
    ck_assert_msg(r.code == 0 && harness_int(&r, "status", -1) == 0, "%s", r.text);
    harness_free(&r);
    free(bytes);
    harness_end(h);
}
END_TEST

START_TEST(wrong_hash)
{
    struct harness *h = harness_start(NULL);
    struct delivery d;

    deliver(h, &d, SCRIPT, sizeof script - 1, "other", 5);
    ck_assert_int_eq(d.code, -E_HASH);
    deliver(h, &d, "", 0, 5, "other", 5);
    ck_assert_int_eq(d.code, -E_HASH); /* it was not kept */
    harness_end(h);
}
END_TEST

START_TEST(wrong_size)
{
    struct harness *h = harness_start(NULL);
    struct delivery d;

    deliver(h, &d, SCRIPT, sizeof script, SCRIPT);
    ck_assert_int_eq(d.code, -E_HASH);
    deliver(h, &d, SCRIPT, sizeof script - 2, SCRIPT);
    ck_assert_int_eq(d.code, -E_HASH);
    deliver(h, &d, SCRIPT, 0, "", 0);
    ck_assert_int_eq(d.code, -E_HASH);
    deliver(h, &d, SCRIPT, sizeof script - 1, SCRIPT);
    ck_assert_int_eq(d.code, 0);
    harness_end(h);
}
END_TEST

START_TEST(empty)
{
    struct harness *h = harness_start(NULL);
    struct delivery d;

    deliver(h, &d, "", 0, 0, "", 0);
    ck_assert_int_eq(d.code, 0);
    harness_end(h);
}
END_TEST

/* The bound is for all together, and what fails or is given up does not count. */
START_TEST(too_large)
{
    struct harness *h = harness_start(NULL);
    size_t most = 64u * 1024 * 1024;
    int64_t before = harness_usage(h, "descriptors");
    struct delivery d;
    struct delivery half;
    struct stream *s;

    deliver(h, &d, "", 0, most + 1, "x", 1);
    ck_assert_int_eq(d.code, -E_TOO_LARGE);
    s = start(h, &half, "", 1, most / 2 + 1, "y", 1);
    deliver(h, &d, "", 0, most / 2, "x", 1);
    ck_assert_int_eq(d.code, -E_TOO_LARGE);
    stream_close(s, -E_CANCELLED, NULL, "");
    harness_until(h, is_closed, &half);
    for (int i = 0; i < 3; i++) {
        deliver(h, &d, "", 0, most, "x", 1);
        ck_assert_int_eq(d.code, -E_HASH);
    }
    ck_assert_int_eq(harness_usage(h, "descriptors"), before);
    harness_end(h);
}
END_TEST

START_TEST(bad_arguments)
{
    static const struct stream_handler handler = {.closed = on_closed};
    struct harness *h = harness_start(NULL);
    struct value *args = values_map();
    struct delivery d = {0};
    struct error e = {0};

    if (_i > 0) {
        values_set(args, "hash", _i == 1 ? values_bytes("short", 5) : values_int(7));
        values_set(args, "size", values_int(5));
    }
    ck_assert_ptr_nonnull(stream_open(h->link, "deliver", args, &handler, &d, &e));
    harness_until(h, is_closed, &d);
    ck_assert_int_eq(d.code, -E_ARGUMENT);
    harness_end(h);
}
END_TEST

/* The line is lost in the middle. */
START_TEST(given_up)
{
    struct harness *h = harness_start(NULL);
    struct delivery d;

    (void)start(h, &d, "half", 4, 8, "whatever", 8);
    harness_until_greeted(h);
    harness_gone(h);
    ck_assert_int_eq(d.closed, 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("deliver");
    TCase *t = tcase_create("deliver");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, good_and_held);
    tcase_add_test(t, programs_run_from_there);
    tcase_add_test(t, wrong_hash);
    tcase_add_test(t, wrong_size);
    tcase_add_test(t, empty);
    tcase_add_test(t, too_large);
    tcase_add_loop_test(t, bad_arguments, 0, 3);
    tcase_add_test(t, given_up);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
