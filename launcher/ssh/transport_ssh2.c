#include "launcher/ssh/transport_ssh2.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/keyring.h"
#include "launcher/ssh/ssh2_core.h"
#include "launcher/ssh/ssh2_flow.h"
#include "launcher/ssh/ssh2_setup.h"
#include "launcher/ssh/sshfiles.h"

enum { DEFAULT_TIMEOUT_MS = 30000 };

/* 0: the stage has changed, or there may be more to do; 1: wait; negative: failed. */
static int step(struct ssh2 *t, struct error *e)
{
    switch (t->stage) {
    case SSH2_HANDSHAKE:
    case SSH2_LOGIN:
    case SSH2_OPEN:
        return ssh2_setup_step(t, e);
    case SSH2_RUN:
    case SSH2_CLOSING:
    case SSH2_IDLE:
        return ssh2_flow_step(t, e);
    default:
        return 1;
    }
}

/* Sends what is due, and watches for what is wanted. */
static void settle(struct ssh2 *t)
{
    int reading = t->stage >= SSH2_HANDSHAKE && t->stage <= SSH2_IDLE;
    int writing;

    if (!t->session || t->stage == SSH2_FAILED)
        return;
    if (ssh2_auth_busy(t->auth)) {
        ev_io_stop(t->o.loop, &t->readable);
        ev_io_stop(t->o.loop, &t->writable);
        return;
    }
    writing = ssh2_session_flush(t->session);
    if (t->stage == SSH2_RUN)
        reading = ssh2_flow_reads(t);
    if (t->stage < SSH2_RUN)
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

    while (result == 0 && !t->doomed && t->session && t->stage != SSH2_FAILED &&
           !ssh2_auth_busy(t->auth))
        result = step(t, &e);
    if (result == -E_DISCONNECTED && t->hasty &&
        (t->stage == SSH2_LOGIN || t->stage == SSH2_OPEN) && ssh2_channel_early(t->channel)) {
        /* Perhaps it is the haste that the server does not like. */
        ssh2_core_trace(t, 1, "%s: %s", errors_text(result), e.detail);
        ssh2_auth_undecided(t->auth);
        ssh2_setup_restart(t, &e);
    } else if (result < 0) {
        ssh2_core_fail(t, &e);
    }
    if (!t->doomed)
        settle(t);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct ssh2 *t = w->data;

    (void)loop;
    (void)revents;
    ssh2_session_readable(t->session);
    ssh2_core_enter(t);
    drive(t);
    ssh2_core_leave(t);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct ssh2 *t = w->data;

    (void)loop;
    (void)revents;
    ssh2_core_enter(t);
    drive(t);
    ssh2_core_leave(t);
}

static void on_kick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2 *t = w->data;

    (void)loop;
    (void)revents;
    if (t->stage >= SSH2_RUN && t->session && t->auth)
        ssh2_setup_done(t);
    ssh2_core_enter(t);
    drive(t);
    ssh2_core_leave(t);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2 *t = w->data;
    struct error e = {0};

    (void)loop;
    (void)revents;
    if (t->stage == SSH2_LOGIN && ssh2_auth_asking(t->auth)) {
        ssh2_core_deadline(t, (double)t->timeout_ms / 1000);
        return;
    }
    ssh2_core_enter(t);
    ssh2_setup_timeout(t, &e);
    ssh2_core_fail(t, &e);
    ssh2_core_leave(t);
}

/* ---- the class ---- */

static int ssh2_again(struct transport *base, const char *command, struct error *e)
{
    struct ssh2 *t = (struct ssh2 *)base;
    char *copy;

    if (t->stage != SSH2_IDLE)
        return errors_set(e, -E_CLOSED, "%s", "no connection is idle");
    copy = strdup(command);
    if (!copy)
        return errors_set(e, -E_NOMEM, "%s", "");
    free(t->command);
    t->command = copy;
    ssh2_channel_free(t->channel);
    t->channel = NULL;
    t->stage = SSH2_OPEN;
    t->paused = t->wants_room = t->wants_eof = t->sent_eof = 0;
    ssh2_core_deadline(t, (double)t->timeout_ms / 1000);
    ssh2_core_kick(t);
    return 0;
}

