/* The agent's services and calls, asked by a launcher that says anything.  Two links are connected
 * in memory, and the input is a program for both ends: what the launcher opens, calls and sends,
 * and what the commands do.  The commands are make-believe: no process is ever started or
 * signalled.
 *
 * Whatever is asked, each call is answered once, each stream is closed once, the launcher finds no
 * fault with the agent, and no memory and no descriptor is left. */
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium/crypto_generichash.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "agent/agent.h"
#include "agent/deliver.h"
#include "agent/exec.h"
#include "agent/nested.h"
#include "agent/reap.h"
#include "agent/services.h"
#include "agent/session.h"
#include "agent/single.h"
#include "proto/signals.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define FLOWS    8
#define COMMANDS 6
#define CALLS    64
#define SERVES   255   /* an input that begins with it is for an agent that serves one thing */
#define WRITTEN  65536 /* bytes that wait to be sent on one stream, at most */

/* ---- the make-believe: commands that do what the input says ---- */

struct reap_child {
    int used, ended;
    int in, out, err; /* the command's own ends */
    reap_exited *exited;
    void *arg;
    struct reap_ending *ending;
};

struct reap_ending {
    struct reap_child *child;
    reap_ended *ended;
    void *arg;
};

struct reap {
    struct reap_child commands[COMMANDS];
};

struct agent {
    struct agent_options options;
    struct deliver_set *blobs;
    struct reap reap;
};

struct session {
    struct agent agent;
    struct ev_loop *loop;
    struct exec_set *execs;
};

struct agent *session_agent(struct session *s)
{
    return &s->agent;
}

struct exec_set *session_execs(struct session *s)
{
    return s->execs;
}

const struct agent_options *agent_options(const struct agent *a)
{
    return &a->options;
}

struct deliver_set *agent_blobs(struct agent *a)
{
    return a->blobs;
}

struct reap *agent_reap(struct agent *a)
{
    return &a->reap;
}

/* Links within this one are not made here. */
struct nested_set *agent_nested(struct agent *a)
{
    (void)a;
    return NULL;
}

size_t nested_set_count(const struct nested_set *set)
{
    (void)set;
    return 0;
}

int nested_open(struct session *session, struct stream *s, const struct value *args,
                struct error *e)
{
    (void)session;
    (void)s;
    (void)args;
    return errors_set(e, -E_NO_SERVICE, "\"link\"");
}

/* An agent that serves one thing, and the only command that it may start then. */
static char *const more[] = {"word", NULL};
static const struct single served = {.worker = "/worker", .file = "/service.lua", .more = more};
static int serving;

static void must_be_worker(const struct spawn_program *p)
{
    static const char *const words[] = {"/worker", "instance", "service=/service.lua", "word"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        MUST(p->argv[i] != NULL && strcmp(p->argv[i], words[i]) == 0);
    }
    MUST(p->argv[4] == NULL && p->cwd == NULL && p->image < 0);
    MUST(strcmp(p->envp[0], "PATH=/bin") == 0 && strcmp(p->envp[1], "HOME=/") == 0);
    MUST(p->envp[2] == NULL);
}

static int copy_of(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    MUST(copy >= 0);
    (void)fcntl(copy, F_SETFL, O_NONBLOCK);
    return copy;
}

/* The keeper is nothing but the command's ends of its pipes, told by numbers. */
int keeper_start(const struct spawn_program *program, int input, struct keeper *k, struct error *e)
{
    MUST(program->argv[0] != NULL && program->envp != NULL);
    if (serving) {
        must_be_worker(program);
    }
    MUST(program->in >= 0 && program->out >= 0 && program->err >= 0);
    MUST(program->image < 0 || fcntl(program->image, F_GETFD) == FD_CLOEXEC);
    if (program->image < 0 && program->argv[0][0] == '\0') {
        return errors_set(e, -E_NO_COMMAND, "the name is empty");
    }
    k->pid = copy_of(program->out);
    k->leader = copy_of(program->err);
    k->report = input >= 0 ? copy_of(program->in) : -1;
    return 0;
}

static void close_end(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

struct reap_child *reap_watch(struct reap *r, const struct keeper *k, unsigned owner,
                              reap_exited *exited, void *arg)
{
    struct reap_child command = {1, 0, k->report, k->pid, k->leader, exited, arg, NULL};

    (void)owner;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!r->commands[i].used) {
            r->commands[i] = command;
            return &r->commands[i];
        }
    }
    close_end(&command.in);
    close_end(&command.out);
    close_end(&command.err);
    return NULL;
}

