#include "launcher/ssh/ssh2_proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/safetext.h"
#include "launcher/ssh/sshwords.h"
#include "launcher/transport/reap.h"

#define SAID_MAX   500
#define SSH_FAILED 255 /* exit status; which one it is does not matter here */

struct ssh2_proxy {
    struct blocking *blocking;
    pid_t pid;
    int err; /* what it says on its standard error */
};

static int spawn(char *const *argv, int line, int err, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    int number = posix_spawn_file_actions_init(&files);

    if (number)
        return number;
    number = posix_spawnattr_init(&how);
    if (number) {
        posix_spawn_file_actions_destroy(&files);
        return number;
    }
    sigemptyset(&none);
    sigfillset(&all);
    number = posix_spawn_file_actions_adddup2(&files, line, STDIN_FILENO);
    if (!number)
        number = posix_spawn_file_actions_adddup2(&files, line, STDOUT_FILENO);
    if (!number)
        number = posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    if (!number)
        number = posix_spawnattr_setsigmask(&how, &none);
    if (!number)
        number = posix_spawnattr_setsigdefault(&how, &all);
    if (!number)
        number = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETSID);
    if (!number)
        number = posix_spawnp(pid, argv[0], &files, &how, argv, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return number;
}

/* A descriptor above those of standard streams, for the child to be given in their place. */
static int lift(int fd)
{
    int higher = fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (higher != fd)
        close(fd);
    return higher;
}

static void close_both(int fds[2])
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

struct ssh2_proxy *ssh2_proxy_start(char *const *argv, struct blocking *blocking, int *fd,
                                    struct error *e)
{
    struct ssh2_proxy *p = calloc(1, sizeof *p);
    int line[2] = {-1, -1}, err[2] = {-1, -1}, number;

    if (!p) {
        errors_set(e, -E_NOMEM, "proxy");
        return NULL;
    }
    p->blocking = blocking;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0 || pipe2(err, O_CLOEXEC) < 0) {
        errors_set_system(e, -E_DESCRIPTORS, errno, "proxy");
        goto failed;
    }
    line[1] = lift(line[1]);
    err[1] = lift(err[1]);
    fcntl(line[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    number = spawn(argv, line[1], err[1], &p->pid);
    if (number) {
        errors_set_system(e, -E_PROXY, number, "%s", argv[0]);
        goto failed;
    }
    close(line[1]);
    close(err[1]);
    *fd = line[0];
    p->err = err[0];
    return p;
failed:
    close_both(line);
    close_both(err);
    free(p);
    return NULL;
}

void ssh2_proxy_explain(struct ssh2_proxy *p, const struct sshconfig *config, struct error *e)
{
    struct sshwords about = {.status = SSH_FAILED,
                             .proxy_jump = config->proxy_jump,
                             .proxy_command = config->proxy_command};
    char text[4096], said[2 * SAID_MAX];
    ssize_t n = read(p->err, text, sizeof text);

    if (e->code != -E_DISCONNECTED && e->code != -E_MUTE && e->code != -E_KEX_TIMEOUT)
        return;
    while (n > 0 && strchr("\r\n", text[n - 1]))
        n--;
    if (n <= 0 && e->code != -E_DISCONNECTED)
        return;
    if (n <= 0)
        errors_set(e, -E_PROXY, "it ended without a word");
    for (ssize_t i = 0; i < n; i++)
        text[i] = text[i] == '\n' ? '|' : text[i];
    safetext_copy(said, sizeof said, text, n > 0 ? (size_t)n : 0, 0);
    about.said = said;
    if (n > 0)
        sshwords_explain(&about, e);
}

static void reap(void *arg)
{
    reap_wait(((struct ssh2_proxy *)arg)->pid);
}

static void reaped(void *arg, int cancelled)
{
    (void)cancelled;
    free(arg);
}

void ssh2_proxy_free(struct ssh2_proxy *p)
{
    if (!p)
        return;
    close(p->err);
    kill(-p->pid, SIGTERM);
    if (blocking_run(p->blocking, reap, reaped, p))
        return;
    kill(-p->pid, SIGKILL);
    reap(p);
    free(p);
}
