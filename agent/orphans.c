#include "agent/orphans.h"

#include <errno.h>
#include <stdint.h>
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

void orphans_block(sigset_t *set, sigset_t *before)
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

int orphans_take(pid_t *one, int *status, struct rusage *usage)
{
    struct rusage u;
    pid_t pid;
    int s;

    for (;;) {
        pid = wait4(-1, &s, WNOHANG, &u);
        if (pid < 0 && errno == EINTR) {
            continue;
        }
        if (pid <= 0) {
            return pid < 0 && errno == ECHILD;
        }
        if (pid == *one) {
            *one = 0;
            *status = s;
            if (usage != NULL) {
                *usage = u;
            }
        }
    }
}

/* Returns true when what lives below us may not be signalled. */
static int signal_all(struct tree *t, int number)
{
    size_t alive;
    size_t refused = 0;

    if (tree_scan(t) != 0) {
        return 1;
    }
    alive = tree_mark(t, getpid());
    for (size_t i = 0; i < t->count; i++) {
        const struct tree_process *p = &t->p[i];
        if (p->marked && !p->dead) {
            refused += linux_signal(p->pid, p->started, number) != 0;
            if (p->state == 'T') {
                (void)linux_signal(p->pid, p->started, SIGCONT);
            }
        }
    }
    return alive > 0 && alive == refused;
}

/* Takes ends until `deadline`.  Returns true when there are no children any more. */
static int take_until(const sigset_t *set, uint64_t deadline)
{
    pid_t nobody = 0;
    int status;

    for (;;) {
        int childless = orphans_take(&nobody, &status, NULL);
        uint64_t now = clock_now_us();
        uint64_t left = now < deadline ? deadline - now : 0;
        struct timespec t = {.tv_sec = (time_t)(left / 1000000u),
                             .tv_nsec = (long)(left % 1000000u) * 1000};
        if (childless || left == 0) {
            return childless;
        }
        (void)sigtimedwait(set, NULL, &t);
    }
}

/* Many keepers may be at this at a time: before the KILL they look less and less often. */
void orphans_end(const sigset_t *set, int orderly, int fd)
{
    struct tree t = {0};
    uint64_t now = clock_now_us();
    uint64_t kill_at = now + GRACE_US;
    uint64_t pause = PAUSE_US;
    int number = SIGTERM;

    while (!take_until(set, number == SIGTERM ? now : now + pause)) {
        int refused;
        now = clock_now_us();
        if (now >= kill_at + STUCK_US) {
            break;
        }
        if (number != SIGTERM && fd >= 0) {
            close(fd);
            fd = -1;
        }
        if (now >= kill_at) {
            number = SIGKILL;
            pause = PAUSE_US;
        }
        refused = signal_all(&t, number);
        if (refused && (orderly || now >= kill_at)) {
            break;
        }
        if (now < kill_at) {
            pause = number == SIGTERM ? PAUSE_US : pause * 2;
            pause = pause < kill_at - now ? pause : kill_at - now;
            number = 0;
        }
    }
    tree_free(&t);
}
