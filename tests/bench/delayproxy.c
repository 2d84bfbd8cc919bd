/* delayproxy LISTEN_PORT TARGET_PORT DELAY_MS
 *
 * A TCP proxy that makes loopback as far away as wished: forwards between 127.0.0.1:LISTEN_PORT
 * (0: any; the number is printed) and 127.0.0.1:TARGET_PORT as a line with a round trip of DELAY_MS
 * would.  What comes in goes out half of it later, each way; opening costs what TCP's handshake
 * would: the client may write at once, but nothing arrives before SYN, SYN-ACK and ACK would have
 * crossed.  Bandwidth is not limited.
 *
 * It prints "open" when a connection begins, and "round trips N up BYTES down BYTES" when it ends:
 * N is the longest chain of bytes that went there and back one after the other, with TCP's own.
 * Each piece of data carries the length of the chain before it: what the client sends continues
 * what the client has seen.
 *
 * SIGUSR1: freeze: nothing is forwarded any more, nothing is closed (a line cut without a FIN).
 * SIGUSR2: every connection is reset.   SIGHUP: thaw.   SIGTERM: the end. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define READ_SIZE  (256 * 1024)
#define QUEUE_MAX  (128 * 1024 * 1024) /* bytes under way in one direction */
#define TURN       16                  /* reads of one socket before others get theirs */
#define EVENTS_MAX 64

enum { CLIENT, SERVER };

struct piece {
    struct piece *next;
    uint64_t due_us;
    unsigned chain;
    size_t n, done; /* n = 0: the end */
    uint8_t bytes[];
};

struct connection;

/* One of the two sockets, and what is under way to it. */
struct side {
    struct connection *c;
    int which;
    int fd; /* -1: not yet */
    uint32_t watched;
    struct piece *first, **last;
    size_t queued;
    unsigned chain; /* the longest that has arrived here */
    int read_over, write_over;
    uint64_t bytes; /* that came from here */
};

struct connection {
    struct connection *next;
    struct side side[2];
    uint64_t open_us;  /* when the server learns of it; 0: it has */
    uint64_t ready_us; /* when the client would be allowed to write */
    int dead;
};

struct proxy {
    int epoll, timer, signals, listener, target_port;
    int frozen;
    uint64_t delay_us;
    struct connection *connections;
    uint8_t buffer[READ_SIZE];
};

static void watch(struct proxy *p, struct side *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};

    if (s->fd < 0 || events == s->watched)
        return;
    epoll_ctl(p->epoll, EPOLL_CTL_MOD, s->fd, &e);
    s->watched = events;
}

static void add(struct proxy *p, struct side *s, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    int one = 1;

    s->fd = fd;
    s->watched = EPOLLIN;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &e);
}

static struct side *other(struct side *s)
{
    return &s->c->side[!s->which];
}

/* Which events a side waits for follows from the queues. */
static void rewatch(struct proxy *p, struct side *s)
{
    uint32_t events = 0;

    if (!p->frozen && !s->read_over && other(s)->queued < QUEUE_MAX)
        events |= EPOLLIN;
    if (!p->frozen && s->first && s->first->due_us <= bench_now_us())
        events |= EPOLLOUT;
    watch(p, s, events);
}

static void push(struct side *to, const uint8_t *bytes, size_t n, uint64_t due_us, unsigned chain)
{
    struct piece *piece = malloc(sizeof *piece + n);

    if (!piece)
        bench_die("out of memory");
    *piece = (struct piece){.due_us = due_us, .chain = chain, .n = n};
    if (n)
        memcpy(piece->bytes, bytes, n);
    *to->last = piece;
    to->last = &piece->next;
    to->queued += n;
}

static void pop(struct side *s)
{
    struct piece *piece = s->first;

    s->first = piece->next;
    if (!s->first)
        s->last = &s->first;
    s->queued -= piece->n;
    free(piece);
}

static void take(struct proxy *p, struct side *s)
{
    struct side *to = other(s);

    for (int i = 0; i < TURN && !s->read_over && to->queued < QUEUE_MAX; i++) {
        ssize_t n = read(s->fd, p->buffer, sizeof p->buffer);
        uint64_t now = bench_now_us();

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            s->c->dead = 1;
            return;
        }
        s->read_over = n == 0;
        s->bytes += (uint64_t)n;
        if (s->which == CLIENT && now < s->c->ready_us)
            now = s->c->ready_us;
        push(to, p->buffer, (size_t)n, now + p->delay_us, s->chain);
    }
}

/* Writes what is due.  A chain grows by one when it is back at the client. */
static void give(struct side *s)
{
    uint64_t now = bench_now_us();
    struct piece *piece;

    while (s->fd >= 0 && (piece = s->first) && piece->due_us <= now) {
        unsigned chain = piece->chain + (s->which == CLIENT);
        ssize_t n;

        if (piece->n == 0) {
            shutdown(s->fd, SHUT_WR);
            s->write_over = 1;
            pop(s);
            continue;
        }
        n = send(s->fd, piece->bytes + piece->done, piece->n - piece->done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            s->c->dead = errno != EAGAIN;
            return;
        }
        /* What reaches a client that has said its last word is part of no chain. */
        if (chain > s->chain && !s->read_over)
            s->chain = chain;
        piece->done += (size_t)n;
        if (piece->done == piece->n)
            pop(s);
    }
}

