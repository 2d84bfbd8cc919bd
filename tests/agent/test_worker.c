/* A real worker over a socket pair: what runs in it, its limits, and how it ends. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/frames.h"
#include "proto/worker.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static struct harness *worker(const char *a, const char *b)
{
    const char *const argv[] = {"instance", a, b, NULL};
    const char *path = getenv("GRAPNEL_WORKER");
    struct harness_options o = {
        .argv = argv, .program = path != NULL ? path : WORKER_PATH, .features = LINK_FEATURE_REFS};

    return harness_start(&o);
}

struct answer {
    int came, code;
    uint32_t id;
    struct value *result;
    char text[300];
};

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct answer *a = arg;
    struct wire_buf copy = {0};

    a->came = 1;
    a->code = code;
    snprintf(a->text, sizeof a->text, "%s", text != NULL ? text : "");
    if (result != NULL) {
        ck_assert_int_eq(values_encode(result, &copy), 0);
        ck_assert_int_eq(values_decode_refs(copy.data, copy.end, &a->result), 0);
        wire_free(&copy);
    }
}

static int has_come(void *arg)
{
    const struct answer *a = arg;

    return a->came;
}

static void ask(struct harness *h, struct answer *a, const char *source)
{
    struct value *args = values_array();

    memset(a, 0, sizeof *a);
    ck_assert_int_eq(values_append(args, values_int(1)), 0);
    ck_assert_int_eq(values_append(args, values_text("execute")), 0);
    ck_assert_int_eq(values_append(args, values_text(source)), 0);
    ck_assert_int_eq(link_call(h->link, "call", args, on_answer, a, &a->id), 0);
}

static void wait_for(struct harness *h, struct answer *a)
{
    harness_until(h, has_come, a);
}

static void drop(struct answer *a)
{
    values_free(a->result);
    a->result = NULL;
}

/* The first result as a text. */
static const char *execute(struct harness *h, const char *source)
{
    static char text[1000];
    struct answer a;

    ask(h, &a, source);
    wait_for(h, &a);
    ck_assert_msg(a.code == 0, "%d %s", a.code, a.text);
    ck_assert_msg(values_type(a.result) == VALUE_ARRAY, "%s", values_json(a.result));
    const char *first = values_as_string(values_at(a.result, 0), NULL);
    snprintf(text, sizeof text, "%s", first != NULL ? first : "(none)");
    drop(&a);
    return text;
}

/* The error that it raises, as a text. */
static const char *fails(struct harness *h, const char *source)
{
    static char text[1000];
    struct answer a;

    ask(h, &a, source);
    wait_for(h, &a);
    const char *error = a.code != 0 ? errors_text(a.code) : NULL;
    if (a.code == 0) {
        ck_assert_int_eq(values_type(a.result), VALUE_MAP);
        error = values_as_string(values_get(a.result, "error"), NULL);
    }
    snprintf(text, sizeof text, "%s", error != NULL ? error : "(none)");
    drop(&a);
    return text;
}

static int line_over(void *arg)
{
    const struct harness *h = arg;

    return h->line_ended;
}

/* The launcher lets go of it. */
static void let_go(struct harness *h)
{
    harness_close(h);
    ck_assert_int_eq(harness_wait(h), 0);
    link_end(h->link, -E_CLOSED, "");
    harness_gone(h);
}

/* ---- what it is ---- */

START_TEST(it_answers)
{
    struct harness *h = worker(NULL, NULL);

    ck_assert_str_eq(execute(h, "return tostring(6 * 7)"), "42");
    ck_assert_str_eq(execute(h, "x = 1 return require('sys') and 'modules'"), "modules");
    ck_assert_str_eq(execute(h, "return type(require('grapnel').sleep)"), "function");
    ck_assert_str_eq(fails(h, "error('boom', 0)"), "boom");
    let_go(h);
}
END_TEST

START_TEST(the_protocol_is_out_of_reach)
{
    char text[500];
    struct harness *h = worker(NULL, NULL);

    ck_assert_str_eq(execute(h, "print('to stderr') io.write('and', ' this\\n') "
                                "os.execute('echo a child') return tostring(io.read())"),
                     "nil");
    harness_close(h);
    ck_assert_int_eq(harness_wait(h), 0);
    harness_errors(h, text, sizeof text);
    ck_assert_str_eq(text, "to stderr\nand this\na child\n");
    link_end(h->link, -E_CLOSED, "");
    harness_gone(h);
}
END_TEST

