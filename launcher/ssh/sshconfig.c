#include "launcher/ssh/sshconfig.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/ssh/sshconfig_impl.h"

#define SYSTEM_FILE     "/etc/ssh/ssh_config"
#define TIMEOUT_DEFAULT 10000u /* ms for `ssh -G` */

/* Who we are: ssh goes by the passwd entry, not by HOME; without an entry the environment does. */
static int find_self(struct sshconfig_set *set, const struct sshconfig_options *options,
                     struct error *e)
{
    int rc = 0;
    const char *home = options->home, *user = options->local_user;
    char *buffer = malloc(16384);
    struct passwd pw, *found = NULL;
    if (buffer == NULL)
        return errors_set(e, -E_NOMEM, "ssh_config");
    if (home == NULL || user == NULL)
        (void)getpwuid_r(getuid(), &pw, buffer, 16384, &found);
    if (home == NULL)
        home = found != NULL ? found->pw_dir : getenv("HOME");
    if (user == NULL)
        user = found != NULL ? found->pw_name : getenv("USER");
    if (home == NULL || user == NULL) {
        rc = errors_set(e, -E_CONFIG, "this user has no passwd entry, and HOME or USER is not set");
        goto out;
    }
    set->home = strdup(home);
    set->local_user = strdup(user);
    if (set->home == NULL || set->local_user == NULL)
        rc = errors_set(e, -E_NOMEM, "ssh_config");
out:
    free(buffer);
    return rc;
}

/* What `ssh -G` must be told again. */
static int keep_options(struct sshconfig_set *set, const struct sshconfig_options *options)
{
    set->ssh_program = strdup(options->ssh_program == NULL ? "ssh" : options->ssh_program);
    set->file = options->file == NULL ? NULL : strdup(options->file);
    set->settings = calloc(options->settings_count + 1, sizeof *set->settings);
    set->no_environment = options->no_environment;
    if (set->ssh_program == NULL || set->settings == NULL ||
        (options->file != NULL && set->file == NULL))
        return -E_NOMEM;
    for (size_t i = 0; i < options->settings_count; i++) {
        set->settings[i] = strdup(options->settings[i]);
        if (set->settings[i] == NULL)
            return -E_NOMEM;
        set->settings_count++;
    }
    return 0;
}

static int read_all(struct sshconfig_set *set, const struct sshconfig_options *options,
                    struct error *e)
{
    char path[4096];
    int rc = sshconfig_read_settings(set, options->settings, options->settings_count, e);
    if (rc != 0)
        return rc;
    if (options->file != NULL)
        return strcmp(options->file, "none") == 0
                   ? 0
                   : sshconfig_read_file(set, options->file, WHERE_GIVEN, e);
    if (snprintf(path, sizeof path, "%s/.ssh/config", set->home) < (int)sizeof path)
        rc = sshconfig_read_file(set, path, WHERE_USER, e);
    if (rc == 0)
        rc = sshconfig_read_file(set,
                                 options->system_file == NULL ? SYSTEM_FILE : options->system_file,
                                 WHERE_SYSTEM, e);
    return rc;
}

int sshconfig_open(const struct sshconfig_options *options, struct sshconfig_set **out,
                   struct error *e)
{
    static const struct sshconfig_options usual;
    *out = NULL;
    struct sshconfig_set *set = calloc(1, sizeof *set);
    if (set == NULL)
        return errors_set(e, -E_NOMEM, "ssh_config");
    if (options == NULL)
        options = &usual;
    int rc = find_self(set, options, e);
    if (rc == 0 && keep_options(set, options) != 0)
        rc = errors_set(e, -E_NOMEM, "ssh_config");
    if (rc == 0)
        rc = read_all(set, options, e);
    if (rc != 0)
        sshconfig_close(set);
    else
        *out = set;
    return rc;
}

void sshconfig_close(struct sshconfig_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++)
        free(set->at[i].argv);
    for (size_t i = 0; i < set->names_count; i++)
        free(set->names[i]);
    for (size_t i = 0; i < set->settings_count; i++)
        free(set->settings[i]);
    sshsources_free(set->sources);
    free(set->at);
    free(set->names);
    free(set->settings);
    free(set->home);
    free(set->local_user);
    free(set->ssh_program);
    free(set->file);
    free(set);
}

struct sshsources *sshconfig_sources(const struct sshconfig_set *set)
{
    return set->sources;
}

/* Names that end up in argument lists and files. */
static int is_sane(const char *s)
{
    if (s[0] == '\0' || s[0] == '-' || strlen(s) >= SSHCONFIG_HOST_MAX)
        return 0;
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return 0;
    return 1;
}

