/* Blobs: delivered, checked, kept, run. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

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

static const struct stream_handler handler = {.fill = on_fill, .closed = on_closed};

static struct value *hash_of(const void *bytes, size_t n)
{
    uint8_t hash[32];

    crypto_generichash(hash, sizeof hash, bytes, n, NULL, 0);
    return values_bytes(hash, sizeof hash);
}

static struct stream *start(struct harness *h, struct delivery *d, const void *bytes, size_t n,
                            size_t announced, const void *hashed, size_t hashed_n)
{
    struct value *args = values_map();
    struct error e = {0};
    struct stream *s;

    memset(d, 0, sizeof *d);
    d->bytes = bytes;
    d->left = n;
    values_set(args, "hash", hash_of(hashed, hashed_n));
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

/* ---- whole blobs ---- */

/* Opens a delivery with the blob in its arguments.  args is taken over. */
static void open_whole(struct harness *h, struct delivery *d, struct value *args)
{
    struct error e = {0};

    memset(d, 0, sizeof *d);
    ck_assert_ptr_nonnull(stream_open(h->link, "deliver", args, &handler, d, &e));
}

/* Arguments for n bytes as they are; or for those that `packed` holds as a gzip member. */
static struct value *whole(const void *bytes, size_t n, const struct wire_buf *packed)
{
    struct value *args = values_map();

    values_set(args, "hash", hash_of(bytes, n));
    values_set(args, "size", values_int((int64_t)n));
    if (packed == NULL) {
        values_set(args, "data", values_bytes(bytes, n));
    } else {
        values_set(args, "data", values_bytes(wire_data(packed), wire_length(packed)));
        values_set(args, "encoding", values_text("gzip"));
    }
    return args;
}

/* One member of n bytes; `bits` as of deflateInit2. */
static void pack(struct wire_buf *to, const void *bytes, size_t n, int bits)
{
    z_stream z = {0};
    uint8_t *at;
    size_t room;

    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    room = deflateBound(&z, n);
    ck_assert_int_eq(wire_reserve(to, room, &at), 0);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = at;
    z.avail_out = (uInt)room;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    wire_commit(to, z.total_out);
    deflateEnd(&z);
}

#define GZIP 31
#define ZLIB 15

static void read_file(struct wire_buf *to, const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t part[4096];
    size_t n;

    ck_assert_ptr_nonnull(f);
    while ((n = fread(part, 1, sizeof part, f)) > 0) {
        ck_assert_int_eq(wire_put(to, part, n), 0);
    }
    fclose(f);
}

static struct value *blob_argv(const void *bytes, size_t n, const char *word, const char *more)
{
    struct value *args = harness_argv(word, more, NULL);

    values_set(args, "blob", hash_of(bytes, n));
    return args;
}

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

/* Nothing of the agent's was heard of when all three are sent. */
START_TEST(whole_and_run_at_once)
{
    struct harness *h = harness_start(NULL);
    struct wire_buf program = {0}, packed = {0};
    struct delivery first, again;
    struct run r = {0}, second = {0};
    size_t n;

    read_file(&program, "/bin/echo");
    n = wire_length(&program);
    pack(&packed, wire_data(&program), n, GZIP);
    open_whole(h, &first, whole(wire_data(&program), n, _i == 0 ? &packed : NULL));
    harness_run(h, &r, blob_argv(wire_data(&program), n, "any name", "it ran"), 0);
    harness_run(h, &second, blob_argv(wire_data(&program), n, "", "and again"), 0);
    harness_finish(&r);
    harness_finish(&second);
    ck_assert_msg(r.code == 0, "%s", r.text);
    ck_assert_str_eq(harness_text(&r), "it ran\n");
    ck_assert_str_eq(harness_text(&second), "and again\n");
    ck_assert_int_eq(first.closed, 1);
    ck_assert_msg(first.code == 0, "%s", first.text);
    ck_assert_int_eq(first.have, 0);
    open_whole(h, &again, whole(wire_data(&program), n, &packed));
    harness_until(h, is_closed, &again);
    ck_assert_int_eq(again.have, 1);
    ck_assert_str_eq(again.path, first.path);
    harness_free(&r);
    harness_free(&second);
    wire_free(&program);
    wire_free(&packed);
    harness_end(h);
}
END_TEST

