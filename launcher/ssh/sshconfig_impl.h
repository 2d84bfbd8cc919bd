/* What the files of sshconfig share, and nobody else sees. */
#ifndef GRAPNEL_LAUNCHER_SSHCONFIG_IMPL_H
#define GRAPNEL_LAUNCHER_SSHCONFIG_IMPL_H

#include "launcher/ssh/sshconfig.h"
#include "launcher/ssh/sshsources.h"

/* How a keyword's arguments are read. */
enum sshconfig_kind {
    KIND_FLAG,
    KIND_PUBKEY, /* a flag with two more words */
    KIND_COMPRESSION,
    KIND_CANONICALIZE,
    KIND_STRICT,
    KIND_FAMILY,
    KIND_LOGLEVEL,
    KIND_STRING,
    KIND_PORT,
    KIND_NUMBER,
    KIND_TIME,    /* seconds, with units; "none" */
    KIND_COMMAND, /* the rest of the line as it stands */
    KIND_APPEND,  /* one string; further lines add to it */
    KIND_FILES,   /* strings up to the end; the first line wins */
    KIND_WORDS,   /* the same; further lines add */
    KIND_PASSED,  /* ssh's affair only: that there is an argument is all that is looked at */
    KIND_HOST,
    KIND_MATCH,
    KIND_INCLUDE,
};

enum sshconfig_key {
#define KEYWORD(name, number, kind) KEY_##number,
#define ALIAS(name, number, kind)
#define PASSED(name)
#include "launcher/ssh/sshconfig.def"
#undef KEYWORD
#undef ALIAS
#undef PASSED
    KEY_COUNT,
    KEY_BEGIN = KEY_COUNT, /* a file begins ... */
    KEY_END,               /* ... and ends */
    KEY_PASSED,            /* says nothing to us */
    KEY_UNKNOWN,           /* its one argument is a keyword that nobody knows */
};

struct sshconfig_keyword {
    const char *name;
    enum sshconfig_key key;
    enum sshconfig_kind kind;
};

/* sshconfig_keyword.c: the keyword of this name (lower case); NULL: there is none. */
const struct sshconfig_keyword *sshconfig_keyword_find(const char *name);

/* One line that says something to us. */
struct sshconfig_directive {
    enum sshconfig_key key;
    const char *file; /* one of the set's names */
    size_t line;
    size_t argc;
    char **argv; /* KIND_COMMAND: the one rest; KIND_MATCH: criterion, argument or "", ... */
    long number; /* flags, enums, numbers, times (none: -1) as read */
};

struct sshconfig_set {
    struct sshconfig_directive *at;
    size_t count, size;
    char **names; /* file names that directives point to */
    size_t names_count, names_size;
    struct sshsources *sources; /* NULL: no file */
    int wants_final;            /* some Match says "final" */
    char *home;
    char *local_user;
    char *ssh_program;
    int no_environment;
    char **settings; /* -o, -F for `ssh -G` */
    size_t settings_count;
    char *file;
};

/* sshconfig_words.c: splits one line (changed in place) into a lower-case keyword and the rest.
 * NULL for blank lines and comments; *rest is never NULL. */
char *sshconfig_words_keyword(char *line, char **rest);
/* Splits by ssh's quoting up to a comment.  0 and *argv (one allocation, the caller frees it),
 * -E_CONFIG (no closing quote) or -E_NOMEM. */
int sshconfig_words_split(const char *s, char ***argv, size_t *argc);
/* Cuts the next word off *s, as in Match lines, where = separates too; NULL at the end. */
char *sshconfig_words_next(char **s);
/* Removes white space at the end. */
void sshconfig_words_trim(char *line);

/* sshconfig_value.c: checks a directive's arguments (argc >= 1) and fills its number.  0, or
 * -E_CONFIG and *why, a static text. */
int sshconfig_value(struct sshconfig_directive *d, enum sshconfig_kind kind, const char **why);
/* Seconds in ssh's time format ("90", "1m30s").  0 or -E_CONFIG. */
int sshconfig_value_time(const char *s, long *seconds);

/* sshconfig_read.c: appends what the files say, in order of precedence. */
int sshconfig_read_settings(struct sshconfig_set *set, const char *const *settings, size_t count,
                            struct error *e);
enum sshconfig_where { WHERE_GIVEN, WHERE_USER, WHERE_SYSTEM };
int sshconfig_read_file(struct sshconfig_set *set, const char *path, enum sshconfig_where where,
                        struct error *e);
/* Enters what `ssh -G` printed: one value a line, no quoting; Host, Match, Include are ignored. */
int sshconfig_read_dump(struct sshconfig_set *set, char *text, struct error *e);

/* sshconfig_expand.c */
struct sshconfig_tokens { /* any may be NULL: then its token is an error */
    const char *home, *host, *original, *user, *local_user, *alias, *jump;
    unsigned port;
};
/* Expands ~ and ~user at the start if `tilde`, % tokens, ${VAR}.  0 and *out (the caller frees
 * it), -E_CONFIG or -E_NOMEM. */
int sshconfig_expand(const char *s, const struct sshconfig_tokens *t, int tilde, char **out,
                     struct error *e);
/* Only ~ (for Include).  */
int sshconfig_expand_tilde(const char *s, const char *home, char **out, struct error *e);

/* sshconfig_eval.c: what applies to one host, before defaults. */
struct sshconfig_picked {
    const struct sshconfig_directive *value[KEY_COUNT]; /* the winning line */
    const struct sshconfig_directive **lists;           /* lines of appending keywords, in order */
    size_t lists_count, lists_size;
    const char *host; /* as Host patterns see it: as typed, in the final pass as replaced */
    const char *typed;
    const char *user; /* given; else NULL */
    unsigned port;    /* given; else 0 */
    char *replaced;   /* HostName, expanded: owned */
    int final_pass;
    int all;                                 /* take every line: `ssh -G` has evaluated them */
    const struct sshconfig_directive *ssh_g; /* the first line that we cannot evaluate */
};
/* Where a line stands: "file:line", or "-o".  Returns text. */
#define SSHCONFIG_PLACE_MAX 512
const char *sshconfig_place(const struct sshconfig_directive *d, char text[SSHCONFIG_PLACE_MAX]);
int sshconfig_eval(const struct sshconfig_set *set, struct sshconfig_picked *p, struct error *e);

/* sshconfig_finish.c: makes the result from what was picked. */
int sshconfig_finish(const struct sshconfig_set *set, const struct sshconfig_picked *p,
                     struct sshconfig **out, struct error *e);

/* sshconfig_run.c: `ssh -G`; prints into *out (terminated, the caller frees it).  `bare`: with
 * -F none and no options, to see ssh's defaults. */
int sshconfig_run(const struct sshconfig_set *set, const char *host, const char *user,
                  unsigned port, int bare, unsigned timeout_ms, char **out, struct error *e);

#endif
