/* From the name of a host to a running command.  How each part works is in dial, ssh2_session,
 * ssh2_hostkey, ssh2_auth and ssh2_channel.
 *
 * What a cold `grapnel run` waits for, in round trips (`make bench` counts them):
 *   1. TCP's handshake.
 *   2. The server's version and its list of algorithms, which come together.  Our version goes out
 *      at once; our list and our half of the key exchange depend on what came.  A guess could go
 *      ahead (RFC 4253 section 7: first_kex_packet_follows), but libssh2 makes none.
 *   3. The key exchange.  Nothing can be encrypted before, and nothing that names the user may
 * leave before the server has proved its host key.
 *   4. NEWKEYS, the request for the authentication service, the signature, the channel and the
 *      command, in one go (ssh2_pipeline).  The server's window, which the agent needs, is open
 * only when it has accepted the command.
 *   5. The agent, our HELLO, the command and our GOODBYE, in one go.  Back come the agent's HELLO,
 *      output, result and GOODBYE, none of which waits for an answer. */
#include "launcher/ssh/ssh2_setup.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/ssh/ssh2_explain.h"
#include "launcher/ssh/ssh2_hostkey.h"
#include "launcher/ssh/ssh2_pipeline.h"
#include "launcher/ssh/ssh2_scan.h"

enum { RESTARTS_MAX = 4 };

static void on_trying(void *arg, const char *note)
{
    struct ssh2 *t = arg;

    ssh2_core_phase(t, PHASE_CONNECT, note);
}

static int begin_session(struct ssh2 *t, int fd, struct error *e)
{
    int code;

    t->session = ssh2_session_new(fd, e);
    if (!t->session) {
        close(fd);
        return e->code;
    }
    code = t->o.scan ? ssh2_scan_begin(t, e)
                     : ssh2_algorithms_apply(t->session, t->o.config, t->known, &t->algorithms, e);
    if (code < 0)
        return code;
    ev_io_set(&t->readable, fd, EV_READ);
    ev_io_set(&t->writable, fd, EV_WRITE);
    return 0;
}

/* failure: NULL when there is a descriptor. */
static void on_dialled(void *arg, int fd, const char *note, const struct error *failure)
{
    struct ssh2 *t = arg;
    struct error e = {0};
    double took; /* seconds of the time limit */

    ssh2_core_enter(t);
    if (failure) {
        ssh2_core_fail(t, failure);
    } else {
        ssh2_core_trace(t, 2, "connected to %s", note);
        ssh2_core_phase(t, PHASE_KEX, "");
        t->stage = SSH2_HANDSHAKE;
        if (begin_session(t, fd, &e) < 0) {
            ssh2_core_fail(t, &e);
        } else {
            took = t->dial ? ev_now(t->o.loop) - dial_began(t->dial) : 0;
            ssh2_core_deadline(t, (double)t->timeout_ms / 1000 - took);
            t->drive(t);
        }
    }
    ssh2_core_leave(t);
}

/* As if it had been dialled. */
static int begin_proxy(struct ssh2 *t, struct error *e)
{
    int fd;

    t->stage = SSH2_DIAL;
    ev_now_update(t->o.loop);
    t->proxy = ssh2_proxy_start(t->o.argv, t->o.blocking, &fd, e);
    if (!t->proxy)
        return e->code;
    on_dialled(t, fd, t->o.argv[0], NULL);
    return 0;
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
    if (t->o.argv)
        return begin_proxy(t, e);
    t->stage = SSH2_DIAL;
    t->dial = dial_start(&o, e);
    return t->dial ? 0 : e->code;
}

