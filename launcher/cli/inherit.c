#include "launcher/cli/inherit.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static int fill_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The lowest free number is this one, as those below are taken. */
        if (open("/dev/null", O_RDWR) != fd)
            return -1;
    }
    return 0;
}

int inherit_mend(void)
{
    static const int wanted[] = {SIGINT,   SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2,
                                 SIGWINCH, SIGCHLD, SIGALRM, SIGTSTP, SIGCONT};
    struct sigaction ignore = {.sa_handler = SIG_IGN}, usual = {.sa_handler = SIG_DFL};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        sigaddset(&set, wanted[i]);
    if (sigprocmask(SIG_UNBLOCK, &set, NULL) < 0 || sigaction(SIGPIPE, &ignore, NULL) < 0 ||
        sigaction(SIGCHLD, &usual, NULL) < 0)
        return -1;
    return fill_descriptors();
}
