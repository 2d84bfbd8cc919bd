#include "launcher/cli/far.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/say.h"
#include "proto/signals.h"

#define CLOSE_MS  5000
#define LINE_SIZE 4096

/* What was settled when the instance was made cannot be wanted of it now. */
static int check_held(const struct options *o, struct grapnel_error *error)
{
    const char *settled = o->memory        ? "--memory"
                          : o->cpu         ? "--cpu"
                          : o->cwd         ? "--chdir"
                          : o->env.count   ? "--env"
                          : o->unset.count ? "--unset"
                                           : NULL;

    if (!o->instance)
        return 0;
    if (o->no_broker)
        return say_fail(error, "ARGUMENT",
                        "--instance names one that the broker holds: not with --no-broker");
    if (settled)
        return say_fail(error, "ARGUMENT", "with --instance, %s is for grapnel connect", settled);
    return 0;
}

int far_begin(struct far *r, const struct options *o, int one_shot, int signals)
{
    *r = (struct far){.o = o, .trace = {.o = o}, .signalled = {-1, -1}};
    if (check_held(o, &r->error) < 0)
        return -1;
    if (pipe2(r->signalled, O_CLOEXEC | O_NONBLOCK) < 0)
        return say_fail(&r->error, "SYSTEM", "no pipe: %s", strerror(errno));
    r->g = reach_context(&r->trace, 0, &r->error);
    if (!r->g)
        return -1;
    if (signals && leave_begin(&r->leave, r->g, r->signalled[1]) < 0)
        return say_fail(&r->error, "SYSTEM", "signals cannot be caught");
    r->server = reach_open(&r->reach, r->g, o, o->target, one_shot, &r->error);
    return r->server ? 0 : -1;
}

/* What the code prints.  A terminal or a pipe that takes no more holds up the line: what is printed
 * is neither lost nor heaped up. */
static void on_output(void *arg, struct grapnel_instance *i, const void *bytes, size_t n)
{
    (void)arg;
    (void)i;
    fwrite(bytes, 1, n, stderr);
}

void far_options(struct grapnel_instance_options *i, const struct options *o)
{
    *i = reach_instance(o);
    i->number = o->instance;
    i->held = o->instance > 0;
    i->output = on_output;
}

int far_options_of_many(struct grapnel_instance_options *i, const struct options *o,
                        struct grapnel_error *error)
{
    far_options(i, o);
    i->output = NULL;
    return check_held(o, error);
}

void far_end(struct far *r)
{
    int number = r->g ? leave_number(&r->leave) : 0;

    if (number && number != SIGINT && !r->o->quiet)
        say_note("%s: left on a signal; the host cleans up by itself", r->o->target);
    if (number)
        leave_now(leave_status(number));
    /* What the code left running there ends before we do. */
    if (r->server)
        grapnel_close(r->server, CLOSE_MS, NULL);
    grapnel_server_free(r->server);
    grapnel_free(r->g);
    r->server = NULL;
    r->g = NULL;
    for (int i = 0; i < 2; i++) {
        if (r->signalled[i] >= 0)
            close(r->signalled[i]);
        r->signalled[i] = -1;
    }
}

/* Of an instance that is not held, or has died: how to come by one. */
static void add_hint(struct far *r)
{
    const char *name = r->error.name ? r->error.name : "";
    int gone = !strcmp(name, "INSTANCE") || !strcmp(name, "MEMORY") || !strcmp(name, "CPU_LIMIT");
    char target[sizeof r->hint / 2];

    if (!r->o->instance || (!gone && strcmp(name, "NOT_HELD") != 0))
        return;
    snprintf(r->hint, sizeof r->hint, "grapnel connect %s --instance %d makes %s",
             say_safe(target, sizeof target, r->o->target), r->o->instance,
             gone ? "a new one, which is empty" : "it");
    r->error.hint = r->hint;
}

/* What follows `start` in the text; NULL: it does not begin with that. */
static const char *after(const char *text, const char *start)
{
    size_t n = strlen(start);

    return strncmp(text, start, n) == 0 ? text + n : NULL;
}

/* The first line of the text, without the name of the connection behind it. */
static void put_detail(struct far *r, const char *text)
{
    char *detail = r->error.detail;
    size_t n = strcspn(text, "\n"), size = sizeof r->error.detail;
    char tail[300];

    snprintf(detail, size, "%.*s", (int)n, text);
    snprintf(tail, sizeof tail, " (%s:%d)", r->o->target, r->o->instance);
    n = strlen(detail);
    if (n >= strlen(tail) && !strcmp(detail + n - strlen(tail), tail))
        detail[n - strlen(tail)] = '\0';
}