static size_t ssh2_write(struct transport *base, const uint8_t *bytes, size_t n)
{
    struct ssh2 *t = (struct ssh2 *)base;
    size_t taken = ssh2_flow_write(t, bytes, n);

    if (!t->depth)
        settle(t);
    return taken;
}

static void ssh2_eof(struct transport *base)
{
    struct ssh2 *t = (struct ssh2 *)base;

    t->wants_eof = 1;
    ssh2_core_kick(t);
}

static void ssh2_pause(struct transport *base, int paused)
{
    struct ssh2 *t = (struct ssh2 *)base;

    if (t->paused == !!paused)
        return;
    t->paused = !!paused;
    /* libssh2 may hold more than the socket tells of. */
    ssh2_core_kick(t);
}

static void ssh2_free(struct transport *base)
{
    struct ssh2 *t = (struct ssh2 *)base;

    t->doomed = 1;
    ssh2_core_quiet(t);
    ssh2_core_enter(t);
    ssh2_core_leave(t);
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

static int ssh2_idle(const struct transport *base)
{
    return ((const struct ssh2 *)base)->stage == SSH2_IDLE;
}

static const struct transport_class ssh2_class = {
    .name = "ssh2",
    .again = ssh2_again,
    .write = ssh2_write,
    .eof = ssh2_eof,
    .pause = ssh2_pause,
    .free = ssh2_free,
    .counters = ssh2_counters,
    .idle = ssh2_idle,
};

static void on_begin(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2 *t = w->data;
    struct error e = {0};

    (void)loop;
    (void)revents;
    ssh2_core_enter(t);
    ev_set_cb(&t->kick, on_kick);
    if (ssh2_setup_begin(t, &e) < 0)
        ssh2_core_fail(t, &e);
    ssh2_core_leave(t);
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
    code = sshfiles_known_hosts(t->o.files, files, count, &t->own_known, e);
    t->known = t->own_known;
    free(files);
    return code;
}

static int begin(struct ssh2 *t, struct error *e)
{
    char why[300];
    int code;

    if (!t->o.scan && sshconfig_needs_openssh(t->o.config, why, sizeof why))
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH, "%s", why);
    code = ssh2_session_prepare();
    if (code < 0)
        return errors_set(e, code, "%s", "libssh2 does not start");
    if (!*t->o.keys && !(*t->o.keys = keyring_new(t->o.blocking)))
        return errors_set(e, -E_NOMEM, "%s", "");
    code = open_known_hosts(t, e);
    if (code < 0)
        return code;
    ev_timer_set(&t->kick, 0, 0);
    ev_timer_start(t->o.loop, &t->kick);
    return 0;
}

const char transport_ssh2_version[] = GRAPNEL_VERSION;

void transport_ssh2_forgive(struct keyring *keys)
{
    if (keys)
        keyring_forgive(keys);
}

void transport_ssh2_free_keys(struct keyring *keys)
{
    keyring_free(keys);
}

int transport_ssh2_sha1(const void *bytes, size_t n, char hex[TRANSPORT_SSH2_SHA1])
{
    unsigned char hash[EVP_MAX_MD_SIZE];

    if (EVP_Digest(bytes, n, hash, NULL, EVP_sha1(), NULL) != 1)
        return -E_SYSTEM;
    for (size_t i = 0; i < TRANSPORT_SSH2_SHA1 / 2; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return 0;
}

int transport_ssh2_write_keys(const char *path, const char *folder,
                              struct knownhosts_change *changes, size_t n, struct error *e)
{
    knownhosts_make_folder(path, folder);
    return knownhosts_write(path, changes, n, e);
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
    t->drive = drive;
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
