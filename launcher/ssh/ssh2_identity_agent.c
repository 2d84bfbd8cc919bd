/* The agent's part of ssh2_identity: its identities, and signatures by it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/ssh2_identity_impl.h"

enum { AGENT_PATIENCE = 5 /* seconds for the list of identities */ };
#define AGENT_BUSY 0.02 /* seconds until it is tried again to get into its queue */

/* The identity of ssh_config that this public key belongs to; NULL: none. */
static struct ssh2_identity *find_own(struct ssh2_identities *ids, const uint8_t *blob, size_t n)
{
    for (size_t i = 0; i < ids->count; i++) {
        const struct keyfile *file = ids->list[i].key ? keyring_file(ids->list[i].key) : NULL;
        size_t own_n = 0;
        const uint8_t *own = file ? keyfile_blob(file, &own_n) : NULL;

        if (own && own_n == n && memcmp(own, blob, n) == 0)
            return &ids->list[i];
    }
    return NULL;
}

static int add_from_agent(struct ssh2_identities *ids, const struct sshagent_identity *a)
{
    struct ssh2_identity *own = find_own(ids, a->blob, a->blob_n), fresh = {0}, *i = &fresh;
    char *label;

    if (sshkey_check(a->blob, a->blob_n) < 0) {
        if (!ids->o.config->identities_only || own)
            ssh2_identity_beyond(ids, a->type, "in the agent");
        return 0;
    }
    if (!own && ids->o.config->identities_only)
        return 0;
    if (ssh2_identity_too_old(ids, a->type, "in the agent"))
        return 0;
    if (own)
        i = own;
    if (i->blob)
        return 0;
    i->blob = malloc(a->blob_n);
    label = ssh2_identity_label(a->type, own ? keyfile_path(keyring_file(own->key)) : a->comment,
                                " (agent)");
    if (!i->blob || !label) {
        free(i->blob);
        free(label);
        i->blob = NULL;
        return -E_NOMEM;
    }
    memcpy(i->blob, a->blob, a->blob_n);
    i->blob_n = a->blob_n;
    free(i->label);
    i->label = label;
    snprintf(i->type, sizeof i->type, "%s", a->type);
    i->rank = ssh2_identity_rank(i->type, own != NULL);
    if (own)
        return 0;
    if (ssh2_identity_add(ids, i) == 0)
        return 0;
    free(fresh.blob);
    free(fresh.label);
    return -E_NOMEM;
}

/* The keys of the agent are not to be had. */
static void agent_skip(struct ssh2_identities *ids, const char *what, const char *why)
{
    char text[600];

    snprintf(text, sizeof text, "%s (%.500s)", what, why);
    ssh2_identity_skip(ids, text);
}

void ssh2_identity_agent_close(struct ssh2_identities *ids)
{
    ev_io_stop(ids->o.loop, &ids->agent_io);
    sshagent_free(ids->agent);
    ids->agent = NULL;
}

static void agent_watch(struct ssh2_identities *ids, int want)
{
    int events = want == SSHAGENT_WANT_WRITE ? EV_WRITE : EV_READ;

    ev_io_stop(ids->o.loop, &ids->agent_io);
    ev_io_set(&ids->agent_io, sshagent_fd(ids->agent), events);
    ev_io_start(ids->o.loop, &ids->agent_io);
}

static void take_list(struct ssh2_identities *ids)
{
    size_t count = sshagent_count(ids->agent);

    ssh2_identity_trace(ids, 2, "the agent has %zu identities", count);
    for (size_t n = 0; n < count; n++) {
        if (add_from_agent(ids, sshagent_identity(ids->agent, n)) < 0)
            break;
    }
    ssh2_identity_complete(ids);
}

static void take_signature(struct ssh2_identities *ids)
{
    size_t n, inner_n;
    const uint8_t *whole = sshagent_signature(ids->agent, &n), *inner;
    char algorithm[SSHKEY_NAME_MAX];

    ids->signing = SSH2_SIGNING_FAILED;
    if (!whole || sshkey_signature_split(whole, n, algorithm, &inner, &inner_n) < 0 || !inner_n) {
        errors_set(&ids->failure, -E_MALFORMED, "%s", "the agent's signature makes no sense");
        return;
    }
    ids->signature = malloc(inner_n);
    if (!ids->signature)
        return;
    memcpy(ids->signature, inner, inner_n);
    ids->signature_n = inner_n;
    ids->signing = SSH2_SIGNING_READY;
}

