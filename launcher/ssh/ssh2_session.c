#include "launcher/ssh/ssh2_session.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/safetext.h"
#include "launcher/ssh/ssh2_chacha.h"
#include "proto/wire.h"

enum {
    EARLY_SIZE = 4096,   /* reads during the key exchange: libssh2 asks for single bytes there */
    DIRECT_MIN = 8192,   /* packets from this size go to the socket without a copy */
    KEEP = 16384,        /* bytes of an empty send buffer that are kept when it is idle: */
    IDLE_FLUSHES = 64,   /* so often in a row no more than that was needed */
    FREE_TRIES = 64,     /* of libssh2_session_free */
    READ_TIMEOUT = 86400 /* seconds; libssh2's own limit is off: ours are monotonic */
};
enum { MSG_NEWKEYS = 21, MESSAGE_TYPE = 5 /* behind packet length and padding length */ };

struct ssh2_session {
    LIBSSH2_SESSION *raw;
    int fd;
    struct wire_buf out;
    unsigned small_flushes;
    struct wire_buf early; /* read ahead of libssh2 in the plain text part */
    struct ssh2_greeting *greeting;
    int greeting_error, greeted;
    int newkeys, keyed; /* our NEWKEYS, and the message behind it, have left */
    int may_read;       /* the socket may hold bytes */
    int starved, fed;   /* in the present call: it wanted more than there is; it got some */
    size_t budget;
    int closing;      /* being freed: nothing goes in or out */
    int eof, errnum;  /* the end of what the server sends */
    int send_errnum;  /* the end of what it takes */
    int disconnected; /* it said DISCONNECT */
    unsigned reason;  /* ... with this reason */
    char text[256];   /* ... and these words, made safe */
    uint64_t sent, received;
    void *user;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_result;

static void prepare(void)
{
    once_result = ssh2_chacha_prepare() < 0 ? -1 : libssh2_init(0);
}

int ssh2_session_prepare(void)
{
    pthread_once(&once, prepare);
    return once_result ? -E_SYSTEM : 0;
}

/* Gives bytes to libssh2 from the socket itself. */
static ssize_t read_socket(struct ssh2_session *s, void *buffer, size_t n)
{
    ssize_t got;

    do
        got = recv(s->fd, buffer, n, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        s->received += (uint64_t)got;
        /* A short read has emptied the socket; the next poll tells whether that is still so. */
        if ((size_t)got < n)
            s->may_read = 0;
        return got;
    }
    s->may_read = 0;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return -EAGAIN;
    if (got == 0)
        s->eof = 1;
    else
        s->errnum = errno;
    return got ? -errno : 0;
}

static ssize_t read_early(struct ssh2_session *s, void *buffer, size_t n)
{
    size_t have = wire_length(&s->early);

    if (!have) {
        uint8_t *at;
        ssize_t got;

        if (wire_reserve(&s->early, EARLY_SIZE, &at) < 0)
            return -ENOMEM;
        got = read_socket(s, at, EARLY_SIZE);
        if (got <= 0)
            return got;
        if (!s->greeting_error)
            s->greeting_error = ssh2_greeting_feed(s->greeting, at, (size_t)got);
        wire_commit(&s->early, (size_t)got);
        have = (size_t)got;
    }
    if (n > have)
        n = have;
    memcpy(buffer, wire_data(&s->early), n);
    wire_take(&s->early, n);
    return (ssize_t)n;
}

static LIBSSH2_RECV_FUNC(on_recv)
{
    struct ssh2_session *s = *abstract;
    ssize_t got = -EAGAIN;

    (void)socket;
    (void)flags;
    if (s->closing || s->eof)
        return 0;
    if (s->errnum)
        return -s->errnum;
    if (length > s->budget)
        length = s->budget;
    if (length && wire_length(&s->early))
        got = read_early(s, buffer, length);
    else if (length && s->may_read)
        got = s->greeted ? read_socket(s, buffer, length) : read_early(s, buffer, length);
    if (got == -EAGAIN)
        s->starved = 1;
    if (got > 0) {
        s->fed = 1;
        s->budget -= (size_t)got;
    }
    return got;
}

static LIBSSH2_SEND_FUNC(on_send)
{
    struct ssh2_session *s = *abstract;
    const uint8_t *bytes = buffer;
    size_t left = length;

    (void)socket;
    (void)flags;
    if (s->newkeys)
        s->keyed = 1;
    else if (length > MESSAGE_TYPE && bytes[0] == 0 && bytes[MESSAGE_TYPE] == MSG_NEWKEYS)
        s->newkeys = 1;
    if (s->closing || s->send_errnum)
        return (ssize_t)length;
    s->sent += length;
    if (length >= DIRECT_MIN && !wire_length(&s->out)) {
        ssize_t done = send(s->fd, bytes, length, MSG_NOSIGNAL);

        if (done > 0) {
            bytes += done;
            left -= (size_t)done;
        }
    }
    if (left && wire_put(&s->out, bytes, left) < 0)
        s->send_errnum = ENOMEM;
    return (ssize_t)length;
}

static LIBSSH2_DISCONNECT_FUNC(on_disconnect)
{
    struct ssh2_session *s = *abstract;

    (void)session;
    (void)language;
    (void)language_len;
    s->disconnected = 1;
    s->reason = (unsigned)reason;
    if (message && message_len > 0)
        safetext_copy(s->text, sizeof s->text, message, (size_t)message_len, 0);
}

/* libssh2 takes all its callbacks as one type. */
#if LIBSSH2_VERSION_NUM >= 0x010b01
static void set_callback(LIBSSH2_SESSION *raw, int which, libssh2_cb_generic *f)
{
    libssh2_session_callback_set2(raw, which, f);
}
#else
typedef void(libssh2_cb_generic)(void);
static void set_callback(LIBSSH2_SESSION *raw, int which, libssh2_cb_generic *f)
{
    libssh2_session_callback_set(raw, which, (void *)(uintptr_t)f);
}
#endif

struct ssh2_session *ssh2_session_new(int fd, struct error *e)
{
    struct ssh2_session *s = NULL;
    int code = ssh2_session_prepare();

