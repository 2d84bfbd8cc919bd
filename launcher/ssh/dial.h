/* Opens a TCP connection to a named host without blocking the loop: resolves in a thread (numeric
 * addresses at once), then tries the addresses by RFC 8305 ("happy eyeballs"): families take turns,
 * a new attempt starts every 250 ms or as soon as one fails, and the first that connects wins. */
#ifndef GRAPNEL_LAUNCHER_DIAL_H
#define GRAPNEL_LAUNCHER_DIAL_H

#include <ev.h>
#include <netdb.h>
#include <stdint.h>

#include "launcher/blocking.h"
#include "proto/errors.h"

#define DIAL_ADDRESSES_MAX 16  /* a name's further addresses are left out */
#define DIAL_STAGGER_MS    250 /* RFC 8305, "Connection Attempt Delay" */
#define DIAL_NOTE_MAX      128 /* bytes of "ADDRESS port N" with terminator */

struct dial;

struct dial_options {
    struct ev_loop *loop;
    struct blocking *blocking;
    const char *host;                 /* name or numeric address, IPv6 without brackets */
    unsigned port;                    /* 1..65535 */
    const struct addrinfo *addresses; /* instead of resolving host; borrowed until the end */
    int family;                       /* AF_UNSPEC, AF_INET or AF_INET6 */
    const char *bind_address;         /* name or address to connect from; NULL: any */
    const char *bind_interface;       /* interface to connect through; NULL: any */
    int keepalive;                    /* set SO_KEEPALIVE */
    int64_t timeout_ms;               /* for all of it, but not for waiting until it is the
                                         name's turn to be resolved; 0: none of our own */
    /* An address is being tried: "192.0.2.1 port 22".  May be NULL. */
    void (*trying)(void *arg, const char *note);
    /* The end, once: fd >= 0 (non-blocking, close-on-exec, TCP_NODELAY; the receiver's to close)
     * with note, or -1 with e: -E_RESOLVE, -E_REFUSED, -E_UNREACHABLE, -E_CONNECT_TIMEOUT,
     * -E_DESCRIPTORS, -E_NOMEM, -E_SYSTEM; its detail names each address that was tried. */
    void (*done)(void *arg, int fd, const char *note, const struct error *e);
    void *arg;
};

/* Starts.  *options is copied, its strings as well.  Callbacks run from the loop, never from here.
 * NULL with *e filled (-E_NOMEM, -E_SYSTEM: no thread).  The caller frees it, in `done` or at any
 * other time. */
struct dial *dial_start(const struct dial_options *options, struct error *e);

/* When the time that it is allowed has begun, by the loop's clock; once it is under way. */
double dial_began(const struct dial *d);

/* Gives up what is under way and frees.  NULL is legal. */
void dial_free(struct dial *d);

/* Puts the addresses of a list into the order in which they are tried: the families take turns,
 * beginning with that of the first; the order within a family stays.  Writes at most n pointers
 * into the list to `order` and returns how many. */
size_t dial_order(const struct addrinfo *list, const struct addrinfo **order, size_t n);

#endif
