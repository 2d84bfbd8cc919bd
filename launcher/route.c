#include "launcher/route.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/context.h"
#include "launcher/ssh/asker.h"
#include "launcher/ssh/askpass.h"
#include "launcher/ssh/sshconfig.h"
#include "launcher/ssh/sshfiles.h"
#include "launcher/ssh/sshline.h"
#include "launcher/ssh/sshproxy.h"
#include "launcher/ssh/sshsources.h"
#include "launcher/ssh/sshwords.h"

enum kind { SSH2, OPENSSH, LOCAL, COMMAND };

struct route {
    struct grapnel *g;
    char *target;
    char *key; /* "name:port" after ssh_config */
    enum kind kind;
    int automatic;              /* the kind may change to OPENSSH */
    struct sshconfig *config;   /* SSH2, OPENSSH */
    struct sshsources *sources; /* of that */
    char **argv;                /* OPENSSH and COMMAND: owned, NULL-terminated */
    struct transport_options options;
    struct askpass *askpass; /* OPENSSH: gives it the password file; NULL: there is none */
    struct error no_askpass; /* why it cannot be given */
    char *host, *config_file;
    char **settings; /* "Keyword=value", owned, NULL-terminated */
};

const char *route_target(const struct route *r)
{
    return r->target;
}

const char *route_key(const struct route *r)
{
    return r->key;
}

const char *route_transport(const struct route *r)
{
    static const char *const names[] = {
        [SSH2] = "ssh2", [OPENSSH] = "openssh", [LOCAL] = "local", [COMMAND] = "command"};

    return names[r->kind];
}

const struct sshconfig *route_config(const struct route *r)
{
    return r->config;
}

struct sshsources *route_take_sources(struct route *r)
{
    struct sshsources *sources = r->sources;

    r->sources = NULL;
    return sources;
}

int route_rename(struct route *r, const char *name)
{
    char *copy = strdup(name);

    if (!copy)
        return -E_NOMEM;
    free(r->target);
    r->options.host = r->target = copy;
    return 0;
}

