/* What stands behind an option: read by its kind, and put where it belongs. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/options_impl.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"

#define LEASE_MIN    1000 /* ms: the library's own bounds */
#define LEASE_MAX    86400000
#define INSTANCE_MAX 65535

int options_list_add(struct options_list *list, const char *item, struct grapnel_error *error)
{
    const char **items = realloc(list->items, (list->count + 2) * sizeof *items);

    if (!items)
        return say_fail(error, "NOMEM", "out of memory");
    items[list->count++] = item;
    items[list->count] = NULL;
    list->items = items;
    return 0;
}

/* Another way to write an ssh option.  text: from malloc, or NULL; owned from now on. */
static int add_made(struct reader *r, char *text)
{
    struct options *o = r->o;
    char **made = text ? realloc(o->made, (o->made_count + 1) * sizeof *made) : NULL;

    if (!made) {
        free(text);
        return say_fail(r->error, "NOMEM", "out of memory");
    }
    o->made = made;
    made[o->made_count++] = text;
    return options_list_add(&o->ssh_options, text, r->error);
}

/* KEY="value", as ssh_config quotes. */
static char *quoted(const char *key, const char *value)
{
    char *text = malloc(strlen(key) + 2 * strlen(value) + 4), *at = text;

    if (!text)
        return NULL;
    at += sprintf(at, "%s=\"", key);
    for (; *value; *at++ = *value++) {
        if (*value == '"' || *value == '\\')
            *at++ = '\\';
    }
    memcpy(at, "\"", 2);
    return text;
}

/* From the root on: the broker, which may be who reads it, is somewhere else.  NULL: memory is out.
 */
static char *whole_path(const char *value)
{
    char here[PATH_MAX], *whole;

    if (strchr("/~%$", *value) || !strcmp(value, "none") || !getcwd(here, sizeof here))
        return strdup(value);
    return asprintf(&whole, "%s/%s", here, value) < 0 ? NULL : whole;
}

static char *identity(const char *value)
{
    char *path = whole_path(value), *text = path ? quoted("IdentityFile", path) : NULL;

    free(path);
    return text;
}

static int set_jump(struct reader *r, const char *shown, const char *value)
{
    char *text;

    if (r->o->jumps++)
        return say_fail(r->error, "ARGUMENT", "%s may be given once: put commas between hosts",
                        shown);
    return add_made(r, asprintf(&text, "ProxyJump=%s", value) < 0 ? NULL : text);
}

static int set_port(struct reader *r, const char *shown, const char *value)
{
    char *text;
    long port = strspn(value, "0123456789") == strlen(value) ? strtol(value, NULL, 10) : 0;

    if (port < 1 || port > 65535)
        return say_fail(r->error, "ARGUMENT", "%s needs a port from 1 to 65535, not '%s'", shown,
                        value);
    return add_made(r, asprintf(&text, "Port=%ld", port) < 0 ? NULL : text);
}

static int set_time(struct reader *r, const struct options_entry *entry, const char *shown,
                    const char *value, int64_t *ms)
{
    int rc = quantity_time(value, ms);

    if (entry->kind == OPTIONS_LEASE && (rc < 0 || *ms < LEASE_MIN || *ms > LEASE_MAX))
        return say_fail(r->error, "ARGUMENT", "%s needs a time from 1s to 24h, not '%s'", shown,
                        value);
    if (rc == QUANTITY_TOO_LARGE)
        return say_fail(r->error, "ARGUMENT", "%s is at most 366d, not '%s'", shown, value);
    if (rc < 0)
        return say_fail(r->error, "ARGUMENT",
                        "%s needs a time such as 90, 1.5s, 500ms, 2m or 1h, not '%s'", shown,
                        value);
    if (entry->kind == OPTIONS_SPAN && *ms == 0)
        return say_fail(r->error, "ARGUMENT", "%s needs more time than none", shown);
    return 0;
}

static int set_size(struct reader *r, const char *shown, const char *value, int64_t *bytes)
{
    int rc = quantity_size(value, bytes);

    if (rc == QUANTITY_TOO_LARGE)
        return say_fail(r->error, "ARGUMENT", "%s is at most 1048576T, not '%s'", shown, value);
    if (rc < 0)
        return say_fail(r->error, "ARGUMENT",
                        "%s needs a size such as 4096, 64k, 10M or 1.5G, not '%s'", shown, value);
    return 0;
}

static int set_number(struct reader *r, const char *shown, const char *value, int *number)
{
    int digits = strspn(value, "0123456789") == strlen(value) && strlen(value) < 6;

    *number = digits ? (int)strtol(value, NULL, 10) : 0;
    if (*number < 1 || *number > INSTANCE_MAX)
        return say_fail(r->error, "ARGUMENT", "%s needs a number from 1 to %d, not '%s'", shown,
                        INSTANCE_MAX, value);
    return 0;
}

/* Members of int64_t. */
static int set_many(struct reader *r, const struct options_entry *entry, const char *shown,
                    const char *value, int64_t *number)
{
    if (entry->kind == OPTIONS_SHARE && quantity_share(value, number) < 0)
        return say_fail(r->error, "ARGUMENT",
                        "%s needs a number of hosts, or 1%% to 100%% of them, not '%s'", shown,
                        value);
    if (entry->kind == OPTIONS_WHOLE && (quantity_share(value, number) < 0 || *number < 0))
        return say_fail(r->error, "ARGUMENT", "%s needs a number from 1 on, not '%s'", shown,
                        value);
    return 0;
}

int options_set_value(struct reader *r, const struct options_entry *entry, const char *shown,
                      const char *value)
{
    int64_t *number = (int64_t *)(void *)((char *)r->o + entry->offset);
    struct options_list *list = (struct options_list *)(void *)number;
    const char *equals = strchr(value, '=');

    if (!*value && entry->kind != OPTIONS_SUDO)
        return say_fail(r->error, "ARGUMENT", "%s needs %s, which is empty here", shown,
                        entry->argument);
    switch (entry->kind) {
    case OPTIONS_PAIR:
        if (!equals || equals == value)
            return say_fail(r->error, "ARGUMENT", "%s needs NAME=VALUE, not '%s'", shown, value);
        return options_list_add(list, value, r->error);
    case OPTIONS_NAME:
        if (equals)
            return say_fail(r->error, "ARGUMENT", "%s needs a variable's name, not '%s'", shown,
                            value);
        return options_list_add(list, value, r->error);
    case OPTIONS_LIST:
        return options_list_add(list, value, r->error);
    case OPTIONS_USER:
        return add_made(r, quoted("User", value));
    case OPTIONS_PORT:
        return set_port(r, shown, value);
    case OPTIONS_IDENTITY:
        return add_made(r, identity(value));
    case OPTIONS_JUMP:
        return set_jump(r, shown, value);
    case OPTIONS_TIME:
    case OPTIONS_SPAN:
    case OPTIONS_LEASE:
        return set_time(r, entry, shown, value, number);
    case OPTIONS_NUMBER:
        return set_number(r, shown, value, (int *)(void *)number);
    case OPTIONS_WHOLE:
    case OPTIONS_SHARE:
        return set_many(r, entry, shown, value, number);
    case OPTIONS_SIZE:
        return set_size(r, shown, value, number);
    default:
        *(const char **)(void *)number = value;
        return 0;
    }
}
