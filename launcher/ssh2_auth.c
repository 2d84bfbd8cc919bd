#include "launcher/ssh2_auth.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/safetext.h"
#include "launcher/ssh2_pipeline.h"
#include "launcher/ssh2_prompt.h"

enum { DISCONNECT_NO_MORE_METHODS = 14 }; /* RFC 4253 section 11.1 */

enum method { PUBLICKEY, KBDINT, PASSWORD, METHODS };

static const char *const method_names[METHODS] = {"publickey", "keyboard-interactive", "password"};

enum state {
    CHOOSE,   /* which method comes next */
    LIST,     /* asking what the server allows ("none") */
    KEY,      /* an identity was chosen: its public key is needed */
    OFFER,    /* libssh2 is at it */
    QUESTION, /* keyboard-interactive runs in a thread */
    SECRET,   /* a password is being asked for */
    SEND,     /* ... and sent */
    END
};

struct ssh2_auth {
    struct ssh2_auth_options o;
    struct ssh2_identities *ids;
    struct ssh2_session *session;
    struct ssh2_prompt *prompt;
    enum state state;
    enum method order[METHODS];
    size_t order_n;
    char *allowed;     /* the server's list; NULL: not known (any more) */

    enum ssh2_auth_haste haste;
    int decided; /* a signature was sent */
    int blind;   /* ... before the server had said that it takes the key */

    unsigned prompts[METHODS]; /* how often each was tried */
    int given_up[METHODS];
    int possible; /* somebody, or a file, answers questions; -1: not known yet */
    const uint8_t *blob;
    size_t blob_n;
    char tried[400]; /* "publickey (3 keys), password" */
    unsigned keys_tried;
    struct error passphrase; /* a key that the server would have taken stayed locked */

};

