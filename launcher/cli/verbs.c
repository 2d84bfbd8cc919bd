#include "launcher/cli/verbs.h"

#include <string.h>

#include "launcher/cli/broker.h"
#include "launcher/cli/call.h"
#include "launcher/cli/complete.h"
#include "launcher/cli/connect.h"
#include "launcher/cli/doctor.h"
#include "launcher/cli/facts.h"
#include "launcher/cli/held.h"
#include "launcher/cli/help.h"
#include "launcher/cli/hosts.h"
#include "launcher/cli/keys.h"
#include "launcher/cli/letgo.h"
#include "launcher/cli/lua.h"
#include "launcher/cli/man.h"
#include "launcher/cli/near.h"
#include "launcher/cli/ping.h"
#include "launcher/cli/repl.h"
#include "launcher/cli/run.h"
#include "launcher/cli/script.h"

static const struct verb table[] = {
#define VERB(id, name, function, shape, synopsis, summary, details, examples)                      \
    {VERB_##id, name, function, SHAPE_##shape, synopsis, summary, details, examples},
#include "launcher/cli/verbs.def"
#undef VERB
};

const struct verb *verbs_at(size_t i)
{
    return &table[i];
}

const struct verb *verbs_find(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (!strcmp(table[i].name, name))
            return &table[i];
    }
    return NULL;
}

int verbs_takes_words(const struct verb *verb)
{
    return verb->shape == SHAPE_COMMAND || verb->shape == SHAPE_CODE || verb->shape == SHAPE_FILE;
}

const char *verbs_nearest(const char *name)
{
    struct near best;

    near_begin(&best, name);
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (table[i].summary)
            near_offer(&best, table[i].name);
    }
    return near_best(&best);
}
