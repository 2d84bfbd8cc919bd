#include "launcher/ssh2_identity.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/safetext.h"
#include "launcher/sshagent.h"
#include "launcher/sshkey.h"

enum { AGENT_PATIENCE = 5 /* seconds for the list of identities */ };

struct identity {
    struct keyring_key *key; /* from a file; NULL: only the agent has it */
    uint8_t *blob;           /* of one that the agent signs for; NULL: it does not */
    size_t blob_n;
    char *label;
    char type[SSHKEY_NAME_MAX];
    int rank; /* smaller is tried first; equal ones in the order in which they were found */
    int tried;
};

enum signing { IDLE, WAITING, READY, FAILED };

struct ssh2_identities {
    struct ssh2_identity_options o;
    struct identity *list;
    size_t count;
    size_t current; /* count: none */
    struct sshagent *agent;
    ev_io agent_io;
    ev_timer agent_timer;
    int listing;               /* the agent's list is awaited */
    struct keyring_wait *wait; /* a passphrase is awaited */
    enum signing signing;
    uint8_t *signature; /* READY: what the callback returns */
    size_t signature_n;
    int has_signed;
    struct error failure;
    char beyond[512];
};

static void trace(const struct ssh2_identities *ids, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void trace(const struct ssh2_identities *ids, int level, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    ids->o.trace(ids->o.arg, level, text);
}

static void needs_more(struct ssh2_identities *ids, const char *what, const char *where)
{
    size_t used = strlen(ids->beyond);
    char safe[200];

    safetext_copy(safe, sizeof safe, where, strlen(where), 0);
    snprintf(ids->beyond + used, sizeof ids->beyond - used, "%s%s (%s)", used ? ", " : "", what,
             safe);
}

static int add(struct ssh2_identities *ids, const struct identity *i)
{
    struct identity *list = realloc(ids->list, (ids->count + 1) * sizeof *list);

    if (!list)
        return -E_NOMEM;
    ids->list = list;
    list[ids->count++] = *i;
    ids->current = ids->count;
    return 0;
}

static char *make_label(const char *type, const char *name, const char *suffix)
{
    char safe[300], *label;

    safetext_copy(safe, sizeof safe, name, strlen(name), 0);
    if (asprintf(&label, "%s %s%s", *type ? type : "key", safe, suffix) < 0)
        return NULL;
    return label;
}

static int rank_of(const char *type, int own)
{
    return (own ? 0 : 2) + (strcmp(type, "ssh-rsa") == 0);
}

/* One key file of the configuration. */
static void add_file(struct ssh2_identities *ids, const char *path)
{
    struct identity i = {0};
    struct error e = {0};
    char certificate[4200];
    int code = keyring_get(ids->o.keys, path, &i.key, &e);

    if (code == -E_IO && ids->o.config->identity_files_default)
        return;
    if (code == -E_AUTH_NEEDS_OPENSSH)
        needs_more(ids, e.detail[0] ? e.detail : "a key that libssh2 cannot use", path);
    if (code < 0) {
        trace(ids, code == -E_IO ? 2 : 1, "key %s is not used: %s (%s)", path, errors_text(code),
              e.detail);
        return;
    }
    snprintf(certificate, sizeof certificate, "%s-cert.pub", path);
    if (access(certificate, R_OK) == 0)
        needs_more(ids, "a certificate", certificate);
    snprintf(i.type, sizeof i.type, "%s", keyfile_type(keyring_file(i.key)));
    i.label = make_label(i.type, path, "");
    i.rank = rank_of(i.type, 1);
    if (!i.label || add(ids, &i) < 0)
        free(i.label);
}

/* The identity of ssh_config that this public key belongs to; NULL: none. */
static struct identity *find_own(struct ssh2_identities *ids, const uint8_t *blob, size_t n)
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
    struct identity *own = find_own(ids, a->blob, a->blob_n), fresh = {0}, *i = &fresh;
    char *label;

    if (sshkey_check(a->blob, a->blob_n) < 0) {
        if (!ids->o.config->identities_only || own)
            needs_more(ids, a->type, "in the agent");
        return 0;
    }
    if (!own && ids->o.config->identities_only)
        return 0;
    if (own)
        i = own;
    if (i->blob)
        return 0;
    i->blob = malloc(a->blob_n);
    label = make_label(a->type, own ? keyfile_path(keyring_file(own->key)) : a->comment,
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
    i->rank = rank_of(i->type, own != NULL);
    if (own)
        return 0;
    if (add(ids, i) == 0)
        return 0;
    free(fresh.blob);
    free(fresh.label);
    return -E_NOMEM;
}

static int locked(const struct identity *i)
{
    return !i->blob && i->key && keyfile_locked(keyring_file(i->key));
}

/* All that can be known is known: drops what cannot sign at all. */
static void complete(struct ssh2_identities *ids)
{
    ids->listing = 0;
    ev_timer_stop(ids->o.loop, &ids->agent_timer);
    for (size_t n = 0; n < ids->count; n++) {
        struct identity *i = &ids->list[n];

        if (!i->blob && keyfile_public_only(keyring_file(i->key))) {
            trace(ids, 1, "key %s is not used: only its public part is there, and the agent does "
                          "not have it",
                  i->label);
            i->tried = 1;
        } else if (locked(i) && !ids->o.interactive) {
            i->rank = 4;
        }
    }
}

static void agent_close(struct ssh2_identities *ids)
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

    trace(ids, 2, "the agent has %zu identities", count);
    for (size_t n = 0; n < count; n++) {
        if (add_from_agent(ids, sshagent_identity(ids->agent, n)) < 0)
            break;
    }
    complete(ids);
}

