/* The ssh2 transport: what happens when, from the name of a host to a running command.  How each
 * part works is in dial, ssh2_session, ssh2_hostkey, ssh2_auth and ssh2_channel. */
#include "launcher/transport_ssh2.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/dial.h"
#include "launcher/knownhosts.h"
#include "launcher/safetext.h"
#include "launcher/ssh2_algorithms.h"
#include "launcher/ssh2_auth.h"
#include "launcher/ssh2_channel.h"
#include "launcher/ssh2_hostkey.h"
#include "launcher/ssh2_pipeline.h"
#include "launcher/ssh2_session.h"
#include "launcher/sshconfig.h"
#include "launcher/transport.h"

enum {
    DEFAULT_TIMEOUT_MS = 30000,
    READ_SIZE = 65536, /* of the buffer (on the stack) that input is handed on in */
    READ_TURN = 1 << 20, /* bytes handed on before other connections get their turn */
    RESTARTS_MAX = 4
};

enum stage {
    DIAL,      /* resolving and connecting */
    HANDSHAKE, /* key exchange */
    LOGIN,
    OPEN,    /* channel and command */
    RUN,
    CLOSING, /* its output has ended: how did it end? */
    IDLE,    /* it has; the connection lives */
    FAILED
};

struct ssh2 {
    struct transport base;
    struct transport_options o;
    struct transport_handler on;
    void *arg;
    char *command;
    struct knownhosts *known, *own_known; /* own: not given by the caller */
    int64_t timeout_ms;

    enum stage stage;
    struct dial *dial;
    struct ssh2_session *session;
    struct ssh2_algorithms *algorithms;
    struct ssh2_auth *auth;
    struct ssh2_channel *channel;
    int hasty; /* 1: do not wait for answers where that is sound (see login_early) */
    int restarts;
    int told_connect, told_shell;
    int greeted; /* the server's version has been looked at */
    char login[600];
    uint64_t sent, received; /* by connections that are gone */

    ev_io readable, writable;
    ev_timer deadline, kick;
    double began;
    int paused, wants_room, wants_eof, sent_eof;
    int depth, doomed; /* callbacks under way; to be freed when they have returned */
};

static void drive(struct ssh2 *t);

/* ---- telling the caller ---- */