void reap_end_input(const struct reap_child *c)
{
    MUST(c->used);
}

void reap_forget(struct reap_child *c)
{
    if (c != NULL) {
        MUST(c->used && c->ending == NULL);
        close_end(&c->in);
        close_end(&c->out);
        close_end(&c->err);
        c->used = 0;
    }
}

struct reap_ending *reap_end_command(struct reap *r, struct reap_child *c, unsigned grace_ms,
                                     reap_ended *ended, void *arg)
{
    struct reap_ending *e = malloc(sizeof *e);

    (void)r;
    (void)grace_ms;
    MUST(c->used && c->ending == NULL);
    if (e != NULL) {
        *e = (struct reap_ending){c, ended, arg};
        c->ending = e;
    }
    return e;
}

int reap_end_warned(const struct reap *r, const struct reap_child *c)
{
    (void)r;
    MUST(c->used);
    return 1;
}

void reap_stop(struct reap *r, struct reap_ending *e)
{
    (void)r;
    if (e != NULL) {
        e->child->ending = NULL;
        free(e);
    }
}

void reap_signal_group(struct reap *r, const struct reap_child *c, int number)
{
    (void)r;
    MUST(c->used && number > 0 && number < 32);
}

size_t reap_count(struct reap *r)
{
    (void)r;
    return 0;
}

/* What a command does. */
enum deed { DEED_WRITE, DEED_WRITE_ERR, DEED_READ, DEED_CLOSE, DEED_EXIT, DEED_GONE };

static void act(struct reap_child *c, enum deed deed, const uint8_t *bytes, size_t n)
{
    static uint8_t room[65536];
    struct keeper_report end = {.at = 1};

    if (!c->used) {
        return;
    }
    if (deed == DEED_WRITE && c->out >= 0) {
        (void)!write(c->out, bytes, n);
    } else if (deed == DEED_WRITE_ERR && c->err >= 0) {
        (void)!write(c->err, room, n * 100 < sizeof room ? n * 100 : sizeof room);
    } else if (deed == DEED_READ && c->in >= 0) {
        (void)!read(c->in, room, sizeof room);
    } else if (deed == DEED_CLOSE) {
        close_end(n % 3 == 0 ? &c->in : n % 3 == 1 ? &c->out : &c->err);
    } else if (deed == DEED_EXIT && !c->ended) {
        c->ended = 1;
        end.status = n > 0 ? bytes[0] << (n % 2 * 8) : 0;
        c->exited(c->arg, &end);
    } else if (deed == DEED_GONE && c->ending != NULL) {
        struct reap_ending e = *c->ending;
        free(c->ending);
        c->ending = NULL;
        e.ended(e.arg, n % 3);
    }
}

/* ---- the launcher ---- */

struct flow {
    struct stream *s; /* NULL: free, or closed */
    int hold;
    size_t held;
};

struct scene {
    struct session session;
    struct link *launcher, *served;
    struct flow flows[FLOWS];
    size_t asked, answered;
    uint64_t now;
    uint8_t blob[DELIVER_HASH]; /* of the last that was delivered, well or not */
};

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct flow *f = arg;

    (void)bytes;
    MUST(f->s == s && n > 0);
    f->held += f->hold ? n : 0;
    return f->hold ? 0 : n;
}

/* An orderly CLOSE has a map, another one says why. */
static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct flow *f = arg;

    MUST(f->s == s && code <= 0);
    MUST(values_type(result) == VALUE_MAP || values_type(result) == VALUE_NIL ||
         (code < 0 && text[0] != '\0'));
    f->s = NULL;
}

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct scene *c = arg;

    (void)result;
    MUST(code <= 0 && (code == 0 || text[0] != '\0'));
    c->answered++;
}

static const struct stream_handler handler = {.data = on_data, .closed = on_closed};

static void open_stream(struct scene *c, size_t at, const char *service, struct value *args)
{
    struct flow *f = &c->flows[at % FLOWS];
    struct error e = {0};

    if (f->s != NULL) {
        values_free(args);
        return;
    }
    *f = (struct flow){.hold = at / FLOWS % 4 == 3};
    f->s = stream_open(c->launcher, service, args, &handler, f, &e);
    MUST(f->s != NULL);
}

