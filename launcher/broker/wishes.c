#include "launcher/broker/wishes.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct wishes {
    struct grapnel_connect_options options;
    struct grapnel_instance_options instance;
    struct value *map; /* what the texts lie in */
    const char **identity_files, **ssh_options, **env, **unset;
};

/* What ssh would find from here; "~", "%" and the like mean the same everywhere. */
static struct value *put_path(const char *path)
{
    char here[PATH_MAX], *whole;
    struct value *v;

    if (!strchr("/~%$", *path) && strcmp(path, "none") != 0 && getcwd(here, sizeof here) &&
        asprintf(&whole, "%s/%s", here, path) >= 0) {
        v = values_text(whole);
        free(whole);
        return v;
    }
    return values_text(path);
}

static void put_text(struct value *map, const char *key, const char *text)
{
    if (text)
        values_set(map, key, values_text(text));
}

static void put_list(struct value *map, const char *key, const char *const *list,
                     struct value *(*put)(const char *))
{
    struct value *array = list && *list ? values_array() : NULL;

    for (; array && *list; list++)
        values_append(array, put(*list));
    if (array)
        values_set(map, key, array);
}

struct value *wishes_put(const struct grapnel_connect_options *o)
{
    struct value *map = values_map();

    if (!map)
        return NULL;
    put_text(map, "user", o->user);
    put_text(map, "transport", o->transport);
    put_text(map, "sudo_user", o->sudo_user);
    if (o->config_file)
        values_set(map, "config_file", put_path(o->config_file));
    put_list(map, "identity_files", o->identity_files, put_path);
    put_list(map, "ssh_options", o->ssh_options, values_text);
    values_set(map, "late_options", values_int((int64_t)o->late_options));
    values_set(map, "port", values_int(o->port));
    values_set(map, "connect_timeout", values_int(o->connect_timeout));
    values_set(map, "lease", values_int(o->lease));
    values_set(map, "interactive", values_bool(o->interactive));
    values_set(map, "cache_agent", values_bool(o->cache_agent));
    return map;
}

static void put_number(struct value *map, const char *key, int64_t number)
{
    if (number)
        values_set(map, key, values_int(number));
}

struct value *wishes_put_instance(const struct grapnel_instance_options *o)
{
    struct value *map = values_map();

    if (!map)
        return NULL;
    put_number(map, "memory", o->memory);
    put_number(map, "cpu", o->cpu_seconds);
    put_number(map, "depth", o->depth);
    put_text(map, "cwd", o->cwd);
    put_list(map, "env", o->env, values_text);
    put_list(map, "unset", o->unset, values_text);
    return map;
}

static const char *get_text(const struct value *map, const char *key)
{
    return values_as_string(values_get(map, key), NULL);
}

/* The texts of an array, NULL-terminated; NULL: there are none, or memory is out (*bad). */
static const char **get_list(const struct value *map, const char *key, int *bad)
{
    const struct value *array = values_get(map, key);
    size_t count = values_count(array), n = 0;
    const char **list = count ? calloc(count + 1, sizeof *list) : NULL;

    *bad |= count && !list;
    for (size_t i = 0; list && i < count; i++) {
        const char *text = values_as_string(values_at(array, i), NULL);
        if (text)
            list[n++] = text;
    }
    return list;
}

static int64_t get_number(const struct value *map, const char *key, int64_t most)
{
    int64_t n = values_as_int(values_get(map, key), 0);

    return n > 0 && n <= most ? n : 0;
}

static void get_instance(struct wishes *w, const struct value *map, int *bad)
{
    w->env = get_list(map, "env", bad);
    w->unset = get_list(map, "unset", bad);
    w->instance = (struct grapnel_instance_options){
        .memory = get_number(map, "memory", INT64_MAX),
        .cpu_seconds = get_number(map, "cpu", INT64_MAX),
        .depth = (int)get_number(map, "depth", INT_MAX),
        .cwd = get_text(map, "cwd"),
        .env = w->env,
        .unset = w->unset,
    };
}

struct wishes *wishes_get(const struct value *map)
{
    struct wishes *w = calloc(1, sizeof *w);
    struct wire_buf copy = {0};
    int64_t port, late;
    int bad = 0;

    if (!w || values_encode(map, &copy) < 0 ||
        values_decode(wire_data(&copy), wire_length(&copy), &w->map) < 0) {
        wire_free(&copy);
        free(w);
        return NULL;
    }
    wire_free(&copy);
    map = w->map;
    w->identity_files = get_list(map, "identity_files", &bad);
    w->ssh_options = get_list(map, "ssh_options", &bad);
    port = values_as_int(values_get(map, "port"), 0);
    late = values_as_int(values_get(map, "late_options"), 0);
    w->options = (struct grapnel_connect_options){
        .user = get_text(map, "user"),
        .port = port > 0 && port <= 65535 ? (unsigned)port : 0,
        .config_file = get_text(map, "config_file"),
        .identity_files = w->identity_files,
        .ssh_options = w->ssh_options,
        .late_options = late > 0 ? (size_t)late : 0,
        .transport = get_text(map, "transport"),
        .sudo_user = get_text(map, "sudo_user"),
        .connect_timeout = values_as_int(values_get(map, "connect_timeout"), 0),
        .lease = values_as_int(values_get(map, "lease"), 0),
        .interactive = values_as_bool(values_get(map, "interactive"), 0),
        .cache_agent = values_as_bool(values_get(map, "cache_agent"), 0),
    };
    get_instance(w, map, &bad);
    if (bad) {
        wishes_free(w);
        return NULL;
    }
    return w;
}

struct grapnel_connect_options *wishes_options(struct wishes *w)
{
    return &w->options;
}

const struct grapnel_instance_options *wishes_instance(const struct wishes *w)
{
    return &w->instance;
}

int wishes_cover(const struct wishes *a, const struct wishes *b)
{
    const struct value *key, *value;

    for (size_t i = 0; values_pair(b->map, i, &key, &value); i++) {
        if (!values_equal(values_get(a->map, values_as_string(key, NULL)), value))
            return 0;
    }
    return 1;
}

void wishes_free(struct wishes *w)
{
    if (!w)
        return;
    values_free(w->map);
    free(w->identity_files);
    free(w->ssh_options);
    free(w->env);
    free(w->unset);
    free(w);
}