static void trace(struct ssh2 *t, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void trace(struct ssh2 *t, int level, const char *format, ...)
{
    char text[1200];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (!t->doomed)
        t->on.trace(t->arg, level, text);
}

static void phase(struct ssh2 *t, enum errors_phase which, const char *note)
{
    if (!t->doomed)
        t->on.phase(t->arg, which, note);
}

static void watch_nothing(struct ssh2 *t)
{
    ev_io_stop(t->o.loop, &t->readable);
    ev_io_stop(t->o.loop, &t->writable);
    ev_timer_stop(t->o.loop, &t->deadline);
    ev_timer_stop(t->o.loop, &t->kick);
}

static void fail(struct ssh2 *t, const struct error *e)
{
    struct error copy = *e;

    if (t->stage == FAILED)
        return;
    t->stage = FAILED;
    watch_nothing(t);
    if (!t->doomed)
        t->on.failed(t->arg, &copy);
}

static void kick(struct ssh2 *t)
{
    if (t->stage == FAILED || t->doomed || ev_is_active(&t->kick))
        return;
    ev_timer_set(&t->kick, 0, 0);
    ev_timer_start(t->o.loop, &t->kick);
}

/* ---- what is held ---- */

/* Lets go of the connection, not of what was learnt from it. */
static void drop_connection(struct ssh2 *t)
{
    watch_nothing(t);
    dial_free(t->dial);
    t->dial = NULL;
    ssh2_channel_free(t->channel);
    t->channel = NULL;
    ssh2_algorithms_free(t->algorithms);
    t->algorithms = NULL;
    if (t->session) {
        t->sent += ssh2_session_sent(t->session);
        t->received += ssh2_session_received(t->session);
    }
    ssh2_session_free(t->session);
    t->session = NULL;
    t->greeted = 0;
}

static void release(struct ssh2 *t)
{
    watch_nothing(t);
    if (ssh2_auth_free(t->auth)) {
        /* A thread has it, and frees it when it ends: now, as there is nothing left to read. */
        shutdown(ssh2_session_fd(t->session), SHUT_RDWR);
        t->session = NULL;
    }
    t->auth = NULL;
    drop_connection(t);
    knownhosts_free(t->own_known);
    free(t->command);
    free(t);
}

static void enter(struct ssh2 *t)
{
    t->depth++;
}

/* The transport may be gone then. */
static void leave(struct ssh2 *t)
{
    if (--t->depth == 0 && t->doomed)
        release(t);
}

/* ---- connecting ---- */

static void start_deadline(struct ssh2 *t, double seconds)
{
    ev_now_update(t->o.loop);
    ev_timer_stop(t->o.loop, &t->deadline);
    ev_timer_set(&t->deadline, seconds > 0.001 ? seconds : 0.001, 0);
    ev_timer_start(t->o.loop, &t->deadline);
}

static void on_trying(void *arg, const char *note)
{
    struct ssh2 *t = arg;

    phase(t, PHASE_CONNECT, note);
}

static int begin_session(struct ssh2 *t, int fd, struct error *e)
{
    int code;

    t->session = ssh2_session_new(fd, e);
    if (!t->session) {
        close(fd);
        return e->code;
    }
    code = ssh2_algorithms_apply(t->session, t->o.config, t->known, &t->algorithms, e);
    if (code < 0)
        return code;
    ev_io_set(&t->readable, fd, EV_READ);
    ev_io_set(&t->writable, fd, EV_WRITE);
    return 0;
}

static void on_dialled(void *arg, int fd, const char *note, const struct error *failure)
{
    struct ssh2 *t = arg;
    struct error e = {0};

    enter(t);
    if (fd < 0) {
        fail(t, failure);
    } else {
        trace(t, 2, "connected to %s", note);
        phase(t, PHASE_KEX, "");
        t->stage = HANDSHAKE;
        if (begin_session(t, fd, &e) < 0) {
            fail(t, &e);
        } else {
            start_deadline(t, (double)t->timeout_ms / 1000 - (ev_now(t->o.loop) - t->began));
            drive(t);
        }
    }
    leave(t);
}

static int begin_dial(struct ssh2 *t, struct error *e)
{
    const struct sshconfig *config = t->o.config;
    struct dial_options o = {.loop = t->o.loop,
                             .blocking = t->o.blocking,
                             .host = config->host,
                             .port = config->port,
                             .family = AF_UNSPEC,
                             .bind_address = config->bind_address,
                             .bind_interface = config->bind_interface,
                             .keepalive = config->tcp_keepalive,
                             .timeout_ms = t->timeout_ms,
                             .trying = on_trying,
                             .done = on_dialled,
                             .arg = t};

    if (config->family == SSHCONFIG_FAMILY_INET)
        o.family = AF_INET;
    else if (config->family == SSHCONFIG_FAMILY_INET6)
        o.family = AF_INET6;
    t->stage = DIAL;
    ev_now_update(t->o.loop);
    t->began = ev_now(t->o.loop);
    t->dial = dial_start(&o, e);
    return t->dial ? 0 : e->code;
}

/* The connection was no good for what comes next: makes another. */
static void restart(struct ssh2 *t, struct error *e)
{
    if (++t->restarts > RESTARTS_MAX) {
        errors_set(e, -E_AUTH, "%s", "too many connections were needed");
        fail(t, e);
        return;
    }
    trace(t, 1, "connecting anew, step by step");
    t->hasty = 0;
    drop_connection(t);
    if (begin_dial(t, e) < 0)
        fail(t, e);
}

/* ---- key exchange ---- */

/* The server's first bytes, for a person. */
static void excerpt(struct ssh2 *t, char *out, size_t size)
{
    size_t n;
    const uint8_t *first = ssh2_greeting_first(ssh2_session_greeting(t->session), &n);

    safetext_copy(out, size, first, n < 80 ? n : 80, 0);
}

/* OpenSSH says no in plain text when it does not want to talk at all. */
static int turned_away(const char *text)
{
    return strncmp(text, "Exceeded MaxStartups", 20) == 0 ||
           strncmp(text, "Not allowed at this time", 24) == 0;
}

static int explain_handshake(struct ssh2 *t, int rc, struct error *e)
{
    const struct ssh2_greeting *g = ssh2_session_greeting(t->session);
    char text[400];
    char *said = NULL;
    int code, n;

    excerpt(t, text, sizeof text);
    code = ssh2_session_dead(t->session, NULL, e);
    if (!*ssh2_greeting_version(g)) {
        if (turned_away(text))
            return errors_set(e, -E_DISCONNECTED, "the server said: %s", text);
        if (*text)
            return errors_set(e, -E_NOT_SSH, "it began with: %s", text);
        if (code)
            return errors_set(e, -E_DISCONNECTED,
                              "before the server said anything (MaxStartups, or access rules?)");
    }
    if (!ssh2_greeting_disconnect(g)) {
        int why = ssh2_algorithms_explain(t->algorithms, g, t->o.config, e);

        if (why)
            return why;
    }
    if (code)
        return code;
    libssh2_session_last_error(ssh2_session_raw(t->session), &said, &n, 0);
    return errors_set(e, -E_KEX, "%s (%d)", said ? said : "", rc);
}

/* A server that does not speak SSH need not be waited for until it gives up. */
static int check_greeting(struct ssh2 *t, struct error *e)
{
    const char *version = ssh2_greeting_version(ssh2_session_greeting(t->session));
    char text[400];

    if (!*version) {
        static const char *const others[] = {"HTTP/", "220 ", "220-", "* OK", "+OK ", "RFB 0", "554 "};

        excerpt(t, text, sizeof text);
        if (ssh2_session_greeting_error(t->session) == -E_NOT_SSH)
            return errors_set(e, -E_NOT_SSH, "it began with: %s", text);
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            if (strncmp(text, others[i], strlen(others[i])) == 0)
                return errors_set(e, -E_NOT_SSH, "it began with: %s", text);
        }
        return 0;
    }
    if (t->greeted)
        return 0;
    t->greeted = 1;
    safetext_copy(text, sizeof text, version, strlen(version), 0);
    trace(t, 2, "the server is %s", text);
    if (strncmp(version, "SSH-2.0-", 8) && strncmp(version, "SSH-1.99-", 9))
        return errors_set(e, -E_KEX, "the server speaks only an old protocol: %s", text);
    return 0;
}