START_TEST(no_descriptor_is_left_to_children)
{
    struct harness *h = worker(NULL, NULL);

    /* The line is the one socket of this process. */
    execute(h, "function said(line) local p <close> = io.popen(line) return p:read() end");
    ck_assert_str_eq(execute(h, "return said('readlink /proc/$PPID/fd/* /proc/self/fd/* | "
                                "sort | uniq -c | grep -c socket')"),
                     "1");
    ck_assert_str_eq(execute(h, "return said('readlink /proc/self/fd/* | grep -c socket')"), "0");
    let_go(h);
}
END_TEST

START_TEST(a_large_value_passes_both_ways)
{
    static char source[600000];
    struct harness *h = worker(NULL, NULL);

    memset(source, ' ', sizeof source);
    strcpy(source + sizeof source - 100, "return ('x'):rep(700000)");
    struct answer a;
    ask(h, &a, source);
    wait_for(h, &a);
    size_t n = 0;
    ck_assert_ptr_nonnull(values_as_string(values_at(a.result, 0), &n));
    ck_assert_uint_eq(n, 700000);
    drop(&a);
    let_go(h);
}
END_TEST

/* ---- side by side ---- */

START_TEST(calls_run_side_by_side)
{
    struct harness *h = worker(NULL, NULL);
    struct answer slow, endless;

    ask(h, &slow, "require('grapnel').sleep(0.2) return 'slow'");
    ask(h, &endless, "while true do end");
    ck_assert_str_eq(execute(h, "return 'quick'"), "quick");
    ck_assert_int_eq(slow.came, 0);
    wait_for(h, &slow);
    ck_assert_str_eq(values_as_string(values_at(slow.result, 0), NULL), "slow");
    ck_assert_int_eq(endless.came, 0);
    link_cancel(h->link, endless.id);
    wait_for(h, &endless);
    ck_assert_str_eq(execute(h, "return 'alive'"), "alive");
    drop(&slow);
    drop(&endless);
    let_go(h);
}
END_TEST

START_TEST(an_endless_comparator_is_cancelled)
{
    struct harness *h = worker(NULL, NULL);
    struct answer a;

    ask(h, &a, "table.sort({1, 2, 3}, function() while true do end end)");
    ck_assert_str_eq(execute(h, "return 'quick'"), "quick");
    link_cancel(h->link, a.id);
    wait_for(h, &a);
    drop(&a);
    let_go(h);
}
END_TEST

/* Nothing else happens meanwhile that would have it look. */
START_TEST(a_close_ends_what_waits)
{
    struct harness *h = worker(NULL, NULL);
    struct answer a;

    ask(h, &a, "p = require('proc').popen('exec sleep 100') return p.stdout:read()");
    ck_assert_str_eq(execute(h, "p.stdout:close() return 'done'"), "done");
    wait_for(h, &a);
    ck_assert_str_eq(values_as_string(values_at(a.result, 1), NULL), "closed");
    drop(&a);
    ck_assert_str_eq(execute(h, "p:close() return 'ended'"), "ended");
    let_go(h);
}
END_TEST

static long switches(pid_t pid)
{
    static const char name[] = "voluntary_ctxt_switches:";
    char path[64], line[200];
    long n = -1;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (n < 0 && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, name, sizeof name - 1) == 0) {
            n = strtol(line + sizeof name - 1, NULL, 10);
        }
    }
    fclose(f);
    ck_assert_int_ge(n, 0);
    return n;
}

START_TEST(an_idle_one_never_wakes)
{
    struct harness *h = worker(NULL, NULL);
    long before, after;

    /* It has had its slices. */
    ck_assert_str_eq(execute(h, "for i = 1, 5e7 do end return 'done'"), "done");
    ck_assert_str_eq(execute(h, "return 'done'"), "done");
    do {
        before = switches(h->guardian);
        (void)poll(NULL, 0, 5);
        after = switches(h->guardian);
    } while (before != after); /* until it waits */
    (void)poll(NULL, 0, 300);
    ck_assert_int_eq(switches(h->guardian), after);
    let_go(h);
}
END_TEST

/* ---- limits ---- */

