#include "launcher/ssh/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One name to resolve.  It belongs to the thread while that runs, and outlives a dial that has been
 * given up. */
struct lookup {
    struct dial *dial; /* NULL: nobody waits any more */
    char *host;
    char *bind_address;
    char port[8];
    int family;
    int result, bind_result, number; /* getaddrinfo's answers, and errno for EAI_SYSTEM */
    struct addrinfo *list, *bind_list;
};

struct attempt {
    struct dial *dial;
    ev_io writable;
    int fd;    /* -1: over, or not begun */
    int error; /* errno's value when it failed */
    int begun;
    char note[DIAL_NOTE_MAX];
};

struct dial {
    struct dial_options o;
    char *interface;
    struct lookup *lookup;
    struct blocking_job *job;
    struct addrinfo *list, *bind_list;
    struct attempt attempts[DIAL_ADDRESSES_MAX];
    const struct addrinfo *order[DIAL_ADDRESSES_MAX];
    size_t count, next;
    ev_timer deadline, stagger, begin;
    double began;
    int finished;
    int calling, doomed; /* within `trying`; freed there */
};

size_t dial_order(const struct addrinfo *list, const struct addrinfo **order, size_t n)
{
    const struct addrinfo *a = list, *b = list;
    int first = list ? list->ai_family : 0;
    size_t count = 0;

    while (count < n && (a || b)) {
        while (a && a->ai_family != first)
            a = a->ai_next;
        if (a) {
            order[count++] = a;
            a = a->ai_next;
        }
        while (b && b->ai_family == first)
            b = b->ai_next;
        if (b && count < n) {
            order[count++] = b;
            b = b->ai_next;
        }
    }
    return count;
}

static void lookup_free(struct lookup *l)
{
    if (!l)
        return;
    if (l->list)
        freeaddrinfo(l->list);
    if (l->bind_list)
        freeaddrinfo(l->bind_list);
    free(l->host);
    free(l->bind_address);
    free(l);
}

static void lookup_run(struct lookup *l, int flags)
{
    struct addrinfo hints = {.ai_family = l->family, .ai_socktype = SOCK_STREAM};

    hints.ai_flags = AI_NUMERICSERV | flags;
    l->result = getaddrinfo(l->host, l->port, &hints, &l->list);
    l->number = errno;
    if (l->result || !l->bind_address)
        return;
    hints.ai_flags = AI_NUMERICSERV | AI_PASSIVE | flags;
    l->bind_result = getaddrinfo(l->bind_address, "0", &hints, &l->bind_list);
    l->number = errno;
}

static void lookup_work(void *arg)
{
    lookup_run(arg, 0);
}

/* From now on its time runs. */
static void begin_time(struct dial *d)
{
    /* The loop's clock may be old: it stands still while the loop does not run. */
    ev_now_update(d->o.loop);
    d->began = ev_now(d->o.loop);
    if (d->o.timeout_ms > 0) {
        ev_timer_set(&d->deadline, (double)d->o.timeout_ms / 1000, 0);
        ev_timer_start(d->o.loop, &d->deadline);
    }
}

static void lookup_begun(void *arg)
{
    struct lookup *l = arg;

    if (l->dial)
        begin_time(l->dial);
}

/* It may go on for long: its thread frees it. */
static void leave_lookup(struct dial *d)
{
    if (!d->job || !d->lookup)
        return;
    d->lookup->dial = NULL;
    blocking_cancel(d->job);
    d->lookup = NULL;
    d->job = NULL;
}

/* Ends it: what else is open is closed before the caller hears of it, who may free d at once. */
static void finish(struct dial *d, int fd, const char *note, const struct error *e)
{
    char copy[DIAL_NOTE_MAX];

    snprintf(copy, sizeof copy, "%s", note ? note : "");
    d->finished = 1;
    leave_lookup(d);
    ev_timer_stop(d->o.loop, &d->deadline);
    ev_timer_stop(d->o.loop, &d->stagger);
    ev_timer_stop(d->o.loop, &d->begin);
    for (size_t i = 0; i < d->count; i++) {
        struct attempt *a = &d->attempts[i];

        ev_io_stop(d->o.loop, &a->writable);
        if (a->fd >= 0 && a->fd != fd)
            close(a->fd);
        a->fd = -1;
    }
    d->o.done(d->o.arg, fd, copy, e);
}

