#include "agent/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/linux.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

enum stage { STAGE_SETUP = 1, STAGE_CWD, STAGE_EXEC, STAGE_INTERPRETER, STAGE_IMAGE };

struct report {
    int stage;
    int number; /* errno */
};

/* What the child needs, prepared before it exists: it shares the parent's memory until it runs
 * its program, so it must not allocate. */
struct start {
    const struct spawn_program *program;
    const char *path; /* directories to search; NULL: argv[0] is a path itself */
    char *candidate;  /* room for the longest path to try */
    int report;       /* pipe that execve closes */
    pid_t parent;
};

static void fail(const struct start *s, enum stage stage, int number)
{
    struct report r = {.stage = (int)stage, .number = number};
    ssize_t n = write(s->report, &r, sizeof r);

    _exit(n == (ssize_t)sizeof r ? 127 : 126);
}

static void reset_signals(void)
{
    sigset_t none;

    linux_default_signals();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_up(const struct start *s)
{
    const struct spawn_program *p = s->program;

    (void)setsid();
    /* The command does not outlive a keeper that is killed, not even one that was just now. */
    (void)linux_parent_death(SIGKILL);
    if (getppid() != s->parent) {
        fail(s, STAGE_SETUP, ESRCH);
    }
    if (dup2(p->in, 0) < 0 || dup2(p->out, 1) < 0 || dup2(p->err, 2) < 0) {
        fail(s, STAGE_SETUP, errno);
    }
    if (p->files != NULL) {
        (void)setrlimit(RLIMIT_NOFILE, p->files);
    }
    umask(p->umask);
    if (p->cwd != NULL && chdir(p->cwd) != 0) {
        fail(s, STAGE_CWD, errno);
    }
    reset_signals();
}

/* The kernel says "no such file" for a script whose interpreter is missing, too. */
static void fail_exec(const struct start *s, const char *path, int number)
{
    if (number == ENOENT && access(path, F_OK) == 0) {
        fail(s, STAGE_INTERPRETER, number);
    }
    fail(s, STAGE_EXEC, number);
}

static void search(const struct start *s)
{
    const struct spawn_program *p = s->program;
    size_t name = strlen(p->argv[0]) + 1;
    int number = ENOENT;

    for (const char *at = s->path;;) {
        const char *end = strchrnul(at, ':');
        size_t n = (size_t)(end - at);
        memcpy(s->candidate, at, n);
        if (n > 0) {
            s->candidate[n++] = '/'; /* an empty element is the working directory */
        }
        memcpy(s->candidate + n, p->argv[0], name);
        execve(s->candidate, p->argv, p->envp);
        if (errno == EACCES) {
            number = EACCES; /* there may be a better one further on */
        } else if (errno != ENOTDIR && (errno != ENOENT || access(s->candidate, F_OK) == 0)) {
            fail_exec(s, s->candidate, errno);
        }
        if (*end == '\0') {
            fail(s, STAGE_EXEC, number);
        }
        at = end + 1;
    }
}

static void run_child(const struct start *s)
{
    const struct spawn_program *p = s->program;

    set_up(s);
    if (p->image >= 0) {
        linux_run_file(p->image, p->argv, p->envp);
        fail(s, STAGE_IMAGE, errno);
    }
    if (s->path != NULL) {
        search(s);
    }
    execve(p->argv[0], p->argv, p->envp);
    fail_exec(s, p->argv[0], errno);
}

static const char *path_of(char *const *envp)
{
    for (; *envp != NULL; envp++) {
        if (strncmp(*envp, "PATH=", 5) == 0) {
            return *envp + 5;
        }
    }
    return DEFAULT_PATH;
}

static int explain(const struct spawn_program *p, const struct report *r, struct error *e)
{
    const char *name = p->argv[0];

    switch (r->stage) {
    case STAGE_CWD:
        return errors_set_system(e, -E_CWD, r->number, "%s", p->cwd);
    case STAGE_INTERPRETER:
        return errors_set(e, -E_NOT_EXECUTABLE, "%s: its interpreter is missing", name);
    case STAGE_EXEC:
        if (r->number == ENOENT || (r->number == ENOTDIR && strchr(name, '/') != NULL)) {
            return errors_set(e, -E_NO_COMMAND, "%s", name);
        }
        return errors_set_system(e, -E_NOT_EXECUTABLE, r->number, "%s", name);
    case STAGE_IMAGE:
        return errors_set_system(e, -E_NOT_EXECUTABLE, r->number, "%s, a blob", name);
    default:
        return errors_set_system(e, -E_SYSTEM, r->number, "%s", name);
    }
}

/* Reads what the child reported: r->stage 0 when the program runs. */
static void read_report(int fd, struct report *r)
{
    ssize_t n;

    do {
        n = read(fd, r, sizeof *r);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof *r) {
        memset(r, 0, sizeof *r);
    }
}

static pid_t start_child(const struct start *s)
{
    sigset_t all, before;
    pid_t pid;

    /* No handler of ours may run in the child, in memory that is ours. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = vfork();
    if (pid == 0) {
        /* It calls nothing that locks, allocates or changes what the parent keeps.
         * NOLINTNEXTLINE(clang-analyzer-unix.Vfork) */
        run_child(s);
        _exit(127);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

int spawn_start(const struct spawn_program *program, pid_t *pid, struct error *e)
{
    struct start s = {.program = program, .parent = getpid()};
    struct report r = {0};
    int ends[2] = {-1, -1};
    int result = 0;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        result = errors_set_system(e, errno == EMFILE ? -E_DESCRIPTORS : -E_SYSTEM, errno, "pipe");
        goto out;
    }
    s.report = ends[1];
    if (program->image < 0 && program->argv[0][0] == '\0') {
        result = errors_set(e, -E_NO_COMMAND, "the name is empty");
        goto out;
    }
    if (program->image < 0 && strchr(program->argv[0], '/') == NULL) {
        s.path = path_of(program->envp);
        s.candidate = malloc(strlen(s.path) + strlen(program->argv[0]) + 2);
        if (s.candidate == NULL) {
            result = errors_set(e, -E_NOMEM, "%s", program->argv[0]);
            goto out;
        }
    }
    *pid = start_child(&s);
    if (*pid < 0) {
        result = errors_set_system(e, -E_SYSTEM, errno, "a new process");
        goto out;
    }
    close(ends[1]);
    ends[1] = -1;
    read_report(ends[0], &r);
    if (r.stage != 0) {
        while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {
        }
        result = explain(program, &r, e);
    }
out:
    free(s.candidate);
    if (ends[0] >= 0) {
        close(ends[0]);
    }
    if (ends[1] >= 0) {
        close(ends[1]);
    }
    return result;
}
