#include "launcher/transport/transport.h"

int transport_again(struct transport *t, const char *command, struct error *e)
{
    return t->class->again(t, command, e);
}

int transport_idle(const struct transport *t)
{
    return t->class->idle ? t->class->idle(t) : 0;
}

size_t transport_write(struct transport *t, const uint8_t *bytes, size_t n)
{
    return t->class->write(t, bytes, n);
}

void transport_eof(struct transport *t)
{
    t->class->eof(t);
}

void transport_pause(struct transport *t, int paused)
{
    t->class->pause(t, paused);
}

void transport_free(struct transport *t)
{
    if (t)
        t->class->free(t);
}

const char *transport_name(const struct transport *t)
{
    return t->class->name;
}

struct transport_counters transport_counters(const struct transport *t)
{
    return t->class->counters(t);
}
