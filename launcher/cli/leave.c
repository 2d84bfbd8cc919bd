#include "launcher/cli/leave.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "launcher/cli/interrupts.h"
#include "launcher/cli/say.h"

#define SIGNAL_BASE 128

static void on_signal(void *arg, int number)
{
    struct leave *l = arg;
    int none = 0;

    if (!atomic_compare_exchange_strong(&l->number, &none, number))
        return;
    interrupts_release();
    if (l->tell >= 0)
        (void)!write(l->tell, "", 1);
    grapnel_abandon(l->g);
}

int leave_begin(struct leave *l, struct grapnel *g, int tell)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    int rc = 0;

    l->g = g;
    l->tell = tell;
    atomic_init(&l->number, 0);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0] && rc == 0; i++)
        rc = interrupts_catch(g, ending[i], on_signal, l);
    return rc;
}

int leave_number(const struct leave *l)
{
    return atomic_load(&l->number);
}

int leave_status(int number)
{
    return SIGNAL_BASE + number;
}

void leave_error(struct grapnel_error *error, const char *target, int number)
{
    *error = (struct grapnel_error){.code = -1,
                                    .exit_status = leave_status(number),
                                    .name = "CANCELLED",
                                    .phase = "local",
                                    .text = "left on a signal",
                                    .hint = "the host cleans up by itself"};
    say_safe(error->host, sizeof error->host, target);
    snprintf(error->detail, sizeof error->detail, "SIG%s", interrupts_name(number));
}

void leave_now(int status)
{
    struct grapnel_error error;

    if (say_flush(&error) < 0)
        say_error(&error);
    _exit(status);
}
