/* The pump over pipes, sockets, files and terminals, at both ends of a pair of links. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pair.h"
#include "proto/link_internal.h"
#include "proto/pump.h"
#include "unit.h"

/* A stream of a's with a source on one side and a sink on the other. */
struct bench {
    struct ev_loop *loop;
    struct ev_timer guard;
    struct pair *pair;
    struct stream *out, *in;
    struct pump_source *source;
    struct pump_sink *sink;
    bool source_eof; /* pass the source's end on */
    int source_ends, source_code, source_errno;
    int sink_ends, sink_code, sink_errno;
    int closes, fills;
    bool in_data;
};

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct bench *b = arg;
    (void)s;
    b->in_data = true;
    size_t done = b->sink != NULL ? pump_sink_data(b->sink, bytes, n) : n;
    b->in_data = false;
    return done;
}

static void on_eof(void *arg, struct stream *s)
{
    struct bench *b = arg;
    (void)s;
    if (b->sink != NULL) {
        pump_sink_eof(b->sink);
    }
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct bench *b = arg;
    (void)code;
    (void)result;
    (void)text;
    b->closes++;
    if (s == b->in && b->sink != NULL) {
        pump_sink_detach(b->sink);
    }
    if (s == b->out) {
        pump_source_free(b->source);
        b->source = NULL;
    }
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct bench *b = arg;
    (void)s;
    b->fills++;
    return b->source != NULL ? pump_source_fill(b->source, at, room) : 0;
}

static const struct stream_handler handler = {on_data, on_eof, on_closed, on_fill};

static int on_open(void *arg, struct stream *s, const char *service, const struct value *args,
                   struct error *e)
{
    struct bench *b = arg;
    (void)service;
    (void)args;
    (void)e;
    b->in = s;
    stream_accept(s, &handler, b);
    return 0;
}

static void source_ended(void *arg, int code, int number)
{
    struct bench *b = arg;
    b->source_ends++;
    b->source_code = code;
    b->source_errno = number;
    pump_source_free(b->source);
    b->source = NULL;
    if (b->source_eof) {
        stream_eof(b->out);
    }
}

static void sink_ended(void *arg, int code, int number)
{
    struct bench *b = arg;
    ck_assert(!b->in_data);
    b->sink_ends++;
    b->sink_code = code;
    b->sink_errno = number;
    pump_sink_free(b->sink);
    b->sink = NULL;
}

static void on_guard(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
    ck_abort_msg("nothing happened for too long");
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    *(int *)w->data = 1;
}

static void bench_init(struct bench *b, int source, unsigned source_flags, int sink,
                       unsigned sink_flags)
{
    struct error e;
    memset(b, 0, sizeof(*b));
    signal(SIGPIPE, SIG_IGN);
    b->source_eof = true;
    b->loop = ev_loop_new(0);
    b->pair = pair_new(NULL, NULL);
    b->pair->b.link->handler = (struct link_handler){.open = on_open};
    b->pair->b.link->arg = b;
    b->out = stream_open(b->pair->a.link, "x", NULL, &handler, b, &e);
    pair_run(b->pair);
    ck_assert_ptr_nonnull(b->in);
    if (sink >= 0) {
        b->sink = pump_sink_new(b->loop, sink, sink_flags, b->in, sink_ended, b);
    }
    if (source >= 0) {
        b->source = pump_source_new(b->loop, source, source_flags, b->out, source_ended, b);
    }
    ev_timer_init(&b->guard, on_guard, 20., 0.);
    ev_timer_start(b->loop, &b->guard);
}

static void bench_free(struct bench *b)
{
    pair_free(b->pair);
    pump_source_free(b->source);
    pump_sink_free(b->sink);
    ev_timer_stop(b->loop, &b->guard);
    ev_loop_destroy(b->loop);
}

/* One turn: the links exchange what they have, then the loop waits. */
static void turn(struct bench *b)
{
    pair_run(b->pair);
    ev_run(b->loop, EVRUN_ONCE);
    pair_run(b->pair);
}

