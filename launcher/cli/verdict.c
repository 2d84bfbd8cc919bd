#include "launcher/cli/verdict.h"

#include <string.h>

#include "launcher/cli/leave.h"
#include "launcher/cli/say.h"

#define STATUS_TIMEOUT 124 /* as timeout(1) */

int verdict_say(struct grapnel_error *error, const char *name, const char *phase, const char *text,
                const char *hint)
{
    error->code = -1;
    error->name = name;
    error->phase = phase;
    error->text = text;
    error->hint = hint;
    return SAY_FAILED;
}

int verdict_of(const struct grapnel_exec_status *s, struct grapnel_error *error)
{
    const char *reason = s->reason ? s->reason : "";

    if (!strcmp(reason, "timeout")) {
        verdict_say(error, "EXEC_TIMEOUT", "exec", "the command was stopped at its time limit",
                    "raise --timeout");
        return STATUS_TIMEOUT;
    }
    if (!strcmp(reason, "output-limit"))
        return verdict_say(error, "OUTPUT_LIMIT", "exec",
                           "the command was stopped at its output limit", "raise --max-output");
    if (!strcmp(reason, "cancelled"))
        return verdict_say(error, "CANCELLED", "exec", "the command was stopped by the host",
                           "see who ended grapnel's agent there");
    if (s->exited)
        return s->exit_status;
    if (s->signal_number)
        return leave_status(s->signal_number);
    return verdict_say(error, "UNKNOWN", "exec", "a signal that has no name here ended the command",
                       "see on the host who sent it");
}

void verdict_json(json_t *object, const struct grapnel_exec_status *s)
{
    json_object_set_new(object, "status", s->exited ? json_integer(s->exit_status) : json_null());
    json_object_set_new(object, "signal", s->signal ? json_string(s->signal) : json_null());
    json_object_set_new(object, "reason", s->reason ? json_string(s->reason) : json_null());
    json_object_set_new(object, "left", json_integer(s->left));
    json_object_set_new(object, "core", json_boolean(s->core));
    json_object_set_new(object, "pid", json_integer(s->pid));
    json_object_set_new(object, "wall_us", json_integer(s->wall_us));
    json_object_set_new(object, "rusage",
                        json_pack("{s:I, s:I, s:I}", "user_us", (json_int_t)s->user_us, "system_us",
                                  (json_int_t)s->system_us, "max_rss", (json_int_t)s->max_rss));
}
