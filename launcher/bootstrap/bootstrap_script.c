#include "launcher/bootstrap/bootstrap_script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP_MOST 4 /* agents that a host keeps for an account: the newest, whoever's they are */

/* The script of /bin/sh.  It stands in single quotes of the login shell's language, whichever that
 * is (sh, csh, fish …), so it holds no single quote, no backslash, no exclamation mark and no
 * newline.  The marker is split so that a shell that echoes the command does not imitate it.
 *
 * n nonce · u system · g gives the agent · v checks what it gave · d the directory that holds the
 * first copy · p that copy · e the directory being tried · i its number · k keeps a copy · x the
 * copy while it is being written.
 *
 * mkdir of an unguessable name is as safe as mktemp -d, and is there where mktemp is not.  What is
 * in that directory nobody else reaches, so that the account's umask, which the agent finds and
 * hands on, is kept; the file is opened once, as a umask may forbid that to be done again.  The
 * agent is unpacked once; where programs may not run it is copied on to the next directory.
 *
 * Every process counts, at about a millisecond each: uname is asked only where Linux does not tell
 * the architecture in a file (it does since 6.1), and chmod does its work while the agent is still
 * coming in.
 */
static const char script[] =
    "n=%s; a=/proc/sys/kernel/arch; t=uname; "
    "[ -r $a ] && read -r u <$a && t= u=\"Linux $u\" || u=$(uname -sm 2>/dev/null); "
    "u=${u:-unknown}; "
    "echo \"@grap\"\"nel $n sys $u\"; "
    "f() { echo \"@grap\"\"nel $n fail $*\"; exit 1; }; "
    "c() { command -v $1 >/dev/null 2>&1; }; "
    "c true || f files; for t in $t mkdir chmod rm; do c $t || f tool $t; done; "
    "[ \"$u\" = \"%s\" ] || f arch; "
    "%s"
    "q() { rm -rf \"$d\" \"$e\" \"$x\"; }; trap q EXIT; trap \"exit 1\" HUP INT TERM PIPE; "
    "d=; e=; p=; x=; i=0; "
    "for t in \"$TMPDIR\" /tmp /var/tmp /dev/shm \"$XDG_RUNTIME_DIR\" \"$HOME\"; do "
    "i=$((i+1)); [ $i -gt %d ] && [ -d \"$t\" ] || continue; "
    "e=$t/.grapnel-$n; (umask 077; exec mkdir \"$e\") 2>/dev/null || { e=; continue; }; "
    "if [ -z \"$p\" ]; then "
    "{ chmod 700 \"$e/agent\" & g; s=$?; wait; [ $s = 0 ]; } 2>/dev/null >\"$e/agent\" || "
    "f space $i; "
    "d=$e; p=$e/agent; v; "
    "else cp \"$p\" \"$e/agent\" 2>/dev/null || { rm -rf \"$e\"; continue; }; "
    "chmod 700 \"$e/agent\"; fi; "
    "if [ -s \"$e/agent\" ] && \"$e/agent\" probe 2>/dev/null; then [ \"$d\" = \"$e\" ] || rm -rf "
    "\"$d\"; k; "
    "GRAPNEL_LEASE_MS=%u; export GRAPNEL_LEASE_MS; "
    "exec \"$e/agent\" boot %s; fi; "
    "[ \"$d\" = \"$e\" ] || rm -rf \"$e\"; "
    "done; [ -n \"$p\" ] && f noexec; f notemp";

/* The agent comes from stdin.  h what reads it · w what limits that.
 *
 * `head` that is missing is replaced by a dd that reads byte by byte: slow, but it reads exactly.
 * `timeout`, where there is one, ends the waiting for an agent that does not come; one that does
 * not know our way of calling it has read nothing, and head is called without it.  What unpacks
 * the agent is looked for before anything is read. */
static const char receiving[] =
    "h=\"head -c %zu\"; c head || { c dd || f tool head; h=\"dd bs=1 count=%zu\"; }; "
    "w=; if c timeout; then w=\"timeout %u\"; fi; "
    "r() { [ \"$w\" ] && { $w $h; case $? in 0|124|143) return;; esac; }; $h; }; "
    "%s"
    "g() { r | %s; }; v() { :; }; ";
