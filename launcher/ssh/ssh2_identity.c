#include "launcher/ssh/ssh2_identity_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/safetext.h"
#include "launcher/ssh/sshkey.h"

#define PUBLIC_ONLY "only its public part is there, and the agent does not have it"

void ssh2_identity_trace(const struct ssh2_identities *ids, int level, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    ids->o.trace(ids->o.arg, level, text);
}

void ssh2_identity_beyond(struct ssh2_identities *ids, const char *what, const char *where)
{
    size_t used = strlen(ids->beyond);
    char safe[200];

    safetext_copy(safe, sizeof safe, where, strlen(where), 0);
    snprintf(ids->beyond + used, sizeof ids->beyond - used, "%s%s (%s)", used ? ", " : "", what,
             safe);
}

void ssh2_identity_skip(struct ssh2_identities *ids, const char *why)
{
    size_t used = strlen(ids->skipped), length;
    char safe[240];

    length = safetext_copy(safe, sizeof safe, why, strlen(why), 0);
    if (length >= sizeof safe)
        memcpy(safe + strlen(safe) - 3, "...", 4);
    if (ids->skipped_more || used + strlen(safe) + 3 > sizeof ids->skipped)
        ids->skipped_more++;
    else
        snprintf(ids->skipped + used, sizeof ids->skipped - used, "%s%s", used ? ", " : "", safe);
}

int ssh2_identity_add(struct ssh2_identities *ids, const struct ssh2_identity *i)
{
    struct ssh2_identity *list = realloc(ids->list, (ids->count + 1) * sizeof *list);

    if (!list)
        return -E_NOMEM;
    ids->list = list;
    list[ids->count++] = *i;
    ids->current = ids->count;
    return 0;
}

char *ssh2_identity_label(const char *type, const char *name, const char *suffix)
{
    char safe[300], *label;

    safetext_copy(safe, sizeof safe, name, strlen(name), 0);
    if (asprintf(&label, "%s %s%s", *type ? type : "key", safe, suffix) < 0)
        return NULL;
    return label;
}

int ssh2_identity_rank(const char *type, int own)
{
    return (own ? 0 : 2) + (strcmp(type, "ssh-rsa") == 0);
}

int ssh2_identity_too_old(struct ssh2_identities *ids, const char *type, const char *where)
{
#if LIBSSH2_VERSION_NUM < 0x010b00
    if (strcmp(type, "ssh-rsa") == 0) {
        ssh2_identity_beyond(ids, "an RSA key with this old libssh2", where);
        return 1;
    }
#else
    (void)ids;
    (void)type;
    (void)where;
#endif
    return 0;
}

/* One key file of the configuration. */
static void add_file(struct ssh2_identities *ids, const char *path)
{
    struct ssh2_identity i = {0};
    struct error e = {0};
    char certificate[4200];
    int code = keyring_get(ids->o.keys, path, &i.key, &e);

    if (code == -E_IO && ids->o.config->identity_files_default)
        return;
    if (code == -E_AUTH_NEEDS_OPENSSH)
        ssh2_identity_beyond(ids, e.detail[0] ? e.detail : "a key that libssh2 cannot use", path);
    if (code < 0) {
        ssh2_identity_trace(ids, code == -E_IO ? 2 : 1, "key %s is not used: %s (%s)", path,
                            errors_text(code), e.detail);
        if (code != -E_AUTH_NEEDS_OPENSSH)
            ssh2_identity_skip(ids, e.detail);
        return;
    }
    snprintf(certificate, sizeof certificate, "%s-cert.pub", path);
    if (access(certificate, R_OK) == 0)
        ssh2_identity_beyond(ids, "a certificate", certificate);
    snprintf(i.type, sizeof i.type, "%s", keyfile_type(keyring_file(i.key)));
    if (ssh2_identity_too_old(ids, i.type, path))
        return;
    i.label = ssh2_identity_label(i.type, path, "");
    i.rank = ssh2_identity_rank(i.type, 1);
    if (!i.label || ssh2_identity_add(ids, &i) < 0)
        free(i.label);
}

static int locked(const struct ssh2_identity *i)
{
    return !i->blob && i->key && keyfile_locked(keyring_file(i->key));
}

/* All that can be known is known: drops what cannot sign at all. */
void ssh2_identity_complete(struct ssh2_identities *ids)
{
    ids->listing = 0;
    ev_timer_stop(ids->o.loop, &ids->agent_timer);
    for (size_t n = 0; n < ids->count; n++) {
        struct ssh2_identity *i = &ids->list[n];

        if (!i->blob && keyfile_public_only(keyring_file(i->key))) {
            char why[600];

            ssh2_identity_trace(ids, 1, "key %s is not used: " PUBLIC_ONLY, i->label);
            snprintf(why, sizeof why, "%.400s: " PUBLIC_ONLY, keyfile_path(keyring_file(i->key)));
            ssh2_identity_skip(ids, why);
            i->tried = 1;
        } else if (locked(i) && !ids->o.interactive) {
            i->rank = 4;
        }
    }
}

struct ssh2_identities *ssh2_identities_new(const struct ssh2_identity_options *options)
{
    struct ssh2_identities *ids = calloc(1, sizeof *ids);
    const struct sshconfig *config = options->config;

