#include "launcher/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/errors.h"

#define ROOM    65536 /* bytes of output that there is room for at first */
#define LOOK_MS 50    /* how often we look for signals that are held back */

extern char **environ;

/* What comes over one pipe. */
struct sink {
    int fd;
    char *text;
    size_t n, size; /* one byte is for the terminating zero */
    size_t limit;   /* of size: it grows up to there; 0: what does not fit is read and dropped */
};

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- signals ---- */

struct signals {
    sigset_t held, before;
};

/* Holds those back that end this process: the program, which has a process group of its own, would
 * go on. */
static void hold_signals(struct signals *s)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction now;

    (void)sigemptyset(&s->held);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &s->before);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
        if (!sigismember(&s->before, ending[i]) && sigaction(ending[i], NULL, &now) == 0 &&
            now.sa_handler != SIG_IGN)
            (void)sigaddset(&s->held, ending[i]);
    (void)pthread_sigmask(SIG_BLOCK, &s->held, NULL);
}

static void let_signals_through(const struct signals *s)
{
    (void)pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}

static int is_to_end(const struct signals *s)
{
    sigset_t pending;
    int to_end = 0;

    if (sigpending(&pending) != 0)
        return 0;
    for (int i = 1; i < NSIG && !to_end; i++)
        to_end = sigismember(&s->held, i) == 1 && sigismember(&pending, i) == 1;
    return to_end;
}

/* ---- output ---- */

/* Room for more; 0: there is to be none. */
static size_t make_room(struct sink *s)
{
    if (s->n + 1 == s->size && s->size < s->limit) {
        size_t size = s->size * 2 < s->limit ? s->size * 2 : s->limit;
        char *text = realloc(s->text, size);
        if (text != NULL) {
            s->text = text;
            s->size = size;
        }
    }
    return s->size - 1 - s->n;
}

/* Reads what is there.  0, or -E_LIMIT; closes at the end. */
static int drain(struct sink *s)
{
    char waste[512];
    size_t room = make_room(s);
    ssize_t got = read(s->fd, room > 0 ? s->text + s->n : waste, room > 0 ? room : sizeof waste);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0) {
        close(s->fd);
        s->fd = -1;
        return 0;
    }
    if (room == 0)
        return s->limit == 0 ? 0 : -E_LIMIT;
    s->n += (size_t)got;
    return 0;
}

/* Until both pipes are at their ends.  0, -E_TIMEOUT, -E_LIMIT, -E_CANCELLED. */
static int collect(struct sink *sinks, const struct signals *signals, long long deadline)
{
    int rc = 0;
    while (rc == 0 && (sinks[0].fd >= 0 || sinks[1].fd >= 0)) {
        struct pollfd fds[2] = {{.fd = sinks[0].fd, .events = POLLIN},
                                {.fd = sinks[1].fd, .events = POLLIN}};
        long long left = deadline - now_ms();
        if (left <= 0)
            return -E_TIMEOUT;
        if (is_to_end(signals))
            return -E_CANCELLED;
        if (poll(fds, 2, left < LOOK_MS ? (int)left : LOOK_MS) < 0 && errno != EINTR)
            return -E_SYSTEM;
        for (int i = 0; i < 2 && rc == 0; i++)
            if (fds[i].fd >= 0 && fds[i].revents != 0)
                rc = drain(&sinks[i]);
    }
    for (int i = 0; i < 2; i++)
        sinks[i].text[sinks[i].n] = '\0';
    return rc;
}

/* Waits for the child until the deadline, then kills it with what it started. */
static int reap(pid_t pid, int rc, const struct signals *signals, long long deadline, int *status)
{
    struct timespec pause = {0, 2000000};
    while (rc == 0) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid)
            return 0;
        if (got < 0 && errno != EINTR)
            return -E_SYSTEM;
        if (now_ms() >= deadline)
            rc = -E_TIMEOUT;
        else if (is_to_end(signals))
            rc = -E_CANCELLED;
        else
            (void)nanosleep(&pause, NULL); /* its pipes are closed: it is about to end */
    }
    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
    return rc;
}

/* In a process group and with signals as at login.  0 or an errno value. */
static int spawn(const struct capture *c, const int out[2], const int err[2], pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, pipe_signal;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return rc;
    }
    (void)sigemptyset(&none);
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    rc = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                       POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnp(pid, c->program, &actions, &attributes, c->argv,
                          c->env == NULL ? environ : c->env);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* A pipe whose ends are above 2, so that dup2 onto 1 and 2 clears CLOEXEC there, and so that
 * neither end is overwritten before it is used. */
static int high_pipe(int ends[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0)
        return -E_DESCRIPTORS;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
        close(low[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    ends[0] = ends[1] = -1;
    return -E_DESCRIPTORS;
}

/* Starts it and reads what it says. */
static int run(const struct capture *c, struct sink sinks[2], const struct signals *signals,
               struct capture_result *r)
{
    int outs[2] = {-1, -1}, errs[2] = {-1, -1};
    long long deadline = now_ms() + c->timeout_ms;
    pid_t pid;
    int rc = high_pipe(outs);

    if (rc == 0)
        rc = high_pipe(errs);
    if (rc == 0) {
        r->number = spawn(c, outs, errs, &pid);
        rc = r->number == 0 ? 0 : -E_SYSTEM;
    }
    if (rc == 0) {
        close(outs[1]);
        close(errs[1]);
        sinks[0].fd = outs[0];
        sinks[1].fd = errs[0];
        outs[0] = outs[1] = errs[0] = errs[1] = -1;
        rc = reap(pid, collect(sinks, signals, deadline), signals, deadline, &r->status);
    }
    for (int i = 0; i < 2; i++) {
        const int fds[] = {outs[i], errs[i], sinks[i].fd};
        for (int j = 0; j < 3; j++)
            if (fds[j] >= 0)
                close(fds[j]);
    }
    return rc;
}

int capture_run(const struct capture *c, struct capture_result *r)
{
    size_t limit = c->limit + 1, room = limit < ROOM ? limit : ROOM;
    struct sink sinks[2] = {{.fd = -1, .text = malloc(room), .size = room, .limit = limit},
                            {.fd = -1, .text = r->errors, .size = sizeof r->errors}};
    struct signals signals;
    int rc;

    *r = (struct capture_result){.out = NULL};
    if (sinks[0].text == NULL)
        return -E_NOMEM;
    hold_signals(&signals);
    rc = run(c, sinks, &signals, r);
    let_signals_through(&signals);
    if (rc == 0) {
        r->out = sinks[0].text;
        r->length = sinks[0].n;
    } else {
        free(sinks[0].text);
    }
    return rc;
}
