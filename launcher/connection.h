/* A server: one agent on one host, from the first packet to the last.  Behind
 * struct grapnel_server of the public header.  Everything here needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_CONNECTION_H
#define GRAPNEL_LAUNCHER_CONNECTION_H

#include "launcher/context.h"
#include "proto/link.h"

#define CONNECTION_LEASE_MS 30000 /* where none is asked for */

struct agents_binary;
struct asker;
struct delivery;
struct instance;
struct route;

/* ---- life; struct grapnel_server's public functions are these, with waiting ---- */

/* As grapnel_open. */
struct grapnel_server *connection_open(struct grapnel *g, const char *target,
                                       const struct grapnel_connect_options *options,
                                       struct error *e);
/* The same for a route that was made with these options, which is taken over. */
struct grapnel_server *connection_open_route(struct grapnel *g, struct route *route,
                                             const struct grapnel_connect_options *options,
                                             struct error *e);
enum grapnel_server_state connection_state(const struct grapnel_server *s);
/* changed(arg, s) runs when connection_state gives something else than it did last time (a state
 * that lasted no longer than one turn of the loop may be left out), before the loop sleeps and from
 * within nothing else: it may do anything but wait, also free s (grapnel_server_free).  One for
 * each server, who counts from connection_open on; NULL: nobody. */
void connection_watch(struct grapnel_server *s,
                      void (*changed)(void *arg, struct grapnel_server *s), void *arg);
/* As grapnel_undeploy, but returns at once: the state changes within timeout_ms.  Does nothing
 * where no agent is, or is on its way out. */
void connection_undeploy(struct grapnel_server *s, int64_t timeout_ms);
/* As grapnel_close, but returns at once: connection_state is GONE when the agent has confirmed it,
 * or the line is lost, which there is no limit for. */
void connection_finish(struct grapnel_server *s);
/* True when the agent has confirmed that all is gone. */
int connection_is_closed(const struct grapnel_server *s);
/* True when what was started on it may have begun on the host. */
int connection_committed(const struct grapnel_server *s);
/* A copy of the facts; NULL: there are none, or memory is out. */
struct value *connection_facts(const struct grapnel_server *s);
/* Nobody is told of its phases and states any more. */
void connection_ignore(struct grapnel_server *s);
/* As grapnel_deploy: 0, or negative with *e filled. */
int connection_deploy(struct grapnel_server *s, struct error *e);
/* The same, and where no line is left, another is made.  Phases are not told any more. */
int connection_revive(struct grapnel_server *s, struct error *e);
/* Who is asked when the next line is made (may be NULL), instead of whom the options have told. */
void connection_set_asker(struct grapnel_server *s, struct asker *asker);
/* The line is closed now, without a word, and everything on it ends with this. */
void connection_cut(struct grapnel_server *s, int code, const char *detail);
/* As grapnel_server_silence. */
int64_t connection_silence(const struct grapnel_server *s);
/* Asks the agent for a sign of life: `answered` runs once, with NULL and the time that it took, or
 * with the cause when the agent ends; never within this call.  0, or negative with *e filled, and
 * then it does not run. */
typedef void connection_answered(void *arg, const struct error *e, int64_t round_trip_us);
int connection_ping(struct grapnel_server *s, connection_answered *answered, void *arg,
                    struct error *e);

/* ---- for the context ---- */

/* Sends what the links of `g` have to send, before the loop sleeps. */
void connection_flush_all(struct grapnel *g);
/* Ends all servers of g with -E_CANCELLED; to be called in the loop. */
void connection_end_all(struct grapnel *g);
/* Frees all servers of g; their exec objects stay with their owners and are ended. */
void connection_free_all(struct grapnel *g);

/* ---- for what runs on a server ---- */

/* The link (usable at once: what is opened before the agent runs is sent along with it); it may
 * have ended, see connection_error. */
struct link *connection_link(struct grapnel_server *s);
struct grapnel *connection_context(struct grapnel_server *s);
const char *connection_target(const struct grapnel_server *s);
/* Why the server is of no use any more; code 0: it lives. */
const struct error *connection_error(const struct grapnel_server *s);
/* The list of those of its commands whose end has not come yet; by exec.c. */
struct grapnel_exec **connection_execs(struct grapnel_server *s);
/* Likewise its instances, by instance.c. */
struct instance **connection_instances(struct grapnel_server *s);
/* What their owners hold, by instances.c. */
struct grapnel_instance **connection_handles(struct grapnel_server *s);
/* The worker's binary for it, by delivery.c: NULL until the first instance. */
struct delivery **connection_delivery(struct grapnel_server *s);
/* The number of its process there; 0: not known. */
int64_t connection_pid(const struct grapnel_server *s);
/* The agent that runs there, or is expected to. */
const struct agents_binary *connection_agent(const struct grapnel_server *s);
/* What the broker knows it by; NULL: it is not reached by way of the broker. */
const char *connection_broker_key(const struct grapnel_server *s);
/* A command was opened on the link: a one-shot server says now that no other follows. */
void connection_command_opened(struct grapnel_server *s);

#endif