static void run_until(struct bench *b, const int *what)
{
    while (*what == 0) {
        turn(b);
    }
}

/* Turns the loop until it has nothing at hand. */
static void settle(struct bench *b)
{
    for (int i = 0; i < 50; i++) {
        pair_run(b->pair);
        ev_run(b->loop, EVRUN_NOWAIT);
    }
}

static void make_pipe(int fds[2])
{
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 31 ^ i >> 9);
}

struct feeder {
    int fd;
    size_t n;
    pthread_t thread;
    bool right;
};

static void *feed(void *arg)
{
    struct feeder *f = arg;
    uint8_t bytes[3000];
    for (size_t at = 0; at < f->n;) {
        size_t part = f->n - at < sizeof(bytes) ? f->n - at : sizeof(bytes);
        for (size_t i = 0; i < part; i++) {
            bytes[i] = byte_at(at + i);
        }
        ssize_t k = write(f->fd, bytes, part);
        if (k <= 0) {
            break;
        }
        at += (size_t)k;
    }
    close(f->fd);
    return NULL;
}

static void *drain(void *arg)
{
    struct feeder *f = arg;
    uint8_t bytes[5000];
    ssize_t k;
    f->n = 0;
    f->right = true;
    while ((k = read(f->fd, bytes, sizeof(bytes))) > 0) {
        for (size_t i = 0; i < (size_t)k; i++) {
            f->right = f->right && bytes[i] == byte_at(f->n + i);
        }
        f->n += (size_t)k;
    }
    close(f->fd);
    return NULL;
}

static void start(struct feeder *f, int fd, size_t n, void *(*run)(void *))
{
    f->fd = fd;
    f->n = n;
    ck_assert_int_eq(pthread_create(&f->thread, NULL, run, f), 0);
}

/* ---- whole ways ---- */

/* kind 0: pipes; 1: sockets; odd flags: shared. */
START_TEST(through_and_through)
{
    int in[2], out[2];
    unsigned flags = (unsigned)_i & 1u ? PUMP_SHARED : 0;
    struct feeder writer, reader;
    struct bench b;
    if (_i < 2) {
        make_pipe(in);
        make_pipe(out);
    } else {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in), 0);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
    }
    int watch_in = dup(in[0]), watch_out = dup(out[1]);
    start(&writer, in[1], 5000000, feed);
    start(&reader, out[0], 0, drain);
    bench_init(&b, in[0], flags, out[1], flags);
    run_until(&b, &b.sink_ends);
    if (flags != 0) {
        ck_assert_int_eq(fcntl(watch_in, F_GETFL) & O_NONBLOCK, 0);
        ck_assert_int_eq(fcntl(watch_out, F_GETFL) & O_NONBLOCK, 0);
    }
    close(watch_in);
    close(watch_out);
    pthread_join(writer.thread, NULL);
    pthread_join(reader.thread, NULL);
    ck_assert_uint_eq(reader.n, 5000000);
    ck_assert(reader.right);
    ck_assert_int_eq(b.source_ends, 1);
    ck_assert_int_eq(b.source_code, 0);
    ck_assert_int_eq(b.sink_code, 0);
    bench_free(&b);
}
END_TEST

static int temp_file(size_t n)
{
    char path[] = "/tmp/test_pump.XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    uint8_t *bytes = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = byte_at(i);
    }
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    lseek(fd, 0, SEEK_SET);
    free(bytes);
    return fd;
}

