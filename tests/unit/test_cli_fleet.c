/* The command over many hosts: what of it needs no host. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_bar.h"
#include "launcher/cli/fleet/fleet_groups.h"
#include "launcher/cli/fleet/fleet_journal.h"
#include "launcher/cli/fleet/fleet_lines.h"
#include "launcher/cli/fleet/fleet_words.h"
#include "launcher/cli/linediff.h"
#include "launcher/cli/quantity.h"
#include "tests/unit/unit.h"

/* ---- lines ---- */

struct seen {
    char text[3 * FLEET_LINES_MAX];
    size_t used, count, longest;
};

static void see(void *arg, const unsigned char *line, size_t n)
{
    struct seen *s = arg;

    ck_assert_uint_eq(line[n], 0);
    ck_assert_uint_lt(s->used + n + 1, sizeof s->text);
    memcpy(s->text + s->used, line, n);
    s->used += n;
    s->text[s->used++] = '|';
    s->count++;
    s->longest = n > s->longest ? n : s->longest;
}

/* Whatever the pieces are, the lines are the same. */
START_TEST(lines_of_pieces)
{
    static const char text[] = "one\n\ntwo\0x\r\nlast";
    static const char lines[] = "one||two\0x\r|last|";
    static struct seen s;
    struct fleet_lines l = {0};

    s = (struct seen){.used = 0};
    for (size_t at = 0; at < sizeof text - 1; at += (size_t)_i) {
        size_t left = sizeof text - 1 - at;

        ck_assert_int_eq(
            fleet_lines_feed(&l, text + at, left < (size_t)_i ? left : (size_t)_i, see, &s), 0);
    }
    fleet_lines_end(&l, see, &s);
    ck_assert_uint_eq(s.used, sizeof lines - 1);
    ck_assert_mem_eq(s.text, lines, sizeof lines - 1);
    fleet_lines_end(&l, see, &s);
    ck_assert_uint_eq(s.used, sizeof lines - 1);
}
END_TEST

/* Memory is bounded, and no character is cut; one that is just as long as may be is whole. */
START_TEST(long_lines_come_in_parts)
{
    static char text[2 * FLEET_LINES_MAX];
    static struct seen s;
    struct fleet_lines l = {0};

    s = (struct seen){.used = 0};
    memset(text, 'a', sizeof text);
    text[FLEET_LINES_MAX] = '\n';
    fleet_lines_feed(&l, text, FLEET_LINES_MAX + 1, see, &s);
    ck_assert_uint_eq(s.count, 1);
    ck_assert_uint_eq(s.longest, FLEET_LINES_MAX);
    s = (struct seen){.used = 0};
    text[FLEET_LINES_MAX] = 'a';
    memcpy(text + FLEET_LINES_MAX - 2, "\xe2\x82\xac", 3);
    fleet_lines_feed(&l, text, FLEET_LINES_MAX + 10, see, &s);
    ck_assert_uint_eq(s.count, 1);
    ck_assert_uint_eq(s.longest, FLEET_LINES_MAX - 2);
    ck_assert_uint_le(l.size, 2 * FLEET_LINES_MAX + 2);
    fleet_lines_end(&l, see, &s);
    ck_assert_uint_eq(s.count, 2);
    ck_assert_mem_eq(s.text + FLEET_LINES_MAX - 1, "\xe2\x82\xac", 3);
}
END_TEST

/* ---- groups ---- */

static struct fleet_kept kept(struct fleet_store *store, const char *text)
{
    struct fleet_kept k = {0};

    ck_assert_int_eq(fleet_store_add(store, &k, text, strlen(text)), 0);
    return k;
}

static void add_host(struct fleet_store *store, struct fleet_groups *g, size_t host,
                     const char *out, const char *err)
{
    struct fleet_kept o = kept(store, out), e = kept(store, err);

    ck_assert_int_eq(fleet_groups_add(g, host, &o, &e), 0);
    ck_assert_uint_eq(fleet_store_length(&o) + fleet_store_length(&e), 0);
}

