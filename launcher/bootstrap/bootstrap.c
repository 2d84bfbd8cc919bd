#include "launcher/bootstrap/bootstrap.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/bootstrap_script.h"
#include "launcher/safetext.h"
#include "proto/wire.h"

#define NONCE_SIZE    16
#define LINE_MAX_SIZE 512
#define EXCERPT       BOOTSTRAP_TEXT
#define LAST          400 /* bytes of it that a message shows */

#define FEW_DESCRIPTORS "; too few file descriptors there (ulimit -n)?"

enum state { NOISE, WAITING, STARTED, ENDED };

struct bootstrap {
    struct bootstrap_options options;
    char nonce[2 * NONCE_SIZE + 1];
    char *command;
    uint8_t *plain; /* the agent, where it is sent unpacked */
    enum state state;
    struct wire_buf text; /* not understood yet */
    size_t noise;         /* bytes before the first status line */
    char said[EXCERPT];   /* end of the noise */
    size_t said_length;
    char diagnostics[EXCERPT];
    size_t diagnostics_length;
    char uname[64];
    char failure[64]; /* words after "fail" */
    char kept[16];    /* the word after "kept" */
};

static int user_name_is_plain(const char *user)
{
    if (*user == '-')
        return 0;
    return user[strspn(
               user, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
}

/* Bytes of it that are sent. */
static size_t agent_size(const struct bootstrap *b)
{
    if (b->options.keep == BOOTSTRAP_KEPT)
        return 0;
    return b->options.plain ? b->options.agent->plain_size : b->options.agent->packed_size;
}

/* The packed agent is not copied: hundreds of connections would hold it hundreds of times. */
static int make_payload(struct bootstrap *b, struct error *e)
{
    if (agent_size(b) && b->options.plain &&
        (b->plain = agents_unpack(b->options.agent, e)) == NULL)
        return -E_AGENT_TAMPERED;
    return 0;
}

struct bootstrap *bootstrap_new(const struct bootstrap_options *options, struct error *e)
{
    struct bootstrap *b = NULL;
    uint8_t nonce[NONCE_SIZE];

    if (options->sudo_user &&
        (strlen(options->sudo_user) > 32 || !user_name_is_plain(options->sudo_user))) {
        errors_set(e, -E_ARGUMENT, "\"%.40s\" is not a user name", options->sudo_user);
        return NULL;
    }
    b = calloc(1, sizeof *b);
    if (!b) {
        errors_set(e, -E_NOMEM, "bootstrap");
        return NULL;
    }
    b->options = *options;
    randombytes_buf(nonce, sizeof nonce);
    sodium_bin2hex(b->nonce, sizeof b->nonce, nonce, sizeof nonce);
    if (make_payload(b, e) < 0) {
        bootstrap_free(b);
        return NULL;
    }
    b->command = bootstrap_script(&b->options, agent_size(b), b->nonce);
    if (!b->command) {
        errors_set(e, -E_NOMEM, "the start command");
        bootstrap_free(b);
        return NULL;
    }
    return b;
}

void bootstrap_free(struct bootstrap *b)
{
    if (!b)
        return;
    wire_free(&b->text);
    free(b->command);
    free(b->plain);
    free(b);
}

const char *bootstrap_command(const struct bootstrap *b)
{
    return b->command;
}

size_t bootstrap_payload_size(const struct bootstrap *b)
{
    return agent_size(b) + (agent_size(b) ? BOOTSTRAP_PADDING : BOOTSTRAP_LEAD);
}

const uint8_t *bootstrap_payload(const struct bootstrap *b, size_t at, size_t *n)
{
    static const uint8_t padding[BOOTSTRAP_PADDING];
    size_t size = agent_size(b);

    if (at < size) {
        *n = size - at;
        return (b->plain ? b->plain : b->options.agent->packed) + at;
    }
    *n = bootstrap_payload_size(b) - at;
    return padding + (at - size);
}

int bootstrap_shell_runs(const struct bootstrap *b)
{
    return *b->uname != '\0';
}

/* Keeps the last EXCERPT bytes of what was said. */
static void keep_tail(char *tail, size_t *length, const uint8_t *bytes, size_t n)
{
    size_t old = *length, keep;

    if (n >= EXCERPT) {
        memcpy(tail, bytes + (n - EXCERPT), EXCERPT);
        *length = EXCERPT;
        return;
    }
    keep = old + n > EXCERPT ? EXCERPT - n : old;
    memmove(tail, tail + (old - keep), keep);
    memcpy(tail + keep, bytes, n);
    *length = keep + n;
}

void bootstrap_diagnostics(struct bootstrap *b, const uint8_t *bytes, size_t n)
{
    keep_tail(b->diagnostics, &b->diagnostics_length, bytes, n);
}

void bootstrap_noise(const struct bootstrap *b, char *text, size_t n)
{
    const char *bytes = !b ? "" : b->diagnostics_length ? b->diagnostics : b->said;
    size_t length = !b ? 0 : b->diagnostics_length ? b->diagnostics_length : b->said_length;

    while (length && (bytes[length - 1] == '\n' || bytes[length - 1] == '\r'))
        length--;
    if (length >= n) {
        bytes += length - n + 1;
        length = n - 1;
    }
    safetext_copy(text, n, bytes, length, SAFETEXT_LINES);
    for (char *at = text; (at = strpbrk(at, "\n\t")); at++)
        *at = *at == '\n' ? '|' : ' ';
}

static void drop_noise(struct bootstrap *b, size_t n)
{
    keep_tail(b->said, &b->said_length, wire_data(&b->text), n);
    b->noise += n;
    wire_take(&b->text, n);
}

/* The rest of a status line that begins at the front of b->text, or NULL when it is not whole.
 * Sets *length (without newline) and leaves the bytes where they are. */
static const char *whole_line(const struct bootstrap *b, size_t skip, size_t *length)
{
    const char *at = (const char *)wire_data(&b->text) + skip;
    const char *end = memchr(at, '\n', wire_length(&b->text) - skip);

    *length = end ? (size_t)(end - at) : 0;
    return end ? at : NULL;
}

static void copy_word(char *to, size_t size, const char *from, size_t n)
{
    if (n >= size)
        n = size - 1;
    memcpy(to, from, n);
    to[n] = '\0';
}

/* Looks for "@grapnel NONCE sys UNAME\n" anywhere in the noise. */
static enum bootstrap_result find_system(struct bootstrap *b, struct error *e)
{
    char marker[64];
    size_t marker_length, length;
    const uint8_t *hit;
    const char *line;

    marker_length = (size_t)snprintf(marker, sizeof marker, "@grapnel %s sys ", b->nonce);
    hit = wire_length(&b->text)
              ? memmem(wire_data(&b->text), wire_length(&b->text), marker, marker_length)
              : NULL;
    if (!hit) {
        if (wire_length(&b->text) >= marker_length)
            drop_noise(b, wire_length(&b->text) - marker_length + 1);
        if (b->noise > BOOTSTRAP_NOISE_MAX) {
            char last[LAST];
            bootstrap_noise(b, last, sizeof last);
            errors_set(e, -E_SHELL, "it only printed %zu bytes of text: …%s", b->noise, last);
            return BOOTSTRAP_FAILED;
        }
        return BOOTSTRAP_MORE;
    }
    drop_noise(b, (size_t)(hit - wire_data(&b->text)));
    line = whole_line(b, marker_length, &length);
    if (!line && wire_length(&b->text) < LINE_MAX_SIZE)
        return BOOTSTRAP_MORE;
    if (!line || length >= sizeof b->uname) {
        errors_set(e, -E_SHELL, "it sent an endless status line");
        return BOOTSTRAP_FAILED;
    }
    copy_word(b->uname, sizeof b->uname, line, length);
    wire_take(&b->text, marker_length + length + 1);
    b->state = WAITING;
    return BOOTSTRAP_MORE;
}

/* What the script says when it gives up. */
static enum bootstrap_result judge_failure(struct bootstrap *b, struct error *e)
{
    const char *why = b->failure;

    b->state = ENDED;
    if (strcmp(why, "arch") == 0 || strcmp(why, "gzip") == 0 || strncmp(why, "space ", 6) == 0)
        return BOOTSTRAP_AGAIN;
    if (strncmp(why, "keep ", 5) == 0 && b->options.keep == BOOTSTRAP_KEPT)
        return BOOTSTRAP_AGAIN;
    if (strcmp(why, "files") == 0)
        errors_set(e, -E_AGENT_START, "the shell could not redirect output%s", FEW_DESCRIPTORS);
    else if (strncmp(why, "tool ", 5) == 0)
        errors_set(e, -E_NO_TOOL, "%s", why + 5);
    else if (strcmp(why, "noexec") == 0)
        errors_set(e, -E_NO_EXEC,
                   "tried $TMPDIR, /tmp, /var/tmp, /dev/shm, $XDG_RUNTIME_DIR, $HOME");
    else if (strcmp(why, "notemp") == 0 && b->options.skip)
        errors_set(e, -E_NO_SPACE, "%zu bytes are needed", b->options.agent->plain_size);
    else if (strcmp(why, "notemp") == 0)
        errors_set(e, -E_NO_TEMP,
                   "tried $TMPDIR, /tmp, /var/tmp, /dev/shm, $XDG_RUNTIME_DIR, $HOME");
    else
        errors_set(e, -E_AGENT_START, "the start script failed");
    return BOOTSTRAP_FAILED;
}

/* One line of the script's: whether the agent is kept, or its last words. */
static enum bootstrap_result judge_line(struct bootstrap *b, const char *line, size_t length,
                                        struct error *e)
{
    char fail[64], kept[64];
    size_t n = (size_t)snprintf(fail, sizeof fail, "@grapnel %s fail ", b->nonce);

    snprintf(kept, sizeof kept, "@grapnel %s kept ", b->nonce);
    if (length >= n && memcmp(line, fail, n) == 0) {
        copy_word(b->failure, sizeof b->failure, line + n, length - n);
        return judge_failure(b, e);
    }
    if (length >= n && memcmp(line, kept, n) == 0 && !*b->kept && length > n) {
        copy_word(b->kept, sizeof b->kept, line + n, length - n);
        wire_take(&b->text, length + 1);
        return BOOTSTRAP_MORE;
    }
    errors_set(e, -E_PROTOCOL, "the start script sent an unknown status");
    return BOOTSTRAP_FAILED;
}

/* After the first status line: the agent's preface, if not the script has something to say. */
static enum bootstrap_result find_start(struct bootstrap *b, struct error *e)
{
    enum bootstrap_result result = BOOTSTRAP_MORE;

    while (result == BOOTSTRAP_MORE && wire_length(&b->text)) {
        size_t length;
        const char *line;
        if (*wire_data(&b->text) != '@') {
            b->state = STARTED;
            return BOOTSTRAP_STARTED;
        }
        line = whole_line(b, 0, &length);
        if (!line && wire_length(&b->text) < LINE_MAX_SIZE)
            return BOOTSTRAP_MORE;
        if (!line) {
            errors_set(e, -E_PROTOCOL, "the start script sent an endless status");
            return BOOTSTRAP_FAILED;
        }
        result = judge_line(b, line, length, e);
    }
    return result;
}

enum bootstrap_result bootstrap_input(struct bootstrap *b, const uint8_t *bytes, size_t n,
                                      size_t *used, struct error *e)
{
    enum bootstrap_result result = BOOTSTRAP_MORE;

    *used = n;
    if (b->state == ENDED)
        return BOOTSTRAP_MORE;
    if (wire_put(&b->text, bytes, n) < 0) {
        errors_set(e, -E_NOMEM, "bootstrap");
        return BOOTSTRAP_FAILED;
    }
    if (b->state == NOISE)
        result = find_system(b, e);
    if (b->state == WAITING)
        result = find_start(b, e);
    if (result == BOOTSTRAP_STARTED) {
        *used = n - wire_length(&b->text);
        wire_free(&b->text);
    }
    return result;
}

static int mentions(const char *text, const char *word)
{
    return strcasestr(text, word) != NULL;
}

/* Shells put aside what they redirect at number 10 and above: EINVAL if that is over the limit. */
static int lacks_descriptors(const char *said)
{
    return mentions(said, "Invalid argument") || mentions(said, "Too many open files");
}

static int judge_sudo(const char *said, const char *last, struct error *e)
{
    if (mentions(said, "password") || mentions(said, "askpass") || mentions(said, "terminal"))
        return errors_set(e, -E_SUDO_PASSWORD, "%s", last);
    return errors_set(e, -E_SUDO, "%s", last);
}

enum bootstrap_result bootstrap_ended(struct bootstrap *b, int status, struct error *e)
{
    char said[EXCERPT + 1], last[LAST], ending[40] = "it ended";

    if (wire_length(&b->text) && b->state == NOISE)
        drop_noise(b, wire_length(&b->text));
    bootstrap_noise(b, said, sizeof said);
    bootstrap_noise(b, last, sizeof last);
    if (status >= 0)
        snprintf(ending, sizeof ending, "exit status %d", status);
    if (b->state == WAITING && status == 87)
        errors_set(e, -E_AGENT_TAMPERED, "the host's copy differs from ours");
    else if (bootstrap_shell_runs(b))
        errors_set(e, -E_AGENT_START, "%s%s%s%s", ending, *last ? ": " : "", last,
                   lacks_descriptors(said) ? FEW_DESCRIPTORS : "");
    else if (b->options.sudo_user && (mentions(said, "sudo") || mentions(said, "password")))
        judge_sudo(said, last, e);
    else if (mentions(said, "not available") || mentions(said, "nologin"))
        errors_set(e, -E_NOLOGIN, "%s", last);
    else
        errors_set(e, -E_SHELL, "%s%s%s", ending, *last ? "; it said: " : ", without a word", last);
    b->state = ENDED;
    return BOOTSTRAP_FAILED;
}

/* The reason will be the same next time. */
static int cannot_keep(const char *why)
{
    return strcmp(why, "tool") == 0 || strcmp(why, "home") == 0 || strcmp(why, "owner") == 0;
}

const char *bootstrap_kept(const struct bootstrap *b, int *level)
{
    static const struct {
        const char *word;
        int level;
        const char *text;
    } words[] = {
        {"used", 1, "the agent kept on the host was checked, and is used"},
        {"none", 2, "no agent is kept on the host yet"},
        {"ok", 1, "the agent is kept on the host for the next time"},
        {"home", 1, "no agent can be kept on the host: there is no HOME"},
        {"tool", 1,
         "no kept agent can be used: the host has no b2sum, sha256sum, openssl or shasum to check "
         "it with"},
        {"space", 1, "the agent is not kept: the host's ~/.cache/grapnel cannot be written"},
        {"owner", 0,
         "the host's ~/.cache/grapnel is not a folder of this account: nothing is kept there"},
        {"mode", 0, "others could have changed the agent kept on the host: it is replaced"},
        {"hash", 0, "the agent kept on the host was changed or damaged: it is replaced"},
    };
    const char *word = b->kept;

    if (strncmp(b->failure, "keep ", 5) == 0)
        word = b->failure + 5;
    else if (b->state == STARTED && b->options.keep == BOOTSTRAP_KEPT)
        word = words[0].word;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        *level = words[i].level;
        if (strcmp(word, words[i].word) == 0)
            return words[i].text;
    }
    return NULL;
}

const char *bootstrap_next(const struct bootstrap *b, struct bootstrap_options *options)
{
    if (strcmp(b->failure, "arch") == 0)
        return b->uname;
    if (strcmp(b->failure, "gzip") == 0)
        options->plain = 1;
    if (strncmp(b->failure, "keep ", 5) == 0)
        options->keep = cannot_keep(b->failure + 5) ? BOOTSTRAP_KEEP_NOT : BOOTSTRAP_KEEP;
    /* "space 2": the second directory is full.  A liar only shortens the list. */
    if (strncmp(b->failure, "space ", 6) == 0) {
        long number = strtol(b->failure + 6, NULL, 10);
        options->skip = number > options->skip && number < 100 ? (int)number : options->skip + 1;
    }
    return NULL;
}