START_TEST(files)
{
    static const size_t sizes[] = {0, 1, 65536, 1000000};
    size_t n = sizes[_i % 4];
    unsigned flags = _i >= 4 ? PUMP_SHARED : 0;
    struct bench b;
    int from = temp_file(n), to = temp_file(0), look = dup(to);
    bench_init(&b, from, flags, to, flags);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.sink_code, 0);
    struct stat st;
    fstat(look, &st);
    ck_assert_int_eq(st.st_size, (off_t)n);
    uint8_t last = 0;
    if (n > 0) {
        ck_assert_int_eq(pread(look, &last, 1, (off_t)n - 1), 1);
        ck_assert_uint_eq(last, byte_at(n - 1));
    }
    close(look);
    bench_free(&b);
}
END_TEST

START_TEST(an_offset_that_others_share)
{
    /* What is written goes where the description stands, and leaves it at the end. */
    int to = temp_file(10), look = dup(to), in[2];
    struct bench b;
    lseek(to, 10, SEEK_SET);
    make_pipe(in);
    ck_assert_int_eq(write(in[1], "abc", 3), 3);
    close(in[1]);
    bench_init(&b, in[0], 0, to, PUMP_SHARED);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(lseek(look, 0, SEEK_CUR), 13);
    close(look);
    bench_free(&b);
}
END_TEST

START_TEST(null_and_zero)
{
    struct bench b;
    bench_init(&b, open("/dev/null", O_RDONLY | O_CLOEXEC), 0,
               open("/dev/null", O_WRONLY | O_CLOEXEC), PUMP_SHARED);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.source_code, 0);
    bench_free(&b);
    bench_init(&b, open("/dev/zero", O_RDONLY | O_CLOEXEC), PUMP_SHARED,
               open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
    pump_source_limit(b.source, 1234567);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.source_code, -E_LIMIT);
    bench_free(&b);
}
END_TEST

START_TEST(a_terminal)
{
    struct bench b;
    char name[64], got[16] = {0};
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), in[2];
    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master), 0);
    ck_assert_int_eq(unlockpt(master), 0);
    ck_assert_int_eq(ptsname_r(master, name, sizeof(name)), 0);
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC), look = dup(slave);
    /* To a shared terminal. */
    make_pipe(in);
    ck_assert_int_eq(write(in[1], "hello\n", 6), 6);
    close(in[1]);
    bench_init(&b, in[0], 0, slave, PUMP_SHARED);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.sink_code, 0);
    ck_assert_int_eq(fcntl(look, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(read(master, got, sizeof(got)), 7);
    ck_assert_str_eq(got, "hello\r\n");
    bench_free(&b);
    /* From a shared terminal, and the end of file of the line discipline. */
    int out[2];
    make_pipe(out);
    bench_init(&b, dup(look), PUMP_SHARED, out[1], 0);
    settle(&b);
    ck_assert_int_eq(b.source_ends, 0);
    ck_assert_int_eq(write(master, "typed\n\4", 7), 7);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(fcntl(look, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(read(out[0], got, sizeof(got)), 6);
    ck_assert_mem_eq(got, "typed\n", 6);
    close(out[0]);
    bench_free(&b);
    /* The master's end when nobody has the terminal open any more. */
    make_pipe(out);
    bench_init(&b, master, 0, out[1], 0);
    close(look);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.source_code, 0);
    close(out[0]);
    bench_free(&b);
}
END_TEST

/* ---- ends and errors ---- */

START_TEST(a_closed_reader)
{
    int in[2], out[2];
    struct bench b;
    if (_i == 0) {
        make_pipe(out);
        int t = out[0];
        out[0] = out[1];
        out[1] = t;
    } else {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
    }
    make_pipe(in);
    close(out[1]);
    bench_init(&b, in[0], 0, out[0], _i == 2 ? PUMP_SHARED : 0);
    ck_assert_int_eq(write(in[1], "x", 1), 1);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.sink_code, -E_IO);
    ck_assert_int_eq(b.sink_errno, EPIPE);
    close(in[1]);
    bench_free(&b);
}
END_TEST

START_TEST(after_an_error_all_is_consumed)
{
    int in[2], out[2];
    struct bench b;
    struct feeder writer;
    make_pipe(in);
    make_pipe(out);
    start(&writer, in[1], 3000000, feed);
    bench_init(&b, in[0], 0, out[1], 0);
    while (pump_sink_queued(b.sink) == 0) {
        turn(&b);
    }
    close(out[0]);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.sink_errno, EPIPE);
    ck_assert_uint_eq(b.in->held, 0);
    run_until(&b, &b.source_ends);
    pthread_join(writer.thread, NULL);
    bench_free(&b);
}
END_TEST

