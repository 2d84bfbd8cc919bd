#include "proto/link.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/link_internal.h"

#define LINK_BUCKETS_FIRST 16
#define LINK_BUCKETS_MAX   65536

/* ---- ids ---- */

static size_t bucket_of(const struct link *l, uint32_t id)
{
    /* Each side's ids go up by two. */
    return (id >> 1) & l->bucket_mask;
}

struct link_node *link_find(const struct link *l, uint32_t id)
{
    struct link_node *n = l->buckets[bucket_of(l, id)];
    while (n != NULL && n->id != id) {
        n = n->next;
    }
    return n;
}

/* Failing to widen the table only makes it slower. */
static void widen(struct link *l)
{
    size_t old = l->bucket_mask + 1;
    struct link_node **wider = calloc(old * 2, sizeof(*wider));
    if (wider == NULL) {
        return;
    }
    struct link_node **narrow = l->buckets;
    l->buckets = wider;
    l->bucket_mask = old * 2 - 1;
    for (size_t i = 0; i < old; i++) {
        while (narrow[i] != NULL) {
            struct link_node *n = narrow[i];
            narrow[i] = n->next;
            struct link_node **to = &wider[bucket_of(l, n->id)];
            n->next = *to;
            *to = n;
        }
    }
    free(narrow);
}

void link_add(struct link *l, struct link_node *n)
{
    if (l->nodes > l->bucket_mask && l->bucket_mask + 1 < LINK_BUCKETS_MAX) {
        widen(l);
    }
    struct link_node **at = &l->buckets[bucket_of(l, n->id)];
    n->next = *at;
    *at = n;
    l->nodes++;
}