START_TEST(out_of_memory_is_survived)
{
    struct harness *h = worker("memory=8000000", NULL);

    ck_assert_ptr_nonnull(strstr(fails(h, "return #('x'):rep(10000000)"), "memory"));
    ck_assert_ptr_nonnull(
        strstr(fails(h, "local t = {} for i = 1, 1e9 do t[i] = {i} end"), "memory"));
    ck_assert_ptr_nonnull(strstr(fails(h, "local s = 'x' while true do s = s .. s end"), "memory"));
    ck_assert_str_eq(execute(h, "return 'alive'"), "alive");
    ck_assert_str_eq(execute(h, "collectgarbage() return tostring(collectgarbage('count') < 2000)"),
                     "true");
    let_go(h);
}
END_TEST

START_TEST(too_little_memory_to_begin)
{
    struct harness *h = worker("memory=1000", NULL);

    /* What the worker does itself has a little more: so this is about all that can be refused. */
    ck_assert_ptr_nonnull(
        strstr(fails(h, "keep = {} for i = 1, 1e9 do keep[i] = {i} end"), "memory"));
    let_go(h);
}
END_TEST

START_TEST(the_cpu_limit_kills)
{
    if (harness_valgrind()) {
        return; /* which reports every deadly signal */
    }
    struct harness *h = worker("cpu=1", NULL);
    struct answer a;

    ask(h, &a, "while true do pcall(function() while true do end end) end");
    harness_until(h, line_over, h);
    ck_assert_int_eq(harness_wait(h), 128 + SIGXCPU);
    ck_assert_int_ne(a.code, 0);
    drop(&a);
    harness_gone(h);
}
END_TEST

/* ---- ends ---- */

static void ends(const char *source, int status)
{
    struct harness *h = worker(NULL, NULL);
    struct answer a, b;
    char text[300];

    /* What was answered before is not lost. */
    ask(h, &a, "first = true return 'first'");
    snprintf(text, sizeof text, "repeat require('grapnel').sleep(0) until first %s", source);
    ask(h, &b, text);
    harness_until(h, line_over, h);
    ck_assert_int_eq(harness_wait(h), status);
    ck_assert_msg(a.code == 0, "%d %s", a.code, a.text);
    ck_assert_str_eq(values_as_string(values_at(a.result, 0), NULL), "first");
    ck_assert_int_ne(b.code, 0);
    drop(&a);
    drop(&b);
    harness_gone(h);
}

START_TEST(os_exit_is_its_status)
{
    ends("os.exit(7)", 7);
    ends("os.exit(true, true)", 0);
    ends("coroutine.wrap(function() table.sort({1, 2}, function() os.exit(9) end) end)()", 9);
}
END_TEST

START_TEST(a_crash_is_its_signal)
{
    if (harness_valgrind()) {
        return;
    }
    struct harness *h = worker(NULL, NULL);
    struct answer a;

    ask(h, &a, "while true do end");
    ck_assert_str_eq(execute(h, "return 'up'"), "up");
    ck_assert_int_eq(kill(h->guardian, SIGABRT), 0);
    harness_until(h, line_over, h);
    ck_assert_int_eq(harness_wait(h), 128 + SIGABRT);
    ck_assert_int_ne(a.code, 0);
    drop(&a);
    harness_gone(h);
}
END_TEST

static void close_and_say(const char *source, const char *said)
{
    struct harness *h = worker(NULL, NULL);
    struct answer a;
    char text[300];

    ask(h, &a, source);
    ck_assert_str_eq(execute(h, "return 'up'"), "up");
    harness_close(h);
    ck_assert_int_eq(harness_wait(h), 0);
    harness_errors(h, text, sizeof text);
    ck_assert_str_eq(text, said);
    link_end(h->link, -E_CLOSED, "");
    drop(&a);
    harness_gone(h);
}

static void close_and_wait(const char *source, int status)
{
    struct harness *h = worker(NULL, NULL);
    struct answer a;

    ask(h, &a, source);
    ck_assert_str_eq(execute(h, "return 'up'"), "up");
    harness_close(h);
    ck_assert_int_eq(harness_wait(h), status);
    link_end(h->link, -E_CLOSED, "");
    drop(&a);
    harness_gone(h);
}