static void trace(const struct ssh2_auth *a, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void trace(const struct ssh2_auth *a, int level, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    a->o.trace(a->o.arg, level, text);
}

static int in_list(const char *list, const char *name)
{
    size_t n = strlen(name);

    while (list && *list) {
        size_t length = strcspn(list, ",");

        if (length == n && memcmp(list, name, n) == 0)
            return 1;
        list += length + (list[length] == ',');
    }
    return 0;
}

static int enabled(const struct sshconfig *config, enum method m)
{
    switch (m) {
    case PUBLICKEY:
        return config->pubkey_authentication;
    case KBDINT:
        return config->kbdint_authentication;
    default:
        return config->password_authentication;
    }
}

/* PreferredAuthentications, cut down to what there is here. */
static void set_order(struct ssh2_auth *a)
{
    const char *list = a->o.config->preferred_authentications;

    if (!list)
        list = "publickey,keyboard-interactive,password";
    while (*list) {
        size_t n = strcspn(list, ",");

        for (size_t m = 0; m < METHODS; m++) {
            if (strlen(method_names[m]) == n && memcmp(method_names[m], list, n) == 0 &&
                a->order_n < METHODS && enabled(a->o.config, (enum method)m))
                a->order[a->order_n++] = (enum method)m;
        }
        list += n + (list[n] == ',');
    }
}

static void on_enter(void *arg)
{
    struct ssh2_auth *a = arg;

    a->o.enter(a->o.arg);
}

static void on_leave(void *arg)
{
    struct ssh2_auth *a = arg;

    a->o.leave(a->o.arg);
}

static void on_identities(void *arg)
{
    struct ssh2_auth *a = arg;

    a->o.wake(a->o.arg);
}

static void on_trace(void *arg, int level, const char *text)
{
    struct ssh2_auth *a = arg;

    a->o.trace(a->o.arg, level, text);
}

struct ssh2_auth *ssh2_auth_new(const struct ssh2_auth_options *options)
{
    struct ssh2_auth *a = calloc(1, sizeof *a);
    struct ssh2_identity_options ids = {.loop = options->loop,
                                        .config = options->config,
                                        .keys = options->keys,
                                        .interactive = options->interactive,
                                        .wake = on_identities,
                                        .enter = on_enter,
                                        .leave = on_leave,
                                        .trace = on_trace,
                                        .arg = a};

    if (!a)
        return NULL;
    a->o = *options;
    a->possible = -1;
    set_order(a);
    a->ids = ssh2_identities_new(&ids);
    if (a->ids)
        return a;
    free(a);
    return NULL;
}

int ssh2_auth_free(struct ssh2_auth *a)
{
    int keeps;

    if (!a)
        return 0;
    keeps = ssh2_prompt_free(a->prompt);
    ssh2_identities_free(a->ids);
    free(a->allowed);
    free(a);
    return keeps;
}

void ssh2_auth_attach(struct ssh2_auth *a, struct ssh2_session *s, enum ssh2_auth_haste haste)
{
    a->session = s;
    a->haste = haste;
    a->decided = 0;
    a->state = CHOOSE;
    free(a->allowed);
    a->allowed = NULL;
}

int ssh2_auth_may_hurry(const struct ssh2_auth *a)
{
    return a->order_n && a->order[0] == PUBLICKEY && ssh2_identities_left(a->ids) > 0;
}

int ssh2_auth_decided(const struct ssh2_auth *a)
{
    return a->decided;
}

int ssh2_auth_asking(const struct ssh2_auth *a)
{
    return a->prompt || ssh2_identities_signing(a->ids);
}

int ssh2_auth_busy(const struct ssh2_auth *a)
{
    return a && a->state == QUESTION && a->prompt && ssh2_prompt_running(a->prompt);
}

/* ---- the end without success ---- */

static void describe_tried(struct ssh2_auth *a)
{
    size_t used = 0;

    a->tried[0] = '\0';
    if (a->keys_tried)
        used = (size_t)snprintf(a->tried, sizeof a->tried, "publickey (%u key%s)", a->keys_tried,
                                a->keys_tried == 1 ? "" : "s");
    for (size_t m = KBDINT; m < METHODS; m++) {
        if (a->prompts[m] && used < sizeof a->tried)
            used += (size_t)snprintf(a->tried + used, sizeof a->tried - used, "%s%s",
                                     used ? ", " : "", method_names[m]);
    }
    if (!used)
        snprintf(a->tried, sizeof a->tried, "nothing");
}

static int give_up(struct ssh2_auth *a, struct error *e)
{
    const char *beyond = ssh2_identities_beyond(a->ids);
    const char *allowed = a->allowed ? a->allowed : "?";
    const struct sshconfig *config = a->o.config;
    char safe[300];

    a->state = END;
    describe_tried(a);
    safetext_copy(safe, sizeof safe, allowed, strlen(allowed), 0);
    if (*beyond)
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH,
                          "tried %s; the server allows %s; libssh2 cannot use %s", a->tried, safe,
                          beyond);
    if ((in_list(allowed, "gssapi-with-mic") && config->gssapi_authentication) ||
        (in_list(allowed, "hostbased") && config->hostbased_authentication))
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH,
                          "tried %s; the server allows %s, of which libssh2 lacks the rest", a->tried,
                          safe);
    if (a->passphrase.code)
        return errors_set(e, -E_PASSPHRASE, "%s; tried %s; the server allows %s",
                          a->passphrase.detail, a->tried, safe);
    return errors_set(e, -E_AUTH, "user %s; tried %s; the server allows %s", config->user, a->tried,
                      safe);
}

