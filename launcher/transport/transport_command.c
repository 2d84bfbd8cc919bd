/* The transports "command" and "local": a child process whose stdin and stdout are the pipe. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/blocking.h"
#include "launcher/transport/reap.h"
#include "launcher/transport/transport.h"

#define READ_SIZE (256 * 1024)
#define PIPE_SIZE (1024 * 1024)

struct command {
    struct transport base;
    struct transport_handler handler;
    void *arg;
    struct ev_loop *loop;
    struct blocking *blocking;
    char *const *argv;
    char *const *environment; /* NULL: ours */
    int appended; /* the text is the last argument, else it is written to the program's stdin */
    int local;    /* what runs is our own agent */
    int own_session;
    pid_t pid;
    ev_io in, out, err; /* the child's stdin, stdout, stderr; fd -1: closed */
    int opened;
    int paused;
    int eof_wanted;
    int waiting; /* a thread waits for the child's end */
    struct blocking_job *wait_job;
    uint8_t *buffer;
    struct transport_counters counters;
};

/* What the thread that waits for a child knows; outlives the transport. */
struct reaping {
    struct command *owner; /* NULL: nobody wants to know any more */
    pid_t pid;
    int status;
};

static void close_watcher(struct ev_loop *loop, ev_io *w)
{
    if (w->fd < 0)
        return;
    ev_io_stop(loop, w);
    close(w->fd);
    ev_io_set(w, -1, 0);
}

static void close_pipes(struct command *c)
{
    close_watcher(c->loop, &c->in);
    close_watcher(c->loop, &c->out);
    close_watcher(c->loop, &c->err);
}

/* ---- the child's end ---- */

static void wait_in_thread(void *arg)
{
    struct reaping *r = arg;

    r->status = reap_wait(r->pid);
}

static void waited(void *arg, int cancelled)
{
    struct reaping *r = arg;
    struct command *c = cancelled ? NULL : r->owner;
    int status = r->status;

    free(r);
    if (!c)
        return;
    c->waiting = 0;
    c->wait_job = NULL;
    c->pid = -1;
    c->handler.finished(c->arg, status);
}

/* Has a thread wait for the child; `tell`: `finished` follows. */
static void reap(struct command *c, int tell)
{
    struct reaping *r = c->pid > 0 ? malloc(sizeof *r) : NULL;
    struct blocking_job *job;

    if (!r)
        return;
    *r = (struct reaping){.owner = tell ? c : NULL, .pid = c->pid, .status = -1};
    job = blocking_run(c->blocking, wait_in_thread, waited, r);
    if (!job) {
        kill(c->pid, SIGKILL);
        wait_in_thread(r);
        waited(r, 0);
        return;
    }
    if (tell) {
        c->waiting = 1;
        c->wait_job = job;
    }
}

/* ---- bytes ---- */

static void output_ended(struct command *c)
{
    close_watcher(c->loop, &c->out);
    close_watcher(c->loop, &c->in);
    if (!c->waiting)
        reap(c, 1);
}

