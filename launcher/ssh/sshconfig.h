/* OpenSSH's client configuration (ssh_config(5)), evaluated in process, as OpenSSH 9.2 does.
 *
 * Files are read once (sshconfig_open), hosts are looked up many times (sshconfig_lookup, some
 * microseconds each).  What is not evaluated here (Match exec, Match criteria that are newer than
 * this code, CanonicalizeHostname) is left to `ssh -G`, which sshconfig_load runs when needed.
 * Keywords that are not of use to the launcher are passed over; unknown ones are refused, unless
 * IgnoreUnknown names them. */
#ifndef GRAPNEL_LAUNCHER_SSHCONFIG_H
#define GRAPNEL_LAUNCHER_SSHCONFIG_H

#include <stddef.h>

#include "proto/errors.h"

#define SSHCONFIG_DEPTH_MAX 16         /* nesting of Include */
#define SSHCONFIG_FILE_MAX  (4u << 20) /* bytes of one file */
#define SSHCONFIG_LINES_MAX 200000u    /* lines that say something, all files together */
#define SSHCONFIG_HOST_MAX  1024       /* bytes of a host name, user name, alias */

enum sshconfig_strict {                       /* StrictHostKeyChecking */
                        SSHCONFIG_STRICT_ASK, /* default: to the launcher the same as YES unless it
                                                 can ask */
                        SSHCONFIG_STRICT_YES,
                        SSHCONFIG_STRICT_ACCEPT_NEW, /* add unknown keys, refuse changed ones */
                        SSHCONFIG_STRICT_OFF, /* "no" and "off": as ACCEPT_NEW here, changed keys
                                                 are refused */
};

enum sshconfig_family { SSHCONFIG_FAMILY_ANY, SSHCONFIG_FAMILY_INET, SSHCONFIG_FAMILY_INET6 };

enum sshconfig_loglevel {
    SSHCONFIG_LOG_QUIET,
    SSHCONFIG_LOG_FATAL,
    SSHCONFIG_LOG_ERROR,
    SSHCONFIG_LOG_INFO, /* default */
    SSHCONFIG_LOG_VERBOSE,
    SSHCONFIG_LOG_DEBUG1,
    SSHCONFIG_LOG_DEBUG2,
    SSHCONFIG_LOG_DEBUG3,
};

struct sshconfig_list {
    char **item; /* terminated strings */
    size_t count;
};

/* What holds for one host.  Read only; freed as a whole by sshconfig_free.  Paths are expanded
 * (~, % tokens, ${VAR}).  A char * that was not set is NULL unless said otherwise. */
struct sshconfig {
    char *original;       /* as the user typed it; never NULL */
    char *host;           /* HostName: what to resolve; never NULL */
    char *user;           /* never NULL: the local user's name by default */
    int user_set;         /* the user was given or configured, not a default */
    unsigned port;        /* 1..65535; default 22 */
    char *hostkey_alias;  /* HostKeyAlias */
    char *lookup_name;    /* what known_hosts is asked for: alias, or host; never NULL */
    unsigned lookup_port; /* ... and its port: 0 with an alias, else port */

    struct sshconfig_list identity_files; /* IdentityFile, in order of trying */
    int identity_files_default;           /* 1: ssh's defaults; missing ones are not worth a word */
    struct sshconfig_list certificate_files; /* CertificateFile */
    int identities_only;
    char *agent_socket; /* IdentityAgent / SSH_AUTH_SOCK resolved: a path; NULL: use no agent */
    char *pkcs11_provider;

    char *proxy_jump;    /* ProxyJump as written; NULL also for "none" */
    char *proxy_command; /* ProxyCommand as written, tokens not expanded; NULL also for "none" */

    char *ssh_folder;                         /* ~/.ssh of the local user */
    struct sshconfig_list user_known_hosts;   /* UserKnownHostsFile; the first takes new keys */
    struct sshconfig_list global_known_hosts; /* GlobalKnownHostsFile */
    enum sshconfig_strict strict;
    int hash_known_hosts;
    int check_host_ip;
    char *known_hosts_command; /* KnownHostsCommand */
    char *revoked_host_keys;   /* RevokedHostKeys */

    /* Algorithm lists as written, with their leading + - ^ if any: see sshconfig_algorithms. */
    char *hostkey_algorithms;
    char *kex_algorithms;
    char *ciphers;
    char *macs;
    char *pubkey_algorithms; /* PubkeyAcceptedAlgorithms */

    char *preferred_authentications; /* comma separated; NULL: ssh's order */
    int pubkey_authentication;       /* these four default to 1, gssapi and hostbased to 0 */
    int password_authentication;
    int kbdint_authentication;
    int batch_mode; /* default 0 */
    int gssapi_authentication;
    int hostbased_authentication;
    unsigned password_prompts; /* NumberOfPasswordPrompts; default 3 */

