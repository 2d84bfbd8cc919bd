/* Two streams, of different links, made one: what comes on either goes out on the other, nobody
 * looks into it, and who is not read is not read from.  The ends pass over, too: EOF after the last
 * byte; a CLOSE likewise, with its code and its result; the end of a link ends the other stream at
 * once.  Needs the lock that both links are under.
 */
#ifndef GRAPNEL_LAUNCHER_BROKER_SPLICE_H
#define GRAPNEL_LAUNCHER_BROKER_SPLICE_H

#include "proto/stream.h"

struct splice;

/* Both streams have ended, and the splice is gone; once, in a callback of one of the links. */
typedef void splice_ended(void *arg);

/* Accepts `near` (from within link_handler.open), and keeps what comes on it for splice_join. NULL:
 * memory is out, and `near` was not accepted. */
struct splice *splice_new(struct stream *near, splice_ended *ended, void *arg);
/* Opens `service` with args (taken over) on the link `far` as the other side.  0, or negative with
 * *e filled: then nothing has changed. */
int splice_join(struct splice *p, struct link *far, const char *service, struct value *args,
                struct error *e);
/* Ends both with this code: `ended` follows, later. */
void splice_break(struct splice *p, int code, const char *text);
/* Bytes that went to the far side and came from it. */
void splice_count(const struct splice *p, uint64_t *out, uint64_t *back);

#endif
