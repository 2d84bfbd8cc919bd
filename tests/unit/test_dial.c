/* Connecting: order of addresses, races, and telling failures apart.  Loopback only; a host that
 * does not answer is a listener whose queue is full: the kernel drops further SYNs to it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "launcher/ssh/dial.h"
#include "sshtools.h"
#include "unit.h"

struct result {
    struct ev_loop *loop;
    struct dial *dial;
    int called, fd, free_when_trying;
    char note[DIAL_NOTE_MAX], tried[1000];
    struct error e;
};

static void on_trying(void *arg, const char *note)
{
    struct result *r = arg;
    size_t used = strlen(r->tried);

    snprintf(r->tried + used, sizeof r->tried - used, "%s;", note);
    if (r->free_when_trying) {
        dial_free(r->dial);
        r->dial = NULL;
        ev_break(r->loop, EVBREAK_ALL);
    }
}

static void on_done(void *arg, int fd, const char *note, const struct error *e)
{
    struct result *r = arg;

    ck_assert_int_eq(r->called++, 0);
    r->fd = fd;
    snprintf(r->note, sizeof r->note, "%s", note);
    if (e)
        r->e = *e;
    dial_free(r->dial);
    r->dial = NULL;
    ev_break(r->loop, EVBREAK_ALL);
}

static void run(struct result *r, struct dial_options o)
{
    struct blocking *b;
    size_t files = sshtools_open_files();

    r->loop = ev_loop_new(0);
    b = blocking_new(r->loop);
    o.loop = r->loop;
    o.blocking = b;
    o.trying = on_trying;
    o.done = on_done;
    o.arg = r;
    r->fd = -1;
    r->dial = dial_start(&o, &r->e);
    if (r->dial) {
        ck_assert_int_eq(r->called, 0);
        ev_run(r->loop, 0);
    }
    blocking_free(b);
    ev_loop_destroy(r->loop);
    ck_assert_uint_eq(sshtools_open_files(), files + (r->fd >= 0));
}

static int listener(int family, unsigned *port, int backlog)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr *own = (struct sockaddr *)&four;
    socklen_t size = sizeof four;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return -1;
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    four.sin_port = htons((uint16_t)*port);
    six.sin6_port = htons((uint16_t)*port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (family == AF_INET6)
        own = (struct sockaddr *)&six, size = sizeof six;
    if (bind(fd, own, size) < 0 || listen(fd, backlog) < 0) {
        close(fd);
        return -1;
    }
    ck_assert_int_eq(getsockname(fd, own, &size), 0);
    *port = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
    return fd;
}

/* A port that was free a moment ago. */
static unsigned unused_port(void)
{
    unsigned port = 0;

    close(listener(AF_INET, &port, 1));
    return port;
}

/* Fills a listener's queue, so that it answers nobody any more. */
static void fill(unsigned port, int *fds, int n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < n; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (struct sockaddr *)&a, sizeof a);
    }
}

START_TEST(order_of_addresses)
{
    struct addrinfo list[6];
    const struct addrinfo *order[6];
    static const int families[] = {AF_INET6, AF_INET6, AF_INET6, AF_INET, AF_INET, AF_INET6};
    static const int expected[] = {0, 3, 1, 4, 2, 5};

    for (int i = 0; i < 6; i++)
        list[i] =
            (struct addrinfo){.ai_family = families[i], .ai_next = i < 5 ? &list[i + 1] : NULL};
    ck_assert_uint_eq(dial_order(list, order, 6), 6);
    for (int i = 0; i < 6; i++)
        ck_assert_ptr_eq(order[i], &list[expected[i]]);
    ck_assert_uint_eq(dial_order(list, order, 2), 2);
    ck_assert_ptr_eq(order[1], &list[3]);
    ck_assert_uint_eq(dial_order(&list[5], order, 6), 1);
    ck_assert_uint_eq(dial_order(NULL, order, 6), 0);
}
END_TEST

