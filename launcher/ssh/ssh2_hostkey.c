#include "launcher/ssh/ssh2_hostkey.h"

#include <stdio.h>
#include <string.h>

#include "launcher/safetext.h"
#include "launcher/ssh/sshkey.h"

struct presented {
    const void *key;
    size_t n;
    char type[SSHKEY_NAME_MAX];
    char fingerprint[KNOWNHOSTS_FINGERPRINT_MAX];
};

/* Adds an unknown key.  That it cannot be written down does not make it worse than it is: ssh goes
 * on as well, and says so. */
static void accept_key(const struct presented *p, const struct sshconfig *config,
                       struct knownhosts *known_hosts, char *note, char *warning)
{
    struct error e = {0};
    size_t used = strlen(note);
    const char *path = config->user_known_hosts.count ? config->user_known_hosts.item[0] : NULL;
    char safe[300] = "";

    if (path)
        safetext_copy(safe, sizeof safe, path, strlen(path), 0);
    if (path)
        knownhosts_make_folder(path, config->ssh_folder);
    if (!path) {
        snprintf(note + used, SSH2_HOSTKEY_NOTE_MAX - used, " (new; not kept anywhere)");
    } else if (knownhosts_add(known_hosts, path, config->lookup_name, config->lookup_port, p->key,
                              p->n, config->hash_known_hosts, &e) < 0) {
        snprintf(note + used, SSH2_HOSTKEY_NOTE_MAX - used, " (new; not added: %.250s)", e.detail);
        snprintf(
            warning, SSH2_HOSTKEY_NOTE_MAX,
            "warning: the new host key was accepted, but not added to known_hosts, and so will "
            "be new again next time: %.300s",
            e.detail);
    } else {
        snprintf(note + used, SSH2_HOSTKEY_NOTE_MAX - used, " (new; added to %s)", safe);
    }
}

static int unknown(const struct presented *p, const struct sshconfig *config,
                   struct knownhosts *known_hosts, char *note, char *warning, struct error *e)
{
    if (config->strict != SSHCONFIG_STRICT_ACCEPT_NEW && config->strict != SSHCONFIG_STRICT_OFF)
        return errors_set(e, -E_HOSTKEY_UNKNOWN, "%s %s", p->type, p->fingerprint);
    accept_key(p, config, known_hosts, note, warning);
    return 0;
}

int ssh2_hostkey_check(struct ssh2_session *s, const struct sshconfig *config,
                       struct knownhosts *known_hosts, char note[SSH2_HOSTKEY_NOTE_MAX],
                       char warning[SSH2_HOSTKEY_NOTE_MAX], struct error *e)
{
    struct knownhosts_match match = {.state = KNOWNHOSTS_UNKNOWN};
    struct presented p = {0};
    int type, code;
    char file[300] = "";
    size_t used;

    note[0] = warning[0] = '\0';
    p.key = libssh2_session_hostkey(ssh2_session_raw(s), &p.n, &type);
    if (!p.key || sshkey_type(p.key, p.n, p.type) < 0 ||
        knownhosts_fingerprint(p.key, p.n, p.fingerprint) < 0)
        return errors_set(e, -E_KEX, "%s", "the server's host key makes no sense");
    snprintf(note, SSH2_HOSTKEY_NOTE_MAX, "%s %s", p.type, p.fingerprint);
    code =
        knownhosts_check(known_hosts, config->lookup_name, config->lookup_port, p.key, p.n, &match);
    if (code == -E_MALFORMED)
        return errors_set(e, -E_KEX, "%s", "the server's host key makes no sense");
    if (code < 0)
        return errors_set(e, code, "%s", "looking up the host key");
    if (match.file)
        safetext_copy(file, sizeof file, match.file, strlen(match.file), 0);
    /* A certificate of that authority's counts, whatever the key is, also where another one is
     * known: the client looks for it, and refuses what it has none for. */
    if (match.authority && (match.state == KNOWNHOSTS_UNKNOWN || match.state == KNOWNHOSTS_CHANGED))
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH,
                          "known_hosts has %s @cert-authority for it, and libssh2 does not check "
                          "certificates; the server's key is %s %s",
                          match.state == KNOWNHOSTS_UNKNOWN ? "only a" : "another key and a",
                          p.type, p.fingerprint);
    switch (match.state) {
    case KNOWNHOSTS_KNOWN:
        used = strlen(note);
        snprintf(note + used, SSH2_HOSTKEY_NOTE_MAX - used, " (%s:%zu)", file, match.line);
        return 0;
    case KNOWNHOSTS_REVOKED:
        return errors_set(e, -E_HOSTKEY_REVOKED, "%s %s, revoked by %s:%zu", p.type, p.fingerprint,
                          file, match.line);
    case KNOWNHOSTS_CHANGED:
        return errors_set(e, -E_HOSTKEY_CHANGED, "it is %s %s now; %s:%zu has another key%s",
                          p.type, p.fingerprint, file, match.line,
                          match.same_type ? "" : " (of another type)");
    default:
        return unknown(&p, config, known_hosts, note, warning, e);
    }
}