static int check_names(const char *host, const char *user, unsigned port, struct error *e)
{
    if (!is_sane(host))
        return errors_set(e, -E_ARGUMENT,
                          "host name is empty, too long, begins with - or has "
                          "control characters");
    if (user != NULL && !is_sane(user))
        return errors_set(e, -E_ARGUMENT,
                          "user name is empty, too long, begins with - or has "
                          "control characters");
    return port > 65535 ? errors_set(e, -E_ARGUMENT, "port %u", port) : 0;
}

static int evaluate(const struct sshconfig_set *set, const char *host, const char *user,
                    unsigned port, int all, struct sshconfig **out, struct error *e)
{
    struct sshconfig_picked p = {.typed = host, .user = user, .port = port, .all = all};
    int rc = sshconfig_eval(set, &p, e);
    if (rc == 0)
        rc = sshconfig_finish(set, &p, out, e);
    free(p.lists);
    free(p.replaced);
    return rc;
}

int sshconfig_lookup(const struct sshconfig_set *set, const char *host, const char *user,
                     unsigned port, struct sshconfig **out, struct error *e)
{
    *out = NULL;
    int rc = check_names(host, user, port, e);
    return rc != 0 ? rc : evaluate(set, host, user, port, 0, out, e);
}

/* ssh prints its own defaults as if they had been asked for; where they stand in `bare` as well,
 * nobody asked. */
static void drop_default(char **value, const char *bare)
{
    if (*value != NULL && bare != NULL && strcmp(*value, bare) == 0) {
        free(*value);
        *value = NULL;
    }
}

/* Evaluates what `ssh -G` printed.  `text` is changed. */
static int from_dump(const struct sshconfig_set *set, char *text, const char *host,
                     const char *user, unsigned port, struct sshconfig **out, struct error *e)
{
    *out = NULL;
    struct sshconfig_set *dump = calloc(1, sizeof *dump);
    if (dump == NULL)
        return errors_set(e, -E_NOMEM, "ssh -G");
    dump->home = set->home;
    dump->local_user = set->local_user;
    dump->no_environment = set->no_environment;
    int rc = sshconfig_read_dump(dump, text, e);
    if (rc == 0)
        rc = evaluate(dump, host, user, port, 1, out, e);
    dump->home = dump->local_user = NULL;
    sshconfig_close(dump);
    return rc;
}

static int ask_ssh(const struct sshconfig_set *set, const char *host, const char *user,
                   unsigned port, unsigned timeout_ms, struct sshconfig **out, struct error *e)
{
    char *text = NULL, *bare_text = NULL;
    struct sshconfig *bare = NULL;
    int rc = sshconfig_run(set, host, user, port, 0, timeout_ms, &text, e);
    if (rc == 0)
        rc = from_dump(set, text, host, user, port, out, e);
    if (rc == 0)
        rc = sshconfig_run(set, host, user, port, 1, timeout_ms, &bare_text, e);
    if (rc == 0)
        rc = from_dump(set, bare_text, host, user, port, &bare, e);
    if (rc == 0) {
        struct sshconfig *c = *out;
        drop_default(&c->hostkey_algorithms, bare->hostkey_algorithms);
        drop_default(&c->kex_algorithms, bare->kex_algorithms);
        drop_default(&c->ciphers, bare->ciphers);
        drop_default(&c->macs, bare->macs);
        drop_default(&c->pubkey_algorithms, bare->pubkey_algorithms);
        c->user_set = user != NULL || strcmp(c->user, set->local_user) != 0;
    } else {
        sshconfig_free(*out);
        *out = NULL;
    }
    sshconfig_free(bare);
    free(text);
    free(bare_text);
    return rc;
}

int sshconfig_load(const struct sshconfig_set *set, const char *host, const char *user,
                   unsigned port, unsigned timeout_ms, struct sshconfig **out, struct error *e)
{
    int rc = sshconfig_lookup(set, host, user, port, out, e);
    if (rc != 0 || !(*out)->needs_ssh_g)
        return rc;
    struct sshconfig *ours = *out;
    struct error why = {0};
    *out = NULL;
    rc = ask_ssh(set, host, user, port, timeout_ms == 0 ? TIMEOUT_DEFAULT : timeout_ms, out, &why);
    if (rc != 0)
        (void)errors_set(e, rc, "%s, so `ssh -G` was asked: %.500s", ours->ssh_g_why, why.detail);
    sshconfig_free(ours);
    return rc;
}
