/* A network of hosts of which some are bad: one process, one port, many addresses of 127.0.0.0/8.
 *
 *   badhosts [-c BYTES] PORT KIND=COUNT...
 *
 *   good     passes connections on to PORT of 127.0.0.1
 *   refuse   nobody listens
 *   mute     accepts, and never says a word
 *   banner   says that it is an SSH server, and nothing more
 *   half     likewise, and stops in the middle of its first packet
 *   cut      as good, but resets the connection after BYTES of the server
 *
 * Prints the port, which it has chosen, then "ADDRESS KIND" for each host, and "ready".  The kinds
 * are mixed evenly, from the first host to the last.  (What one connection can suffer besides,
 * there is in proxy.c and rogue.c.) */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETWORK     0x7f4d0000u /* 127.77.0.0/16 */
#define IN_A_SUBNET 250
#define BUFFER      (16 * 1024)
#define EVENTS      64
#define LINES       2048 /* what is not used of them takes no memory */

enum kind { GOOD, REFUSE, MUTE, BANNER, HALF, CUT, KINDS };

static const char *const kind_names[KINDS] = {"good", "refuse", "mute", "banner", "half", "cut"};

struct way {
    int from, to;
    int ended; /* nothing more is read */
    size_t have, done;
    uint64_t passed;
    uint8_t bytes[BUFFER];
};

/* What epoll tells of: a host, or a line to one. */
struct watched {
    enum kind kind;
    int listener; /* -1: it is a line */
};

struct line {
    struct watched is;
    struct line *next; /* those that are over, until nothing of this turn speaks of them */
    int over;
    struct way up, down; /* `to` of `up` is -1: there is nobody behind it */
};

struct network {
    int epoll;
    in_port_t port, server;
    uint64_t cut;
    unsigned wanted[KINDS], count;
    struct watched *hosts;
    struct line *lines, *free;
    struct line *over; /* they get free when nothing of this turn speaks of them any more */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(const struct network *net, int fd, uint32_t events, struct watched *w)
{
    struct epoll_event e = {.events = events, .data.ptr = w};

    if (epoll_ctl(net->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
        die("epoll_ctl");
}

/* ---- lines ---- */

static void line_end(struct network *net, struct line *l, int reset)
{
    struct linger hard = {.l_onoff = 1};

    if (reset)
        setsockopt(l->up.from, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(l->up.from);
    if (l->up.to >= 0)
        close(l->up.to);
    l->over = 1;
    l->next = net->over;
    net->over = l;
}

/* Passes on what there is, as long as both sides let it; negative: the connection is broken. */
static int pass(struct way *w, uint64_t limit)
{
    while (!w->ended && w->passed < limit) {
        ssize_t n;

        if (w->done == w->have) {
            n = read(w->from, w->bytes, sizeof w->bytes);
            if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -1;
            w->have = (size_t)n;
            w->done = 0;
            w->ended = n == 0;
        }
        if (w->to < 0) {
            w->done = w->have;
        } else if (w->ended) {
            shutdown(w->to, SHUT_WR);
        } else {
            size_t more = w->have - w->done;
            n = send(w->to, w->bytes + w->done, more < limit - w->passed ? more : limit - w->passed,
                     MSG_NOSIGNAL);
            if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -1;
            w->done += (size_t)n;
            w->passed += (uint64_t)n;
        }
    }
    return 0;
}

static void line_serve(struct network *net, struct line *l)
{
    uint64_t limit = l->is.kind == CUT ? net->cut : UINT64_MAX;
    int bad = pass(&l->up, UINT64_MAX);

    if (l->up.to >= 0)
        bad |= pass(&l->down, limit);
    if (bad || l->down.passed >= limit)
        line_end(net, l, 1);
    else if (l->up.ended && (l->up.to < 0 || l->down.ended))
        line_end(net, l, 0);
}

/* What is said without being asked; a length that more would have to follow, a cookie, and some. */
static void greet(const struct line *l)
{
    static const char banner[] = "SSH-2.0-OpenSSH_9.2\r\n";
    static const uint8_t packet[64] = {0, 0, 4, 60, 5, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

    if ((l->is.kind == BANNER || l->is.kind == HALF) &&
        send(l->up.from, banner, sizeof banner - 1, MSG_NOSIGNAL) < 0)
        return; /* its end is told by epoll, too */
    if (l->is.kind == HALF)
        (void)!send(l->up.from, packet, sizeof packet, MSG_NOSIGNAL);
}

static int connect_behind(const struct network *net)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(net->server)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS))
        die("connect");
    return fd;
}

static void line_begin(struct network *net, const struct watched *host)
{
    int on = 1, fd = accept4(host->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct line *l = net->free;

    if (fd < 0 || !l) {
        close(fd);
        return; /* it has gone already, or there are too many */
    }
    net->free = l->next;
    *l = (struct line){.is = {.kind = host->kind, .listener = -1}};
    l->up.from = l->down.to = fd;
    l->up.to = l->down.from = l->is.kind == GOOD || l->is.kind == CUT ? connect_behind(net) : -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    greet(l);
    watch(net, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &l->is);
    if (l->up.to >= 0) {
        setsockopt(l->up.to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(net, l->up.to, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &l->is);
    }
}

static void turn(struct network *net)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(net->epoll, events, EVENTS, -1);
    struct line *l;

    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < n; i++) {
        struct watched *w = events[i].data.ptr;

        l = (struct line *)w;
        if (w->listener >= 0)
            line_begin(net, w);
        else if (!l->over)
            line_serve(net, l);
    }
    while ((l = net->over) != NULL) {
        net->over = l->next;
        l->next = net->free;
        net->free = l;
    }
}

/* ---- hosts ---- */

/* The kind that is furthest behind its share of those before this host. */
static enum kind deal(const struct network *net, unsigned *dealt, unsigned number)
{
    enum kind best = GOOD;
    double most = -1e9;

