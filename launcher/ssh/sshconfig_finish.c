/* From the lines that apply to a struct sshconfig: defaults, expansions, lists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launcher/ssh/sshconfig_impl.h"

/* What the steps below hand on. */
struct work {
    const struct sshconfig_set *set;
    const struct sshconfig_picked *p;
    struct sshconfig *c;
    struct sshconfig_tokens tokens;
    struct error *e;
};

static int is_none(const char *s)
{
    return s != NULL && strcasecmp(s, "none") == 0;
}

static const char *text_of(const struct work *w, enum sshconfig_key key)
{
    return w->p->value[key] == NULL ? NULL : w->p->value[key]->argv[0];
}

static long number_of(const struct work *w, enum sshconfig_key key, long otherwise)
{
    return w->p->value[key] == NULL ? otherwise : w->p->value[key]->number;
}

static int no_memory(const struct work *w)
{
    return errors_set(w->e, -E_NOMEM, "ssh_config");
}

/* Copies a keyword's text, if it was given. */
static int copy(const struct work *w, enum sshconfig_key key, char **out)
{
    const char *s = text_of(w, key);
    if (s != NULL && (*out = strdup(s)) == NULL)
        return no_memory(w);
    return 0;
}

/* The same, where "none" is as good as nothing. */
static int copy_some(const struct work *w, enum sshconfig_key key, char **out)
{
    return is_none(text_of(w, key)) ? 0 : copy(w, key, out);
}

/* Puts `s` (owned from now on) at the end of a list, once if `unique`. */
static int list_put(const struct work *w, struct sshconfig_list *list, char *s, int unique)
{
    for (size_t i = 0; unique && s != NULL && i < list->count; i++) {
        if (strcmp(list->item[i], s) == 0) {
            free(s);
            return 0;
        }
    }
    char **item = s == NULL ? NULL : realloc(list->item, (list->count + 2) * sizeof *item);
    if (item == NULL) {
        free(s);
        return no_memory(w);
    }
    list->item = item;
    item[list->count++] = s;
    item[list->count] = NULL;
    return 0;
}

/* Expands a path and puts it at the end of a list. */
static int put_path(const struct work *w, struct sshconfig_list *list, const char *path,
                    const struct sshconfig_directive *d)
{
    char *expanded;
    int rc = sshconfig_expand(path, &w->tokens, 1, &expanded, w->e);
    if (rc != 0) {
        if (rc == -E_CONFIG && d != NULL && w->e != NULL) {
            char why[sizeof w->e->detail], place[SSHCONFIG_PLACE_MAX];
            memcpy(why, w->e->detail, sizeof why);
            (void)errors_set(w->e, rc, "%s: %.900s", sshconfig_place(d, place), why);
        }
        return rc;
    }
    return list_put(w, list, expanded, 1);
}

static int names(struct work *w)
{
    struct sshconfig *c = w->c;
    const char *user = w->p->user != NULL ? w->p->user : text_of(w, KEY_USER);
    c->original = strdup(w->p->typed);
    c->host = strdup(w->p->replaced);
    c->user = strdup(user == NULL ? w->set->local_user : user);
    c->user_set = user != NULL;
    c->port = w->p->port != 0 ? w->p->port : (unsigned)number_of(w, KEY_PORT, 22);
    if (c->original == NULL || c->host == NULL || c->user == NULL)
        return no_memory(w);
    if (c->host[0] == '\0' || c->host[0] == '-' || strlen(c->host) >= SSHCONFIG_HOST_MAX)
        return errors_set(w->e, -E_CONFIG, "HostName is empty, too long, or begins with -");
    int rc = copy(w, KEY_HOSTKEYALIAS, &c->hostkey_alias);
    if (rc != 0)
        return rc;
    for (char *a = c->hostkey_alias; a != NULL && *a != '\0'; a++)
        if (*a >= 'A' && *a <= 'Z')
            *a = (char)(*a - 'A' + 'a');
    c->lookup_name = strdup(c->hostkey_alias == NULL ? c->host : c->hostkey_alias);
    c->lookup_port = c->hostkey_alias == NULL ? c->port : 0;
    return c->lookup_name == NULL ? no_memory(w) : 0;
}

