/* The worker: the process on a host in which one instance's Lua runs.
 *
 *   worker instance [memory=BYTES] [cpu=SECONDS] [depth=N] [service=FILE]
 *
 * Its stdin and stdout are the inner link.  service=FILE: the Lua file's value is served as root,
 * and nothing else is.  How it ends is told by proto/worker.h. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/worker/child.h"
#include "agent/worker/limits.h"
#include "agent/worker/loop.h"
#include "agent/worker/mods.h"
#include "agent/worker/slice.h"
#include "agent/worker/waitfd.h"
#include "lua_waiting.h"
#include "peer/peer.h"
#include "peer/tasks.h"
#include "proto/errors.h"
#include "proto/worker.h"

#define LINKS_MOST    64 /* within the first one, at a time */
#define CLOSE_SECONDS 2  /* for finalizers, when all is over */

struct worker {
    size_t memory;
    uint64_t cpu;
    int depth;
    const char *service;
    int served; /* 1: the service is there; -1: it failed */
    struct limits *limits;
    struct loop *loop;
    struct tasks *tasks;
    struct slice *slice;
    struct peer *peer;
    lua_State *L;
};

static int complain(int status, const char *what)
{
    fprintf(stderr, "grapnel: worker: %s\n", what);
    return status;
}

/* ---- the command line ---- */

/* The number in "name=number", when `word` is that and not over `most`. */
static int number(const char *word, const char *name, uint64_t most, uint64_t *value)
{
    size_t n = strlen(name);
    char *rest;

    if (strncmp(word, name, n) != 0 || word[n] != '=' || word[n + 1] < '0' || word[n + 1] > '9') {
        return 0;
    }
    errno = 0;
    *value = strtoull(word + n + 1, &rest, 10);
    return errno == 0 && *rest == '\0' && *value > 0 && *value <= most;
}

static int parse(struct worker *w, int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "instance") != 0) {
        return -1;
    }
    for (int i = 2; i < argc; i++) {
        uint64_t value;
        if (number(argv[i], "memory", SIZE_MAX / 2, &value)) {
            w->memory = (size_t)value;
        } else if (number(argv[i], "cpu", UINT32_MAX, &value)) {
            w->cpu = value;
        } else if (number(argv[i], "depth", 1000, &value)) {
            w->depth = (int)value;
        } else if (strncmp(argv[i], "service=", 8) == 0 && argv[i][8] != '\0') {
            w->service = argv[i] + 8;
        } else {
            return -1;
        }
    }
    return 0;
}

/* ---- the process ---- */

static void on_pipe(int signal_number)
{
    (void)signal_number;
}

/* Nothing that runs here can write into the protocol: 0 is empty, and 1 is where 2 goes. */
static int move_descriptors(int *in, int *out)
{
    int null;

    *in = fcntl(0, F_DUPFD_CLOEXEC, 3);
    *out = fcntl(1, F_DUPFD_CLOEXEC, 3);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (*in < 0 || *out < 0 || null < 0 || dup2(null, 0) < 0) {
        return -1;
    }
    if (fcntl(2, F_GETFD) < 0 && dup2(null, 2) < 0) {
        return -1;
    }
    if (dup2(2, 1) < 0) {
        return -1;
    }
    if (null > 2) {
        close(null);
    }
    return 0;
}

static void set_up_process(void)
{
    /* A handler, which children do not inherit as they would SIG_IGN. */
    struct sigaction pipe_action = {.sa_handler = on_pipe, .sa_flags = SA_RESTART};
    struct rlimit core = {0, 0};

    sigemptyset(&pipe_action.sa_mask);
    (void)sigaction(SIGPIPE, &pipe_action, NULL);
    (void)setrlimit(RLIMIT_CORE, &core);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
}

/* ---- the Lua state ---- */

static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    int memory = text != NULL && strcmp(text, "not enough memory") == 0;

    complain(0, text != NULL ? text : "an error that is not a text");
    fflush(stdout);
    _exit(memory ? WORKER_EXIT_MEMORY : WORKER_EXIT_PANIC);
}