/* The order in which libssh2 sends things is known for these versions. */
static int version_is_known(void)
{
    return strncmp(libssh2_version(0), "1.11.", 5) == 0;
}

/* The keys are there, and the server has proved its host key, though its answer to our request for
 * the authentication service is still under way: the login may go behind that request.
 * An RSA key must know the server's signature algorithms, which come first behind NEWKEYS. */
static int login_early(struct ssh2 *t)
{
    return t->hasty && ssh2_session_keyed(t->session) && version_is_known() &&
           ssh2_auth_may_hurry(t->auth);
}

/* Servers of this kind read what follows a login when they have let it in. */
static int takes_early_channel(struct ssh2 *t)
{
    const char *version = ssh2_greeting_version(ssh2_session_greeting(t->session));

    return strncmp(version, "SSH-2.0-OpenSSH_", 16) == 0;
}

static enum ssh2_auth_haste haste(struct ssh2 *t)
{
    if (!t->hasty || !takes_early_channel(t))
        return SSH2_AUTH_PATIENT;
    return ssh2_pipeline_available() ? SSH2_AUTH_BLIND : SSH2_AUTH_HASTY;
}

static int step_handshake(struct ssh2 *t, struct error *e)
{
    char note[SSH2_HOSTKEY_NOTE_MAX], chosen[300];
    int rc, code;

    do {
        ssh2_session_begin(t->session, SSH2_SESSION_ALL);
        rc = libssh2_session_handshake(ssh2_session_raw(t->session), ssh2_session_fd(t->session));
    } while (ssh2_session_retry(t->session, rc));
    code = check_greeting(t, e);
    if (code < 0)
        return code;
    if (rc && rc != LIBSSH2_ERROR_EAGAIN)
        return explain_handshake(t, rc, e);
    if (rc && !login_early(t))
        return ssh2_session_dead(t->session, NULL, NULL) ? explain_handshake(t, rc, e) : 1;
    ssh2_session_greeted(t->session);
    ssh2_algorithms_chosen(t->session, chosen, sizeof chosen);
    phase(t, PHASE_KEX, chosen);
    phase(t, PHASE_HOSTKEY, "");
    code = ssh2_hostkey_check(t->session, t->o.config, t->known, note, e);
    if (code < 0)
        return code;
    phase(t, PHASE_HOSTKEY, note);
    phase(t, PHASE_AUTH, "");
    ssh2_auth_attach(t->auth, t->session, haste(t));
    t->stage = LOGIN;
    return 0;
}

