#include "launcher/ssh/ssh2_core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "launcher/safetext.h"

void ssh2_core_trace(struct ssh2 *t, int level, const char *format, ...)
{
    char text[1200], safe[1200];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    safetext_copy(safe, sizeof safe, text, strlen(text), 0);
    if (!t->doomed)
        t->on.trace(t->arg, level, safe);
}

void ssh2_core_phase(struct ssh2 *t, enum errors_phase which, const char *note)
{
    if (!t->doomed)
        t->on.phase(t->arg, which, note);
}

void ssh2_core_quiet(struct ssh2 *t)
{
    ev_io_stop(t->o.loop, &t->readable);
    ev_io_stop(t->o.loop, &t->writable);
    ev_timer_stop(t->o.loop, &t->deadline);
    ev_timer_stop(t->o.loop, &t->kick);
}

void ssh2_core_fail(struct ssh2 *t, const struct error *e)
{
    struct error copy = *e;

    if (t->stage == SSH2_FAILED)
        return;
    if (t->proxy)
        ssh2_proxy_explain(t->proxy, t->o.config, &copy);
    t->stage = SSH2_FAILED;
    ssh2_core_quiet(t);
    if (!t->doomed)
        t->on.failed(t->arg, &copy);
}

void ssh2_core_kick(struct ssh2 *t)
{
    if (t->stage == SSH2_FAILED || t->doomed || ev_is_active(&t->kick))
        return;
    ev_timer_set(&t->kick, 0, 0);
    ev_timer_start(t->o.loop, &t->kick);
}

void ssh2_core_drop(struct ssh2 *t)
{
    ssh2_core_quiet(t);
    dial_free(t->dial);
    t->dial = NULL;
    ssh2_proxy_free(t->proxy);
    t->proxy = NULL;
    ssh2_channel_free(t->channel);
    t->channel = NULL;
    ssh2_algorithms_free(t->algorithms);
    t->algorithms = NULL;
    if (t->session) {
        t->sent += ssh2_session_sent(t->session);
        t->received += ssh2_session_received(t->session);
    }
    ssh2_session_free(t->session);
    t->session = NULL;
    t->greeted = 0;
}

static void release(struct ssh2 *t)
{
    ssh2_core_quiet(t);
    if (ssh2_auth_free(t->auth)) {
        /* A thread has it, and frees it when it ends: now, as there is nothing left to read. */
        shutdown(ssh2_session_fd(t->session), SHUT_RDWR);
        t->session = NULL;
    }
    t->auth = NULL;
    ssh2_core_drop(t);
    knownhosts_free(t->own_known);
    free(t->command);
    free(t);
}

void ssh2_core_enter(struct ssh2 *t)
{
    t->depth++;
}

void ssh2_core_leave(struct ssh2 *t)
{
    if (--t->depth == 0 && t->doomed)
        release(t);
}

void ssh2_core_deadline(struct ssh2 *t, double seconds)
{
    ev_now_update(t->o.loop);
    ev_timer_stop(t->o.loop, &t->deadline);
    ev_timer_set(&t->deadline, seconds > 0.001 ? seconds : 0.001, 0);
    ev_timer_start(t->o.loop, &t->deadline);
}

int ssh2_core_lost(struct ssh2 *t, struct error *e)
{
    int code = ssh2_session_dead(t->session, NULL, e);

    return code ? code : errors_set(e, -E_DISCONNECTED, "%s", "the SSH connection broke");
}
