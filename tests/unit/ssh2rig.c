#include "ssh2rig.h"

#include <arpa/inet.h>
#include <ev.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "launcher/blocking.h"
#include "launcher/ssh/sshconfig.h"
#include "launcher/ssh/transport_ssh2.h"
#include "sshtools.h"

/* libssh2 1.11.1 loses some 50 bytes at each key exchange; whole call chains are needed to tell
 * those from leaks of ours. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:kex_method_\n";
}

uint8_t rig_pattern(uint64_t at)
{
    return (uint8_t)((at * 2654435761u) >> 11);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int listen_somewhere(unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static void make_keys(void)
{
    char line[2048];

    snprintf(line, sizeof line,
             "for k in hostkey id id_stranger; do ssh-keygen -q -t ed25519 -N '' -C $k -f $k || "
             "exit 1; done; ssh-keygen -q -t rsa -b 2048 -N '' -f id_rsa && "
             "ssh-keygen -q -t ecdsa -N '' -f id_ecdsa && "
             "ssh-keygen -q -t ed25519 -N secret -f id_locked && "
             "cat id.pub id_rsa.pub id_ecdsa.pub id_locked.pub >authorized_keys && "
             "chmod 644 authorized_keys && "
             /* The plain name stands for all ports. */
             "echo \"127.0.0.1 $(cut -d' ' -f1,2 hostkey.pub)\" >known_hosts");
    ck_assert_int_eq(sshtools_run(NULL, 0, line), 0);
}

/* One session of sshd on a connection. */
static _Noreturn void session(const char *sshd, const char *config, int connection)
{
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);

    /* It may outlive the folder of its log, and would say so. */
    dup2(connection, 0);
    dup2(connection, 1);
    dup2(nothing, 2);
    signal(SIGCHLD, SIG_DFL);
    execl(sshd, sshd, "-i", "-f", config, "-E", sshtools_path("sshd.log"), (char *)NULL);
    _exit(127);
}

/* A listener of our own needs no waiting for: what connects before it runs is queued. */
static pid_t serve(const char *sshd, const char *config, int fd)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    /* A test that fails does not come to rig_stop. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int one = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (one >= 0 && fork() == 0)
            session(sshd, config, one);
        close(one);
    }
}

unsigned rig_sshd(const char *folder, const char *extra, pid_t *pid)
{
    const char *sshd = access("/usr/sbin/sshd", X_OK) == 0 ? "/usr/sbin/sshd" : NULL;
    char config[4096], path[256];
    unsigned port;
    int fd;

    /* Each source file has its own copy of it. */
    snprintf(sshtools_folder, sizeof sshtools_folder, "%s", folder);
    *pid = 0;
    if (!sshd || !sshtools_have("ssh-keygen"))
        return 0;
    fd = listen_somewhere(&port);
    if (access(sshtools_path("id"), F_OK) != 0)
        make_keys();
    if (getuid() == 0)
        mkdir("/run/sshd", 0755);
    snprintf(config, sizeof config,
             "%s\nHostKey %s/hostkey\nPidFile none\n"
             "AuthorizedKeysFile %s/authorized_keys\nStrictModes no\nUsePAM no\n"
             "PermitRootLogin yes\nLoginGraceTime 60\n",
             extra, sshtools_folder, sshtools_folder);
    snprintf(path, sizeof path, "%s", sshtools_path("sshd_config.%u", port));
    sshtools_write(path, config);
    *pid = serve(sshd, path, fd);
    close(fd);
    return port;
}