/* One code for several failures: a refusal shows that the host is there, so it says most. */
static int code_of(int number)
{
    switch (number) {
    case ECONNREFUSED:
        return -E_REFUSED;
    case ETIMEDOUT:
        return -E_CONNECT_TIMEOUT;
    case EMFILE:
    case ENFILE:
        return -E_DESCRIPTORS;
    case ENOMEM:
    case ENOBUFS:
        return -E_NOMEM;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EACCES:
    case EPERM:
    case ECONNRESET:
    case ECONNABORTED:
        return -E_UNREACHABLE;
    default:
        return -E_SYSTEM;
    }
}

static void fail(struct dial *d, int timed_out)
{
    static const int weight[] = {-E_DESCRIPTORS,     -E_NOMEM,       -E_REFUSED,
                                 -E_CONNECT_TIMEOUT, -E_UNREACHABLE, -E_SYSTEM};
    struct error e = {0};
    char text[sizeof e.detail] = "";
    size_t length = 0, best = sizeof weight / sizeof weight[0] - 1;

    for (size_t i = 0; i < d->count && length < sizeof text; i++) {
        struct attempt *a = &d->attempts[i];
        int number = a->error ? a->error : ETIMEDOUT;
        int n;

        if (!a->begun)
            continue;
        n = snprintf(text + length, sizeof text - length, "%s%s: %s", length ? "; " : "", a->note,
                     a->error ? strerror(number) : "no answer");
        length += n > 0 ? (size_t)n : 0;
        for (size_t w = 0; w < best; w++) {
            if (weight[w] == code_of(number))
                best = w;
        }
    }
    if (timed_out && !d->count)
        errors_set(&e, -E_RESOLVE, "the name service did not answer within %.1f s",
                   (double)d->o.timeout_ms / 1000);
    else
        errors_set(&e, timed_out ? -E_CONNECT_TIMEOUT : weight[best], "%s", text);
    finish(d, -1, NULL, &e);
}

static int open_socket(const struct dial *d, const struct addrinfo *to, int *number)
{
    int one = 1;
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    const struct addrinfo *from = d->bind_list;

    if (fd < 0)
        goto out;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (d->o.keepalive)
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (d->interface && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, d->interface,
                                   (socklen_t)strlen(d->interface) + 1) < 0)
        goto out;
    while (from && from->ai_family != to->ai_family)
        from = from->ai_next;
    if (d->bind_list && !from) {
        errno = EADDRNOTAVAIL;
        goto out;
    }
    if (from && bind(fd, from->ai_addr, from->ai_addrlen) < 0)
        goto out;
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS)
        return fd;
out:
    *number = errno;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void describe(const struct addrinfo *a, char *note)
{
    char host[INET6_ADDRSTRLEN + 32] = "?", port[8] = "?";

    getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(note, DIAL_NOTE_MAX, "%s port %s", host, port);
}

/* Begins attempts until one is under way.  The end is `fail` when none is left.  d may be gone
 * afterwards. */
static void try_next(struct dial *d)
{
    while (d->next < d->count) {
        struct attempt *a = &d->attempts[d->next];

        describe(d->order[d->next++], a->note);
        a->begun = 1;
        if (d->o.trying) {
            d->calling = 1;
            d->o.trying(d->o.arg, a->note);
            d->calling = 0;
        }
        if (d->doomed) {
            dial_free(d);
            return;
        }
        a->fd = open_socket(d, d->order[d->next - 1], &a->error);
        if (a->fd < 0)
            continue;
        ev_io_set(&a->writable, a->fd, EV_WRITE);
        ev_io_start(d->o.loop, &a->writable);
        if (d->next < d->count) {
            ev_timer_stop(d->o.loop, &d->stagger);
            ev_timer_set(&d->stagger, DIAL_STAGGER_MS / 1000.0, 0);
            ev_timer_start(d->o.loop, &d->stagger);
        }
        return;
    }
    for (size_t i = 0; i < d->count; i++) {
        if (d->attempts[i].fd >= 0)
            return;
    }
    fail(d, 0);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct attempt *a = w->data;
    int number = 0;
    socklen_t size = sizeof number;

    (void)revents;
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &number, &size) < 0)
        number = errno;
    ev_io_stop(loop, w);
    if (!number) {
        finish(a->dial, a->fd, a->note, NULL);
        return;
    }
    close(a->fd);
    a->fd = -1;
    a->error = number;
    try_next(a->dial);
}

static void on_stagger(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    try_next(w->data);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    fail(w->data, 1);
}

