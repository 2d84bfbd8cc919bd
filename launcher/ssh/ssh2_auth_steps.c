/* What ssh2_auth does in each of its states. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/ssh2_auth_impl.h"
#include "launcher/ssh/ssh2_pipeline.h"

int ssh2_auth_list_step(struct ssh2_auth *a, struct error *e)
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
        a->state = SSH2_STATE_END;
        return SSH2_AUTH_DONE;
    }
    if (!list && rc == LIBSSH2_ERROR_EAGAIN)
        return SSH2_AUTH_AGAIN;
    if (!list) {
        int code = ssh2_auth_hung_up(a, e);

        return code ? code : errors_set(e, -E_AUTH, "%s", "the server's answer makes no sense");
    }
    free(a->allowed);
    a->allowed = strdup(list);
    if (!a->allowed)
        return errors_set(e, -E_NOMEM, "%s", "");
    ssh2_auth_trace(a, 2, "the server allows %s", a->allowed);
    if (a->haste != SSH2_AUTH_PATIENT && a->decided) {
        /* What was sent behind the signature is lost.  A server that takes the key but not the
         * login wants more than this one step: it is to be repeated, patiently. */
        if (!a->blind || ssh2_pipeline_key_accepted(a->session)) {
            ssh2_identities_untry(a->ids);
            a->keys_tried--;
        }
        for (size_t i = 0; i < a->order_n; i++) {
            if (ssh2_auth_fits(a, a->order[i]) ||
                (a->order[i] == SSH2_METHOD_PUBLICKEY && ssh2_identities_left(a->ids)))
                return SSH2_AUTH_RESTART;
        }
    }
    a->state = SSH2_STATE_CHOOSE;
    return SSH2_AUTH_DONE;
}

int ssh2_auth_key_step(struct ssh2_auth *a)
{
    int result = ssh2_identities_blob(a->ids, &a->blob, &a->blob_n);
    char note[512];

    if (result > 0)
        return SSH2_AUTH_AGAIN;
    if (result < 0) {
        if (!a->passphrase.code)
            ssh2_identities_failure(a->ids, &a->passphrase);
        a->state = SSH2_STATE_CHOOSE;
        return SSH2_AUTH_DONE;
    }
    snprintf(note, sizeof note, "publickey %s", ssh2_identities_label(a->ids));
    a->o.note(a->o.arg, note);
    a->keys_tried++;
    a->state = SSH2_STATE_OFFER;
    a->blind = a->haste == SSH2_AUTH_BLIND && a->keys_tried == 1 && ssh2_identities_sure(a->ids);
    if (a->blind && ssh2_pipeline_expect_key(a->session) < 0)
        return -E_NOMEM;
    return SSH2_AUTH_DONE;
}

static int offer_refused(struct ssh2_auth *a, int rc, struct error *e)
{
    struct error why = {0};
    int code = ssh2_auth_hung_up(a, e);

    if (code)
        return code;
    ssh2_auth_trace(a, 1, "%s %s", ssh2_identities_label(a->ids),
                    ssh2_identities_failure(a->ids, NULL) ? "cannot sign"
                    : ssh2_identities_signed(a->ids)      ? "was refused, or was not enough"
                                                          : "was refused");
    if (rc == LIBSSH2_ERROR_METHOD_NONE) {
        /* The server takes no RSA signature that we make.  libssh2 keeps the name of the method for
         * its next key, which would then be refused whatever it is. */
        ssh2_identities_drop_rsa(a->ids);
        return SSH2_AUTH_RESTART;
    }
    if (a->haste != SSH2_AUTH_PATIENT && ssh2_identities_is_rsa(a->ids) && a->keys_tried == 1 &&
        !a->repeated_rsa) {
        /* Perhaps only because the server's list of algorithms was still under way. */
        a->repeated_rsa = 1;
        a->keys_tried--;
        ssh2_identities_untry(a->ids);
        return SSH2_AUTH_RESTART;
    }
    code = ssh2_identities_failure(a->ids, &why);
    if (code && !a->passphrase.code && code != -E_ARGUMENT)
        a->passphrase = why;
    free(a->allowed);
    a->allowed = NULL;
    /* A signature that did not suffice may be one of several steps: ask what is left. */
    a->state = ssh2_identities_signed(a->ids) || a->decided ? SSH2_STATE_LIST : SSH2_STATE_CHOOSE;
    return SSH2_AUTH_DONE;
}

int ssh2_auth_offer_step(struct ssh2_auth *a, struct error *e)
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
        a->state = SSH2_STATE_END;
        return SSH2_AUTH_DONE;
    }
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return ssh2_auth_hung_up(a, e) ? e->code : SSH2_AUTH_AGAIN;
    return offer_refused(a, rc, e);
}

/* A password, or a round of questions, was refused: perhaps it was one of several steps. */
static void relist(struct ssh2_auth *a)
{
    ssh2_prompt_free(a->prompt);
    a->prompt = NULL;
    free(a->allowed);
    a->allowed = NULL;
    a->state = SSH2_STATE_LIST;
}

int ssh2_auth_question_step(struct ssh2_auth *a, struct error *e)
{
    int code;

    if (ssh2_prompt_running(a->prompt))
        return SSH2_AUTH_AGAIN;
    code = ssh2_prompt_result(a->prompt, e);
    if (code == 0) {
        ssh2_prompt_free(a->prompt);
        a->prompt = NULL;
        a->state = SSH2_STATE_END;
        return SSH2_AUTH_DONE;
    }
    if (code == -E_DISCONNECTED)
        return ssh2_auth_hung_up(a, e);
    if (code == -E_CONFIG || code == -E_CANCELLED || code == -E_NOMEM)
        return code;
    if (code != -E_AUTH) {
        ssh2_auth_unasked(a, SSH2_METHOD_KBDINT, e);
        /* The server still waits for the answers: this connection cannot go on. */
        ssh2_prompt_free(a->prompt);
        a->prompt = NULL;
        return SSH2_AUTH_RESTART;
    }
    relist(a);
    return SSH2_AUTH_DONE;
}

int ssh2_auth_secret_step(struct ssh2_auth *a, struct error *e)
{
    int code;

    if (ssh2_prompt_running(a->prompt))
        return SSH2_AUTH_AGAIN;
    code = ssh2_prompt_result(a->prompt, e);
    if (code == 0) {
        a->state = SSH2_STATE_SEND;
        return SSH2_AUTH_DONE;
    }
    if (code == -E_CONFIG || code == -E_CANCELLED || code == -E_NOMEM)
        return code;
    ssh2_auth_unasked(a, SSH2_METHOD_PASSWORD, e);
    ssh2_prompt_free(a->prompt);
    a->prompt = NULL;
    a->state = SSH2_STATE_CHOOSE;
    return SSH2_AUTH_DONE;
}

int ssh2_auth_send_step(struct ssh2_auth *a, struct error *e)
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
        return ssh2_auth_hung_up(a, e) ? e->code : SSH2_AUTH_AGAIN;
    if (rc == 0) {
        ssh2_prompt_free(a->prompt);
        a->prompt = NULL;
        a->state = SSH2_STATE_END;
        return SSH2_AUTH_DONE;
    }
    code = ssh2_auth_hung_up(a, e);
    if (code)
        return code;
    if (rc == LIBSSH2_ERROR_PASSWORD_EXPIRED) {
        a->state = SSH2_STATE_END;
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH, "%s", "the password has expired");
    }
    relist(a);
    return SSH2_AUTH_DONE;
}
