/* Marks: how fast what a link sends gets through.
 *
 * A mark is a PING that does not go ahead of the data but in line with it.  The peer answers it as
 * soon as it comes, whether or not anybody there reads the data; so the time until then is that of
 * the line with all its buffers, and of nothing else.  The shortest round trip that was ever
 * measured is taken for that of the idle line; what a mark takes more, it stood behind data.  There
 * is one at a time, and only while there is data to send, since only deflate wants to know. */
#include "proto/link_internal.h"

int link_mark_put(struct link *l)
{
    struct link_marks *m = &l->marks;
    uint64_t at = l->sent + wire_length(&l->out);
    if (m->token != 0 || at - m->at < LINK_MARK_BYTES || l->now - m->put < LINK_MARK_US) {
        return 0;
    }
    struct frame f = {.type = FRAME_PING, .ping = {.token = ++l->ping_token}};
    m->token = l->ping_token;
    m->told.sent = (double)(at - m->at);
    m->told.data = m->told.sent + (double)(l->saved_sending - m->saved);
    m->put = l->now;
    m->at = at;
    m->saved = l->saved_sending;
    l->pings++;
    return frames_encode(&l->out, &f);
}

void link_mark_round_trip(struct link *l, uint64_t us)
{
    if (l->marks.least == 0 || us < l->marks.least) {
        l->marks.least = us;
    }
}

void link_mark_taken(struct link *l, bool all)
{
    struct link_marks *m = &l->marks;
    if (m->waiting) {
        m->blocked += l->now - m->waiting_since;
    }
    m->waiting = !all;
    m->waiting_since = l->now;
}

void link_mark_answered(struct link *l, uint64_t token)
{
    struct link_marks *m = &l->marks;
    if (m->token == 0 || token != m->token) {
        return;
    }
    uint64_t trip = l->now - m->put + 1;
    uint64_t took = l->now - m->answered;
    /* While there is data, and room in the pipe, the next mark follows soon after an answer: what
     * is beyond was idle time. */
    uint64_t busy = trip + LINK_MARK_US > m->blocked ? trip + LINK_MARK_US : m->blocked;
    took = took < busy ? took : busy;
    took = took > trip ? took : trip;
    bool known = m->least != 0;
    link_mark_round_trip(l, trip);
    m->told.took_us = (double)took;
    m->told.idle_us = (double)m->least;
    m->told.late_us = (double)(trip - m->least);
    m->told.blocked_us = (double)(m->blocked < took ? m->blocked : took);
    m->token = 0;
    m->answered = l->now;
    m->blocked = 0;
    if (known) {
        deflate_policy_mark(&l->policy, &m->told);
    }
}