/* os.exit: what was answered before is sent before the process ends. */
static int l_exit(lua_State *L)
{
    loop_last_words(lua_touserdata(L, lua_upvalueindex(2)));
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

static int l_module(lua_State *L)
{
    peer_push_module(L);
    return 1;
}

static void on_left(void *arg, uint64_t owner)
{
    child_left(((struct worker *)arg)->L, owner);
}

static int set_up_state(lua_State *L)
{
    struct worker *w = lua_touserdata(L, 1);
    const struct tasks_host host = {loop_wait, w->loop};
    struct peer_options options = {.policy = w->service != NULL ? PEER_SERVICE : PEER_OPEN,
                                   .depth_max = w->depth,
                                   .teleport = 1,
                                   .links = LINKS_MOST,
                                   .left = on_left,
                                   .arg = w,
                                   .name = "the launcher"};

    luaL_openlibs(L);
    lua_getglobal(L, "os");
    lua_getfield(L, -1, "exit");
    lua_pushlightuserdata(L, w->loop);
    lua_pushcclosure(L, l_exit, 2);
    lua_setfield(L, -2, "exit");
    w->tasks = tasks_new(L, &host, loop_now_us);
    if (w->tasks == NULL) {
        return luaL_error(L, "not enough memory");
    }
    waitfd_set_loop(L, loop_events(w->loop));
    mods_preload(L);
    w->peer = peer_new(L, w->tasks, &options);
    if (luaL_loadbufferx(L, lua_waiting, lua_waiting_size, "=grapnel", "t") != LUA_OK) {
        return lua_error(L);
    }
    lua_call(L, 0, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, MODS_FILE_OF_STREAM);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, l_module);
    lua_setfield(L, -2, "grapnel");
    return 0;
}

/* ---- the service ---- */

static int served(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    peer_set_root(L, ((struct worker *)ctx)->peer);
    return 0;
}

static int serve(lua_State *L)
{
    struct worker *w = lua_touserdata(L, 1);

    if (luaL_loadfile(L, w->service) != LUA_OK) {
        return lua_error(L);
    }
    lua_callk(L, 0, 1, (lua_KContext)w, served);
    return served(L, LUA_OK, (lua_KContext)w);
}

static void on_served(void *arg, struct task *k, lua_State *L, int status, int n)
{
    struct worker *w = arg;

    (void)k;
    (void)n;
    w->served = status == LUA_OK ? 1 : -1;
    if (status != LUA_OK) {
        complain(0, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "the service failed");
    }
}

/* It is there before anybody can ask for it. */
static int start_service(struct worker *w)
{
    lua_State *L;
    struct task *k = tasks_prepare(w->tasks, &L);

    if (k == NULL) {
        return complain(WORKER_EXIT_MEMORY, "out of memory");
    }
    lua_pushcfunction(L, serve);
    lua_pushlightuserdata(L, w);
    tasks_start(k, 1, on_served, w);
    for (;;) {
        int more = tasks_run(w->tasks);
        if (w->served != 0) {
            return w->served < 0 ? WORKER_EXIT_USAGE : 0;
        }
        (void)loop_wait(w->loop, more ? 0 : tasks_next_deadline(w->tasks));
    }
}

/* ---- life ---- */

static int start(struct worker *w, int in, int out)
{
    w->limits = limits_new(w->memory);
    w->loop = loop_new(in, out);
    w->L = w->limits != NULL ? lua_newstate(limits_alloc, w->limits) : NULL;
    if (w->loop == NULL || w->L == NULL) {
        return complain(WORKER_EXIT_MEMORY, "no memory or descriptors for a Lua state");
    }
    (void)lua_atpanic(w->L, on_panic);
    lua_pushcfunction(w->L, set_up_state);
    lua_pushlightuserdata(w->L, w);
    lua_call(w->L, 1, 0); /* an error is a panic */
    limits_set_tasks(w->limits, w->tasks);
    w->slice = slice_start(w->tasks);
    if (w->cpu != 0 && limits_cpu(w->cpu) != 0) {
        return complain(WORKER_EXIT_USAGE, "the limit of processor time could not be set");
    }
    return w->service != NULL ? start_service(w) : 0;
}

static int run(struct worker *w)
{
    int code;

    loop_attach(w->loop, w->peer, w->tasks);
    code = loop_run(w->loop);
    if (code == 0 || code == -E_LOST) {
        return 0;
    }
    complain(0, errors_text(code));
    return code == -E_NOMEM ? WORKER_EXIT_MEMORY : WORKER_EXIT_PROTOCOL;
}

static void end(struct worker *w)
{
    (void)alarm(CLOSE_SECONDS); /* a finalizer can run for ever */
    slice_stop(w->slice);
    if (w->L != NULL) {
        limits_set_tasks(w->limits, NULL);
        peer_free(w->peer);
        waitfd_end(w->L);
        tasks_free(w->tasks);
        lua_close(w->L);
    }
    loop_free(w->loop);
    limits_free(w->limits);
}

int main(int argc, char **argv)
{
    struct worker w = {0};
    int in, out, status;

    if (parse(&w, argc, argv) != 0) {
        return complain(WORKER_EXIT_USAGE, "usage: worker instance [memory=BYTES] [cpu=SECONDS] "
                                           "[depth=N] [service=FILE]");
    }
    if (move_descriptors(&in, &out) != 0) {
        return complain(WORKER_EXIT_USAGE, strerror(errno));
    }
    set_up_process();
    status = start(&w, in, out);
    if (status == 0) {
        status = run(&w);
    }
    end(&w);
    return status;
}