void ssh2_setup_restart(struct ssh2 *t, struct error *e)
{
    if (++t->restarts > RESTARTS_MAX) {
        errors_set(e, -E_AUTH, "%s", "too many connections were needed");
        ssh2_core_fail(t, e);
        return;
    }
    ssh2_core_trace(t, 1, "connecting anew, step by step");
    t->hasty = 0;
    ssh2_core_drop(t);
    if (begin_dial(t, e) < 0)
        ssh2_core_fail(t, e);
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
    const struct ssh2_greeting *g = ssh2_session_greeting(t->session);

    return t->hasty && ssh2_session_keyed(t->session) && version_is_known() &&
           ssh2_auth_may_hurry(t->auth, ssh2_greeting_behind(g) > 0);
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

static int check_greeting(struct ssh2 *t, struct error *e)
{
    const char *version = ssh2_greeting_version(ssh2_session_greeting(t->session));
    int code = ssh2_explain_greeting(t->session, e);

    if (code == 0 && *version && !t->greeted) {
        t->greeted = 1;
        ssh2_core_trace(t, 2, "the server is %s", version);
    }
    return code;
}

static int step_handshake(struct ssh2 *t, struct error *e)
{
    char note[SSH2_HOSTKEY_NOTE_MAX], warning[SSH2_HOSTKEY_NOTE_MAX], chosen[300];
    int rc, code;

    do {
        ssh2_session_begin(t->session, SSH2_SESSION_ALL);
        rc = libssh2_session_handshake(ssh2_session_raw(t->session), ssh2_session_fd(t->session));
    } while (ssh2_session_retry(t->session, rc));
    code = check_greeting(t, e);
    if (code < 0)
        return code;
    if (t->o.scan)
        return ssh2_scan_step(t, rc, version_is_known(), e);
    if (rc && rc != LIBSSH2_ERROR_EAGAIN)
        return ssh2_explain_failure(t->session, t->algorithms, t->o.config, rc, e);
    if (rc && !login_early(t))
        return ssh2_session_dead(t->session, NULL, NULL)
                   ? ssh2_explain_failure(t->session, t->algorithms, t->o.config, rc, e)
                   : 1;
    ssh2_session_greeted(t->session);
    ssh2_algorithms_chosen(t->session, chosen, sizeof chosen);
    ssh2_core_phase(t, PHASE_KEX, chosen);
    ssh2_core_phase(t, PHASE_HOSTKEY, "");
    code = ssh2_hostkey_check(t->session, t->o.config, t->known, note, warning, e);
    if (code < 0)
        return code;
    ssh2_core_phase(t, PHASE_HOSTKEY, note);
    if (*warning)
        ssh2_core_trace(t, 0, "%s", warning);
    ssh2_core_phase(t, PHASE_AUTH, "");
    ssh2_auth_attach(t->auth, t->session, haste(t));
    t->stage = SSH2_LOGIN;
    return 0;
}

/* ---- logging in, and the command ---- */

static void on_auth_trace(void *arg, int level, const char *text)
{
    ssh2_core_trace(arg, level, "%s", text);
}

static void on_auth_note(void *arg, const char *text)
{
    struct ssh2 *t = arg;

    snprintf(t->login, sizeof t->login, "%s", text);
    ssh2_core_trace(t, 2, "trying %s", text);
}

static void on_auth_enter(void *arg)
{
    ssh2_core_enter(arg);
}

static void on_auth_leave(void *arg)
{
    ssh2_core_leave(arg);
}

static void on_auth_wake(void *arg)
{
    struct ssh2 *t = arg;

    t->drive(t);
}

static int step_open(struct ssh2 *t, struct error *e)
{
    int result;

    if (!t->channel)
        t->channel = ssh2_channel_new(t->session, t->command);
    if (!t->channel)
        return errors_set(e, -E_NOMEM, "%s", "");
    result = ssh2_channel_open(t->channel, t->stage == SSH2_LOGIN && ssh2_pipeline_available(), e);
    if (result != SSH2_CHANNEL_DONE || t->stage != SSH2_OPEN)
        return result;
    t->stage = SSH2_RUN;
    ev_timer_stop(t->o.loop, &t->deadline);
    ssh2_core_kick(t); /* to ssh2_setup_done, when nothing of the login is running any more */
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
        ssh2_setup_restart(t, e);
        return 1;
    }
    if (result != SSH2_AUTH_DONE)
        return result;
    ssh2_pipeline_clean(t->session);
    ssh2_core_phase(t, PHASE_AUTH, t->login);
    ssh2_core_phase(t, PHASE_SHELL, "");
    t->stage = SSH2_OPEN;
    ssh2_core_deadline(t, (double)t->timeout_ms / 1000);
    return 0;
}

int ssh2_setup_begin(struct ssh2 *t, struct error *e)
{
    struct ssh2_auth_options auth = {.loop = t->o.loop,
                                     .blocking = t->o.blocking,
                                     .config = t->o.config,
                                     .keys = *t->o.keys,
                                     .interactive = t->o.interactive,
                                     .asker = t->o.asker,
                                     .enter = on_auth_enter,
                                     .leave = on_auth_leave,
                                     .wake = on_auth_wake,
                                     .trace = on_auth_trace,
                                     .note = on_auth_note,
                                     .arg = t};

    ssh2_core_phase(t, PHASE_RESOLVE, "");
    if (t->doomed)
        return 0;
    if (begin_dial(t, e) < 0)
        return e->code;
    if (t->o.scan)
        return 0;
    t->auth = ssh2_auth_new(&auth);
    return t->auth ? 0 : errors_set(e, -E_NOMEM, "%s", "");
}

int ssh2_setup_step(struct ssh2 *t, struct error *e)
{
    switch (t->stage) {
    case SSH2_HANDSHAKE:
        return step_handshake(t, e);
    case SSH2_LOGIN:
        return step_login(t, e);
    default:
        return step_open(t, e);
    }
}

void ssh2_setup_done(struct ssh2 *t)
{
    ssh2_auth_free(t->auth);
    t->auth = NULL;
    ssh2_algorithms_free(t->algorithms);
    t->algorithms = NULL;
    ssh2_session_forget_greeting(t->session);
}

int ssh2_setup_timeout(struct ssh2 *t, struct error *e)
{
    double seconds = (double)t->timeout_ms / 1000;

    switch (t->stage) {
    case SSH2_HANDSHAKE:
        return ssh2_explain_timeout(t->session, seconds, e);
    case SSH2_LOGIN:
        return errors_set(e, -E_CONNECT_TIMEOUT, "the login was not done within %.1f s (%s)",
                          seconds, t->login);
    default:
        return errors_set(e, -E_SHELL_TIMEOUT, "the server did not start the command within %.1f s",
                          seconds);
    }
}
