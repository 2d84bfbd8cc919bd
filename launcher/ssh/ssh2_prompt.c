#include "launcher/ssh/ssh2_prompt.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "launcher/safetext.h"
#include "launcher/ssh/ask.h"
#include "launcher/ssh/asker.h"

enum { ANSWERS_MAX = 64 /* questions in one round that are put to a person */ };

/* The thread owns all but `orphan` while it runs. */
struct ssh2_prompt {
    struct ssh2_prompt_options o;
    struct blocking_job *job;
    struct ssh2_session *session; /* keyboard-interactive; NULL: password */
    int cancel[2];                /* a pipe: closing [1] withdraws the question */
    char account[600];            /* "user@host", for prompts */
    char *user;
    int batch, retry;
    char *secret;
    size_t secret_n;
    int running, orphan;
    int code;
    struct error e;
};

static void release(struct ssh2_prompt *p)
{
    for (int i = 0; i < 2; i++) {
        if (p->cancel[i] >= 0)
            close(p->cancel[i]);
    }
    ask_free(p->secret);
    asker_free(p->o.asker);
    free(p->user);
    free(p);
}

static void password_work(void *arg)
{
    struct ssh2_prompt *p = arg;
    char prompt[700];
    struct ask_options ask = {.kind = ASK_PASSWORD, .prompt = prompt};

    snprintf(prompt, sizeof prompt,
             "%s%s's password: ", p->retry ? "Permission denied, please try again.\n" : "",
             p->account);
    ask.batch = p->batch;
    ask.cancel_fd = p->cancel[0];
    ask.asker = p->o.asker;
    p->code = ask_secret(&ask, &p->secret, &p->secret_n, &p->e);
}

/* A question that means the account's password may be answered by the password file. */
static int wants_password(const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompt)
{
    for (size_t i = 0; i + 8 <= prompt->length; i++) {
        if (!prompt->echo && strncasecmp((const char *)prompt->text + i, "password", 8) == 0)
            return 1;
    }
    return 0;
}

/* The server's heading stands above the first question only. */
static char *question(const struct ssh2_prompt *p, const char *name, int name_n, const char *text,
                      int text_n, const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompt, int first)
{
    char *out = NULL;

    if (!first)
        name_n = text_n = 0;
    if (asprintf(&out, "%.*s%s%.*s%s(%s) %.*s", name_n, name_n ? name : "", name_n ? "\n" : "",
                 text_n, text_n ? text : "", text_n ? "\n" : "", p->account,
                 (int)(prompt->length < 1000 ? prompt->length : 1000), prompt->text) < 0)
        return NULL;
    return out;
}

static int answer(struct ssh2_prompt *p, char *text, const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompt,
                  int only, LIBSSH2_USERAUTH_KBDINT_RESPONSE *response)
{
    int file = only && wants_password(prompt) && ssh2_prompt_from_file(p->o.asker);
    struct ask_options ask = {.kind = file ? ASK_PASSWORD : ASK_PROMPT, .prompt = text};
    char *secret = NULL;
    size_t n = 0;
    int code;

    ask.echo = prompt->echo;
    ask.batch = p->batch;
    ask.cancel_fd = p->cancel[0];
    ask.asker = p->o.asker;
    code = ask_secret(&ask, &secret, &n, &p->e);
    if (code == 0) {
        /* libssh2 frees it by free(); it leaves no time to wipe. */
        response->text = malloc(n + 1);
        if (response->text) {
            memcpy(response->text, secret, n + 1);
            response->length = (unsigned)n;
        } else {
            code = -E_NOMEM;
        }
    }
    ask_free(secret);
    return code;
}

static LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(on_questions)
{
    struct ssh2_prompt *p = ssh2_session_user(*abstract);

    for (int i = 0; i < num_prompts && p->code == 0; i++) {
        char *text = NULL;

        if (i >= ANSWERS_MAX)
            p->code = errors_set(&p->e, -E_LIMIT, "%s", "the server asks too many questions");
        else if (!(text = question(p, name, name_len, instruction, instruction_len, &prompts[i],
                                   i == 0)))
            p->code = -E_NOMEM;
        else
            p->code = answer(p, text, &prompts[i], num_prompts == 1, &responses[i]);
        free(text);
    }
}

