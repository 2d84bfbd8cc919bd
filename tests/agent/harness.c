#include "tests/agent/harness.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/frames.h"

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n;
}

/* ---- start ---- */

static void on_hello(void *arg, struct link *l, const struct value *facts)
{
    struct harness *h = arg;
    struct wire_buf copy = {0};

    (void)l;
    ck_assert_int_eq(values_encode(facts, &copy), 0);
    ck_assert_int_eq(values_decode(wire_data(&copy), wire_length(&copy), &h->facts), 0);
    wire_free(&copy);
}

static void on_goodbye(void *arg, struct link *l, int code, const char *text)
{
    struct harness *h = arg;

    (void)l;
    (void)text;
    h->said_goodbye = 1;
    h->goodbye_code = code;
}

static void become_agent(const struct harness_options *o, const char *program, int line, int errors)
{
    char *argv[8] = {"agent", "stdio"};

    for (size_t i = 0; o != NULL && o->argv != NULL && i < 6; i++) {
        argv[i + 1] = (char *)(uintptr_t)o->argv[i];
        if (o->argv[i] == NULL) {
            break;
        }
    }
    for (size_t i = 0; o != NULL && o->env != NULL && o->env[i] != NULL; i++) {
        putenv((char *)(uintptr_t)o->env[i]);
    }
    dup2(line, 0);
    dup2(line, 1);
    if (o != NULL && o->closed_errors) {
        close(2);
    } else {
        dup2(errors, 2);
    }
    execv(program, argv);
    _exit(99);
}

const char *harness_agent(void)
{
    const char *program = getenv("GRAPNEL_AGENT");

#ifdef AGENT_PATH
    if (program == NULL) {
        program = AGENT_PATH;
    }
#endif
    ck_assert_msg(program != NULL, "GRAPNEL_AGENT is not set");
    return program;
}

static void start_process(struct harness *h, const struct harness_options *o)
{
    const char *program = o != NULL && o->program != NULL ? o->program : harness_agent();
    int ends[2];
    int errors[2];

    /* Whatever the agent leaves behind becomes a child of the test, and is found at the end. */
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(pipe2(errors, O_CLOEXEC), 0);
    h->guardian = fork();
    ck_assert_int_ge(h->guardian, 0);
    if (h->guardian == 0) {
        become_agent(o, program, ends[1], errors[1]);
    }
    close(ends[1]);
    close(errors[1]);
    h->fd = ends[0];
    h->errors = errors[0];
    (void)fcntl(h->fd, F_SETFL, O_NONBLOCK);
}

void harness_begin(struct harness *h, uint32_t lease_ms)
{
    const struct link_handler handler = {.hello = on_hello, .goodbye = on_goodbye};
    struct link_options link = {.opener = 1, .lease_ms = lease_ms, .features = h->features};

    h->link = link_new(&link, &handler, h, now_us());
    ck_assert_ptr_nonnull(h->link);
}

struct harness *harness_start(const struct harness_options *o)
{
    struct harness *h = calloc(1, sizeof *h);

    ck_assert_ptr_nonnull(h);
    h->descriptors = count_descriptors();
    h->features = o != NULL ? o->features : 0;
    start_process(h, o);
    if (o == NULL || !o->bare) {
        harness_begin(h, o != NULL ? o->lease_ms : 0);
    }
    return h;
}

/* ---- without a link ---- */

void harness_send(struct harness *h, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    while (n > 0) {
        struct pollfd p = {.fd = h->fd, .events = POLLOUT};
        ssize_t k = write(h->fd, at, n);
        if (k < 0 && errno == EAGAIN) {
            ck_assert_int_eq(poll(&p, 1, HARNESS_PATIENCE_MS), 1);
            continue;
        }
        if (k < 0) {
            return; /* the agent has had enough */
        }
        at += k;
        n -= (size_t)k;
    }
}

