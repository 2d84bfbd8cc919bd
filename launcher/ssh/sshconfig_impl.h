/* What the files of sshconfig share, and nobody else sees. */
#ifndef GRAPNEL_LAUNCHER_SSHCONFIG_IMPL_H
#define GRAPNEL_LAUNCHER_SSHCONFIG_IMPL_H

#include "launcher/ssh/sshconfig.h"

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
    KIND_HOST,
    KIND_MATCH,
    KIND_INCLUDE,
};

/* The one table of keywords: name, number, kind.  Other spellings follow with the same number. */
#define SSHCONFIG_KEYWORDS(K)                                                                      \
    K("host", HOST, KIND_HOST)                                                                     \
    K("match", MATCH, KIND_MATCH)                                                                  \
    K("include", INCLUDE, KIND_INCLUDE)                                                            \
    K("hostname", HOSTNAME, KIND_STRING)                                                           \
    K("user", USER, KIND_STRING)                                                                   \
    K("port", PORT, KIND_PORT)                                                                     \
    K("hostkeyalias", HOSTKEYALIAS, KIND_STRING)                                                   \
    K("identityfile", IDENTITYFILE, KIND_APPEND)                                                   \
    K("certificatefile", CERTIFICATEFILE, KIND_APPEND)                                             \
    K("identitiesonly", IDENTITIESONLY, KIND_FLAG)                                                 \
    K("identityagent", IDENTITYAGENT, KIND_STRING)                                                 \
    K("pkcs11provider", PKCS11PROVIDER, KIND_STRING)                                               \
    K("proxyjump", PROXYJUMP, KIND_COMMAND)                                                        \
    K("proxycommand", PROXYCOMMAND, KIND_COMMAND)                                                  \
    K("userknownhostsfile", USERKNOWNHOSTS, KIND_FILES)                                            \
    K("globalknownhostsfile", GLOBALKNOWNHOSTS, KIND_FILES)                                        \
    K("stricthostkeychecking", STRICT, KIND_STRICT)                                                \
    K("hashknownhosts", HASHKNOWNHOSTS, KIND_FLAG)                                                 \
    K("checkhostip", CHECKHOSTIP, KIND_FLAG)                                                       \
    K("knownhostscommand", KNOWNHOSTSCOMMAND, KIND_COMMAND)                                        \
    K("hostkeyalgorithms", HOSTKEYALGORITHMS, KIND_STRING)                                         \
    K("kexalgorithms", KEXALGORITHMS, KIND_STRING)                                                 \
    K("ciphers", CIPHERS, KIND_STRING)                                                             \
    K("macs", MACS, KIND_STRING)                                                                   \
    K("pubkeyacceptedalgorithms", PUBKEYALGORITHMS, KIND_STRING)                                   \
    K("preferredauthentications", PREFERREDAUTH, KIND_STRING)                                      \
    K("pubkeyauthentication", PUBKEYAUTH, KIND_PUBKEY)                                             \
    K("passwordauthentication", PASSWORDAUTH, KIND_FLAG)                                           \
    K("kbdinteractiveauthentication", KBDINTAUTH, KIND_FLAG)                                       \
    K("gssapiauthentication", GSSAPIAUTH, KIND_FLAG)                                               \
    K("hostbasedauthentication", HOSTBASEDAUTH, KIND_FLAG)                                         \
    K("batchmode", BATCHMODE, KIND_FLAG)                                                           \
    K("numberofpasswordprompts", PASSWORDPROMPTS, KIND_NUMBER)                                     \
    K("addressfamily", ADDRESSFAMILY, KIND_FAMILY)                                                 \
    K("bindaddress", BINDADDRESS, KIND_STRING)                                                     \
    K("bindinterface", BINDINTERFACE, KIND_STRING)                                                 \
    K("connecttimeout", CONNECTTIMEOUT, KIND_TIME)                                                 \
    K("connectionattempts", CONNECTIONATTEMPTS, KIND_NUMBER)                                       \
    K("compression", COMPRESSION, KIND_COMPRESSION)                                                \
    K("tcpkeepalive", TCPKEEPALIVE, KIND_FLAG)                                                     \
    K("serveraliveinterval", ALIVEINTERVAL, KIND_TIME)                                             \
    K("serveralivecountmax", ALIVECOUNTMAX, KIND_NUMBER)                                           \
    K("loglevel", LOGLEVEL, KIND_LOGLEVEL)                                                         \
    K("sendenv", SENDENV, KIND_WORDS)                                                              \
    K("setenv", SETENV, KIND_FILES)                                                                \
    K("canonicalizehostname", CANONICALIZE, KIND_CANONICALIZE)

#define SSHCONFIG_ALIASES(K)                                                                       \
    K("identityfile2", IDENTITYFILE, KIND_APPEND)                                                  \
    K("pubkeyacceptedkeytypes", PUBKEYALGORITHMS, KIND_STRING)                                     \
    K("dsaauthentication", PUBKEYAUTH, KIND_PUBKEY)                                                \
    K("challengeresponseauthentication", KBDINTAUTH, KIND_FLAG)                                    \
    K("skeyauthentication", KBDINTAUTH, KIND_FLAG)                                                 \
    K("tisauthentication", KBDINTAUTH, KIND_FLAG)                                                  \
    K("keepalive", TCPKEEPALIVE, KIND_FLAG)                                                        \
    K("smartcarddevice", PKCS11PROVIDER, KIND_STRING)

enum sshconfig_key {
#define SSHCONFIG_NUMBER(name, number, kind) KEY_##number,
    SSHCONFIG_KEYWORDS(SSHCONFIG_NUMBER)
#undef SSHCONFIG_NUMBER
        KEY_COUNT,
    KEY_BEGIN = KEY_COUNT, /* a file begins ... */
    KEY_END,               /* ... and ends */
};

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
    int wants_final; /* some Match says "final" */
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
/* Enters what `ssh -G` printed: one value a line, no quoting. */
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
int sshconfig_eval(const struct sshconfig_set *set, struct sshconfig_picked *p, struct error *e);

/* sshconfig_finish.c: makes the result from what was picked. */
int sshconfig_finish(const struct sshconfig_set *set, const struct sshconfig_picked *p,
                     struct sshconfig **out, struct error *e);

/* sshconfig_run.c: `ssh -G`; prints into *out (terminated, the caller frees it).  `bare`: with
 * -F none and no options, to see ssh's defaults. */
int sshconfig_run(const struct sshconfig_set *set, const char *host, const char *user,
                  unsigned port, int bare, unsigned timeout_ms, char **out, struct error *e);

#endif