START_TEST(a_full_disk)
{
    int in[2], full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct bench b;
    ck_assert_int_ge(full, 0);
    make_pipe(in);
    bench_init(&b, in[0], 0, full, 0);
    ck_assert_int_eq(write(in[1], "x", 1), 1);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.sink_errno, ENOSPC);
    close(in[1]);
    bench_free(&b);
}
END_TEST

START_TEST(a_source_that_cannot_be_read)
{
    struct bench b;
    int out[2];
    make_pipe(out);
    bench_init(&b, open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0, out[1], 0);
    run_until(&b, &b.source_ends);
    ck_assert_int_eq(b.source_code, -E_IO);
    ck_assert_int_eq(b.source_errno, EISDIR);
    close(out[0]);
    bench_free(&b);
}
END_TEST

START_TEST(limit)
{
    int in[2], out[2];
    struct bench b;
    char got[100];
    make_pipe(in);
    make_pipe(out);
    bench_init(&b, in[0], 0, out[1], 0);
    pump_source_limit(b.source, 5);
    ck_assert_int_eq(write(in[1], "abc", 3), 3);
    settle(&b);
    ck_assert_uint_eq(pump_source_count(b.source), 3);
    ck_assert_int_eq(write(in[1], "defgh", 5), 5);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.source_code, -E_LIMIT);
    ck_assert_int_eq(read(out[0], got, sizeof(got)), 5);
    close(in[1]);
    close(out[0]);
    bench_free(&b);
}
END_TEST

START_TEST(backpressure_and_no_spinning)
{
    int in[2], out[2];
    struct bench b;
    struct feeder writer, reader;
    make_pipe(in);
    make_pipe(out);
    start(&writer, in[1], 2000000, feed);
    bench_init(&b, in[0], 0, out[1], 0);
    /* Nobody reads: it fills up to the window and then the loop sleeps. */
    while (stream_credit(b.out) > 0) {
        turn(&b);
    }
    settle(&b);
    uint64_t count = pump_source_count(b.source);
    ck_assert_uint_le(count, LINK_WINDOW_FIRST + 2 * 65536 + LINK_CREDIT_INITIAL);
    ck_assert_uint_le(pump_sink_queued(b.sink), stream_window(b.in));
    int fills = b.fills, fired = 0;
    unsigned before = ev_iteration(b.loop);
    struct ev_timer timer;
    ev_timer_init(&timer, on_timer, 0.05, 0.);
    timer.data = &fired;
    ev_timer_start(b.loop, &timer);
    run_until(&b, &fired);
    ck_assert_uint_le(ev_iteration(b.loop) - before, 5);
    ck_assert_int_eq(b.fills, fills);
    ck_assert_uint_eq(pump_source_count(b.source), count);
    start(&reader, out[0], 0, drain);
    run_until(&b, &b.sink_ends);
    pthread_join(writer.thread, NULL);
    pthread_join(reader.thread, NULL);
    ck_assert_uint_eq(reader.n, 2000000);
    ck_assert(reader.right);
    bench_free(&b);
}
END_TEST

START_TEST(one_short_read_is_one_fill)
{
    int in[2], out[2];
    struct bench b;
    char got[10];
    make_pipe(in);
    make_pipe(out);
    bench_init(&b, in[0], 0, out[1], 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(write(in[1], "x", 1), 1);
        int before = b.fills;
        while (b.fills == before) {
            turn(&b);
        }
        settle(&b);
        ck_assert_int_eq(b.fills, before + 1);
        ck_assert_int_eq(read(out[0], got, 1), 1);
    }
    close(in[1]);
    run_until(&b, &b.sink_ends);
    close(out[0]);
    bench_free(&b);
}
END_TEST

