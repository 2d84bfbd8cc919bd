/* What was kept on a host is removed: grapnel_purge of the public header. */
#include <stdlib.h>
#include <string.h>

#include "launcher/connection.h"

/* What is not a kept agent, or half of one, is not ours. */
static const char line[] = "n=0; y=$HOME/.cache/grapnel; "
                           "if [ -z \"$HOME\" ] || [ ! -d \"$y\" ]; then echo 0; exit; fi; "
                           "if [ -h \"$y\" ] || [ ! -O \"$y\" ]; then echo $y is not a folder of "
                           "this account >&2; exit 1; fi; "
                           "cd \"$y\" || exit; "
                           "for f in * .new-*; do "
                           "if [ -d \"$f\" ]; then continue; fi; "
                           "case $f in "
                           ".new-*) rm -f -- \"$f\";; "
                           "*[!0-9a-f]*) ;; "
                           "*) if [ ${#f} -eq 64 ]; then rm -f -- \"$f\" || exit; n=$((n+1)); fi;; "
                           "esac; done; "
                           "cd .. && rmdir grapnel 2>/dev/null; echo $n";

/* The command ran; was it content? */
static int judge(const struct grapnel_result *r, int64_t *count, struct error *e)
{
    if (!r->status.exited || r->status.exit_status != 0)
        return errors_set(e, -E_IO, "%.*s", (int)strcspn(r->err, "\n"), r->err);
    if (count)
        *count = strtoll(r->out, NULL, 10);
    return 0;
}

int grapnel_purge(struct grapnel_server *s, int64_t timeout, int64_t *count,
                  struct grapnel_error *error)
{
    const char *argv[] = {"/bin/sh", "-c", line, NULL};
    struct grapnel_exec_options o = {
        .argv = argv, .no_input = 1, .timeout = timeout > 0 ? timeout : 0};
    struct grapnel_result r;
    struct error e = {0};
    int code = grapnel_run(s, &o, &r, error);

    if (code < 0)
        return code;
    if (r.status.reason)
        errors_set(&e, -E_TIMEOUT, "removing what is kept");
    else
        judge(&r, count, &e);
    grapnel_result_clear(&r);
    return e.code ? context_error(error, connection_target(s), &e) : 0;
}
