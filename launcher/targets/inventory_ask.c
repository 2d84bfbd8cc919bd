/* What an inventory answers: the targets of a group, and the variables of hosts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/targets/inventory_impl.h"
#include "launcher/targets/pattern.h"

#define NONE INVENTORY_NONE

/* ---- the order of groups ---- */

/* Parents come before their children: each group is put in order when the last of its parents has
 * been.  Those that never are go round in a circle. */
int inventory_sort(struct inventory *inv, struct error *e)
{
    size_t count = inv->group_names.count, done = 0;
    uint32_t *waiting = calloc(count + 1, sizeof *waiting); /* for so many parents */

    inv->order = calloc(count + 1, sizeof *inv->order);
    if (waiting == NULL || inv->order == NULL) {
        free(waiting);
        return errors_set(e, -E_NOMEM, "groups");
    }
    for (size_t i = 0; i < count; i++)
        for (uint32_t l = inv->groups[i].parents; l != NONE; l = inv->links[l].next)
            waiting[i]++;
    for (size_t i = 0; i < count; i++)
        if (waiting[i] == 0)
            inv->order[inv->order_count++] = (uint32_t)i;
    for (; done < inv->order_count; done++) {
        const struct inventory_group *g = &inv->groups[inv->order[done]];
        for (uint32_t l = g->children; l != NONE; l = inv->links[l].next) {
            uint32_t child = inv->links[l].what;
            if (inv->groups[child].depth <= g->depth)
                inv->groups[child].depth = g->depth + 1;
            if (--waiting[child] == 0)
                inv->order[inv->order_count++] = child;
        }
    }
    for (size_t i = 0; done < count && i < count; i++)
        if (waiting[i] > 0) {
            free(waiting);
            return errors_set(e, -E_CONFIG, "%.200s: the group '%.100s' is among its own children",
                              inv->path, names_at(&inv->group_names, i));
        }
    free(waiting);
    return 0;
}

/* ---- variables ---- */

static uint32_t find_var(const struct inventory *inv, uint32_t list, uint32_t key)
{
    for (; list != NONE; list = inv->vars[list].next)
        if (inv->vars[list].key == key)
            return inv->vars[list].value; /* the newest */
    return NONE;
}

/* Of two groups that have the value: the lower one wins, of equals the one whose name is last. */
static int wins(const struct inventory *inv, uint32_t one, uint32_t other)
{
    if (other == NONE || one == NONE)
        return one != NONE;
    if (inv->groups[one].depth != inv->groups[other].depth)
        return inv->groups[one].depth > inv->groups[other].depth;
    return strcmp(names_at(&inv->group_names, one), names_at(&inv->group_names, other)) > 0;
}

/* What the key is for the hosts of each group; NULL: memory is out.  It is found out once for all
 * groups, so that asking for it costs no walk to the top. */
static const struct inventory_best *best_of(struct inventory *inv, uint32_t key)
{
    struct inventory_memo *memo = NULL;

    for (int i = 0; i < INVENTORY_MEMOS; i++)
        if (inv->memos[i].best != NULL && inv->memos[i].key == key)
            return inv->memos[i].best;
    memo = &inv->memos[inv->next_memo++ % INVENTORY_MEMOS];
    free(memo->best);
    memo->key = key;
    memo->best = malloc((inv->order_count + 1) * sizeof *memo->best);
    for (size_t i = 0; memo->best != NULL && i < inv->order_count; i++) {
        uint32_t group = inv->order[i];
        const struct inventory_group *g = &inv->groups[group];
        struct inventory_best own = {group, find_var(inv, g->vars, key)};
        if (own.value == NONE)
            own.group = NONE;
        for (uint32_t l = g->parents; own.value == NONE && l != NONE; l = inv->links[l].next) {
            uint32_t above = memo->best[inv->links[l].what].group;
            if (wins(inv, above, own.group))
                own.group = above;
        }
        if (own.value == NONE && own.group != NONE)
            own.value = memo->best[own.group].value;
        memo->best[group] = own;
    }
    return memo->best;
}