/* ---- logging in, and the command ---- */

static void on_auth_trace(void *arg, int level, const char *text)
{
    trace(arg, level, "%s", text);
}

static void on_auth_note(void *arg, const char *text)
{
    struct ssh2 *t = arg;

    snprintf(t->login, sizeof t->login, "%s", text);
    trace(t, 1, "trying %s", text);
}

static void on_auth_enter(void *arg)
{
    enter(arg);
}

static void on_auth_leave(void *arg)
{
    leave(arg);
}

static void on_auth_wake(void *arg)
{
    drive(arg);
}

static int step_open(struct ssh2 *t, struct error *e)
{
    int result;

    if (!t->channel)
        t->channel = ssh2_channel_new(t->session, t->command);
    if (!t->channel)
        return errors_set(e, -E_NOMEM, "%s", "");
    result = ssh2_channel_open(t->channel, t->stage == LOGIN && ssh2_pipeline_available(), e);
    if (result != SSH2_CHANNEL_DONE || t->stage != OPEN)
        return result;
    t->stage = RUN;
    ev_timer_stop(t->o.loop, &t->deadline);
    /* A held connection needs no keys, no agent, and no list of algorithms. */
    ssh2_auth_free(t->auth);
    t->auth = NULL;
    ssh2_algorithms_free(t->algorithms);
    t->algorithms = NULL;
    ssh2_session_forget_greeting(t->session);
    t->on.opened(t->arg);
    return 0;
}

static int step_login(struct ssh2 *t, struct error *e)
{
    uint64_t before;
    int result;

    do {
        before = ssh2_session_received(t->session);
        result = ssh2_auth_step(t->auth, e);
        if (result == SSH2_AUTH_AGAIN && haste(t) != SSH2_AUTH_PATIENT &&
            ssh2_auth_decided(t->auth)) {
            int opened = step_open(t, e);

            if (opened < 0)
                return opened;
        }
    } while (result == SSH2_AUTH_AGAIN && before != ssh2_session_received(t->session));
    if (result == SSH2_AUTH_RESTART) {
        restart(t, e);
        return 1;
    }
    if (result != SSH2_AUTH_DONE)
        return result;
    ssh2_pipeline_clean(t->session);
    phase(t, PHASE_AUTH, t->login);
    phase(t, PHASE_SHELL, "");
    t->stage = OPEN;
    start_deadline(t, (double)t->timeout_ms / 1000);
    return 0;
}

/* ---- the command's bytes ---- */

static int lost(struct ssh2 *t, struct error *e)
{
    int code = ssh2_session_dead(t->session, NULL, e);

    return code ? code : errors_set(e, -E_DISCONNECTED, "%s", "the SSH connection broke");
}

