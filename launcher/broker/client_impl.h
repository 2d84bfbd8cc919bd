/* What the files of a broker's client share: client.c (the line, simple questions), client_hold.c
 * (what takes long, and may have to ask a person), client_ask.c (the asking), client_open.c
 * (finding the broker, and starting one).  Not for anyone else; everything needs the context's
 * lock. */
#ifndef GRAPNEL_LAUNCHER_BROKER_CLIENT_IMPL_H
#define GRAPNEL_LAUNCHER_BROKER_CLIENT_IMPL_H

#include <sys/types.h>

#include "launcher/broker/sockline.h"

struct grapnel_broker {
    struct grapnel *g;
    struct sockline *line; /* NULL: given up */
    int greeted, ended;
    int stale;   /* it is of another build */
    int leaving; /* it said so when it greeted */
    pid_t pid;
    struct client_asked *asked; /* questions, by client_ask.c; the first is being put to a person */
};

/* Takes fd over.  NULL: memory is out. */
struct grapnel_broker *client_new(struct grapnel *g, int fd);
void client_free(struct grapnel_broker *b);
/* Waits until it has said who it is; `where`: its socket, for people.  1; 0: it has left without a
 * word; or negative with *e. */
int client_greet(struct grapnel_broker *b, const char *where, struct error *e);

/* The broker's call "ask": the person here is asked, and then it is answered. */
void client_asked(struct grapnel_broker *b, uint32_t id, const struct value *args);
/* Nobody wants to know any more. */
void client_ask_no_more(struct grapnel_broker *b);

/* One call under way; in an array that lives until all are answered. */
struct client_question {
    struct grapnel_broker *b;
    int answered;
    struct error error;
    char *json; /* for who asked, to be freed */
};
/* args are taken over (NULL: memory was out). */
void client_ask(struct client_question *q, const char *name, struct value *args);
/* Waits until all n are answered: those that are not by then fail, and the line is given up. */
void client_await(struct client_question *items, size_t n, int64_t timeout);

#endif
