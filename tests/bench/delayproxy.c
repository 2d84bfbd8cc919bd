/* delayproxy LISTENPORT TARGETPORT DELAY_MS
 *
 * Forwards TCP between 127.0.0.1:LISTENPORT (0: any; the number is printed) and
 * 127.0.0.1:TARGETPORT as a line with a round trip of DELAY_MS would: everything is held back for
 * half of it in each direction.  The handshake of TCP itself, which takes no time here, is made up
 * for: a new connection's first bytes are held back for a round trip more.  The bandwidth is not
 * limited.
 *
 * SIGUSR1: freeze: nothing is forwarded any more, nothing is closed (a line cut without a FIN).
 * SIGUSR2: every connection is reset.   SIGHUP: thaw.   SIGTERM: the end. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LINES_MAX = 1024,
    PIECE = 65536,
    HELD_MAX = 64 << 20 /* bytes under way in one direction: a bandwidth-delay product */
};

/* Bytes on their way, and when they arrive. */
struct piece {
    struct piece *next;
    int64_t due;  /* ns */
    size_t at, n; /* n 0: the end of the stream */
    unsigned char bytes[];
};

struct direction {
    int from, to;
    struct piece *first, **last;
    size_t held;
    int ended, closed; /* the end was read; the end was passed on */
};

struct line {
    struct direction way[2];
    int64_t born;
};