static void call(struct scene *c, const char *name, struct value *args)
{
    if (c->asked >= CALLS) {
        values_free(args);
        return;
    }
    MUST(link_call(c->launcher, name, args, on_answer, c, NULL) == 0);
    c->asked++;
}

/* The arguments that are meant: for inputs that would not hit upon them. */
static struct value *stream_and(const struct scene *c, size_t at, const char *name)
{
    const struct flow *f = &c->flows[at % FLOWS];
    struct value *args = values_array();

    values_append(args, values_int(f->s != NULL ? stream_id(f->s) : 1));
    if (name != NULL) {
        values_append(args, values_text(name));
    }
    return args;
}

static struct value *command(const struct scene *c, size_t at)
{
    const struct flow *err = &c->flows[(at + 1) % FLOWS];
    struct value *args = values_map();
    struct value *argv;

    if ((at & 64) != 0) {
        argv = values_array();
        values_append(argv, values_text(""));
        values_set(args, "argv", argv);
        values_set(args, "blob", values_bytes(c->blob, sizeof c->blob));
    } else {
        values_set(args, "line", values_text("true"));
    }
    values_set(args, "stdin", values_bool(at & 8));
    values_set(args, "output_limit", values_int(at & 16 ? 1000 : 0));
    if ((at & 32) != 0 && err->s != NULL) {
        values_set(args, "stderr", values_int(stream_id(err->s)));
    }
    return args;
}

static struct value *gzip(const uint8_t *bytes, size_t n)
{
    uint8_t packed[1024]; /* n is below 256 */
    z_stream z = {.next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)n};

    z.next_out = packed;
    z.avail_out = sizeof packed;
    MUST(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    MUST(deflate(&z, Z_FINISH) == Z_STREAM_END);
    MUST(deflateEnd(&z) == Z_OK);
    return values_bytes(packed, sizeof packed - z.avail_out);
}

enum how { HOW_STREAM, HOW_DATA, HOW_PACKED, HOW_RAW, HOW_COUNT };

/* A blob with the right hash, or a spoilt one: as a stream, whole, packed; or bytes that only call
 * themselves packed. */
static void deliver(struct scene *c, enum how how, size_t at, const uint8_t *bytes, size_t n)
{
    struct flow *f = &c->flows[at % FLOWS];
    struct value *args;

    if (f->s != NULL) {
        return;
    }
    args = values_map();
    crypto_generichash(c->blob, sizeof c->blob, bytes, n, NULL, 0);
    c->blob[0] ^= (at & 64) != 0;
    values_set(args, "hash", values_bytes(c->blob, sizeof c->blob));
    values_set(args, "size", values_int((int64_t)(n + (at & 128 ? 1 : 0))));
    if (how != HOW_STREAM) {
        values_set(args, "data", how == HOW_PACKED ? gzip(bytes, n) : values_bytes(bytes, n));
    }
    if (how == HOW_PACKED || how == HOW_RAW) {
        values_set(args, "encoding", values_text("gzip"));
    }
    open_stream(c, at, "deliver", args);
    if (how == HOW_STREAM) {
        (void)stream_write(f->s, bytes, n);
        stream_eof(f->s);
    }
}

static void tend_stream(struct flow *f, unsigned what, const uint8_t *bytes, size_t n)
{
    if (f->s == NULL) {
        return;
    }
    switch (what % 5) {
    case 0:
        if (stream_queued(f->s) < WRITTEN) {
            (void)stream_write(f->s, bytes, n);
        }
        break;
    case 1:
        stream_eof(f->s);
        break;
    case 2:
        stream_close(f->s, n % 2 ? -E_CANCELLED : 0, NULL, NULL);
        break;
    case 3:
        f->hold = !f->hold;
        break;
    default:
        stream_consumed(f->s, f->held);
        f->held = 0;
    }
}

/* ---- both ---- */

static int move(struct link *from, struct link *to, uint64_t now)
{
    const uint8_t *bytes;
    uint8_t *copy;
    size_t n;

    MUST(link_output(from, &bytes, &n, now) == 0);
    if (n == 0) {
        return 0;
    }
    copy = malloc(n);
    MUST(copy != NULL);
    memcpy(copy, bytes, n);
    link_sent(from, n, now);
    MUST(link_input(to, copy, n, now) == 0);
    free(copy);
    return 1;
}

