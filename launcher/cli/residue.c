#include "launcher/cli/residue.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/cli/say.h"

#define PIDS_MAX  16
#define LINES_MAX 1000 /* a host can make us remember no more than this */

/* Needs nothing but a POSIX shell and ls; a host without /proc shows files, and processes that were
 * asked about.  A process that is about to end, and a folder from which an agent is just being
 * started, get a second to go away.  Such folders are named by 32 hexadecimal digits.  A zombie has
 * ended: that init has not noticed is not ours. */
static const char script[] =
    "field() { [ -r /proc/$1/status ] || return; while read -r k v r; do\n"
    "  [ \"$k\" = \"$2\" ] && echo \"$v\"; done </proc/$1/status; }\n"
    "lives() { kill -0 $1 2>/dev/null && [ \"$(field $1 State:)\" != Z ]; }\n"
    "exe() { l=$(ls -l /proc/$1/exe 2>/dev/null); echo \"${l#* -> }\"; }\n"
    "for p; do lives $p && sleep 1; done\n"
    "for p; do lives $p && echo \"alive $p\"; done\n"
    "mine=$(exe $PPID); up=' '; p=$PPID\n"
    "while [ \"${p:-0}\" -gt 1 ]; do\n"
    "  up=\"$up$p \"\n"
    "  if [ $p = $PPID ] || { [ -n \"$mine\" ] && [ \"$(exe $p)\" = \"$mine\" ]; }; then\n"
    "    echo \"self $p\"\n"
    "  fi\n"
    "  p=$(field $p PPid:)\n"
    "done\n"
    "ls -l /proc/[0-9]*/exe 2>/dev/null | while read -r l; do\n"
    "  case $l in *' -> '*/.grapnel-*/agent*) ;; *) continue;; esac\n"
    "  l=${l#*/proc/}; l=${l%%/*}\n"
    "  case $up in *\" $l \"*) ;; *) echo \"agent $l\";; esac\n"
    "done\n"
    "each() {\n"
    "  seen=:\n"
    "  for d in \"$TMPDIR\" /tmp /var/tmp /dev/shm \"$XDG_RUNTIME_DIR\" \"$HOME\"; do\n"
    "    case $seen in *:\"$d\":*) continue;; esac\n"
    "    seen=$seen$d:\n"
    "    for f in \"$d\"/.grapnel-*; do\n"
    "      n=${f##*/.grapnel-}\n"
    "      case $n in *[!0-9a-f]*) continue;; esac\n"
    "      [ ${#n} = 32 ] || continue\n"
    "      [ -e \"$f\" ] || [ -h \"$f\" ] || continue\n"
    "      [ -O \"$f\" ] && $1\n"
    "    done\n"
    "  done\n"
    "}\n"
    "note() { found=$found:$f:; }\n"
    "tell() { case $found in *:\"$f\":*) echo \"file $f\";; esac; }\n"
    "found=; each note; [ -z \"$found\" ] || { sleep 1; each tell; }\n"
    "exit 0\n";

static int take_line(struct residue *r, char *line)
{
    char *value = strchr(line, ' ');
    json_t *where = NULL;

    if (!value)
        return 0;
    *value++ = '\0';
    if (!strcmp(line, "self"))
        where = r->self;
    else if (!strcmp(line, "alive"))
        where = r->alive;
    else if (!strcmp(line, "agent"))
        where = r->agents;
    else if (!strcmp(line, "file"))
        where = r->files;
    if (!where || json_array_size(where) >= LINES_MAX)
        return 0;
    return json_array_append_new(where, say_json_text(value));
}

static int take(struct residue *r, char *text, struct grapnel_error *error)
{
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (take_line(r, line) < 0)
            return say_fail(error, "NOMEM", "out of memory");
    }
    if (json_array_size(r->self) == 0)
        return say_fail(error, "MALFORMED", "the check for leftovers got no answer from the host");
    return 0;
}

int residue_look(struct residue *r, struct grapnel_server *s, const json_t *pids, int64_t timeout,
                 struct grapnel_error *error)
{
    const char *argv[PIDS_MAX + 5] = {"/bin/sh", "-c", script, "sh"};
    struct grapnel_exec_options options = {.argv = argv, .timeout = timeout};
    struct grapnel_result result = {.out = NULL};
    int rc;

    *r = (struct residue){json_array(), json_array(), json_array(), json_array()};
    if (!r->self || !r->alive || !r->agents || !r->files)
        return say_fail(error, "NOMEM", "out of memory");
    for (size_t i = 0; i < json_array_size(pids) && i < PIDS_MAX; i++)
        argv[4 + i] = json_string_value(json_array_get(pids, i));
    rc = grapnel_run(s, &options, &result, error);
    if (rc == 0)
        rc = take(r, result.out, error);
    grapnel_result_clear(&result);
    return rc;
}

void residue_clear(struct residue *r)
{
    json_decref(r->self);
    json_decref(r->alive);
    json_decref(r->agents);
    json_decref(r->files);
    *r = (struct residue){NULL, NULL, NULL, NULL};
}