/* The connection is over in the middle of it.  Servers hang up after too many attempts. */
static int hung_up(struct ssh2_auth *a, struct error *e)
{
    unsigned reason = 0;
    struct error why = {0};
    int code = ssh2_session_dead(a->session, &reason, &why);

    if (code == 0)
        return 0;
    a->state = END;
    if (reason == DISCONNECT_NO_MORE_METHODS || strstr(why.detail, "authentication failures")) {
        const char *beyond = ssh2_identities_beyond(a->ids);

        describe_tried(a);
        return errors_set(e, *beyond ? -E_AUTH_NEEDS_OPENSSH : -E_AUTH, "user %s; tried %s; %s%s%s",
                          a->o.config->user, a->tried, why.detail, *beyond ? "; untried: " : "",
                          beyond);
    }
    return errors_set(e, code, "during authentication: %s", why.detail);
}

/* ---- choosing ---- */

/* How often a person is asked; a file does not change its mind. */
static unsigned prompts_max(const struct ssh2_auth *a)
{
    return ssh2_prompt_from_file() ? 1 : a->o.config->password_prompts;
}

/* A method fits when the server allows it (as far as that is known) and there is something to try. */
static int fits(struct ssh2_auth *a, enum method m)
{
    if (a->given_up[m] || (a->allowed && !in_list(a->allowed, method_names[m])))
        return 0;
    if (m == PUBLICKEY)
        return ssh2_identities_left(a->ids) > 0;
    if (!a->allowed)
        return 1;
    if (a->possible < 0) {
        a->possible = ssh2_prompt_possible(a->o.config, a->o.interactive);
        if (!a->possible)
            trace(a, 1, "%s is not tried: nobody can be asked", method_names[m]);
    }
    return a->possible && a->prompts[m] < prompts_max(a);
}

static void on_prompt(void *arg)
{
    struct ssh2_auth *a = arg;

    a->o.enter(a->o.arg);
    a->o.wake(a->o.arg);
    a->o.leave(a->o.arg);
}

static int begin_prompt(struct ssh2_auth *a, enum method m, struct error *e)
{
    struct ssh2_prompt_options o = {.blocking = a->o.blocking,
                                    .config = a->o.config,
                                    .interactive = a->o.interactive,
                                    .wake = on_prompt,
                                    .arg = a};

    a->o.note(a->o.arg, method_names[m]);
    if (m == KBDINT)
        a->prompt = ssh2_prompt_kbdint(&o, a->session, e);
    else
        a->prompt = ssh2_prompt_password(&o, a->prompts[m] > 0, e);
    if (!a->prompt)
        return e->code;
    a->prompts[m]++;
    a->state = m == KBDINT ? QUESTION : SECRET;
    return SSH2_AUTH_AGAIN;
}

static int choose(struct ssh2_auth *a, struct error *e)
{
    if (!ssh2_identities_ready(a->ids))
        return SSH2_AUTH_AGAIN;
    for (size_t i = 0; i < a->order_n; i++) {
        enum method m = a->order[i];

        if (!fits(a, m))
            continue;
        if (m == PUBLICKEY) {
            ssh2_identities_next(a->ids);
            a->state = KEY;
            return SSH2_AUTH_DONE;
        }
        if (!a->allowed)
            break;
        return begin_prompt(a, m, e);
    }
    if (a->allowed)
        return give_up(a, e);
    a->state = LIST;
    return SSH2_AUTH_DONE;
}

/* ---- steps: SSH2_AUTH_DONE here means that the state has changed ---- */

