/* Signals by their names without "SIG", as they go over the wire: the table itself is signals.def.
 */
#ifndef GRAPNEL_PROTO_SIGNALS_H
#define GRAPNEL_PROTO_SIGNALS_H

/* The name of a signal of this system; static.  NULL: it has none. */
const char *signals_name(int number);

/* The table's copy of a name, which is static; NULL for any other text, and for NULL. */
const char *signals_known(const char *name);

/* The number of that signal on this system; 0 when there is none, or name is NULL. */
int signals_number(const char *name);

/* True when a launcher may send it to a command. */
int signals_forwarded(const char *name);

#endif
