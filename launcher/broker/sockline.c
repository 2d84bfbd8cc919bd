#include "launcher/broker/sockline.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/connection.h"

#define READ_SIZE (64 * 1024)

struct sockline {
    struct grapnel *g;
    struct link *link;
    ev_io in, out;
    ev_timer wake; /* never started: fed, so that it runs before the loop sleeps */
    int full;      /* the socket takes no more for now */
    int hung_up, told;
    void (*ended)(void *arg, struct sockline *line);
    void *arg;
    uint64_t sent, received;
};

struct link *sockline_link(struct sockline *line)
{
    return line->link;
}

void sockline_wake(struct sockline *line)
{
    ev_feed_event(line->g->loop, &line->wake, EV_CUSTOM);
}

int sockline_is_lost(const struct sockline *line)
{
    int code = link_error(line->link)->code;

    return code == -E_LOST || code == -E_CLOSED;
}

void sockline_count(const struct sockline *line, uint64_t *sent, uint64_t *received)
{
    *sent = line->sent;
    *received = line->received;
}

/* The end is told from the loop only. */
static void end(struct sockline *line)
{
    line->hung_up = 1;
    ev_io_stop(line->g->loop, &line->in);
    ev_io_stop(line->g->loop, &line->out);
    sockline_wake(line);
}

void sockline_hang_up(struct sockline *line)
{
    line->hung_up = 1;
    sockline_wake(line);
}

/* True while there may be more to send. */
static int send_some(struct sockline *line)
{
    const uint8_t *bytes;
    ssize_t done;
    size_t n;

    if (link_output(line->link, &bytes, &n, context_now()) < 0 || n == 0)
        return 0;
    done = send(line->in.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done > 0) {
        line->sent += (uint64_t)done;
        link_sent(line->link, (size_t)done, context_now());
        return 1;
    }
    if (done < 0 && errno == EINTR)
        return 1;
    line->full = 1;
    if (done < 0 && errno == EAGAIN)
        ev_io_start(line->g->loop, &line->out);
    else /* what the other end has said before it left may still be read */
        shutdown(line->in.fd, SHUT_WR);
    return 0;
}

void sockline_flush(struct sockline *line)
{
    while (!line->full && send_some(line))
        ;
    if (link_error(line->link)->code && !line->told && (line->full || !link_has_output(line->link)))
        end(line);
    else if (!line->hung_up && !ev_is_active(&line->in) && !link_congested(line->link))
        ev_io_start(line->g->loop, &line->in);
}

static void on_wake(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct sockline *line = w->data;
    struct grapnel *g = line->g;

    (void)loop;
    (void)revents;
    sockline_flush(line);
    if (line->hung_up && !line->told && (line->full || !link_has_output(line->link))) {
        line->told = 1;
        line->ended(line->arg, line);
    }
    /* What a stream of ours has passed on, a server's link may have to send or to give credit for:
     * its turn before the loop sleeps may be over. */
    connection_flush_all(g);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct sockline *line = w->data;

    (void)revents;
    ev_io_stop(loop, w);
    line->full = 0;
    sockline_wake(line);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct sockline *line = w->data;
    uint8_t bytes[READ_SIZE];
    ssize_t n = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        line->received += (uint64_t)n;
        link_input(line->link, bytes, (size_t)n, context_now());
        if (link_congested(line->link))
            ev_io_stop(loop, w);
    } else {
        link_input_end(line->link, context_now());
        line->full = 1;
        end(line);
    }
    if (link_error(line->link)->code)
        sockline_wake(line);
}

struct sockline *sockline_new(struct grapnel *g, int fd, const struct sockline_options *o)
{
    struct link_options options = {.opener = o->opener, .facts = o->facts};
    struct sockline *line = calloc(1, sizeof *line);

    if (!line) {
        values_free(o->facts);
        close(fd);
        return NULL;
    }
    line->g = g;
    line->ended = o->ended;
    line->arg = o->arg;
    ev_io_init(&line->in, on_readable, fd, EV_READ);
    ev_io_init(&line->out, on_writable, fd, EV_WRITE);
    ev_timer_init(&line->wake, on_wake, 0., 0.);
    line->in.data = line->out.data = line->wake.data = line;
    line->link = link_new(&options, o->handler, o->arg, context_now());
    if (!line->link) {
        sockline_free(line);
        return NULL;
    }
    ev_io_start(g->loop, &line->in);
    sockline_wake(line); /* the link has a HELLO to send */
    return line;
}

void sockline_free(struct sockline *line)
{
    if (!line)
        return;
    line->told = 1;
    link_free(line->link);
    ev_clear_pending(line->g->loop, &line->wake);
    ev_io_stop(line->g->loop, &line->in);
    ev_io_stop(line->g->loop, &line->out);
    close(line->in.fd);
    free(line);
}
