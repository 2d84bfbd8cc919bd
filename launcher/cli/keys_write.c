/* Asking whether keys are to be written, and writing them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/keys_impl.h"
#include "launcher/cli/say.h"

/* Can it be written at all?  why: static. */
static int is_writable(const struct keys_found *f, const char **why)
{
    *why = NULL;
    if (f->state == KEYS_CHANGED && !f->own)
        *why = "the old key stands in a file that is not the user's";
    else if (f->state == KEYS_NEW && !f->write_to)
        *why = "ssh_config names no UserKnownHostsFile";
    else if (f->state == KEYS_NEW && !strcmp(f->write_to, "/dev/null"))
        *why = "ssh_config's UserKnownHostsFile is /dev/null";
    return !*why;
}

/* Those of a state, which follow each other, for free. */
static struct keys_found **select_keys(struct keys *k, enum keys_state state, size_t *n)
{
    struct keys_found **some = malloc((k->count + 1) * sizeof *some);
    const char *why;

    *n = 0;
    for (size_t i = 0; some && i < k->count; i++) {
        if (k->found[i].state != state)
            continue;
        if (is_writable(&k->found[i], &why))
            some[(*n)++] = &k->found[i];
        else
            say_note("%s: not to be written: %s", k->names[k->found[i].host], why);
    }
    return some;
}

/* ---- questions ---- */

static size_t count_hosts(struct keys_found *const *keys, size_t n, size_t hosts_max)
{
    char *seen = calloc(hosts_max + 1, 1);
    size_t hosts = 0;

    for (size_t i = 0; seen && i < n; i++) {
        hosts += !seen[keys[i]->host];
        seen[keys[i]->host] = 1;
    }
    free(seen);
    return hosts;
}

static size_t highest_host(struct keys_found *const *keys, size_t n)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++)
        most = keys[i]->host > most ? keys[i]->host : most;
    return most;
}

/* 1: yes; 0: no; -1: there is nobody to ask. */
static int ask(struct keys_found *const *keys, size_t n, enum keys_state state)
{
    FILE *f = fopen("/dev/tty", "r+e");
    size_t hosts = count_hosts(keys, n, highest_host(keys, n));
    char answer[16] = "";
    int yes;

    if (!f)
        return -1;
    if (state == KEYS_CHANGED)
        fprintf(
            f,
            "THE KEYS OF %zu HOST%s HAVE CHANGED. Unless you know why, somebody may stand between "
            "you and them.\nPut these keys in the place of the old ones? [yes/N] ",
            hosts, hosts == 1 ? "" : "S");
    else
        fprintf(f, "Write the new key%s of %zu host%s to known_hosts? [y/N] ", n == 1 ? "" : "s",
                hosts, hosts == 1 ? "" : "s");
    fflush(f);
    if (!fgets(answer, sizeof answer, f))
        answer[0] = '\0';
    fclose(f);
    yes = !strcmp(answer, "yes\n") || (state == KEYS_NEW && !strcmp(answer, "y\n"));
    return yes;
}

/* True when these are to be written; says why not, where nobody has said so himself. */
static int may_write(const struct options *o, struct keys_found *const *keys, size_t n,
                     enum keys_state state)
{
    const char *what = state == KEYS_CHANGED ? "changed" : "new";
    int answer;

    if (state == KEYS_CHANGED && !o->replace) {
        if (!o->quiet)
            say_note("changed keys are left alone; to have them take the place of the old ones: "
                     "--replace");
        return 0;
    }
    answer = o->yes ? 1 : ask(keys, n, state);
    if (answer < 0 && !o->quiet)
        say_note("nothing was written: there is no terminal to ask on; to write %s keys without "
                 "asking: --yes%s",
                 what, state == KEYS_CHANGED ? " --replace" : "");
    return answer > 0;
}

/* ---- writing ---- */

static int report(const struct keys *k, const struct options *o, struct keys_found *const *keys,
                  const struct grapnel_known_host *hosts, size_t n)
{
    size_t written = 0;

    for (size_t i = 0; i < n; i++) {
        written += hosts[i].kept == NULL;
        if (hosts[i].kept && hosts[i].line)
            say_note("%s: not written: %s: %s:%zu", k->names[keys[i]->host], hosts[i].kept,
                     hosts[i].file, hosts[i].line);
        else if (hosts[i].kept)
            say_note("%s: not written: %s: %s", k->names[keys[i]->host], hosts[i].kept,
                     hosts[i].file);
    }
    if (written && !o->quiet)
        say_note("%zu key%s written to known_hosts", written, written == 1 ? "" : "s");
    return written == n ? 0 : -1;
}

static int write_keys(const struct keys *k, const struct options *o, struct keys_found **keys,
                      size_t n)
{
    struct grapnel_known_host *hosts = calloc(n + 1, sizeof *hosts);
    struct grapnel_error error;
    int rc;

    if (!hosts) {
        say_note("out of memory");
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        const struct keys_found *f = keys[i];
        int replaces = f->state == KEYS_CHANGED;

        hosts[i] = (struct grapnel_known_host){.file = replaces ? f->file : f->write_to,
                                               .name = f->name,
                                               .key = f->key,
                                               .old_key = replaces ? f->old_key : NULL,
                                               .hashed = f->hashed};
    }
    rc = grapnel_known_hosts_write(hosts, n, &error);
    if (rc < 0)
        say_error(&error);
    for (size_t i = 0; i < n; i++)
        keys[i]->written = hosts[i].kept == NULL;
    if (report(k, o, keys, hosts, n) < 0)
        rc = -1;
    free(hosts);
    return rc;
}

int keys_write(struct keys *k, const struct options *o)
{
    static const enum keys_state states[] = {KEYS_NEW, KEYS_CHANGED};
    int rc = 0;

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        size_t n;
        struct keys_found **keys = select_keys(k, states[i], &n);

        if (keys && n > 0 && may_write(o, keys, n, states[i]) && write_keys(k, o, keys, n) < 0)
            rc = -1;
        free(keys);
    }
    return rc;
}