/* The addresses are there, or a reason why not: takes them out of l. */
static void resolved(struct dial *d, struct lookup *l)
{
    struct error e = {0};
    int bad = l->result ? l->result : l->bind_result;
    const char *prefix = l->result ? "" : "BindAddress: ";

    if (bad) {
        const char *why = bad == EAI_SYSTEM ? strerror(l->number) : gai_strerror(bad);
        int code = bad == EAI_MEMORY ? -E_NOMEM : -E_RESOLVE;

        if (bad == EAI_SYSTEM && (l->number == EMFILE || l->number == ENFILE))
            code = -E_DESCRIPTORS;
        errors_set(&e, code, "%s%s: %s", prefix, l->result ? l->host : l->bind_address, why);
        finish(d, -1, NULL, &e);
        return;
    }
    d->list = l->list;
    d->bind_list = l->bind_list;
    l->list = l->bind_list = NULL;
    d->count = dial_order(d->o.addresses ? d->o.addresses : d->list, d->order, DIAL_ADDRESSES_MAX);
    try_next(d);
}

static void lookup_done(void *arg, int cancelled)
{
    struct lookup *l = arg;
    struct dial *d = l->dial;

    if (!cancelled && d) {
        d->job = NULL;
        d->lookup = NULL;
        if (!d->finished)
            resolved(d, l);
    }
    lookup_free(l);
}

/* A numeric address: nothing to wait for, but callbacks must not run from dial_start. */
static void on_begin(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct dial *d = w->data;
    struct lookup *l = d->lookup;

    (void)loop;
    (void)revents;
    d->lookup = NULL;
    resolved(d, l);
    lookup_free(l);
}

static struct lookup *lookup_new(struct dial *d, const struct dial_options *o)
{
    struct lookup *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->dial = d;
    l->family = o->family;
    snprintf(l->port, sizeof l->port, "%u", o->port & 0xffff);
    l->host = strdup(o->host);
    if (o->bind_address)
        l->bind_address = strdup(o->bind_address);
    if (l->host && (!o->bind_address || l->bind_address))
        return l;
    lookup_free(l);
    return NULL;
}

static void watchers_init(struct dial *d)
{
    ev_init(&d->deadline, on_deadline);
    ev_init(&d->stagger, on_stagger);
    ev_init(&d->begin, on_begin);
    d->deadline.data = d->stagger.data = d->begin.data = d;
    for (size_t i = 0; i < DIAL_ADDRESSES_MAX; i++) {
        d->attempts[i].dial = d;
        d->attempts[i].fd = -1;
        ev_init(&d->attempts[i].writable, on_writable);
        d->attempts[i].writable.data = &d->attempts[i];
    }
}

struct dial *dial_start(const struct dial_options *options, struct error *e)
{
    struct dial *d = calloc(1, sizeof *d);
    int code = -E_NOMEM;

    if (!d)
        goto out;
    d->o = *options;
    watchers_init(d);
    if (options->bind_interface && !(d->interface = strdup(options->bind_interface)))
        goto out;
    if (!(d->lookup = lookup_new(d, options)))
        goto out;
    d->o.host = d->o.bind_address = d->o.bind_interface = NULL;
    if (!options->addresses)
        lookup_run(d->lookup, AI_NUMERICHOST);
    if (d->lookup->result == EAI_NONAME || d->lookup->bind_result == EAI_NONAME) {
        if (d->lookup->list)
            freeaddrinfo(d->lookup->list);
        d->lookup->list = NULL;
        d->lookup->bind_result = 0;
        code = -E_SYSTEM;
        d->job =
            blocking_queue(options->blocking, lookup_work, lookup_begun, lookup_done, d->lookup);
        if (!d->job)
            goto out;
    } else {
        begin_time(d);
        ev_timer_set(&d->begin, 0, 0);
        ev_timer_start(d->o.loop, &d->begin);
    }
    return d;
out:
    errors_set(e, code, "%s", code == -E_SYSTEM ? "no thread could be started" : "");
    dial_free(d);
    return NULL;
}

double dial_began(const struct dial *d)
{
    return d->began;
}

void dial_free(struct dial *d)
{
    if (!d)
        return;
    if (d->calling) {
        d->doomed = 1;
        return;
    }
    ev_timer_stop(d->o.loop, &d->deadline);
    ev_timer_stop(d->o.loop, &d->stagger);
    ev_timer_stop(d->o.loop, &d->begin);
    for (size_t i = 0; i < DIAL_ADDRESSES_MAX; i++) {
        ev_io_stop(d->o.loop, &d->attempts[i].writable);
        if (d->attempts[i].fd >= 0)
            close(d->attempts[i].fd);
    }
    leave_lookup(d);
    lookup_free(d->lookup);
    if (d->list)
        freeaddrinfo(d->list);
    if (d->bind_list)
        freeaddrinfo(d->bind_list);
    free(d->interface);
    free(d);
}