static void open_server(struct proxy *p, struct connection *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)p->target_port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        if (fd >= 0)
            close(fd);
        c->dead = 1;
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    add(p, &c->side[SERVER], fd);
}

static void accept_one(struct proxy *p)
{
    int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct connection *c = fd < 0 ? NULL : calloc(1, sizeof *c);
    uint64_t now = bench_now_us();

    if (!c) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (int i = 0; i < 2; i++)
        c->side[i] =
            (struct side){.c = c, .which = i, .fd = -1, .last = &c->side[i].first, .chain = 1};
    c->ready_us = now + 2 * p->delay_us;
    c->open_us = now + 3 * p->delay_us;
    c->next = p->connections;
    p->connections = c;
    add(p, &c->side[CLIENT], fd);
    puts("open");
    fflush(stdout);
}

static int over(const struct connection *c)
{
    return c->dead || (c->side[CLIENT].write_over && c->side[SERVER].write_over);
}

static void bury(struct connection *c)
{
    struct linger reset = {.l_onoff = 1};

    printf("round trips %u up %llu down %llu\n", c->side[CLIENT].chain,
           (unsigned long long)c->side[CLIENT].bytes, (unsigned long long)c->side[SERVER].bytes);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        struct side *s = &c->side[i];
        if (c->dead && s->fd >= 0)
            setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (s->fd >= 0)
            close(s->fd);
        while (s->first)
            pop(s);
    }
    free(c);
}

static void earlier(uint64_t *next, uint64_t at)
{
    if (at < *next)
        *next = at;
}

/* Delivers what is due on one connection, and says when more is. */
static void serve_one(struct proxy *p, struct connection *c, uint64_t now, uint64_t *next)
{
    if (c->open_us && c->open_us <= now && !p->frozen) {
        c->open_us = 0;
        open_server(p, c);
    }
    for (int i = 0; i < 2 && !c->dead && !p->frozen; i++)
        give(&c->side[i]);
    if (c->open_us)
        earlier(next, c->open_us);
    for (int i = 0; i < 2 && !c->dead; i++) {
        struct side *s = &c->side[i];
        rewatch(p, s);
        if (s->fd >= 0 && s->first && s->first->due_us > now)
            earlier(next, s->first->due_us);
    }
}

/* Delivers all that is due, ends what is over, and sets the timer for the next. */
static void serve(struct proxy *p)
{
    struct itimerspec t = {0};
    uint64_t next = UINT64_MAX, now = bench_now_us();

    for (struct connection **at = &p->connections; *at;) {
        struct connection *c = *at;
        serve_one(p, c, now, &next);
        if (over(c)) {
            *at = c->next;
            bury(c);
        } else {
            at = &c->next;
        }
    }
    if (next != UINT64_MAX && !p->frozen) {
        t.it_value.tv_sec = (time_t)(next / 1000000);
        t.it_value.tv_nsec = (long)(next % 1000000) * 1000;
    }
    timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void obey(struct proxy *p)
{
    struct signalfd_siginfo told;

    while (read(p->signals, &told, sizeof told) == (ssize_t)sizeof told) {
        if (told.ssi_signo == SIGTERM)
            exit(0);
        if (told.ssi_signo == SIGUSR1 || told.ssi_signo == SIGHUP)
            p->frozen = told.ssi_signo == SIGUSR1;
        for (struct connection *c = p->connections; c; c = c->next)
            c->dead |= told.ssi_signo == SIGUSR2;
    }
}

static void add_plain(struct proxy *p, int *fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = fd};

    if (*fd < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, *fd, &e) < 0)
        bench_die("epoll: %s", strerror(errno));
}

static void set_up(struct proxy *p, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int one = 1;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(p->listener, 1024) < 0 || getsockname(p->listener, (struct sockaddr *)&a, &n) < 0)
        bench_die("no port: %s", strerror(errno));
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    add_plain(p, &p->listener);
    add_plain(p, &p->timer);
    add_plain(p, &p->signals);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
}

/* Nothing more comes from this side; what came before is still delivered to the other. */
static void hang_up(struct proxy *p, struct side *s, int broken)
{
    epoll_ctl(p->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    s->c->dead |= broken && !p->frozen;
}

static void handle(struct proxy *p, const struct epoll_event *e)
{
    void *who = e->data.ptr;
    uint64_t times;

    if (who == &p->listener)
        accept_one(p);
    else if (who == &p->timer)
        (void)!read(p->timer, &times, sizeof times);
    else if (who == &p->signals)
        obey(p);
    else if (e->events & EPOLLIN)
        take(p, who);
    else if (e->events & (EPOLLHUP | EPOLLERR))
        hang_up(p, who, e->events & EPOLLERR);
}

int main(int argc, char **argv)
{
    static struct proxy p;
    struct epoll_event events[EVENTS_MAX];

    if (argc != 4)
        bench_die("usage: delayproxy LISTEN_PORT TARGET_PORT DELAY_MS");
    p.target_port = (int)bench_number(argv[2], 1);
    p.delay_us = (uint64_t)bench_number(argv[3], 0) * 500;
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlives whoever measures */
    prctl(PR_SET_TIMERSLACK, 1UL);
    set_up(&p, (int)bench_number(argv[1], 0));
    for (;;) {
        int n = epoll_wait(p.epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < n; i++)
            handle(&p, &events[i]);
        serve(&p);
    }
}
