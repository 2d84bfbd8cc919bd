#include "launcher/ssh/keyring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/ssh/ask.h"
#include "launcher/ssh/asker.h"

struct keyring_key {
    struct keyring_key *next;
    struct keyring *ring;
    char *path;
    struct keyfile *file; /* NULL: not readable */
    struct error why;     /* ... for this reason */
    struct stat read;     /* of the file when it was read; all zero: there was none */
    struct unlock *unlock;
    struct keyring_wait *waits;
    int given_up;
};

struct keyring_wait {
    struct keyring_wait *next;
    struct keyring_key *key;
    void (*done)(void *arg, int code, const struct error *e);
    void *arg;
};

struct keyring {
    struct blocking *blocking;
    struct keyring_key *keys;
};

/* A question under way.  The thread owns all but `key`, and works on a key of its own, as others
 * read the shared one meanwhile. */
struct unlock {
    struct keyring_key *key; /* NULL: the keyring is gone */
    struct blocking_job *job;
    int cancel[2]; /* a pipe: closing [1] withdraws the question */
    int batch;
    struct asker *asker;
    char *path;
    struct keyfile *file;
    int code;
    struct error e;
};

struct keyring *keyring_new(struct blocking *blocking)
{
    struct keyring *k = calloc(1, sizeof *k);

    if (k)
        k->blocking = blocking;
    return k;
}

static void unlock_free(struct unlock *u)
{
    if (!u)
        return;
    for (int i = 0; i < 2; i++) {
        if (u->cancel[i] >= 0)
            close(u->cancel[i]);
    }
    keyfile_free(u->file);
    asker_free(u->asker);
    free(u->path);
    free(u);
}

static void key_free(struct keyring_key *key)
{
    struct keyring_wait *w;

    while ((w = key->waits)) {
        key->waits = w->next;
        free(w);
    }
    if (key->unlock) {
        key->unlock->key = NULL;
        close(key->unlock->cancel[1]);
        key->unlock->cancel[1] = -1;
        blocking_cancel(key->unlock->job);
    }
    keyfile_free(key->file);
    free(key->path);
    free(key);
}

void keyring_free(struct keyring *k)
{
    struct keyring_key *key;

    if (!k)
        return;
    while ((key = k->keys)) {
        k->keys = key->next;
        key_free(key);
    }
    free(k);
}

static int has_changed(const struct keyring_key *key, const struct stat *now)
{
    const struct stat *was = &key->read;

    return !key->file || was->st_ino != now->st_ino || was->st_dev != now->st_dev ||
           was->st_size != now->st_size || was->st_mtim.tv_sec != now->st_mtim.tv_sec ||
           was->st_mtim.tv_nsec != now->st_mtim.tv_nsec;
}

/* A process that lives long must not go on with what has been replaced since. */
static void look(struct keyring_key *key)
{
    struct stat now = {0};

    if (stat(key->path, &now) < 0)
        memset(&now, 0, sizeof now);
    if (key->unlock || key->waits || !has_changed(key, &now))
        return;
    keyfile_free(key->file);
    key->file = NULL;
    key->given_up = 0;
    key->read = now;
    keyfile_load(key->path, NULL, 0, &key->file, &key->why);
}

void keyring_forgive(struct keyring *k)
{
    for (struct keyring_key *key = k->keys; key; key = key->next)
        key->given_up = 0;
}

int keyring_get(struct keyring *k, const char *path, struct keyring_key **out, struct error *e)
{
    struct keyring_key *key = k->keys, **end = &k->keys;

    while (key && strcmp(key->path, path) != 0) {
        end = &key->next;
        key = key->next;
    }
    if (!key) {
        key = calloc(1, sizeof *key);
        if (!key || !(key->path = strdup(path))) {
            free(key);
            return errors_set(e, -E_NOMEM, "%s", path);
        }
        key->ring = k;
        *end = key;
    }
    look(key);
    *out = key;
    if (!key->file && e)
        *e = key->why;
    return key->file ? 0 : key->why.code;
}