static void take_signature(struct ssh2_identities *ids)
{
    size_t n, inner_n;
    const uint8_t *whole = sshagent_signature(ids->agent, &n), *inner;
    char algorithm[SSHKEY_NAME_MAX];

    ids->signing = FAILED;
    if (!whole || sshkey_signature_split(whole, n, algorithm, &inner, &inner_n) < 0 || !inner_n) {
        errors_set(&ids->failure, -E_MALFORMED, "%s", "the agent's signature makes no sense");
        return;
    }
    ids->signature = malloc(inner_n);
    if (!ids->signature)
        return;
    memcpy(ids->signature, inner, inner_n);
    ids->signature_n = inner_n;
    ids->signing = READY;
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
    if (result < 0)
        trace(ids, 1, "the agent failed: %s (%s)", errors_text(result), e.detail);
    if (ids->listing) {
        if (result == 0)
            take_list(ids);
        else
            complete(ids);
    } else if (ids->signing == WAITING) {
        if (result == 0) {
            take_signature(ids);
        } else {
            ids->signing = FAILED;
            ids->failure = e;
        }
    }
    if (result < 0 && result != -E_AUTH)
        agent_close(ids);
}

static void on_agent(struct ev_loop *loop, ev_io *w, int revents)
{
    struct ssh2_identities *ids = w->data;

    (void)loop;
    (void)revents;
    ids->o.enter(ids->o.arg);
    agent_step(ids);
    if (!ids->listing && ids->signing != WAITING)
        ids->o.wake(ids->o.arg);
    ids->o.leave(ids->o.arg);
}

static void on_agent_late(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ssh2_identities *ids = w->data;

    (void)loop;
    (void)revents;
    ids->o.enter(ids->o.arg);
    trace(ids, 1, "the agent did not answer within %d s and is not used", AGENT_PATIENCE);
    agent_close(ids);
    complete(ids);
    ids->o.wake(ids->o.arg);
    ids->o.leave(ids->o.arg);
}