static int proxies(const struct work *w)
{
    int rc = copy_some(w, KEY_PROXYJUMP, &w->c->proxy_jump);
    return rc != 0 ? rc : copy_some(w, KEY_PROXYCOMMAND, &w->c->proxy_command);
}

static int identities(const struct work *w)
{
    static const char *const defaults[] = {"id_rsa",        "id_ecdsa", "id_ecdsa_sk", "id_ed25519",
                                           "id_ed25519_sk", "id_xmss",  "id_dsa"};
    struct sshconfig *c = w->c;
    char path[64];
    int rc = 0, given = 0, differs = 0;
    size_t nth = 0;
    for (size_t i = 0; rc == 0 && i < w->p->lists_count; i++) {
        const struct sshconfig_directive *d = w->p->lists[i];
        if (d->key == KEY_CERTIFICATEFILE && !is_none(d->argv[0]))
            rc = put_path(w, &c->certificate_files, d->argv[0], d);
        if (d->key != KEY_IDENTITYFILE)
            continue;
        given = 1;
        if (!is_none(d->argv[0]))
            rc = put_path(w, &c->identity_files, d->argv[0], d);
        /* `ssh -G` lists its defaults, which may be those of another version. */
        differs |= strncmp(d->argv[0], "~/.ssh/id_", 10) != 0 || !w->p->all;
        nth++;
    }
    if (given) {
        c->identity_files_default = !differs && nth > 2;
        return rc;
    }
    c->identity_files_default = 1;
    for (size_t i = 0; rc == 0 && i < sizeof defaults / sizeof defaults[0]; i++) {
        (void)snprintf(path, sizeof path, "~/.ssh/%s", defaults[i]);
        rc = put_path(w, &c->identity_files, path, NULL);
    }
    return rc;
}

/* The socket of the agent to use, if any. */
static int agent(const struct work *w)
{
    const char *s = text_of(w, KEY_IDENTITYAGENT);
    char *expanded = NULL;
    const char *value = w->set->no_environment ? NULL : getenv("SSH_AUTH_SOCK");
    if (is_none(s))
        return 0;
    if (s != NULL && strcmp(s, "SSH_AUTH_SOCK") != 0) {
        int rc = sshconfig_expand(s, &w->tokens, 1, &expanded, w->e);
        if (rc != 0)
            return rc;
        value = expanded[0] == '$' ? getenv(expanded + 1) : expanded;
    }
    int rc = 0;
    if (value != NULL && value[0] != '\0' && (w->c->agent_socket = strdup(value)) == NULL)
        rc = no_memory(w);
    free(expanded);
    return rc;
}

static int known_hosts(const struct work *w)
{
    static const char *const user[] = {"~/.ssh/known_hosts", "~/.ssh/known_hosts2"};
    static const char *const global[] = {"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"};
    const struct sshconfig_directive *d = w->p->value[KEY_USERKNOWNHOSTS];
    size_t n = d == NULL ? 2 : is_none(d->argv[0]) ? 0 : d->argc;
    int rc = asprintf(&w->c->ssh_folder, "%s/.ssh", w->set->home) < 0 ? no_memory(w) : 0;
    if (rc != 0)
        w->c->ssh_folder = NULL;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = put_path(w, &w->c->user_known_hosts, d == NULL ? user[i] : d->argv[i], d);
    d = w->p->value[KEY_GLOBALKNOWNHOSTS];
    n = d == NULL ? 2 : is_none(d->argv[0]) ? 0 : d->argc;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = list_put(w, &w->c->global_known_hosts, strdup(d == NULL ? global[i] : d->argv[i]), 1);
    w->c->strict = (enum sshconfig_strict)number_of(w, KEY_STRICT, SSHCONFIG_STRICT_ASK);
    w->c->hash_known_hosts = (int)number_of(w, KEY_HASHKNOWNHOSTS, 0);
    w->c->check_host_ip = (int)number_of(w, KEY_CHECKHOSTIP, 0);
    if (rc == 0)
        rc = copy_some(w, KEY_REVOKEDHOSTKEYS, &w->c->revoked_host_keys);
    return rc != 0 ? rc : copy_some(w, KEY_KNOWNHOSTSCOMMAND, &w->c->known_hosts_command);
}

