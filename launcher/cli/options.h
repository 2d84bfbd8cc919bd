/* The options and operands of one call of the command: the table itself is options.def. */
#ifndef GRAPNEL_CLI_OPTIONS_H
#define GRAPNEL_CLI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "launcher/cli/verbs.h"
#include "launcher/grapnel.h"

struct options_list {
    const char **items; /* NULL-terminated; NULL when it is empty */
    size_t count;
};

/* All strings are those of argv, but for `made`. */
struct options {
    const struct verb *verb;

    struct options_list host_files; /* "-": standard input */
    struct options_list exclude;
    const char *groups;
    const char *inventory;

    const char *config_file;
    /* "KEY=VALUE", also of -l, -p, -i and -J, in the order in which they were given: as for ssh,
     * the first one wins. */
    struct options_list ssh_options;
    size_t early_options; /* so many of them stand before the first target */
    char **made;          /* those of them that are not argv's: owned */
    size_t made_count;
    int jumps; /* -J was given */
    const char *transport;
    const char *sudo_user; /* "": root; NULL: no sudo */
    int64_t connect_timeout;
    int64_t lease;
    int cache_agent;
    int no_broker;
    int64_t keep; /* ms; 0: for ever */
    int instance; /* 0: not given */
    int all;
    int purge;

    const char *cwd;
    struct options_list env;
    struct options_list unset;
    int clean_env;
    const char *shell;
    int no_input;
    int merge;
    int64_t timeout;
    int64_t output_limit;
    int64_t memory; /* of an instance */
    int64_t cpu;    /* ms */

    int expand;
    int fold;
    int count;

    /* More than one plain name was given, or an option that is for many hosts. */
    int many;
    int64_t fanout;
    int64_t batch; /* SHARE: below 0: percent */
    int64_t max_fail;
    int64_t retry;
    int64_t total_timeout;
    int64_t first;
    int shuffle;
    int aliases;
    const char *rerun;
    const char *failed_to;
    const char *log;
    const char *resume;
    int dry_run;
    int confirm;
    int substitute;
    int group;
    int diff;
    const char *outdir;
    int label;
    int no_label;
    const char *color; /* "auto", "always", "never"; NULL: not given */
    int raw;

    const char *key_types;
    int yes;
    int replace;
    int known;

    int json;
    int long_form;
    int stats;
    int quiet;
    int verbose;
    int help;
    int version;

    const char *target; /* of shapes with one target; NULL: left out, for a list of hosts */
    /* The words after it; the targets; or all words.  NULL-terminated; where there are none it may
     * be NULL. */
    const char *const *words;
    size_t word_count;
    struct options_list operands; /* what `words` may point into */
};

enum options_kind {
    OPTIONS_FLAG,
    OPTIONS_COUNT,
    OPTIONS_TEXT,
    OPTIONS_LIST,
    OPTIONS_PAIR,
    OPTIONS_NAME,
    OPTIONS_TIME,
    OPTIONS_SPAN,
    OPTIONS_LEASE,
    OPTIONS_SIZE,
    OPTIONS_NUMBER,
    OPTIONS_WHOLE,
    OPTIONS_SHARE,
    OPTIONS_SUDO,
    OPTIONS_USER,
    OPTIONS_PORT,
    OPTIONS_IDENTITY,
    OPTIONS_JUMP,
    OPTIONS_NOTHING,
    OPTIONS_LATER,
};

enum options_group {
    OPTIONS_TARGETS,
    OPTIONS_CONNECTION,
    OPTIONS_COMMAND,
    OPTIONS_FLEET,
    OPTIONS_OUTPUT,
    OPTIONS_GROUP_COUNT
};

/* One line of options.def. */
struct options_entry {
    const char *name; /* without its dashes */
    char letter;      /* 0: none */
    enum options_kind kind;
    size_t offset;        /* of the member in struct options */
    const char *argument; /* NULL: it takes none */
    unsigned verbs;       /* bits of enum verb_bit */
    enum options_group group;
    const char *help;
};

/* The i-th option; NULL after the last. */
const struct options_entry *options_at(size_t i);
/* The option of this letter, that of the verb if letters of several verbs are the same; or of these
 * n letters of a name; NULL: there is none. */
const struct options_entry *options_by_letter(const struct verb *verb, char letter);
const struct options_entry *options_by_name(const char *name, size_t n);
/* True when the verb takes the option. */
int options_fits(const struct options_entry *entry, const struct verb *verb);

/* Reads the words after the verb (argv[0] is the first of them; argv[argc] is NULL) into *o, which
 * it fills wholly, by the verb's shape.  With --help or --version nothing else is demanded.
 * 0, or negative with *error filled: then, too, options_clear is due. */
int options_parse(struct options *o, const struct verb *verb, int argc, char *const *argv,
                  struct grapnel_error *error);
void options_clear(struct options *o);

#endif
