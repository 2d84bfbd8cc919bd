/* A TCP relay on the loopback that breaks lines in the ways in which networks do, or slows them
 * down.  (For a line that is far away there is tests/bench/delayproxy.c.)
 *
 *   proxy [--stall BYTES] [--stall-up BYTES] [--cut BYTES] [--rate BYTES] PORT
 *
 * Listens on a free port of 127.0.0.1, prints its number, and passes connections on to PORT.
 *   --stall BYTES     passes so many bytes of the server on, then nothing more, without closing
 *   --stall-up BYTES  the same with bytes of the client
 *   --cut BYTES       passes so many bytes of the server on, then resets the connection
 *   --rate BYTES      passes so many bytes a second on, each way.  As on a network, the sender's
 * own buffers take much more at once When a connection is over it says "passed UP DOWN", the bytes
 * of the client and of the server. Signals: USR1 freezes every line (nothing is read, written or
 * closed), HUP thaws it, USR2 resets every connection.  It says "frozen", "thawed", "reset" on
 * stdout once that is done. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINES_MAX 64
#define TURN_US   10000 /* with a rate: what goes in one piece, and what may be made up for */

struct way {
    int from, to;
    size_t have, done;
    uint64_t passed;
    uint64_t due_us; /* with a rate: when more may go */
    int ended;       /* nothing more is read */
    uint8_t bytes[128 * 1024];
};

struct line {
    struct way up, down;
    int stalled;
};