static int algorithms(const struct work *w)
{
    struct sshconfig *c = w->c;
    const struct {
        enum sshconfig_key key;
        char **out;
    } all[] = {{KEY_HOSTKEYALGORITHMS, &c->hostkey_algorithms},
               {KEY_KEXALGORITHMS, &c->kex_algorithms},
               {KEY_CIPHERS, &c->ciphers},
               {KEY_MACS, &c->macs},
               {KEY_PUBKEYALGORITHMS, &c->pubkey_algorithms},
               {KEY_PREFERREDAUTH, &c->preferred_authentications},
               {KEY_BINDADDRESS, &c->bind_address},
               {KEY_BINDINTERFACE, &c->bind_interface}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof all / sizeof all[0]; i++)
        rc = copy(w, all[i].key, all[i].out);
    return rc != 0 ? rc : copy_some(w, KEY_PKCS11PROVIDER, &c->pkcs11_provider);
}

static unsigned seconds_of(const struct work *w, enum sshconfig_key key)
{
    long n = number_of(w, key, 0);
    return n < 0 ? 0 : (unsigned)n;
}

static void numbers(const struct work *w)
{
    struct sshconfig *c = w->c;
    c->identities_only = (int)number_of(w, KEY_IDENTITIESONLY, 0);
    c->pubkey_authentication = (int)number_of(w, KEY_PUBKEYAUTH, 1);
    c->password_authentication = (int)number_of(w, KEY_PASSWORDAUTH, 1);
    c->kbdint_authentication = (int)number_of(w, KEY_KBDINTAUTH, 1);
    c->gssapi_authentication = (int)number_of(w, KEY_GSSAPIAUTH, 0);
    c->hostbased_authentication = (int)number_of(w, KEY_HOSTBASEDAUTH, 0);
    c->batch_mode = (int)number_of(w, KEY_BATCHMODE, 0);
    c->password_prompts = (unsigned)number_of(w, KEY_PASSWORDPROMPTS, 3);
    c->family = (enum sshconfig_family)number_of(w, KEY_ADDRESSFAMILY, SSHCONFIG_FAMILY_ANY);
    c->connect_timeout = seconds_of(w, KEY_CONNECTTIMEOUT);
    c->connection_attempts = (unsigned)number_of(w, KEY_CONNECTIONATTEMPTS, 1);
    c->compression = (int)number_of(w, KEY_COMPRESSION, 0);
    c->tcp_keepalive = (int)number_of(w, KEY_TCPKEEPALIVE, 1);
    c->alive_interval = seconds_of(w, KEY_ALIVEINTERVAL);
    c->alive_count_max = (unsigned)number_of(w, KEY_ALIVECOUNTMAX, 3);
    c->log_level = (enum sshconfig_loglevel)number_of(w, KEY_LOGLEVEL, SSHCONFIG_LOG_INFO);
}

/* "-pattern" takes back what matches it. */
static void forget(struct sshconfig_list *list, const char *pattern)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (sshconfig_match(list->item[i], pattern))
            free(list->item[i]);
        else
            list->item[kept++] = list->item[i];
    }
    list->count = kept;
}