static void agent_start(struct ssh2_identities *ids)
{
    struct error e = {0};

    if (sshagent_open(ids->o.config->agent_socket, &ids->agent, &e) < 0 ||
        sshagent_list(ids->agent) < 0) {
        trace(ids, 2, "no agent: %s", e.detail);
        agent_close(ids);
        complete(ids);
        return;
    }
    ids->listing = 1;
    ev_now_update(ids->o.loop);
    ev_timer_set(&ids->agent_timer, AGENT_PATIENCE, 0);
    ev_timer_start(ids->o.loop, &ids->agent_timer);
    agent_step(ids);
}

struct ssh2_identities *ssh2_identities_new(const struct ssh2_identity_options *options)
{
    struct ssh2_identities *ids = calloc(1, sizeof *ids);
    const struct sshconfig *config = options->config;

    if (!ids)
        return NULL;
    ids->o = *options;
    ev_init(&ids->agent_io, on_agent);
    ev_init(&ids->agent_timer, on_agent_late);
    ids->agent_io.data = ids->agent_timer.data = ids;
    if (!config->pubkey_authentication)
        return ids;
    for (size_t i = 0; i < config->identity_files.count; i++)
        add_file(ids, config->identity_files.item[i]);
    for (size_t i = 0; i < config->certificate_files.count; i++)
        needs_more(ids, "a certificate", config->certificate_files.item[i]);
    if (config->pkcs11_provider)
        needs_more(ids, "a PKCS#11 token", config->pkcs11_provider);
    if (config->agent_socket)
        agent_start(ids);
    else
        complete(ids);
    return ids;
}

void ssh2_identities_free(struct ssh2_identities *ids)
{
    if (!ids)
        return;
    agent_close(ids);
    ev_timer_stop(ids->o.loop, &ids->agent_timer);
    keyring_unwait(ids->wait);
    for (size_t i = 0; i < ids->count; i++) {
        free(ids->list[i].label);
        free(ids->list[i].blob);
    }
    free(ids->list);
    free(ids->signature);
    free(ids);
}

int ssh2_identities_ready(const struct ssh2_identities *ids)
{
    return !ids->listing;
}

size_t ssh2_identities_left(const struct ssh2_identities *ids)
{
    size_t left = 0;

    for (size_t i = 0; i < ids->count; i++)
        left += !ids->list[i].tried;
    return left;
}

int ssh2_identities_next(struct ssh2_identities *ids)
{
    ids->current = ids->count;
    for (size_t i = 0; i < ids->count; i++) {
        if (!ids->list[i].tried && (ids->current == ids->count ||
                                    ids->list[i].rank < ids->list[ids->current].rank))
            ids->current = i;
    }
    free(ids->signature);
    ids->signature = NULL;
    ids->signing = IDLE;
    ids->has_signed = 0;
    ids->failure = (struct error){0};
    if (ids->current == ids->count)
        return 0;
    ids->list[ids->current].tried = 1;
    return 1;
}

static void on_unlocked(void *arg, int code, const struct error *e)
{
    struct ssh2_identities *ids = arg;

    ids->wait = NULL;
    ids->o.enter(ids->o.arg);
    if (code < 0) {
        ids->failure = *e;
        trace(ids, 1, "key %s stays locked: %s (%s)", ssh2_identities_label(ids), errors_text(code),
              e->detail);
    }
    ids->signing = code < 0 ? FAILED : IDLE;
    ids->o.wake(ids->o.arg);
    ids->o.leave(ids->o.arg);
}

/* Asks for the present key's passphrase.  0: it is being asked for. */
static int unlock(struct ssh2_identities *ids)
{
    struct identity *i = &ids->list[ids->current];

    if (!ids->o.interactive)
        return errors_set(&ids->failure, -E_PASSPHRASE, "%s is encrypted, and nobody can be asked",
                          i->label);
    ids->wait = keyring_unlock(ids->o.keys, i->key, ids->o.config->batch_mode, on_unlocked, ids,
                               &ids->failure);
    if (!ids->wait)
        return ids->failure.code;
    ids->signing = WAITING;
    return 0;
}

