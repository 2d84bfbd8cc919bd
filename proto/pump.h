/* The pump: moves bytes between file descriptors and streams, with backpressure, in a libev loop.
 *
 * A source reads a descriptor into a stream; a sink writes what a stream delivers to a descriptor.
 * Both take the descriptor over and close it at their end.  They work with pipes, sockets,
 * terminals, character devices and regular files, and leave the flags of a descriptor that they
 * did not create alone when told so (PUMP_SHARED): other processes may hold the same open file
 * description, and must not find it non-blocking (fcntl(2), O_NONBLOCK).
 *
 * The process must ignore SIGPIPE.  Both `ended` callbacks may free what they are about.
 */
#ifndef GRAPNEL_PROTO_PUMP_H
#define GRAPNEL_PROTO_PUMP_H

#include <ev.h>

#include "proto/stream.h"

#define PUMP_SHARED 1u /* do not change the open file description's flags */

struct pump_source;
struct pump_sink;

/* `code` 0 (end of file) or negative (-E_IO with errno value in `number`; -E_LIMIT).  It may run
 * from within pump_source_fill, and may there call stream_eof or stream_close. */
typedef void pump_source_ended(void *arg, int code, int number);

/* Starts reading fd for stream s.  The stream's handler passes its `fill` to pump_source_fill.
 * At end of file or error the source stops, closes fd and runs `ended` once; it does not send EOF
 * itself.  NULL when memory is out (fd is closed). */
struct pump_source *pump_source_new(struct ev_loop *loop, int fd, unsigned flags, struct stream *s,
                                    pump_source_ended *ended, void *arg);
size_t pump_source_fill(struct pump_source *p, uint8_t *at, size_t room);
/* Bytes read so far. */
uint64_t pump_source_count(const struct pump_source *p);
/* Ends reading once `limit` bytes in all have been read: `ended` runs with -E_LIMIT. 0: none. */
void pump_source_limit(struct pump_source *p, uint64_t limit);
/* Stops and closes; `ended` does not run.  NULL is legal. */
void pump_source_free(struct pump_source *p);

/* code 0: all was written after pump_sink_eof; negative: -E_IO, errno in number (EPIPE, ENOSPC). */
typedef void pump_sink_ended(void *arg, int code, int number);

/* Starts writing to fd.  s may be NULL (then the caller reports consumption).  Ends and closes fd
 * after pump_sink_eof and the last byte, or on a write error; `ended` runs once, never from within
 * pump_sink_data.  After an error further data is discarded and counted as consumed. */
struct pump_sink *pump_sink_new(struct ev_loop *loop, int fd, unsigned flags, struct stream *s,
                                pump_sink_ended *ended, void *arg);
/* For stream_handler.data: writes what it can at once, keeps the rest, returns what was passed on;
 * reports the rest by stream_consumed when it is written. */
size_t pump_sink_data(struct pump_sink *p, const uint8_t *bytes, size_t n);
void pump_sink_eof(struct pump_sink *p);
size_t pump_sink_queued(const struct pump_sink *p);
/* The stream is gone (closed): what is queued is still written, but not reported any more. */
void pump_sink_detach(struct pump_sink *p);
/* Stops, drops what is queued and closes; `ended` does not run.  NULL is legal. */
void pump_sink_free(struct pump_sink *p);

#endif