void harness_read_line(struct harness *h, char *text, size_t size)
{
    size_t n = 0;

    do {
        struct pollfd p = {.fd = h->fd, .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, HARNESS_PATIENCE_MS), 1);
        ck_assert_uint_lt(n, size - 1);
        ck_assert_int_eq(read(h->fd, text + n, 1), 1);
    } while (text[n++] != '\n');
    text[n] = '\0';
}

int harness_last_code(struct harness *h)
{
    struct wire_buf in = {0};
    uint8_t *at;
    int code = 0;
    ssize_t k;

    for (;;) {
        struct pollfd p = {.fd = h->fd, .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, HARNESS_PATIENCE_MS), 1);
        ck_assert_int_eq(wire_reserve(&in, 65536, &at), 0);
        k = read(h->fd, at, 65536);
        if (k <= 0) {
            break;
        }
        wire_commit(&in, (size_t)k);
    }
    ck_assert_uint_ge(wire_length(&in), LINK_PREFACE_SIZE);
    ck_assert_int_eq(memcmp(wire_data(&in), LINK_PREFACE, LINK_PREFACE_SIZE), 0);
    wire_take(&in, LINK_PREFACE_SIZE);
    while (wire_length(&in) > 0) {
        struct frames_header header;
        struct frame f;
        ck_assert_int_eq(frames_get_header(wire_data(&in), &header, NULL), 0);
        ck_assert_int_eq(frames_decode(&header, wire_data(&in) + FRAMES_HEADER, 0, &f, NULL), 0);
        if (f.type == FRAME_GOODBYE) {
            code = -(int)f.goodbye.code;
        }
        wire_take(&in, FRAMES_HEADER + header.length);
    }
    wire_free(&in);
    return code;
}

/* ---- driving ---- */

static void send_some(struct harness *h)
{
    const uint8_t *bytes;
    size_t n;

    while (h->fd >= 0 && link_output(h->link, &bytes, &n, now_us()) == 0 && n > 0) {
        ssize_t k = write(h->fd, bytes, n);
        if (k <= 0) {
            return; /* if the line is gone reading will tell */
        }
        link_sent(h->link, (size_t)k, now_us());
    }
}

static void receive_some(struct harness *h)
{
    static uint8_t bytes[65536];
    ssize_t n = read(h->fd, bytes, sizeof bytes);

    if (n > 0) {
        (void)link_input(h->link, bytes, (size_t)n, now_us());
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        link_input_end(h->link, now_us());
        h->line_ended = 1;
        close(h->fd);
        h->fd = -1;
    }
}

static uint64_t tick_all(struct harness *h)
{
    uint64_t now = now_us();
    uint64_t next = link_tick(h->link, now);

    for (struct harness *n = h->nested; n != NULL; n = n->beside) {
        uint64_t its = n->tick(n, now);
        next = its < next ? its : next;
    }
    return next;
}

