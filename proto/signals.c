#include "proto/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

struct signals_row {
    const char *name;
    int number;
    int forwarded;
};

static const struct signals_row table[] = {
#define SIGNAL(name, forwarded) {#name, SIG##name, (forwarded)},
#include "proto/signals.def"
#undef SIGNAL
};

#define COUNT (sizeof(table) / sizeof(table[0]))

static const struct signals_row *row(const char *name)
{
    for (size_t i = 0; i < COUNT && name != NULL; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const char *signals_name(int number)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (table[i].number == number) {
            return table[i].name;
        }
    }
    return NULL;
}

const char *signals_known(const char *name)
{
    const struct signals_row *r = row(name);
    return r != NULL ? r->name : NULL;
}

int signals_number(const char *name)
{
    const struct signals_row *r = row(name);
    return r != NULL ? r->number : 0;
}

int signals_forwarded(const char *name)
{
    const struct signals_row *r = row(name);
    return r != NULL && r->forwarded;
}