static void free_strings(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

void route_free(struct route *r)
{
    if (!r)
        return;
    free_strings(r->argv);
    free_strings(r->settings);
    askpass_free(r->askpass);
    asker_free(r->options.asker);
    sshconfig_free(r->config);
    sshsources_free(r->sources);
    free(r->host);
    free(r->config_file);
    free(r->target);
    free(r->key);
    free(r);
}

int route_set_scan(struct route *r, const struct transport_scan *scan, struct error *e)
{
    int code = sshproxy_argv(r->config, r->config_file, r->options.connect_timeout_ms, &r->argv, e);

    r->options.scan = scan;
    r->options.argv = r->argv;
    return code;
}

void route_set_asker(struct route *r, struct asker *asker)
{
    struct asker *before = r->options.asker;

    r->options.asker = asker ? asker_hold(asker) : NULL;
    asker_free(before);
}

static int openssh_installed(void)
{
    char path[4096];
    const char *at = getenv("PATH"), *end;

    for (at = at ? at : "/usr/bin:/bin"; *at; at = *end ? end + 1 : end) {
        end = strchrnul(at, ':');
        snprintf(path, sizeof path, "%.*s/ssh", (int)(end - at), at);
        if (access(path, X_OK) == 0)
            return 1;
    }
    return 0;
}

/* ---- argument lists ---- */

/* Appends a copy of `text` (which may be the result of asprintf, see add_format). */
static int add(char ***list, size_t *n, const char *text)
{
    char **longer = realloc(*list, (*n + 2) * sizeof **list);

    if (!longer)
        return -E_NOMEM;
    *list = longer;
    longer[*n] = strdup(text);
    longer[*n + 1] = NULL;
    return longer[*n] && ++*n ? 0 : -E_NOMEM;
}

static int add_option(char ***list, size_t *n, const char *setting)
{
    return add(list, n, "-o") < 0 ? -E_NOMEM : add(list, n, setting);
}

static int openssh_argv(struct route *r)
{
    static const char *const fixed[] = {"RemoteCommand=none", "RequestTTY=no", "LogLevel=ERROR",
                                        "ForwardX11=no", "ClearAllForwardings=yes"};
    size_t n = 0;
    int bad;

    bad = add(&r->argv, &n, "ssh") | add(&r->argv, &n, "-T");
    if (r->config_file)
        bad |= add(&r->argv, &n, "-F") | add(&r->argv, &n, r->config_file);
    /* In batch mode ssh does not even use an askpass program, which asks nobody here. */
    if (r->askpass)
        bad |= add_option(&r->argv, &n, "BatchMode=no");
    else if (!r->options.interactive)
        bad |= add_option(&r->argv, &n, "BatchMode=yes");
    for (size_t i = 0; r->settings && r->settings[i]; i++)
        bad |= add_option(&r->argv, &n, r->settings[i]);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        bad |= add_option(&r->argv, &n, fixed[i]);
    if (r->askpass) /* a file does not change its mind */
        bad |= add_option(&r->argv, &n, "NumberOfPasswordPrompts=1");
    if (r->options.connect_timeout_ms) {
        char setting[40];
        snprintf(setting, sizeof setting, "ConnectTimeout=%lld",
                 (long long)(r->options.connect_timeout_ms + 999) / 1000);
        bad |= add_option(&r->argv, &n, setting);
    }
    bad |= add(&r->argv, &n, "--") | add(&r->argv, &n, r->host);
    return bad ? -E_NOMEM : 0;
}

/* One program with its arguments, which a shell may become. */
static int is_simple(const char *line)
{
    const char *word = line + strspn(line, " \t");
    size_t n = strcspn(word, " \t");

    return !line[strcspn(line, ";&|<>()`{}#!\n")] && !memchr(word, '=', n) &&
           !(n == 4 && strncmp(word, "exec", n) == 0);
}

/* A command line goes through the local shell, as ssh's ProxyCommand does.  A shell that stayed in
 * between would be all that our signals reach.  Where ssh would give the login shell, it is told to
 * give /bin/sh: a login shell such as fish reads all of its input before it runs the first line. */
static int shell_argv(struct route *r, const char *line)
{
    char *text;
    size_t n = 0, after = 0;
    int bad, login = is_simple(line) && sshline_gives_login_shell(line, &after);

    if (asprintf(&text, "%s%.*s%s%s", is_simple(line) ? "exec " : "", (int)after, line,
                 login ? " -o RemoteCommand=/bin/sh" : "", line + after) < 0)
        return -E_NOMEM;
    bad = add(&r->argv, &n, "/bin/sh") | add(&r->argv, &n, "-c") | add(&r->argv, &n, text);
    free(text);
    return bad ? -E_NOMEM : 0;
}

/* ---- making ---- */

/* Adds KEY="value", as ssh_config quotes. */
static int add_quoted(char ***list, size_t *n, const char *key, const char *value)
{
    char *text = malloc(strlen(key) + 2 * strlen(value) + 4), *at = text;
    int bad;

    if (!text)
        return -E_NOMEM;
    at += sprintf(at, "%s=\"", key);
    for (; *value; *at++ = *value++) {
        if (*value == '"' || *value == '\\')
            *at++ = '\\';
    }
    memcpy(at, "\"", 2);
    bad = add(list, n, text);
    free(text);
    return bad;
}

static int add_port(char ***list, size_t *n, unsigned port)
{
    char text[32];

    snprintf(text, sizeof text, "Port=%u", port);
    return add(list, n, text);
}

/* All that was given with the target, in the order of precedence, since the first value wins. */
static int make_settings(struct route *r, const struct grapnel_connect_options *o, const char *user,
                         unsigned port)
{
    size_t n = 0, given = 0, early;
    int bad = 0;

    while (o->ssh_options && o->ssh_options[given])
        given++;
    early = given - (o->late_options < given ? o->late_options : given);
    if (o->user && *o->user)
        bad |= add_quoted(&r->settings, &n, "User", o->user);
    if (o->port)
        bad |= add_port(&r->settings, &n, o->port);
    for (size_t i = 0; o->identity_files && o->identity_files[i]; i++)
        bad |= add_quoted(&r->settings, &n, "IdentityFile", o->identity_files[i]);
    for (size_t i = 0; i < early; i++)
        bad |= add(&r->settings, &n, o->ssh_options[i]);
    if (*user)
        bad |= add_quoted(&r->settings, &n, "User", user);
    if (port)
        bad |= add_port(&r->settings, &n, port);
    for (size_t i = early; i < given; i++)
        bad |= add(&r->settings, &n, o->ssh_options[i]);
    return bad ? -E_NOMEM : 0;
}

static char *optional_copy(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

static int load_config(struct route *r, const struct grapnel_connect_options *o, struct error *e)
{
    char user[SSHCONFIG_HOST_MAX], host[SSHCONFIG_HOST_MAX];
    struct sshconfig_options so = {.file = o->config_file};
    unsigned port;
    int result = sshconfig_split(r->target, user, host, &port, e);

    if (result < 0)
        return result;
    r->host = strdup(host);
    r->config_file = optional_copy(o->config_file);
    if (!r->host || make_settings(r, o, user, port) < 0)
        return errors_set(e, -E_NOMEM, "%s", r->target);
    so.settings = (const char *const *)r->settings;
    while (r->settings && r->settings[so.settings_count])
        so.settings_count++;
    result = sshfiles_config(r->g->files, &so, r->host, &r->config, &r->sources, e);
    if (result < 0 || !r->config)
        return result;
    if (asprintf(&r->key, "%s:%u", r->config->host, r->config->port) < 0)
        r->key = NULL;
    return 0;
}

static int choose_openssh(struct route *r, struct error *e)
{
    r->kind = OPENSSH;
    r->automatic = 0;
    r->options.command_appended = 1;
    /* A file that cannot be used is worth a word only if a password would have been. */
    if (askpass_new(r->config, r->options.interactive, &r->askpass, &r->no_askpass) < 0)
        context_trace(r->g, 1, r->target, "%s", r->no_askpass.detail);
    else if (r->askpass)
        r->options.environment = askpass_environment(r->askpass);
    if (openssh_argv(r) < 0)
        return errors_set(e, -E_NOMEM, "%s", r->target);
    r->options.argv = r->argv;
    return 0;
}

static int choose_ssh(struct route *r, const char *transport,
                      const struct grapnel_connect_options *o, struct error *e)
{
    char why[300];
    int result = load_config(r, o, e);

    if (result < 0)
        return result;
    r->options.config = r->config;
    if (strcmp(transport, "openssh") == 0)
        return choose_openssh(r, e);
    r->kind = SSH2;
    r->automatic = strcmp(transport, "auto") == 0;
    if (!r->automatic || !sshconfig_needs_openssh(r->config, why, sizeof why))
        return 0;
    if (!openssh_installed())
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH, "%s", why);
    context_trace(r->g, 1, r->target, "%s: using the OpenSSH client", why);
    return choose_openssh(r, e);
}

static int choose(struct route *r, const struct grapnel_connect_options *o, struct error *e)
{
    const char *transport = o->transport && *o->transport ? o->transport : "auto";

    if (strcmp(transport, "local") == 0) {
        r->kind = LOCAL;
        return 0;
    }
    if (strcmp(transport, "auto") == 0 || strcmp(transport, "ssh2") == 0 ||
        strcmp(transport, "openssh") == 0)
        return choose_ssh(r, transport, o, e);
    r->kind = COMMAND;
    if (shell_argv(r, transport) < 0)
        return errors_set(e, -E_NOMEM, "%s", r->target);
    r->options.argv = r->argv;
    return 0;
}

struct route *route_new(struct grapnel *g, const char *target,
                        const struct grapnel_connect_options *options, struct error *e)
{
    struct route *r = calloc(1, sizeof *r);

    if (!r || (r->target = strdup(target)) == NULL) {
        errors_set(e, -E_NOMEM, "route");
        route_free(r);
        return NULL;
    }
    r->g = g;
    r->options = (struct transport_options){
        .loop = g->loop,
        .blocking = g->blocking,
        .host = r->target,
        .keys = &g->keys,
        .files = g->files,
        .connect_timeout_ms = options->connect_timeout,
        .interactive = options->interactive,
        .asker = asker_hold(options->asker),
    };
    if (choose(r, options, e) < 0) {
        route_free(r);
        return NULL;
    }
    return r;
}

/* ---- use ---- */

struct transport *route_start(struct route *r, const char *command,
                              const struct transport_handler *handler, void *arg, struct error *e)
{
    switch (r->kind) {
    case SSH2:
        return transport_ssh2(&r->options, command, handler, arg, e);
    case LOCAL:
        return transport_local(&r->options, command, handler, arg, e);
    case OPENSSH:
    case COMMAND:
        break;
    }
    return transport_command(&r->options, command, handler, arg, e);
}

/* A program of ours can ask where there is a terminal, or one that asks in its place. */
static int somebody_to_ask(const struct route *r)
{
    int fd = r->options.interactive ? open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;

    if (fd >= 0)
        close(fd);
    return fd >= 0 || (r->options.interactive && getenv("SSH_ASKPASS"));
}

int route_waits_for_shell(const struct route *r)
{
    return r->kind == COMMAND || (r->kind == OPENSSH && somebody_to_ask(r));
}

int route_is_program(const struct route *r)
{
    return r->kind == OPENSSH || r->kind == COMMAND;
}

int route_unhurried(const struct route *r)
{
    return (r->kind == OPENSSH || r->kind == COMMAND) && somebody_to_ask(r) &&
           r->options.connect_timeout_ms <= 0;
}

int64_t route_slack(const struct route *r)
{
    if (r->kind != OPENSSH)
        return 0;
    /* Its connecting has ssh_config's limit, where nobody has given another for all. */
    return 1000 +
           (r->options.connect_timeout_ms > 0 ? 0 : (int64_t)r->config->connect_timeout * 1000);
}

int route_fall_back(struct route *r, const struct error *e)
{
    struct error ignored;

    if (!r->automatic || e->code != -E_AUTH_NEEDS_OPENSSH || !openssh_installed())
        return 0;
    return choose_openssh(r, &ignored) == 0;
}

const char *route_silence(const struct route *r)
{
    if (r->kind == OPENSSH)
        return "; the OpenSSH client may still have been connecting: try ssh -v";
    return r->kind == COMMAND ? "; shells that read all of their input first, as fish does, cannot "
                                "be used in this way: let the command run sh"
                              : "";
}

void route_explain(const struct route *r, int status, const char *said, struct error *e)
{
    struct sshwords about = {.status = status, .said = said};

    if (r->kind != OPENSSH && r->kind != COMMAND)
        return;
    about.any_command = r->kind == COMMAND;
    if (r->kind == OPENSSH) {
        about.proxy_jump = r->config->proxy_jump;
        about.proxy_command = r->config->proxy_command;
    }
    sshwords_explain(&about, e);
    if (e->code == -E_AUTH && r->no_askpass.code) {
        size_t used = strlen(e->detail);
        snprintf(e->detail + used, sizeof e->detail - used, "; %s", r->no_askpass.detail);
    }
}
