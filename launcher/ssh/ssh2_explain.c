#include "launcher/ssh/ssh2_explain.h"

#include <string.h>

#include "launcher/safetext.h"

/* The server's first bytes, for a person. */
static void excerpt(const struct ssh2_session *s, char *out, size_t size)
{
    size_t n;
    const uint8_t *first = ssh2_greeting_first(ssh2_session_greeting(s), &n);

    safetext_copy(out, size, first, n < 80 ? n : 80, 0);
}

/* OpenSSH says no in plain text when it does not want to talk at all. */
static int turned_away(const char *text)
{
    return strncmp(text, "Exceeded MaxStartups", 20) == 0 ||
           strncmp(text, "Not allowed at this time", 24) == 0;
}

int ssh2_explain_failure(struct ssh2_session *s, const struct ssh2_algorithms *a,
                         const struct sshconfig *config, int rc, struct error *e)
{
    const struct ssh2_greeting *g = ssh2_session_greeting(s);
    char text[400];
    char *said = NULL;
    int code, n;

    excerpt(s, text, sizeof text);
    code = ssh2_session_dead(s, NULL, e);
    if (!*ssh2_greeting_version(g)) {
        if (turned_away(text))
            return errors_set(e, -E_DISCONNECTED, "the server said: %s", text);
        if (*text)
            return errors_set(e, -E_NOT_SSH, "it began with: %s", text);
        if (code)
            return errors_set(e, -E_DISCONNECTED,
                              "before the server said anything (MaxStartups, or access rules?)");
    }
    if (!ssh2_greeting_disconnect(g)) {
        int why = ssh2_algorithms_explain(a, g, config, e);

        if (why)
            return why;
    }
    if (code)
        return code;
    libssh2_session_last_error(ssh2_session_raw(s), &said, &n, 0);
    return errors_set(e, -E_KEX, "%s (%d)", said ? said : "", rc);
}

/* Beginnings of other protocols whose servers speak first. */
static int is_foreign(const char *text)
{
    static const char *const others[] = {"HTTP/", "220 ", "220-", "* OK", "+OK ", "RFB 0", "554 "};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strncmp(text, others[i], strlen(others[i])) == 0)
            return 1;
    }
    return 0;
}

int ssh2_explain_greeting(const struct ssh2_session *s, struct error *e)
{
    const char *version = ssh2_greeting_version(ssh2_session_greeting(s));
    char text[400];

    if (!*version) {
        excerpt(s, text, sizeof text);
        if (ssh2_session_greeting_error(s) == -E_NOT_SSH || is_foreign(text))
            return errors_set(e, -E_NOT_SSH, "it began with: %s", text);
        return 0;
    }
    if (strncmp(version, "SSH-2.0-", 8) == 0 || strncmp(version, "SSH-1.99-", 9) == 0)
        return 0;
    safetext_copy(text, sizeof text, version, strlen(version), 0);
    return errors_set(e, -E_KEX, "the server speaks only an old protocol: %s", text);
}

int ssh2_explain_timeout(const struct ssh2_session *s, double seconds, struct error *e)
{
    char text[400];

    if (*ssh2_greeting_version(ssh2_session_greeting(s)))
        return errors_set(e, -E_KEX_TIMEOUT, "the key exchange was not done within %.1f s",
                          seconds);
    excerpt(s, text, sizeof text);
    if (*text)
        return errors_set(e, -E_NOT_SSH, "it began with: %s", text);
    return errors_set(e, -E_MUTE, "it was silent for %.1f s", seconds);
}
