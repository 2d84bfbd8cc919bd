/* What the files of the command's options share: options.c (the table, and the words in their
 * order), options_value.c (an option's argument), options_check.c (what goes together).  Not for
 * anyone else. */
#ifndef GRAPNEL_CLI_OPTIONS_IMPL_H
#define GRAPNEL_CLI_OPTIONS_IMPL_H

#include "launcher/cli/options.h"

/* Where parsing stands. */
struct reader {
    struct options *o;
    int argc;
    char *const *argv;
    int next; /* the word to read next */
    struct grapnel_error *error;
};

/* ---- options_value.c ---- */

/* Appends an item, which is not copied.  0, or negative with *error. */
int options_list_add(struct options_list *list, const char *item, struct grapnel_error *error);
/* Reads the argument of an option that has one.  shown: the option as it was typed.  0, or negative
 * with *r->error. */
int options_set_value(struct reader *r, const struct options_entry *entry, const char *shown,
                      const char *value);

/* ---- options_check.c ---- */

/* True when targets may be left out, as another option names hosts. */
int options_lists_hosts(const struct options *o);
/* When all was read: what the words are, by the verb's shape.  0, or negative with *error. */
int options_check(struct options *o, struct grapnel_error *error);

#endif
