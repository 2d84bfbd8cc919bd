/* What is said over the link about a command: its arguments and its result. */
#include <string.h>

#include "launcher/exec/exec_impl.h"
#include "proto/signals.h"

/* ---- result, in names that outlive the values they came in ---- */

static const char *const reasons[] = {"timeout", "output-limit", "cancelled"};

static const char *known_reason(const char *name)
{
    for (size_t i = 0; name && i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(name, reasons[i]) == 0)
            return reasons[i];
    }
    return NULL;
}

/* Nothing that is counted is negative. */
static int64_t count_of(const struct value *map, const char *key)
{
    int64_t n = values_as_int(values_get(map, key), 0);

    return n > 0 ? n : 0;
}

void exec_read_status(struct grapnel_exec_status *to, const struct value *v)
{
    int64_t status = values_as_int(values_get(v, "status"), -1);
    const char *signal = values_as_string(values_get(v, "signal"), NULL);

    /* Any other number would become one of these when it is passed on, perhaps 0. */
    to->exited = status >= 0 && status <= 255;
    to->exit_status = to->exited ? (int)status : 0;
    to->signal = NULL;
    to->signal_number = 0;
    if (!to->exited) {
        to->signal = signals_known(signal);
        to->signal_number = signals_number(signal);
        if (!to->signal)
            to->signal = "unknown";
    }
    to->core = values_as_bool(values_get(v, "core"), 0);
    to->reason = known_reason(values_as_string(values_get(v, "reason"), NULL));
    to->left = count_of(v, "left");
    to->pid = count_of(v, "pid");
    to->wall_us = count_of(v, "wall_us");
    to->user_us = count_of(v, "user_us");
    to->system_us = count_of(v, "system_us");
    to->max_rss = count_of(v, "max_rss");
}

/* ---- arguments ---- */

static int put_list(struct value *map, const char *key, const char *const *list)
{
    struct value *array;

    if (!list)
        return 0;
    array = values_array();
    for (size_t i = 0; array && list[i]; i++) {
        if (values_append(array, values_bytes(list[i], strlen(list[i]))) < 0) {
            values_free(array);
            return -E_NOMEM;
        }
    }
    return values_set(map, key, array);
}

static int put_env(struct value *map, const char *const *env, struct error *e)
{
    struct value *set = values_map();

    for (size_t i = 0; env && env[i]; i++) {
        const char *equals = strchr(env[i], '=');
        if (!equals || equals == env[i]) {
            values_free(set);
            return errors_set(e, -E_ARGUMENT, "\"%.100s\" is not NAME=value", env[i]);
        }
        values_set_pair(set, values_text_n(env[i], (size_t)(equals - env[i])),
                        values_bytes(equals + 1, strlen(equals + 1)));
    }
    return values_set(map, "env", set);
}

static int put_text(struct value *map, const char *key, const char *text)
{
    return text ? values_set(map, key, values_text(text)) : 0;
}

static int put_number(struct value *map, const char *key, int64_t number)
{
    return number > 0 ? values_set(map, key, values_int(number)) : 0;
}

struct value *exec_args(const struct grapnel_exec_options *o, int has_input, uint32_t err_stream,
                        struct error *e)
{
    struct value *map = values_map();
    int bad;

    bad = put_list(map, "argv", o->argv) | put_text(map, "line", o->line) |
          put_text(map, "shell", o->shell) | put_text(map, "cwd", o->cwd) |
          put_list(map, "unset", o->unset) | put_number(map, "timeout_ms", o->timeout) |
          put_number(map, "output_limit", o->output_limit) | put_number(map, "grace_ms", o->grace) |
          put_number(map, "stderr", err_stream) | values_set(map, "stdin", values_bool(has_input)) |
          values_set(map, "clean", values_bool(o->clean_env)) |
          values_set(map, "merge", values_bool(o->merge));
    if (!bad && put_env(map, o->env, e) == 0)
        return map;
    if (bad)
        errors_set(e, -E_NOMEM, "command");
    values_free(map);
    return NULL;
}
