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
        return errors_set(e, -E_PASSPHRASE, "%s; tried %s; the server allows %s",
                          a->passphrase.detail, a->tried, safe);
    return errors_set(e, -E_AUTH, "user %s; tried %s; the server allows %s", config->user, a->tried,
                      safe);
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
        return errors_set(e, *beyond ? -E_AUTH_NEEDS_OPENSSH : -E_AUTH, "user %s; tried %s; %s%s%s",
                          a->o.config->user, a->tried, why.detail, *beyond ? "; untried: " : "",
                          beyond);
    }
    return errors_set(e, code, "during authentication: %s", why.detail);
}
