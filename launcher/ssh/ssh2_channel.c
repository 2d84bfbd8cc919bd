#include "launcher/ssh/ssh2_channel.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/safetext.h"
#include "launcher/ssh/ssh2_pipeline.h"

enum {
    PACKET_IN = 32768,   /* the largest data packet that is accepted */
    PACKET_OUT = 32700,  /* what libssh2 puts into one packet at most */
    READ_BUDGET = 131072 /* bytes taken from the socket before they are handed on: what is read
                            stays in the processor's cache, and memory stays bounded */
};

struct ssh2_channel {
    struct ssh2_session *s;
    LIBSSH2_CHANNEL *raw;
    char *command;
    int early; /* the command was requested before the channel was open */
    /* libssh2 took a packet to send, but a key exchange came between: it must be offered exactly
     * these bytes again. */
    uint8_t *held;
    size_t held_n;
    int lost;
};

struct ssh2_channel *ssh2_channel_new(struct ssh2_session *s, const char *command)
{
    struct ssh2_channel *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->s = s;
    c->command = strdup(command);
    if (c->command)
        return c;
    free(c);
    return NULL;
}

void ssh2_channel_free(struct ssh2_channel *c)
{
    if (!c)
        return;
    /* If a key exchange is in its way, it goes with the session. */
    if (c->raw) {
        ssh2_session_begin(c->s, 0);
        libssh2_channel_free(c->raw);
    }
    free(c->held);
    free(c->command);
    free(c);
}

static int refused(struct ssh2_channel *c, int rc, const char *what, struct error *e)
{
    char *text = NULL, safe[256];
    int n = 0, code = ssh2_session_dead(c->s, NULL, e);

    if (code)
        return code;
    libssh2_session_last_error(ssh2_session_raw(c->s), &text, &n, 0);
    safetext_copy(safe, sizeof safe, text ? text : "", text ? (size_t)n : 0, 0);
    return errors_set(e, -E_SHELL, "%s: %s (%d)", what, safe, rc);
}

/* 0 when it is open, 1, or negative. */
static int open_step(struct ssh2_channel *c, struct error *e)
{
    LIBSSH2_SESSION *raw = ssh2_session_raw(c->s);
    int rc;

    do {
        ssh2_session_begin(c->s, SSH2_SESSION_ALL);
        c->raw = libssh2_channel_open_ex(raw, "session", sizeof "session" - 1, SSH2_CHANNEL_WINDOW,
                                         PACKET_IN, NULL, 0);
        rc = c->raw ? 0 : libssh2_session_last_errno(raw);
    } while (ssh2_session_retry(c->s, rc));
    if (c->raw)
        return 0;
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return ssh2_session_dead(c->s, NULL, e) ? e->code : SSH2_CHANNEL_AGAIN;
    return refused(c, rc, "the server refused a channel", e);
}

static int exec_step(struct ssh2_channel *c, struct error *e)
{
    static const char *const what = "the server refused to run a command";
    int rc;

    if (c->early) {
        ssh2_channel_drain(c);
        rc = ssh2_pipeline_exec_answer(c->s);
        if (rc < 0)
            return errors_set(e, -E_SHELL, "%s", what);
        if (rc > 0)
            return 0;
        return ssh2_session_dead(c->s, NULL, e) ? e->code : SSH2_CHANNEL_AGAIN;
    }
    do {
        ssh2_session_begin(c->s, SSH2_SESSION_ALL);
        rc = libssh2_channel_process_startup(c->raw, "exec", sizeof "exec" - 1, c->command,
                                             (unsigned)strlen(c->command));
    } while (ssh2_session_retry(c->s, rc));
    if (rc == 0)
        return 0;
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return ssh2_session_dead(c->s, NULL, e) ? e->code : SSH2_CHANNEL_AGAIN;
    return refused(c, rc, what, e);
}

int ssh2_channel_open(struct ssh2_channel *c, int early, struct error *e)
{
    int result = c->raw ? 0 : open_step(c, e);

    if (result == SSH2_CHANNEL_AGAIN && early && !c->early) {
        if (ssh2_pipeline_exec(c->s, c->command) < 0)
            return errors_set(e, -E_DISCONNECTED, "%s", "requesting the command");
        c->early = 1;
    }
    return result ? result : exec_step(c, e);
}

int ssh2_channel_early(const struct ssh2_channel *c)
{
    return c && c->early;
}

ssize_t ssh2_channel_read(struct ssh2_channel *c, int stream, void *buffer, size_t n)
{
    ssize_t got;

    do {
        /* stdout is read first: that has taken in all there is for both. */
        ssh2_session_begin(c->s, stream ? 0 : READ_BUDGET);
        got = libssh2_channel_read_ex(c->raw, stream ? SSH_EXTENDED_DATA_STDERR : 0, buffer, n);
    } while (ssh2_session_retry(c->s, got));
    if (got >= 0)
        return got;
    return got == LIBSSH2_ERROR_EAGAIN ? -EAGAIN : -EIO;
}

int ssh2_channel_may_drain(struct ssh2_channel *c)
{
    unsigned long ahead = 0;

    libssh2_channel_window_read_ex(c->raw, &ahead, NULL);
    return ahead < SSH2_CHANNEL_AHEAD;
}

