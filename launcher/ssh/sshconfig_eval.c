/* Which lines apply to a host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launcher/ssh/sshconfig_impl.h"

#define LISTS_MAX 4096 /* lines of appending keywords that apply to one host */

/* Whether lines count, for each file that is being read. */
struct level {
    unsigned char active;
    unsigned char never; /* included from a block that does not apply */
};

enum verdict { VERDICT_NO, VERDICT_YES, VERDICT_UNKNOWN };

static int host_applies(const struct sshconfig_directive *d, const char *host)
{
    int applies = 0;
    for (size_t i = 0; i < d->argc; i++) {
        const char *pattern = d->argv[i];
        int negated = *pattern == '!';
        if (!sshconfig_match(host, pattern + negated))
            continue;
        if (negated)
            return 0;
        applies = 1;
    }
    return applies;
}

static const char *text_of(const struct sshconfig_picked *p, enum sshconfig_key key)
{
    return p->value[key] == NULL ? NULL : p->value[key]->argv[0];
}

/* The host as "Match host" sees it at this point: HostName may have been set above. */
static int current_host(struct sshconfig_picked *p, char **out, struct error *e)
{
    const struct sshconfig_tokens tokens = {.host = p->typed};
    const char *name = text_of(p, KEY_HOSTNAME);
    if (p->final_pass || name == NULL) {
        *out = strdup(p->host);
        return *out == NULL ? errors_set(e, -E_NOMEM, "ssh_config") : 0;
    }
    return sshconfig_expand(name, &tokens, 0, out, e);
}

static int user_applies(const struct sshconfig_set *set, const struct sshconfig_picked *p,
                        const char *patterns)
{
    const char *user = p->user != NULL ? p->user : text_of(p, KEY_USER);
    return sshconfig_match_list(user == NULL ? set->local_user : user, patterns, 0) == 1;
}

/* One criterion, its negation left aside.  A verdict, or negative. */
static int criterion(const struct sshconfig_set *set, struct sshconfig_picked *p, const char *name,
                     const char *argument, struct error *e)
{
    if (strcasecmp(name, "all") == 0)
        return VERDICT_YES;
    if (strcasecmp(name, "canonical") == 0 || strcasecmp(name, "final") == 0)
        return p->final_pass ? VERDICT_YES : VERDICT_NO;
    if (strcasecmp(name, "host") == 0) {
        char *host;
        int rc = current_host(p, &host, e);
        if (rc != 0)
            return rc;
        rc = sshconfig_match_list(host, argument, 1) == 1 ? VERDICT_YES : VERDICT_NO;
        free(host);
        return rc;
    }
    if (strcasecmp(name, "originalhost") == 0)
        return sshconfig_match_list(p->typed, argument, 1) == 1 ? VERDICT_YES : VERDICT_NO;
    if (strcasecmp(name, "user") == 0)
        return user_applies(set, p, argument) ? VERDICT_YES : VERDICT_NO;
    if (strcasecmp(name, "localuser") == 0)
        return sshconfig_match_list(set->local_user, argument, 0) == 1 ? VERDICT_YES : VERDICT_NO;
    return VERDICT_UNKNOWN; /* exec, or newer than this code */
}

static int match_applies(const struct sshconfig_set *set, struct sshconfig_picked *p,
                         const struct sshconfig_directive *d, struct error *e)
{
    int unknown = 0;
    for (size_t i = 0; i < d->argc; i += 2) {
        int negated = d->argv[i][0] == '!';
        int verdict = criterion(set, p, d->argv[i] + negated, d->argv[i + 1], e);
        if (verdict < 0)
            return verdict;
        if (verdict == VERDICT_UNKNOWN)
            unknown = 1;
        else if (verdict == (negated ? VERDICT_YES : VERDICT_NO))
            return VERDICT_NO;
    }
    if (unknown && p->ssh_g == NULL)
        p->ssh_g = d;
    return unknown ? VERDICT_NO : VERDICT_YES;
}

static int append(struct sshconfig_picked *p, const struct sshconfig_directive *d, struct error *e)
{
    char place[SSHCONFIG_PLACE_MAX];
    /* The final pass comes by a second time; SendEnv may have been taken back in between. */
    for (size_t i = 0; i < p->lists_count && d->key != KEY_SENDENV; i++)
        if (p->lists[i] == d)
            return 0;
    if (p->lists_count >= LISTS_MAX)
        return errors_set(e, -E_LIMIT, "%s: more than %d such lines for one host",
                          sshconfig_place(d, place), LISTS_MAX);
    if (p->lists_count == p->lists_size) {
        size_t size = p->lists_size == 0 ? 16 : p->lists_size * 2;
        const struct sshconfig_directive **lists = realloc(p->lists, size * sizeof *lists);
        if (lists == NULL)
            return errors_set(e, -E_NOMEM, "ssh_config");
        p->lists = lists;
        p->lists_size = size;
    }
    p->lists[p->lists_count++] = d;
    return 0;
}

