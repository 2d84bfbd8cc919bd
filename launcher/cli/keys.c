#include "launcher/cli/keys.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/cli/fleet/fleet.h"
#include "launcher/cli/keys_impl.h"
#include "launcher/cli/say.h"

#define KEYS_UNWRITTEN 1 /* exit status: something is not known */

static const char *text_at(const struct grapnel_value *map, const char *key)
{
    return grapnel_value_string(grapnel_value_get(map, key), NULL);
}

/* ---- what hosts have shown ---- */

static char *copy(struct keys *k, const char *text)
{
    char *own = text ? strdup(text) : NULL;

    k->no_memory |= text && !own;
    return own;
}

static enum keys_state state_of(const char *text)
{
    static const char *const names[KEYS_STATES] = {"revoked", "changed", "new", "authority",
                                                   "known"};
    int state = 0;

    while (state < KEYS_STATES && strcmp(names[state], text ? text : "") != 0)
        state++;
    return state < KEYS_STATES ? (enum keys_state)state : KEYS_NEW;
}

static void add(struct keys *k, size_t host, const struct grapnel_value *about,
                const struct grapnel_value *key)
{
    struct keys_found *f;

    if (k->count == k->size) {
        size_t size = k->size ? 2 * k->size : 64;
        struct keys_found *found = realloc(k->found, size * sizeof *found);

        k->no_memory |= !found;
        if (!found)
            return;
        k->found = found;
        k->size = size;
    }
    f = &k->found[k->count++];
    *f = (struct keys_found){
        .host = host,
        .state = state_of(text_at(key, "state")),
        .type = copy(k, text_at(key, "type")),
        .fingerprint = copy(k, text_at(key, "fingerprint")),
        .key = copy(k, text_at(key, "key")),
        .file = copy(k, text_at(key, "file")),
        .old_type = copy(k, text_at(key, "old_type")),
        .old_fingerprint = copy(k, text_at(key, "old_fingerprint")),
        .old_key = copy(k, text_at(key, "old_key")),
        .line = (long)grapnel_value_int(grapnel_value_get(key, "line"), 0),
        .own = grapnel_value_bool(grapnel_value_get(key, "own"), 0),
        .name = copy(k, text_at(about, "name")),
        .write_to = copy(k, text_at(about, "write_to")),
        .hashed = grapnel_value_bool(grapnel_value_get(about, "hashed"), 0),
    };
}

static void on_ended(void *arg, const struct grapnel_fleet_result *r)
{
    const struct grapnel_value *keys = grapnel_value_get(r->value, "keys");
    struct keys *k = arg;

    if (text_at(r->value, "unread") && !k->unread)
        k->unread = !strcmp(text_at(r->value, "unread"), "RevokedHostKeys") ? "RevokedHostKeys"
                                                                            : "KnownHostsCommand";
    for (size_t i = 0; keys && i < grapnel_value_count(keys); i++)
        add(k, r->host, r->value, grapnel_value_at(keys, i));
}

static void clear(struct keys *k)
{
    for (size_t i = 0; i < k->count; i++) {
        struct keys_found *f = &k->found[i];
        char *const texts[] = {f->type,    f->fingerprint, f->key,
                               f->file,    f->old_type,    f->old_fingerprint,
                               f->old_key, f->name,        f->write_to};

        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
            free(texts[t]);
    }
    free(k->found);
}

/* ---- the verb ---- */

static int exit_status(const struct keys *k)
{
    for (size_t i = 0; i < k->count; i++) {
        enum keys_state state = k->found[i].state;

        if (state != KEYS_KNOWN && state != KEYS_AUTHORITY && !k->found[i].written)
            return KEYS_UNWRITTEN;
    }
    return 0;
}

static int finish(void *arg, const struct options *o, const char *const *names, int stopped)
{
    struct keys *k = arg;
    struct grapnel_error error;
    int rc = 0;

    k->names = names;
    if (k->no_memory)
        rc = say_fail(&error, "NOMEM", "out of memory");
    else if (!o->json)
        rc = keys_show(k, o, &error);
    if (rc < 0) {
        say_error(&error);
        return SAY_FAILED;
    }
    if (k->unread && !o->quiet)
        say_note("ssh_config's %s was not looked at: only the OpenSSH client does", k->unread);
    if (!stopped && keys_write(k, o) < 0)
        return SAY_FAILED;
    return exit_status(k);
}

static void json_of(json_t *object, const struct grapnel_fleet_result *r)
{
    char *text = grapnel_value_json(r->value);
    json_t *about = text ? json_loads(text, 0, NULL) : NULL;

    grapnel_string_free(text);
    json_object_set(object, "known_as", json_object_get(about, "name"));
    json_object_set(object, "keys", json_object_get(about, "keys"));
    if (json_object_get(about, "unread"))
        json_object_set(object, "unread", json_object_get(about, "unread"));
    json_decref(about);
}

static struct grapnel_fleet_job *start(const struct fleet_kind *kind, const struct options *o,
                                       struct grapnel_fleet *f,
                                       const struct grapnel_fleet_handler *handler, void *arg,
                                       struct grapnel_error *error)
{
    (void)kind;
    return grapnel_fleet_keys(f, o->key_types, handler, arg, error);
}

int keys_verb(const struct options *o)
{
    struct keys k = {.count = 0};
    const struct fleet_kind kind = {
        .start = start, .json = json_of, .ended = on_ended, .finish = finish, .arg = &k};
    int status = fleet_verb(o, &kind);

    clear(&k);
    return status;
}