static volatile sig_atomic_t frozen, reset_wanted, stop_wanted;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        frozen = 1;
    else if (number == SIGHUP)
        frozen = 0;
    else if (number == SIGUSR2)
        reset_wanted = 1;
    else
        stop_wanted = 1;
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int die(const char *what)
{
    fprintf(stderr, "delayproxy: %s: %s\n", what, strerror(errno));
    return 1;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int open_listener(int port)
{
    struct sockaddr_in a = loopback(port);
    socklen_t size = sizeof a;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 512) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) < 0) {
        close(fd);
        return -1;
    }
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static void drop(struct line *l, int hard)
{
    struct linger now = {1, 0};

    for (int i = 0; i < 2; i++) {
        struct piece *p;

        while ((p = l->way[i].first)) {
            l->way[i].first = p->next;
            free(p);
        }
        if (hard)
            setsockopt(l->way[i].from, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(l->way[i].from);
    }
    free(l);
}

static struct line *accept_line(int listener, int target)
{
    struct sockaddr_in a = loopback(target);
    int one = 1, out = -1, in = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct line *l = NULL;

    if (in < 0)
        return NULL;
    out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (out < 0 || connect(out, (struct sockaddr *)&a, sizeof a) < 0)
        goto out;
    setsockopt(in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    l = calloc(1, sizeof *l);
    if (!l)
        goto out;
    l->way[0] = (struct direction){.from = in, .to = out};
    l->way[1] = (struct direction){.from = out, .to = in};
    for (int i = 0; i < 2; i++)
        l->way[i].last = &l->way[i].first;
    l->born = now_ns();
    return l;
out:
    close(in);
    if (out >= 0)
        close(out);
    return NULL;
}

/* Reads one piece.  -1: the connection broke. */
static int take_in(struct direction *d, int64_t due)
{
    struct piece *p = malloc(sizeof *p + PIECE);
    ssize_t got;

    if (!p)
        return -1;
    got = recv(d->from, p->bytes, PIECE, MSG_DONTWAIT);
    if (got < 0) {
        free(p);
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    *p = (struct piece){.due = due, .n = (size_t)got};
    d->ended = got == 0;
    d->held += (size_t)got;
    *d->last = p;
    d->last = &p->next;
    return 0;
}

/* Passes on what is due.  -1: the connection broke; 1: the receiver is full. */
static int pass_on(struct direction *d, int64_t now)
{
    struct piece *p;

    while ((p = d->first) && p->due <= now) {
        if (p->n) {
            ssize_t done = send(d->to, p->bytes + p->at, p->n - p->at, MSG_NOSIGNAL | MSG_DONTWAIT);

            if (done < 0)
                return errno == EAGAIN || errno == EINTR ? 1 : -1;
            p->at += (size_t)done;
            d->held -= (size_t)done;
            if (p->at < p->n)
                return 1;
        } else {
            shutdown(d->to, SHUT_WR);
            d->closed = 1;
        }
        d->first = p->next;
        if (!d->first)
            d->last = &d->first;
        free(p);
    }
    return 0;
}

/* One line's turn.  Sets what to wait for; *wake becomes the time of the next piece if that is
 * sooner.  -1: it is over. */
static int serve(struct line *l, struct pollfd *polled, int64_t delay, int64_t *wake)
{
    int64_t now = now_ns();

    polled[0].events = polled[1].events = 0;
    for (int i = 0; i < 2 && !frozen; i++) {
        struct direction *d = &l->way[i];
        int full;

        if ((polled[i].revents & (POLLIN | POLLHUP | POLLERR)) && !d->ended && d->held < HELD_MAX) {
            /* The handshake: the caller may send after one round trip, the host after half a one
             * more. */
            int64_t earliest = l->born + (i == 0 ? delay : delay * 3 / 2);
            int64_t due = (now > earliest ? now : earliest) + delay / 2;

            if (take_in(d, due) < 0)
                return -1;
        }
        full = pass_on(d, now);
        if (full < 0)
            return -1;
        if (!d->ended && d->held < HELD_MAX)
            polled[i].events |= POLLIN;
        if (full)
            polled[1 - i].events |= POLLOUT;
        else if (d->first && d->first->due < *wake)
            *wake = d->first->due;
    }
    return l->way[0].closed && l->way[1].closed ? -1 : 0;
}

static void run(int listener, int target, int64_t delay)
{
    static struct line *lines[LINES_MAX];
    static struct pollfd polled[2 * LINES_MAX + 1];
    sigset_t none;
    size_t count = 0;

    sigemptyset(&none);
    while (!stop_wanted) {
        int64_t wake = INT64_MAX, now;
        struct timespec wait;

        for (size_t i = 0; i < count;) {
            if (serve(lines[i], &polled[2 * i], delay, &wake) < 0 || reset_wanted) {
                drop(lines[i], reset_wanted);
                lines[i] = lines[--count];
                memcpy(&polled[2 * i], &polled[2 * count], 2 * sizeof polled[0]);
            } else {
                i++;
            }
        }
        reset_wanted = 0;
        for (size_t i = 0; i < count; i++) {
            polled[2 * i].fd = lines[i]->way[0].from;
            polled[2 * i + 1].fd = lines[i]->way[1].from;
        }
        polled[2 * count] = (struct pollfd){.fd = listener, .events = POLLIN};
        now = now_ns();
        wake = wake > now ? wake - now : 0;
        wait = (struct timespec){.tv_sec = wake / 1000000000, .tv_nsec = wake % 1000000000};
        if (ppoll(polled, 2 * count + 1, wake > (int64_t)3600 * 1000000000 ? NULL : &wait, &none) <
            0)
            for (size_t i = 0; i <= 2 * count; i++)
                polled[i].revents = 0;
        if (polled[2 * count].revents && count < LINES_MAX && !frozen) {
            struct line *l = accept_line(listener, target);

            if (l) {
                memset(&polled[2 * count], 0, 2 * sizeof polled[0]);
                lines[count++] = l;
            }
        }
    }
    while (count)
        drop(lines[--count], 0);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    int listener;

    if (argc != 4) {
        fprintf(stderr, "usage: delayproxy LISTENPORT TARGETPORT DELAY_MS\n");
        return 2;
    }
    sigemptyset(&blocked);
    for (int i = 0; i < 5; i++) {
        static const int numbers[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGTERM, SIGINT};

        sigaction(numbers[i], &action, NULL);
        sigaddset(&blocked, numbers[i]);
    }
    /* Signals arrive only while it waits. */
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    listener = open_listener(atoi(argv[1]));
    if (listener < 0)
        return die("listen");
    run(listener, atoi(argv[2]), (int64_t)atoi(argv[3]) * 1000000);
    close(listener);
    return 0;
}
