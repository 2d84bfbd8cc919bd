#include "launcher/cache/serverkey.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/connection.h"
#include "launcher/ssh/sshconfig.h"

/* Each value stands with its length before it, so that no text can pass for several. */
static void put_text(FILE *f, const char *name, const char *value)
{
    if (value)
        fprintf(f, "%s %zu:%s\n", name, strlen(value), value);
}

/* Names of hosts mean the same in any case. */
static void put_host(FILE *f, const char *name, const char *value)
{
    fprintf(f, "%s %zu:", name, strlen(value));
    for (; *value; value++)
        fputc(tolower((unsigned char)*value), f);
    fputc('\n', f);
}

static void put_number(FILE *f, const char *name, long long value)
{
    fprintf(f, "%s %lld\n", name, value);
}

static void put_list(FILE *f, const char *name, const struct sshconfig_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        put_text(f, name, list->item[i]);
}

/* ---- ssh_config ---- */

/* What is not here matters while connecting only: time limits, prompts, how much is logged. */
#define TEXTS(X)                                                                                   \
    X(user)                                                                                        \
    X(agent_socket)                                                                                \
    X(pkcs11_provider)                                                                             \
    X(proxy_jump)                                                                                  \
    X(proxy_command)                                                                               \
    X(known_hosts_command)                                                                         \
    X(revoked_host_keys)                                                                           \
    X(hostkey_algorithms)                                                                          \
    X(kex_algorithms)                                                                              \
    X(ciphers)                                                                                     \
    X(macs)                                                                                        \
    X(pubkey_algorithms)                                                                           \
    X(preferred_authentications)                                                                   \
    X(bind_address)                                                                                \
    X(bind_interface)
#define NUMBERS(X)                                                                                 \
    X(port)                                                                                        \
    X(lookup_port)                                                                                 \
    X(identities_only)                                                                             \
    X(strict)                                                                                      \
    X(pubkey_authentication)                                                                       \
    X(password_authentication)                                                                     \
    X(kbdint_authentication)                                                                       \
    X(gssapi_authentication)                                                                       \
    X(hostbased_authentication)                                                                    \
    X(family)                                                                                      \
    X(compression)                                                                                 \
    X(tcp_keepalive)                                                                               \
    X(alive_interval)                                                                              \
    X(alive_count_max)
#define LISTS(X)                                                                                   \
    X(identity_files)                                                                              \
    X(certificate_files)                                                                           \
    X(user_known_hosts)                                                                            \
    X(global_known_hosts)                                                                          \
    X(send_env)                                                                                    \
    X(set_env)

/* Those commands are told the name as it was typed, if they ask for it. */
static int wants_typed_name(const char *command)
{
    return command && strstr(command, "%n");
}

/* How its proxies see it, if it has any. */
static void put_proxies(FILE *f, const struct sshconfig *c, const char *file)
{
    if (wants_typed_name(c->proxy_command) || wants_typed_name(c->known_hosts_command))
        put_text(f, "typed", c->original);
    if (c->proxy_jump) /* the names in it are looked up there */
        put_text(f, "config_file", file && *file ? file : NULL);
}

static void put_config(FILE *f, const struct sshconfig *c, const char *file)
{
    put_host(f, "host", c->host);
    put_host(f, "lookup_name", c->lookup_name);
#define TEXT(member)   put_text(f, #member, c->member);
#define NUMBER(member) put_number(f, #member, (long long)c->member);
#define LIST(member)   put_list(f, #member, &c->member);
    TEXTS(TEXT)
    NUMBERS(NUMBER)
    LISTS(LIST)
#undef TEXT
#undef NUMBER
#undef LIST
    put_proxies(f, c, file);
}

static void put_place(FILE *f, const struct sshconfig *c, const char *file)
{
    put_host(f, "host", c->host);
    put_host(f, "lookup_name", c->lookup_name);
    put_text(f, "user", c->user);
    put_text(f, "proxy_jump", c->proxy_jump);
    put_text(f, "proxy_command", c->proxy_command);
    put_number(f, "port", (long long)c->port);
    put_proxies(f, c, file);
}

/* ---- the whole ---- */

/* put: what of ssh_config tells two ways apart. */
static char *make(const struct route *r, const struct grapnel_connect_options *o,
                  void (*put)(FILE *f, const struct sshconfig *c, const char *file))
{
    const struct sshconfig *config = route_config(r);
    char *key = NULL, *name = config ? NULL : serverkey_name(r, o);
    size_t n = 0;
    FILE *f = config || name ? open_memstream(&key, &n) : NULL;

    if (f) {
        put_text(f, "transport", o->transport && *o->transport ? o->transport : "auto");
        put_number(f, "lease", (long long)(o->lease > 0 ? o->lease : CONNECTION_LEASE_MS));
        put_text(f, "sudo", o->sudo_user);
        if (config)
            put(f, config, o->config_file);
        else
            put_text(f, "name", name); /* where nothing else is known */
        if (ferror(f) | fclose(f)) {
            free(key);
            key = NULL;
        }
    }
    free(name);
    return key;
}

char *serverkey_make(const struct route *r, const struct grapnel_connect_options *o)
{
    return make(r, o, put_config);
}

char *serverkey_place(const struct route *r, const struct grapnel_connect_options *o)
{
    return make(r, o, put_place);
}

char *serverkey_name(const struct route *r, const struct grapnel_connect_options *o)
{
    const struct sshconfig *config = route_config(r);
    const char *host = config ? config->original : route_target(r);
    const char *user = config ? config->user : o->user;
    const char *at = config ? NULL : strrchr(host, '@');
    int bracket = config && strchr(host, ':');
    char *name;

    /* Targets of other transports are any words; what looks like a user in them is taken for one.
     */
    if (!user || !*user)
        return strdup(host);
    if (asprintf(&name, "%s@%s%s%s", user, bracket ? "[" : "", at ? at + 1 : host,
                 bracket ? "]" : "") < 0)
        return NULL;
    return name;
}