static int environment(const struct work *w)
{
    int rc = 0;
    const struct sshconfig_directive *d = w->p->value[KEY_SETENV];
    for (size_t i = 0; d != NULL && rc == 0 && i < d->argc; i++)
        rc = list_put(w, &w->c->set_env, strdup(d->argv[i]), 0);
    for (size_t i = 0; rc == 0 && i < w->p->lists_count; i++) {
        d = w->p->lists[i];
        for (size_t j = 0; rc == 0 && j < d->argc; j++) {
            if (d->key == KEY_SETENV)
                rc = list_put(w, &w->c->set_env, strdup(d->argv[j]), 0);
            else if (d->key == KEY_SENDENV && d->argv[j][0] == '-')
                forget(&w->c->send_env, d->argv[j] + 1);
            else if (d->key == KEY_SENDENV)
                rc = list_put(w, &w->c->send_env, strdup(d->argv[j]), 1);
        }
    }
    return rc;
}

static int note_ssh_g(const struct work *w)
{
    char why[SSHCONFIG_PLACE_MAX + 64], place[SSHCONFIG_PLACE_MAX];
    const struct sshconfig_directive *d = w->p->ssh_g;
    if (d == NULL)
        return 0;
    (void)snprintf(why, sizeof why, "%s: %s", sshconfig_place(d, place),
                   d->key == KEY_MATCH ? "Match with a criterion that only ssh can judge"
                                       : "CanonicalizeHostname");
    w->c->needs_ssh_g = 1;
    w->c->ssh_g_why = strdup(why);
    return w->c->ssh_g_why == NULL ? no_memory(w) : 0;
}

int sshconfig_finish(const struct sshconfig_set *set, const struct sshconfig_picked *p,
                     struct sshconfig **out, struct error *e)
{
    struct work w = {.set = set, .p = p, .c = calloc(1, sizeof(struct sshconfig)), .e = e};
    *out = NULL;
    if (w.c == NULL)
        return no_memory(&w);
    int rc = names(&w);
    if (rc == 0)
        rc = proxies(&w);
    w.tokens = (struct sshconfig_tokens){
        .home = set->home,
        .host = w.c->host,
        .original = w.c->original,
        .user = w.c->user,
        .local_user = set->local_user,
        .alias = w.c->hostkey_alias == NULL ? w.c->original : w.c->hostkey_alias,
        .jump = w.c->proxy_jump,
        .port = w.c->port,
    };
    if (rc == 0)
        rc = identities(&w);
    if (rc == 0)
        rc = agent(&w);
    if (rc == 0)
        rc = known_hosts(&w);
    if (rc == 0)
        rc = algorithms(&w);
    if (rc == 0)
        rc = environment(&w);
    if (rc == 0)
        rc = note_ssh_g(&w);
    numbers(&w);
    if (rc != 0)
        sshconfig_free(w.c);
    else
        *out = w.c;
    return rc;
}

static void free_list(struct sshconfig_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
}

void sshconfig_free(struct sshconfig *c)
{
    if (c == NULL)
        return;
    char *const strings[] = {c->original,
                             c->host,
                             c->user,
                             c->hostkey_alias,
                             c->lookup_name,
                             c->agent_socket,
                             c->pkcs11_provider,
                             c->proxy_jump,
                             c->proxy_command,
                             c->known_hosts_command,
                             c->revoked_host_keys,
                             c->ssh_folder,
                             c->hostkey_algorithms,
                             c->kex_algorithms,
                             c->ciphers,
                             c->macs,
                             c->pubkey_algorithms,
                             c->preferred_authentications,
                             c->bind_address,
                             c->bind_interface,
                             c->ssh_g_why};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        free(strings[i]);
    free_list(&c->identity_files);
    free_list(&c->certificate_files);
    free_list(&c->user_known_hosts);
    free_list(&c->global_known_hosts);
    free_list(&c->send_env);
    free_list(&c->set_env);
    free(c);
}