static const char *value_of(struct inventory *inv, uint32_t host, const char *key)
{
    const struct inventory_host *h = &inv->hosts[host];
    size_t number = names_find(&inv->strings, key, strlen(key));
    size_t all = names_find(&inv->group_names, "all", 3);
    uint32_t best = NONE;

    if (number == NAMES_NONE)
        return NULL;
    uint32_t value = find_var(inv, h->vars, (uint32_t)number);
    const struct inventory_best *of = value == NONE ? best_of(inv, (uint32_t)number) : NULL;
    for (uint32_t l = h->groups; of != NULL && l != NONE; l = inv->links[l].next) {
        uint32_t group = of[inv->links[l].what].group;
        if (wins(inv, group, best))
            best = group;
    }
    if (of != NULL && best == NONE && all != NAMES_NONE)
        best = of[all].group;
    if (of != NULL && best != NONE)
        value = of[best].value;
    return value == NONE ? NULL : names_at(&inv->strings, value);
}

const char *inventory_value(struct inventory *inv, const char *name, const char *key)
{
    size_t n = strlen(name), target = names_find(&inv->targets, name, n);
    size_t host =
        target == NAMES_NONE ? names_find(&inv->host_names, name, n) : inv->target_host[target];

    if (host == NAMES_NONE)
        return NULL;
    if (strcmp(key, "inventory_hostname") == 0)
        return names_at(&inv->host_names, host);
    return value_of(inv, (uint32_t)host, key);
}

/* ---- targets ---- */

/* What ansible_host, ansible_user and ansible_port make of a host: its length, or 0 when the name
 * is empty. */
static int write_target(struct inventory *inv, uint32_t host, char *text, size_t size)
{
    const char *alias = names_at(&inv->host_names, host);
    const char *name = value_of(inv, host, "ansible_host"), *user, *port;

    if (name == NULL)
        name = value_of(inv, host, "ansible_ssh_host");
    user = value_of(inv, host, "ansible_user");
    if (user == NULL)
        user = value_of(inv, host, "ansible_ssh_user");
    port = value_of(inv, host, "ansible_port");
    if (port == NULL)
        port = value_of(inv, host, "ansible_ssh_port");
    if (name == NULL)
        name = alias;
    else if (port == NULL && strrchr(alias, ':') == strchr(alias, ':') && strchr(alias, ':'))
        port = strchr(alias, ':') + 1; /* as in web1:2222 ansible_host=... */
    if (*name == '\0')
        return 0;
    /* Only an address has more than one colon: its port stands behind brackets. */
    const char *colon = strchr(name, ':');
    int address = port != NULL && *name != '[' && colon != NULL && strchr(colon + 1, ':') != NULL;
    int own = port != NULL && !address && *name != '[' && colon != NULL; /* it has a port already */
    int length = own ? (int)(colon - name) : (int)strlen(name);
    return snprintf(text, size, "%s%s%s%.*s%s%s%s", user ? user : "", user ? "@" : "",
                    address ? "[" : "", length, name, address ? "]" : "", port ? ":" : "",
                    port ? port : "");
}

/* Makes a host's target, unless it has been made. */
static int make_target(struct inventory *inv, uint32_t host, struct error *e)
{
    char text[PATTERN_NAME_MAX + 1];
    struct inventory_host *h = &inv->hosts[host];
    struct error inner = {0};
    size_t count = inv->targets.count;

    if (h->target != NONE)
        return 0;
    int rc = inventory_room((void **)&inv->target_host, &inv->target_room, count,
                            sizeof *inv->target_host);
    int n = write_target(inv, host, text, sizeof text);
    if (rc != 0)
        return errors_set(e, rc, "targets");
    if (n == 0)
        return errors_set(e, -E_CONFIG, "%.200s, line %u: ansible_host is empty", inv->path,
                          (unsigned)h->line);
    if (n >= (int)sizeof text)
        return errors_set(e, -E_CONFIG, "%.200s, line %u: the name is too long", inv->path,
                          (unsigned)h->line);
    rc = pattern_expand(&inv->targets, text, (size_t)n, 0, &inner);
    size_t number = names_find(&inv->targets, text, (size_t)n);
    if (rc == 0 && number == NAMES_NONE)
        rc = errors_set(&inner, -E_ARGUMENT, "'%s' has a range in it", text);
    if (rc != 0) {
        names_truncate(&inv->targets, count);
        return errors_set(e, -E_CONFIG, "%.200s, the host of line %u: %s", inv->path,
                          (unsigned)h->line, inner.detail);
    }
    h->target = (uint32_t)number;
    if (inv->targets.count > count)
        inv->target_host[count] = host;
    return 0;
}

