#include "launcher/ssh/sshfiles.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_MAX 64 /* of either: what differs in more ways is read each time */

struct kept {
    struct wire_buf name; /* what it was made of */
    void *thing;
    void (*drop)(void *thing);
};

struct sshfiles {
    size_t holders, count;
    struct kept kept[KEPT_MAX];
};

struct sshfiles *sshfiles_new(void)
{
    return calloc(1, sizeof(struct sshfiles));
}

static void drop_all(struct sshfiles *f)
{
    while (f->count > 0) {
        struct kept *k = &f->kept[--f->count];

        wire_free(&k->name);
        k->drop(k->thing);
        *k = (struct kept){0};
    }
}

void sshfiles_free(struct sshfiles *f)
{
    if (!f)
        return;
    drop_all(f);
    free(f);
}

void sshfiles_hold(struct sshfiles *f)
{
    f->holders++;
}

void sshfiles_release(struct sshfiles *f)
{
    if (--f->holders == 0)
        drop_all(f);
}

/* ---- names ---- */

static int put_text(struct wire_buf *b, const char *text)
{
    /* The terminating zero separates; what is not there differs from what is empty. */
    return wire_put_u8(b, text != NULL) | (text ? wire_put(b, text, strlen(text) + 1) : 0);
}

int sshfiles_name(struct wire_buf *b, char kind, const char *first, const char *const *list,
                  size_t n)
{
    int bad = wire_put_u8(b, (uint8_t)kind) | put_text(b, first);

    for (size_t i = 0; i < n; i++)
        bad |= put_text(b, list[i]);
    return bad ? -E_NOMEM : 0;
}

void *sshfiles_find(struct sshfiles *f, const struct wire_buf *name)
{
    size_t n = wire_length(name);

    for (size_t i = 0; i < f->count; i++) {
        if (wire_length(&f->kept[i].name) == n &&
            memcmp(wire_data(&f->kept[i].name), wire_data(name), n) == 0)
            return f->kept[i].thing;
    }
    return NULL;
}

int sshfiles_keep(struct sshfiles *f, struct wire_buf *name, void *thing, void (*drop)(void *thing))
{
    if (!f->holders || f->count == KEPT_MAX)
        return 0;
    f->kept[f->count++] = (struct kept){*name, thing, drop};
    *name = (struct wire_buf){0};
    return 1;
}

/* ---- ssh_config ---- */

static int load(struct sshconfig_set *set, const char *host, struct sshconfig **out,
                struct sshsources **sources, struct error *e)
{
    *sources = sshsources_hold(sshconfig_sources(set));
    return sshconfig_load(set, host, NULL, 0, 0, out, e);
}

static int config_alone(const struct sshconfig_options *options, const char *host,
                        struct sshconfig **out, struct sshsources **sources, struct error *e)
{
    struct sshconfig_set *set = NULL;
    int rc = sshconfig_open(options, &set, e);

    if (rc == 0)
        rc = load(set, host, out, sources, e);
    sshconfig_close(set); /* the files may be large, and servers many */
    return rc;
}

static void close_set(void *set)
{
    sshconfig_close(set);
}

int sshfiles_config(struct sshfiles *f, const struct sshconfig_options *options, const char *host,
                    struct sshconfig **out, struct sshsources **sources, struct error *e)
{
    struct wire_buf name = {0};
    struct sshconfig_set *set;
    int rc, kept;

    if (!f || !f->holders)
        return config_alone(options, host, out, sources, e);
    rc = sshfiles_name(&name, 'c', options->file, options->settings, options->settings_count);
    if (rc < 0) {
        wire_free(&name);
        return errors_set(e, rc, "ssh_config");
    }
    set = sshfiles_find(f, &name);
    kept = set != NULL;
    if (!set && (rc = sshconfig_open(options, &set, e)) == 0)
        kept = sshfiles_keep(f, &name, set, close_set);
    wire_free(&name);
    if (rc == 0)
        rc = load(set, host, out, sources, e);
    if (!kept)
        sshconfig_close(set);
    return rc;
}
