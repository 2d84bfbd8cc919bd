/* Asking through an askpass program (ssh(1), "SSH_ASKPASS"). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/ssh/ask_impl.h"

extern char **environ;

const char *ask_program_choose(const struct ask_options *options, int have_tty)
{
    const char *rule = getenv("SSH_ASKPASS_REQUIRE");
    const char *program = options->askpass != NULL ? options->askpass : getenv("SSH_ASKPASS");
    int allowed = getenv("DISPLAY") != NULL || getenv("WAYLAND_DISPLAY") != NULL;
    int wanted = !have_tty;
    if (rule != NULL && strcasecmp(rule, "force") == 0)
        allowed = wanted = 1;
    else if (rule != NULL && strcasecmp(rule, "prefer") == 0)
        wanted |= allowed;
    else if (rule != NULL && strcasecmp(rule, "never") == 0)
        allowed = 0;
    if (!wanted || !allowed)
        return NULL;
    if (program != NULL && program[0] != '\0')
        return program;
    return access(ASK_PROGRAM_DEFAULT, X_OK) == 0 ? ASK_PROGRAM_DEFAULT : NULL;
}

/* The environment, with the hint that a yes or no is wanted.  The caller frees the array. */
static char **environment(enum ask_kind kind)
{
    static char hint[] = "SSH_ASKPASS_PROMPT=confirm";
    size_t n = 0, kept = 0;
    while (environ[n] != NULL)
        n++;
    char **env = calloc(n + 2, sizeof *env);
    if (env == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], hint, strcspn(hint, "=") + 1) != 0)
            env[kept++] = environ[i];
    if (kind == ASK_CONFIRM)
        env[kept] = hint;
    return env;
}

/* Starts it with its stdout to `out`.  0 or an errno value. */
static int spawn(const char *program, char *prompt, char **env, int out, pid_t *pid)
{
    char *argv[] = {(char *)(uintptr_t)program, prompt, NULL};
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
    rc = posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnp(pid, program, &actions, &attributes, argv, env);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Waits for the pipe's end, which comes with the program's; what it says behind its first line is
 * not wanted. */
static int pass_over(const struct ask *a, int fd)
{
    char waste[64];
    for (;;) {
        int rc = ask_wait(a, fd);
        if (rc != 0)
            return rc;
        ssize_t n = read(fd, waste, sizeof waste);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -E_SYSTEM;
    }
    sodium_memzero(waste, sizeof waste);
    return 0;
}

/* The program's end: killed first if nobody wants its answer any more. */
static int reap(pid_t pid, int unwanted)
{
    int status = 0;
    if (unwanted)
        (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -E_SYSTEM;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return -E_SYSTEM; /* not there: posix_spawn cannot tell everywhere */
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -E_CANCELLED;
}

int ask_program(struct ask *a, const char *program, struct error *e)
{
    int rc, ends[2] = {-1, -1}, out = -1;
    pid_t pid = -1;
    char **env = environment(a->options->kind);
    if (env == NULL)
        return errors_set(e, -E_NOMEM, "%.500s", program);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        rc = errors_set_system(e, -E_DESCRIPTORS, errno, "pipe");
        goto out;
    }
    out = fcntl(ends[1], F_DUPFD_CLOEXEC, 3); /* dup2 onto itself would keep CLOEXEC */
    int number = errno;
    if (out >= 0)
        number = spawn(program, a->prompt, env, out, &pid);
    close(ends[1]);
    if (out >= 0)
        close(out);
    if (number != 0) {
        rc = errors_set_system(e, -E_SYSTEM, number, "askpass program %.500s", program);
        goto out;
    }
    rc = ask_line(a, ends[0]);
    if (rc == 0)
        rc = pass_over(a, ends[0]);
    int ended = reap(pid, rc != 0);
    rc = rc != 0 ? rc : ended;
    if (rc != 0)
        (void)errors_set(e, rc, "askpass program %.500s", program);
out:
    if (ends[0] >= 0)
        close(ends[0]);
    free(env);
    return rc;
}
