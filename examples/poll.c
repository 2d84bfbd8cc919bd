/* In an event loop of the program's own: lines of stdin are Lua expressions, evaluated on the host;
 * their values come as JSON when they are there, in any order, and nothing blocks meanwhile.
 *
 *     echo 'require "sys".hostname()' | ./poll root@web1
 */
#include <grapnel.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int pending;

static void answered(void *arg, struct grapnel_future *f)
{
    struct grapnel_error error;
    char *json = NULL;

    (void)arg;
    if (grapnel_future_error(f, &error) == 0)
        json = grapnel_value_json(grapnel_future_value(f));
    printf("%s\n", json ? json : error.detail);
    grapnel_string_free(json);
    grapnel_future_free(f);
    pending--;
}

static void evaluate(struct grapnel_instance *i, const char *expression)
{
    struct grapnel_error error;
    struct grapnel_future *f = grapnel_call_start(i, "eval", &error, "s", expression);

    if (!f) {
        fprintf(stderr, "%s: %s\n", error.text, error.detail);
        return;
    }
    pending++;
    grapnel_future_on_done(f, answered, NULL);
}

/* Takes what stdin has; 0 at its end. */
static int read_lines(struct grapnel_instance *i)
{
    static char text[65536];
    static size_t length;
    ssize_t n = read(0, text + length, sizeof text - 1 - length);
    char *line = text, *end;

    if (n <= 0)
        return 0;
    length += (size_t)n;
    text[length] = '\0';
    for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        evaluate(i, line);
    }
    length = strlen(line);
    memmove(text, line, length);
    return 1;
}

int main(int argc, char **argv)
{
    struct grapnel_connect_options options = {.transport = getenv("TRANSPORT")};
    struct grapnel_error error;
    struct grapnel *g = grapnel_new(NULL, &error);
    struct grapnel_server *s =
        g ? grapnel_open(g, argc > 1 ? argv[1] : "", &options, &error) : NULL;
    struct grapnel_instance *i = s ? grapnel_instance_open(s, NULL, &error) : NULL;
    struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};

    fds[1].fd = i ? grapnel_fd(g) : -1;
    while (i && (fds[0].fd == 0 || pending > 0)) {
        if (poll(fds, 2, -1) < 0)
            break;
        if (fds[0].revents && !read_lines(i))
            fds[0].fd = -1;
        if (fds[1].revents)
            grapnel_dispatch(g);
    }
    if (!i)
        fprintf(stderr, "%s: %s\n", error.text, error.detail);
    grapnel_instance_free(i);
    grapnel_server_free(s);
    grapnel_free(g);
    return i ? 0 : 1;
}
