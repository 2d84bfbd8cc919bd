/* The keys of hosts: a job for which nobody logs in.  Each kind of key that is asked for takes a
 * key exchange of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/fleet_impl.h"
#include "launcher/ssh/knownhosts.h"
#include "launcher/ssh/sshconfig.h"
#include "launcher/transport/transport.h"

static const struct {
    const char *name, *algorithms;
} kinds[] = {
    {"ed25519", "ssh-ed25519"},
    {"ecdsa", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521"},
    {"rsa", "rsa-sha2-512,rsa-sha2-256"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

struct scan {
    struct task *task;
    struct route *route;
    struct transport *transport;
    struct transport_scan wish;
    unsigned left;       /* bits of kinds that were not asked for yet */
    struct value *about; /* the result … */
    struct value *keys;  /* … and its list, until they are put together */
};

/* ---- the result ---- */

static int set_text(struct value *map, const char *key, const char *text)
{
    return text ? values_set(map, key, values_text(text)) : 0;
}

static int is_among(const struct sshconfig_list *list, const char *file)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->item[i], file) == 0)
            return 1;
    }
    return 0;
}

static const char *state_of(const struct transport_host_key *key)
{
    switch (key->state) {
    case KNOWNHOSTS_KNOWN:
        return "known";
    case KNOWNHOSTS_CHANGED:
        return "changed";
    case KNOWNHOSTS_REVOKED:
        return "revoked";
    default:
        return key->authority ? "authority" : "new";
    }
}

static int add_key(struct scan *s, const struct transport_host_key *key)
{
    const struct sshconfig_list *user = &route_config(s->route)->user_known_hosts;
    struct value *map = values_map();
    int bad = set_text(map, "type", key->type) | set_text(map, "fingerprint", key->fingerprint) |
              set_text(map, "key", key->key) | values_set(map, "bits", values_int(key->bits)) |
              set_text(map, "state", state_of(key)) | set_text(map, "file", key->file);

    if (key->file)
        bad |= values_set(map, "line", values_int((int64_t)key->line)) |
               values_set(map, "own", values_bool(is_among(user, key->file)));
    bad |= set_text(map, "old_type", key->other_type) |
           set_text(map, "old_fingerprint", key->other_fingerprint) |
           set_text(map, "old_key", key->other_key);
    return values_append(s->keys, map) | bad;
}

/* A key of another kind than those that are known is no change where one of these was shown, too:
 * the host has further ones. */
static int settle(struct scan *s)
{
    struct value *settled = values_array();
    size_t count = values_count(s->keys);
    int known = 0, bad = 0;

    for (size_t i = 0; i < count; i++) {
        const char *state = values_as_string(values_get(values_at(s->keys, i), "state"), NULL);

        known |= state && strcmp(state, "known") == 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct value *map = values_take(s->keys, i);
        const char *type = values_as_string(values_get(map, "type"), NULL);
        const char *old = values_as_string(values_get(map, "old_type"), NULL);

        if (known && old && type && strcmp(type, old) != 0)
            bad |= values_set(map, "state", values_text("new"));
        bad |= values_append(settled, map);
    }
    values_free(s->keys);
    s->keys = NULL;
    return values_set(s->about, "keys", settled) | bad;
}

static int begin_result(struct scan *s)
{
    const struct sshconfig *c = route_config(s->route);
    const char *file = c->user_known_hosts.count ? c->user_known_hosts.item[0] : NULL;
    const char *beside = c->revoked_host_keys     ? "RevokedHostKeys"
                         : c->known_hosts_command ? "KnownHostsCommand"
                                                  : NULL;

    s->about = values_map();
    s->keys = values_array();
    return !s->about || !s->keys || set_text(s->about, "write_to", file) < 0 ||
                   set_text(s->about, "unread", beside) < 0 ||
                   values_set(s->about, "hashed", values_bool(c->hash_known_hosts)) < 0
               ? -E_NOMEM
               : 0;
}

/* ---- one key exchange after the other ---- */

static int begin_exchange(struct scan *s, struct error *e);

static void fail(struct scan *s, const struct error *e)
{
    struct task *t = s->task;

    keys_free(t);
    attempt_failed(t, e);
}

static void finish(struct scan *s)
{
    struct task *t = s->task;
    struct error e = {0};

    if (values_count(s->keys) == 0) {
        errors_set(&e, -E_KEX, "it has no key of the types that were asked for");
    } else if (settle(s) < 0) {
        errors_set(&e, -E_NOMEM, "keys");
    }
    if (e.code) {
        fail(s, &e);
        return;
    }
    t->value = s->about;
    s->about = NULL;
    t->work_over = 1;
    t->ended_us = context_now() - t->opened_us;
    attempt_end(t, WINDOW_CONNECTED);
    task_over(t);
}

