#include "launcher/ssh/asker.h"

#include <stdatomic.h>
#include <stdlib.h>

struct asker {
    atomic_int holders;
    asker_function *ask;
    void (*gone)(void *arg);
    void *arg;
    int from_file;
};

struct asker *asker_new(asker_function *ask, void (*gone)(void *arg), void *arg, int from_file)
{
    struct asker *a = calloc(1, sizeof *a);

    if (!a)
        return NULL;
    atomic_init(&a->holders, 1);
    a->ask = ask;
    a->gone = gone;
    a->arg = arg;
    a->from_file = from_file;
    return a;
}

struct asker *asker_hold(struct asker *a)
{
    if (a)
        atomic_fetch_add(&a->holders, 1);
    return a;
}

void asker_free(struct asker *a)
{
    if (!a || atomic_fetch_sub(&a->holders, 1) > 1)
        return;
    a->gone(a->arg);
    free(a);
}

int asker_ask(struct asker *a, const struct ask_options *question, char *answer, size_t *n,
              struct error *e)
{
    if (!asker_possible(a, question))
        return errors_set(e, -E_UNSUPPORTED, "%s", ask_why_not(question));
    return a->ask(a->arg, question, answer, n, e);
}

int asker_possible(const struct asker *a, const struct ask_options *question)
{
    return !question->batch || (question->kind == ASK_PASSWORD && a->from_file);
}

int asker_from_file(const struct asker *a)
{
    return a->from_file;
}