START_TEST(it_ends_with_its_pipe)
{
    close_and_wait("return 1", 0);
    close_and_wait("require('grapnel').sleep(1000)", 0);
    close_and_wait("while true do end", 0);
    close_and_wait("while true do pcall(require('grapnel').sleep, 1000) end", 0);
    close_and_wait("table.sort({1, 2}, function() require('grapnel').sleep(1000) end)", 0);
    /* What nobody waits for is told, too. */
    close_and_say("local g = require('grapnel') g.async(function() "
                  "local t <close> = setmetatable({}, {__close = function() print('closed') end}) "
                  "g.sleep(1000) end)()",
                  "closed\n");
    /* A finalizer that does not end is ended. */
    close_and_wait("setmetatable({}, {__gc = function() while true do end end})", 128 + SIGALRM);
}
END_TEST

static const char *const wrong[][2] = {
    {"memory=", NULL},
    {"memory=0", NULL},
    {"memory=x", NULL},
    {"memory=-1", NULL},
    {"cpu=1x", NULL},
    {"depth=0", NULL},
    {"depth=1001", ""},
    {"what", NULL},
    {"service=", NULL},
    {"cpu=99999999999999999999", NULL},
    {"service=/nonexistent", NULL},
};

START_TEST(wrong_arguments)
{
    struct harness *h = worker(wrong[_i][0], wrong[_i][1]);
    char text[300];

    ck_assert_int_eq(harness_wait(h), WORKER_EXIT_USAGE);
    harness_errors(h, text, sizeof text);
    ck_assert_int_eq(strncmp(text, "grapnel: worker: ", 17), 0);
    link_end(h->link, -E_CLOSED, "");
    harness_gone(h);
}
END_TEST

/* ---- a service ---- */

START_TEST(a_service_is_all_that_is_served)
{
    static const char source[] = "require('grapnel').sleep(0.01)\n"
                                 "return {exposed_add = function(a, b) return a + b end}\n";
    char path[] = "/tmp/grapnel-test-XXXXXX", argument[64];
    int fd = mkostemp(path, O_CLOEXEC);
    struct answer a = {0};
    struct harness *h;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, source, sizeof source - 1), sizeof source - 1);
    close(fd);
    snprintf(argument, sizeof argument, "service=%s", path);
    h = worker(argument, NULL);
    ck_assert_int_eq(link_call(h->link, "root", values_array(), on_answer, &a, &a.id), 0);
    wait_for(h, &a);
    ck_assert_int_eq(a.code, 0);
    ck_assert_int_gt(values_ref_id(values_at(a.result, 0)), 0);
    drop(&a);
    ask(h, &a, "return 1");
    wait_for(h, &a);
    ck_assert_int_eq(a.code, -E_DENIED);
    drop(&a);
    let_go(h);
    unlink(path);
}
END_TEST

/* ---- a launcher that means harm ---- */

#define GREETING "GRAPNEL\n\0\0\0\0\1\0\0\15\0\1\0\0\0\0\0\2\0\0\0\0\240"

static void put_frame(struct wire_buf *to, uint8_t type, uint32_t id, const char *body, size_t n)
{
    struct frames_header header = {.id = id, .type = type, .length = (uint16_t)n};
    uint8_t *at;

    ck_assert_int_eq(wire_reserve(to, FRAMES_HEADER, &at), 0);
    frames_put_header(at, &header);
    wire_commit(to, FRAMES_HEADER);
    ck_assert_int_eq(wire_put(to, body, n), 0);
}

#define PUT(to, type, id, body) put_frame(to, type, id, body, sizeof(body) - 1)
#define EXECUTE(text, n)                                                                           \
    "\x82\x64"                                                                                     \
    "call\x83\x00\x67"                                                                             \
    "execute" n text

/* ["call", [0, "execute", "require'grapnel'.sleep(1000)"]] */
#define SLEEP EXECUTE("require'grapnel'.sleep(1000)", "\x78\x1c")