/* Hands on what there is of one stream.  1: its end; 0: all for now; negative: lost. */
static int hand_on(struct ssh2 *t, int stream, size_t *turn, struct error *e)
{
    uint8_t buffer[READ_SIZE];

    while (!t->paused && !t->doomed) {
        ssize_t got = ssh2_channel_read(t->channel, stream, buffer, sizeof buffer);

        if (got == -EAGAIN)
            return ssh2_session_dead(t->session, NULL, e);
        if (got == 0)
            return 1;
        if (got < 0)
            return lost(t, e);
        if (stream)
            t->on.diagnostics(t->arg, buffer, (size_t)got);
        else
            t->on.input(t->arg, buffer, (size_t)got);
        *turn += (size_t)got;
        if (*turn >= READ_TURN && !t->doomed) {
            kick(t);
            return 0;
        }
    }
    return 0;
}

static int step_input(struct ssh2 *t, struct error *e)
{
    size_t turn = 0;
    int out, diagnostics;

    if (t->paused) {
        if (t->wants_room && ssh2_channel_starved(t->channel) &&
            ssh2_channel_may_drain(t->channel))
            ssh2_channel_drain(t->channel);
        return 1;
    }
    out = hand_on(t, 0, &turn, e);
    if (out < 0 || t->doomed)
        return out;
    diagnostics = hand_on(t, 1, &turn, e);
    if (diagnostics < 0 || t->doomed)
        return diagnostics;
    if (out != 1 || diagnostics != 1)
        return 1;
    t->stage = CLOSING;
    return 0;
}

static int step_output(struct ssh2 *t, struct error *e)
{
    if (t->stage != RUN || t->doomed)
        return 0;
    if (t->wants_eof && !t->sent_eof) {
        int result = ssh2_channel_send_eof(t->channel);

        if (result < 0)
            return lost(t, e);
        t->sent_eof = result == SSH2_CHANNEL_DONE;
    }
    if (t->wants_room && !t->wants_eof && ssh2_channel_room(t->channel)) {
        t->wants_room = 0;
        t->on.writable(t->arg);
    }
    return 0;
}

static int step_run(struct ssh2 *t, struct error *e)
{
    int result = step_input(t, e);

    if (result < 0 || t->doomed)
        return result;
    return step_output(t, e) < 0 ? e->code : result;
}

static int step_closing(struct ssh2 *t, struct error *e)
{
    int status = -1;
    int result = ssh2_channel_finish(t->channel, &status);

    if (result == SSH2_CHANNEL_AGAIN)
        return 1;
    if (result < 0)
        return lost(t, e);
    ssh2_channel_free(t->channel);
    t->channel = NULL;
    t->stage = IDLE;
    t->on.finished(t->arg, status);
    return 1;
}

/* ---- the loop ---- */

/* 0: the stage has changed, or there may be more to do; 1: wait; negative: failed. */
static int step(struct ssh2 *t, struct error *e)
{
    switch (t->stage) {
    case HANDSHAKE:
        return step_handshake(t, e);
    case LOGIN:
        return step_login(t, e);
    case OPEN:
        return step_open(t, e);
    case RUN:
        return step_run(t, e);
    case CLOSING:
        return step_closing(t, e);
    default:
        return 1;
    }
}

/* Sends what is due, and watches for what is wanted. */
static void settle(struct ssh2 *t)
{
    int reading = t->stage >= HANDSHAKE && t->stage <= CLOSING;
    int writing;

    if (!t->session || t->stage == FAILED)
        return;
    if (ssh2_auth_busy(t->auth)) {
        ev_io_stop(t->o.loop, &t->readable);
        ev_io_stop(t->o.loop, &t->writable);
        return;
    }
    writing = ssh2_session_flush(t->session);
    if (t->stage == RUN && t->paused)
        reading = t->wants_room && ssh2_channel_starved(t->channel) &&
                  ssh2_channel_may_drain(t->channel);
    if (t->stage < RUN)
        ssh2_session_quickack(t->session);
    if (reading)
        ev_io_start(t->o.loop, &t->readable);
    else
        ev_io_stop(t->o.loop, &t->readable);
    if (writing)
        ev_io_start(t->o.loop, &t->writable);
    else
        ev_io_stop(t->o.loop, &t->writable);
}