static int take(struct sshconfig_picked *p, const struct sshconfig_directive *d, struct error *e)
{
    switch (d->key) {
    case KEY_IDENTITYFILE:
    case KEY_CERTIFICATEFILE:
    case KEY_SENDENV:
        return append(p, d, e);
    case KEY_SETENV:
        if (p->all)
            return append(p, d, e); /* `ssh -G` gives each a line */
        break;
    case KEY_PROXYJUMP: /* the first of both wins... */
        if (p->value[KEY_PROXYCOMMAND] != NULL)
            return 0;
        break;
    case KEY_PROXYCOMMAND: /* ... but "ProxyJump none" does not stop a command */
        if (text_of(p, KEY_PROXYJUMP) != NULL && strcasecmp(text_of(p, KEY_PROXYJUMP), "none") != 0)
            return 0;
        break;
    case KEY_CONNECTTIMEOUT:
    case KEY_ALIVEINTERVAL: /* to ssh, "none" is as if it were not there: a later line counts */
        if (d->number < 0)
            return 0;
        break;
    case KEY_CANONICALIZE:
        if (p->value[d->key] == NULL && d->number == 1 && !p->all && p->ssh_g == NULL)
            p->ssh_g = d;
        break;
    default:
        break;
    }
    if (p->value[d->key] == NULL)
        p->value[d->key] = d;
    return 0;
}

/* As for ssh, it does not matter whether the block applies, but IgnoreUnknown must stand above, and
 * must apply.  What ssh evaluates itself it also judges itself. */
static int check_unknown(const struct sshconfig_picked *p, const struct sshconfig_directive *d,
                         struct error *e)
{
    char place[SSHCONFIG_PLACE_MAX];
    const char *ignored = text_of(p, KEY_IGNOREUNKNOWN), *name = d->argv[0];
    if (p->ssh_g != NULL || (ignored != NULL && sshconfig_match_list(name, ignored, 1) == 1))
        return 0;
    return errors_set(e, -E_CONFIG,
                      "%s: unknown keyword \"%.100s\"; if another program knows it, put "
                      "%sIgnoreUnknown=%.100s before it",
                      sshconfig_place(d, place), name, d->line == 0 ? "-o " : "", name);
}

static int run_pass(const struct sshconfig_set *set, struct sshconfig_picked *p, struct error *e)
{
    struct level stack[SSHCONFIG_DEPTH_MAX + 3] = {{1, 0}};
    int depth = 0, rc = 0;
    for (size_t i = 0; rc == 0 && i < set->count; i++) {
        const struct sshconfig_directive *d = &set->at[i];
        struct level *level = &stack[depth];
        switch (d->key) {
        case KEY_BEGIN:
            stack[++depth] = (struct level){level->active, level->never || !level->active};
            break;
        case KEY_END:
            depth--;
            break;
        case KEY_HOST:
            level->active = !level->never && host_applies(d, p->host);
            break;
        case KEY_MATCH:
            if (level->never) {
                level->active = 0;
                break;
            }
            rc = match_applies(set, p, d, e);
            level->active = rc == VERDICT_YES;
            rc = rc < 0 ? rc : 0;
            break;
        case KEY_UNKNOWN:
            rc = check_unknown(p, d, e);
            break;
        default:
            if (level->active || p->all)
                rc = take(p, d, e);
            break;
        }
    }
    return rc;
}

const char *sshconfig_place(const struct sshconfig_directive *d, char text[SSHCONFIG_PLACE_MAX])
{
    if (d->line == 0)
        (void)snprintf(text, SSHCONFIG_PLACE_MAX, "%.400s", d->file);
    else
        (void)snprintf(text, SSHCONFIG_PLACE_MAX, "%.400s:%zu", d->file, d->line);
    return text;
}

int sshconfig_eval(const struct sshconfig_set *set, struct sshconfig_picked *p, struct error *e)
{
    const struct sshconfig_tokens tokens = {.host = p->typed};
    const char *name;
    p->host = p->typed;
    int rc = run_pass(set, p, e);
    if (rc != 0)
        return rc;
    name = text_of(p, KEY_HOSTNAME);
    rc = sshconfig_expand(name == NULL || p->all ? "%h" : name, &tokens, 0, &p->replaced, e);
    if (rc == 0 && p->all && name != NULL) {
        free(p->replaced);
        p->replaced = strdup(name);
        if (p->replaced == NULL)
            rc = errors_set(e, -E_NOMEM, "ssh_config");
    }
    if (rc != 0)
        return rc;
    /* Addresses stay as they are: the zone of an IPv6 address is an interface's name. */
    for (char *c = strpbrk(p->replaced, ":%") == NULL ? p->replaced : NULL; c != NULL && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    if (set->wants_final && !p->all) {
        p->final_pass = 1;
        p->host = p->replaced;
        rc = run_pass(set, p, e);
        p->host = p->typed;
    }
    return rc;
}