void harness_until(struct harness *h, int (*done)(void *arg), void *arg)
{
    uint64_t deadline = now_us() + HARNESS_PATIENCE_MS * UINT64_C(1000);

    h = h->outer != NULL ? h->outer : h;
    while (!done(arg)) {
        uint64_t next = tick_all(h);
        uint64_t now = now_us();
        struct pollfd p = {.fd = h->fd, .events = POLLIN};
        ck_assert_msg(now < deadline, "waited in vain");
        if (h->fd >= 0 && !h->mute) {
            send_some(h);
            if (done(arg)) {
                break;
            }
            p.events = (short)(POLLIN | (link_has_output(h->link) ? POLLOUT : 0));
        } else {
            ck_assert_msg(h->fd >= 0 || !h->line_ended, "waited for something on an ended line");
        }
        next = next < deadline ? next : deadline;
        (void)poll(&p, 1, next > now ? (int)((next - now) / 1000) + 1 : 0);
        if (h->fd >= 0 && !h->mute && (p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            receive_some(h);
        }
    }
}

static int is_greeted(void *arg)
{
    const struct harness *h = arg;

    return h->facts != NULL;
}

void harness_until_greeted(struct harness *h)
{
    harness_until(h, is_greeted, h);
}

void harness_close(struct harness *h)
{
    if (h->fd >= 0) {
        close(h->fd);
        h->fd = -1;
    }
}

/* ---- end ---- */

int harness_valgrind(void)
{
    return getenv("GRAPNEL_VALGRIND") != NULL;
}

int harness_sanitized(void)
{
#if defined __SANITIZE_ADDRESS__
    return 1;
#elif defined __has_feature
    return __has_feature(address_sanitizer);
#else
    return 0;
#endif
}

/* A descriptor that becomes readable when the process ends; -1 with errno ESRCH when it has. */
static int watch_process(pid_t pid)
{
    return harness_valgrind() ? (errno = ENOSYS, -1) : (int)syscall(SYS_pidfd_open, pid, 0);
}

/* The same question without such a descriptor, which valgrind does not know. */
static int table_says_it_runs(pid_t pid)
{
    char path[64];
    char text[512] = "";
    FILE *f;
    const char *at;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    f = fopen(path, "r");
    if (f == NULL) {
        return 0;
    }
    at = fgets(text, sizeof text, f) != NULL ? strrchr(text, ')') : NULL;
    fclose(f);
    return at != NULL && at[2] != 'Z' && at[2] != 'X';
}

int harness_process_runs(pid_t pid)
{
    struct pollfd p = {.fd = watch_process(pid), .events = POLLIN};
    int runs;

    if (p.fd < 0) {
        return errno == ENOSYS && table_says_it_runs(pid);
    }
    runs = poll(&p, 1, 0) == 0;
    close(p.fd);
    return runs;
}

void harness_wait_process(pid_t pid)
{
    struct pollfd p = {.fd = watch_process(pid), .events = POLLIN};
    uint64_t deadline = now_us() + HARNESS_PATIENCE_MS * UINT64_C(1000);
    int over = p.fd < 0 && errno == ESRCH;

    if (p.fd >= 0) {
        over = poll(&p, 1, HARNESS_PATIENCE_MS) == 1;
        close(p.fd);
    }
    while (!over && now_us() < deadline && p.fd < 0) {
        over = !table_says_it_runs(pid) || poll(NULL, 0, 10) != 0;
    }
    ck_assert_msg(over, "process %ld does not end", (long)pid);
}

int harness_wait(struct harness *h)
{
    if (h->guardian != 0) {
        harness_wait_process(h->guardian);
        ck_assert_int_eq(waitpid(h->guardian, &h->status, 0), h->guardian);
        h->guardian = 0;
    }
    return WIFEXITED(h->status) ? WEXITSTATUS(h->status) : 128 + WTERMSIG(h->status);
}

void harness_errors(struct harness *h, char *text, size_t size)
{
    size_t n = 0;
    ssize_t k;

    do {
        k = read(h->errors, text + n, size - 1 - n);
        n += k > 0 ? (size_t)k : 0;
    } while (k > 0 && n < size - 1);
    text[n] = '\0';
}

static int has_left(void *arg)
{
    const struct harness *h = arg;

    return h->line_ended;
}

void harness_end(struct harness *h)
{
    if (h->link != NULL && h->fd >= 0 && link_error(h->link)->code == 0) {
        ck_assert_int_eq(link_goodbye(h->link, 0, "done"), 0);
        harness_until(h, has_left, h);
        ck_assert_int_eq(h->said_goodbye, 1);
        ck_assert_int_eq(h->goodbye_code, 0);
        ck_assert_int_eq(harness_wait(h), 0);
    }
    harness_gone(h);
}

void harness_gone(struct harness *h)
{
    char errors[1024];

    harness_close(h);
    (void)harness_wait(h);
    harness_errors(h, errors, sizeof errors);
    /* Sanitizers report there, and nothing else may. */
    ck_assert_msg(strstr(errors, "Sanitizer") == NULL && strstr(errors, "runtime error") == NULL,
                  "%s", errors);
    close(h->errors);
    link_free(h->link);
    values_free(h->facts);
    ck_assert_msg(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD,
                  "the agent left a process behind");
    ck_assert_int_eq(count_descriptors(), h->descriptors);
    free(h);
}

/* ---- commands ---- */

struct value *harness_argv(const char *word, ...)
{
    struct value *argv = values_array();
    struct value *args = values_map();
    va_list words;

    va_start(words, word);
    for (; word != NULL; word = va_arg(words, const char *)) {
        ck_assert_int_eq(values_append(argv, values_bytes(word, strlen(word))), 0);
    }
    va_end(words);
    ck_assert_int_eq(values_set(args, "argv", argv), 0);
    return args;
}

struct value *harness_line(const char *line)
{
    struct value *args = values_map();

    values_set(args, "line", values_text(line));
    values_set(args, "shell", values_text("/bin/sh"));
    return args;
}

static size_t take(struct run *r, struct wire_buf *to, const uint8_t *bytes, size_t n)
{
    r->received += n;
    if (!r->count_only) {
        ck_assert_int_eq(wire_put(to, bytes, n), 0);
    }
    return r->hold ? 0 : n;
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct run *r = arg;

    (void)s;
    ck_assert_int_eq(r->out_eof, 0);
    return take(r, &r->out, bytes, n);
}

static void on_eof(void *arg, struct stream *s)
{
    struct run *r = arg;

    (void)s;
    r->out_eof = 1;
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct run *r = arg;
    struct wire_buf copy = {0};

    (void)s;
    r->s = NULL;
    r->closed = 1;
    r->code = code;
    r->err_closed_first = r->err_closed;
    snprintf(r->text, sizeof r->text, "%s", text);
    ck_assert_int_eq(values_encode(result, &copy), 0);
    ck_assert_int_eq(values_decode(wire_data(&copy), wire_length(&copy), &r->result), 0);
    wire_free(&copy);
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct run *r = arg;
    size_t n = r->input != NULL ? r->input_left : 0;

    if (r->endless > 0) {
        n = r->endless < room ? (size_t)r->endless : room;
        memset(at, 'x', n);
        r->endless -= n;
    } else {
        n = n < room ? n : room;
        memcpy(at, r->input != NULL ? r->input : (const uint8_t *)"", n);
        r->input += n;
        r->input_left -= n;
    }
    r->sent += n;
    if (r->endless == 0 && r->input_left == 0) {
        stream_eof(s);
    }
    return n;
}

static size_t on_err_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct run *r = arg;

    (void)s;
    ck_assert_int_eq(r->err_eof, 0);
    return take(r, &r->err, bytes, n);
}

