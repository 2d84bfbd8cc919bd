/* `ssh -G`: OpenSSH evaluates its configuration itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "launcher/capture.h"
#include "launcher/safetext.h"
#include "launcher/ssh/sshconfig_impl.h"

#define OUTPUT_MAX (1u << 20)

/* The arguments; the caller frees the array (the strings are the set's).  `port` is printed into
 * the caller's buffer. */
static char **arguments(const struct sshconfig_set *set, const char *host, const char *user,
                        unsigned port, int bare, char *port_text, size_t size)
{
    size_t n = 0;
    char **argv = calloc(2 * set->settings_count + 12, sizeof *argv);
    if (argv == NULL)
        return NULL;
    argv[n++] = set->ssh_program;
    argv[n++] = "-G";
    if (bare || set->file != NULL) {
        argv[n++] = "-F";
        argv[n++] = bare ? "none" : set->file;
    }
    for (size_t i = 0; !bare && i < set->settings_count; i++) {
        argv[n++] = "-o";
        argv[n++] = set->settings[i];
    }
    if (user != NULL) {
        argv[n++] = "-l";
        argv[n++] = (char *)(uintptr_t)user;
    }
    if (port != 0) {
        (void)snprintf(port_text, size, "%u", port);
        argv[n++] = "-p";
        argv[n++] = port_text;
    }
    argv[n++] = "--";
    argv[n++] = (char *)(uintptr_t)host;
    return argv;
}

/* What went wrong, in ssh's own words if it said any. */
static int describe(const struct sshconfig_set *set, int rc, const struct capture_result *r,
                    struct error *e)
{
    char safe[CAPTURE_ERRORS * 2];
    int status = r->status;
    if (rc == -E_LIMIT)
        return errors_set(e, rc, "it printed more than %u bytes", OUTPUT_MAX);
    if (rc == -E_TIMEOUT)
        return errors_set(e, rc, "it did not answer in time");
    if (rc != 0 && r->number == ENOENT)
        return errors_set(e, -E_CONFIG, "%s is not installed", set->ssh_program);
    if (rc != 0 && r->number != 0)
        return errors_set_system(e, rc, r->number, "%s", set->ssh_program);
    if (rc != 0)
        return errors_set(e, rc, "%s", set->ssh_program);
    (void)safetext_copy(safe, sizeof safe, r->errors, strcspn(r->errors, "\r\n"), 0);
    if (safe[0] != '\0')
        return errors_set(e, -E_CONFIG, "%s", safe);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) /* where posix_spawn cannot tell */
        return errors_set(e, -E_CONFIG, "%s is not installed", set->ssh_program);
    return errors_set(e, -E_CONFIG, "%s ended with status %d", set->ssh_program,
                      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int sshconfig_run(const struct sshconfig_set *set, const char *host, const char *user,
                  unsigned port, int bare, unsigned timeout_ms, char **out, struct error *e)
{
    char port_text[16];
    char **argv = arguments(set, host, user, port, bare, port_text, sizeof port_text);
    const struct capture c = {
        .program = set->ssh_program, .argv = argv, .timeout_ms = timeout_ms, .limit = OUTPUT_MAX};
    struct capture_result r = {.out = NULL};
    *out = NULL;
    if (argv == NULL)
        return errors_set(e, -E_NOMEM, "ssh -G");
    int rc = capture_run(&c, &r);
    if (rc != 0 || !WIFEXITED(r.status) || WEXITSTATUS(r.status) != 0)
        rc = describe(set, rc, &r, e);
    free(argv);
    if (rc == 0)
        *out = r.out;
    else
        free(r.out);
    return rc;
}
