#include "agent/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/linux.h"

#define STDIN_PIPE (256 * 1024) /* bytes; the usual 64 KiB cost a third of the throughput */
#define RESERVE    8            /* descriptors kept free, to look after what was started */

enum { READ, WRITE };

struct ends {
    int in[2], out[2], err[2], null;
};

static void close_end(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void launch_close(struct launch *launch)
{
    close_end(&launch->in);
    close_end(&launch->out);
    close_end(&launch->err);
}

static void close_ends(struct ends *ends)
{
    for (int i = 0; i < 2; i++) {
        close_end(&ends->in[i]);
        close_end(&ends->out[i]);
        close_end(&ends->err[i]);
    }
    close_end(&ends->null);
}

/* True when the next descriptors are needed for the agent itself: the lowest free number tells. */
static int few_are_left(int newest)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           (rlim_t)newest + RESERVE >= limit.rlim_cur;
}

static int open_ends(const struct plan *plan, struct ends *ends, struct error *e)
{
    int result;

    *ends = (struct ends){{-1, -1}, {-1, -1}, {-1, -1}, -1};
    if (pipe2(ends->out, O_CLOEXEC) != 0 ||
        (plan->stderr_id != 0 && pipe2(ends->err, O_CLOEXEC) != 0) ||
        (plan->with_stdin && pipe2(ends->in, O_CLOEXEC) != 0)) {
        goto failed;
    }
    ends->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (ends->null < 0) {
        goto failed;
    }
    if (few_are_left(ends->null)) {
        errno = EMFILE;
        goto failed;
    }
    if (plan->with_stdin) {
        linux_pipe_size(ends->in[WRITE], STDIN_PIPE);
    }
    return 0;
failed:
    result = errno == EMFILE || errno == ENFILE ? -E_DESCRIPTORS : -E_SYSTEM;
    errors_set_system(e, result, errno, "the pipes of the command");
    close_ends(ends);
    return result;
}

int launch_start(const struct plan *plan, int image, mode_t umask, const struct rlimit *files,
                 struct launch *launch, struct error *e)
{
    struct spawn_program program = {.argv = plan->argv,
                                    .envp = plan->envp,
                                    .cwd = plan->cwd,
                                    .image = image,
                                    .umask = umask,
                                    .files = files};
    struct ends ends;
    int result = open_ends(plan, &ends, e);

    if (result != 0) {
        return result;
    }
    program.in = plan->with_stdin ? ends.in[READ] : ends.null;
    program.out = ends.out[WRITE];
    program.err = ends.null;
    if (plan->merge) {
        program.err = ends.out[WRITE];
    } else if (plan->stderr_id != 0) {
        program.err = ends.err[WRITE];
    }
    result = keeper_start(&program, ends.in[WRITE], &launch->keeper, e);
    if (result == 0) {
        launch->in = ends.in[WRITE];
        launch->out = ends.out[READ];
        launch->err = ends.err[READ];
        ends.in[WRITE] = ends.out[READ] = ends.err[READ] = -1;
    }
    close_ends(&ends);
    return result;
}
