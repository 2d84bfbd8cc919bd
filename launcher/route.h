/* A route: where a target leads and by which transport, from what the user typed, ssh_config and
 * the options.  Knows how the OpenSSH client is called and what its words mean. */
#ifndef GRAPNEL_LAUNCHER_ROUTE_H
#define GRAPNEL_LAUNCHER_ROUTE_H

#include "launcher/grapnel.h"
#include "launcher/transport/transport.h"

struct route;
struct sshconfig;
struct sshsources;

/* Works it out (reads ssh_config; may run `ssh -G`).  NULL with *e filled. */
struct route *route_new(struct grapnel *g, const char *target,
                        const struct grapnel_connect_options *options, struct error *e);
void route_free(struct route *r);

/* What was typed; and "name:port" of the host that this means, NULL when it is not an SSH host. */
const char *route_target(const struct route *r);
const char *route_key(const struct route *r);
/* "ssh2", "openssh", "local" or "command"; static. */
const char *route_transport(const struct route *r);
/* What ssh_config says of that host, likewise NULL. */
const struct sshconfig *route_config(const struct route *r);
/* The files that this was read from (sshsources.h), which are the caller's then; likewise, or NULL
 * the second time. */
struct sshsources *route_take_sources(struct route *r);
/* From the next route_start on this one is asked; NULL: nobody. */
void route_set_asker(struct route *r, struct asker *asker);
/* From now on the transport only asks for the host's key, for `scan`, which must outlive it; of
 * SSH hosts by "ssh2" only.  Where it leads through other hosts or a program, that is run.  0, or
 * negative with *e filled. */
int route_set_scan(struct route *r, const struct transport_scan *scan, struct error *e);
/* From now on messages call the target by this name; before route_start.  0 or -E_NOMEM. */
int route_rename(struct route *r, const char *name);

/* Starts the transport of this route.  NULL with *e filled. */
struct transport *route_start(struct route *r, const char *command,
                              const struct transport_handler *handler, void *arg, struct error *e);

/* True when nothing may be sent before the shell runs: the command is typed into its stdin, and it
 * might read ahead; or a program may be asking a person on the terminal, which then must not be
 * read as the command's input. */
int route_waits_for_shell(const struct route *r);
/* True when another program connects, whose input is a pipe that takes much before it does. */
int route_is_program(const struct route *r);
/* True when a person may be answering questions before the shell runs, and nobody has asked for a
 * time limit: then there is none of ours. */
int route_unhurried(const struct route *r);
/* By how many milliseconds our time limit comes after that of the program, which can say why. */
int64_t route_slack(const struct route *r);

/* The transport failed with *e: true, and the next route_start uses the OpenSSH client, when that
 * may do better (transport "auto", the client is installed, it was not tried yet). */
int route_fall_back(struct route *r, const struct error *e);

/* What may be the matter when the shell stays silent, to be appended to a message: static. */
const char *route_silence(const struct route *r);

/* The program of the transport ended with `status` before the shell ran, having said `said`: if
 * that was the OpenSSH client's own failure, *e is changed to the code that its words mean. */
void route_explain(const struct route *r, int status, const char *said, struct error *e);

#endif