static void settle(struct scene *c)
{
    int moved;

    do {
        c->now += 1000;
        moved = move(c->launcher, c->served, c->now);
        ev_run(c->session.loop, EVRUN_NOWAIT);
        moved |= move(c->served, c->launcher, c->now);
    } while (moved);
}

/* One step of the program: what, where, and n bytes for it. */
static void step(struct scene *c, unsigned what, size_t at, const uint8_t *bytes, size_t n)
{
    static const char *const services[] = {"exec", "pipe", "deliver", "nothing"};
    static const char *const calls[] = {"signal", "cancel", "facts", "usage", "nothing"};
    struct value *args = NULL;
    char name[32] = "";

    switch (what % 10) {
    case 0:
        (void)values_decode(bytes, n, &args);
        open_stream(c, at, services[what / 10 % 4], args);
        break;
    case 1:
        (void)values_decode(bytes, n, &args);
        call(c, calls[what / 10 % 5], args);
        break;
    case 2:
        open_stream(c, at, "exec", command(c, at));
        break;
    case 3:
        memcpy(name, bytes, n < sizeof name - 1 ? n : sizeof name - 1);
        call(c, "signal", stream_and(c, at, what / 10 % 2 ? "USR1" : name));
        break;
    case 4:
        call(c, "cancel", stream_and(c, at, NULL));
        break;
    case 5:
        deliver(c, (enum how)(what / 10 % HOW_COUNT), at, bytes, n);
        break;
    case 6:
        tend_stream(&c->flows[at % FLOWS], what / 10, bytes, n);
        break;
    case 7:
    case 8:
        act(&c->session.agent.reap.commands[at % COMMANDS],
            (enum deed)(what / 10 % (DEED_GONE + 1)), bytes, n);
        break;
    default:
        settle(c);
    }
}