static void on_err_eof(void *arg, struct stream *s)
{
    struct run *r = arg;

    (void)s;
    r->err_eof = 1;
}

static void on_err_closed(void *arg, struct stream *s, int code, const struct value *result,
                          const char *text)
{
    struct run *r = arg;

    (void)s;
    (void)code;
    (void)result;
    (void)text;
    r->err_s = NULL;
    r->err_closed = 1;
}

void harness_run(struct harness *h, struct run *r, struct value *args, int flags)
{
    static const struct stream_handler out = {
        .data = on_data, .eof = on_eof, .closed = on_closed, .fill = on_fill};
    static const struct stream_handler err = {
        .data = on_err_data, .eof = on_err_eof, .closed = on_err_closed};
    struct error e = {0};

    r->h = h;
    if ((flags & HARNESS_STDERR) != 0) {
        r->err_s = stream_open(h->link, "pipe", NULL, &err, r, &e);
        ck_assert_msg(r->err_s != NULL, "%s", e.detail);
        values_set(args, "stderr", values_int(stream_id(r->err_s)));
    }
    if (r->input != NULL || r->endless > 0) {
        values_set(args, "stdin", values_bool(1));
    }
    r->s = stream_open(h->link, "exec", args, &out, r, &e);
    ck_assert_msg(r->s != NULL, "%s", e.detail);
    if ((r->input != NULL || r->endless > 0) && (flags & HARNESS_NO_INPUT) == 0) {
        stream_ready(r->s);
    }
}