int inventory_target(struct inventory *inv, const char *name, const char **target, struct error *e)
{
    size_t host = names_find(&inv->host_names, name, strlen(name));
    int rc = host == NAMES_NONE ? 0 : make_target(inv, (uint32_t)host, e);

    *target = NULL;
    if (rc == 0 && host != NAMES_NONE)
        *target = names_at(&inv->targets, inv->hosts[host].target);
    return rc;
}

static int add_host(struct inventory *inv, uint32_t host, struct names *set, struct error *e)
{
    struct inventory_host *h = &inv->hosts[host];
    int rc = 0;

    if (h->seen == inv->inquiry)
        return 0;
    h->seen = inv->inquiry;
    rc = make_target(inv, host, e);
    return rc == 0 ? names_add(set, names_at(&inv->targets, h->target),
                               names_length(&inv->targets, h->target), NULL, e)
                   : rc;
}

/* Lists are the newest first, names the oldest. */
static int add_reversed(struct inventory *inv, uint32_t list, struct names *set, struct error *e)
{
    size_t count = 0, n = 0;
    int rc = 0;

    for (uint32_t l = list; l != NONE; l = inv->links[l].next)
        count++;
    uint32_t *hosts = malloc((count + 1) * sizeof *hosts);
    if (hosts == NULL)
        return errors_set(e, -E_NOMEM, "hosts");
    for (uint32_t l = list; l != NONE; l = inv->links[l].next)
        hosts[n++] = inv->links[l].what;
    while (n > 0 && rc == 0)
        rc = add_host(inv, hosts[--n], set, e);
    free(hosts);
    return rc;
}

/* The group, and after it those below it. */
static int add_group(struct inventory *inv, uint32_t group, struct names *set, struct error *e)
{
    uint32_t *stack = malloc((inv->order_count + 1) * sizeof *stack);
    size_t depth = 0;
    int rc = 0;

    if (stack == NULL)
        return errors_set(e, -E_NOMEM, "groups");
    stack[depth++] = group;
    inv->groups[group].seen = inv->inquiry;
    while (depth > 0 && rc == 0) {
        const struct inventory_group *g = &inv->groups[stack[--depth]];
        rc = add_reversed(inv, g->hosts, set, e);
        for (uint32_t l = g->children; l != NONE; l = inv->links[l].next) {
            uint32_t child = inv->links[l].what;
            if (inv->groups[child].seen != inv->inquiry)
                stack[depth++] = child;
            inv->groups[child].seen = inv->inquiry;
        }
    }
    free(stack);
    return rc;
}

/* Those that belong to no group but all; or simply all. */
static int add_all(struct inventory *inv, int ungrouped, struct names *set, struct error *e)
{
    size_t all = names_find(&inv->group_names, "all", 3);
    int rc = 0;

    for (size_t i = 0; i < inv->host_names.count && rc == 0; i++) {
        int own = 0;
        for (uint32_t l = inv->hosts[i].groups; ungrouped && l != NONE; l = inv->links[l].next)
            own |= inv->links[l].what != all;
        if (!own)
            rc = add_host(inv, (uint32_t)i, set, e);
    }
    return rc;
}

int inventory_add(struct inventory *inv, const char *group, struct names *set, struct error *e)
{
    size_t n = strlen(group), found;

    inv->inquiry++;
    if (strcmp(group, "all") == 0 || strcmp(group, "*") == 0)
        return add_all(inv, 0, set, e);
    found = names_find(&inv->group_names, group, n);
    if (found != NAMES_NONE)
        return add_group(inv, (uint32_t)found, set, e);
    if (strcmp(group, "ungrouped") == 0)
        return add_all(inv, 1, set, e);
    found = names_find(&inv->host_names, group, n);
    if (found != NAMES_NONE)
        return add_host(inv, (uint32_t)found, set, e);
    return errors_set(e, -E_CONFIG, "%.200s has neither a group nor a host '%.100s'", inv->path,
                      group);
}