static void run_program(struct scene *c, const uint8_t *data, size_t size)
{
    while (size >= 3) {
        size_t n = data[2];
        n = n < size - 3 ? n : size - 3;
        step(c, data[0], data[1], data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
}

static void begin(struct scene *c, int serves)
{
    static char *const environment[] = {"PATH=/bin", "HOME=/", NULL};
    const struct link_handler serve = {.open = serves ? single_open : services_open,
                                       .call = serves ? single_call : services_call};
    const struct link_handler none = {0};
    struct link_options options = {.opener = 1};
    struct exec_options exec = {.environment = environment};

    serving = serves;
    c->now = 1000;
    c->session.agent.options.served = &served;
    c->session.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    exec.loop = c->session.loop;
    exec.reap = &c->session.agent.reap;
    c->session.execs = exec_set_new(&exec);
    c->session.agent.blobs = deliver_set_new();
    c->launcher = link_new(&options, &none, c, c->now);
    options.opener = 0;
    c->served = link_new(&options, &serve, &c->session, c->now);
    MUST(c->session.loop != NULL && c->session.execs != NULL && c->session.agent.blobs != NULL);
    MUST(c->launcher != NULL && c->served != NULL);
    settle(c);
}

/* Every call has its answer by now; streams may still live. */
static void end(struct scene *c)
{
    static const uint8_t none[DELIVER_HASH];

    settle(c);
    MUST(!serving || deliver_file(c->session.agent.blobs, c->blob) < 0);
    MUST(deliver_file(c->session.agent.blobs, none) < 0);
    MUST(c->asked == c->answered);
    link_free(c->launcher);
    link_free(c->served);
    exec_set_free(c->session.execs);
    deliver_set_free(c->session.agent.blobs);
    ev_loop_destroy(c->session.loop);
    for (size_t i = 0; i < FLOWS; i++) {
        MUST(c->flows[i].s == NULL);
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        MUST(!c->session.agent.reap.commands[i].used);
    }
}

static int lowest_free(void)
{
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 3);

    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scene c = {0};
    int before = lowest_free();
    int serves = size > 0 && data[0] == SERVES;

    begin(&c, serves);
    run_program(&c, data + serves, size - (size_t)serves);
    end(&c);
    MUST(lowest_free() == before);
    return 0;
}

/* ---- seeds ---- */

struct program {
    uint8_t bytes[2048];
    size_t n;
};

static void add(struct program *p, unsigned what, unsigned at, const void *bytes, size_t n)
{
    p->bytes[p->n] = (uint8_t)what;
    p->bytes[p->n + 1] = (uint8_t)at;
    p->bytes[p->n + 2] = (uint8_t)n;
    memcpy(p->bytes + p->n + 3, bytes, n);
    p->n += 3 + n;
}

static void add_value(struct program *p, unsigned what, unsigned at, struct value *v)
{
    struct wire_buf bytes = {0};

    MUST(values_encode(v, &bytes) == 0);
    add(p, what, at, wire_data(&bytes), wire_length(&bytes));
    wire_free(&bytes);
    values_free(v);
}

static void seeds(seeds_sink *sink, void *arg)
{
    struct program p = {.n = 0};
    struct value *v = values_array();

    /* A command with stdin and stderr: it writes, reads, is signalled, exits. */
    add(&p, 10, 1, "", 0);
    add(&p, 9, 0, "", 0);
    add(&p, 2, 8 | 32, "", 0);
    add(&p, 6, 0, "input", 5);
    add(&p, 16, 0, "", 0);
    add(&p, 9, 0, "", 0);
    add(&p, 7, 0, "output", 6);
    add(&p, 17, 0, "err", 3);
    add(&p, 27, 0, "", 0);
    add(&p, 3, 0, "TERM", 4);
    add(&p, 13, 0, "", 0);
    add(&p, 47, 0, "\x07", 1);
    add(&p, 37, 0, "1", 1);
    add(&p, 37, 0, "22", 2);
    sink(arg, p.bytes, p.n);
    /* One that is cancelled, and one over its output limit. */
    p.n = 0;
    add(&p, 2, 16, "", 0);
    add(&p, 2, 1, "", 0);
    add(&p, 9, 0, "", 0);
    for (int i = 0; i < 12; i++) {
        add(&p, 7, 0, "0123456789012345678901234567890123456789", 40);
    }
    add(&p, 4, 1, "", 0);
    add(&p, 9, 0, "", 0);
    add(&p, 57, 0, "", 0);
    add(&p, 57, 1, "1", 1);
    sink(arg, p.bytes, p.n);
    /* Blobs: good, the same again, spoilt. */
    p.n = 0;
    add(&p, 5, 0, "blob", 4);
    add(&p, 9, 0, "", 0);
    add(&p, 5, 1, "blob", 4);
    add(&p, 5, 2 | 64, "blob", 4);
    add(&p, 5, 3 | 128, "blob", 4);
    sink(arg, p.bytes, p.n);
    /* Whole ones, that are run at once; and some that are none. */
    p.n = 0;
    add(&p, 15, 0, "program", 7);
    add(&p, 2, 1 | 64, "", 0);
    add(&p, 25, 2, "another", 7);
    add(&p, 2, 3 | 64 | 8, "", 0);
    add(&p, 9, 0, "", 0);
    add(&p, 25, 0 | 128, "longer", 6);
    add(&p, 35, 2, "\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", 20);
    add(&p, 2, 4 | 64, "", 0);
    sink(arg, p.bytes, p.n);
    /* The same of an agent that serves. */
    memmove(p.bytes + 1, p.bytes, p.n);
    p.bytes[0] = SERVES;
    p.n++;
    add(&p, 10, 5, "", 0);
    add(&p, 2, 6 | 64 | 32, "", 0);
    add(&p, 2, 7, "", 0);
    add(&p, 3, 6, "TERM", 4);
    add(&p, 4, 6, "", 0);
    add(&p, 31, 0, "\xf6", 1);
    sink(arg, p.bytes, p.n);
    /* Arguments of all kinds. */
    p.n = 0;
    values_append(v, values_int(1));
    values_append(v, values_text("INT"));
    add_value(&p, 1, 0, v);
    add_value(&p, 11, 0, values_int(1));
    add_value(&p, 21, 0, values_nil());
    add_value(&p, 31, 0, values_nil());
    v = values_map();
    values_set(v, "hash", values_bytes("01234567890123456789012345678901", 32));
    values_set(v, "size", values_int(5));
    add_value(&p, 20, 0, v);
    v = values_map();
    values_set(v, "line", values_text("x"));
    values_set(v, "timeout_ms", values_int(1));
    add_value(&p, 0, 1, v);
    sink(arg, p.bytes, p.n);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as the agent does */
    return seeds_install(*argc, *argv, seeds);
}
