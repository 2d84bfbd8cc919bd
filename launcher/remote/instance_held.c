/* An instance that the broker holds: a link to its worker, within a stream of the broker's, on a
 * line to the broker that is this instance's alone. */
#include <stdlib.h>
#include <unistd.h>

#include "launcher/broker/dial.h"
#include "launcher/broker/sockline.h"
#include "launcher/remote/instance_impl.h"

/* ---- the end ---- */

/* Not within a callback of its link. */
static void let_go(struct instance *i)
{
    struct sockline *line = i->held;

    sockline_free(line); /* what is still open on it is closed by this */
    i->held = NULL;
    instance_leave_server(i);
    instance_conclude(i);
}

void instance_held_closed(struct instance *i, int code, const char *text)
{
    i->pipe = NULL;
    i->result_came = 1;
    if (i->cancelled)
        errors_set(&i->error, -E_CANCELLED, "it was stopped from here");
    else if (!i->error.code && i->held && sockline_is_lost(i->held))
        errors_set(&i->error, -E_BROKER, "it has ended");
    else if (!i->error.code)
        errors_set(&i->error, code ? code : -E_CLOSED, "%s", code ? text : "it was let go");
    sockline_hang_up(i->held);
}

static void on_line_ended(void *arg, struct sockline *line)
{
    (void)line;
    let_go(arg);
}

void instance_held_end_all(struct grapnel_server *s, const struct error *e)
{
    for (struct instance *i = *connection_instances(s); i; i = i->next) {
        if (!i->held)
            continue;
        if (!i->error.code)
            i->error = *e; /* or the line's end would be taken for the broker's */
        link_end(sockline_link(i->held), e->code, e->detail);
    }
}

void instance_held_free_all(struct grapnel_server *s)
{
    struct instance *i = *connection_instances(s);

    while (i) {
        if (i->held) {
            let_go(i);
            i = *connection_instances(s); /* others may have gone with it */
        } else {
            i = i->next;
        }
    }
}

/* ---- the start ---- */

static void on_wake(void *arg, struct link *l)
{
    struct instance *i = arg;

    (void)l;
    if (i->held)
        sockline_wake(i->held);
}

static int open_stream(struct instance *i, int number, const struct stream_handler *handler,
                       struct error *e)
{
    struct value *args = values_map();

    values_set(args, "key", values_text(connection_broker_key(i->server)));
    values_set(args, "number", values_int(number > 0 ? number : 1));
    i->pipe = stream_open(sockline_link(i->held), "instance", args, handler, i, e);
    return i->pipe ? 0 : e->code;
}

int instance_held_open(struct instance *i, int number, const struct stream_handler *handler,
                       struct error *e)
{
    static const struct link_handler link_callbacks = {.wake = on_wake};
    struct sockline_options options = {
        .opener = 1, .handler = &link_callbacks, .arg = i, .ended = on_line_ended};
    int fd;

    if (!connection_broker_key(i->server))
        return errors_set(e, -E_NOT_HELD, "the connection is not the broker's");
    fd = dial_broker(NULL, 0, NULL, e);
    if (fd < 0)
        return fd;
    i->held = sockline_new(i->g, fd, &options);
    if (!i->held)
        return errors_set(e, -E_NOMEM, "instance");
    if (open_stream(i, number, handler, e) == 0)
        return 0;
    sockline_free(i->held);
    i->held = NULL;
    return e->code;
}
