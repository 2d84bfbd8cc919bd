#include "launcher/ssh/askpass.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/ssh/ask.h"

extern char **environ;

struct askpass {
    int fd;                /* the script */
    char variables[2][64]; /* "SSH_ASKPASS=..." and the like */
    char **environment;
};

/* Named by ssh in its prompts; versions before 8.6 cut the names. */
#define USER_CUT 30
#define HOST_CUT 128

/* What a shell in single quotes makes of `text` is `text`.  From malloc. */
static char *quoted(const char *text)
{
    char *out = malloc(4 * strlen(text) + 3), *at = out;

    if (!out)
        return NULL;
    *at++ = '\'';
    for (; *text; text++) {
        if (*text == '\'')
            at = stpcpy(at, "'\\''");
        else
            *at++ = *text;
    }
    strcpy(at, "'");
    return out;
}

/* The script.  sed prints the line: a shell's own printf might be another program, with the
 * password as its argument. */
static char *make_script(const char *account, const char *cut, const char *next)
{
    char *text;
    int n;

    n = asprintf(&text,
                 "#!/bin/sh\n"
                 "case $1 in\n"
                 "%s\"'s password: \" | %s\"'s password: \" | '('%s') '*[Pp]assword*)\n"
                 "    exec sed -e 's/\r$//' -e q <\"$" ASK_PASSWORD_FILE "\" ;;\n"
                 "esac\n"
                 "%s%s%s"
                 "echo \"" ASK_PASSWORD_FILE " does not answer this: $1\" >&2\n"
                 "exit 1\n",
                 account, cut, account, next ? "exec " : "", next ? next : "",
                 next ? " \"$1\"\n" : "");
    return n < 0 ? NULL : text;
}

static char *script_for(const struct sshconfig *config, int interactive)
{
    const char *host = config->hostkey_alias ? config->hostkey_alias : config->host;
    const char *program = interactive && !config->batch_mode ? getenv("SSH_ASKPASS") : NULL;
    char name[2][2 * SSHCONFIG_HOST_MAX], *account, *cut, *next = NULL, *text = NULL;

    snprintf(name[0], sizeof name[0], "%s@%s", config->user, host);
    snprintf(name[1], sizeof name[1], "%.*s@%.*s", USER_CUT, config->user, HOST_CUT, host);
    account = quoted(name[0]);
    cut = quoted(name[1]);
    if (program && *program)
        next = quoted(program);
    if (account && cut && (next || !program || !*program))
        text = make_script(account, cut, next);
    free(account);
    free(cut);
    free(next);
    return text;
}

static int write_script(struct askpass *a, const char *text)
{
    size_t n = strlen(text);

    a->fd = memfd_create("askpass", MFD_CLOEXEC);
    if (a->fd < 0)
        return -E_UNSUPPORTED;
    return write(a->fd, text, n) == (ssize_t)n ? 0 : -E_SYSTEM;
}

/* Ours, with two variables of our own. */
static int make_environment(struct askpass *a)
{
    size_t n = 0, kept = 0;

    /* ssh closes what it has inherited, and so does not inherit the script. */
    snprintf(a->variables[0], sizeof a->variables[0], "SSH_ASKPASS=/proc/%ld/fd/%d", (long)getpid(),
             a->fd);
    snprintf(a->variables[1], sizeof a->variables[1], "SSH_ASKPASS_REQUIRE=force");
    while (environ[n])
        n++;
    a->environment = calloc(n + 3, sizeof *a->environment);
    if (!a->environment)
        return -E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(environ[i], "SSH_ASKPASS=", 12) != 0 &&
            strncmp(environ[i], "SSH_ASKPASS_REQUIRE=", 20) != 0)
            a->environment[kept++] = environ[i];
    }
    a->environment[kept++] = a->variables[0];
    a->environment[kept] = a->variables[1];
    return access(strchr(a->variables[0], '=') + 1, X_OK) == 0 ? 0 : -E_UNSUPPORTED;
}

int askpass_new(const struct sshconfig *config, int interactive, struct askpass **out,
                struct error *e)
{
    struct askpass *a;
    char *text;
    int code = ask_password_file(e);

    *out = NULL;
    if (code <= 0)
        return code;
    a = calloc(1, sizeof *a);
    if (!a)
        return errors_set(e, -E_NOMEM, "askpass");
    a->fd = -1;
    text = script_for(config, interactive);
    code = text ? write_script(a, text) : -E_NOMEM;
    if (code == 0)
        code = make_environment(a);
    free(text);
    if (code == 0) {
        *out = a;
        return 0;
    }
    askpass_free(a);
    return errors_set(e, code, ASK_PASSWORD_FILE " cannot be handed to the OpenSSH client");
}

void askpass_free(struct askpass *a)
{
    if (!a)
        return;
    if (a->fd >= 0)
        close(a->fd);
    free(a->environment);
    free(a);
}

char *const *askpass_environment(const struct askpass *a)
{
    return a->environment;
}