void ssh2_channel_drain(struct ssh2_channel *c)
{
    char none;

    ssh2_session_begin(c->s, READ_BUDGET);
    libssh2_channel_read_ex(c->raw, 0, &none, 0);
}

/* Offers one packet.  How much of it was taken; 0: nothing goes now; -1: lost. */
static ssize_t offer(struct ssh2_channel *c, const uint8_t *bytes, size_t n)
{
    ssize_t done;

    ssh2_session_begin(c->s, 0);
    done = libssh2_channel_write_ex(c->raw, 0, (const char *)bytes, n);
    if (done == LIBSSH2_ERROR_EAGAIN)
        return 0;
    if (done < 0)
        c->lost = 1;
    return done < 0 ? -1 : done;
}

/* Goes on with held bytes.  0 when none are left, 1 when they still do not go. */
static int offer_held(struct ssh2_channel *c)
{
    while (c->held_n) {
        ssize_t done = offer(c, c->held, c->held_n);

        if (done <= 0)
            return 1;
        c->held_n -= (size_t)done;
        memmove(c->held, c->held + done, c->held_n);
    }
    free(c->held);
    c->held = NULL;
    return 0;
}

ssize_t ssh2_channel_write(struct ssh2_channel *c, const uint8_t *bytes, size_t n)
{
    size_t taken = 0;

    if (offer_held(c))
        return c->lost ? -1 : 0;
    while (taken < n && ssh2_session_backlog(c->s) < SSH2_CHANNEL_BACKLOG) {
        size_t piece = n - taken < PACKET_OUT ? n - taken : PACKET_OUT;
        ssize_t done = offer(c, bytes + taken, piece);

        if (done < 0)
            return -1;
        taken += (size_t)done;
        if (done > 0)
            continue;
        if (libssh2_channel_window_write_ex(c->raw, NULL) == 0)
            break;
        /* There is a window: so it is a key exchange, and libssh2 has noted this packet's size. */
        c->held = malloc(piece);
        if (!c->held)
            return -1;
        memcpy(c->held, bytes + taken, piece);
        c->held_n = piece;
        taken += piece;
        break;
    }
    return (ssize_t)taken;
}

int ssh2_channel_room(struct ssh2_channel *c)
{
    return !offer_held(c) && ssh2_session_backlog(c->s) < SSH2_CHANNEL_BACKLOG / 2 &&
           libssh2_channel_window_write_ex(c->raw, NULL) > 0;
}

int ssh2_channel_starved(struct ssh2_channel *c)
{
    return c->held_n || libssh2_channel_window_write_ex(c->raw, NULL) == 0;
}

int ssh2_channel_send_eof(struct ssh2_channel *c)
{
    int rc;

    if (offer_held(c))
        return c->lost ? -E_DISCONNECTED : SSH2_CHANNEL_AGAIN;
    ssh2_session_begin(c->s, 0);
    rc = libssh2_channel_send_eof(c->raw);
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return SSH2_CHANNEL_AGAIN;
    return rc < 0 ? -E_DISCONNECTED : SSH2_CHANNEL_DONE;
}

/* The signals that have a name in RFC 4254 section 6.10, and those that OpenSSH adds. */
static int signal_number(const char *name, size_t n)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},
                   {"ILL", SIGILL},   {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE},
                   {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV}, {"TERM", SIGTERM}, {"USR1", SIGUSR1},
                   {"USR2", SIGUSR2}, {"BUS", SIGBUS},   {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ}};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (strlen(signals[i].name) == n && memcmp(signals[i].name, name, n) == 0)
            return signals[i].number;
    }
    return 0;
}

int ssh2_channel_finish(struct ssh2_channel *c, int *status)
{
    char *name = NULL;
    size_t n = 0;
    int rc;

    do {
        ssh2_session_begin(c->s, READ_BUDGET);
        rc = libssh2_channel_wait_closed(c->raw);
    } while (ssh2_session_retry(c->s, rc));
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return ssh2_session_dead(c->s, NULL, NULL) ? -E_DISCONNECTED : SSH2_CHANNEL_AGAIN;
    if (rc < 0)
        return -E_DISCONNECTED;
    *status = libssh2_channel_get_exit_status(c->raw);
    libssh2_channel_get_exit_signal(c->raw, &name, &n, NULL, NULL, NULL, NULL);
    if (name) {
        int number = signal_number(name, strcspn(name, "@"));

        *status = number ? 128 + number : -1;
        libssh2_free(ssh2_session_raw(c->s), name);
    }
    return SSH2_CHANNEL_DONE;
}

int ssh2_channel_rest(struct ssh2_channel *c)
{
    char none;
    ssize_t rc;

    /* Unless a key exchange is in its way; then it goes at the end of that. */
    ssh2_session_begin(c->s, 0);
    libssh2_channel_close(c->raw);
    ssh2_session_begin(c->s, READ_BUDGET);
    rc = libssh2_channel_read_ex(c->raw, 0, &none, 0);
    if (rc < 0 && rc != LIBSSH2_ERROR_EAGAIN)
        return -E_DISCONNECTED;
    return ssh2_session_dead(c->s, NULL, NULL) ? -E_DISCONNECTED : SSH2_CHANNEL_AGAIN;
}