int far_lost(struct far *r, const char *words)
{
    static const struct {
        const char *name, *phase, *text;
    } known[] = {{"NOT_HELD", "local", "there is no such connection"},
                 {"INSTANCE", "remote code", "the instance ended"}};
    const char *said = after(words, "EOF: ");

    words = said ? said : words;
    say_fail(&r->error, "INSTANCE", "%s", "");
    r->error.phase = "remote code";
    put_detail(r, words);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        said = after(words, known[i].text);
        if (said) {
            r->error.name = known[i].name;
            r->error.phase = known[i].phase;
            r->error.text = known[i].text;
            put_detail(r, after(said, ": ") ? said + 2 : said);
        }
    }
    return far_fail(r);
}

static int fail_json(struct far *r)
{
    struct grapnel_error ours;
    json_t *object = json_pack("{s:o, s:o}", "host", say_json_text(r->o->target), "error",
                               say_json_error(&r->error));

    if (say_json(object, &ours) == 0 && say_flush(&ours) == 0)
        return 0;
    say_error(&ours);
    return -1;
}

int far_fail(struct far *r)
{
    int number = r->g ? leave_number(&r->leave) : 0;

    if (number)
        leave_error(&r->error, r->o->target, number);
    /* There is but one instance: its number would only look like a port. */
    say_safe(r->error.host, sizeof r->error.host, r->o->target);
    add_hint(r);
    if (r->o->json && fail_json(r) < 0)
        return SAY_FAILED;
    if (!r->o->json && !number)
        say_error(&r->error);
    return r->error.exit_status ? r->error.exit_status : SAY_FAILED;
}

/* One line of a text, which may be longer than a line is as a rule; returns the next. */
static const char *say_one(const char *before, const char *text)
{
    size_t n = strcspn(text, "\n");
    char *line = strndup(text, n);

    fputs(before, stderr);
    for (size_t i = 0; line && line[i]; i++)
        line[i] = line[i] == '\t' ? ' ' : line[i];
    say_text(stderr, line ? line : "");
    fputc('\n', stderr);
    free(line);
    return text[n] ? text + n + 1 : NULL;
}

void far_say(const struct far *r, const char *what, const char *message, const char *traceback)
{
    char start[LINE_SIZE], target[LINE_SIZE / 4], called[LINE_SIZE / 4];

    snprintf(start, sizeof start, "grapnel: %s: remote code: %s%s",
             say_safe(target, sizeof target, r->o->target),
             what ? say_safe(called, sizeof called, what) : "", what ? ": " : "");
    message = say_one(start, message);
    while (message && *message)
        message = say_one("  ", message);
    while (traceback && *traceback)
        traceback = say_one("  ", traceback);
}

int far_ended(const char *words)
{
    static const char exited[] = "exited with status ", killed[] = "killed by signal ";
    const char *at = strstr(words, exited), *earlier = strstr(words, ": earlier: ");
    char name[16];
    int number;

    /* Whatever ended one that is held, before it was turned to, is none of this code's doing. */
    if (earlier && earlier < (at ? at : strstr(words, killed)))
        return -1;
    if (at)
        return (int)strtol(at + strlen(exited), NULL, 10) & 0xff;
    at = strstr(words, killed);
    if (!at || sscanf(at + strlen(killed), "%15[A-Z0-9+]", name) != 1)
        return -1;
    number = signals_number(name);
    return number ? leave_status(number) : -1;
}

static int write_failed(struct far *r, int number)
{
    say_fail(&r->error, "IO", "%s", strerror(number));
    r->error.phase = "local";
    r->error.text = "the output could not be written";
    r->error.hint = number == EPIPE ? "its reader has gone; the code was stopped"
                                    : "free some space where it goes to; the code was stopped";
    return -1;
}

int far_write(struct far *r, int fd, const void *bytes, size_t n)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLOUT}, {.fd = r->signalled[0], .events = POLLIN}};

    for (size_t done = 0; done < n;) {
        /* So much a pipe that is ready takes without waiting. */
        size_t some = n - done < PIPE_BUF ? n - done : PIPE_BUF;
        ssize_t written;
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return write_failed(r, errno);
        if (p[1].revents)
            return say_fail(&r->error, "CANCELLED", "left on a signal");
        if (!p[0].revents)
            continue;
        written = write(fd, (const char *)bytes + done, some);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return write_failed(r, errno);
        done += written > 0 ? (size_t)written : 0;
    }
    return 0;
}
