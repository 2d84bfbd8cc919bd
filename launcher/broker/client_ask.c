/* What the broker asks while it connects for us is put to the person here. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/blocking.h"
#include "launcher/broker/client_impl.h"
#include "launcher/ssh/ask.h"

/* One question.  The thread owns all but `b` while it is asked. */
struct client_asked {
    struct client_asked *next;
    struct grapnel_broker *b; /* NULL: given up */
    uint32_t id;              /* of the call */
    int kind, echo, begun;
    int cancel[2]; /* a pipe: closing [1] withdraws the question */
    char *prompt, *secret;
    size_t n;
    struct error error;
};

static void free_asked(struct client_asked *a)
{
    for (int i = 0; i < 2; i++) {
        if (a->cancel[i] >= 0)
            close(a->cancel[i]);
    }
    ask_free(a->secret);
    free(a->prompt);
    free(a);
}

static void work(void *arg)
{
    struct client_asked *a = arg;
    struct ask_options o = {.kind = (enum ask_kind)a->kind,
                            .prompt = a->prompt,
                            .echo = a->echo,
                            .cancel_fd = a->cancel[0]};

    ask_secret(&o, &a->secret, &a->n, &a->error);
}

static void begin(struct grapnel_broker *b);

static void done(void *arg, int cancelled)
{
    struct client_asked *a = arg;
    struct grapnel_broker *b = cancelled ? NULL : a->b;
    struct link *l = b && b->line ? sockline_link(b->line) : NULL;

    if (b)
        b->asked = a->next;
    if (l && a->error.code)
        link_fail(l, a->id, a->error.code, a->error.detail);
    else if (l)
        link_answer(l, a->id, values_bytes(a->secret, a->n));
    free_asked(a);
    if (b)
        begin(b);
}

/* One at a time: there is but one terminal. */
static void begin(struct grapnel_broker *b)
{
    struct client_asked *a = b->asked;

    if (!a || a->begun)
        return;
    a->begun = 1;
    if (!blocking_run(b->g->blocking, work, done, a)) {
        errors_set(&a->error, -E_SYSTEM, "no thread could be started");
        done(a, 0);
    }
}

void client_asked(struct grapnel_broker *b, uint32_t id, const struct value *args)
{
    const char *prompt = values_as_string(values_get(args, "prompt"), NULL);
    struct client_asked *a = calloc(1, sizeof *a), **at = &b->asked;

    if (!a || (a->prompt = strdup(prompt ? prompt : "")) == NULL ||
        pipe2(a->cancel, O_CLOEXEC) < 0) {
        link_fail(sockline_link(b->line), id, -E_NOMEM, "a question");
        if (a)
            free(a->prompt);
        free(a);
        return;
    }
    a->b = b;
    a->id = id;
    a->kind = (int)values_as_int(values_get(args, "kind"), ASK_PROMPT);
    if (a->kind < ASK_PASSWORD || a->kind > ASK_CONFIRM)
        a->kind = ASK_PROMPT;
    a->echo = values_as_bool(values_get(args, "echo"), 0);
    while (*at)
        at = &(*at)->next;
    *at = a;
    begin(b);
}

void client_ask_no_more(struct grapnel_broker *b)
{
    struct client_asked *a;

    while ((a = b->asked)) {
        b->asked = a->next;
        a->b = NULL;
        if (a->begun) { /* its thread frees it */
            close(a->cancel[1]);
            a->cancel[1] = -1;
        } else {
            free_asked(a);
        }
    }
}
