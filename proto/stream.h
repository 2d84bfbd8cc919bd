/* Streams: two-way flows of bytes on a link, each direction with its own credit.
 *
 * Data is pulled: a stream that has something to send says stream_ready, and the link calls its
 * `fill` when the pipe has room and the peer has given credit.  So nothing is queued in vain, and
 * a slow peer holds up only the source of its own stream.
 *
 * Received bytes are handed to `data` at once; what the handler cannot pass on it keeps, and the
 * peer gets new credit only for bytes that were passed on (stream_consumed).  The window grows
 * with the bandwidth-delay product as long as the receiver keeps up.
 *
 * Life: open → data both ways → EOF each way (optional) → CLOSE each way.  A CLOSE that came is
 * answered by the link.  A stream is freed by the link when both CLOSEs are done, or by its end.
 */
#ifndef GRAPNEL_PROTO_STREAM_H
#define GRAPNEL_PROTO_STREAM_H

#include "proto/link.h"

struct stream_handler {
    /* n bytes came (n > 0), not beyond the window.  Returns how many of them are done with; the
     * others the handler has copied and reports later by stream_consumed.  NULL: all discarded. */
    size_t (*data)(void *arg, struct stream *s, const uint8_t *bytes, size_t n);
    /* No more data will come.  At most once, before closed.  May be NULL. */
    void (*eof)(void *arg, struct stream *s);
    /* The peer's CLOSE, or the end of the link: code 0 or negative, result (alive during the
     * callback; nil at the link's end), text of a failure ("" if none).  Exactly once, and the last
     * callback; the stream is gone after it (the answering CLOSE is sent by the link, with what
     * stream_close said if it is called within; do not touch `s` afterwards). */
    void (*closed)(void *arg, struct stream *s, int code, const struct value *result,
                   const char *text);
    /* Put at most `room` bytes at `at` and return how many.  Less than room means: none left now,
     * do not ask again before stream_ready.  NULL: only stream_write is used. */
    size_t (*fill)(void *arg, struct stream *s, uint8_t *at, size_t room);
};

/* Opens a stream: sends OPEN [service, args] (args taken over, NULL: nil).  *handler is copied.
 * NULL with *e filled on failure (-E_CLOSED after GOODBYE or link end, -E_LIMIT, -E_NOMEM). */
struct stream *stream_open(struct link *l, const char *service, struct value *args,
                           const struct stream_handler *handler, void *arg, struct error *e);

/* Within link_handler.open only: takes the stream and sets who handles it. */
void stream_accept(struct stream *s, const struct stream_handler *handler, void *arg);
/* Changes the handler later (the new one gets what comes from then on). */
void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *arg);

uint32_t stream_id(const struct stream *s);
struct link *stream_link(const struct stream *s);
/* The live stream of that id on l, or NULL. */
struct stream *stream_find(struct link *l, uint32_t id);
void *stream_arg(const struct stream *s);

/* `fill` has something again.  Cheap; may be repeated. */
void stream_ready(struct stream *s);
/* Queues a copy of n bytes ahead of what `fill` gives.  0, -E_NOMEM, -E_CLOSED (after stream_eof
 * or stream_close).  The caller bounds what it queues by stream_queued. */
int stream_write(struct stream *s, const void *bytes, size_t n);
size_t stream_queued(const struct stream *s);
/* Sends EOF after everything queued; `fill` is not called any more. */
void stream_eof(struct stream *s);
/* Sends CLOSE with `code` (0 or negative) and result (taken over; NULL: nil) after everything
 * queued (code 0) or at once, dropping what is queued (code negative).  When code is negative and
 * text is not NULL the result is the text.  A negative code overtakes an orderly close that still
 * waits for credit; otherwise a second call does nothing.  `closed` still runs when the peer's
 * CLOSE comes (data that comes before it is discarded and credited; no further data/eof
 * callbacks). */
void stream_close(struct stream *s, int code, struct value *result, const char *text);
/* Within `closed` only: the peer keeps nothing for the answering CLOSE, which therefore need not be
 * sent by itself, but goes with whatever is sent next, at the latest with the next heartbeat. */
void stream_answer_late(struct stream *s);
/* n bytes that `data` had kept are passed on. */
void stream_consumed(struct stream *s, size_t n);
/* Bytes that the peer lets us send now, and the present receive window. */
uint64_t stream_credit(const struct stream *s);
size_t stream_window(const struct stream *s);

#endif