static void on_err(struct ev_loop *loop, ev_io *w, int revents)
{
    struct command *c = w->data;
    uint8_t text[4096];
    ssize_t n = read(w->fd, text, sizeof text);

    (void)revents;
    if (n > 0)
        c->handler.diagnostics(c->arg, text, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_watcher(loop, w);
}

static void on_out(struct ev_loop *loop, ev_io *w, int revents)
{
    struct command *c = w->data;
    ssize_t n = read(w->fd, c->buffer, READ_SIZE);

    (void)loop;
    (void)revents;
    if (n > 0) {
        c->counters.received += (uint64_t)n;
        c->handler.input(c->arg, c->buffer, (size_t)n);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* What it said last must come before the end, as it is the reason for a failure. */
    while (c->err.fd >= 0 && (n = read(c->err.fd, c->buffer, READ_SIZE)) > 0)
        c->handler.diagnostics(c->arg, c->buffer, (size_t)n);
    output_ended(c);
}

static void on_in(struct ev_loop *loop, ev_io *w, int revents)
{
    struct command *c = w->data;

    (void)revents;
    ev_io_stop(loop, w);
    if (!c->opened) {
        c->opened = 1;
        c->handler.opened(c->arg);
    } else {
        c->handler.writable(c->arg);
    }
}

static size_t command_write(struct transport *t, const uint8_t *bytes, size_t n)
{
    struct command *c = (struct command *)t;
    size_t done = 0;

    while (c->in.fd >= 0 && done < n) {
        ssize_t k = write(c->in.fd, bytes + done, n - done);
        if (k > 0) {
            done += (size_t)k;
        } else if (k < 0 && errno == EAGAIN) {
            ev_io_start(c->loop, &c->in);
            break;
        } else if (errno != EINTR) {
            close_watcher(c->loop, &c->in);
        }
    }
    c->counters.sent += done;
    /* A child that reads no more is known by the end of its output. */
    return c->in.fd < 0 ? n : done;
}

static void command_eof(struct transport *t)
{
    struct command *c = (struct command *)t;

    close_watcher(c->loop, &c->in);
}

static void command_pause(struct transport *t, int paused)
{
    struct command *c = (struct command *)t;

    if (c->out.fd < 0)
        return;
    if (paused)
        ev_io_stop(c->loop, &c->out);
    else
        ev_io_start(c->loop, &c->out);
}

/* ---- start ---- */

/* A program that asks on the terminal must stay in our session to do so, where it gets what the
 * terminal's keys, or others, send to the whole group. */
static int may_ask_on_terminal(const struct transport_options *options)
{
    int fd = options->interactive ? open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* In the child, after fork: only async-signal-safe calls. */
static void become(struct command *c, char *const *argv, const int fds[3], int report)
{
    sigset_t none;
    int number;

    for (int i = 0; i < 3; i++) {
        if (fds[i] == i)
            fcntl(i, F_SETFD, 0);
        else if (dup2(fds[i], i) < 0)
            _exit(127);
    }
    if (c->own_session) {
        setsid();
    } else {
        /* What the terminal sends is for the launcher, which passes it on over the line. */
        signal(SIGINT, SIG_IGN);
        signal(SIGQUIT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
    }
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (c->environment)
        environ = (char **)(uintptr_t)c->environment;
    execvp(argv[0], argv);
    number = errno;
    if (write(report, &number, sizeof number) < 0)
        _exit(126);
    _exit(127);
}

static char **arguments(struct command *c, const char *command)
{
    size_t n = 0;
    char **argv;

    while (c->argv[n])
        n++;
    argv = calloc(n + 2, sizeof *argv);
    if (!argv)
        return NULL;
    memcpy(argv, c->argv, n * sizeof *argv);
    if (c->appended)
        argv[n] = (char *)(uintptr_t)command;
    return argv;
}

static int spawn(struct command *c, const char *command, const int fds[3], struct error *e)
{
    char **argv = arguments(c, command);
    int report[2] = {-1, -1}, number = 0, result = 0;
    ssize_t n;

    if (!argv)
        return errors_set(e, -E_NOMEM, "%s", c->argv[0]);
    if (pipe2(report, O_CLOEXEC) < 0) {
        result = errors_set_system(e, -E_DESCRIPTORS, errno, "pipe");
        goto out;
    }
    c->pid = fork();
    if (c->pid == 0)
        become(c, argv, fds, report[1]);
    close(report[1]);
    report[1] = -1;
    if (c->pid < 0) {
        result = errors_set_system(e, -E_SYSTEM, errno, "fork");
        goto out;
    }
    do {
        n = read(report[0], &number, sizeof number);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof number) {
        waitpid(c->pid, NULL, 0);
        c->pid = -1;
        result = errors_set_system(e, -E_TRANSPORT, number, "%s", c->argv[0]);
    }
out:
    if (report[0] >= 0)
        close(report[0]);
    if (report[1] >= 0)
        close(report[1]);
    free(argv);
    return result;
}

static void watch(struct command *c, ev_io *w, int fd, int events)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    ev_io_set(w, fd, events);
    ev_io_start(c->loop, w);
}

/* Pipe ends as [0] in, [1] out, [2] err: ours and the child's. */
static int make_pipes(int ours[3], int theirs[3], struct error *e)
{
    for (int i = 0; i < 3; i++)
        ours[i] = theirs[i] = -1;
    for (int i = 0; i < 3; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
            return errors_set_system(e, -E_DESCRIPTORS, errno, "pipe");
        ours[i] = ends[i == 0];
        theirs[i] = ends[i != 0];
        if (i < 2)
            fcntl(ours[i], F_SETPIPE_SZ, PIPE_SIZE); /* larger is faster; a refusal does no harm */
    }
    return 0;
}

static void close_all(int fds[3])
{
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

static int start(struct command *c, const char *command, struct error *e)
{
    int ours[3], theirs[3], result = make_pipes(ours, theirs, e);

    if (result == 0)
        result = spawn(c, command, theirs, e);
    close_all(theirs);
    if (result < 0) {
        close_all(ours);
        return result;
    }
    c->opened = 0;
    watch(c, &c->in, ours[0], EV_WRITE);
    watch(c, &c->out, ours[1], EV_READ);
    watch(c, &c->err, ours[2], EV_READ);
    if (!c->appended) {
        command_write(&c->base, (const uint8_t *)command, strlen(command));
        command_write(&c->base, (const uint8_t *)"\n", 1);
    }
    return 0;
}

static int command_again(struct transport *t, const char *command, struct error *e)
{
    struct command *c = (struct command *)t;

    close_pipes(c);
    return start(c, command, e);
}

static void command_free(struct transport *t)
{
    struct command *c = (struct command *)t;

    close_pipes(c);
    if (c->waiting) {
        blocking_cancel(c->wait_job);
    } else if (c->pid > 0) {
        /* A client such as ssh is told to go; our own agent cleans up when its pipe is gone. */
        if (!c->local)
            kill(c->own_session ? -c->pid : c->pid, SIGTERM);
        reap(c, 0);
    }
    free(c->buffer);
    free(c);
}

static struct transport_counters command_counters(const struct transport *t)
{
    return ((const struct command *)t)->counters;
}

static const struct transport_class command_class = {
    .name = "command",
    .again = command_again,
    .write = command_write,
    .eof = command_eof,
    .pause = command_pause,
    .free = command_free,
    .counters = command_counters,
};

static const struct transport_class local_class = {
    .name = "local",
    .again = command_again,
    .write = command_write,
    .eof = command_eof,
    .pause = command_pause,
    .free = command_free,
    .counters = command_counters,
};

static struct transport *make(const struct transport_class *class,
                              const struct transport_options *options, char *const *argv,
                              int appended, const char *command,
                              const struct transport_handler *handler, void *arg, struct error *e)
{
    struct command *c = calloc(1, sizeof *c);

    if (!c || (c->buffer = malloc(READ_SIZE)) == NULL) {
        free(c);
        errors_set(e, -E_NOMEM, "transport");
        return NULL;
    }
    c->base.class = class;
    c->handler = *handler;
    c->arg = arg;
    c->loop = options->loop;
    c->blocking = options->blocking;
    c->argv = argv;
    c->environment = class == &command_class ? options->environment : NULL;
    c->appended = appended;
    c->local = class == &local_class;
    c->own_session = c->local || !may_ask_on_terminal(options);
    c->pid = -1;
    ev_io_init(&c->in, on_in, -1, 0);
    ev_io_init(&c->out, on_out, -1, 0);
    ev_io_init(&c->err, on_err, -1, 0);
    c->in.data = c->out.data = c->err.data = c;
    handler->phase(arg, PHASE_CONNECT, argv[0]);
    if (start(c, command, e) < 0) {
        command_free(&c->base);
        return NULL;
    }
    handler->phase(arg, PHASE_SHELL, class->name);
    return &c->base;
}

struct transport *transport_command(const struct transport_options *options, const char *command,
                                    const struct transport_handler *handler, void *arg,
                                    struct error *e)
{
    return make(&command_class, options, options->argv, options->command_appended, command, handler,
                arg, e);
}

struct transport *transport_local(const struct transport_options *options, const char *command,
                                  const struct transport_handler *handler, void *arg,
                                  struct error *e)
{
    static char *const shell[] = {"/bin/sh", "-c", NULL};

    return make(&local_class, options, shell, 1, command, handler, arg, e);
}
