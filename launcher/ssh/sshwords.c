#include "launcher/ssh/sshwords.h"

#include <stdio.h>
#include <string.h>

#define SSH_FAILED 255
#define SHOWN      500 /* bytes of what it said that a message repeats */

/* First match wins, wherever it stands: what a proxy says comes before what ssh makes of its end.
 * from: where the particulars begin in a text that is mostly alarm; NULL: show the end of it. */
static const struct {
    const char *words;
    enum errors_code code;
    const char *from;
} table[] = {
    {"Could not resolve hostname", E_RESOLVE, NULL},
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", E_HOSTKEY_CHANGED, "The fingerprint for"},
    {"is marked as revoked", E_HOSTKEY_REVOKED, "The "},
    {"REVOKED HOST KEY", E_HOSTKEY_REVOKED, "The "},
    {"Host key verification failed", E_HOSTKEY_UNKNOWN, NULL},
    {"Connection refused", E_REFUSED, NULL},
    {"No route to host", E_UNREACHABLE, NULL},
    {"Network is unreachable", E_UNREACHABLE, NULL},
    {"timed out during banner exchange", E_MUTE, NULL},
    {"timed out", E_CONNECT_TIMEOUT, NULL},
    {"Permission denied (", E_AUTH, NULL}, /* with its methods; without, a file may be meant */
    {"Too many authentication failures", E_AUTH, NULL},
    {"no matching", E_KEX, NULL},
    {"Bad configuration option", E_CONFIG, NULL},
    {"Bad owner or permissions on", E_CONFIG, NULL},
    {"kex_exchange_identification: Connection closed", E_DISCONNECTED, NULL},
    {"kex_exchange_identification: read: Connection reset", E_DISCONNECTED, NULL},
    {"kex_exchange_identification: write: Broken pipe", E_DISCONNECTED, NULL},
    {"kex_exchange_identification", E_NOT_SSH, NULL},
    {"banner exchange:", E_NOT_SSH, NULL},
    {"stdio forwarding failed", E_DISCONNECTED, NULL},
    {"Connection closed", E_DISCONNECTED, NULL},
    {"Connection reset", E_DISCONNECTED, NULL},
    {"Received disconnect", E_DISCONNECTED, NULL},
};

static int is_within_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static const char *last_of(const char *said)
{
    size_t length = strlen(said);

    if (length <= SHOWN)
        return said;
    said += length - SHOWN;
    while (is_within_character(*said))
        said++;
    return said;
}

/* Bytes of the text that are shown, from its beginning. */
static int first_of(const char *text)
{
    int length = (int)strnlen(text, SHOWN);

    while (length > 0 && is_within_character(text[length]))
        length--;
    return length;
}

/* True when ssh's words were understood. */
static int by_words(const char *said, struct error *e)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *from;

        if (!strstr(said, table[i].words))
            continue;
        from = table[i].from ? strstr(said, table[i].from) : NULL;
        if (!from)
            from = last_of(said);
        errors_set(e, -(int)table[i].code, "%.*s", first_of(from), from);
        return 1;
    }
    return 0;
}

/* It ended before any SSH server had named itself. */
static int before_greeting(const struct sshwords *about)
{
    return strstr(about->said, "kex_exchange_identification") ||
           strstr(about->said, "stdio forwarding failed");
}

/* Whose end it was may be the proxy's fault, and a person has to know by which way it went. */
static void add_way(const struct sshwords *about, struct error *e)
{
    size_t used = strlen(e->detail), room = sizeof e->detail - used;
    int is_early = e->code == -E_DISCONNECTED && before_greeting(about);

    if (about->proxy_jump)
        snprintf(e->detail + used, room, "; by way of %.150s (ProxyJump)", about->proxy_jump);
    else if (about->proxy_command)
        snprintf(e->detail + used, room, "; by ProxyCommand %.250s", about->proxy_command);
    else if (is_early)
        snprintf(e->detail + used, room,
                 "; before it had named itself: MaxStartups, access rules, or no SSH server?");
    /* ssh has no words of its own when the proxy ends before it has written anything. */
    if ((about->proxy_jump || about->proxy_command) && (is_early || e->code == -E_TRANSPORT))
        e->code = -E_PROXY;
}

void sshwords_explain(const struct sshwords *about, struct error *e)
{
    const char *last = last_of(about->said);

    if (about->status == SSH_FAILED && by_words(about->said, e)) {
        add_way(about, e);
    } else if (about->any_command && about->status > 0 && e->code == -E_SHELL) {
        errors_set(e, -E_TRANSPORT, "exit status %d%s%s", about->status,
                   *last ? ": " : ", without a word", last);
    } else if (!about->any_command && about->status == SSH_FAILED) {
        errors_set(e, -E_TRANSPORT, "ssh: %s", *last ? last : "exit status 255, without a word");
        add_way(about, e);
    }
}
