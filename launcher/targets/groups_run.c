/* Commands that know groups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/capture.h"
#include "launcher/targets/groups_impl.h"

#define OUTPUT_MAX (64u << 20)
#define TIMEOUT    30000 /* ms */

extern char **environ;

/* This process's environment, with GROUP and SOURCE.  The caller frees the array. */
static char **environment(char *group, char *source)
{
    size_t n = 0, kept = 0;

    while (environ[n] != NULL)
        n++;
    char **env = calloc(n + 3, sizeof *env);
    if (env == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "GROUP=", 6) != 0 && strncmp(environ[i], "SOURCE=", 7) != 0)
            env[kept++] = environ[i];
    env[kept++] = group;
    env[kept] = source;
    return env;
}

/* How the command failed; *what: which it was. */
static int explain(int rc, const char *what, unsigned timeout_ms, const struct capture_result *r,
                   struct error *e)
{
    int length = (int)strcspn(r->errors, "\r\n");

    if (rc == -E_TIMEOUT)
        return errors_set(e, rc, "%s did not end within %u ms", what, timeout_ms);
    if (rc == -E_LIMIT)
        return errors_set(e, rc, "%s printed more than %u bytes", what, OUTPUT_MAX);
    if (rc != 0 && r->number != 0)
        return errors_set_system(e, rc, r->number, "%s", what);
    if (rc != 0)
        return errors_set(e, rc, "%s", what);
    if (WIFSIGNALED(r->status))
        return errors_set(e, -E_CONFIG, "%s was ended by signal %d", what, WTERMSIG(r->status));
    if (WEXITSTATUS(r->status) != 0)
        return errors_set(e, -E_CONFIG, "%s ended with status %d%s%.*s", what,
                          WEXITSTATUS(r->status), length > 0 ? ": " : "", length, r->errors);
    return 0;
}

int groups_run(const struct groups *g, size_t source, enum groups_command command,
               const char *group, char **out, struct error *e)
{
    static const char *const names[GROUPS_COMMANDS] = {"map", "all", "list"};
    const struct groups_source *s = &g->sources[source];
    const struct groups_file *file = &g->files[s->places[command].file];
    char *argv[] = {"/bin/sh", "-c", s->commands[command], NULL};
    char *group_text = NULL, *source_text = NULL, **env = NULL, what[700];
    struct capture_result r = {.out = NULL};
    struct capture c = {.program = argv[0], .argv = argv, .limit = OUTPUT_MAX};
    int rc;

    *out = NULL;
    (void)snprintf(what, sizeof what, "%.300s, line %zu: %s%s%.100s%s", file->path,
                   s->places[command].line, names[command], *group ? " for the group '" : "", group,
                   *group ? "'" : "");
    if (file->shared)
        return errors_set(e, -E_CONFIG,
                          "%s is not run: others may write to the file (chmod go-w, or its owner)",
                          what);
    if (asprintf(&group_text, "GROUP=%s", group) < 0)
        group_text = NULL;
    if (asprintf(&source_text, "SOURCE=%s", names_at(&g->source_names, source)) < 0)
        source_text = NULL;
    if (group_text != NULL && source_text != NULL)
        env = environment(group_text, source_text);
    c.env = env;
    c.timeout_ms = g->timeout <= 0               ? TIMEOUT
                   : g->timeout > UINT32_MAX / 2 ? UINT32_MAX / 2
                                                 : (unsigned)g->timeout;
    rc = env == NULL ? -E_NOMEM : capture_run(&c, &r);
    rc = explain(rc, what, c.timeout_ms, &r, e);
    free(env);
    free(group_text);
    free(source_text);
    if (rc == 0 && (r.out == NULL || strlen(r.out) != r.length))
        rc = errors_set(e, -E_CONFIG, "%s printed a zero byte", what);
    if (rc == 0)
        *out = r.out;
    else
        free(r.out);
    return rc;
}