    if (code < 0) {
        errors_set(e, code, "libssh2_init: %d", once_result);
        return NULL;
    }
    s = calloc(1, sizeof *s);
    if (!s)
        goto out;
    s->fd = -1;
    s->greeting = ssh2_greeting_new();
    s->raw = libssh2_session_init_ex(NULL, NULL, NULL, s);
    if (!s->greeting || !s->raw)
        goto out;
    libssh2_session_set_blocking(s->raw, 0);
#if LIBSSH2_VERSION_NUM >= 0x010b00
    libssh2_session_set_read_timeout(s->raw, READ_TIMEOUT);
#endif
    set_callback(s->raw, LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)on_recv);
    set_callback(s->raw, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)on_send);
    set_callback(s->raw, LIBSSH2_CALLBACK_DISCONNECT, (libssh2_cb_generic *)on_disconnect);
    s->fd = fd;
    s->may_read = 1;
    return s;
out:
    ssh2_session_free(s);
    errors_set(e, -E_NOMEM, "%s", "");
    return NULL;
}

void ssh2_session_free(struct ssh2_session *s)
{
    if (!s)
        return;
    s->closing = 1;
    if (s->fd >= 0)
        shutdown(s->fd, SHUT_RDWR);
    if (s->raw) {
        /* Its channels want to say goodbye: that goes nowhere, and nothing comes back. */
        for (int i = 0; i < FREE_TRIES; i++) {
            if (libssh2_session_free(s->raw) != LIBSSH2_ERROR_EAGAIN)
                break;
        }
    }
    if (s->fd >= 0)
        close(s->fd);
    ssh2_greeting_free(s->greeting);
    wire_free(&s->early);
    wire_free(&s->out);
    free(s);
}

