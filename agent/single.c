#include "agent/single.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/exec.h"
#include "agent/facts.h"
#include "agent/linux.h"
#include "agent/pipes.h"
#include "agent/session.h"

/* ---- the command line ---- */

/* Where a worker may lie, seen from the folder of the agent. */
static const char *const places[] = {
    "grapnel-worker",
    "workers/" GRAPNEL_OS_ARCH,
    "../workers/" GRAPNEL_OS_ARCH,
    "../libexec/grapnel/workers/" GRAPNEL_OS_ARCH,
};

static int find_worker(struct single *served, struct error *e)
{
    char folder[PATH_MAX];
    char *slash;

    if (linux_own_path(folder, sizeof folder) != 0 || (slash = strrchr(folder, '/')) == NULL) {
        return errors_set_system(e, -E_CONFIG, errno, "own file, beside which the worker lies");
    }
    *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int n = snprintf(served->worker, sizeof served->worker, "%s/%s", folder, places[i]);
        if (n > 0 && (size_t)n < sizeof served->worker && access(served->worker, X_OK) == 0) {
            return 0;
        }
    }
    return errors_set(e, -E_CONFIG, "no worker is installed with %s: see --worker", folder);
}

int single_read(char *const *words, struct single *served, struct error *e)
{
    const char *worker = NULL;

    if (words[0] != NULL && strcmp(words[0], "--worker") == 0 && words[1] != NULL) {
        worker = words[1];
        words += 2;
    }
    if (words[0] == NULL || words[0][0] == '-' || words[0][0] == '\0') {
        return errors_set(e, -E_ARGUMENT, "serve needs the file of a service");
    }
    served->file = words[0];
    served->more = words + 1;
    if (access(served->file, R_OK) != 0) {
        return errors_set_system(e, -E_CONFIG, errno, "%s", served->file);
    }
    if (worker == NULL) {
        return find_worker(served, e);
    }
    /* With a slash it is not looked for anywhere. */
    if (strchr(worker, '/') == NULL || strlen(worker) >= sizeof served->worker) {
        return errors_set(e, -E_ARGUMENT, "--worker needs a path");
    }
    strcpy(served->worker, worker);
    return access(worker, X_OK) == 0 ? 0 : errors_set_system(e, -E_CONFIG, errno, "%s", worker);
}

/* ---- what there is ---- */

/* The client sends its worker in vain: it is thanked, and ours is run. */
static int open_deliver(struct stream *s)
{
    struct value *map = values_map();

    values_set(map, "have", values_bool(1));
    stream_accept(s, pipes_nobody(), NULL);
    stream_close(s, 0, map, NULL);
    return 0;
}

/* Our worker's words; of what the client asks for only where its stderr goes. */
static struct value *worker_args(const struct single *served, const struct value *args)
{
    struct value *argv = values_array();
    struct value *own = values_map();
    int64_t err = values_as_int(values_get(args, "stderr"), 0);
    char service[PATH_MAX + sizeof "service="];

    snprintf(service, sizeof service, "service=%s", served->file);
    values_append(argv, values_bytes(served->worker, strlen(served->worker)));
    values_append(argv, values_text("instance"));
    values_append(argv, values_bytes(service, strlen(service)));
    for (char *const *word = served->more; *word != NULL; word++) {
        values_append(argv, values_bytes(*word, strlen(*word)));
    }
    values_set(own, "argv", argv);
    values_set(own, "stdin", values_bool(1));
    if (err != 0) {
        values_set(own, "stderr", values_int(err));
    }
    return own;
}

static int open_worker(struct session *session, struct stream *s, const struct value *args,
                       struct error *e)
{
    struct value *own;
    int result;

    if (values_type(values_get(args, "blob")) != VALUE_BYTES) {
        return errors_set(e, -E_DENIED, "no command is run here");
    }
    if (exec_set_count(session_execs(session)) >= SINGLE_WORKERS) {
        return errors_set(e, -E_LIMIT, "%d instances at a time", SINGLE_WORKERS);
    }
    own = worker_args(agent_options(session_agent(session))->served, args);
    result = exec_open(session, s, own, e);
    values_free(own);
    return result;
}

int single_open(void *arg, struct stream *s, const char *name, const struct value *args,
                struct error *e)
{
    if (strcmp(name, "deliver") == 0) {
        return open_deliver(s);
    }
    if (strcmp(name, "pipe") == 0) {
        return pipes_open(arg, s, args, e);
    }
    if (strcmp(name, "exec") == 0) {
        return open_worker(arg, s, args, e);
    }
    return errors_set(e, -E_DENIED, "\"%.100s\"", name);
}

void single_call(void *arg, struct link *l, uint32_t id, const char *name, const struct value *args)
{
    if (strcmp(name, "signal") == 0) {
        exec_signal(arg, l, id, args);
    } else if (strcmp(name, "cancel") == 0) {
        exec_cancel(arg, l, id, args);
    } else if (strcmp(name, "facts") == 0) {
        link_answer(l, id, facts_public());
    } else {
        link_fail(l, id, -E_DENIED, name);
    }
}