/* Much from little: no more than the announced size is ever unpacked. */
START_TEST(whole_but_wrong)
{
    struct harness *h = harness_start(NULL);
    int64_t before = harness_usage(h, "descriptors");
    size_t n = 8u * 1024 * 1024;
    uint8_t *zeros = calloc(1, n);
    struct wire_buf packed = {0};
    struct delivery d;
    struct value *args;
    int expected = -E_MALFORMED;

    pack(&packed, zeros, n, _i == 3 ? ZLIB : GZIP);
    args = whole(zeros, n, &packed);
    switch (_i) {
    case 0: /* cut short */
        values_set(args, "data", values_bytes(wire_data(&packed), wire_length(&packed) - 1));
        break;
    case 1: /* its checksum is another one */
        packed.data[packed.end - 5] ^= 1;
        values_set(args, "data", values_bytes(wire_data(&packed), wire_length(&packed)));
        break;
    case 2: /* something behind it */
        ck_assert_int_eq(wire_put(&packed, "x", 1), 0);
        values_set(args, "data", values_bytes(wire_data(&packed), wire_length(&packed)));
        break;
    case 3: /* another format */
        break;
    case 4:
        values_set(args, "data", values_bytes("", 0));
        break;
    case 5:
        values_set(args, "size", values_int((int64_t)n - 1));
        expected = -E_HASH;
        break;
    case 6:
        values_set(args, "size", values_int((int64_t)n + 1));
        expected = -E_HASH;
        break;
    case 7:
        values_set(args, "hash", hash_of("x", 1));
        expected = -E_HASH;
        break;
    case 8:
        values_set(args, "data", values_text("text"));
        expected = -E_ARGUMENT;
        break;
    case 9:
        values_set(args, "encoding", values_text("br"));
        expected = -E_ARGUMENT;
        break;
    case 10:
        values_set(args, "encoding", values_int(1));
        expected = -E_ARGUMENT;
        break;
    default: /* packed bytes that are not said to be packed */
        values_set(args, "encoding", values_nil());
        expected = -E_HASH;
    }
    open_whole(h, &d, args);
    harness_until(h, is_closed, &d);
    ck_assert_msg(d.code == expected && d.text[0] != '\0', "%d: %s", d.code, d.text);
    ck_assert_msg(_i != 5 || strstr(d.text, "more bytes") != NULL, "%s", d.text);
    ck_assert_int_eq(harness_usage(h, "descriptors"), before);
    /* It left no trace: the same can still come well. */
    wire_free(&packed);
    pack(&packed, zeros, n, GZIP);
    open_whole(h, &d, whole(zeros, n, &packed));
    harness_until(h, is_closed, &d);
    ck_assert_msg(d.code == 0 && d.have == 0, "%s", d.text);
    wire_free(&packed);
    free(zeros);
    harness_end(h);
}
END_TEST

/* ---- blobs as programs ---- */

static struct run run_blob(struct harness *h, const char *file, struct value *args)
{
    struct wire_buf program = {0};
    struct delivery d;
    struct run r = {0};

    read_file(&program, file);
    open_whole(h, &d, whole(wire_data(&program), wire_length(&program), NULL));
    values_set(args, "blob", hash_of(wire_data(&program), wire_length(&program)));
    wire_free(&program);
    harness_do(h, &r, args, 0);
    ck_assert_msg(d.code == 0, "%s", d.text);
    return r;
}