START_TEST(the_stream_goes_first)
{
    int in[2], out[2];
    struct bench b;
    struct feeder writer, reader;
    make_pipe(in);
    make_pipe(out);
    start(&writer, in[1], 200000, feed);
    bench_init(&b, in[0], 0, out[1], 0);
    b.source_eof = false;
    while (b.source_ends == 0 && pump_sink_queued(b.sink) < 10000) {
        turn(&b);
    }
    stream_close(b.out, -E_CANCELLED, NULL, NULL);
    stream_close(b.in, -E_CANCELLED, NULL, NULL);
    pair_run(b.pair);
    ck_assert_int_eq(b.closes, 2);
    /* What was queued is still written. */
    size_t queued = pump_sink_queued(b.sink);
    ck_assert_uint_ge(queued, 1);
    pump_sink_eof(b.sink);
    ck_assert_int_eq(b.sink_ends, 0);
    start(&reader, out[0], 0, drain);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(b.sink_code, 0);
    pthread_join(reader.thread, NULL);
    ck_assert_uint_gt(reader.n, queued);
    ck_assert(reader.right);
    bench_free(&b);
    pthread_join(writer.thread, NULL);
}
END_TEST

START_TEST(a_socket_ends_in_one_direction)
{
    int pair[2], in[2];
    struct bench b;
    char got[10];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    make_pipe(in);
    int other = dup(pair[0]); /* as if a source had it too */
    ck_assert_int_eq(write(in[1], "x", 1), 1);
    close(in[1]);
    bench_init(&b, in[0], 0, pair[0], 0);
    run_until(&b, &b.sink_ends);
    ck_assert_int_eq(read(pair[1], got, 10), 1);
    ck_assert_int_eq(read(pair[1], got, 10), 0);
    ck_assert_int_eq(write(pair[1], "y", 1), 1);
    ck_assert_int_eq(read(other, got, 10), 1);
    close(other);
    close(pair[1]);
    bench_free(&b);
}
END_TEST

START_TEST(descriptors_are_not_leaked)
{
    int in[2], out[2];
    struct bench b;
    int before = dup(0);
    close(before);
    for (int i = 0; i < 4; i++) {
        make_pipe(in);
        make_pipe(out);
        unsigned flags = i & 1 ? PUMP_SHARED : 0;
        bench_init(&b, in[0], flags, out[1], flags);
        ck_assert_int_eq(write(in[1], "x", 1), 1);
        if (i < 2) {
            settle(&b);
        }
        close(in[1]);
        close(out[0]);
        bench_free(&b);
    }
    pump_source_free(NULL);
    pump_sink_free(NULL);
    int after = dup(0);
    ck_assert_int_eq(after, before);
    close(after);
}
END_TEST

static Suite *pump_suite(void)
{
    Suite *s = suite_create("pump");
    TCase *t = tcase_create("pump");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, through_and_through, 0, 4);
    tcase_add_loop_test(t, files, 0, 8);
    tcase_add_test(t, an_offset_that_others_share);
    tcase_add_test(t, null_and_zero);
    tcase_add_test(t, a_terminal);
    tcase_add_loop_test(t, a_closed_reader, 0, 3);
    tcase_add_test(t, after_an_error_all_is_consumed);
    tcase_add_test(t, a_full_disk);
    tcase_add_test(t, a_source_that_cannot_be_read);
    tcase_add_test(t, limit);
    tcase_add_test(t, backpressure_and_no_spinning);
    tcase_add_test(t, one_short_read_is_one_fill);
    tcase_add_test(t, the_stream_goes_first);
    tcase_add_test(t, a_socket_ends_in_one_direction);
    tcase_add_test(t, descriptors_are_not_leaked);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(pump_suite)
