/* The verbs of the command: the table itself is verbs.def. */
#ifndef GRAPNEL_CLI_VERBS_H
#define GRAPNEL_CLI_VERBS_H

#include <stddef.h>

struct options;

enum verb_id {
#define VERB(id, name, function, shape, synopsis, summary, details, examples) VERB_##id,
#include "launcher/cli/verbs.def"
#undef VERB
    VERB_COUNT
};

/* Sets of verbs, for options.def. */
enum verb_bit {
#define VERB(id, name, function, shape, synopsis, summary, details, examples)                      \
    VERB_BIT_##id = 1 << VERB_##id,
#include "launcher/cli/verbs.def"
#undef VERB
    VERB_BIT_ASK = VERB_BIT_CALL | VERB_BIT_EVAL,
    VERB_BIT_CODE =
        VERB_BIT_ASK | VERB_BIT_SCRIPT | VERB_BIT_REPL, /* those that run code in an instance */
    VERB_BIT_WORK = VERB_BIT_RUN | VERB_BIT_CODE,
    VERB_BIT_TIMED = VERB_BIT_RUN | VERB_BIT_ASK | VERB_BIT_SCRIPT,
    VERB_BIT_FLEET = VERB_BIT_TIMED | VERB_BIT_FACTS | VERB_BIT_PING, /* on many hosts at once */
    VERB_BIT_CROWD = VERB_BIT_FLEET | VERB_BIT_KEYS, /* the same, whatever comes of it */
    VERB_BIT_FED = VERB_BIT_RUN | VERB_BIT_SCRIPT,
    VERB_BIT_SHARE =
        VERB_BIT_WORK | VERB_BIT_FACTS | VERB_BIT_PING, /* by the broker's lines, too */
    VERB_BIT_LETGO = VERB_BIT_CLOSE | VERB_BIT_UNDEPLOY,
    VERB_BIT_LISTS = VERB_BIT_LS | VERB_BIT_SERVERS,
    VERB_BIT_NUMBERED = VERB_BIT_CONNECT | VERB_BIT_CLOSE | VERB_BIT_CODE,
    VERB_BIT_WORKER = VERB_BIT_CODE | VERB_BIT_CONNECT, /* those that make an instance */
    VERB_BIT_PLACED = VERB_BIT_WORK | VERB_BIT_CONNECT, /* those that say where something runs */
    VERB_BIT_LINE = VERB_BIT_SHARE | VERB_BIT_DOCTOR | VERB_BIT_CONNECT |
                    VERB_BIT_LETGO, /* those that connect, or name connections */
    VERB_BIT_ROAD = VERB_BIT_LINE | VERB_BIT_KEYS, /* those that find the way to a host */
    VERB_BIT_SPEAK = VERB_BIT_ROAD | VERB_BIT_LISTS,
    VERB_BIT_JSON = VERB_BIT_TIMED | VERB_BIT_FACTS | VERB_BIT_DOCTOR | VERB_BIT_PING |
                    VERB_BIT_CONNECT | VERB_BIT_LETGO | VERB_BIT_LISTS | VERB_BIT_KEYS,
    VERB_BIT_MANY =
        VERB_BIT_CROWD | VERB_BIT_CONNECT | VERB_BIT_HOSTS, /* those whose targets are a set */
    VERB_BIT_EVERY = (1 << VERB_COUNT) - 1,
};

enum verb_shape {
    SHAPE_COMMAND,
    SHAPE_CODE,
    SHAPE_FILE,
    SHAPE_TARGET,
    SHAPE_TARGETS,
    SHAPE_SOME,
    SHAPE_HOSTS,
    SHAPE_SCAN,
    SHAPE_NONE,
    SHAPE_WORDS,
};

struct verb {
    enum verb_id id;
    const char *name;
    /* Does the work; returns the process's exit status. */
    int (*function)(const struct options *options);
    enum verb_shape shape;
    const char *synopsis;
    const char *summary; /* NULL: hidden */
    const char *details;
    const char *examples;
};

/* The verb with this number (< VERB_COUNT), or this name (NULL: there is none). */
const struct verb *verbs_at(size_t i);
const struct verb *verbs_find(const char *name);

/* True for one target and then words in which nothing is parsed. */
int verbs_takes_words(const struct verb *verb);

/* The name of the verb that `name` was most likely meant to be; NULL: none is near. */
const char *verbs_nearest(const char *name);

#endif
