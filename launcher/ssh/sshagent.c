#include "launcher/ssh/sshagent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { /* message numbers */
       AGENT_FAILURE = 5,
       AGENT_REQUEST_IDENTITIES = 11,
       AGENT_IDENTITIES_ANSWER = 12,
       AGENT_SIGN_REQUEST = 13,
       AGENT_SIGN_RESPONSE = 14,
};

enum state { STATE_IDLE, STATE_SENDING, STATE_RECEIVING, STATE_BROKEN };

struct sshagent {
    int fd;
    enum state state;
    uint8_t expected; /* the answer's message number */
    struct wire_buf out;
    struct wire_buf in; /* the answer: identities and the signature point into it */
    struct sshagent_identity *identities;
    char *comments; /* all of them, terminated */
    size_t count;
    const uint8_t *signature;
    size_t signature_n;
};

int sshagent_adopt(int fd, struct sshagent **out, struct error *e)
{
    *out = NULL;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return errors_set_system(e, -E_IO, errno, "ssh-agent socket");
    struct sshagent *a = calloc(1, sizeof *a);
    if (a == NULL)
        return errors_set(e, -E_NOMEM, "ssh-agent");
    a->fd = fd;
    a->out.limit = a->in.limit = SSHAGENT_MESSAGE_MAX + 4;
    *out = a;
    return 0;
}

int sshagent_open(const char *path, struct sshagent **out, struct error *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *out = NULL;
    if (strlen(path) >= sizeof address.sun_path)
        return errors_set(e, -E_ARGUMENT, "ssh-agent socket: path too long: %.200s", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errors_set_system(e, errno == EMFILE || errno == ENFILE ? -E_DESCRIPTORS : -E_SYSTEM,
                                 errno, "socket");
    int rc = 0;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        /* A Unix socket connects at once, or EAGAIN says that the agent's queue is full. */
        rc = errors_set_system(e, errno == EAGAIN ? -E_LIMIT : -E_IO, errno, "ssh-agent at %.200s",
                               path);
        goto out;
    }
    rc = sshagent_adopt(fd, out, e);
out:
    if (rc != 0)
        close(fd);
    return rc;
}

/* Drops the last answer. */
static void forget(struct sshagent *a)
{
    free(a->identities);
    free(a->comments);
    a->identities = NULL;
    a->comments = NULL;
    a->count = 0;
    a->signature = NULL;
    a->signature_n = 0;
    wire_free(&a->in);
    wire_free(&a->out);
}

void sshagent_free(struct sshagent *a)
{
    if (a == NULL)
        return;
    forget(a);
    close(a->fd);
    free(a);
}

int sshagent_fd(const struct sshagent *a)
{
    return a->fd;
}

static int ready_for_request(struct sshagent *a)
{
    if (a->state == STATE_BROKEN)
        return -E_CLOSED;
    if (a->state != STATE_IDLE)
        return -E_ARGUMENT;
    forget(a);
    return 0;
}

int sshagent_list(struct sshagent *a)
{
    int rc = ready_for_request(a);
    if (rc == 0)
        rc = wire_put_u32(&a->out, 1);
    if (rc == 0)
        rc = wire_put_u8(&a->out, AGENT_REQUEST_IDENTITIES);
    if (rc != 0)
        return rc;
    a->expected = AGENT_IDENTITIES_ANSWER;
    a->state = STATE_SENDING;
    return 0;
}

int sshagent_sign(struct sshagent *a, const void *blob, size_t blob_n, const void *data, size_t n,
                  unsigned flags)
{
    int rc = ready_for_request(a);
    if (rc != 0)
        return rc;
    if (blob_n > SSHAGENT_MESSAGE_MAX || n > SSHAGENT_MESSAGE_MAX ||
        blob_n + n + 13 > SSHAGENT_MESSAGE_MAX)
        return -E_TOO_LARGE;
    rc = wire_put_u32(&a->out, (uint32_t)(1 + 4 + blob_n + 4 + n + 4));
    if (rc == 0)
        rc = wire_put_u8(&a->out, AGENT_SIGN_REQUEST);
    if (rc == 0)
        rc = sshkey_put_string(&a->out, blob, blob_n);
    if (rc == 0)
        rc = sshkey_put_string(&a->out, data, n);
    if (rc == 0)
        rc = wire_put_u32(&a->out, flags);
    if (rc != 0) {
        forget(a);
        return rc;
    }
    a->expected = AGENT_SIGN_RESPONSE;
    a->state = STATE_SENDING;
    return 0;
}

unsigned sshagent_flags(const char *algorithm)
{
    if (strncmp(algorithm, "rsa-sha2-256", 12) == 0)
        return SSHAGENT_RSA_SHA2_256;
    return strncmp(algorithm, "rsa-sha2-512", 12) == 0 ? SSHAGENT_RSA_SHA2_512 : 0;
}

static int malformed(const char *what, struct error *e)
{
    return errors_set(e, -E_MALFORMED, "ssh-agent: %s", what);
}

