#include "launcher/ssh/sshproxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_MAX 8192 /* bytes of a ProxyCommand with what its tokens stand for */
#define WORDS_MAX   24

/* Arguments while they are gathered. */
struct words {
    char **at;
    size_t n;
    int failed;
};

static void add(struct words *w, char *owned)
{
    if (!owned || w->n + 1 >= WORDS_MAX) {
        w->failed = 1;
        free(owned);
        return;
    }
    w->at[w->n++] = owned;
}

static void add_two(struct words *w, const char *option, const char *value)
{
    add(w, strdup(option));
    add(w, strdup(value));
}

/* ---- ProxyJump ---- */

/* ssh -W through the last one, which is reached through those before. */
static int jump_words(const struct sshconfig *c, const char *config_file, int64_t timeout_ms,
                      struct words *w, struct error *e)
{
    const char *comma = strrchr(c->proxy_jump, ',');
    char user[SSHCONFIG_HOST_MAX], host[SSHCONFIG_HOST_MAX], number[40];
    char *before = NULL, *through = NULL;
    unsigned port;
    int code = sshconfig_split(comma ? comma + 1 : c->proxy_jump, user, host, &port, e);

    if (code < 0)
        return code;
    add(w, strdup("ssh"));
    if (config_file)
        add_two(w, "-F", config_file);
    add_two(w, "-o", "BatchMode=yes");
    add_two(w, "-o", "LogLevel=ERROR");
    if (timeout_ms > 0) {
        snprintf(number, sizeof number, "ConnectTimeout=%lld",
                 (long long)(timeout_ms + 999) / 1000);
        add_two(w, "-o", number);
    }
    if (*user)
        add_two(w, "-l", user);
    if (port) {
        snprintf(number, sizeof number, "%u", port);
        add_two(w, "-p", number);
    }
    if (comma) {
        before = strndup(c->proxy_jump, (size_t)(comma - c->proxy_jump));
        add(w, strdup("-J"));
        add(w, before);
    }
    if (asprintf(&through, "[%s]:%u", c->host, c->port) < 0)
        through = NULL;
    add(w, strdup("-W"));
    add(w, through);
    add_two(w, "--", host);
    return 0;
}

/* ---- ProxyCommand ---- */

/* What comes from the name of a host is no part of the command: as ssh, which refuses such names.
 */
static int is_harmless(const char *name)
{
    return *name != '-' && !strpbrk(name, "'`\"$\\;&<>|(){}*?[]~#! \t\r\n");
}

static const char *token(const struct sshconfig *c, char which, char port[16])
{
    switch (which) {
    case '%':
        return "%";
    case 'h':
        return c->host;
    case 'n':
        return c->original;
    case 'r':
        return c->user;
    case 'p':
        snprintf(port, 16, "%u", c->port);
        return port;
    default:
        return NULL;
    }
}

static int expand(const struct sshconfig *c, char out[COMMAND_MAX], struct error *e)
{
    size_t n = 0;

    for (const char *at = c->proxy_command; *at; at++) {
        char port[16], one[2] = {*at, '\0'};
        const char *value = one;

        if (*at == '%') {
            value = token(c, *++at, port);
            if (!value)
                return errors_set(e, -E_CONFIG, "ProxyCommand: unknown token %%%.1s", at);
            if (*at != '%' && !is_harmless(value))
                return errors_set(
                    e, -E_CONFIG,
                    "ProxyCommand: a name that a shell would read as more than a word");
        }
        if (n + strlen(value) + 1 > COMMAND_MAX)
            return errors_set(e, -E_CONFIG, "ProxyCommand: too long");
        memcpy(out + n, value, strlen(value));
        n += strlen(value);
    }
    out[n] = '\0';
    return 0;
}

static int command_words(const struct sshconfig *c, struct words *w, struct error *e)
{
    const char *shell = getenv("SHELL");
    char command[COMMAND_MAX], *line;
    int code = expand(c, command, e);

    if (code < 0)
        return code;
    if (asprintf(&line, "exec %s", command) < 0)
        line = NULL;
    add(w, strdup(shell && *shell ? shell : "/bin/sh"));
    add(w, strdup("-c"));
    add(w, line);
    return 0;
}

int sshproxy_argv(const struct sshconfig *config, const char *config_file, int64_t timeout_ms,
                  char ***argv, struct error *e)
{
    struct words w = {.at = NULL};
    int code;

    *argv = NULL;
    if (!config->proxy_jump && !config->proxy_command)
        return 0;
    w.at = calloc(WORDS_MAX, sizeof *w.at);
    if (!w.at)
        return errors_set(e, -E_NOMEM, "proxy");
    /* Where both are set, ssh_config's order has decided: the other one is not there. */
    code = config->proxy_command ? command_words(config, &w, e)
                                 : jump_words(config, config_file, timeout_ms, &w, e);
    if (code == 0 && w.failed)
        code = errors_set(e, -E_NOMEM, "proxy");
    if (code == 0) {
        *argv = w.at;
        return 0;
    }
    while (w.n > 0)
        free(w.at[--w.n]);
    free(w.at);
    return code;
}
