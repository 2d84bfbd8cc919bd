/* What the reader of files of groups and who resolves groups share. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_GROUPS_IMPL_H
#define GRAPNEL_LAUNCHER_TARGETS_GROUPS_IMPL_H

#include "launcher/targets/groups.h"
#include "launcher/targets/inventory.h"

#define GROUPS_FILES 2 /* the account's, and the system's: what stands in the first one wins */
#define GROUPS_DEPTH 64

/* The commands of a source. */
enum groups_command { GROUPS_MAP, GROUPS_ALL, GROUPS_LIST, GROUPS_COMMANDS };

/* A place in a file. */
struct groups_place {
    unsigned file;
    size_t line; /* 0: none */
};

/* One line of a group's definition. */
struct groups_line {
    const char *text; /* in the file's own text */
    size_t n, line;
    struct groups_line *next;
};

struct group {
    struct groups_line *first, *last; /* NULL: known from a command or an inventory only */
    unsigned file;
    enum { GROUP_UNKNOWN, GROUP_BUSY, GROUP_KNOWN } state;
    struct names members;
};

struct groups_source {
    char *commands[GROUPS_COMMANDS];
    struct groups_place places[GROUPS_COMMANDS];
    char *inventory_path;
    struct inventory *inventory; /* NULL: not read yet */
    struct names group_names;
    struct group *groups; /* by their numbers in group_names */
    size_t room;
};

struct groups_file {
    char *path;
    char *text;
    int shared; /* others may write to it */
};

struct groups {
    char *file, *inventory; /* as asked for; NULL: not */
    int64_t timeout;
    int loaded;
    struct groups_file files[GROUPS_FILES];
    size_t file_count;
    struct names source_names; /* number 0 is "": groups without a source */
    struct groups_source *sources;
    size_t source_room;
    char *fallback; /* the source of `default`; NULL: none */

    unsigned depth; /* of groups that are just being resolved, */
    const char *chain[GROUPS_DEPTH];
    int placed; /* the error at hand says already where it is */
};

/* groups_file.c: reads all files that there are.  0 or negative with *e filled. */
int groups_load(struct groups *g, struct error *e);

/* The number of a source, or of a group in a source; it is made when it is not there. */
int groups_source(struct groups *g, const char *name, size_t n, size_t *number, struct error *e);
int groups_group(struct groups_source *s, const char *name, size_t n, size_t *number,
                 struct error *e);

/* groups_run.c: adds what a command of the source prints to *set; or, if set is NULL, gives all of
 * it in *out, which the caller frees.  group: for the environment.  0 or negative with *e filled.
 */
int groups_run(const struct groups *g, size_t source, enum groups_command command,
               const char *group, char **out, struct error *e);

#endif
