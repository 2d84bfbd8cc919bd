/* What the files of the broker share: broker.c (the process: where it listens, when it leaves),
 * visitor.c (one client), visitor_line.c (its streams to servers and instances),
 * visitor_instance.c (those), visitor_ask.c (what it is asked), visitor_hold.c, visitor_close.c
 * and visitor_list.c (its calls).  Not for anyone else; everything needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_BROKER_BROKER_IMPL_H
#define GRAPNEL_LAUNCHER_BROKER_BROKER_IMPL_H

#include "launcher/bootstrap/agents.h"
#include "launcher/broker/place.h"
#include "launcher/broker/sockline.h"
#include "launcher/cache/cache.h"

struct asker;
struct asking;
struct line;
struct splice;
struct task;
struct visitor;
struct wishes;

struct broker {
    struct grapnel *g;
    struct cache *cache;
    struct place *place;
    char build[AGENTS_BUILD]; /* told to each client, which waits for it */
    ev_io listener;           /* fd -1: it does not listen (any more) */
    ev_timer idle;
    ev_timer tidy; /* soon after something has happened: memory is given back */
    double idle_s;
    struct visitor *visitors;
    struct line *lines; /* clients' streams to servers, by visitor_line.c */
    int leaving;        /* nobody new; what is held is let go when it is not used */
    int done;
};

/* Somebody has come or gone, something is held or used no more: is it time to leave? */
void broker_look(struct broker *b);
/* Lets nobody in any more, and leaves when what is under way has ended. */
void broker_leave(struct broker *b);

/* One client; in b->visitors. */
struct visitor {
    struct visitor *next;
    struct broker *b;
    struct sockline *line;
    struct task *tasks;     /* what it waits for */
    struct asking *askings; /* connections that may ask it, by visitor_ask.c */
};

/* A call that is not answered yet; begins the struct of each kind of call. */
struct task {
    struct task *next;
    struct visitor *v; /* NULL: it has gone */
    uint32_t id;
    void (*drop)(
        struct task *t); /* the visitor goes: it is off the list; to be given up and freed */
};
void visitor_add(struct visitor *v, struct task *t, uint32_t id, void (*drop)(struct task *t));
/* Takes it off the list, and answers (result is taken over, or *e with a code): the caller frees
 * it. */
void visitor_answer(struct task *t, struct value *result, const struct error *e);

/* Takes fd over.  Nothing happens when memory is out but that it is closed. */
void visitor_new(struct broker *b, int fd);
void visitor_free(struct visitor *v);

/* link_handler.open for the services "server" and "instance". */
int visitor_line_open(struct visitor *v, struct stream *near, const struct value *args,
                      struct error *e);
int visitor_line_open_instance(struct visitor *v, struct stream *near, const struct value *args,
                               struct error *e);

/* Instances: those of the cache have an end that visitor_instance_new has made. */

/* Instance `number` of a server, with a worker as *terms want it (taken over; NULL: whatever it
 * has) from its first use on.  One that has died gets a new one, and *before tells why it did. NULL
 * with *e filled: it has another worker. */
struct grapnel_connection *visitor_instance_have(struct cached *held, int number,
                                                 struct wishes *terms, struct error *before,
                                                 struct error *e);
/* Why it has died; code 0: it has not. */
struct error visitor_instance_why(const struct grapnel_connection *i);
/* The same for who wants to use it: 0, or negative with *e. */
int visitor_instance_check(const struct grapnel_connection *i, struct error *e);
/* Asks its worker for [its process, bytes of memory that it takes].  Negative: it has none, and
 * nobody will be told. */
int visitor_instance_ask(const struct grapnel_connection *i, link_answered *answered, void *arg);
/* Makes a link to its worker the far side; the worker is started if that was not done.  0 or
 * negative with *e filled. */
int visitor_instance_join(struct grapnel_connection *i, struct splice *p, struct error *e);

/* Who is asked for a connection that v wants; from_file: v has passwords in a file.  To be freed.
 * NULL: memory is out. */
struct asker *visitor_asker(struct visitor *v, int from_file);
/* v goes: questions find nobody from now on. */
void visitor_ask_nobody(struct visitor *v);

/* Ends what clients have under way on a server that is about to be closed. */
void visitor_line_break(struct broker *b, const struct cached *held, int code, const char *text);

/* Calls. */
void visitor_hold(struct visitor *v, uint32_t id, const struct value *args);
void visitor_close(struct visitor *v, uint32_t id, const struct value *args);
void visitor_list(struct visitor *v, uint32_t id, const struct value *args);

#endif
