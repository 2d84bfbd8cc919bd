#include "launcher/transport/reap.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_WAIT_MS 10000

int reap_wait(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0), status;
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (fd < 0 || poll(&p, 1, END_WAIT_MS) == 0)
        kill(pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
