#include "agent/worker/slice.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define SLICE_NS 10000000

struct slice {
    timer_t timer;
};

static void on_slice(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_code == SI_TIMER && info->si_value.sival_ptr != NULL) {
        tasks_preempt(info->si_value.sival_ptr);
    }
}

struct slice *slice_start(struct tasks *t)
{
    struct slice *s = calloc(1, sizeof(*s));
    struct sigaction action = {.sa_sigaction = on_slice, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
    const struct itimerspec every = {.it_interval = {.tv_nsec = SLICE_NS},
                                     .it_value = {.tv_nsec = SLICE_NS}};

    if (s == NULL) {
        return NULL;
    }
    event.sigev_value.sival_ptr = t;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGVTALRM, &action, NULL) != 0 ||
        timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &s->timer) != 0) {
        free(s);
        return NULL;
    }
    if (timer_settime(s->timer, 0, &every, NULL) != 0) {
        (void)timer_delete(s->timer);
        free(s);
        return NULL;
    }
    return s;
}

void slice_stop(struct slice *s)
{
    if (s == NULL) {
        return;
    }
    (void)timer_delete(s->timer);
    (void)signal(SIGVTALRM, SIG_IGN); /* one may be on its way */
    free(s);
}