static int list_step(struct ssh2_auth *a, struct error *e)
{
    LIBSSH2_SESSION *raw = ssh2_session_raw(a->session);
    const char *user = a->o.config->user;
    char *list;
    int rc;

    do {
        ssh2_session_begin(a->session, SSH2_SESSION_ALL);
        list = libssh2_userauth_list(raw, user, (unsigned)strlen(user));
        rc = list ? 0 : libssh2_session_last_errno(raw);
    } while (ssh2_session_retry(a->session, rc));
    if (!list && libssh2_userauth_authenticated(raw)) {
        a->o.note(a->o.arg, "none");
        a->state = END;
        return SSH2_AUTH_DONE;
    }
    if (!list && rc == LIBSSH2_ERROR_EAGAIN)
        return SSH2_AUTH_AGAIN;
    if (!list) {
        int code = hung_up(a, e);

        return code ? code : errors_set(e, -E_AUTH, "%s", "the server's answer makes no sense");
    }
    free(a->allowed);
    a->allowed = strdup(list);
    if (!a->allowed)
        return errors_set(e, -E_NOMEM, "%s", "");
    trace(a, 2, "the server allows %s", a->allowed);
    if (a->haste != SSH2_AUTH_PATIENT && a->decided) {
        /* What was sent behind the signature is lost.  A server that takes the key but not the
         * login wants more than this one step: it is to be repeated, patiently. */
        if (!a->blind || ssh2_pipeline_key_accepted(a->session)) {
            ssh2_identities_untry(a->ids);
            a->keys_tried--;
        }
        for (size_t i = 0; i < a->order_n; i++) {
            if (fits(a, a->order[i]) || (a->order[i] == PUBLICKEY && ssh2_identities_left(a->ids)))
                return SSH2_AUTH_RESTART;
        }
    }
    a->state = CHOOSE;
    return SSH2_AUTH_DONE;
}

static int key_step(struct ssh2_auth *a)
{
    int result = ssh2_identities_blob(a->ids, &a->blob, &a->blob_n);
    char note[512];

    if (result > 0)
        return SSH2_AUTH_AGAIN;
    if (result < 0) {
        if (!a->passphrase.code)
            ssh2_identities_failure(a->ids, &a->passphrase);
        a->state = CHOOSE;
        return SSH2_AUTH_DONE;
    }
    snprintf(note, sizeof note, "publickey %s", ssh2_identities_label(a->ids));
    a->o.note(a->o.arg, note);
    a->keys_tried++;
    a->state = OFFER;
    a->blind =
        a->haste == SSH2_AUTH_BLIND && a->keys_tried == 1 && ssh2_identities_sure(a->ids);
    if (a->blind && ssh2_pipeline_expect_key(a->session) < 0)
        return -E_NOMEM;
    return SSH2_AUTH_DONE;
}

static int offer_refused(struct ssh2_auth *a, int rc, struct error *e)
{
    struct error why = {0};
    int code = hung_up(a, e);

    if (code)
        return code;
    trace(a, 1, "%s %s", ssh2_identities_label(a->ids),
          ssh2_identities_failure(a->ids, NULL)  ? "cannot sign"
          : ssh2_identities_signed(a->ids) ? "was refused, or was not enough"
                                           : "was refused");
    if (rc == LIBSSH2_ERROR_METHOD_NONE) {
        /* The server takes no RSA signature that we make.  libssh2 keeps the name of the method for
         * its next key, which would then be refused whatever it is. */
        ssh2_identities_drop_rsa(a->ids);
        return SSH2_AUTH_RESTART;
    }
    code = ssh2_identities_failure(a->ids, &why);
    if (code && !a->passphrase.code && code != -E_ARGUMENT)
        a->passphrase = why;
    free(a->allowed);
    a->allowed = NULL;
    /* A signature that did not suffice may be one of several steps: ask what is left. */
    a->state = ssh2_identities_signed(a->ids) || a->decided ? LIST : CHOOSE;
    return SSH2_AUTH_DONE;
}

static int offer_step(struct ssh2_auth *a, struct error *e)
{
    void *abstract = a->ids;
    int rc;

    do {
        ssh2_session_begin(a->session, SSH2_SESSION_ALL);
        rc = libssh2_userauth_publickey(ssh2_session_raw(a->session), a->o.config->user, a->blob,
                                        a->blob_n, ssh2_identities_sign, &abstract);
    } while (ssh2_session_retry(a->session, rc));
    if (ssh2_identities_signed(a->ids))
        a->decided = 1;
    if (rc == 0) {
        a->state = END;
        return SSH2_AUTH_DONE;
    }
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return hung_up(a, e) ? e->code : SSH2_AUTH_AGAIN;
    return offer_refused(a, rc, e);
}

