#include "launcher/cli/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"

#define IDLE_VARIABLE "GRAPNEL_BROKER_IDLE" /* for tests: it leaves after so long */
#define LOCK          3                     /* what who starts it has left open */

/* Into the log. */
static void trace(void *arg, int level, const char *host, const char *text)
{
    time_t now = time(NULL);
    struct tm local;
    char when[40] = "";

    (void)arg;
    (void)level;
    if (localtime_r(&now, &local))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
    fprintf(stderr, "%s [%d] %s%s%s\n", when, (int)getpid(), host ? host : "", host ? ": " : "",
            text);
}

/* Whoever has started us waits for one word. */
static void tell(const char *word)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    printf("%s\n", word);
    fflush(stdout);
    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        close(null);
    }
}

static void on_listening(void *arg, const char *socket)
{
    trace(arg, 1, NULL, socket);
    tell("ready");
}

int broker_verb(const struct options *o)
{
    static const char *const theirs[] = {"GRAPNEL_PASSWORD_FILE", "SSH_ASKPASS",
                                         "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY"};
    struct grapnel_options options = {.verbose = 1, .trace = trace};
    struct grapnel_broker_options broker = {.listening = on_listening};
    const char *idle = getenv(IDLE_VARIABLE);
    struct grapnel_error error;
    struct grapnel *g;
    char text[1600];
    int rc;

    (void)o;
    signal(SIGPIPE, SIG_IGN);
    /* It is each client's own person that is asked, and never ours. */
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++)
        unsetenv(theirs[i]);
    if (fcntl(LOCK, F_SETFD, FD_CLOEXEC) == 0)
        broker.lock = LOCK;
    if (idle && quantity_time(idle, &broker.idle) < 0)
        broker.idle = 0;
    g = grapnel_new(&options, &error);
    rc = g ? grapnel_broker_run(g, &broker, &error) : -1;
    if (rc < 0) {
        grapnel_error_format(&error, text, sizeof text);
        tell(error.detail);
        trace(NULL, 0, NULL, text);
    }
    grapnel_free(g);
    return rc < 0 ? SAY_FAILED : 0;
}