void rig_stop(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

struct grapnel_server *rig_open(struct grapnel *g, unsigned port, int cache_agent)
{
    const char *identities[] = {sshtools_path("id"), NULL};
    char known[300];
    const char *settings[] = {known, "GlobalKnownHostsFile=none", "IdentityAgent=none",
                              "IdentitiesOnly=yes", NULL};
    struct grapnel_connect_options o = {.transport = "ssh2",
                                        .port = port,
                                        .user = getpwuid(getuid())->pw_name,
                                        .config_file = "none",
                                        .identity_files = identities,
                                        .ssh_options = settings,
                                        .cache_agent = cache_agent};
    struct grapnel_error e = {0};
    struct grapnel_server *s;

    snprintf(known, sizeof known, "UserKnownHostsFile=%s", sshtools_path("known_hosts"));
    s = grapnel_open(g, "127.0.0.1", &o, &e);
    ck_assert_msg(s != NULL, "%s: %s", e.text, e.detail);
    return s;
}

unsigned rig_fake(const void *text, size_t n, int linger, pid_t *pid)
{
    unsigned port;
    int fd = listen_somewhere(&port);

    *pid = fork();
    ck_assert_int_ge(*pid, 0);
    if (*pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (*pid == 0) {
        int one = accept(fd, NULL, NULL);

        if (n && write(one, text, n) != (ssize_t)n)
            _exit(1);
        if (!linger) {
            char waste[512];

            /* What the other side sends is read, or closing would be a reset. */
            shutdown(one, SHUT_WR);
            while (read(one, waste, sizeof waste) > 0)
                continue;
            close(one);
        }
    }
    close(fd);
    return port;
}

/* ---- one run ---- */

#define LOCKSTEP_TURNS 2003 /* of the loop between two pieces, at most */

struct run {
    struct rig_run *r;
    size_t sent;
    int inputs, paused, sent_all, pieces, turns;
    ev_timer limit, resume, second, free_timer;
};

static void end(struct rig_run *r)
{
    ev_break(r->loop, EVBREAK_ALL);
}

static void free_now(struct rig_run *r)
{
    struct transport *t = r->t;

    r->t = NULL;
    transport_free(t);
    end(r);
}

static void feed(struct run *x)
{
    struct rig_run *r = x->r;
    size_t total = r->send_pattern ? r->send_pattern : r->send_n;

    while (x->sent < total) {
        uint8_t piece[8192];
        const uint8_t *at = piece;
        size_t n = total - x->sent, taken;

        if (r->send_pattern) {
            n = n < sizeof piece ? n : sizeof piece;
            for (size_t i = 0; i < n; i++)
                piece[i] = rig_pattern(x->sent + i);
        } else {
            at = (const uint8_t *)r->send + x->sent;
        }
        taken = transport_write(r->t, at, n);
        ck_assert_uint_le(taken, n);
        x->sent += taken;
        if (taken < n)
            return;
        if (r->lockstep && x->sent < total) {
            if (x->pieces++ % 2 == 0) {
                x->turns = x->pieces * 37 % LOCKSTEP_TURNS;
                ev_timer_start(r->loop, &x->second);
            }
            return;
        }
    }
    if (x->sent_all++)
        return;
    if (!r->keep_stdin)
        transport_eof(r->t);
    if (r->pause_until_sent)
        transport_pause(r->t, 0);
}

static void on_phase(void *arg, enum errors_phase phase, const char *note)
{
    struct run *x = arg;
    struct rig_run *r = x->r;
    const char *name = errors_phase_name(phase);
    size_t used = strlen(r->phases), n = strlen(name);

    ck_assert_ptr_nonnull(note);
    ck_assert_int_eq(r->finished_n + r->failed_n, 0);
    if (used < n || strcmp(r->phases + used - n, name) != 0)
        snprintf(r->phases + used, sizeof r->phases - used, "%s%s", used ? "," : "", name);
    if (r->free_at == RIG_FREE_PHASE && (int)phase == r->free_phase && r->t)
        free_now(r);
}

static void on_opened(void *arg)
{
    struct run *x = arg;
    struct rig_run *r = x->r;

    r->opened_n++;
    if (r->free_at == RIG_FREE_OPENED) {
        free_now(r);
        return;
    }
    if (r->opened)
        r->opened(r);
    if (r->pause_until_sent)
        transport_pause(r->t, 1);
    feed(x);
}

static void on_resume(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct run *x = w->data;

    (void)loop;
    (void)revents;
    x->paused = 0;
    if (x->r->t)
        transport_pause(x->r->t, 0);
}

static void on_input(void *arg, const uint8_t *bytes, size_t n)
{
    struct run *x = arg;
    struct rig_run *r = x->r;

    ck_assert_int_eq(x->paused, 0);
    ck_assert(!r->pause_until_sent || x->sent_all);
    if (r->discard) {
        for (size_t i = 0; i < n; i++)
            r->mismatches += bytes[i] != rig_pattern(r->checked + i);
        r->checked += n;
        if (r->lockstep && r->checked == x->sent && !ev_is_active(&x->second))
            feed(x);
    } else {
        ck_assert_int_eq(wire_put(&r->out, bytes, n), 0);
    }
    if (r->free_at == RIG_FREE_INPUT) {
        free_now(r);
        return;
    }
    if (r->pause_every && ++x->inputs % r->pause_every == 0) {
        x->paused = 1;
        transport_pause(r->t, 1);
        ev_timer_set(&x->resume, 0.001, 0);
        ev_timer_start(r->loop, &x->resume);
    }
}

static void on_diagnostics(void *arg, const uint8_t *bytes, size_t n)
{
    struct run *x = arg;

    ck_assert_int_eq(wire_put(&x->r->diagnostics, bytes, n), 0);
}

static void on_writable(void *arg)
{
    struct run *x = arg;

    x->r->writable_n++;
    feed(x);
}

static void on_finished(void *arg, int status)
{
    struct run *x = arg;
    struct rig_run *r = x->r;
    const char *again = r->again;

    r->finished_n++;
    r->status = status;
    if (r->free_at == RIG_FREE_FINISHED) {
        free_now(r);
        return;
    }
    r->again = NULL;
    x->sent = 0;
    x->sent_all = 0;
    if (!again || transport_again(r->t, again, &r->e) < 0)
        end(r);
}

static void on_failed(void *arg, const struct error *e)
{
    struct run *x = arg;
    struct rig_run *r = x->r;

    ck_assert_int_lt(e->code, 0);
    r->failed_n++;
    r->e = *e;
    if (r->free_at == RIG_FREE_FAILED)
        free_now(r);
    end(r);
}

static void on_trace(void *arg, int level, const char *text)
{
    struct run *x = arg;
    struct rig_run *r = x->r;
    size_t used = strlen(r->trace);

    snprintf(r->trace + used, sizeof r->trace - used, "%d %s\n", level, text);
    if (r->free_at == RIG_FREE_TRACE && r->t)
        free_now(r);
}

static void on_limit(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct run *x = w->data;

    (void)loop;
    (void)revents;
    ck_abort_msg("it hangs; phases %s; trace:\n%s", x->r->phases, x->r->trace);
}

/* Seconds, more of them where Check gives its tests more time. */
static double patience(void)
{
    const char *multiplier = getenv("CK_TIMEOUT_MULTIPLIER");

    return 60 * (multiplier ? strtod(multiplier, NULL) : 1);
}

static void on_free_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct run *x = w->data;

    (void)loop;
    (void)revents;
    free_now(x->r);
}

static void on_second(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct run *x = w->data;

    (void)revents;
    if (x->turns-- > 0)
        ev_timer_start(loop, w);
    else
        feed(x);
}

static void timers_start(struct run *x)
{
    ev_timer_init(&x->limit, on_limit, patience(), 0);
    ev_timer_init(&x->free_timer, on_free_timer, x->r->free_after_s, 0);
    ev_timer_init(&x->second, on_second, 0, 0);
    ev_init(&x->resume, on_resume);
    x->limit.data = x->free_timer.data = x->second.data = x->resume.data = x;
    ev_timer_start(x->r->loop, &x->limit);
    if (x->r->free_after_s > 0)
        ev_timer_start(x->r->loop, &x->free_timer);
}

static void timers_stop(struct run *x)
{
    ev_timer_stop(x->r->loop, &x->limit);
    ev_timer_stop(x->r->loop, &x->free_timer);
    ev_timer_stop(x->r->loop, &x->second);
    ev_timer_stop(x->r->loop, &x->resume);
}

void rig_run(struct rig_run *r)
{
    struct sshconfig_options options = {
        .file = "none", .settings = r->settings, .no_environment = 1};
    struct transport_handler handler = {on_phase,    on_opened,   on_input,  on_diagnostics,
                                        on_writable, on_finished, on_failed, on_trace};
    struct run x = {.r = r};
    struct sshconfig_set *set = NULL;
    struct sshconfig *config = NULL;
    struct keyring *keys = NULL;
    struct transport_options to = {.host = "rig", .interactive = r->interactive};
    struct passwd *me = getpwuid(getuid());
    double began = now_s();
    size_t files = sshtools_open_files();

    signal(SIGPIPE, SIG_DFL);
    if (r->environment)
        putenv((char *)(uintptr_t)r->environment); /* which lives as long as the process */
    while (options.settings_count < RIG_SETTINGS_MAX && r->settings[options.settings_count])
        options.settings_count++;
    ck_assert_msg(sshconfig_open(&options, &set, &r->e) == 0, "%s", r->e.detail);
    ck_assert_msg(sshconfig_lookup(set, r->host ? r->host : "127.0.0.1",
                                   r->user ? r->user : me->pw_name, r->port, &config, &r->e) == 0,
                  "%s", r->e.detail);
    r->loop = ev_loop_new(0);
    to.loop = r->loop;
    to.blocking = blocking_new(r->loop);
    to.config = config;
    to.keys = &keys;
    to.connect_timeout_ms = r->timeout_ms ? r->timeout_ms : 10000;
    r->t = transport_ssh2(&to, r->command, &handler, &x, &r->e);
    if (r->t) {
        timers_start(&x);
        ev_run(r->loop, 0);
        timers_stop(&x);
    } else {
        r->failed_n++;
    }
    transport_free(r->t);
    r->t = NULL;
    transport_ssh2_free_keys(keys);
    blocking_free(to.blocking);
    ev_loop_destroy(r->loop);
    sshconfig_free(config);
    sshconfig_close(set);
    r->seconds = now_s() - began;
    ck_assert_uint_eq(sshtools_open_files(), files);
}

void rig_clear(struct rig_run *r)
{
    wire_free(&r->out);
    wire_free(&r->diagnostics);
}
