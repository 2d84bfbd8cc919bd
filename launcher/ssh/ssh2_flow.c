#include "launcher/ssh/ssh2_flow.h"

#include <errno.h>

enum {
    READ_SIZE = 65536,   /* of the buffer (on the stack) that input is handed on in */
    READ_TURN = 1 << 20, /* bytes handed on before other connections get their turn */
};

int ssh2_flow_reads(struct ssh2 *t)
{
    if (!t->paused)
        return 1;
    return ((t->wants_room && ssh2_channel_starved(t->channel)) ||
            (t->wants_eof && !t->sent_eof)) &&
           ssh2_channel_may_drain(t->channel);
}

/* Hands on what there is of one stream.  1: its end; 0: all for now; negative: lost. */
static int hand_on(struct ssh2 *t, int stream, size_t *turn, struct error *e)
{
    uint8_t buffer[READ_SIZE];

    while (!t->paused && !t->doomed) {
        ssize_t got = ssh2_channel_read(t->channel, stream, buffer, sizeof buffer);

        if (got == -EAGAIN)
            return ssh2_session_dead(t->session, NULL, e);
        if (got == 0)
            return 1;
        if (got < 0)
            return ssh2_core_lost(t, e);
        if (stream)
            t->on.diagnostics(t->arg, buffer, (size_t)got);
        else
            t->on.input(t->arg, buffer, (size_t)got);
        *turn += (size_t)got;
        if (*turn >= READ_TURN && !t->doomed) {
            ssh2_core_kick(t);
            return 0;
        }
    }
    return 0;
}

static int step_input(struct ssh2 *t, struct error *e)
{
    size_t turn = 0;
    int out, diagnostics;

    if (t->paused) {
        if (ssh2_flow_reads(t))
            ssh2_channel_drain(t->channel);
        return 1;
    }
    out = hand_on(t, 0, &turn, e);
    if (out < 0 || t->doomed)
        return out;
    diagnostics = hand_on(t, 1, &turn, e);
    if (diagnostics < 0 || t->doomed)
        return diagnostics;
    if (out != 1 || diagnostics != 1)
        return 1;
    t->stage = SSH2_CLOSING;
    return 0;
}

static int step_output(struct ssh2 *t, struct error *e)
{
    if (t->stage != SSH2_RUN || t->doomed)
        return 0;
    if (t->wants_eof && !t->sent_eof) {
        int result = ssh2_channel_send_eof(t->channel);

        if (result < 0)
            return ssh2_core_lost(t, e);
        t->sent_eof = result == SSH2_CHANNEL_DONE;
    }
    /* Asked even when nobody wants room: what a key exchange held back goes here. */
    if (ssh2_channel_room(t->channel) && t->wants_room && !t->wants_eof) {
        t->wants_room = 0;
        t->on.writable(t->arg);
    }
    return 0;
}

static int step_run(struct ssh2 *t, struct error *e)
{
    int result = t->broken ? ssh2_core_lost(t, e) : step_input(t, e);

    if (result < 0 || t->doomed)
        return result;
    return step_output(t, e) < 0 ? e->code : result;
}

static int step_closing(struct ssh2 *t, struct error *e)
{
    int status = -1;
    int result = ssh2_channel_finish(t->channel, &status);

    if (result == SSH2_CHANNEL_AGAIN)
        return 1;
    if (result < 0)
        return ssh2_core_lost(t, e);
    t->stage = SSH2_IDLE;
    t->on.finished(t->arg, status);
    return t->stage == SSH2_IDLE ? 0 : 1;
}

/* The finished channel stays until the next: libssh2 reads for channels only. */
static int step_idle(struct ssh2 *t, struct error *e)
{
    return ssh2_channel_rest(t->channel) < 0 ? ssh2_core_lost(t, e) : 1;
}

int ssh2_flow_step(struct ssh2 *t, struct error *e)
{
    if (t->stage == SSH2_IDLE)
        return step_idle(t, e);
    return t->stage == SSH2_RUN ? step_run(t, e) : step_closing(t, e);
}

size_t ssh2_flow_write(struct ssh2 *t, const uint8_t *bytes, size_t n)
{
    ssize_t taken;

    if (t->stage != SSH2_RUN || t->wants_eof || t->broken)
        return 0;
    taken = ssh2_channel_write(t->channel, bytes, n);
    if (taken < 0) {
        t->broken = 1;
        ssh2_core_kick(t);
        return 0;
    }
    if ((size_t)taken < n)
        t->wants_room = 1;
    return (size_t)taken;
}
