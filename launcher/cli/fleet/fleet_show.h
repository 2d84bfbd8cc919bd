/* Where the output of many hosts goes, as the options say: lines with the host's name, equal output
 * once, differences, JSON, files, or nowhere. */
#ifndef GRAPNEL_CLI_FLEET_SHOW_H
#define GRAPNEL_CLI_FLEET_SHOW_H

#include <jansson.h>

#include "launcher/cli/fleet/fleet_flow.h"
#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

struct fleet_show;

/* names: of `count` hosts; they, o and flow must outlive it.  NULL with *error (also when the
 * folder of --outdir cannot be made). */
struct fleet_show *fleet_show_new(const struct options *o, const char *const *names, size_t count,
                                  struct fleet_flow *flow, struct grapnel_error *error);
void fleet_show_free(struct fleet_show *s);

/* True when it shows output with the result, not as it comes. */
int fleet_show_gathers(const struct fleet_show *s);
/* n bytes of the host's stdout (1) or stderr (2).  0, or -1 when they could not be kept or written:
 * the host's error of its own, see fleet_show_error. */
int fleet_show_output(struct fleet_show *s, size_t host, int which, const void *bytes, size_t n);
/* The host has ended.  object: what there is to tell of it as JSON, but for output, for --json
 * (else NULL); taken.  values: its output is beside a value, which is in the object. */
void fleet_show_ended(struct fleet_show *s, const struct grapnel_fleet_result *r, json_t *object,
                      int values);
/* All have ended. */
void fleet_show_done(struct fleet_show *s);
/* Gives the flow what is to be shown, as far as that has room.  True while there is more. */
int fleet_show_more(struct fleet_show *s);
/* errno of what went wrong when this host's files were written; 0: nothing. */
int fleet_show_error(const struct fleet_show *s, size_t host);

#endif
