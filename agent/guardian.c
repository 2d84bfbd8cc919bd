#include "agent/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/linux.h"
#include "agent/orphans.h"

static int keep_watch(pid_t agent, const sigset_t *set)
{
    pid_t left = agent;
    int status = 0;

    while (left != 0) {
        int number = sigwaitinfo(set, NULL);
        if (number == SIGTERM || number == SIGHUP || number == SIGINT) {
            (void)kill(agent, SIGTERM);
        }
        (void)orphans_take(&left, &status, NULL);
    }
    /* What an agent that left in good order leaves had its grace already. */
    orphans_end(set, WIFEXITED(status), -1);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void let_go_of_pipe(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null >= 0) {
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        close(null);
    } else {
        close(0);
        close(1);
    }
}

int guardian_start(int *alive, int *status, struct error *e)
{
    sigset_t set, before;
    int ends[2];
    pid_t agent;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errors_set_system(e, errno == EMFILE ? -E_DESCRIPTORS : -E_SYSTEM, errno, "pipe");
    }
    (void)linux_subreaper(); /* elsewhere orphans escape; their process groups are ended */
    (void)setsid(); /* what a terminal's keys send is for the launcher, which passes it on */
    orphans_block(&set, &before);
    agent = fork();
    if (agent < 0) {
        return errors_set_system(e, -E_SYSTEM, errno, "fork");
    }
    if (agent == 0) {
        close(ends[1]);
        (void)signal(SIGCHLD, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        (void)setsid(); /* a signal to the group of one must not end both */
        (void)linux_parent_death(SIGTERM);
        (void)linux_subreaper(); /* it is not inherited */
        *alive = ends[0];
        return 0;
    }
    close(ends[0]);
    let_go_of_pipe();
    *status = keep_watch(agent, &set);
    return 1;
}