START_TEST(equal_output_is_one_group)
{
    static const char *const names[] = {"web10", "web11", "web12", "web13", "db"};
    static const char *const out[] = {"x\n", "y\n", "x\n", "x\n", "y\n"};
    struct fleet_store *store = fleet_store_new();
    struct fleet_groups *g = fleet_groups_new(store);
    char *title;

    /* In the order in which they end. */
    for (size_t i = 5; i-- > 0;)
        add_host(store, g, i, out[i], i == 3 ? "e" : "");
    fleet_groups_sort(g);
    title = fleet_groups_title(fleet_groups_at(g, 0), names);
    ck_assert_str_eq(title, "web[10,12] (2)");
    free(title);
    title = fleet_groups_title(fleet_groups_at(g, 1), names);
    ck_assert_str_eq(title, "db,web11 (2)");
    free(title);
    ck_assert_uint_eq(fleet_groups_at(g, 2)->hosts[0], 3);
    title = fleet_store_text(store, &fleet_groups_at(g, 2)->err);
    ck_assert_str_eq(title, "e");
    free(title);
    ck_assert_ptr_null(fleet_groups_at(g, 3));
    fleet_groups_free(g);
    fleet_store_free(store);
}
END_TEST

START_TEST(many_groups)
{
    struct fleet_store *store = fleet_store_new();
    struct fleet_groups *g = fleet_groups_new(store);
    char text[16];

    for (size_t i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "%zu", i % 5000);
        add_host(store, g, i, text, "");
    }
    fleet_groups_sort(g);
    for (size_t i = 0; i < 5000; i++) {
        ck_assert_uint_eq(fleet_groups_at(g, i)->count, 4);
        ck_assert_uint_eq(fleet_groups_at(g, i)->hosts[3], i + 15000);
    }
    ck_assert_ptr_null(fleet_groups_at(g, 5000));
    fleet_groups_free(g);
    fleet_store_free(store);
}
END_TEST

/* ---- what is kept in a file ---- */

/* Bytes that are other ones at each place, and for each text. */
static void fill(char *to, size_t n, unsigned with)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(i * 2654435761u >> 13 ^ with);
}

START_TEST(texts_are_kept_apart)
{
    static char bytes[2][5 * FLEET_STORE_BLOCK + 100], piece[3 * FLEET_STORE_BLOCK];
    struct fleet_store *s = fleet_store_new();
    struct fleet_kept k[3] = {{0}};
    char *text;

    /* In turns, and in pieces that are no blocks. */
    for (unsigned i = 0; i < 2; i++)
        fill(bytes[i], sizeof bytes[i], i);
    for (size_t at = 0; at < sizeof bytes[0]; at += 1000) {
        size_t n = sizeof bytes[0] - at < 1000 ? sizeof bytes[0] - at : 1000;

        for (size_t i = 0; i < 3; i++)
            ck_assert_int_eq(fleet_store_add(s, &k[i], bytes[i % 2] + at, n), 0);
    }
    ck_assert_uint_eq(fleet_store_length(&k[1]), sizeof bytes[1]);
    ck_assert_int_eq(fleet_store_same(s, &k[0], &k[2]), 1);
    ck_assert_int_eq(fleet_store_same(s, &k[0], &k[1]), 0);
    ck_assert_int_eq(fleet_store_read(s, &k[1], 8000, piece, sizeof piece), sizeof piece);
    ck_assert_mem_eq(piece, bytes[1] + 8000, sizeof piece);
    /* The place of what was dropped is taken again, and the others are as they were. */
    fleet_store_drop(s, &k[0]);
    ck_assert_uint_eq(fleet_store_length(&k[0]), 0);
    ck_assert_int_eq(fleet_store_add(s, &k[0], bytes[1], sizeof bytes[1]), 0);
    ck_assert_int_eq(fleet_store_same(s, &k[0], &k[1]), 1);
    text = fleet_store_text(s, &k[2]);
    ck_assert_mem_eq(text, bytes[0], sizeof bytes[0]);
    free(text);
    ck_assert_int_eq(fleet_store_read(s, &k[1], sizeof bytes[1] - 10, piece, sizeof piece), 10);
    ck_assert_int_eq(fleet_store_read(s, &k[1], sizeof bytes[1], piece, sizeof piece), 0);
    for (size_t i = 0; i < 3; i++)
        fleet_store_drop(s, &k[i]);
    fleet_store_free(s);
}
END_TEST

/* ---- differences ---- */

static const struct {
    const char *a, *b, *diff;
} differences[] = {
    {"", "", ""},
    {"a\nb\n", "a\nb\n", ""},
    {"", "a\n", "--- A\n+++ B\n@@ -0,0 +1 @@\n+a\n"},
    {"a\n", "", "--- A\n+++ B\n@@ -1 +0,0 @@\n-a\n"},
    {"a", "a\n", "--- A\n+++ B\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"},
    {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
     "--- A\n+++ B\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n"},
    {"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
     "--- A\n+++ B\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n"},
    {"a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
     "--- A\n+++ B\n@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n"},
};