/* The list: u32 count, then blob and comment for each. */
static int decode_identities(struct sshagent *a, struct wire_reader *r, struct error *e)
{
    uint32_t count = wire_get_u32(r);
    if (r->short_read || count > SSHAGENT_IDENTITIES_MAX || count > r->left / 8)
        return malformed("a bad number of identities", e);
    size_t room = r->left + count; /* a comment and its terminator cost no more than it came with */
    a->identities = calloc((size_t)count + 1, sizeof *a->identities);
    a->comments = malloc(room + 1);
    if (a->identities == NULL || a->comments == NULL)
        return errors_set(e, -E_NOMEM, "ssh-agent");
    char *to = a->comments;
    for (uint32_t i = 0; i < count; i++) {
        struct sshagent_identity *identity = &a->identities[a->count];
        const uint8_t *comment;
        size_t n;
        sshkey_get_string(r, &identity->blob, &identity->blob_n);
        sshkey_get_string(r, &comment, &n);
        if (r->short_read)
            return malformed("a cut list of identities", e);
        if (sshkey_type(identity->blob, identity->blob_n, identity->type) != 0)
            continue; /* a kind of key that has no name is of no use to us */
        identity->comment = to;
        if (n > 0)
            memcpy(to, comment, n);
        to[n] = '\0';
        to += n + 1;
        a->count++;
    }
    return r->left == 0 ? 0 : malformed("bytes behind the list of identities", e);
}

static int decode_signature(struct sshagent *a, struct wire_reader *r, struct error *e)
{
    char algorithm[SSHKEY_NAME_MAX];
    sshkey_get_string(r, &a->signature, &a->signature_n);
    if (r->short_read || r->left != 0)
        return malformed("a damaged signature answer", e);
    /* What stands behind the name is the key type's own business (FIDO keys have more there). */
    if (sshkey_type(a->signature, a->signature_n, algorithm) != 0)
        return malformed("a damaged signature", e);
    return 0;
}

static int decode(struct sshagent *a, struct error *e)
{
    struct wire_reader r;
    int rc;
    wire_reader_init(&r, wire_data(&a->in), wire_length(&a->in));
    (void)wire_get_u32(&r); /* the length: it is all here */
    uint8_t message = wire_get_u8(&r);
    if (message != a->expected) {
        /* 30 and 102 are old words for failure. */
        if (message == AGENT_FAILURE || message == 30 || message == 102)
            return errors_set(e, -E_AUTH, "ssh-agent refused");
        return malformed("an answer that was not asked for", e);
    }
    rc = message == AGENT_IDENTITIES_ANSWER ? decode_identities(a, &r, e)
                                            : decode_signature(a, &r, e);
    if (rc != 0)
        forget(a);
    return rc;
}

/* Sends what is there.  0: all of it. */
static int send_some(struct sshagent *a, struct error *e)
{
    while (wire_length(&a->out) > 0) {
        ssize_t n = send(a->fd, wire_data(&a->out), wire_length(&a->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return SSHAGENT_WANT_WRITE;
        if (n < 0)
            return errors_set_system(e, errno == EPIPE ? -E_DISCONNECTED : -E_IO, errno,
                                     "ssh-agent");
        wire_take(&a->out, (size_t)n);
    }
    return 0;
}

/* Receives up to the end of the answer and not a byte more.  0: all of it. */
static int receive_some(struct sshagent *a, struct error *e)
{
    for (;;) {
        size_t have = wire_length(&a->in), want = 4;
        struct wire_reader r;
        uint8_t *at;
        if (have >= 4) {
            wire_reader_init(&r, wire_data(&a->in), 4);
            uint32_t length = wire_get_u32(&r);
            if (length == 0)
                return malformed("an empty answer", e);
            if (length > SSHAGENT_MESSAGE_MAX)
                return errors_set(e, -E_TOO_LARGE, "ssh-agent: an answer of %u bytes",
                                  (unsigned)length);
            want = 4 + (size_t)length;
        }
        if (have >= 4 && have == want)
            return 0;
        int rc = wire_reserve(&a->in, want - have, &at);
        if (rc != 0)
            return errors_set(e, rc, "ssh-agent");
        ssize_t n = recv(a->fd, at, want - have, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return SSHAGENT_WANT_READ;
        if (n < 0)
            return errors_set_system(e, errno == ECONNRESET ? -E_DISCONNECTED : -E_IO, errno,
                                     "ssh-agent");
        if (n == 0)
            return errors_set(e, -E_DISCONNECTED, "ssh-agent closed the connection");
        wire_commit(&a->in, (size_t)n);
    }
}

int sshagent_step(struct sshagent *a, struct error *e)
{
    int rc = 0;
    if (a->state == STATE_BROKEN)
        return errors_set(e, -E_CLOSED, "ssh-agent");
    if (a->state == STATE_SENDING) {
        rc = send_some(a, e);
        if (rc == 0)
            a->state = STATE_RECEIVING;
    }
    if (rc == 0 && a->state == STATE_RECEIVING) {
        rc = receive_some(a, e);
        if (rc == 0) {
            a->state = STATE_IDLE;
            rc = decode(a, e);
        }
    }
    if (rc < 0 && rc != -E_AUTH)
        a->state = STATE_BROKEN;
    return rc;
}

size_t sshagent_count(const struct sshagent *a)
{
    return a->count;
}

const struct sshagent_identity *sshagent_identity(const struct sshagent *a, size_t i)
{
    return i < a->count ? &a->identities[i] : NULL;
}

const uint8_t *sshagent_signature(const struct sshagent *a, size_t *n)
{
    *n = a->signature_n;
    return a->signature;
}