START_TEST(connects)
{
    struct result r = {0};
    unsigned port = 0;
    int fd = listener(AF_INET, &port, 8), value = 0;
    socklen_t size = sizeof value;
    char note[64];

    run(&r, (struct dial_options){.host = "127.0.0.1", .port = port, .keepalive = 1});
    ck_assert_int_eq(r.called, 1);
    ck_assert_int_ge(r.fd, 0);
    snprintf(note, sizeof note, "127.0.0.1 port %u", port);
    ck_assert_str_eq(r.note, note);
    ck_assert_int_eq(getsockopt(r.fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    ck_assert_int_ne(value, 0);
    ck_assert_int_eq(getsockopt(r.fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
    ck_assert_int_ne(value, 0);
    ck_assert_int_eq(fcntl(r.fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_ne(fcntl(r.fd, F_GETFL) & O_NONBLOCK, 0);
    close(r.fd);
    close(fd);
}
END_TEST

START_TEST(by_name)
{
    struct result r = {0};
    unsigned port = 0;
    int fd = listener(AF_INET, &port, 8);

    run(&r, (struct dial_options){.host = "localhost", .port = port, .timeout_ms = 5000});
    ck_assert_msg(r.fd >= 0, "%s", r.e.detail);
    close(r.fd);
    close(fd);
}
END_TEST

START_TEST(from_an_address)
{
    struct result r = {0};
    struct sockaddr_in a = {0};
    socklen_t size = sizeof a;
    unsigned port = 0;
    int fd = listener(AF_INET, &port, 8);

    run(&r, (struct dial_options){.host = "127.0.0.1", .port = port, .bind_address = "127.0.0.9"});
    ck_assert_msg(r.fd >= 0, "%s", r.e.detail);
    ck_assert_int_eq(getsockname(r.fd, (struct sockaddr *)&a, &size), 0);
    ck_assert_uint_eq(ntohl(a.sin_addr.s_addr), 0x7f000009);
    close(r.fd);
    r = (struct result){0};
    run(&r, (struct dial_options){.host = "127.0.0.1", .port = port, .bind_address = "192.0.2.1"});
    ck_assert_int_eq(r.e.code, -E_UNREACHABLE);
    close(fd);
}
END_TEST

START_TEST(refused)
{
    struct result r = {0};

    run(&r, (struct dial_options){.host = "127.0.0.1", .port = unused_port()});
    ck_assert_int_eq(r.fd, -1);
    ck_assert_int_eq(r.e.code, -E_REFUSED);
    ck_assert_ptr_eq(strstr(r.e.detail, "127.0.0.1 port "), r.e.detail);
}
END_TEST

START_TEST(does_not_resolve)
{
    struct result r = {0};

    run(&r, (struct dial_options){.host = "::1", .port = 1, .family = AF_INET});
    ck_assert_int_eq(r.e.code, -E_RESOLVE);
    ck_assert_ptr_nonnull(strstr(r.e.detail, "::1"));
}
END_TEST

START_TEST(no_answer)
{
    struct result r = {0};
    unsigned port = 0;
    int fd = listener(AF_INET, &port, 0), fds[4];

    fill(port, fds, 4);
    run(&r, (struct dial_options){.host = "127.0.0.1", .port = port, .timeout_ms = 200});
    ck_assert_int_eq(r.e.code, -E_CONNECT_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(r.e.detail, "no answer"));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(fd);
}
END_TEST

/* Two addresses of one host: 127.0.0.2 and 127.0.0.1, at the same port. */
struct pair {
    struct sockaddr_in at[2];
    struct addrinfo list[2];
};

static void make_pair(struct pair *p, unsigned port)
{
    for (int i = 0; i < 2; i++) {
        p->at[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        p->at[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 - (unsigned)i);
        p->list[i] = (struct addrinfo){.ai_family = AF_INET,
                                       .ai_addr = (struct sockaddr *)&p->at[i],
                                       .ai_addrlen = sizeof p->at[i],
                                       .ai_next = i ? NULL : &p->list[1]};
    }
}

/* The first address refuses (0), or does not answer (1): the other one is tried at once, or after
 * the stagger. */
START_TEST(second_address)
{
    struct result r = {0};
    struct pair p;
    unsigned port = 0;
    int open = listener(AF_INET, &port, 8), mute, fds[4];
    ev_tstamp began;
    double took;

    make_pair(&p, port);
    mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(mute, (struct sockaddr *)&p.at[0], sizeof p.at[0]), 0);
    for (int i = 0; _i && i < 4; i++) {
        if (i == 0)
            ck_assert_int_eq(listen(mute, 0), 0);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (struct sockaddr *)&p.at[0], sizeof p.at[0]);
    }
    began = ev_time();
    run(&r, (struct dial_options){
                .host = "pair", .port = port, .addresses = p.list, .timeout_ms = 5000});
    took = ev_time() - began;
    ck_assert_msg(r.fd >= 0, "%s", r.e.detail);
    ck_assert_ptr_eq(strstr(r.note, "127.0.0.1 "), r.note);
    ck_assert_ptr_eq(strstr(r.tried, "127.0.0.2 "), r.tried);
    if (_i)
        ck_assert(took > 0.9 * DIAL_STAGGER_MS / 1000.0);
    ck_assert(took < 3);
    for (int i = 0; _i && i < 4; i++)
        close(fds[i]);
    close(r.fd);
    close(mute);
    close(open);
}
END_TEST

/* All of them fail: each is named. */
START_TEST(no_address)
{
    struct result r = {0};
    struct pair p;

    make_pair(&p, unused_port());
    run(&r, (struct dial_options){.host = "pair", .port = 1, .addresses = p.list});
    ck_assert_int_eq(r.e.code, -E_REFUSED);
    ck_assert_ptr_nonnull(strstr(r.e.detail, "127.0.0.2 port "));
    ck_assert_ptr_nonnull(strstr(r.e.detail, "127.0.0.1 port "));
}
END_TEST

START_TEST(too_few_descriptors)
{
    struct result r = {0};
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    r.loop = NULL;
    /* The loop and its helpers need some; the socket is to be the one too many. */
    limit.rlim_cur = sshtools_open_files() + 6;
    for (int i = 0; i < 64 && r.e.code == 0; i++) {
        limit.rlim_cur--;
        setrlimit(RLIMIT_NOFILE, &limit);
        r = (struct result){0};
        r.loop = ev_loop_new(0);
        if (!r.loop)
            break;
        struct blocking *b = blocking_new(r.loop);
        struct dial_options o = {.loop = r.loop,
                                 .blocking = b,
                                 .host = "127.0.0.1",
                                 .port = 1,
                                 .trying = on_trying,
                                 .done = on_done,
                                 .arg = &r};
        if (b) {
            r.dial = dial_start(&o, &r.e);
            if (r.dial)
                ev_run(r.loop, 0);
        }
        blocking_free(b);
        ev_loop_destroy(r.loop);
        if (r.e.code == -E_REFUSED)
            r.e.code = 0;
    }
    ck_assert_int_eq(r.e.code, -E_DESCRIPTORS);
}
END_TEST

START_TEST(freed_when_trying)
{
    struct result r = {.free_when_trying = 1};
    unsigned port = 0;
    int fd = listener(AF_INET, &port, 8);

    run(&r, (struct dial_options){.host = "127.0.0.1", .port = port});
    ck_assert_int_eq(r.called, 0);
    close(fd);
}
END_TEST

/* ---- names that wait for a thread ---- */

static void hang(void *arg)
{
    char byte;

    ck_assert_int_eq(read(((int *)arg)[0], &byte, 1), 0);
}

static void ignore(void *arg)
{
    (void)arg;
}

static void on_hung(void *arg, int cancelled)
{
    (void)arg;
    (void)cancelled;
}

static void on_time(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    close(((int *)w->data)[1]);
}

/* All threads are taken for longer than the name may take: its time begins with its own thread. */
START_TEST(its_turn_comes_late)
{
    struct result r = {.fd = -1};
    unsigned port = 0;
    int fd = listener(AF_INET, &port, 8), ends[2];
    struct dial_options o = {.host = "localhost",
                             .port = port,
                             .family = AF_INET,
                             .timeout_ms = 100,
                             .trying = on_trying,
                             .done = on_done,
                             .arg = &r};
    ev_timer later;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    r.loop = o.loop = ev_loop_new(0);
    o.blocking = blocking_new(r.loop);
    for (int i = 0; i < BLOCKING_QUEUE_MAX; i++)
        ck_assert_ptr_nonnull(blocking_queue(o.blocking, hang, ignore, on_hung, ends));
    r.dial = dial_start(&o, &r.e);
    ck_assert_ptr_nonnull(r.dial);
    ev_timer_init(&later, on_time, 0.3, 0);
    later.data = ends;
    ev_timer_start(r.loop, &later);
    ev_ref(r.loop); /* who waits for a thread keeps nobody */
    ev_run(r.loop, 0);
    ev_unref(r.loop);
    ck_assert_msg(r.fd >= 0, "%s", r.e.detail);
    ev_timer_stop(r.loop, &later);
    blocking_free(o.blocking);
    ev_loop_destroy(r.loop);
    close(r.fd);
    close(fd);
    close(ends[0]);
}
END_TEST

/* Given up while the thread still resolves. */
START_TEST(freed_when_resolving)
{
    struct result r = {0};
    struct blocking *b;
    struct dial_options o = {.host = "localhost", .port = 1, .done = on_done, .arg = &r};

    r.loop = o.loop = ev_loop_new(0);
    b = o.blocking = blocking_new(r.loop);
    r.dial = dial_start(&o, &r.e);
    ck_assert_ptr_nonnull(r.dial);
    dial_free(r.dial);
    blocking_free(b);
    ev_loop_destroy(r.loop);
    ck_assert_int_eq(r.called, 0);
    dial_free(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("dial");
    TCase *c = tcase_create("dial");

    tcase_add_test(c, order_of_addresses);
    tcase_add_test(c, connects);
    tcase_add_test(c, by_name);
    tcase_add_test(c, from_an_address);
    tcase_add_test(c, refused);
    tcase_add_test(c, does_not_resolve);
    tcase_add_test(c, no_answer);
    tcase_add_loop_test(c, second_address, 0, 2);
    tcase_add_test(c, no_address);
    tcase_add_test(c, too_few_descriptors);
    tcase_add_test(c, freed_when_trying);
    tcase_add_test(c, its_turn_comes_late);
    tcase_add_test(c, freed_when_resolving);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
