/* A command over a bare libssh2 channel, for the programs that show what libssh2 alone takes.
 *
 * Two manners: `callbacks` 0 leaves the socket to libssh2, 1 puts buffers of our own between, as
 * the ssh2 transport does.  The server is that of tests/bench/bench.sh. */
#ifndef GRAPNEL_TESTS_BENCH_BARE_H
#define GRAPNEL_TESTS_BENCH_BARE_H

#include <errno.h>
#include <fcntl.h>
#include <libssh2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define BARE_WINDOW (64u * 1024 * 1024)
#define BARE_PACKET 32768
#define BARE_BUFFER (256 * 1024)

struct bare {
    int fd;
    LIBSSH2_SESSION *session;
    LIBSSH2_CHANNEL *channel;
    int callbacks;
    uint8_t *out, *in; /* bytes from at to end */
    size_t out_at, out_end, out_size, in_at, in_end;
};

static inline int bare_flush(struct bare *b)
{
    while (b->out_at < b->out_end) {
        ssize_t n = send(b->fd, b->out + b->out_at, b->out_end - b->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return 1;
        if (n < 0)
            bench_die("send: %s", strerror(errno));
        b->out_at += (size_t)n;
    }
    b->out_at = b->out_end = 0;
    return 0;
}

static inline LIBSSH2_SEND_FUNC(bare_send)
{
    struct bare *b = *abstract;

    (void)socket;
    (void)flags;
    if (b->out_size - b->out_end < length) {
        b->out_size = 2 * b->out_size + length;
        b->out = realloc(b->out, b->out_size);
        if (!b->out)
            bench_die("out of memory");
    }
    memcpy(b->out + b->out_end, buffer, length);
    b->out_end += length;
    bare_flush(b);
    return (ssize_t)length;
}

static inline LIBSSH2_RECV_FUNC(bare_recv)
{
    struct bare *b = *abstract;

    (void)socket;
    (void)flags;
    if (b->in_at == b->in_end) {
        ssize_t n = recv(b->fd, b->in, BARE_BUFFER, 0);
        if (n <= 0)
            return n == 0 ? 0 : -errno;
        b->in_at = 0;
        b->in_end = (size_t)n;
    }
    if (length > b->in_end - b->in_at)
        length = b->in_end - b->in_at;
    memcpy(buffer, b->in + b->in_at, length);
    b->in_at += length;
    return (ssize_t)length;
}

static inline void bare_wait(struct bare *b)
{
    int directions = libssh2_session_block_directions(b->session), one = 1;
    struct pollfd p = {.fd = b->fd};

    if (directions & LIBSSH2_SESSION_BLOCK_INBOUND || !directions)
        p.events |= POLLIN;
    if (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND || b->out_at < b->out_end)
        p.events |= POLLOUT;
    setsockopt(b->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
    poll(&p, 1, -1);
    if (p.revents & POLLOUT)
        bare_flush(b);
}

/* For calls that answer 0 in the end. */
#define BARE_DO(b, call)                                                                           \
    do {                                                                                           \
        int rc_;                                                                                   \
        while ((rc_ = (call)) == LIBSSH2_ERROR_EAGAIN)                                             \
            bare_wait(b);                                                                          \
        if (rc_ != 0)                                                                              \
            bench_die("libssh2: %s: %d", #call, rc_);                                              \
    } while (0)

static inline void bare_connect(struct bare *b)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port =
                                htons((uint16_t)bench_number(bench_setting("SSHD_PORT"), 1)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;

    b->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (b->fd < 0 || connect(b->fd, (struct sockaddr *)&a, sizeof a) < 0)
        bench_die("connect: %s", strerror(errno));
    fcntl(b->fd, F_SETFL, O_NONBLOCK);
    setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Starts `command` with the given cipher. */
static inline void bare_open(struct bare *b, int callbacks, const char *cipher, const char *command)
{
    const char *user = bench_setting("SSHD_USER");

    memset(b, 0, sizeof *b);
    b->callbacks = callbacks;
    bare_connect(b);
    b->session = libssh2_session_init_ex(NULL, NULL, NULL, b);
    if (!b->session)
        bench_die("out of memory");
    libssh2_session_set_blocking(b->session, 0);
    libssh2_session_method_pref(b->session, LIBSSH2_METHOD_CRYPT_CS, cipher);
    libssh2_session_method_pref(b->session, LIBSSH2_METHOD_CRYPT_SC, cipher);
    if (callbacks) {
        b->in = malloc(BARE_BUFFER);
        if (!b->in)
            bench_die("out of memory");
        libssh2_session_callback_set2(b->session, LIBSSH2_CALLBACK_RECV,
                                      (libssh2_cb_generic *)bare_recv);
        libssh2_session_callback_set2(b->session, LIBSSH2_CALLBACK_SEND,
                                      (libssh2_cb_generic *)bare_send);
    }
    BARE_DO(b, libssh2_session_handshake(b->session, b->fd));
    BARE_DO(b, libssh2_userauth_publickey_fromfile(b->session, user, NULL,
                                                   bench_setting("SSHD_KEY"), NULL));
    while (!(b->channel = libssh2_channel_open_ex(b->session, "session", 7, BARE_WINDOW,
                                                  BARE_PACKET, NULL, 0))) {
        if (libssh2_session_last_errno(b->session) != LIBSSH2_ERROR_EAGAIN)
            bench_die("libssh2: no channel");
        bare_wait(b);
    }
    BARE_DO(b, libssh2_channel_exec(b->channel, command));
}

/* The process is about to end, so nothing is freed but the line. */
static inline void bare_cut(struct bare *b)
{
    shutdown(b->fd, SHUT_RDWR);
    close(b->fd);
    free(b->in);
}

#endif