START_TEST(texts_differ)
{
    const char *a = differences[_i].a, *b = differences[_i].b;
    char *diff = linediff(a, strlen(a), "A", b, strlen(b), "B");

    ck_assert_str_eq(diff, differences[_i].diff);
    free(diff);
}
END_TEST

/* What a unified difference makes of a: b again. */
static char *patched(const char *a, const char *diff)
{
    char *b = calloc(1, strlen(a) + strlen(diff) + 1), *to = b;
    size_t line = 1;

    while (*diff) {
        size_t n = strcspn(diff, "\n") + 1;

        if (!strncmp(diff, "@@", 2)) {
            char *end;
            size_t from = strtoul(diff + 4, &end, 10),
                   many = *end == ',' ? strtoul(end + 1, NULL, 10) : 1;

            for (from += many == 0; line < from; line++) {
                size_t k = strcspn(a, "\n") + 1;

                to = mempcpy(to, a, k);
                a += k;
            }
        } else if (strncmp(diff, "---", 3) != 0 && strncmp(diff, "+++", 3) != 0) {
            if (*diff != '-')
                to = mempcpy(to, diff + 1, n - 1);
            if (*diff != '+') {
                ck_assert_mem_eq(a, diff + 1, n - 1);
                a += n - 1;
                line++;
            }
        }
        diff += n;
    }
    strcpy(to, a);
    return b;
}

/* Of any two texts the difference leads from one to the other; the last ones differ by more than is
 * looked for. */
START_TEST(differences_can_be_applied)
{
    size_t lines = _i == 0 ? 4000 : (size_t)_i % 40;
    char *text[2], *diff, *again;
    unsigned seed = (unsigned)_i;

    for (int k = 0; k < 2; k++) {
        text[k] = calloc(1, 8 * lines + 1);
        for (size_t i = 0, used = 0; i < lines; i++) {
            seed = seed * 1103515245 + 12345;
            used += (size_t)sprintf(text[k] + used, "%u\n", (seed >> 16) % (_i == 0 ? 60000 : 4));
        }
    }
    diff = linediff(text[0], strlen(text[0]), "A", text[1], strlen(text[1]), "B");
    ck_assert_ptr_nonnull(diff);
    again = patched(text[0], diff);
    ck_assert_str_eq(again, text[1]);
    free(again);
    free(diff);
    free(text[0]);
    free(text[1]);
}
END_TEST

/* ---- shares, the bar ---- */

static const struct {
    const char *text;
    int64_t share, of_30;
} shares[] = {
    {"1", 1, 1},    {"20", 20, 20},       {"10%", -10, 3}, {"1%", -1, 1},  {"100%", -100, 30},
    {"40", 40, 40}, {"0", 0, 0},          {"0%", 0, 0},    {"101%", 0, 0}, {"-1", 0, 0},
    {"1.5", 0, 0},  {"1.5%", 0, 0},       {"5%%", 0, 0},   {"", 0, 0},     {"%", 0, 0},
    {"x", 0, 0},    {"1000000001", 0, 0},
};

START_TEST(share_is_read)
{
    int64_t share = 0;
    int rc = quantity_share(shares[_i].text, &share);

    ck_assert_int_eq(rc, shares[_i].share ? 0 : QUANTITY_MALFORMED);
    ck_assert_int_eq(share, shares[_i].share);
    if (share)
        ck_assert_int_eq(quantity_of(share, 30), shares[_i].of_30);
}
END_TEST

START_TEST(bar_tells_how_far_it_is)
{
    struct grapnel_fleet_counts c = {
        .hosts = 100, .queued = 50, .connecting = 3, .running = 7, .done = 38, .failed = 2};
    struct fleet_bar b = {0};
    char text[FLEET_BAR_TEXT];

    ck_assert_str_eq(fleet_bar_text(text, &b, &c, 80),
                     "[========            ] 40/100, 10 running, 2 failed");
    fleet_bar_note(&b, &c, 10);
    c.done = 58;
    c.queued = 30;
    fleet_bar_note(&b, &c, 12);
    ck_assert_str_eq(fleet_bar_text(text, &b, &c, 80),
                     "[============        ] 60/100, 10 running, 2 failed, 10/s, 4s left");
    ck_assert_str_eq(fleet_bar_text(text, &b, &c, 60),
                     "60/100, 10 running, 2 failed, 10/s, 4s left");
    ck_assert_str_eq(fleet_bar_text(text, &b, &c, 20), "60/100, 10 running,");
    /* At first it is that of all the time, later that of the last seconds. */
    fleet_bar_note(&b, &c, 14);
    ck_assert_str_eq(fleet_bar_text(text, &b, &c, 100),
                     "[============        ] 60/100, 10 running, 2 failed, 5.0/s, 8s left");
    fleet_bar_note(&b, &c, 15);
    fleet_bar_note(&b, &c, 16);
    ck_assert_str_eq(fleet_bar_text(text, &b, &c, 100),
                     "[============        ] 60/100, 10 running, 2 failed, 3.2/s, 13s left");
}
END_TEST

