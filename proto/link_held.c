/* What of the peer's is held back while much waits to be sent.
 *
 * An end that stops reading because it cannot get rid of its answers waits for the peer to read
 * them; if the peer does the same, both wait forever.  So it is not reading that stops, but work:
 * calls that come while LINK_CONTROL_MAX bytes wait are kept, and handed out when there is room
 * again.  What can be kept is bounded by calls_max and LINK_CALLS_BYTES; calls beyond are refused,
 * and only the refusals of a peer that keeps to neither bound make the link congested.
 * A RELEASE waits behind the calls before it, which may need what it releases. */
#include "proto/link_internal.h"

#define HELD_HEAD 8 /* id, and bytes of the body */

bool link_holds(const struct link *l)
{
    return wire_length(&l->held) > 0 || link_backlog(l) > LINK_CONTROL_MAX;
}

int link_hold(struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    if (wire_length(&l->held) + HELD_HEAD + n > LINK_HELD_MAX) {
        return -E_LIMIT;
    }
    size_t before = wire_length(&l->held);
    int rc = wire_put_u32(&l->held, id);
    if (rc == 0) {
        rc = wire_put_u32(&l->held, (uint32_t)n);
    }
    if (rc == 0) {
        rc = wire_put(&l->held, body, n);
    }
    if (rc != 0) {
        l->held.end = l->held.start + before;
    }
    return rc;
}

bool link_may_unhold(const struct link *l)
{
    return link_alive(l) && wire_length(&l->held) > 0 && link_backlog(l) <= LINK_CONTROL_MAX;
}

static void let_go(struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    if (id == 0) {
        link_released(l, body, n);
        return;
    }
    struct call *c = link_find_call(l, id);
    if (c == NULL || !c->held) {
        return;
    }
    c->held = false;
    if (c->cancelled) {
        link_fail(l, id, -E_CANCELLED, "");
    } else {
        link_hand_out(l, id, body, n);
    }
}

void link_unhold(struct link *l)
{
    bool some = wire_length(&l->held) > 0;
    while (link_may_unhold(l)) {
        struct wire_reader r;
        wire_reader_init(&r, wire_data(&l->held), HELD_HEAD);
        uint32_t id = wire_get_u32(&r);
        size_t n = wire_get_u32(&r);
        let_go(l, id, r.at, n);
        wire_take(&l->held, HELD_HEAD + n);
    }
    if (some) {
        wire_trim(&l->held, LINK_IDLE_KEEP);
    }
}