static const struct {
    uint8_t type;
    uint32_t id;
    const char *body;
    size_t n;
} breaches[] = {
#define BREACH(type, id, body)                                                                     \
    {                                                                                              \
        type, id, body, sizeof(body) - 1                                                           \
    }
    BREACH(FRAME_CALL, 3, EXECUTE("\xff\xfe", "\x62")), /* text that is not UTF-8 */
    BREACH(FRAME_CALL, 1, SLEEP),                       /* an id that is in use */
    BREACH(FRAME_CALL, 2, SLEEP),                       /* an id of the other end's */
    BREACH(FRAME_RETURN, 2, "\x80"),                    /* what was not asked for */
    BREACH(FRAME_RETURN, 1, "\x80"),                    /* … by the other end */
    BREACH(FRAME_RELEASE, 0, "\x82\x18\x63\x01"),       /* what was never given */
    BREACH(FRAME_RELEASE, 0, "\x82\x01\x00"),           /* … or not at all */
    BREACH(FRAME_CALL, 3,
           "\x82\x64"
           "call\x83\x00\x01"), /* half a value */
    BREACH(FRAME_CALL, 3,
           "\x82\x64"
           "call\x82\x00\xf7"), /* undefined */
    BREACH(FRAME_CALL, 3,
           "\x82\x64"
           "call\x82\x00\xc1\x01"), /* a tag */
#undef BREACH
};

START_TEST(breaches_end_it)
{
    struct harness_options o = {
        .argv = (const char *const[]){"instance", NULL}, .program = WORKER_PATH, .bare = 1};
    struct harness *h = harness_start(&o);
    struct wire_buf out = {0};
    char text[300];

    ck_assert_int_eq(wire_put(&out, GREETING, sizeof GREETING - 1), 0);
    PUT(&out, FRAME_CALL, 1, SLEEP);
    put_frame(&out, breaches[_i].type, breaches[_i].id, breaches[_i].body, breaches[_i].n);
    harness_send(h, wire_data(&out), wire_length(&out));
    ck_assert_int_eq(harness_wait(h), WORKER_EXIT_PROTOCOL);
    harness_errors(h, text, sizeof text);
    ck_assert_int_eq(strncmp(text, "grapnel: worker: ", 17), 0);
    harness_gone(h);
    wire_free(&out);
}
END_TEST

/* What has come on a bare line. */
struct heard {
    struct wire_buf in;
    int frames, answers, errors;
    uint32_t code; /* of the last ERROR */
};

static void hear(struct heard *x, int fd)
{
    uint8_t *at;
    ssize_t n;

    ck_assert_int_eq(wire_reserve(&x->in, 65536, &at), 0);
    n = recv(fd, at, 65536, MSG_DONTWAIT);
    ck_assert_int_ne(n, 0);
    wire_commit(&x->in, n > 0 ? (size_t)n : 0);
    if (x->frames == 0 && wire_length(&x->in) >= LINK_PREFACE_SIZE) {
        wire_take(&x->in, LINK_PREFACE_SIZE);
        x->frames = 1;
    }
    while (x->frames > 0 && wire_length(&x->in) >= FRAMES_HEADER) {
        struct frames_header header;
        struct frame f;
        ck_assert_int_eq(frames_get_header(wire_data(&x->in), &header, NULL), 0);
        if (wire_length(&x->in) < (size_t)(FRAMES_HEADER + header.length)) {
            break;
        }
        if (header.type == FRAME_ERROR) {
            ck_assert_int_eq(frames_decode(&header, wire_data(&x->in) + FRAMES_HEADER, 0, &f, NULL),
                             0);
            x->code = f.error.code;
            x->errors++;
        }
        x->answers += header.type == FRAME_RETURN;
        x->frames++;
        wire_take(&x->in, FRAMES_HEADER + header.length);
    }
}

/* Sends all there is, and hears meanwhile, until `until` frames of answers have come. */
static void talk(struct harness *h, struct wire_buf *out, struct heard *x, int until)
{
    while (wire_length(out) > 0 || x->answers + x->errors < until) {
        struct pollfd p = {.fd = h->fd, .events = POLLIN};
        if (wire_length(out) > 0) {
            ssize_t n = send(h->fd, wire_data(out), wire_length(out), MSG_DONTWAIT | MSG_NOSIGNAL);
            wire_take(out, n > 0 ? (size_t)n : 0);
            p.events |= POLLOUT;
        }
        ck_assert_int_eq(poll(&p, 1, HARNESS_PATIENCE_MS), 1);
        hear(x, h->fd);
    }
}

static long resident_kb(pid_t pid)
{
    char path[64], line[200];
    long kb = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (kb == 0 && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kb = strtol(line + 6, NULL, 10);
        }
    }
    fclose(f);
    return kb;
}

static char *service_file(const char *source)
{
    static char path[64];
    int fd;

    strcpy(path, "/tmp/grapnel-test-XXXXXX");
    fd = mkostemp(path, O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, source, strlen(source)), (ssize_t)strlen(source));
    close(fd);
    return path;
}

