/* ~, % tokens and ${VAR} in values. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/ssh/sshconfig_impl.h"
#include "launcher/ssh/transport_ssh2.h"

#define EXPANDED_MAX 8192 /* bytes of a value after expansion */

/* A growing text with a limit; once `failed` it stays so. */
struct text {
    char *s;
    size_t n;
    int failed;
};

static void put_n(struct text *t, const char *s, size_t n)
{
    if (t->failed)
        return;
    if (t->n + n >= EXPANDED_MAX) {
        t->failed = -E_LIMIT;
        return;
    }
    memcpy(t->s + t->n, s, n);
    t->n += n;
    t->s[t->n] = '\0';
}

static void put(struct text *t, const char *s)
{
    put_n(t, s, strlen(s));
}

/* The home folder of `name` (n bytes).  Copied to `out`; 0 or -E_CONFIG. */
static int home_of(const char *name, size_t n, char *out, size_t size)
{
    char user[256], *buffer = malloc(16384);
    struct passwd pw, *found = NULL;
    int rc = -E_CONFIG;
    if (buffer != NULL && n < sizeof user) {
        memcpy(user, name, n);
        user[n] = '\0';
        if (getpwnam_r(user, &pw, buffer, 16384, &found) == 0 && found != NULL &&
            (size_t)snprintf(out, size, "%s", found->pw_dir) < size)
            rc = 0;
    }
    free(buffer);
    return rc;
}

/* Puts what ~ stands for, and sets *s behind it. */
static int put_tilde(struct text *t, const char **s, const char *home, struct error *e)
{
    char other[4096];
    size_t n = strcspn(*s, "/");
    if (n > 1) {
        if (home_of(*s + 1, n - 1, other, sizeof other) != 0)
            return errors_set(e, -E_CONFIG, "no such user: %.*s", (int)(n > 100 ? 100 : n), *s);
        home = other;
    }
    put(t, home);
    *s += n;
    if (**s == '/' && t->n > 0 && t->s[t->n - 1] == '/')
        (*s)++;
    return 0;
}

/* %C: a hash that names the connection. */
static void put_connection(struct text *t, const struct sshconfig_tokens *k)
{
    char all[EXPANDED_MAX], local[256] = "", hex[TRANSPORT_SSH2_SHA1];
    (void)gethostname(local, sizeof local - 1);
    int n = snprintf(all, sizeof all, "%s%s%u%s%s", local, k->host, k->port, k->user,
                     k->jump == NULL ? "" : k->jump);
    if (n < 0 || (size_t)n >= sizeof all || transport_ssh2_sha1(all, (size_t)n, hex) < 0) {
        t->failed = -E_CONFIG;
        return;
    }
    put(t, hex);
}

static const char *token(char c, const struct sshconfig_tokens *k, char *buffer, size_t size)
{
    switch (c) {
    case '%':
        return "%";
    case 'd':
        return k->home;
    case 'h':
        return k->host;
    case 'n':
        return k->original;
    case 'r':
        return k->user;
    case 'u':
        return k->local_user;
    case 'k':
        return k->alias;
    case 'j':
        return k->alias == NULL ? NULL : k->jump == NULL ? "" : k->jump;
    case 'p':
        (void)snprintf(buffer, size, "%u", k->port);
        return k->user == NULL ? NULL : buffer;
    case 'i':
        (void)snprintf(buffer, size, "%lu", (unsigned long)getuid());
        return k->user == NULL ? NULL : buffer;
    case 'l':
    case 'L':
        buffer[0] = '\0';
        (void)gethostname(buffer, size - 1);
        buffer[size - 1] = '\0';
        if (c == 'L')
            buffer[strcspn(buffer, ".")] = '\0';
        return k->user == NULL ? NULL : buffer;
    default:
        return NULL;
    }
}

/* ${NAME}: *s stands on the $. */
static int put_variable(struct text *t, const char **s, struct error *e)
{
    char name[256];
    const char *start = *s + 2, *end = strchr(start, '}');
    size_t n = end == NULL ? 0 : (size_t)(end - start);
    if (n == 0 || n >= sizeof name)
        return errors_set(e, -E_CONFIG, "bad ${...}");
    memcpy(name, start, n);
    name[n] = '\0';
    const char *value = getenv(name);
    if (value == NULL)
        return errors_set(e, -E_CONFIG, "environment variable %s is not set", name);
    put(t, value);
    *s = end + 1;
    return 0;
}

int sshconfig_expand(const char *s, const struct sshconfig_tokens *k, int tilde, char **out,
                     struct error *e)
{
    int rc = 0;
    char buffer[256];
    struct text t = {.s = malloc(EXPANDED_MAX)};
    *out = NULL;
    if (t.s == NULL)
        return errors_set(e, -E_NOMEM, "ssh_config");
    t.s[0] = '\0';
    if (tilde && *s == '~')
        rc = put_tilde(&t, &s, k->home, e);
    while (rc == 0 && *s != '\0') {
        size_t plain = strcspn(s, k->user == NULL ? "%" : "%$");
        put_n(&t, s, plain);
        s += plain;
        if (*s == '$' && s[1] == '{') {
            rc = put_variable(&t, &s, e);
        } else if (*s == '$') {
            put_n(&t, s++, 1);
        } else if (*s == '%' && s[1] == 'C' && k->user != NULL) {
            put_connection(&t, k);
            s += 2;
        } else if (*s == '%') {
            const char *value = token(s[1], k, buffer, sizeof buffer);
            if (value == NULL)
                rc = errors_set(e, -E_CONFIG, "unknown token %%%.1s", s + 1);
            else
                put(&t, value);
            s += 2;
        }
    }
    if (rc == 0 && t.failed)
        rc = errors_set(e, t.failed, "ssh_config: a value is too long when expanded");
    if (rc == 0 && (*out = strdup(t.s)) == NULL)
        rc = errors_set(e, -E_NOMEM, "ssh_config");
    free(t.s);
    return rc;
}

int sshconfig_expand_tilde(const char *s, const char *home, char **out, struct error *e)
{
    char copy[EXPANDED_MAX];
    struct text t = {.s = copy};
    copy[0] = '\0';
    *out = NULL;
    int rc = *s == '~' ? put_tilde(&t, &s, home, e) : 0;
    put(&t, s);
    if (rc == 0 && t.failed)
        rc = errors_set(e, t.failed, "ssh_config: a path is too long when expanded");
    if (rc == 0 && (*out = strdup(copy)) == NULL)
        rc = errors_set(e, -E_NOMEM, "ssh_config");
    return rc;
}