void link_remove(struct link *l, struct link_node *n)
{
    struct link_node **at = &l->buckets[bucket_of(l, n->id)];
    while (*at != n) {
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    l->nodes--;
}

bool link_own_id(const struct link *l, uint32_t id)
{
    return ((id & 1) != 0) == l->opener;
}

bool link_past_id(const struct link *l, uint32_t id)
{
    if (link_own_id(l, id)) {
        return l->ids_wrapped || id < l->next_id;
    }
    return id <= l->peer_highest;
}

uint32_t link_fresh_id(struct link *l)
{
    uint32_t id;
    do {
        id = l->next_id;
        l->next_id += 2;
        if (l->next_id < id) {
            l->next_id = l->opener ? 1 : 2;
            l->ids_wrapped = true;
        }
    } while (link_find(l, id) != NULL);
    return id;
}

int link_peer_id(struct link *l, uint32_t id, const char *what)
{
    if (link_own_id(l, id)) {
        return link_broken(l, -E_PROTOCOL, "%s with id %lu, which is ours to give", what,
                           (unsigned long)id);
    }
    if (link_find(l, id) != NULL) {
        return link_broken(l, -E_PROTOCOL, "%s with id %lu, which is in use", what,
                           (unsigned long)id);
    }
    if (id > l->peer_highest) {
        l->peer_highest = id;
    }
    return 0;
}

/* ---- life ---- */

static int greet(struct link *l, uint32_t lease_ms, struct value *facts)
{
    struct wire_buf body = {0};
    struct value *empty = facts == NULL ? values_map() : NULL;
    struct value *map = facts == NULL ? empty : facts;
    int rc = map == NULL ? -E_NOMEM : values_encode(map, &body);
    if (rc == 0) {
        rc = wire_put(&l->control, LINK_PREFACE, LINK_PREFACE_SIZE);
    }
    if (rc == 0) {
        struct frame f = {.type = FRAME_HELLO,
                          .hello = {.major = LINK_MAJOR,
                                    .minor = LINK_MINOR,
                                    .features = l->features,
                                    .lease = lease_ms},
                          .body = wire_data(&body),
                          .body_length = wire_length(&body)};
        rc = link_put(l, &f);
    }
    l->partial = LINK_PREFACE_SIZE;
    values_free(empty);
    wire_free(&body);
    return rc;
}

void link_limit_memory(struct link *l, size_t first, size_t growth)
{
    l->window_first = first;
    l->memory = growth;
}

struct link *link_new(const struct link_options *options, const struct link_handler *handler,
                      void *arg, uint64_t now_us)
{
    struct link *l = calloc(1, sizeof(*l));
    int rc = -E_NOMEM;
    if (l == NULL) {
        goto out;
    }
    l->buckets = calloc(LINK_BUCKETS_FIRST, sizeof(struct link_node *));
    if (l->buckets == NULL) {
        goto out;
    }
    l->bucket_mask = LINK_BUCKETS_FIRST - 1;
    l->opener = options->opener != 0;
    l->lease_us = (uint64_t)options->lease_ms * 1000;
    l->memory = options->memory != 0 ? options->memory : LINK_MEMORY;
    l->window_first = LINK_WINDOW_FIRST;
    l->features = options->features;
    l->calls_max = options->calls_max == 0                ? LINK_CALLS_MAX
                   : options->calls_max < LINK_CALLS_MOST ? options->calls_max
                                                          : LINK_CALLS_MOST;
    l->body_max = options->body_max == 0               ? LINK_BODY_MAX
                  : options->body_max < LINK_BODY_MOST ? options->body_max
                                                       : LINK_BODY_MOST;
    l->next_id = l->opener ? 1 : 2;
    l->now = l->last_heard = l->last_tick = now_us;
    deflate_policy_init(&l->policy);
    rc = greet(l, options->lease_ms, options->facts);
    /* Only now, so that no callback runs for a link that the owner does not have yet. */
    l->handler = *handler;
    l->arg = arg;
    l->woken = false;
out:
    values_free(options->facts);
    if (rc != 0 && l != NULL) {
        wire_free(&l->control);
        free(l->buckets);
        free(l);
        l = NULL;
    }
    return l;
}

void link_enter(struct link *l)
{
    l->depth++;
}

void link_leave(struct link *l)
{
    if (--l->depth > 0) {
        return;
    }
    while (l->graves != NULL) {
        struct stream *s = l->graves;
        l->graves = s->next;
        stream_destroy(s);
    }
    if (!link_alive(l)) {
        wire_free(&l->gather);
        wire_free(&l->parts);
        wire_free(&l->held);
    }
}

/* Nothing is added to the table once the link has ended, so this comes to an end whatever the
 * callbacks do. */
static void end_all(struct link *l)
{
    for (size_t i = 0; i <= l->bucket_mask; i++) {
        while (l->buckets[i] != NULL) {
            struct link_node *n = l->buckets[i];
            if (n->is_call) {
                link_call_done((struct call *)n, l, l->error.code, NULL, l->error.detail);
                continue;
            }
            struct stream *s = (struct stream *)n;
            stream_bury(s);
            stream_finish(s, l->error.code, NULL, l->error.detail);
        }
    }
}

void link_end(struct link *l, int code, const char *text)
{
    if (!link_alive(l)) {
        return;
    }
    link_enter(l);
    errors_set(&l->error, code < 0 ? code : -E_CLOSED, "%s", text != NULL ? text : "");
    link_last_words(l, l->error.code, l->error.detail);
    end_all(l);
    link_leave(l);
}

int link_broken(struct link *l, int code, const char *format, ...)
{
    char text[sizeof(l->error.detail)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    link_end(l, code, text);
    return l->error.code;
}

void link_free(struct link *l)
{
    if (l == NULL) {
        return;
    }
    link_end(l, -E_CLOSED, "");
    wire_free(&l->control);
    wire_free(&l->out);
    wire_free(&l->unpacked);
    link_free_spare(l);
    deflate_out_free(l->packer);
    deflate_in_free(l->unpacker);
    free(l->buckets);
    free(l);
}

int link_goodbye(struct link *l, int code, const char *text)
{
    if (!link_alive(l)) {
        return -E_CLOSED;
    }
    if (code != 0) {
        link_end(l, code, text);
        return 0;
    }
    if (l->goodbye_said) {
        return 0;
    }
    const char *words = text != NULL ? text : "";
    struct frame f = {.type = FRAME_GOODBYE,
                      .body = (const uint8_t *)words,
                      .body_length = link_text_length(words, frames_body_limit(FRAME_GOODBYE))};
    l->goodbye_said = true;
    link_must_put(l, &f);
    return l->error.code;
}

int link_finished(const struct link *l)
{
    return (l->goodbye_said || !link_alive(l)) && l->nodes == 0 && !link_has_output(l);
}

/* ---- looking ---- */

const struct error *link_error(const struct link *l)
{
    return &l->error;
}

int link_greeted(const struct link *l)
{
    return l->greeted;
}

int link_peer_goodbye(const struct link *l)
{
    return l->peer_goodbye;
}

uint64_t link_round_trip(const struct link *l)
{
    return l->rtt;
}

uint64_t link_last_heard(const struct link *l)
{
    return l->last_heard;
}

size_t link_stream_count(const struct link *l)
{
    return l->streams_own + l->streams_peer;
}

size_t link_unclosed_count(const struct link *l)
{
    return l->unclosed;
}

struct link_counters link_counters(const struct link *l)
{
    int64_t both = l->saved_sending + l->saved_receiving;
    uint64_t saved = both > 0 ? (uint64_t)both : 0;
    return (struct link_counters){.sent = l->sent, .received = l->received, .saved = saved};
}