    enum sshconfig_family family;
    char *bind_address;
    char *bind_interface;
    unsigned connect_timeout;     /* seconds; 0: the system's own */
    unsigned connection_attempts; /* default 1 */
    int compression;
    int tcp_keepalive;        /* default 1 */
    unsigned alive_interval;  /* ServerAliveInterval, seconds; 0: none */
    unsigned alive_count_max; /* default 3 */
    enum sshconfig_loglevel log_level;

    struct sshconfig_list send_env; /* SendEnv patterns */
    struct sshconfig_list set_env;  /* SetEnv "NAME=value" */

    int needs_ssh_g; /* sshconfig_lookup only: some of the above may be wrong without ssh -G */
    char *ssh_g_why; /* ... because of this "file:line: what" */
};

/* How to open a set.  Zero-initialised is what ssh without options does. */
struct sshconfig_options {
    const char *file;            /* -F: this file instead of both usual ones; "none": no file */
    const char *const *settings; /* -o "Keyword=value" or "Keyword value", first one wins */
    size_t settings_count;       /* (-i FILE is "IdentityFile=FILE") */
    /* The rest is for tests, and for callers with their own idea of where things are. */
    const char *home;        /* instead of the passwd entry's home folder */
    const char *local_user;  /* instead of the passwd entry's name */
    const char *system_file; /* instead of /etc/ssh/ssh_config */
    const char *ssh_program; /* instead of "ssh" (found by PATH) */
    int no_environment;      /* 1: SSH_AUTH_SOCK is taken as unset */
};

struct sshconfig_set;
struct sshsources;

/* Reads the files.  On 0 the caller owns *out and frees it with sshconfig_close.  Strings of
 * `options` are copied.
 * 0, -E_NOMEM, -E_CONFIG ("file:line: ..." malformed line of a known keyword, bad quotes, nesting
 * of Include, bad owner or permissions of the user's file, -F file is not readable), -E_LIMIT. */
int sshconfig_open(const struct sshconfig_options *options, struct sshconfig_set **out,
                   struct error *e);
void sshconfig_close(struct sshconfig_set *set);
/* The files that it was read from (sshsources.h), which who needs them longer holds; NULL: none. */
struct sshsources *sshconfig_sources(const struct sshconfig_set *set);

/* Evaluates the set for one host, without processes, names or network.
 * host: as typed, without user and port.  user: from "user@host" or -l, NULL if not given (it wins
 * over the files).  port: from -p, 0 if not given.
 * On 0 the caller owns *out and frees it with sshconfig_free; look at its needs_ssh_g.
 * 0, -E_NOMEM, -E_ARGUMENT (empty host, one that starts with '-', control characters, too long),
 * -E_CONFIG (unknown keyword, token or variable).  Thread-safe on one set. */
int sshconfig_lookup(const struct sshconfig_set *set, const char *host, const char *user,
                     unsigned port, struct sshconfig **out, struct error *e);

/* As sshconfig_lookup, and runs `ssh -G` where that is needed: BLOCKS then for up to timeout_ms
 * (0: 10 s), as Match exec runs the user's commands.  needs_ssh_g is 0 in the result.
 * Further: -E_CONFIG (ssh is needed but not installed, or it refused: its words),
 * -E_TIMEOUT, -E_LIMIT (it printed more than 1 MiB), -E_SYSTEM. */
int sshconfig_load(const struct sshconfig_set *set, const char *host, const char *user,
                   unsigned port, unsigned timeout_ms, struct sshconfig **out, struct error *e);
void sshconfig_free(struct sshconfig *config);

/* 1 when this host cannot be served in process by libssh2 and must go to the OpenSSH client;
 * `why` (size bytes) then says which setting asks for it.  Else 0, and why is "". */
int sshconfig_needs_openssh(const struct sshconfig *config, char *why, size_t size);

/* Applies an algorithm setting to the list of those that we have, in our order of preference
 * (comma separated):  NULL: ours.  "+x": ours and x.  "-x": ours without x (patterns).  "^x": x
 * first, then ours.  Else: exactly x.  Whatever is not in `have` is dropped.  The caller frees
 * *out.  0, -E_NOMEM, or -E_UNSUPPORTED (nothing is left; *out is NULL). */
int sshconfig_algorithms(const char *setting, const char *have, char **out);

/* Splits "[user@]host[:port]" (the last @ separates), "[v6]:port", bare IPv6 addresses, and
 * "ssh://[user@]host[:port][/]" as ssh does (%40 and the like are decoded in the user's name).
 * Strings go to the caller's buffers of SSHCONFIG_HOST_MAX bytes; user is ""
 * and *port 0 when absent.  0 or -E_ARGUMENT (with a word on why in e). */
int sshconfig_split(const char *target, char *user, char *host, unsigned *port, struct error *e);

/* ssh's patterns: * and ?, and lists "a*,!ab" where a negated match refuses.  match: 1 or 0.
 * match_list: 1, 0, or -1 (refused by a negation); `fold`: case does not matter. */
int sshconfig_match(const char *s, const char *pattern);
int sshconfig_match_list(const char *s, const char *patterns, int fold);

#endif
