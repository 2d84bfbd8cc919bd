#include "agent/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/linux.h"
#include "agent/orphans.h"

/* The keeper's descriptors; 0 to 2 are what the command gets. */
#define REPORT 3
#define INPUT  4
#define IMAGE  5
#define OTHERS 6

#define CUT_NS 20000000 /* from TERM to the end of the input, nanoseconds */

/* Whether the program runs: the first message of a keeper.  Each fits a pipe's atomic write. */
struct started {
    pid_t leader;
    struct error error;
};

/* Those who look after everything: while one of them lives the keeper only keeps. */
struct superiors {
    pid_t agent, guardian;
};

/* ---- in the keeper ---- */

static void tell(const void *message, size_t n)
{
    (void)!write(REPORT, message, n); /* who does not hear it any more need not know */
}

/* The agent's descriptors are let go of: an end of the line or of another command's pipe, held
 * here, would hide its end from those who wait for it. */
static void take_descriptors(const struct spawn_program *program, int report, int input)
{
    int high_report = fcntl(report, F_DUPFD_CLOEXEC, OTHERS);
    int high_input = fcntl(input, F_DUPFD_CLOEXEC, OTHERS);
    int high_image = fcntl(program->image, F_DUPFD_CLOEXEC, OTHERS);

    if (high_report < 0) {
        _exit(1);
    }
    (void)dup2(program->in, 0);
    (void)dup2(program->out, 1);
    (void)dup2(program->err, 2);
    (void)dup3(high_report, REPORT, O_CLOEXEC);
    if (dup3(high_input, INPUT, O_CLOEXEC) < 0) {
        close(INPUT);
    }
    if (dup3(high_image, IMAGE, O_CLOEXEC) < 0) {
        close(IMAGE);
    }
    linux_close_from(OTHERS);
}

static int is_left_alone(const struct superiors *s)
{
    pid_t parent = getppid();

    return parent != s->agent && parent != s->guardian;
}

/* When the agent is killed the command must not take the end of its input for that of what was to
 * come, so that is kept open here until those who are in charge then have sent TERM. */
static void wait_for_signal(const sigset_t *set, const struct superiors *superiors)
{
    const struct timespec cut = {.tv_nsec = CUT_NS};
    int number = sigwaitinfo(set, NULL);

    if (number == SIGTERM && getppid() != superiors->agent) {
        (void)nanosleep(&cut, NULL);
        close(INPUT);
    } else if (number == SIGUSR1) {
        close(INPUT);
    }
}

static void watch(pid_t leader, const struct superiors *superiors, const sigset_t *set)
{
    struct keeper_report r = {0};
    pid_t running = leader;
    int told = 0;

    for (;;) {
        int childless = orphans_take(&running, &r.status, &r.usage);
        if (running == 0 && !told) {
            r.at = clock_now_us();
            r.last = childless;
            tell(&r, sizeof r);
            told = 1;
        }
        if (childless) {
            return;
        }
        if (is_left_alone(superiors)) {
            orphans_end(set, 0, INPUT);
            return;
        }
        wait_for_signal(set, superiors);
    }
}

/* All signals are blocked here, since before the fork, so that none of the agent's handlers runs.
 */
static void keep(const struct spawn_program *program, int report, int input,
                 const struct superiors *superiors)
{
    struct spawn_program own = *program;
    struct started s = {0};
    sigset_t set, before;

    (void)setpgid(0, 0); /* a signal to the group of the agent must not end both */
    (void)linux_subreaper();
    (void)linux_parent_death(SIGHUP); /* only wakes it: who its parent is it can see */
    orphans_block(&set, &before);
    sigaddset(&set, SIGUSR1);
    take_descriptors(program, report, input);
    own.image = program->image >= 0 ? IMAGE : -1;
    own.in = 0;
    own.out = 1;
    own.err = 2;
    (void)spawn_start(&own, &s.leader, &s.error);
    tell(&s, sizeof s);
    close(0);
    close(1);
    close(2);
    close(IMAGE);
    if (s.error.code == 0) {
        watch(s.leader, superiors, &set);
    }
    _exit(0);
}

/* ---- in the agent ---- */

static pid_t start_process(const struct spawn_program *program, int report, int input)
{
    const struct superiors superiors = {.agent = getpid(), .guardian = getppid()};
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        keep(program, report, input, &superiors);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static ssize_t hear(int report, void *message, size_t size)
{
    ssize_t n;

    do {
        n = read(report, message, size);
    } while (n < 0 && errno == EINTR);
    return n;
}

static void hear_start(int report, struct started *s)
{
    if (hear(report, s, sizeof *s) != (ssize_t)sizeof *s) {
        errors_set(&s->error, -E_SYSTEM, "its keeper was killed");
    }
}

int keeper_start(const struct spawn_program *program, int input, struct keeper *k, struct error *e)
{
    struct started s = {0};
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errors_set_system(e, errno == EMFILE ? -E_DESCRIPTORS : -E_SYSTEM, errno, "pipe");
    }
    k->pid = start_process(program, ends[1], input);
    if (k->pid < 0) {
        errors_set_system(&s.error, -E_SYSTEM, errno, "a new process");
    }
    close(ends[1]);
    if (k->pid > 0) {
        hear_start(ends[0], &s);
    }
    if (s.error.code != 0) {
        while (k->pid > 0 && waitpid(k->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        close(ends[0]);
        return errors_set(e, s.error.code, "%s", s.error.detail);
    }
    k->leader = s.leader;
    k->report = ends[0];
    (void)fcntl(k->report, F_SETFL, O_NONBLOCK);
    return 0;
}

int keeper_hear(int report, struct keeper_report *r)
{
    ssize_t n = hear(report, r, sizeof *r);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    return n == (ssize_t)sizeof *r ? 1 : -E_SYSTEM;
}

void keeper_end_input(const struct keeper *k)
{
    (void)kill(k->pid, SIGUSR1);
}
