#include "launcher/ssh/ssh2_auth_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/safetext.h"
#include "launcher/ssh/ssh2_pipeline.h"
#include "launcher/ssh/ssh2_prompt.h"

const char *const ssh2_auth_methods[SSH2_METHODS] = {"publickey", "keyboard-interactive",
                                                     "password"};

void ssh2_auth_trace(const struct ssh2_auth *a, int level, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    a->o.trace(a->o.arg, level, text);
}

int ssh2_auth_listed(const char *list, const char *name)
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

static int enabled(const struct sshconfig *config, enum ssh2_method m)
{
    switch (m) {
    case SSH2_METHOD_PUBLICKEY:
        return config->pubkey_authentication;
    case SSH2_METHOD_KBDINT:
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

        for (size_t m = 0; m < SSH2_METHODS; m++) {
            if (strlen(ssh2_auth_methods[m]) == n && memcmp(ssh2_auth_methods[m], list, n) == 0 &&
                a->order_n < SSH2_METHODS && enabled(a->o.config, (enum ssh2_method)m))
                a->order[a->order_n++] = (enum ssh2_method)m;
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
                                        .asker = options->asker,
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
    a->state = SSH2_STATE_CHOOSE;
    free(a->allowed);
    a->allowed = NULL;
}

void ssh2_auth_undecided(struct ssh2_auth *a)
{
    if (!a->keys_tried || (!a->decided && a->state != SSH2_STATE_OFFER))
        return;
    ssh2_identities_untry(a->ids);
    a->keys_tried--;
}

int ssh2_auth_may_hurry(const struct ssh2_auth *a, int extensions)
{
    return a->order_n && a->order[0] == SSH2_METHOD_PUBLICKEY && ssh2_identities_ready(a->ids) &&
           ssh2_identities_left(a->ids) > 0 && (extensions || !ssh2_identities_next_is_rsa(a->ids));
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
    return a && a->state == SSH2_STATE_QUESTION && a->prompt && ssh2_prompt_running(a->prompt);
}

/* ---- choosing ---- */

/* How often a person is asked; a file does not change its mind. */
static unsigned prompts_max(const struct ssh2_auth *a)
{
    return ssh2_prompt_from_file(a->o.asker) ? 1 : a->o.config->password_prompts;
}

/* A method fits when the server allows it (as far as that is known) and there is something to try.
 */
int ssh2_auth_fits(struct ssh2_auth *a, enum ssh2_method m)
{
    if (a->given_up[m] || (a->allowed && !ssh2_auth_listed(a->allowed, ssh2_auth_methods[m])))
        return 0;
    if (m == SSH2_METHOD_PUBLICKEY)
        return ssh2_identities_left(a->ids) > 0;
    if (!a->allowed)
        return 1;
    if (a->possible < 0) {
        a->possible = ssh2_prompt_possible(a->o.config, a->o.interactive, a->o.asker);
        if (!a->possible)
            ssh2_auth_trace(a, 1, "%s is not tried: nobody can be asked", ssh2_auth_methods[m]);
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

static int begin_prompt(struct ssh2_auth *a, enum ssh2_method m, struct error *e)
{
    struct ssh2_prompt_options o = {.blocking = a->o.blocking,
                                    .config = a->o.config,
                                    .interactive = a->o.interactive,
                                    .asker = a->o.asker,
                                    .wake = on_prompt,
                                    .arg = a};

    a->o.note(a->o.arg, ssh2_auth_methods[m]);
    if (m == SSH2_METHOD_KBDINT)
        a->prompt = ssh2_prompt_kbdint(&o, a->session, e);
    else
        a->prompt = ssh2_prompt_password(&o, a->prompts[m] > 0, e);
    if (!a->prompt)
        return e->code;
    a->prompts[m]++;
    a->state = m == SSH2_METHOD_KBDINT ? SSH2_STATE_QUESTION : SSH2_STATE_SECRET;
    return SSH2_AUTH_AGAIN;
}

static int choose(struct ssh2_auth *a, struct error *e)
{
    if (!ssh2_identities_ready(a->ids))
        return SSH2_AUTH_AGAIN;
    for (size_t i = 0; i < a->order_n; i++) {
        enum ssh2_method m = a->order[i];

        if (!ssh2_auth_fits(a, m))
            continue;
        if (m == SSH2_METHOD_PUBLICKEY) {
            ssh2_identities_next(a->ids);
            a->state = SSH2_STATE_KEY;
            return SSH2_AUTH_DONE;
        }
        if (!a->allowed)
            break;
        return begin_prompt(a, m, e);
    }
    if (a->allowed)
        return ssh2_auth_give_up(a, e);
    a->state = SSH2_STATE_LIST;
    return SSH2_AUTH_DONE;
}

int ssh2_auth_step(struct ssh2_auth *a, struct error *e)
{
    for (;;) {
        int result;

        switch (a->state) {
        case SSH2_STATE_CHOOSE:
            result = choose(a, e);
            break;
        case SSH2_STATE_LIST:
            result = ssh2_auth_list_step(a, e);
            break;
        case SSH2_STATE_KEY:
            result = ssh2_auth_key_step(a);
            break;
        case SSH2_STATE_OFFER:
            result = ssh2_auth_offer_step(a, e);
            break;
        case SSH2_STATE_QUESTION:
            result = ssh2_auth_question_step(a, e);
            break;
        case SSH2_STATE_SECRET:
            result = ssh2_auth_secret_step(a, e);
            break;
        case SSH2_STATE_SEND:
            result = ssh2_auth_send_step(a, e);
            break;
        default:
            return SSH2_AUTH_DONE;
        }
        if (result != SSH2_AUTH_DONE)
            return result;
        if (a->state == SSH2_STATE_END)
            return SSH2_AUTH_DONE;
    }
}