static int is_closed(void *arg)
{
    const struct run *r = arg;

    return r->closed && r->err_s == NULL;
}

void harness_finish(struct run *r)
{
    harness_until(r->h, is_closed, r);
}

void harness_do(struct harness *h, struct run *r, struct value *args, int flags)
{
    harness_run(h, r, args, flags);
    harness_finish(r);
}

struct want {
    struct run *r;
    size_t n;
};

static int has_output(void *arg)
{
    const struct want *w = arg;

    return wire_length(&w->r->out) >= w->n || w->r->closed;
}

void harness_output(struct run *r, size_t n)
{
    struct want w = {r, n};

    harness_until(r->h, has_output, &w);
    ck_assert_msg(wire_length(&r->out) >= n, "the command ended early: %s", r->text);
}

long harness_number(struct run *r, size_t *from)
{
    const char *text;
    char *end;
    long number;

    do {
        harness_output(r, *from + 1);
        text = harness_text(r) + *from;
        if (strchr(text, '\n') == NULL) {
            harness_output(r, wire_length(&r->out) + 1);
        }
        text = harness_text(r) + *from;
    } while (strchr(text, '\n') == NULL);
    number = strtol(text, &end, 10);
    ck_assert_msg(end != text, "not a number: %s", text);
    *from += (size_t)(strchr(text, '\n') - text) + 1;
    return number;
}

void harness_stubborn(struct run *r, pid_t *pids)
{
    size_t from = 0;

    for (int i = 0; i < HARNESS_STUBBORN_COUNT; i++) {
        pids[i] = (pid_t)harness_number(r, &from);
    }
}

static const char *text_of(struct wire_buf *b)
{
    uint8_t *at;

    ck_assert_int_eq(wire_reserve(b, 1, &at), 0);
    *at = '\0'; /* behind the bytes, not one of them */
    return (const char *)wire_data(b);
}

const char *harness_text(struct run *r)
{
    return text_of(&r->out);
}

const char *harness_err_text(struct run *r)
{
    return text_of(&r->err);
}

int64_t harness_int(const struct run *r, const char *name, int64_t fallback)
{
    return values_as_int(values_get(r->result, name), fallback);
}

const char *harness_string(const struct run *r, const char *name)
{
    const char *text = values_as_string(values_get(r->result, name), NULL);

    return text != NULL ? text : "";
}

void harness_free(struct run *r)
{
    ck_assert_ptr_null(r->s);
    wire_free(&r->out);
    wire_free(&r->err);
    values_free(r->result);
    memset(r, 0, sizeof *r);
}

/* ---- calls ---- */

struct answer {
    int done, code;
    struct value *result;
};

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct answer *answer = arg;
    struct wire_buf copy = {0};

    (void)text;
    answer->done = 1;
    answer->code = code;
    ck_assert_int_eq(values_encode(result, &copy), 0);
    ck_assert_int_eq(values_decode_refs(wire_data(&copy), wire_length(&copy), &answer->result), 0);
    wire_free(&copy);
}

static int is_answered(void *arg)
{
    const struct answer *answer = arg;

    return answer->done;
}

int harness_call(struct harness *h, const char *name, struct value *args, struct value **result)
{
    struct answer answer = {0};
    uint32_t id;

    ck_assert_int_eq(link_call(h->link, name, args, on_answer, &answer, &id), 0);
    harness_until(h, is_answered, &answer);
    if (result != NULL) {
        *result = answer.result;
    } else {
        values_free(answer.result);
    }
    return answer.code;
}

int64_t harness_usage(struct harness *h, const char *name)
{
    struct value *map;
    int64_t number;

    ck_assert_int_eq(harness_call(h, "usage", NULL, &map), 0);
    number = values_as_int(values_get(map, name), -1);
    values_free(map);
    return number;
}