    if (!ids)
        return NULL;
    ids->o = *options;
    ssh2_identity_agent_init(ids);
    if (!config->pubkey_authentication)
        return ids;
    for (size_t i = 0; i < config->identity_files.count; i++)
        add_file(ids, config->identity_files.item[i]);
    for (size_t i = 0; i < config->certificate_files.count; i++)
        ssh2_identity_beyond(ids, "a certificate", config->certificate_files.item[i]);
    if (config->pkcs11_provider)
        ssh2_identity_beyond(ids, "a PKCS#11 token", config->pkcs11_provider);
    if (config->agent_socket)
        ssh2_identity_agent_start(ids);
    else
        ssh2_identity_complete(ids);
    return ids;
}

void ssh2_identities_free(struct ssh2_identities *ids)
{
    if (!ids)
        return;
    ssh2_identity_agent_close(ids);
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

/* The place of the one that comes next; count when none is left. */
static size_t find_next(const struct ssh2_identities *ids)
{
    size_t next = ids->count;

    for (size_t i = 0; i < ids->count; i++) {
        if (!ids->list[i].tried && (next == ids->count || ids->list[i].rank < ids->list[next].rank))
            next = i;
    }
    return next;
}

static int is_rsa(const struct ssh2_identities *ids, size_t i)
{
    return i < ids->count && strcmp(ids->list[i].type, "ssh-rsa") == 0;
}

int ssh2_identities_next_is_rsa(const struct ssh2_identities *ids)
{
    return is_rsa(ids, find_next(ids));
}

int ssh2_identities_is_rsa(const struct ssh2_identities *ids)
{
    return is_rsa(ids, ids->current);
}

int ssh2_identities_next(struct ssh2_identities *ids)
{
    ids->current = find_next(ids);
    free(ids->signature);
    ids->signature = NULL;
    ids->signing = SSH2_SIGNING_IDLE;
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
        ssh2_identity_trace(ids, 1, "key %s stays locked: %s (%s)", ssh2_identities_label(ids),
                            errors_text(code), e->detail);
    }
    ids->signing = code < 0 ? SSH2_SIGNING_FAILED : SSH2_SIGNING_IDLE;
    ids->o.wake(ids->o.arg);
    ids->o.leave(ids->o.arg);
}

/* Asks for the present key's passphrase.  0: it is being asked for. */
static int unlock(struct ssh2_identities *ids)
{
    struct ssh2_identity *i = &ids->list[ids->current];

    if (!ids->o.interactive)
        return errors_set(&ids->failure, -E_PASSPHRASE, "%s is encrypted, and nobody can be asked",
                          i->label);
    ids->wait = keyring_unlock(ids->o.keys, i->key, ids->o.config->batch_mode, ids->o.asker,
                               on_unlocked, ids, &ids->failure);
    if (!ids->wait)
        return ids->failure.code;
    ids->signing = SSH2_SIGNING_WAITING;
    return 0;
}

int ssh2_identities_blob(struct ssh2_identities *ids, const uint8_t **blob, size_t *n)
{
    struct ssh2_identity *i = &ids->list[ids->current];

    *blob = i->blob;
    *n = i->blob_n;
    if (i->blob)
        return 0;
    *blob = keyfile_blob(keyring_file(i->key), n);
    if (*blob)
        return 0;
    /* An encrypted PEM file without its .pub: not even the public part is readable. */
    if (ids->signing == SSH2_SIGNING_IDLE && locked(i) && unlock(ids) == 0)
        return 1;
    if (ids->signing == SSH2_SIGNING_WAITING)
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
        if (is_rsa(ids, i))
            ids->list[i].tried = 1;
    }
}

static int sign_by_file(struct ssh2_identities *ids, const void *data, size_t n)
{
    const struct keyfile *file = keyring_file(ids->list[ids->current].key);

    if (keyfile_locked(file))
        return unlock(ids);
    if (keyfile_sign_request(file, data, n, &ids->signature, &ids->signature_n, &ids->failure) < 0)
        return -1;
    ids->signing = SSH2_SIGNING_READY;
    return 0;
}

LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(ssh2_identities_sign)
{
    struct ssh2_identities *ids = *(struct ssh2_identities **)abstract;
    int failed = 0;

    (void)session;
    if (ids->signing == SSH2_SIGNING_IDLE)
        failed = ids->list[ids->current].blob && (ids->agent || !ids->list[ids->current].key)
                     ? ssh2_identity_agent_sign(ids, data, data_len)
                     : sign_by_file(ids, data, data_len);
    if (failed || ids->signing == SSH2_SIGNING_FAILED) {
        ids->signing = SSH2_SIGNING_FAILED;
        return -1;
    }
    if (ids->signing != SSH2_SIGNING_READY)
        return LIBSSH2_ERROR_EAGAIN;
    *sig = ids->signature;
    *sig_len = ids->signature_n;
    ids->signature = NULL;
    ids->signing = SSH2_SIGNING_IDLE;
    ids->has_signed = 1;
    return 0;
}

int ssh2_identities_signed(const struct ssh2_identities *ids)
{
    return ids->has_signed;
}

int ssh2_identities_signing(const struct ssh2_identities *ids)
{
    return ids->signing == SSH2_SIGNING_WAITING;
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

const char *ssh2_identities_skipped(const struct ssh2_identities *ids, unsigned *more)
{
    if (more)
        *more = ids->skipped_more;
    return ids->skipped;
}