int ssh2_identities_blob(struct ssh2_identities *ids, const uint8_t **blob, size_t *n)
{
    struct identity *i = &ids->list[ids->current];

    *blob = i->blob;
    *n = i->blob_n;
    if (i->blob)
        return 0;
    *blob = keyfile_blob(keyring_file(i->key), n);
    if (*blob)
        return 0;
    /* An encrypted PEM file without its .pub: not even the public part is readable. */
    if (ids->signing == IDLE && locked(i) && unlock(ids) == 0)
        return 1;
    if (ids->signing == WAITING)
        return 1;
    return ids->failure.code ? ids->failure.code : -E_PASSPHRASE;
}

const char *ssh2_identities_label(const struct ssh2_identities *ids)
{
    return ids->current < ids->count ? ids->list[ids->current].label : "";
}

int ssh2_identities_sure(const struct ssh2_identities *ids)
{
    int explicitly = !ids->o.config->identity_files_default;

    if (ids->current >= ids->count || locked(&ids->list[ids->current]) ||
        (explicitly && !ids->list[ids->current].key))
        return 0;
    for (size_t i = 0; i < ids->count; i++) {
        if (!ids->list[i].tried && (!explicitly || ids->list[i].key))
            return 0;
    }
    return 1;
}

void ssh2_identities_untry(struct ssh2_identities *ids)
{
    if (ids->current < ids->count)
        ids->list[ids->current].tried = 0;
}

void ssh2_identities_drop_rsa(struct ssh2_identities *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (strcmp(ids->list[i].type, "ssh-rsa") == 0)
            ids->list[i].tried = 1;
    }
}

static int sign_by_agent(struct ssh2_identities *ids, const void *data, size_t n)
{
    struct identity *i = &ids->list[ids->current];
    char algorithm[SSHKEY_NAME_MAX];

    if (!ids->agent || sshkey_request(data, n, algorithm, NULL, NULL) < 0 ||
        sshagent_sign(ids->agent, i->blob, i->blob_n, data, n, sshagent_flags(algorithm)) < 0)
        return -1;
    ids->signing = WAITING;
    agent_step(ids);
    return 0;
}

static int sign_by_file(struct ssh2_identities *ids, const void *data, size_t n)
{
    const struct keyfile *file = keyring_file(ids->list[ids->current].key);

    if (keyfile_locked(file))
        return unlock(ids);
    if (keyfile_sign_request(file, data, n, &ids->signature, &ids->signature_n, &ids->failure) < 0)
        return -1;
    ids->signing = READY;
    return 0;
}

LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(ssh2_identities_sign)
{
    struct ssh2_identities *ids = *(struct ssh2_identities **)abstract;
    int failed = 0;

    (void)session;
    if (ids->signing == IDLE)
        failed = ids->list[ids->current].blob && (ids->agent || !ids->list[ids->current].key)
                     ? sign_by_agent(ids, data, data_len)
                     : sign_by_file(ids, data, data_len);
    if (failed || ids->signing == FAILED) {
        ids->signing = FAILED;
        return -1;
    }
    if (ids->signing != READY)
        return LIBSSH2_ERROR_EAGAIN;
    *sig = ids->signature;
    *sig_len = ids->signature_n;
    ids->signature = NULL;
    ids->signing = IDLE;
    ids->has_signed = 1;
    return 0;
}

int ssh2_identities_signed(const struct ssh2_identities *ids)
{
    return ids->has_signed;
}

int ssh2_identities_signing(const struct ssh2_identities *ids)
{
    return ids->signing == WAITING;
}

int ssh2_identities_failure(const struct ssh2_identities *ids, struct error *e)
{
    if (ids->failure.code && e)
        *e = ids->failure;
    return ids->failure.code;
}

const char *ssh2_identities_beyond(const struct ssh2_identities *ids)
{
    return ids->beyond;
}