/* One after the other, two in a second: no tick says anything else. */
START_TEST(bar_is_steady_from_the_start)
{
    struct grapnel_fleet_counts c = {.hosts = 40, .running = 1};
    struct fleet_bar b = {0};
    char text[FLEET_BAR_TEXT];

    fleet_bar_note(&b, &c, 100);
    for (int tick = 1; tick <= 75; tick++) {
        c.done = (size_t)tick / 5 * 2;
        fleet_bar_note(&b, &c, 100 + tick / 5.);
        if (tick % 5)
            continue;
        fleet_bar_text(text, &b, &c, 100);
        ck_assert_msg(tick < 25 ? strstr(text, ", 2.0/s, ") != NULL : b.rate > 1.6 && b.rate < 2.5,
                      "after %d ticks: %s", tick, text);
    }
}
END_TEST

/* ---- words ---- */

static const char *value_of(void *arg, const char *key)
{
    (void)arg;
    return !strcmp(key, "rack") ? "r 7" : !strcmp(key, "%u") ? "bob" : NULL;
}

static const struct {
    const char *word, *name, *result; /* NULL: refused */
    int shell;
} words[] = {
    {"plain", "h", "plain", 0},
    {"a%hb%%c%n", "h", "ahb%c7", 0},
    {"%h", "root@web1:22", "web1", 0},
    {"%h", "root@[fe80::1]:22", "fe80::1", 0},
    {"%h", "fe80::1", "fe80::1", 0},
    {"%h", "ssh://george@web1:2222", "web1", 0},
    {"%u@%{rack}", "h", "bob@r 7", 0},
    {"%u", "h", "bob", 1},
    {"x %{rack}", "h", NULL, 1}, /* two words, in a shell */
    {"%{none}", "h", NULL, 0},
    {"%s", "h", NULL, 0},
    {"%", "h", NULL, 0},
    {"%{rack", "h", NULL, 0},
};

START_TEST(words_stand_for_something_else)
{
    struct fleet_words_host host = {.name = words[_i].name, .number = 7, .value = value_of};
    char why[200] = "";
    char *word = fleet_words(words[_i].word, &host, words[_i].shell, why, sizeof why);

    if (words[_i].result) {
        ck_assert_msg(word != NULL, "%s", why);
        ck_assert_str_eq(word, words[_i].result);
    } else {
        ck_assert_ptr_null(word);
        ck_assert_str_ne(why, "");
    }
    free(word);
}
END_TEST

/* ---- journals ---- */

static char path[] = "/tmp/test_cli_fleet.XXXXXX";

static void note(struct fleet_journal *j, const char *host, int finished)
{
    ck_assert_int_eq(
        fleet_journal_add(j, json_pack("{s:s, s:b}", "host", host, "finished", finished)), 0);
}

static void append(const char *text)
{
    FILE *f = fopen(path, "a");

    fputs(text, f);
    fclose(f);
}