static void kbdint_work(void *arg)
{
    struct ssh2_prompt *p = arg;
    int rc;

    ssh2_session_set_user(p->session, p);
    for (;;) {
        struct pollfd polled[2] = {{.fd = ssh2_session_fd(p->session), .events = POLLIN},
                                   {.fd = p->cancel[0], .events = POLLIN}};

        do {
            ssh2_session_begin(p->session, SSH2_SESSION_ALL);
            rc = libssh2_userauth_keyboard_interactive_ex(ssh2_session_raw(p->session), p->user,
                                                          (unsigned)strlen(p->user), on_questions);
        } while (ssh2_session_retry(p->session, rc));
        if (p->code < 0 || rc != LIBSSH2_ERROR_EAGAIN)
            break;
        if (ssh2_session_flush(p->session))
            polled[0].events |= POLLOUT;
        if (ssh2_session_dead(p->session, NULL, NULL))
            break;
        ssh2_session_quickack(p->session);
        poll(polled, 2, -1);
        if (polled[1].revents) {
            p->code = -E_CANCELLED;
            break;
        }
        ssh2_session_readable(p->session);
    }
    ssh2_session_set_user(p->session, NULL);
    if (p->code == 0 && rc != 0)
        p->code = ssh2_session_dead(p->session, NULL, &p->e);
    if (p->code == 0 && rc != 0)
        p->code = -E_AUTH;
}

static void on_done(void *arg, int cancelled)
{
    struct ssh2_prompt *p = arg;

    p->running = 0;
    p->job = NULL;
    if (p->orphan || cancelled) {
        if (p->orphan)
            ssh2_session_free(p->session);
        release(p);
        return;
    }
    p->o.wake(p->o.arg);
}

static struct ssh2_prompt *start(const struct ssh2_prompt_options *options, struct ssh2_session *s,
                                 int retry, struct error *e)
{
    struct ssh2_prompt *p = calloc(1, sizeof *p);

    if (!p) {
        errors_set(e, -E_NOMEM, "%s", "");
        return NULL;
    }
    p->o = *options;
    asker_hold(p->o.asker);
    p->session = s;
    p->retry = retry;
    p->batch = !options->interactive || options->config->batch_mode;
    p->cancel[0] = p->cancel[1] = -1;
    snprintf(p->account, sizeof p->account, "%.255s@%.255s", options->config->user,
             options->config->host);
    p->user = strdup(options->config->user);
    if (!p->user || pipe2(p->cancel, O_CLOEXEC) < 0)
        goto out;
    p->running = 1;
    p->job = blocking_run(options->blocking, s ? kbdint_work : password_work, on_done, p);
    if (p->job)
        return p;
out:
    errors_set(e, -E_SYSTEM, "%s", "no thread to ask for a password");
    release(p);
    return NULL;
}

struct ssh2_prompt *ssh2_prompt_password(const struct ssh2_prompt_options *options, int retry,
                                         struct error *e)
{
    return start(options, NULL, retry, e);
}

struct ssh2_prompt *ssh2_prompt_kbdint(const struct ssh2_prompt_options *options,
                                       struct ssh2_session *s, struct error *e)
{
    return start(options, s, 0, e);
}

int ssh2_prompt_running(const struct ssh2_prompt *p)
{
    return p->running;
}

int ssh2_prompt_result(const struct ssh2_prompt *p, struct error *e)
{
    if (e && p->code < 0) {
        *e = p->e;
        e->code = p->code;
    }
    return p->code;
}

const char *ssh2_prompt_secret(const struct ssh2_prompt *p, size_t *n)
{
    *n = p->secret_n;
    return p->secret;
}

int ssh2_prompt_free(struct ssh2_prompt *p)
{
    int keeps;

    if (!p)
        return 0;
    if (!p->running) {
        release(p);
        return 0;
    }
    keeps = p->session != NULL;
    p->orphan = 1;
    close(p->cancel[1]);
    p->cancel[1] = -1;
    blocking_cancel(p->job);
    return keeps;
}

int ssh2_prompt_from_file(const struct asker *asker)
{
    const char *path = getenv(ASK_PASSWORD_FILE);

    return asker ? asker_from_file(asker) : path && *path;
}

static struct ask_options question_for(const struct sshconfig *config, int interactive,
                                       struct asker *asker)
{
    return (struct ask_options){.kind = ASK_PASSWORD,
                                .prompt = "",
                                .batch = !interactive || config->batch_mode,
                                .cancel_fd = -1,
                                .asker = asker};
}

int ssh2_prompt_possible(const struct sshconfig *config, int interactive, struct asker *asker)
{
    const struct ask_options ask = question_for(config, interactive, asker);

    return ask_possible(&ask);
}

const char *ssh2_prompt_why_not(const struct sshconfig *config, int interactive)
{
    const struct ask_options ask = question_for(config, interactive, NULL);

    return ask_why_not(&ask);
}
