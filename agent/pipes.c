#include "agent/pipes.h"

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    (void)arg;
    (void)s;
    (void)code;
    (void)result;
    (void)text;
}

static const struct stream_handler nobody = {.closed = on_closed};

/* Marks unclaimed pipes: no other stream has this argument. */
static const char unclaimed = 'p';

int pipes_open(struct session *session, struct stream *s, const struct value *args, struct error *e)
{
    (void)session;
    (void)args;
    (void)e;
    stream_accept(s, &nobody, (void *)(uintptr_t)&unclaimed);
    return 0;
}

struct stream *pipes_claim(struct link *l, uint32_t id)
{
    struct stream *s = stream_find(l, id);

    return s != NULL && stream_arg(s) == (const void *)&unclaimed ? s : NULL;
}

void pipes_close(struct stream *s)
{
    stream_set_handler(s, &nobody, NULL);
    stream_eof(s);
    stream_close(s, 0, NULL, NULL);
}

const struct stream_handler *pipes_nobody(void)
{
    return &nobody;
}