static void drive(struct ssh2 *t)
{
    struct error e = {0};
    int result = 0;

    while (result == 0 && !t->doomed && t->session && t->stage != FAILED &&
           !ssh2_auth_busy(t->auth))
        result = step(t, &e);
    if (result < 0)
        fail(t, &e);
    if (!t->doomed)
        settle(t);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct ssh2 *t = w->data;

    (void)loop;
    (void)revents;
    ssh2_session_readable(t->session);
    enter(t);
    drive(t);
    leave(t);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct ssh2 *t = w->data;

    (void)loop;
    (void)revents;
    enter(t);
    drive(t);
    leave(t);
}

static void on_kick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2 *t = w->data;

    (void)loop;
    (void)revents;
    enter(t);
    drive(t);
    leave(t);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2 *t = w->data;
    double seconds = (double)t->timeout_ms / 1000;
    char text[400];
    struct error e = {0};

    (void)loop;
    (void)revents;
    if (t->stage == LOGIN && ssh2_auth_asking(t->auth)) {
        start_deadline(t, seconds);
        return;
    }
    enter(t);
    if (t->stage == HANDSHAKE) {
        excerpt(t, text, sizeof text);
        if (!t->greeted && *text)
            errors_set(&e, -E_NOT_SSH, "it began with: %s", text);
        else
            errors_set(&e, -E_KEX_TIMEOUT, "%s within %.1f s",
                       t->greeted ? "the key exchange was not done" : "it said nothing", seconds);
    } else if (t->stage == LOGIN) {
        errors_set(&e, -E_CONNECT_TIMEOUT, "the login was not done within %.1f s (%s)", seconds,
                   t->login);
    } else {
        errors_set(&e, -E_SHELL_TIMEOUT, "the server did not start the command within %.1f s",
                   seconds);
    }
    fail(t, &e);
    leave(t);
}

/* ---- the class ---- */

static int ssh2_again(struct transport *base, const char *command, struct error *e)
{
    struct ssh2 *t = (struct ssh2 *)base;
    char *copy;

    if (t->stage != IDLE)
        return errors_set(e, -E_CLOSED, "%s", "no connection is idle");
    copy = strdup(command);
    if (!copy)
        return errors_set(e, -E_NOMEM, "%s", "");
    free(t->command);
    t->command = copy;
    t->stage = OPEN;
    t->paused = t->wants_room = t->wants_eof = t->sent_eof = 0;
    start_deadline(t, (double)t->timeout_ms / 1000);
    kick(t);
    return 0;
}

static size_t ssh2_write(struct transport *base, const uint8_t *bytes, size_t n)
{
    struct ssh2 *t = (struct ssh2 *)base;
    ssize_t taken;

    if (t->stage != RUN || t->wants_eof)
        return 0;
    taken = ssh2_channel_write(t->channel, bytes, n);
    if (taken < 0 || (size_t)taken < n)
        t->wants_room = 1;
    if (taken < 0)
        kick(t); /* reading finds out why */
    else if (!t->depth)
        settle(t);
    return taken < 0 ? 0 : (size_t)taken;
}

static void ssh2_eof(struct transport *base)
{
    struct ssh2 *t = (struct ssh2 *)base;

    t->wants_eof = 1;
    kick(t);
}

static void ssh2_pause(struct transport *base, int paused)
{
    struct ssh2 *t = (struct ssh2 *)base;

    if (t->paused == !!paused)
        return;
    t->paused = !!paused;
    /* libssh2 may hold more than the socket tells of. */
    kick(t);
}

static void ssh2_free(struct transport *base)
{
    struct ssh2 *t = (struct ssh2 *)base;

    t->doomed = 1;
    watch_nothing(t);
    if (!t->depth)
        release(t);
}

static struct transport_counters ssh2_counters(const struct transport *base)
{
    const struct ssh2 *t = (const struct ssh2 *)base;
    struct transport_counters c = {t->sent, t->received};

