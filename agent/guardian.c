#include "agent/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/linux.h"
#include "agent/tree.h"

#define GRACE_US 2000000u
#define STUCK_US 5000000u /* after the grace: a process that KILL does not end is left alone */
#define PAUSE_US 20000u   /* between two looks, unless a child ends meanwhile */

static void ignore(int number)
{
    (void)number;
}

/* The signals that the guardian waits for: they are blocked, and taken one by one. */
static void block_signals(sigset_t *set, sigset_t *before)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = ignore; /* an ignored signal would not wake anybody */
    (void)sigaction(SIGCHLD, &action, NULL);
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGINT);
    sigprocmask(SIG_BLOCK, set, before);
}

/* Takes the ends of dead children.  Returns true when there are no others; *status is set, and
 * *agent cleared, when the agent was among them. */
static int take_ends(pid_t *agent, int *status)
{
    pid_t pid;
    int s;

    for (;;) {
        pid = waitpid(-1, &s, WNOHANG);
        if (pid < 0 && errno == EINTR) {
            continue;
        }
        if (pid <= 0) {
            return pid < 0 && errno == ECHILD;
        }
        if (pid == *agent) {
            *agent = 0;
            *status = s;
        }
    }
}

/* Returns true when what lives below us may not be signalled. */
static int signal_all(struct tree *t, int number)
{
    size_t alive = 0;
    size_t refused = 0;

    if (tree_scan(t, getpid()) != 0) {
        return 1;
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct tree_process *p = &t->p[i];
        if (p->below && !p->dead) {
            alive++;
            refused += linux_signal(p->pid, p->started, number) != 0;
            if (p->state == 'T') {
                (void)linux_signal(p->pid, p->started, SIGCONT);
            }
        }
    }
    return alive > 0 && alive == refused;
}

static void pause_for(const sigset_t *set, uint64_t us)
{
    struct timespec t = {.tv_sec = (time_t)(us / 1000000u),
                         .tv_nsec = (long)(us % 1000000u) * 1000};

    (void)sigtimedwait(set, NULL, &t);
}

/* Ends the orphans.  Those of an agent that left in good order had their grace already. */
static void end_orphans(const sigset_t *set, int orderly)
{
    struct tree t = {0};
    pid_t agent = 0;
    int status;
    uint64_t kill_at = clock_now_us() + GRACE_US;
    int first = 1;

    while (!take_ends(&agent, &status)) {
        uint64_t now = clock_now_us();
        int refused;
        if (now >= kill_at + STUCK_US) {
            break;
        }
        refused = signal_all(&t, now >= kill_at ? SIGKILL : first ? SIGTERM : 0);
        if (refused && (orderly || now >= kill_at)) {
            break;
        }
        first = 0;
        pause_for(set, PAUSE_US);
    }
    tree_free(&t);
}

static int keep_watch(pid_t agent, const sigset_t *set)
{
    pid_t left = agent;
    int status = 0;

    while (left != 0) {
        int number = sigwaitinfo(set, NULL);
        if (number == SIGTERM || number == SIGHUP || number == SIGINT) {
            (void)kill(agent, SIGTERM);
        }
        (void)take_ends(&left, &status);
    }
    end_orphans(set, WIFEXITED(status));
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
        return errors_set_system(e, -E_SYSTEM, errno, "pipe");
    }
    (void)linux_subreaper(); /* elsewhere orphans escape; their process groups are ended */
    (void)setsid(); /* what a terminal's keys send is for the launcher, which passes it on */
    block_signals(&set, &before);
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