struct proxy {
    uint64_t stall, stall_up, cut; /* UINT64_MAX: never */
    uint64_t rate;                 /* bytes a second; 0: as fast as it goes */
    in_port_t port;
    int listener, signals, frozen;
    struct line *lines[LINES_MAX];
    size_t count;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void say(const char *text)
{
    puts(text);
    fflush(stdout);
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- lines ---- */

static void line_close(struct proxy *p, size_t i, int reset)
{
    struct line *l = p->lines[i];
    struct linger hard = {.l_onoff = 1};

    printf("passed %llu %llu\n", (unsigned long long)l->up.passed,
           (unsigned long long)l->down.passed);
    fflush(stdout);
    if (reset) {
        setsockopt(l->up.from, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        setsockopt(l->up.to, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    close(l->up.from);
    close(l->up.to);
    free(l);
    p->lines[i] = p->lines[--p->count];
}

static void way_init(struct way *w, int from, int to)
{
    int on = 1;

    w->from = from;
    w->to = to;
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(to, F_SETFL, O_NONBLOCK);
}

static void line_open(struct proxy *p)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = p->port};
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct line *l = calloc(1, sizeof *l);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (client < 0 || server < 0 || !l || p->count == LINES_MAX ||
        connect(server, (struct sockaddr *)&a, sizeof a) < 0) {
        close(client);
        close(server);
        free(l);
        return;
    }
    way_init(&l->up, client, server);
    way_init(&l->down, server, client);
    p->lines[p->count++] = l;
}

/* ---- bytes: negative means that the connection is broken ---- */

static int way_read(struct way *w)
{
    ssize_t n = read(w->from, w->bytes, sizeof w->bytes);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    w->have = (size_t)n;
    w->done = 0;
    if (n == 0) {
        w->ended = 1;
        shutdown(w->to, SHUT_WR);
    }
    return 0;
}

/* What went occupies the line for its time.  One that was idle has not saved any up. */
static void way_took(struct way *w, size_t n, uint64_t rate)
{
    uint64_t now = now_us();

    if (w->due_us + TURN_US < now)
        w->due_us = now;
    w->due_us += n * 1000000 / rate;
}

/* Passes on what there is, at most up to `limit` bytes in all. */
static int way_write(struct way *w, uint64_t limit, uint64_t rate)
{
    size_t n = w->have - w->done;
    ssize_t k;

    if (n > limit - w->passed)
        n = (size_t)(limit - w->passed);
    if (rate && n > rate * TURN_US / 1000000 + 1)
        n = (size_t)(rate * TURN_US / 1000000 + 1);
    if (n == 0 || (rate && w->due_us > now_us()))
        return 0;
    k = send(w->to, w->bytes + w->done, n, MSG_NOSIGNAL);
    if (k < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    w->done += (size_t)k;
    w->passed += (uint64_t)k;
    if (rate)
        way_took(w, (size_t)k, rate);
    return 0;
}

/* ---- the loop ---- */

static void on_signal(struct proxy *p)
{
    struct signalfd_siginfo info;

    if (read(p->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGUSR2) {
        while (p->count)
            line_close(p, 0, 1);
        say("reset");
        return;
    }
    p->frozen = info.ssi_signo == SIGUSR1;
    say(p->frozen ? "frozen" : "thawed");
}

static struct pollfd want(const struct way *in, const struct way *out, uint64_t now)
{
    struct pollfd f = {.fd = in->from};

    if (!in->ended && in->done == in->have)
        f.events |= POLLIN;
    if (out->done < out->have && out->due_us <= now)
        f.events |= POLLOUT;
    if (!f.events)
        f.fd = -1;
    return f;
}

/* Milliseconds until a slow way may go on, at most `wait`; -1: no such way. */
static int sooner(int wait, const struct way *w, uint64_t now)
{
    int ms;

    if (w->done == w->have || w->due_us <= now)
        return wait;
    ms = (int)((w->due_us - now + 999) / 1000);
    return wait < 0 || ms < wait ? ms : wait;
}

/* Fills the poll set: the signals, the listener, and two for each line; and how long to wait. */
static nfds_t gather(const struct proxy *p, struct pollfd *set, int *wait)
{
    uint64_t now = now_us();
    nfds_t n = 2;

    set[0] = (struct pollfd){.fd = p->signals, .events = POLLIN};
    set[1] = (struct pollfd){.fd = p->frozen ? -1 : p->listener, .events = POLLIN};
    for (size_t i = 0; i < p->count; i++) {
        const struct line *l = p->lines[i];
        if (l->stalled || p->frozen) {
            set[n++] = (struct pollfd){.fd = -1};
            set[n++] = (struct pollfd){.fd = -1};
        } else {
            set[n++] = want(&l->up, &l->down, now);
            set[n++] = want(&l->down, &l->up, now);
            *wait = sooner(sooner(*wait, &l->up, now), &l->down, now);
        }
    }
    return n;
}

/* 0, 1: the line is over, 2: over by a reset. */
static int serve(const struct proxy *p, struct line *l, const struct pollfd *set)
{
    int bad = 0;

    if (set[0].revents && !l->up.ended && l->up.done == l->up.have)
        bad |= way_read(&l->up);
    if (set[1].revents && !l->down.ended && l->down.done == l->down.have)
        bad |= way_read(&l->down);
    bad |= way_write(&l->up, p->stall_up, p->rate);
    bad |= way_write(&l->down, p->stall < p->cut ? p->stall : p->cut, p->rate);
    if (bad || l->down.passed >= p->cut)
        return 2;
    if (l->down.passed >= p->stall || l->up.passed >= p->stall_up)
        l->stalled = 1;
    return l->up.ended && l->down.ended;
}

static void run(struct proxy *p)
{
    static struct pollfd set[2 + 2 * LINES_MAX];

    for (;;) {
        int wait = -1;
        nfds_t n = gather(p, set, &wait);
        if (poll(set, n, wait) < 0 && errno != EINTR)
            die("poll");
        for (size_t i = p->frozen ? 0 : p->count; i-- > 0;) {
            struct line *l = p->lines[i];
            int over = l->stalled ? 0 : serve(p, l, set + 2 + 2 * i);
            if (over)
                line_close(p, i, over == 2);
        }
        if (set[1].fd >= 0 && set[1].revents)
            line_open(p);
        if (set[0].revents)
            on_signal(p);
    }
}

static void start_listening(struct proxy *p)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof a;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(p->listener, 128) < 0 || getsockname(p->listener, (struct sockaddr *)&a, &size) < 0)
        die("listen");
    printf("%u\n", (unsigned)ntohs(a.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct proxy p = {.stall = UINT64_MAX, .stall_up = UINT64_MAX, .cut = UINT64_MAX};
    sigset_t signals;
    int i;

    for (i = 1; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--stall") == 0)
            p.stall = n;
        else if (strcmp(argv[i], "--stall-up") == 0)
            p.stall_up = n;
        else if (strcmp(argv[i], "--cut") == 0)
            p.cut = n;
        else if (strcmp(argv[i], "--rate") == 0)
            p.rate = n;
        else
            break;
    }
    if (i + 1 != argc || argv[i][0] == '-') {
        fputs("usage: proxy [--stall BYTES] [--stall-up BYTES] [--cut BYTES] [--rate BYTES] PORT\n",
              stderr);
        return 2;
    }
    p.port = htons((in_port_t)strtoul(argv[i], NULL, 10));
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    p.signals = signalfd(-1, &signals, SFD_CLOEXEC);
    if (p.signals < 0)
        die("signalfd");
    start_listening(&p);
    run(&p);
    return 0;
}
