#include "launcher/ssh/ssh2_pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/sshkey.h"
#include "proto/wire.h"

#define RELEASE "1.11.1"

enum {
    MSG_SERVICE_ACCEPT = 6,
    MSG_USERAUTH_PK_OK = 60,
    MSG_CHANNEL_REQUEST = 98,
    MSG_CHANNEL_SUCCESS = 99,
    MSG_CHANNEL_FAILURE = 100
};

/* libssh2's own names and types, as in its 1.11.1 sources; see the header on why they are weak. */
extern int _libssh2_transport_send(LIBSSH2_SESSION *session, const unsigned char *data,
                                   size_t data_len, const unsigned char *data2, size_t data2_len)
    __attribute__((weak));
extern int _libssh2_packet_add(LIBSSH2_SESSION *session, unsigned char *data, size_t datalen,
                               int macstate, uint32_t seq) __attribute__((weak));
extern int _libssh2_packet_ask(LIBSSH2_SESSION *session, unsigned char packet_type,
                               unsigned char **data, size_t *data_len, int match_ofs,
                               const unsigned char *match_buf, size_t match_len)
    __attribute__((weak));

enum { MAC_CONFIRMED = 0 }; /* packet_add: nothing is wrong with it */

int ssh2_pipeline_available(void)
{
    return strcmp(LIBSSH2_VERSION, RELEASE) == 0 && strcmp(libssh2_version(0), RELEASE) == 0 &&
           _libssh2_transport_send && _libssh2_packet_add && _libssh2_packet_ask;
}

int ssh2_pipeline_expect_key(struct ssh2_session *s)
{
    /* libssh2 looks at the type only, and frees it. */
    unsigned char *packet = calloc(1, 16);

    if (!packet)
        return -E_NOMEM;
    packet[0] = MSG_USERAUTH_PK_OK;
    return _libssh2_packet_add(ssh2_session_raw(s), packet, 16, MAC_CONFIRMED, 0) == 0 ? 0
                                                                                       : -E_NOMEM;
}

int ssh2_pipeline_exec(struct ssh2_session *s, const char *command)
{
    struct wire_buf b = {0};
    int code = -E_DISCONNECTED;

    /* RFC 4254 sections 5.4 and 6.5 */
    if (wire_put_u8(&b, MSG_CHANNEL_REQUEST) < 0 || wire_put_u32(&b, 0) < 0 ||
        sshkey_put_string(&b, "exec", 4) < 0 || wire_put_u8(&b, 1) < 0 ||
        sshkey_put_string(&b, command, strlen(command)) < 0)
        goto out;
    ssh2_session_begin(s, 0);
    if (_libssh2_transport_send(ssh2_session_raw(s), wire_data(&b), wire_length(&b), NULL, 0) == 0)
        code = 0;
out:
    wire_free(&b);
    return code;
}

/* Takes one message of a type out of the queue: true when there was one. */
static int take(struct ssh2_session *s, unsigned char type, const unsigned char *match, size_t n)
{
    unsigned char *data;
    size_t length;

    if (_libssh2_packet_ask(ssh2_session_raw(s), type, &data, &length, 1, match, n) != 0)
        return 0;
    libssh2_free(ssh2_session_raw(s), data);
    return 1;
}

int ssh2_pipeline_exec_answer(struct ssh2_session *s)
{
    static const unsigned char first_channel[4] = {0, 0, 0, 0};

    if (take(s, MSG_CHANNEL_SUCCESS, first_channel, 4))
        return 1;
    return take(s, MSG_CHANNEL_FAILURE, first_channel, 4) ? -1 : 0;
}

int ssh2_pipeline_key_accepted(struct ssh2_session *s)
{
    return take(s, MSG_USERAUTH_PK_OK, NULL, 0);
}

void ssh2_pipeline_clean(struct ssh2_session *s)
{
    if (!ssh2_pipeline_available())
        return;
    while (take(s, MSG_SERVICE_ACCEPT, NULL, 0) || take(s, MSG_USERAUTH_PK_OK, NULL, 0))
        continue;
}