/* The program has its three descriptors and no other, and cannot change what it runs from. */
START_TEST(blob_leaks_nothing)
{
    struct harness *h = harness_start(NULL);
    struct run r = run_blob(h, "/bin/sh",
                            harness_argv("name of its own", "-c",
                                         "echo $0; ls /proc/$$/fd;"
                                         "(echo no >>/proc/$$/exe) 2>/dev/null || echo sealed;"
                                         "/proc/$$/exe -c 'echo runs from there'",
                                         NULL));

    ck_assert_msg(r.code == 0 && harness_int(&r, "status", -1) == 0, "%s", r.text);
    ck_assert_str_eq(harness_text(&r), "name of its own\n0\n1\n2\nsealed\nruns from there\n");
    harness_free(&r);
    harness_end(h);
}
END_TEST

/* Lasts as long as it runs: the next must not wait for it. */
START_TEST(blob_is_shared)
{
    struct harness *h = harness_start(NULL);
    int64_t before = harness_usage(h, "descriptors");
    struct wire_buf program = {0};
    struct run runs[3] = {{0}};
    struct delivery d;
    char first[64];

    read_file(&program, "/bin/sh");
    open_whole(h, &d, whole(wire_data(&program), wire_length(&program), NULL));
    for (int i = 0; i < 3; i++) {
        struct value *args = harness_argv("sh", "-c", "stat -L -c %i /proc/$$/exe; cat", NULL);
        values_set(args, "blob", hash_of(wire_data(&program), wire_length(&program)));
        values_set(args, "stdin", values_bool(1));
        harness_run(h, &runs[i], args, HARNESS_NO_INPUT);
        harness_output(&runs[i], 2);
    }
    snprintf(first, sizeof first, "%s", harness_text(&runs[0]));
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(harness_text(&runs[i]), first);
        stream_eof(runs[i].s);
        harness_finish(&runs[i]);
        ck_assert_int_eq(harness_int(&runs[i], "status", -1), 0);
        harness_free(&runs[i]);
    }
    ck_assert_int_eq(harness_usage(h, "descriptors"), before + 1);
    wire_free(&program);
    harness_end(h);
}
END_TEST

START_TEST(blob_not_held)
{
    struct harness *h = harness_start(NULL);
    struct delivery d;
    struct run r = {0};

    harness_do(h, &r, blob_argv("x", 1, "true", NULL), 0);
    ck_assert_int_eq(r.code, -E_HASH);
    ck_assert_ptr_nonnull(strstr(r.text, "true"));
    harness_free(&r);
    /* A script is for its interpreter, which could not find it. */
    deliver(h, &d, SCRIPT, sizeof script - 1, SCRIPT);
    ck_assert_int_eq(d.code, 0);
    harness_do(h, &r, blob_argv(SCRIPT, "sh", NULL), 0);
    ck_assert_msg(r.code == -E_NOT_EXECUTABLE, "%d: %s", r.code, r.text);
    harness_free(&r);
    deliver(h, &d, "no program", 10, 10, "no program", 10);
    harness_do(h, &r, blob_argv("no program", 10, "sh", NULL), 0);
    ck_assert_int_eq(r.code, -E_NOT_EXECUTABLE);
    harness_free(&r);
    harness_end(h);
}
END_TEST

START_TEST(blob_bad_arguments)
{
    struct harness *h = harness_start(NULL);
    struct value *args = harness_argv("true", NULL);
    struct run r = {0};

    if (_i == 0) {
        values_set(args, "blob", values_bytes("short", 5));
    } else if (_i == 1) {
        values_set(args, "blob", values_text("01234567890123456789012345678901"));
    } else {
        values_free(args);
        args = harness_line("true");
        values_set(args, "blob", hash_of("x", 1));
    }
    harness_do(h, &r, args, 0);
    ck_assert_int_eq(r.code, -E_ARGUMENT);
    harness_free(&r);
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
    tcase_add_loop_test(t, whole_and_run_at_once, 0, 2);
    tcase_add_loop_test(t, whole_but_wrong, 0, 12);
    tcase_add_test(t, blob_leaks_nothing);
    tcase_add_test(t, blob_is_shared);
    tcase_add_test(t, blob_not_held);
    tcase_add_loop_test(t, blob_bad_arguments, 0, 3);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