    for (int k = 0; k < KINDS; k++) {
        double behind = (double)net->wanted[k] * (number + 1) / net->count - dealt[k];

        if (dealt[k] < net->wanted[k] && behind > most) {
            most = behind;
            best = (enum kind)k;
        }
    }
    dealt[best]++;
    return best;
}

/* The first listener chooses the port for all. */
static int host_listen(struct network *net, struct sockaddr_in *a)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = sizeof *a;

    a->sin_port = htons(net->port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)a, sizeof *a) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)a, &size) < 0)
        die("listen");
    if (!net->port)
        printf("%u\n", (unsigned)(net->port = ntohs(a->sin_port)));
    return fd;
}

static void hosts_begin(struct network *net)
{
    unsigned dealt[KINDS] = {0};

    net->hosts = calloc(net->count, sizeof *net->hosts);
    net->lines = calloc(LINES, sizeof *net->lines);
    if (!net->hosts || !net->lines)
        die("calloc");
    for (size_t i = 0; i < LINES; i++) {
        net->lines[i].next = net->free;
        net->free = &net->lines[i];
    }
    for (unsigned i = 0; i < net->count; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET};
        struct watched *host = &net->hosts[i];

        a.sin_addr.s_addr = htonl(NETWORK + (i / IN_A_SUBNET << 8) + i % IN_A_SUBNET + 1);
        host->kind = deal(net, dealt, i);
        host->listener = host_listen(net, &a);
        if (host->kind == REFUSE)
            close(host->listener);
        else
            watch(net, host->listener, EPOLLIN, host);
        printf("%s %s\n", inet_ntoa(a.sin_addr), kind_names[host->kind]);
    }
    puts("ready");
    fflush(stdout);
}

/* KIND=COUNT: negative when it is no such thing. */
static int read_wish(struct network *net, const char *text)
{
    for (int k = 0; k < KINDS; k++) {
        size_t n = strlen(kind_names[k]);

        if (strncmp(text, kind_names[k], n) == 0 && text[n] == '=') {
            net->wanted[k] = (unsigned)strtoul(text + n + 1, NULL, 10);
            net->count += net->wanted[k];
            return 0;
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct network net = {.cut = UINT64_MAX};
    struct rlimit files;
    int option, bad = 0;

    while ((option = getopt(argc, argv, "c:")) != -1) {
        if (option == 'c')
            net.cut = strtoull(optarg, NULL, 10);
        else
            bad = 1;
    }
    if (optind < argc)
        net.server = (in_port_t)strtoul(argv[optind], NULL, 10);
    for (int i = optind + 1; i < argc; i++)
        bad |= read_wish(&net, argv[i]);
    if (bad || !net.server || !net.count || net.count > 256 * IN_A_SUBNET) {
        fputs("usage: badhosts [-c BYTES] PORT good|refuse|mute|banner|half|cut=COUNT...\n",
              stderr);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    net.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (net.epoll < 0)
        die("epoll_create1");
    hosts_begin(&net);
    for (;;)
        turn(&net);
}
