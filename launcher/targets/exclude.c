#include "launcher/targets/exclude.h"

#include <string.h>

#include "launcher/ssh/sshconfig.h"

/* Whether the name is more than a host's: its user, its port, brackets, a scheme. */
static int is_dressed(const char *name)
{
    return strpbrk(name, "@:[") != NULL;
}

/* The host of a name; NULL when it has none.  *bare: neither user nor port stands with it. */
static const char *host_of(const char *name, char host[SSHCONFIG_HOST_MAX], int *bare)
{
    char user[SSHCONFIG_HOST_MAX];
    struct error e = {0};
    unsigned port;

    if (sshconfig_split(name, user, host, &port, &e) != 0)
        return NULL;
    *bare = *user == '\0' && port == 0;
    return host;
}

/* What inventories make of the names. */
static int add_targets(struct names *gone, const struct expression_groups *groups, struct error *e)
{
    size_t count = gone->count;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        const char *target = NULL;
        if (names_there(gone, i))
            rc = groups->target(groups->arg, names_at(gone, i), &target, e);
        if (rc == 0 && target != NULL)
            rc = names_add(gone, target, strlen(target), NULL, e);
    }
    return rc;
}

/* The hosts that are meant by themselves, as far as they are not written so: [::1], ssh://web1. */
static int add_hosts(struct names *hosts, const struct names *gone, struct error *e)
{
    char text[SSHCONFIG_HOST_MAX];
    int rc = 0, bare;

    for (size_t i = 0; i < gone->count && rc == 0; i++) {
        const char *name = names_at(gone, i), *host = NULL;
        if (names_there(gone, i) && is_dressed(name))
            host = host_of(name, text, &bare);
        if (host != NULL && bare && strcmp(host, name) != 0)
            rc = names_add(hosts, host, strlen(host), NULL, e);
    }
    return rc;
}

/* Those of which the host is gone. */
static void remove_logins(struct names *set, const struct names *gone, const struct names *hosts)
{
    char text[SSHCONFIG_HOST_MAX];
    int bare;

    for (size_t i = 0; i < set->count; i++) {
        const char *name = names_at(set, i), *host = NULL;
        if (names_there(set, i) && is_dressed(name))
            host = host_of(name, text, &bare);
        if (host == NULL)
            continue;
        size_t n = strlen(host);
        if (names_find(gone, host, n) != NAMES_NONE || names_find(hosts, host, n) != NAMES_NONE)
            names_remove(set, i);
    }
}

int exclude_names(struct names *set, struct names *gone, const struct expression_groups *groups,
                  struct error *e)
{
    struct names hosts = {0};
    int rc = add_targets(gone, groups, e);

    if (rc == 0)
        rc = add_hosts(&hosts, gone, e);
    if (rc == 0) {
        names_subtract(set, gone);
        names_subtract(set, &hosts);
        remove_logins(set, gone, &hosts);
        names_compact(set);
    }
    names_clear(&hosts);
    return rc;
}