#define MILLION 1000000

START_TEST(a_million_calls_of_a_client)
{
    char *path = service_file("local g = require 'grapnel'\n"
                              "return {exposed_wait = function() g.sleep(1e6) end}\n");
    char argument[100];
    struct harness_options o = {.argv = (const char *const[]){"instance", argument, NULL},
                                .program = WORKER_PATH,
                                .bare = 1};
    struct wire_buf out = {0};
    struct heard x = {0};
    struct harness *h;
    int calls = harness_valgrind() ? MILLION / 10 : MILLION;
    int status;

    snprintf(argument, sizeof argument, "service=%s", path);
    h = harness_start(&o);
    ck_assert_int_eq(wire_put(&out, GREETING, sizeof GREETING - 1), 0);
    PUT(&out, FRAME_CALL, 1, "\x82\x64root\x80");
    talk(h, &out, &x, 1);
    PUT(&out, FRAME_CALL, 3, "\x82\x65index\x82\xd8\x27\x01\x64wait");
    talk(h, &out, &x, 2);
    ck_assert_int_eq(x.errors, 0);
    for (int i = 0; i < calls; i++) {
        PUT(&out, FRAME_CALL, (uint32_t)(5 + 2 * i),
            "\x82\x64"
            "call\x82\x00\xd8\x27\x02");
        if (i % 1000 == 999) {
            talk(h, &out, &x, 0);
        }
    }
    talk(h, &out, &x, 2 + calls - LINK_CALLS_MOST);
    ck_assert_int_eq(x.errors, calls - LINK_CALLS_MOST);
    ck_assert_uint_eq(x.code, E_LIMIT);
    ck_assert(harness_valgrind() || harness_sanitized() || resident_kb(h->guardian) < 250000);
    harness_close(h);
    /* Slow as it is when sanitized, it may be ended while it lets go of them all. */
    status = harness_wait(h);
    ck_assert(status == 0 || (harness_sanitized() && status == 128 + SIGALRM));
    harness_gone(h);
    unlink(path);
    wire_free(&out);
    wire_free(&x.in);
}
END_TEST

START_TEST(a_breach_ends_it)
{
    struct harness_options o = {
        .argv = (const char *const[]){"instance", NULL}, .program = WORKER_PATH, .bare = 1};
    struct harness *h = harness_start(&o);
    char text[300];

    harness_send(h, "GET / HTTP/1.0\r\n\r\n", 18);
    ck_assert_int_eq(harness_wait(h), WORKER_EXIT_PROTOCOL);
    harness_errors(h, text, sizeof text);
    ck_assert_int_eq(strncmp(text, "grapnel: worker: ", 17), 0);
    harness_gone(h);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("worker");
    TCase *c = tcase_create("worker");
    TCase *many = tcase_create("many");

    tcase_set_timeout(c, 30);
    tcase_add_test(c, it_answers);
    tcase_add_test(c, the_protocol_is_out_of_reach);
    tcase_add_test(c, no_descriptor_is_left_to_children);
    tcase_add_test(c, a_large_value_passes_both_ways);
    tcase_add_test(c, calls_run_side_by_side);
    tcase_add_test(c, an_endless_comparator_is_cancelled);
    tcase_add_test(c, a_close_ends_what_waits);
    tcase_add_test(c, an_idle_one_never_wakes);
    tcase_add_test(c, out_of_memory_is_survived);
    tcase_add_test(c, too_little_memory_to_begin);
    tcase_add_test(c, the_cpu_limit_kills);
    tcase_add_test(c, os_exit_is_its_status);
    tcase_add_test(c, a_crash_is_its_signal);
    tcase_add_test(c, it_ends_with_its_pipe);
    tcase_add_loop_test(c, wrong_arguments, 0, (int)(sizeof wrong / sizeof *wrong));
    tcase_add_test(c, a_service_is_all_that_is_served);
    tcase_add_test(c, a_breach_ends_it);
    tcase_add_loop_test(c, breaches_end_it, 0, (int)(sizeof breaches / sizeof *breaches));
    suite_add_tcase(s, c);
    /* A busy machine needs long for it. */
    tcase_set_timeout(many, 120);
    tcase_add_test(many, a_million_calls_of_a_client);
    suite_add_tcase(s, many);
    return s;
}

UNIT_MAIN(suite)
