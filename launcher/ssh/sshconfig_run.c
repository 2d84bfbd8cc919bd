/* `ssh -G`: OpenSSH evaluates its configuration itself. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launcher/safetext.h"
#include "launcher/ssh/sshconfig_impl.h"

#define OUTPUT_MAX (1u << 20)
#define ERRORS_MAX 400u

extern char **environ;

/* What comes over one pipe. */
struct sink {
    int fd;
    char *text;
    size_t n, size;
    int drops; /* what does not fit is read and dropped, instead of being an error */
};

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads what is there.  0, or -E_LIMIT; closes at the end. */
static int drain(struct sink *s)
{
    char waste[512];
    size_t room = s->size - 1 - s->n;
    ssize_t got = read(s->fd, room > 0 ? s->text + s->n : waste, room > 0 ? room : sizeof waste);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0) {
        close(s->fd);
        s->fd = -1;
        return 0;
    }
    if (room == 0)
        return s->drops ? 0 : -E_LIMIT;
    s->n += (size_t)got;
    return 0;
}

/* Until both pipes are at their ends.  0, -E_TIMEOUT, -E_LIMIT. */
static int collect(struct sink *sinks, long long deadline)
{
    int rc = 0;
    while (rc == 0 && (sinks[0].fd >= 0 || sinks[1].fd >= 0)) {
        struct pollfd fds[2] = {{.fd = sinks[0].fd, .events = POLLIN},
                                {.fd = sinks[1].fd, .events = POLLIN}};
        long long left = deadline - now_ms();
        if (left <= 0)
            return -E_TIMEOUT;
        if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
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
static int reap(pid_t pid, int rc, long long deadline, int *status)
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
        else
            (void)nanosleep(&pause, NULL); /* its pipes are closed: it is about to end */
    }
    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
    return rc;
}

/* In a process group and with signals as at login.  0 or an errno value. */
static int spawn(const char *program, char **argv, const int out[2], const int err[2], pid_t *pid)
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
        rc = posix_spawnp(pid, program, &actions, &attributes, argv, environ);
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

/* The arguments; the caller frees the array (the strings are the set's).  `port` is printed into
 * the caller's buffer. */
static char **arguments(const struct sshconfig_set *set, const char *host, const char *user,
                        unsigned port, int bare, char *port_text, size_t size)
{
    size_t n = 0;
    char **argv = calloc(2 * set->settings_count + 12, sizeof *argv);
    if (argv == NULL)
        return NULL;
    argv[n++] = set->ssh_program;
    argv[n++] = "-G";
    if (bare || set->file != NULL) {
        argv[n++] = "-F";
        argv[n++] = bare ? "none" : set->file;
    }
    for (size_t i = 0; !bare && i < set->settings_count; i++) {
        argv[n++] = "-o";
        argv[n++] = set->settings[i];
    }
    if (user != NULL) {
        argv[n++] = "-l";
        argv[n++] = (char *)(uintptr_t)user;
    }
    if (port != 0) {
        (void)snprintf(port_text, size, "%u", port);
        argv[n++] = "-p";
        argv[n++] = port_text;
    }
    argv[n++] = "--";
    argv[n++] = (char *)(uintptr_t)host;
    return argv;
}

/* What went wrong, in ssh's own words if it said any. */
static int describe(const struct sshconfig_set *set, int rc, int status, const char *words,
                    struct error *e)
{
    char safe[ERRORS_MAX * 2];
    if (rc == -E_LIMIT)
        return errors_set(e, rc, "it printed more than %u bytes", OUTPUT_MAX);
    if (rc == -E_TIMEOUT)
        return errors_set(e, rc, "it did not answer in time");
    if (rc != 0)
        return errors_set(e, rc, "%s", set->ssh_program);
    (void)safetext_copy(safe, sizeof safe, words, strcspn(words, "\r\n"), 0);
    if (safe[0] != '\0')
        return errors_set(e, -E_CONFIG, "%s", safe);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) /* where posix_spawn cannot tell */
        return errors_set(e, -E_CONFIG, "%s is not installed", set->ssh_program);
    return errors_set(e, -E_CONFIG, "%s ended with status %d", set->ssh_program,
                      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int sshconfig_run(const struct sshconfig_set *set, const char *host, const char *user,
                  unsigned port, int bare, unsigned timeout_ms, char **out, struct error *e)
{
    int rc, status = 0, outs[2] = {-1, -1}, errs[2] = {-1, -1};
    char port_text[16], errors[ERRORS_MAX] = "";
    long long deadline = now_ms() + timeout_ms;
    pid_t pid;
    char **argv = arguments(set, host, user, port, bare, port_text, sizeof port_text);
    struct sink sinks[2] = {{.fd = -1, .text = malloc(OUTPUT_MAX), .size = OUTPUT_MAX},
                            {.fd = -1, .text = errors, .size = sizeof errors, .drops = 1}};
    *out = NULL;
    if (argv == NULL || sinks[0].text == NULL) {
        rc = errors_set(e, -E_NOMEM, "ssh -G");
        goto out;
    }
    rc = high_pipe(outs);
    if (rc == 0)
        rc = high_pipe(errs);
    if (rc != 0) {
        rc = errors_set(e, rc, "pipe");
        goto out;
    }
    int number = spawn(set->ssh_program, argv, outs, errs, &pid);
    if (number != 0) {
        rc = number == ENOENT ? errors_set(e, -E_CONFIG, "%s is not installed", set->ssh_program)
                              : errors_set_system(e, -E_SYSTEM, number, "%s", set->ssh_program);
        goto out;
    }
    close(outs[1]);
    close(errs[1]);
    sinks[0].fd = outs[0];
    sinks[1].fd = errs[0];
    outs[0] = outs[1] = errs[0] = errs[1] = -1;
    rc = reap(pid, collect(sinks, deadline), deadline, &status);
    if (rc != 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        rc = describe(set, rc, status, errors, e);
out:
    for (int i = 0; i < 2; i++) {
        const int fds[] = {outs[i], errs[i], sinks[i].fd};
        for (int j = 0; j < 3; j++)
            if (fds[j] >= 0)
                close(fds[j]);
    }
    free(argv);
    if (rc == 0)
        *out = sinks[0].text;
    else
        free(sinks[0].text);
    return rc;
}