/* A password, or a round of questions, was refused: perhaps it was one of several steps. */
static void relist(struct ssh2_auth *a)
{
    ssh2_prompt_free(a->prompt);
    a->prompt = NULL;
    free(a->allowed);
    a->allowed = NULL;
    a->state = LIST;
}

static int question_step(struct ssh2_auth *a, struct error *e)
{
    int code;

    if (ssh2_prompt_running(a->prompt))
        return SSH2_AUTH_AGAIN;
    code = ssh2_prompt_result(a->prompt, e);
    if (code == 0) {
        ssh2_prompt_free(a->prompt);
        a->prompt = NULL;
        a->state = END;
        return SSH2_AUTH_DONE;
    }
    if (code == -E_DISCONNECTED)
        return hung_up(a, e);
    if (code == -E_CANCELLED || code == -E_NOMEM)
        return code;
    if (code != -E_AUTH) {
        trace(a, 1, "keyboard-interactive: %s (%s)", errors_text(code), e->detail);
        a->given_up[KBDINT] = 1;
        /* The server still waits for the answers: this connection cannot go on. */
        ssh2_prompt_free(a->prompt);
        a->prompt = NULL;
        return SSH2_AUTH_RESTART;
    }
    relist(a);
    return SSH2_AUTH_DONE;
}

static int secret_step(struct ssh2_auth *a, struct error *e)
{
    int code;

    if (ssh2_prompt_running(a->prompt))
        return SSH2_AUTH_AGAIN;
    code = ssh2_prompt_result(a->prompt, e);
    if (code == 0) {
        a->state = SEND;
        return SSH2_AUTH_DONE;
    }
    if (code == -E_CONFIG || code == -E_CANCELLED || code == -E_NOMEM)
        return code;
    trace(a, 1, "password: %s (%s)", errors_text(code), e->detail);
    a->given_up[PASSWORD] = 1;
    ssh2_prompt_free(a->prompt);
    a->prompt = NULL;
    a->state = CHOOSE;
    return SSH2_AUTH_DONE;
}

static int send_step(struct ssh2_auth *a, struct error *e)
{
    const char *user = a->o.config->user;
    size_t n;
    const char *secret = ssh2_prompt_secret(a->prompt, &n);
    int rc, code;

    do {
        ssh2_session_begin(a->session, SSH2_SESSION_ALL);
        rc = libssh2_userauth_password_ex(ssh2_session_raw(a->session), user,
                                          (unsigned)strlen(user), secret, (unsigned)n, NULL);
    } while (ssh2_session_retry(a->session, rc));
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return hung_up(a, e) ? e->code : SSH2_AUTH_AGAIN;
    if (rc == 0) {
        ssh2_prompt_free(a->prompt);
        a->prompt = NULL;
        a->state = END;
        return SSH2_AUTH_DONE;
    }
    code = hung_up(a, e);
    if (code)
        return code;
    if (rc == LIBSSH2_ERROR_PASSWORD_EXPIRED) {
        a->state = END;
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH, "%s", "the password has expired");
    }
    relist(a);
    return SSH2_AUTH_DONE;
}

int ssh2_auth_step(struct ssh2_auth *a, struct error *e)
{
    for (;;) {
        int result;

        switch (a->state) {
        case CHOOSE:
            result = choose(a, e);
            break;
        case LIST:
            result = list_step(a, e);
            break;
        case KEY:
            result = key_step(a);
            break;
        case OFFER:
            result = offer_step(a, e);
            break;
        case QUESTION:
            result = question_step(a, e);
            break;
        case SECRET:
            result = secret_step(a, e);
            break;
        case SEND:
            result = send_step(a, e);
            break;
        default:
            return SSH2_AUTH_DONE;
        }
        if (result != SSH2_AUTH_DONE)
            return result;
        if (a->state == END)
            return SSH2_AUTH_DONE;
    }
}
