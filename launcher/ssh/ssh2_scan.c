#include "launcher/ssh/ssh2_scan.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/ssh2_explain.h"
#include "launcher/ssh/sshkey.h"

#define NAME_MAX_BYTES (SSHCONFIG_HOST_MAX + 16) /* of "[host]:port" */

int ssh2_scan_begin(struct ssh2 *t, struct error *e)
{
    struct sshconfig config = *t->o.config;
    char *algorithms = NULL;
    int code;

    if (t->o.scan->algorithms && (algorithms = strdup(t->o.scan->algorithms)) == NULL)
        return errors_set(e, -E_NOMEM, "%s", "");
    if (algorithms)
        config.hostkey_algorithms = algorithms;
    code =
        ssh2_algorithms_apply(t->session, &config, algorithms ? NULL : t->known, &t->algorithms, e);
    free(algorithms);
    return code;
}

/* Nothing comes after this; t may be freed from within. */
static int tell(struct ssh2 *t, const struct transport_host_key *key)
{
    t->stage = SSH2_FAILED;
    ssh2_core_quiet(t);
    t->o.scan->told(t->arg, key);
    return 1;
}

static const char *offered(const struct ssh2 *t)
{
    const char *names =
        ssh2_greeting_names(ssh2_session_greeting(t->session), SSH2_GREETING_HOSTKEY);

    return names ? names : "";
}

/* True when the server has named its algorithms, and none of those that were asked for is there. */
static int has_none(const struct ssh2 *t)
{
    const char *asked = t->o.scan->algorithms, *names = offered(t);

    return asked && *names && !ssh2_algorithms_common(asked, names);
}

static int name_of(const struct ssh2 *t, char *name, size_t size, struct error *e)
{
    const struct sshconfig *c = t->o.config;

    if (knownhosts_name(c->lookup_name, c->lookup_port, name, size) < 0)
        return errors_set(e, -E_CONFIG, "it has no name that can stand in known_hosts");
    return 0;
}

/* No key can be had. */
static int explain(struct ssh2 *t, int rc, struct error *e)
{
    char name[NAME_MAX_BYTES];
    struct transport_host_key none = {.name = name, .offered = offered(t)};

    if (has_none(t))
        return name_of(t, name, sizeof name, e) < 0 ? e->code : tell(t, &none);
    (void)ssh2_explain_failure(t->session, t->algorithms, t->o.config, rc, e);
    /* It is not a login that fails here, and the OpenSSH client is not asked for keys. */
    if (e->code == -E_AUTH_NEEDS_OPENSSH)
        e->code = -E_KEX;
    return e->code;
}

/* Fills what known_hosts says of it.  text: the key in base64. */
static int judge(struct ssh2 *t, const void *key, size_t n, struct transport_host_key *out,
                 char fingerprint[KNOWNHOSTS_FINGERPRINT_MAX])
{
    struct knownhosts_match match;
    uint8_t other[SSHKEY_BLOB_MAX];
    size_t other_n = sizeof other;
    int code = knownhosts_check(t->known, t->o.config->lookup_name, t->o.config->lookup_port, key,
                                n, &match);

    if (code < 0)
        return code;
    out->state = (int)match.state;
    out->authority = match.authority;
    out->same_type = match.same_type;
    out->file = match.file;
    out->line = match.line;
    if (match.state != KNOWNHOSTS_CHANGED)
        return 0;
    if (sshkey_base64_decode(match.key, strlen(match.key), other, &other_n) < 0 ||
        knownhosts_fingerprint(other, other_n, fingerprint) < 0)
        return -E_MALFORMED;
    out->other_type = match.type;
    out->other_key = match.key;
    out->other_fingerprint = fingerprint;
    return 0;
}

static int tell_key(struct ssh2 *t, struct error *e)
{
    char name[NAME_MAX_BYTES], type[SSHKEY_NAME_MAX], fingerprint[KNOWNHOSTS_FINGERPRINT_MAX];
    char other[KNOWNHOSTS_FINGERPRINT_MAX];
    struct transport_host_key told = {.name = name, .type = type, .fingerprint = fingerprint};
    char *text = NULL;
    size_t n = 0;
    int kind, code;
    const void *key = libssh2_session_hostkey(ssh2_session_raw(t->session), &n, &kind);

    if (!key || n > SSHKEY_BLOB_MAX || sshkey_check(key, n) < 0 || sshkey_type(key, n, type) < 0 ||
        knownhosts_fingerprint(key, n, fingerprint) < 0)
        return errors_set(e, -E_KEX, "%s", "the server's host key makes no sense");
    if (name_of(t, name, sizeof name, e) < 0)
        return e->code;
    code = judge(t, key, n, &told, other);
    if (code < 0)
        return errors_set(e, code, "looking up the host key");
    text = malloc(sshkey_base64_size(n));
    if (!text)
        return errors_set(e, -E_NOMEM, "%s", "");
    sshkey_base64_encode(key, n, text);
    told.key = text;
    told.bits = sshkey_bits(key, n);
    told.offered = offered(t);
    code = tell(t, &told);
    free(text);
    return code;
}

int ssh2_scan_step(struct ssh2 *t, int rc, int early, struct error *e)
{
    char chosen[300];

    if (rc && rc != LIBSSH2_ERROR_EAGAIN)
        return explain(t, rc, e);
    /* The message behind our NEWKEYS has left: what the server signed was looked at before. */
    if (rc && !(early && ssh2_session_keyed(t->session)))
        return ssh2_session_dead(t->session, NULL, NULL) ? explain(t, rc, e) : 1;
    ssh2_algorithms_chosen(t->session, chosen, sizeof chosen);
    ssh2_core_phase(t, PHASE_KEX, chosen);
    return tell_key(t, e);
}
