#include "launcher/cli/interrupts.h"

#include <signal.h>
#include <time.h>

#define TWICE_MS 1000 /* two INTs within this time: leave */
#define GRACE_MS 5000 /* for a command to end by itself after TERM or HUP */
#define CONFIRM_MS                                                                                 \
    8000 /* for the host to confirm a cancelled command's end: KILL comes after 2 s */

static const struct {
    int number;
    const char *name;
    int ends; /* asks for the end */
} passed_on[] = {
    {SIGINT, "INT", 1},   {SIGTERM, "TERM", 1}, {SIGHUP, "HUP", 1},     {SIGQUIT, "QUIT", 1},
    {SIGUSR1, "USR1", 0}, {SIGUSR2, "USR2", 0}, {SIGWINCH, "WINCH", 0},
};

#define PASSED_ON_COUNT (sizeof passed_on / sizeof passed_on[0])

int64_t interrupts_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t interrupts_clock(void)
{
    return interrupts_clock_us() / 1000;
}

static int asks_for_end(int number)
{
    for (size_t k = 0; k < PASSED_ON_COUNT; k++) {
        if (passed_on[k].number == number)
            return passed_on[k].ends;
    }
    return 0;
}

static void cancel(struct interrupts *i)
{
    atomic_store(&i->cancelled, 1);
    atomic_store(&i->deadline, interrupts_clock() + CONFIRM_MS);
    grapnel_exec_cancel(atomic_load(&i->x));
}

/* Returns true when the signal shall not be passed on. */
static int ends_us(struct interrupts *i, int number)
{
    int64_t now = interrupts_clock();

    if (!asks_for_end(number))
        return 0;
    if (!atomic_load(i->ready) || !atomic_load(&i->x) ||
        (number == SIGINT && i->interrupted >= 0 && now - i->interrupted < TWICE_MS)) {
        atomic_store(&i->leave, number);
        return 1;
    }
    if (number == SIGINT)
        i->interrupted = now;
    if (number != SIGTERM && number != SIGHUP)
        return 0;
    if (atomic_load(&i->ending)) {
        cancel(i);
        return 1;
    }
    atomic_store(&i->ending, number);
    atomic_store(&i->deadline, now + GRACE_MS);
    return 0;
}

static void on_signal(void *arg, int number)
{
    struct interrupts *i = arg;
    struct grapnel_exec *x = atomic_load(&i->x);

    if (!ends_us(i, number) && x)
        grapnel_exec_signal(x, interrupts_name(number), NULL);
    grapnel_stop(i->g); /* the deadline may have changed */
}

int interrupts_catch(struct grapnel *g, int number, void (*callback)(void *arg, int number),
                     void *arg)
{
    struct sigaction now;

    if (sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
        return 0;
    return grapnel_on_signal(g, number, callback, arg);
}

void interrupts_release(void)
{
    struct sigaction now, usual = {.sa_handler = SIG_DFL};

    for (size_t k = 0; k < PASSED_ON_COUNT; k++) {
        if (passed_on[k].ends && sigaction(passed_on[k].number, NULL, &now) == 0 &&
            now.sa_handler != SIG_IGN)
            sigaction(passed_on[k].number, &usual, NULL);
    }
}

const char *interrupts_name(int number)
{
    for (size_t k = 0; k < PASSED_ON_COUNT; k++) {
        if (passed_on[k].number == number)
            return passed_on[k].name;
    }
    return "?";
}

int interrupts_begin(struct interrupts *i, struct grapnel *g, const atomic_int *ready)
{
    int rc = 0;

    i->g = g;
    i->ready = ready;
    i->interrupted = -1;
    atomic_init(&i->x, NULL);
    atomic_init(&i->leave, 0);
    atomic_init(&i->ending, 0);
    atomic_init(&i->cancelled, 0);
    atomic_init(&i->deadline, -1);
    for (size_t k = 0; k < PASSED_ON_COUNT && rc == 0; k++)
        rc = interrupts_catch(g, passed_on[k].number, on_signal, i);
    return rc;
}

void interrupts_attach(struct interrupts *i, struct grapnel_exec *x)
{
    atomic_store(&i->x, x);
}

int interrupts_drive(struct interrupts *i, const atomic_int *finished)
{
    while (!atomic_load(finished) && !atomic_load(&i->leave)) {
        int64_t deadline = atomic_load(&i->deadline), left = -1;

        if (deadline >= 0) {
            left = deadline - interrupts_clock();
            if (left <= 0 && atomic_load(&i->cancelled))
                return atomic_load(&i->ending);
            if (left <= 0) {
                cancel(i);
                continue;
            }
        }
        grapnel_drive(i->g, left);
    }
    return atomic_load(finished) ? 0 : atomic_load(&i->leave);
}
