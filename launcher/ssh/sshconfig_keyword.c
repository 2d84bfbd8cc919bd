/* Keywords by name: the table itself is sshconfig.def. */
#include <string.h>

#include "launcher/ssh/sshconfig_impl.h"

static const struct sshconfig_keyword keywords[] = {
#define KEYWORD(name, number, kind) {name, KEY_##number, kind},
#define ALIAS(name, number, kind)   {name, KEY_##number, kind},
#define PASSED(name)                {name, KEY_PASSED, KIND_PASSED},
#include "launcher/ssh/sshconfig.def"
#undef KEYWORD
#undef ALIAS
#undef PASSED
};

const struct sshconfig_keyword *sshconfig_keyword_find(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    return NULL;
}