static int offers(const char *offered, const char *algorithms)
{
    for (const char *at = algorithms; *at;) {
        size_t n = strcspn(at, ",");

        for (const char *name = offered; *name;) {
            size_t length = strcspn(name, ",");

            if (length == n && memcmp(at, name, n) == 0)
                return 1;
            name += length + (name[length] == ',');
        }
        at += n + (at[n] == ',');
    }
    return 0;
}

static void on_told(void *arg, const struct transport_host_key *key)
{
    struct scan *s = arg;
    struct error e = {0};
    int bad = set_text(s->about, "name", key->name);

    if (key->type)
        bad |= add_key(s, key);
    for (unsigned i = 0; i < KINDS; i++) {
        if (!offers(key->offered, kinds[i].algorithms))
            s->left &= ~(1u << i);
    }
    if (bad) {
        errors_set(&e, -E_NOMEM, "keys");
        fail(s, &e);
    } else if (!s->left) {
        finish(s);
    } else if (begin_exchange(s, &e) < 0) {
        fail(s, &e);
    }
}

static void on_phase(void *arg, enum errors_phase phase, const char *note)
{
    struct scan *s = arg;
    const char *name = errors_phase_name(phase);

    if (*note)
        context_trace(s->task->job->g, 1, route_target(s->route), "%s: %s", name, note);
    attempt_phase(s->task, name, context_now() - s->task->opened_us);
}

static void on_failed(void *arg, const struct error *e)
{
    struct error copy = *e;

    fail(arg, &copy);
}

static void on_trace(void *arg, int level, const char *text)
{
    struct scan *s = arg;

    context_trace(s->task->job->g, level, route_target(s->route), "%s", text);
}

static int begin_exchange(struct scan *s, struct error *e)
{
    static const struct transport_handler handler = {
        .phase = on_phase, .failed = on_failed, .trace = on_trace};
    unsigned i = 0;

    while (s->left && !(s->left >> i & 1))
        i++;
    s->wish = (struct transport_scan){.algorithms = s->left ? kinds[i].algorithms : NULL,
                                      .told = on_told};
    if (s->left)
        s->left &= ~(1u << i);
    transport_free(s->transport);
    s->transport = route_start(s->route, "", &handler, s, e);
    return s->transport ? 0 : e->code;
}

/* ---- for tasks ---- */

int keys_begin(struct task *t, struct route *route, struct error *e)
{
    struct scan *s = calloc(1, sizeof *s);

    if (!s) {
        route_free(route);
        return errors_set(e, -E_NOMEM, "keys");
    }
    t->scan = s;
    s->task = t;
    s->route = route;
    s->left = t->job->key_kinds;
    if (begin_result(s) < 0)
        errors_set(e, -E_NOMEM, "keys");
    else if (route_set_scan(route, &s->wish, e) == 0 && begin_exchange(s, e) == 0)
        return 0;
    keys_free(t);
    return e->code;
}

void keys_free(struct task *t)
{
    struct scan *s = t->scan;

    if (!s)
        return;
    t->scan = NULL;
    transport_free(s->transport);
    route_free(s->route);
    values_free(s->about);
    values_free(s->keys);
    free(s);
}

char *keys_name(const struct route *route)
{
    const struct sshconfig *c = route_config(route);
    char *name;

    return asprintf(&name, "keys of %s %u at %s %u by %s %s", c->lookup_name, c->lookup_port,
                    c->host, c->port, c->proxy_jump ? c->proxy_jump : "",
                    c->proxy_command ? c->proxy_command : "") < 0
               ? NULL
               : name;
}

/* Of "ed25519,rsa": 0, or -E_ARGUMENT. */
static int read_kinds(const char *text, unsigned *out, struct error *e)
{
    *out = 0;
    while (text && *text) {
        size_t n = strcspn(text, ","), i = 0;

        while (i < KINDS && !(strlen(kinds[i].name) == n && !memcmp(kinds[i].name, text, n)))
            i++;
        if (n == 3 && !memcmp(text, "all", n))
            *out |= (1u << KINDS) - 1;
        else if (i < KINDS)
            *out |= 1u << i;
        else
            return errors_set(e, -E_ARGUMENT,
                              "types of keys are ed25519, ecdsa, rsa and all, not '%.*s'",
                              (int)(n < 60 ? n : 60), text);
        text += n + (text[n] == ',');
    }
    return 0;
}

struct grapnel_fleet_job *grapnel_fleet_keys(struct grapnel_fleet *f, const char *wanted,
                                             const struct grapnel_fleet_handler *handler, void *arg,
                                             struct grapnel_error *error)
{
    struct grapnel_fleet_job *job;
    struct error e = {0};

    context_lock(f->g);
    job = job_new(f, JOB_KEYS, handler, arg, &e);
    if (job)
        read_kinds(wanted, &job->key_kinds, &e);
    job = job_start(job, &e, error);
    context_unlock(f->g);
    return job;
}
