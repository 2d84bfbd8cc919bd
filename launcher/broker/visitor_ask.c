/* Questions of the host, or of a key, are put to the client who asked for the connection. */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "launcher/broker/broker_impl.h"
#include "launcher/ssh/asker.h"

/* Whom a connection asks; outlives the client where the connection does. */
struct asking {
    struct asking *next; /* of the client */
    struct grapnel *g;
    struct visitor *v; /* NULL: it has gone */
};

/* One question, until it is answered. */
struct question {
    int fd; /* readable when it was answered */
    int answered, abandoned;
    struct error error;
    char answer[ASK_SECRET_MAX];
    size_t n;
};

static void free_question(struct question *q)
{
    close(q->fd);
    sodium_memzero(q, sizeof *q);
    free(q);
}

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct question *q = arg;
    size_t n = 0;
    const char *answer = code ? NULL : values_as_string(result, &n);

    if (q->abandoned) {
        free_question(q);
        return;
    }
    q->answered = 1;
    if (code == -E_LOST || code == -E_CLOSED)
        errors_set(&q->error, -E_CANCELLED, "who was asked has gone");
    else if (code)
        errors_set(&q->error, code, "%s", text);
    else if (!answer || n >= sizeof q->answer)
        errors_set(&q->error, -E_LIMIT, "the answer");
    else
        memcpy(q->answer, answer, (q->n = n) + 1);
    eventfd_write(q->fd, 1);
}

static int put(struct asking *a, const struct ask_options *o, struct question *q)
{
    struct value *args = values_map();
    uint32_t id;
    int rc;

    if (!a->v) {
        values_free(args);
        return errors_set(&q->error, -E_UNSUPPORTED, "who has connected is not there any more");
    }
    values_set(args, "kind", values_int(o->kind));
    values_set(args, "prompt", values_text(o->prompt ? o->prompt : ""));
    values_set(args, "echo", values_bool(o->echo));
    rc = link_call(sockline_link(a->v->line), "ask", args, on_answer, q, &id);
    return rc < 0 ? errors_set(&q->error, rc, "a question") : 0;
}

static void wait_for(const struct question *q, int cancel)
{
    struct pollfd fds[] = {{.fd = q->fd, .events = POLLIN}, {.fd = cancel, .events = POLLIN}};

    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
}

/* In a thread of its own. */
static int ask(void *arg, const struct ask_options *o, char *answer, size_t *n, struct error *e)
{
    struct asking *a = arg;
    struct question *q = calloc(1, sizeof *q);
    int rc;

    if (!q || (q->fd = eventfd(0, EFD_CLOEXEC)) < 0) {
        free(q);
        return errors_set(e, -E_NOMEM, "a question");
    }
    context_lock(a->g);
    rc = put(a, o, q);
    context_unlock(a->g);
    if (rc == 0)
        wait_for(q, o->cancel_fd);
    context_lock(a->g);
    if (rc == 0 && !q->answered) {
        q->abandoned = 1;
        context_unlock(a->g);
        return errors_set(e, -E_CANCELLED, "withdrawn");
    }
    if (q->error.code) {
        *e = q->error;
    } else {
        memcpy(answer, q->answer, q->n + 1);
        *n = q->n;
    }
    rc = q->error.code;
    free_question(q);
    context_unlock(a->g);
    return rc;
}

static void off_list(struct asking *a)
{
    struct asking **at = a->v ? &a->v->askings : NULL;

    while (at && *at && *at != a)
        at = &(*at)->next;
    if (at && *at)
        *at = a->next;
    a->v = NULL;
}

static void gone(void *arg)
{
    off_list(arg);
    free(arg);
}

struct asker *visitor_asker(struct visitor *v, int from_file)
{
    struct asking *a = calloc(1, sizeof *a);
    struct asker *asker = a ? asker_new(ask, gone, a, from_file) : NULL;

    if (!asker) {
        free(a);
        return NULL;
    }
    a->g = v->b->g;
    a->v = v;
    a->next = v->askings;
    v->askings = a;
    return asker;
}

void visitor_ask_nobody(struct visitor *v)
{
    while (v->askings)
        off_list(v->askings);
}