static void append_zeros(void)
{
    static const char zeros[100];
    FILE *f = fopen(path, "a");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(zeros, 1, sizeof zeros, f), sizeof zeros);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(journal_is_read_again)
{
    struct grapnel_error error;
    struct fleet_journal *j;
    json_t *hosts;
    int fd;

    strcpy(path + strlen(path) - 6, "XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    j = fleet_journal_open(path, 1, 0, &error);
    note(j, "a", 1);
    note(j, "b", 0);
    note(j, "c", 1);
    ck_assert_int_eq(fleet_journal_close(j), 0);
    /* It was killed while it wrote; what comes after it is whole again. */
    append("{\"host\":\"d\",\"fini");
    j = fleet_journal_open(path, 1, 0, &error);
    note(j, "b", 1);
    note(j, "c", 0);
    ck_assert_int_eq(fleet_journal_close(j), 0);
    hosts = fleet_journal_hosts(path, "finished", 0, &error);
    ck_assert_uint_eq(json_object_size(hosts), 2);
    ck_assert(json_object_get(hosts, "a") && json_object_get(hosts, "b"));
    json_decref(hosts);
    /* As a file system leaves it that had no time to write all. */
    append_zeros();
    j = fleet_journal_open(path, 1, 0, &error);
    note(j, "f", 1);
    ck_assert_int_eq(fleet_journal_close(j), 0);
    append_zeros();
    append("{\"host\":\"g\",\"finished\":true}\n");
    append_zeros();
    hosts = fleet_journal_hosts(path, "finished", 0, &error);
    ck_assert_ptr_nonnull(hosts);
    ck_assert_uint_eq(json_object_size(hosts), 4);
    ck_assert(json_object_get(hosts, "f") && json_object_get(hosts, "g"));
    json_decref(hosts);
    append("\n# names\n  e # why\n\n");
    ck_assert_ptr_null(fleet_journal_hosts(path, "finished", 0, &error));
    ck_assert_ptr_nonnull(strstr(error.detail, "line 11"));
    hosts = fleet_journal_hosts(path, "finished", 1, &error);
    ck_assert_uint_eq(json_object_size(hosts), 5);
    ck_assert_ptr_nonnull(json_object_get(hosts, "e"));
    json_decref(hosts);
    unlink(path);
    ck_assert_ptr_null(fleet_journal_hosts(path, "finished", 1, &error));
    ck_assert_ptr_nonnull(strstr(error.detail, path));
}
END_TEST

/* A second name of a host is as the host, wherever its line stands. */
START_TEST(names_of_one_host_are_finished_together)
{
    struct grapnel_error error;
    json_t *hosts;

    strcpy(path + strlen(path) - 6, "XXXXXX");
    close(mkstemp(path));
    append("{\"host\":\"r@a\",\"same_as\":\"a\",\"finished\":false}\n"
           "{\"host\":\"a\",\"finished\":true}\n"
           "{\"host\":\"b\",\"finished\":false}\n"
           "{\"host\":\"r@b\",\"same_as\":\"b\",\"finished\":false}\n"
           "{\"host\":\"c\",\"same_as\":\"c\",\"finished\":true}\n"
           "{\"host\":\"d\",\"same_as\":\"a\"}\n{\"host\":\"d\",\"finished\":false}\n");
    hosts = fleet_journal_hosts(path, "finished", 0, &error);
    ck_assert_uint_eq(json_object_size(hosts), 2);
    ck_assert(json_object_get(hosts, "a") && json_object_get(hosts, "r@a"));
    json_decref(hosts);
    unlink(path);
}
END_TEST

START_TEST(one_run_at_a_time_finishes_another)
{
    struct grapnel_error error;
    struct fleet_journal *one, *two;

    strcpy(path + strlen(path) - 6, "XXXXXX");
    close(mkstemp(path));
    one = fleet_journal_open(path, 1, 0, &error);
    two = fleet_journal_open(path, 1, 0, &error);
    ck_assert(one && two);
    ck_assert_ptr_null(fleet_journal_open(path, 0, 1, &error));
    ck_assert_ptr_nonnull(strstr(error.detail, "another run"));
    fleet_journal_close(one);
    fleet_journal_close(two);
    one = fleet_journal_open(path, 0, 1, &error);
    ck_assert_ptr_nonnull(one);
    ck_assert_ptr_null(fleet_journal_open(path, 1, 0, &error));
    ck_assert_ptr_null(fleet_journal_open(path, 0, 1, &error));
    fleet_journal_close(one);
    unlink(path);
    ck_assert_ptr_null(fleet_journal_open(path, 0, 1, &error)); /* it makes none */
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static Suite *suite(void)
{
    Suite *s = suite_create("cli fleet");
    TCase *t = tcase_create("pure");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, lines_of_pieces, 1, 20);
    tcase_add_test(t, long_lines_come_in_parts);
    tcase_add_test(t, equal_output_is_one_group);
    tcase_add_test(t, many_groups);
    tcase_add_test(t, texts_are_kept_apart);
    tcase_add_loop_test(t, texts_differ, 0, COUNT(differences));
    tcase_add_loop_test(t, differences_can_be_applied, 0, 200);
    tcase_add_loop_test(t, share_is_read, 0, COUNT(shares));
    tcase_add_test(t, bar_tells_how_far_it_is);
    tcase_add_test(t, bar_is_steady_from_the_start);
    tcase_add_loop_test(t, words_stand_for_something_else, 0, COUNT(words));
    tcase_add_test(t, journal_is_read_again);
    tcase_add_test(t, names_of_one_host_are_finished_together);
    tcase_add_test(t, one_run_at_a_time_finishes_another);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