/* Goes on with the agent as far as it can without waiting. */
static void agent_step(struct ssh2_identities *ids)
{
    struct error e = {0};
    int result = sshagent_step(ids->agent, &e);

    if (result > 0) {
        agent_watch(ids, result);
        return;
    }
    ev_io_stop(ids->o.loop, &ids->agent_io);
    if (result < 0) {
        ssh2_identity_trace(ids, 1, "the agent failed: %s (%s)", errors_text(result), e.detail);
        if (ids->listing)
            agent_skip(ids, "the agent failed", e.detail);
    }
    if (ids->listing) {
        if (result == 0)
            take_list(ids);
        else
            ssh2_identity_complete(ids);
    } else if (ids->signing == SSH2_SIGNING_WAITING) {
        if (result == 0) {
            take_signature(ids);
        } else {
            ids->signing = SSH2_SIGNING_FAILED;
            ids->failure = e;
        }
    }
    if (result < 0 && result != -E_AUTH)
        ssh2_identity_agent_close(ids);
}

static void on_agent(struct ev_loop *loop, ev_io *w, int revents)
{
    struct ssh2_identities *ids = w->data;

    (void)loop;
    (void)revents;
    ids->o.enter(ids->o.arg);
    agent_step(ids);
    if (!ids->listing && ids->signing != SSH2_SIGNING_WAITING)
        ids->o.wake(ids->o.arg);
    ids->o.leave(ids->o.arg);
}

static void set_timer(struct ssh2_identities *ids, double seconds)
{
    ev_timer_stop(ids->o.loop, &ids->agent_timer);
    ev_now_update(ids->o.loop);
    ev_timer_set(&ids->agent_timer, seconds, 0);
    ev_timer_start(ids->o.loop, &ids->agent_timer);
}

/* Where many log in at the same time its queue may be full for a moment. */
static void begin(struct ssh2_identities *ids)
{
    struct error e = {0};
    int code = sshagent_open(ids->o.config->agent_socket, &ids->agent, &e);

    ids->listing = 1;
    if (code == -E_LIMIT && ev_now(ids->o.loop) < ids->agent_until) {
        set_timer(ids, AGENT_BUSY);
        return;
    }
    if (code < 0 || sshagent_list(ids->agent) < 0) {
        ssh2_identity_trace(ids, 2, "no agent: %s", e.detail);
        agent_skip(ids, "the agent", e.detail);
        ssh2_identity_agent_close(ids);
        ssh2_identity_complete(ids);
        return;
    }
    set_timer(ids, AGENT_PATIENCE);
    agent_step(ids);
}

static void on_agent_late(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2_identities *ids = w->data;

    (void)loop;
    (void)revents;
    ids->o.enter(ids->o.arg);
    if (ids->agent) {
        ssh2_identity_trace(ids, 1, "the agent did not answer within %d s and is not used",
                            AGENT_PATIENCE);
        agent_skip(ids, "the agent", "no answer");
        ssh2_identity_agent_close(ids);
        ssh2_identity_complete(ids);
    } else {
        begin(ids);
    }
    if (!ids->listing)
        ids->o.wake(ids->o.arg);
    ids->o.leave(ids->o.arg);
}

void ssh2_identity_agent_init(struct ssh2_identities *ids)
{
    ev_init(&ids->agent_io, on_agent);
    ev_init(&ids->agent_timer, on_agent_late);
    ids->agent_io.data = ids->agent_timer.data = ids;
}

void ssh2_identity_agent_start(struct ssh2_identities *ids)
{
    ev_now_update(ids->o.loop);
    ids->agent_until = ev_now(ids->o.loop) + AGENT_PATIENCE;
    begin(ids);
}

int ssh2_identity_agent_sign(struct ssh2_identities *ids, const void *data, size_t n)
{
    struct ssh2_identity *i = &ids->list[ids->current];
    char algorithm[SSHKEY_NAME_MAX];

    if (!ids->agent || sshkey_request(data, n, algorithm, NULL, NULL) < 0 ||
        sshagent_sign(ids->agent, i->blob, i->blob_n, data, n, sshagent_flags(algorithm)) < 0)
        return -1;
    ids->signing = SSH2_SIGNING_WAITING;
    agent_step(ids);
    return 0;
}
