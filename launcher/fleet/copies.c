#include "launcher/fleet/copies.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/asker.h"
#include "proto/errors.h"
#include "proto/values.h"
#include "proto/wire.h"

static void free_text(const char *text)
{
    free((char *)(uintptr_t)text);
}

static void free_list(const char *const *list)
{
    for (size_t n = 0; list && list[n]; n++)
        free_text(list[n]);
    free((void *)(uintptr_t)list);
}

static const char *copy_text(const char *text, int *bad)
{
    char *copy = text ? strdup(text) : NULL;

    *bad |= text && !copy;
    return copy;
}

static const char *const *copy_list(const char *const *list, int *bad)
{
    const char **copy;
    size_t n = 0;

    while (list && list[n])
        n++;
    copy = list ? calloc(n + 1, sizeof *copy) : NULL;
    *bad |= list && !copy;
    for (size_t i = 0; copy && i < n && !*bad; i++)
        copy[i] = copy_text(list[i], bad);
    return copy;
}

/* ---- connections ---- */

int copies_connect(struct grapnel_connect_options *to, const struct grapnel_connect_options *from)
{
    int bad = 0;

    *to = from ? *from : (struct grapnel_connect_options){0};
    to->user = copy_text(to->user, &bad);
    to->config_file = copy_text(to->config_file, &bad);
    to->identity_files = copy_list(to->identity_files, &bad);
    to->ssh_options = copy_list(to->ssh_options, &bad);
    to->transport = copy_text(to->transport, &bad);
    to->sudo_user = copy_text(to->sudo_user, &bad);
    to->asker = to->asker ? asker_hold(to->asker) : NULL;
    to->instance = NULL;
    return bad ? -E_NOMEM : 0;
}

void copies_clear_connect(struct grapnel_connect_options *o)
{
    free_text(o->user);
    free_text(o->config_file);
    free_list(o->identity_files);
    free_list(o->ssh_options);
    free_text(o->transport);
    free_text(o->sudo_user);
    asker_free(o->asker);
    *o = (struct grapnel_connect_options){0};
}

/* ---- commands ---- */

int copies_exec(struct grapnel_exec_options *to, const struct grapnel_exec_options *from)
{
    int bad = 0;

    *to = from ? *from : (struct grapnel_exec_options){0};
    to->argv = copy_list(to->argv, &bad);
    to->line = copy_text(to->line, &bad);
    to->shell = copy_text(to->shell, &bad);
    to->cwd = copy_text(to->cwd, &bad);
    to->env = copy_list(to->env, &bad);
    to->unset = copy_list(to->unset, &bad);
    return bad ? -E_NOMEM : 0;
}

void copies_clear_exec(struct grapnel_exec_options *o)
{
    free_list(o->argv);
    free_text(o->line);
    free_text(o->shell);
    free_text(o->cwd);
    free_list(o->env);
    free_list(o->unset);
    *o = (struct grapnel_exec_options){0};
}

/* ---- calls ---- */

int copies_instance(struct grapnel_instance_options *to,
                    const struct grapnel_instance_options *from)
{
    int bad = 0;

    *to = from ? *from : (struct grapnel_instance_options){0};
    to->cwd = copy_text(to->cwd, &bad);
    to->env = copy_list(to->env, &bad);
    to->unset = copy_list(to->unset, &bad);
    return bad ? -E_NOMEM : 0;
}

void copies_clear_instance(struct grapnel_instance_options *o)
{
    free_text(o->cwd);
    free_list(o->env);
    free_list(o->unset);
    *o = (struct grapnel_instance_options){0};
}

int copies_call(struct grapnel_call_options *to, const struct grapnel_call_options *from)
{
    const struct value *args = from ? (const struct value *)from->args : NULL;
    struct wire_buf bytes = {0};
    struct value *copy = NULL;
    int rc = 0, bad = 0;

    *to = from ? *from : (struct grapnel_call_options){0};
    to->path = copy_text(to->path, &bad);
    to->op = copy_text(to->op, &bad);
    if (args && (rc = values_encode(args, &bytes)) == 0)
        rc = values_decode(wire_data(&bytes), wire_length(&bytes), &copy);
    wire_free(&bytes);
    to->args = (const struct grapnel_value *)copy;
    return bad ? -E_NOMEM : rc;
}

void copies_clear_call(struct grapnel_call_options *o)
{
    free_text(o->path);
    free_text(o->op);
    values_free((struct value *)(uintptr_t)o->args);
    *o = (struct grapnel_call_options){0};
}
