/* How a login ends without success, in words. */
#include <stdio.h>
#include <string.h>

#include "launcher/safetext.h"
#include "launcher/ssh/ssh2_auth_impl.h"

enum { DISCONNECT_NO_MORE_METHODS = 14 }; /* RFC 4253 section 11.1 */

static void describe_tried(struct ssh2_auth *a)
{
    size_t used = 0;

    a->tried[0] = '\0';
    if (a->keys_tried)
        used = (size_t)snprintf(a->tried, sizeof a->tried, "publickey (%u key%s)", a->keys_tried,
                                a->keys_tried == 1 ? "" : "s");
    for (size_t m = SSH2_METHOD_KBDINT; m < SSH2_METHODS; m++) {
        if (a->prompts[m] && used < sizeof a->tried)
            used += (size_t)snprintf(a->tried + used, sizeof a->tried - used, "%s%s",
                                     used ? ", " : "", ssh2_auth_methods[m]);
    }
    if (!used)
        snprintf(a->tried, sizeof a->tried, "nothing");
}

void ssh2_auth_unasked(struct ssh2_auth *a, enum ssh2_method m, const struct error *e)
{
    a->given_up[m] = 1;
    ssh2_auth_trace(a, 1, "%s: %s (%s)", ssh2_auth_methods[m], errors_text(e->code), e->detail);
    snprintf(a->unasked, sizeof a->unasked, "; %s: %.200s", ssh2_auth_methods[m],
             e->detail[0] ? e->detail : errors_text(e->code));
}

/* Appends to what is said of a failure what was not even tried.  Returns the error's code. */
static int add_untried(const struct ssh2_auth *a, struct error *e)
{
    unsigned more;
    const char *skipped = ssh2_identities_skipped(a->ids, &more);
    size_t used = strlen(e->detail);
    char count[40] = "";

    if (more)
        snprintf(count, sizeof count, " and %u more", more);
    snprintf(e->detail + used, sizeof e->detail - used, "%s%s%s%s%s%s%s",
             *skipped ? "; not used: " : "", skipped, count,
             a->possible == 0 ? "; nobody to ask for a password (" : "",
             a->possible == 0 ? ssh2_prompt_why_not(a->o.config, a->o.interactive) : "",
             a->possible == 0 ? ")" : "", a->unasked);
    return e->code;
}

int ssh2_auth_give_up(struct ssh2_auth *a, struct error *e)
{
    const char *beyond = ssh2_identities_beyond(a->ids);
    const char *allowed = a->allowed ? a->allowed : "?";
    const struct sshconfig *config = a->o.config;
    char safe[300];

    a->state = SSH2_STATE_END;
    describe_tried(a);
    safetext_copy(safe, sizeof safe, allowed, strlen(allowed), 0);
    if (*beyond)
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH,
                          "tried %s; the server allows %s; libssh2 cannot use %s", a->tried, safe,
                          beyond);
    if ((ssh2_auth_listed(allowed, "gssapi-with-mic") && config->gssapi_authentication) ||
        (ssh2_auth_listed(allowed, "hostbased") && config->hostbased_authentication))
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH,
                          "tried %s; the server allows %s, of which libssh2 lacks the rest",
                          a->tried, safe);
    if (a->passphrase.code)
        errors_set(e, -E_PASSPHRASE, "%.300s; tried %s; the server allows %s", a->passphrase.detail,
                   a->tried, safe);
    else
        errors_set(e, -E_AUTH, "user %.100s; tried %s; the server allows %s", config->user,
                   a->tried, safe);
    return add_untried(a, e);
}

int ssh2_auth_hung_up(struct ssh2_auth *a, struct error *e)
{
    unsigned reason = 0;
    struct error why = {0};
    int code = ssh2_session_dead(a->session, &reason, &why);

    if (code == 0)
        return 0;
    a->state = SSH2_STATE_END;
    if (reason == DISCONNECT_NO_MORE_METHODS || strstr(why.detail, "authentication failures")) {
        const char *beyond = ssh2_identities_beyond(a->ids);

        describe_tried(a);
        errors_set(e, *beyond ? -E_AUTH_NEEDS_OPENSSH : -E_AUTH,
                   "user %.100s; tried %s; %.200s%s%.200s", a->o.config->user, a->tried, why.detail,
                   *beyond ? "; untried: " : "", beyond);
        return add_untried(a, e);
    }
    return errors_set(e, code, "during authentication: %s", why.detail);
}