const struct keyfile *keyring_file(const struct keyring_key *key)
{
    return key->file;
}

static void unlock_work(void *arg)
{
    struct unlock *u = arg;
    char prompt[4200];

    snprintf(prompt, sizeof prompt, "Enter passphrase for key '%s': ", u->path);
    for (int i = 0; i < KEYRING_PROMPTS; i++) {
        struct ask_options ask = {.kind = ASK_PASSPHRASE, .prompt = prompt};
        char *secret = NULL;
        size_t n = 0;

        ask.cancel_fd = u->cancel[0];
        ask.asker = u->asker;
        ask.batch = u->batch;
        u->code = ask_secret(&ask, &secret, &n, &u->e);
        if (u->code == -E_UNSUPPORTED)
            errors_set(&u->e, u->code, "%.500s is encrypted, and there is nobody to ask (%s)",
                       u->path, ask_why_not(&ask));
        if (u->code < 0)
            return;
        /* An empty answer skips this key, as with ssh. */
        if (!n)
            u->code = errors_set(&u->e, -E_PASSPHRASE, "%s: no passphrase was given", u->path);
        else
            u->code = keyfile_load(u->path, secret, n, &u->file, &u->e);
        ask_free(secret);
        if (!n || u->code != -E_PASSPHRASE)
            return;
    }
}

static void unlock_done(void *arg, int cancelled)
{
    struct unlock *u = arg;
    struct keyring_key *key = u->key;
    struct keyring_wait *w;

    if (cancelled || !key) {
        unlock_free(u);
        return;
    }
    key->unlock = NULL;
    if (u->code == 0) {
        keyfile_free(key->file);
        key->file = u->file;
        u->file = NULL;
    } else if (u->code == -E_PASSPHRASE || u->code == -E_UNSUPPORTED) {
        key->given_up = 1;
    }
    if (u->code == -E_UNSUPPORTED)
        u->code = u->e.code = -E_PASSPHRASE;
    /* One that is told may free others that wait: each is taken off before it is told. */
    while ((w = key->waits)) {
        key->waits = w->next;
        w->key = NULL;
        w->done(w->arg, u->code, &u->e);
        free(w);
    }
    unlock_free(u);
}

static int unlock_start(struct keyring_key *key, int batch, struct asker *asker)
{
    struct unlock *u = calloc(1, sizeof *u);

    if (!u)
        return -E_NOMEM;
    u->cancel[0] = u->cancel[1] = -1;
    u->batch = batch;
    u->asker = asker_hold(asker);
    u->path = strdup(key->path);
    if (!u->path || pipe2(u->cancel, O_CLOEXEC) < 0)
        goto out;
    u->key = key;
    u->job = blocking_run(key->ring->blocking, unlock_work, unlock_done, u);
    if (!u->job)
        goto out;
    key->unlock = u;
    return 0;
out:
    unlock_free(u);
    return -E_SYSTEM;
}

struct keyring_wait *keyring_unlock(struct keyring *k, struct keyring_key *key, int batch,
                                    struct asker *asker,
                                    void (*done)(void *arg, int code, const struct error *e),
                                    void *arg, struct error *e)
{
    struct keyring_wait *w;
    int code = 0;

    (void)k;
    if (key->given_up) {
        errors_set(e, -E_PASSPHRASE, "%s: given up before", key->path);
        return NULL;
    }
    w = calloc(1, sizeof *w);
    if (!w) {
        errors_set(e, -E_NOMEM, "%s", key->path);
        return NULL;
    }
    if (!key->unlock)
        code = unlock_start(key, batch, asker);
    if (code < 0) {
        errors_set(e, code, "%s: no thread to ask for its passphrase", key->path);
        free(w);
        return NULL;
    }
    *w = (struct keyring_wait){.next = key->waits, .key = key, .done = done, .arg = arg};
    key->waits = w;
    return w;
}

void keyring_unwait(struct keyring_wait *w)
{
    struct keyring_wait **at;

    if (!w || !w->key)
        return;
    at = &w->key->waits;
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
    free(w);
}
