/* The heartbeat of a link: round trips, leases, and what is given back when it is idle. */
#include "proto/link_internal.h"

void link_ping(struct link *l, bool measure)
{
    struct frame f = {.type = FRAME_PING, .ping = {.token = ++l->ping_token}};
    if (measure) {
        l->rtt_token = l->ping_token;
        l->rtt_sent = l->now;
    }
    l->pings++;
    link_must_put(l, &f);
}

uint64_t link_probe(struct link *l, uint64_t now_us)
{
    if (!link_alive(l)) {
        return 0;
    }
    if (now_us > l->now) {
        l->now = now_us;
    }
    link_enter(l);
    link_ping(l, l->rtt_token == 0);
    uint64_t token = link_alive(l) ? l->ping_token : 0;
    link_leave(l);
    return token;
}

void link_pong(struct link *l, uint64_t token)
{
    l->pings -= l->pings > 0;
    link_mark_answered(l, token);
    if (token != l->rtt_token || l->rtt_token == 0) {
        return;
    }
    /* Queues on the way only ever add to a sample, so the smallest are the truest; larger ones
     * count a little, for a line that has changed. */
    uint64_t sample = l->now - l->rtt_sent + 1;
    link_mark_round_trip(l, sample);
    if (l->rtt == 0 || sample < l->rtt) {
        l->rtt = sample;
    } else {
        l->rtt += (sample - l->rtt) / 16;
    }
    l->rtt_when = l->now;
    l->rtt_token = 0;
}

/* A third of the shorter lease, in µs; 0: nobody has one. */
static uint64_t ping_interval(const struct link *l)
{
    uint64_t peer = (uint64_t)l->peer_lease_ms * 1000;
    uint64_t shorter = peer == 0 || (l->lease_us != 0 && l->lease_us < peer) ? l->lease_us : peer;
    return shorter / 3;
}

/* Links of one process that beat slowly do so in the same moment: what costs then is that it wakes.
 */
static uint64_t next_beat(const struct link *l, uint64_t interval)
{
    return interval < LINK_TOGETHER_US ? l->now + interval : (l->now / interval + 1) * interval;
}

/* It hears us by the PONG, and we have heard it: that is a beat for both. */
void link_pinged(struct link *l)
{
    if (!l->opener) {
        l->next_ping = l->now + ping_interval(l) * 5 / 4;
    }
}

/* The first beat, which comes at once, is to measure: what is to end soon is not held up for that.
 * If it comes to sending much, put_data makes up for it. */
static void beat(struct link *l)
{
    bool spared = !l->beating && (l->goodbye_said || l->peer_goodbye);
    l->beating = true;
    if (!spared && l->pings < LINK_PINGS_MAX) {
        link_ping(l, l->rtt_token == 0);
    }
}

/* An opener does not count the time in which the peer is still being started. */
static bool lease_runs(const struct link *l)
{
    return l->lease_us != 0 && (l->greeted || !l->opener);
}

static void check_lease(struct link *l)
{
    /* If we were stopped for a while, what the peer sent meanwhile waits to be read: the time in
     * which we did not run is not the peer's silence. */
    if (l->now - l->last_tick > l->lease_us * 2 / 3 && l->now - l->last_heard >= l->lease_us) {
        l->last_heard = l->now - l->lease_us * 2 / 3;
    }
    if (l->now - l->last_heard >= l->lease_us) {
        link_broken(l, l->opener ? -E_SILENT : -E_LEASE, "nothing heard for %llu ms",
                    (unsigned long long)((l->now - l->last_heard) / 1000));
    }
}

/* Gives buffers back that were not used since the last tick. */
static void trim(struct link *l)
{
    if (!l->out_used) {
        wire_trim(&l->out, LINK_IDLE_KEEP);
        wire_trim(&l->control, LINK_IDLE_KEEP);
        wire_trim(&l->gather, LINK_IDLE_KEEP);
        wire_trim(&l->unpacked, LINK_IDLE_KEEP);
        link_free_spare(l);
    }
    l->out_used = false;
}

uint64_t link_tick(struct link *l, uint64_t now_us)
{
    if (!link_alive(l)) {
        return UINT64_MAX;
    }
    if (now_us > l->now) {
        l->now = now_us;
    }
    link_enter(l);
    trim(l);
    uint64_t next = UINT64_MAX;
    uint64_t interval = ping_interval(l);
    if (lease_runs(l)) {
        check_lease(l);
        uint64_t lapse = l->last_heard + l->lease_us;
        uint64_t look = l->now + l->lease_us / 3; /* often enough to see that we were stopped */
        next = lapse < look ? lapse : look;
    }
    if (link_alive(l) && l->greeted && interval != 0) {
        if (l->now >= l->next_ping) {
            beat(l);
            l->next_ping = next_beat(l, interval);
        }
        next = l->next_ping < next ? l->next_ping : next;
    }
    /* Only to give memory back, which a long lease would leave lying for long. */
    if ((l->out.size > LINK_IDLE_KEEP || l->spare != NULL) && next - l->now > LINK_RTT_LIFE_US) {
        next = l->now + LINK_RTT_LIFE_US;
    }
    l->last_tick = l->now;
    link_leave(l);
    return link_alive(l) ? next : UINT64_MAX;
}
