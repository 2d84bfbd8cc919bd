/* What was said early is rewritten for another agent. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/early.h"
#include "proto/link.h"
#include "proto/stream.h"
#include "tests/unit/unit.h"

#define HASH 32

static struct link *l;
static struct wire_buf early;
static uint32_t deliver_id;
static uint8_t hashes[2][HASH];

static struct value *delivery(int which, size_t size)
{
    struct value *map = values_map();
    uint8_t *data = malloc(size);

    ck_assert_ptr_nonnull(data);
    memset(data, 'a' + which, size);
    values_set(map, "hash", values_bytes(hashes[which], HASH));
    values_set(map, "data", values_bytes(data, size));
    free(data);
    return map;
}

static struct value *command(const char *name, int which)
{
    struct value *map = values_map();

    values_set(map, "name", values_text(name));
    values_set(map, "blob", values_bytes(hashes[which], HASH));
    return map;
}

static void gather(void)
{
    const uint8_t *bytes;
    size_t n;

    while (link_output(l, &bytes, &n, 1) == 0 && n > 0) {
        ck_assert_int_eq(wire_put(&early, bytes, n), 0);
        link_sent(l, n, 1);
    }
}

/* Says: a command, the delivery (of that size), a command with the blob, data. */
static void say(size_t size)
{
    static const struct stream_handler nothing;
    static const struct link_handler none;
    struct link_options o = {.opener = 1};
    struct stream *s;

    memset(hashes[0], 0x11, HASH);
    memset(hashes[1], 0x22, HASH);
    l = link_new(&o, &none, NULL, 0);
    ck_assert_ptr_nonnull(stream_open(l, "exec", values_text("first"), &nothing, NULL, NULL));
    gather();
    s = stream_open(l, "deliver", delivery(0, size), &nothing, NULL, NULL);
    deliver_id = stream_id(s);
    s = stream_open(l, "exec", command("second", 0), &nothing, NULL, NULL);
    ck_assert_int_eq(stream_write(s, "input", 5), 0);
    gather();
}

static void rewrite(size_t size)
{
    struct wire_buf body = {0};
    struct value *both = values_array();

    values_append(both, values_text("deliver"));
    values_append(both, delivery(1, size));
    ck_assert_int_eq(values_encode(both, &body), 0);
    values_free(both);
    ck_assert_int_eq(early_replace(&early, deliver_id, wire_data(&body), wire_length(&body)), 0);
    early_exchange(&early, hashes[0], hashes[1], HASH);
    wire_free(&body);
}

/* ---- the host's side ---- */

static char heard[200];
static size_t heard_size;
static int heard_old;

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    (void)arg;
    (void)s;
    strncat(heard, (const char *)bytes, n);
    return n;
}

static int on_open(void *arg, struct stream *s, const char *service, const struct value *args,
                   struct error *e)
{
    static const struct stream_handler handler = {.data = on_data};
    const struct value *hash = values_get(args, values_get(args, "hash") ? "hash" : "blob");
    size_t n = 0;
    const char *bytes = values_as_string(hash, &n);

    (void)arg;
    (void)e;
    strcat(heard, service);
    strcat(heard, " ");
    if (values_as_string(values_get(args, "data"), &heard_size) && n == HASH)
        heard_old |= values_as_string(values_get(args, "data"), NULL)[heard_size - 1] != 'b';
    if (n == HASH)
        heard_old |= memcmp(bytes, hashes[1], HASH) != 0;
    stream_accept(s, &handler, NULL);
    return 0;
}

static void hear(void)
{
    static const struct link_handler handler = {.open = on_open};
    struct link_options o = {.opener = 0};
    struct link *host = link_new(&o, &handler, NULL, 0);

    heard[0] = '\0';
    heard_old = 0;
    ck_assert_int_eq(link_input(host, wire_data(&early), wire_length(&early), 1), 0);
    link_free(host);
    link_free(l);
    wire_free(&early);
}

START_TEST(blob_and_its_hash_are_exchanged)
{
    static const size_t sizes[][2] = {{1, 1},           {1000, 200000},  {200000, 1000},
                                      {65000, 66000},   {65400, 131000}, {1, 900000},
                                      {500000, 500000}, {300000, 1}};

    say(sizes[_i][0]);
    rewrite(sizes[_i][1]);
    hear();
    ck_assert_str_eq(heard, "exec deliver exec input");
    ck_assert_uint_eq(heard_size, sizes[_i][1]);
    ck_assert_int_eq(heard_old, 0);
}
END_TEST

START_TEST(nothing_changes_where_nothing_is_meant)
{
    struct wire_buf empty = {0};
    uint8_t *before;
    size_t n;

    say(100);
    n = wire_length(&early);
    before = malloc(n);
    ck_assert_ptr_nonnull(before);
    memcpy(before, wire_data(&early), n);
    ck_assert_int_eq(early_replace(&early, deliver_id + 100, hashes[0], 1), 0);
    early_exchange(&early, hashes[1], hashes[1], HASH);
    ck_assert_uint_eq(wire_length(&early), n);
    ck_assert_int_eq(memcmp(before, wire_data(&early), n), 0);
    free(before);
    ck_assert_int_eq(early_replace(&empty, 1, hashes[0], 1), 0);
    early_exchange(&empty, hashes[0], hashes[1], HASH);
    ck_assert_uint_eq(wire_length(&empty), 0);
    link_free(l);
    wire_free(&early);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("early");
    TCase *t = tcase_create("early");

    tcase_add_loop_test(t, blob_and_its_hash_are_exchanged, 0, 8);
    tcase_add_test(t, nothing_changes_where_nothing_is_meant);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