LIBSSH2_SESSION *ssh2_session_raw(struct ssh2_session *s)
{
    return s->raw;
}

int ssh2_session_fd(const struct ssh2_session *s)
{
    return s->fd;
}

void ssh2_session_set_user(struct ssh2_session *s, void *user)
{
    s->user = user;
}

void *ssh2_session_user(void *abstract)
{
    return ((struct ssh2_session *)abstract)->user;
}

void ssh2_session_readable(struct ssh2_session *s)
{
    s->may_read = 1;
}

void ssh2_session_begin(struct ssh2_session *s, size_t budget)
{
    s->starved = s->fed = 0;
    s->budget = budget;
}

int ssh2_session_retry(const struct ssh2_session *s, long rc)
{
    return rc == LIBSSH2_ERROR_EAGAIN && s->fed && !s->starved;
}

int ssh2_session_flush(struct ssh2_session *s)
{
    size_t left;

    s->small_flushes = wire_length(&s->out) > KEEP ? 0 : s->small_flushes + 1;
    while ((left = wire_length(&s->out)) && !s->send_errnum) {
        ssize_t done = send(s->fd, wire_data(&s->out), left, MSG_NOSIGNAL);

        if (done > 0)
            wire_take(&s->out, (size_t)done);
        else if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 1;
        else if (done < 0 && errno != EINTR)
            s->send_errnum = errno;
    }
    if (s->send_errnum && left) {
        /* The reason may still be waiting to be read: that decides, see ssh2_session_dead. */
        wire_take(&s->out, left);
        s->may_read = 1;
    }
    if (s->small_flushes > IDLE_FLUSHES)
        wire_trim(&s->out, KEEP);
    return 0;
}

size_t ssh2_session_backlog(const struct ssh2_session *s)
{
    return wire_length(&s->out);
}

void ssh2_session_quickack(struct ssh2_session *s)
{
#ifdef TCP_QUICKACK
    int one = 1;

    setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
#else
    (void)s;
#endif
}

void ssh2_session_greeted(struct ssh2_session *s)
{
    s->greeted = 1;
    if (!wire_length(&s->early))
        wire_free(&s->early);
}

void ssh2_session_forget_greeting(struct ssh2_session *s)
{
    ssh2_greeting_free(s->greeting);
    s->greeting = NULL;
}

const struct ssh2_greeting *ssh2_session_greeting(const struct ssh2_session *s)
{
    return s->greeting;
}

int ssh2_session_greeting_error(const struct ssh2_session *s)
{
    return s->greeting_error;
}

int ssh2_session_keyed(const struct ssh2_session *s)
{
    return s->keyed;
}

int ssh2_session_dead(const struct ssh2_session *s, unsigned *reason, struct error *e)
{
    const char *early = s->greeting ? ssh2_greeting_disconnect(s->greeting) : NULL;
    char text[256];

    if (reason)
        *reason = s->reason;
    if (s->disconnected)
        return errors_set(e, -E_DISCONNECTED, "the server said: %s", s->text);
    if (early && (s->eof || s->errnum)) {
        safetext_copy(text, sizeof text, early, strlen(early), 0);
        return errors_set(e, -E_DISCONNECTED, "the server said: %s", text);
    }
    if (s->eof)
        return errors_set(e, -E_DISCONNECTED, "%s", "the server closed it");
    if (s->errnum)
        return errors_set_system(e, -E_DISCONNECTED, s->errnum, "%s", "reading from the server");
    if (s->send_errnum && !s->may_read)
        return errors_set_system(e, -E_DISCONNECTED, s->send_errnum, "%s", "sending to the server");
    return 0;
}

uint64_t ssh2_session_sent(const struct ssh2_session *s)
{
    return s->sent;
}

uint64_t ssh2_session_received(const struct ssh2_session *s)
{
    return s->received;
}