static const char need_gzip[] = "c gzip || f gzip; ", need_cat[] = "c cat || f tool gzip; ";

/* Where copies are kept: y the folder, a the file. */
#define PLACE "y=$HOME/.cache/grapnel; a=$y/%s; "

/* The agent comes from the copy that is kept.  Owners and rights are looked at as they were given;
 * but what counts is the hash of the private copy. */
static const char copying[] =
    PLACE "[ \"$HOME\" ] || f keep home; [ -f \"$a\" ] || f keep none; c cat || f keep tool; "
          "[ -h \"$y\" ] && f keep owner; [ -O \"$y\" ] || f keep owner; "
          "[ -h \"$a\" ] && f keep mode; [ -O \"$a\" ] || f keep mode; "
          "case $(ls -ld \"$y\" \"$a\") in drwx------*-rwx------*) ;; *) f keep mode;; esac; "
          "g() { cat \"$a\"; }; "
          "b() { \"$@\" <\"$e/agent\" 2>/dev/null; }; "
          "v() { s=$(b b2sum -l 256) || s=$(b sha256sum) || s=$(b openssl dgst -sha256 -r) || "
          "s=$(b shasum -a 256) || f keep tool; case $s in %s*|%s*) ;; *) f keep hash;; esac; }; "
          "k() { :; }; ";

/* A copy is kept, whole or not at all, whoever else does the same; and of others the newest only.
 * What hinders it is told, and hinders nothing else.  o how it went · m the account's umask. */
static const char keeping[] = PLACE
    "k() { o=ok; m=$(umask); umask 077; if [ \"$HOME\" ]; then mkdir -p \"$y\"; else o=home; fi; "
    "[ $o = ok ] && if [ -d \"$y\" ]; then [ -O \"$y\" ] || o=owner; [ -h \"$y\" ] && o=owner; "
    "[ -d \"$a\" ] && o=space; else o=space; fi; "
    "[ $o = ok ] && { x=$y/.new-$n; chmod 700 \"$y\" && cp \"$e/agent\" \"$x\" && "
    "chmod 700 \"$x\" && mv -f \"$x\" \"$a\" || { rm -f \"$x\"; o=space; }; }; "
    "i=0; [ $o = ok ] && for t in $(ls -t \"$y\"); do [ ${#t} -eq 64 ] && [ -f \"$y/$t\" ] && "
    "i=$((i+1)) && [ $i -gt %d ] && rm -f \"$y/$t\"; done; "
    "umask $m; echo \"@grap\"\"nel $n kept $o\"; } 2>/dev/null; ";
static const char keeping_not[] = "k() { :; }; ";

/* NULL: no memory. */
__attribute__((format(printf, 1, 2))) static char *compose(const char *format, ...)
{
    char *text;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return text;
}

/* The part of the script that says where the agent comes from, and whether it is kept. */
static char *compose_source(const struct bootstrap_options *o, size_t size)
{
    char *receive, *keep = NULL, *both = NULL;

    if (o->keep == BOOTSTRAP_KEPT)
        return compose(copying, o->agent->hash_hex, o->agent->hash_hex, o->agent->sha256_hex);
    receive = compose(receiving, size, size, o->patience_s, o->plain ? need_cat : need_gzip,
                      o->plain ? "cat" : "gzip -dc");
    if (o->keep == BOOTSTRAP_KEEP)
        keep = compose(keeping, o->agent->hash_hex, KEEP_MOST);
    if (receive && (keep || o->keep != BOOTSTRAP_KEEP))
        both = compose("%s%s", receive, keep ? keep : keeping_not);
    free(receive);
    free(keep);
    return both;
}

char *bootstrap_script(const struct bootstrap_options *o, size_t size, const char *nonce)
{
    char *source = compose_source(o, size), *body = NULL, *command = NULL, sudo[80] = "";

    if (o->sudo_user)
        snprintf(sudo, sizeof sudo, "sudo -n -H -u %s -- ", *o->sudo_user ? o->sudo_user : "root");
    if (source)
        body = compose(script, nonce, o->agent->uname, source, o->skip, o->lease_ms,
                       o->agent->hash_hex);
    if (body)
        command = compose("exec %s/bin/sh -c '%s'", sudo, body);
    free(source);
    free(body);
    return command;
}