    if (t->session) {
        c.sent += ssh2_session_sent(t->session);
        c.received += ssh2_session_received(t->session);
    }
    return c;
}

static const struct transport_class ssh2_class = {"ssh2",   ssh2_again, ssh2_write,   ssh2_eof,
                                                  ssh2_pause, ssh2_free,  ssh2_counters};

static void on_begin(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2 *t = w->data;
    struct error e = {0};
    struct ssh2_auth_options auth = {.loop = t->o.loop,
                                     .blocking = t->o.blocking,
                                     .config = t->o.config,
                                     .keys = t->o.keys,
                                     .interactive = t->o.interactive,
                                     .enter = on_auth_enter,
                                     .leave = on_auth_leave,
                                     .wake = on_auth_wake,
                                     .trace = on_auth_trace,
                                     .note = on_auth_note,
                                     .arg = t};

    (void)loop;
    (void)revents;
    enter(t);
    ev_set_cb(&t->kick, on_kick);
    phase(t, PHASE_RESOLVE, "");
    if (!t->doomed && begin_dial(t, &e) < 0) {
        fail(t, &e);
    } else if (!t->doomed) {
        t->auth = ssh2_auth_new(&auth);
        if (!t->auth) {
            errors_set(&e, -E_NOMEM, "%s", "");
            fail(t, &e);
        }
    }
    leave(t);
}

static int open_known_hosts(struct ssh2 *t, struct error *e)
{
    const struct sshconfig *c = t->o.config;
    size_t count = c->user_known_hosts.count + c->global_known_hosts.count;
    const char **files;
    int code;

    t->known = t->o.known_hosts;
    if (t->known)
        return 0;
    files = calloc(count + 1, sizeof *files);
    if (!files)
        return errors_set(e, -E_NOMEM, "%s", "");
    for (size_t i = 0; i < c->user_known_hosts.count; i++)
        files[i] = c->user_known_hosts.item[i];
    for (size_t i = 0; i < c->global_known_hosts.count; i++)
        files[c->user_known_hosts.count + i] = c->global_known_hosts.item[i];
    code = knownhosts_open(files, count, &t->own_known, e);
    t->known = t->own_known;
    free(files);
    return code;
}

static int begin(struct ssh2 *t, struct error *e)
{
    char why[300];
    int code;

    if (sshconfig_needs_openssh(t->o.config, why, sizeof why))
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH, "%s", why);
    code = ssh2_session_prepare();
    if (code < 0)
        return errors_set(e, code, "%s", "libssh2 does not start");
    code = open_known_hosts(t, e);
    if (code < 0)
        return code;
    ev_timer_set(&t->kick, 0, 0);
    ev_timer_start(t->o.loop, &t->kick);
    return 0;
}

int transport_ssh2_init(void)
{
    return ssh2_session_prepare();
}

struct transport *transport_ssh2(const struct transport_options *options, const char *command,
                                 const struct transport_handler *handler, void *arg,
                                 struct error *e)
{
    struct ssh2 *t = calloc(1, sizeof *t);

    if (!t || !(t->command = strdup(command))) {
        free(t);
        errors_set(e, -E_NOMEM, "%s", "");
        return NULL;
    }
    t->base.class = &ssh2_class;
    t->o = *options;
    t->on = *handler;
    t->arg = arg;
    t->hasty = 1;
    t->timeout_ms = options->connect_timeout_ms;
    if (t->timeout_ms <= 0)
        t->timeout_ms = (int64_t)options->config->connect_timeout * 1000;
    if (t->timeout_ms <= 0)
        t->timeout_ms = DEFAULT_TIMEOUT_MS;
    ev_init(&t->readable, on_readable);
    ev_init(&t->writable, on_writable);
    ev_init(&t->deadline, on_deadline);
    ev_init(&t->kick, on_begin);
    t->readable.data = t->writable.data = t->deadline.data = t->kick.data = t;
    if (begin(t, e) < 0) {
        ssh2_free(&t->base);
        return NULL;
    }
    return &t->base;
}
