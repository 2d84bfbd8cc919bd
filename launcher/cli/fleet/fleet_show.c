#include "launcher/cli/fleet/fleet_show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_groups.h"
#include "launcher/cli/fleet/fleet_lines.h"
#include "launcher/cli/fleet/fleet_outdir.h"
#include "launcher/cli/say.h"

#define NAME_OUT "\033[36m" /* cyan */
#define NAME_ERR "\033[31m" /* red */
#define PLAIN    "\033[0m"

struct host {
    struct fleet_lines lines[2]; /* of stdout and stderr */
};

struct fleet_show {
    const struct options *o;
    const char *const *names;
    size_t count;
    struct fleet_flow *flow;
    struct host *hosts;
    struct fleet_groups *groups; /* NULL: lines are shown as they come */
    struct fleet_outdir *outdir; /* NULL: not wanted */
    int raw[3], color[3];        /* of descriptors 1 and 2 */
    char *line;                  /* the one that is being made */
    size_t line_size;
};

/* Whose line is being told. */
struct teller {
    struct fleet_show *s;
    const char *label; /* NULL: none */
    int which;
};

static int wants_color(const struct options *o, int fd)
{
    if (o->color && strcmp(o->color, "auto") != 0)
        return !strcmp(o->color, "always");
    return isatty(fd) && !getenv("NO_COLOR");
}

struct fleet_show *fleet_show_new(const struct options *o, const char *const *names, size_t count,
                                  struct fleet_flow *flow, struct grapnel_error *error)
{
    struct fleet_show *s = calloc(1, sizeof *s);

    if (!s || (s->hosts = calloc(count + 1, sizeof *s->hosts)) == NULL ||
        ((o->group || o->diff) && (s->groups = fleet_groups_new()) == NULL)) {
        fleet_show_free(s);
        say_fail(error, "NOMEM", "out of memory");
        return NULL;
    }
    s->o = o;
    s->names = names;
    s->count = count;
    s->flow = flow;
    for (int fd = 1; fd <= 2; fd++) {
        s->raw[fd] = o->raw && !isatty(fd);
        s->color[fd] = wants_color(o, fd);
    }
    if (o->outdir && (s->outdir = fleet_outdir_new(o->outdir, names, count, error)) == NULL) {
        fleet_show_free(s);
        return NULL;
    }
    return s;
}

void fleet_show_free(struct fleet_show *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->hosts && i < s->count; i++) {
        free(s->hosts[i].lines[0].bytes);
        free(s->hosts[i].lines[1].bytes);
    }
    fleet_groups_free(s->groups);
    fleet_outdir_free(s->outdir);
    free(s->hosts);
    free(s->line);
    free(s);
}

int fleet_show_gathers(const struct fleet_show *s)
{
    return s->groups || s->o->json;
}

/* ---- lines ---- */

/* As it is, or harmless.  Returns the length. */
static size_t put_text(char *to, const unsigned char *line, size_t n, int raw)
{
    if (!raw)
        return say_safe_bytes(to, line, n > 0 && line[n - 1] == '\r' ? n - 1 : n);
    memcpy(to, line, n);
    return n;
}

static char *line_room(struct fleet_show *s, size_t n)
{
    char *line;

    if (n <= s->line_size)
        return s->line;
    line = realloc(s->line, n);
    if (line) {
        s->line = line;
        s->line_size = n;
    }
    return line;
}

static void put_line(void *arg, const unsigned char *line, size_t n)
{
    const struct teller *t = arg;
    struct fleet_show *s = t->s;
    size_t label = t->label ? strlen(t->label) : 0;
    char *to = line_room(s, 4 * label + 4 * n + 64), *at = to;

    if (!to)
        return;
    if (label) {
        if (s->color[t->which])
            at = stpcpy(at, t->which == 2 ? NAME_ERR : NAME_OUT);
        at += put_text(at, (const unsigned char *)t->label, label, 0);
        at = stpcpy(at, s->color[t->which] ? ":" PLAIN " " : ": ");
    }
    at += put_text(at, line, n, s->raw[t->which]);
    *at++ = '\n';
    fleet_flow_put(s->flow, t->which, to, (size_t)(at - to));
}

static struct teller teller(struct fleet_show *s, size_t host, int which)
{
    return (struct teller){.s = s, .label = s->o->no_label ? NULL : s->names[host], .which = which};
}

int fleet_show_output(struct fleet_show *s, size_t host, int which, const void *bytes, size_t n)
{
    struct teller t = teller(s, host, which);

    if (s->outdir)
        return fleet_outdir_write(s->outdir, host, which, bytes, n);
    return fleet_lines_feed(&s->hosts[host].lines[which - 1], bytes, n, put_line, &t);
}

/* ---- the end ---- */

static int put_json(const char *text, size_t n, void *arg)
{
    fleet_flow_put(arg, STDOUT_FILENO, text, n);
    return 0;
}

static void show_json(struct fleet_show *s, json_t *object)
{
    /* JSON escapes only some of what a terminal would obey. */
    size_t flags = isatty(STDOUT_FILENO) ? JSON_COMPACT | JSON_ENSURE_ASCII : JSON_COMPACT;

    if (!object || json_dump_callback(object, put_json, s->flow, flags) < 0)
        fleet_flow_fail(s->flow, ENOMEM);
    else
        fleet_flow_put(s->flow, STDOUT_FILENO, "\n", 1);
    json_decref(object);
}

void fleet_show_ended(struct fleet_show *s, const struct grapnel_fleet_result *r, json_t *object)
{
    if (s->o->json) {
        show_json(s, object);
    } else if (s->groups) {
        if (r->out && (!r->error || r->out_length || r->err_length) &&
            fleet_groups_add(s->groups, r->host, r->out, r->out_length, r->err, r->err_length) < 0)
            fleet_flow_fail(s->flow, ENOMEM);
    } else if (s->outdir) {
        fleet_outdir_end(s->outdir, r->host, r->began > 0);
    } else {
        for (int which = 1; which <= 2; which++) {
            struct teller t = teller(s, r->host, which);

            fleet_lines_end(&s->hosts[r->host].lines[which - 1], put_line, &t);
        }
    }
}

int fleet_show_error(const struct fleet_show *s, size_t host)
{
    return s->outdir ? fleet_outdir_error(s->outdir, host) : 0;
}

/* ---- groups ---- */

static void show_text(struct fleet_show *s, int which, const char *bytes, size_t n)
{
    struct teller t = {.s = s, .which = which};
    struct fleet_lines lines = {0};

    fleet_lines_feed(&lines, bytes, n, put_line, &t);
    fleet_lines_end(&lines, put_line, &t);
}

static void show_title(struct fleet_show *s, int which, const char *title)
{
    struct teller t = {.s = s, .which = which};
    size_t n = strlen(title) + 16;
    char *line = malloc(n);

    if (!line || s->o->no_label) {
        free(line);
        return;
    }
    snprintf(line, n, "---- %s ----", title);
    put_line(&t, (const unsigned char *)line, strlen(line));
    free(line);
}

static void show_group(struct fleet_show *s, const struct fleet_group *g, const char *title)
{
    if (g->out_length > 0) {
        show_title(s, STDOUT_FILENO, title);
        show_text(s, STDOUT_FILENO, g->out, g->out_length);
    }
    if (g->err_length > 0) {
        show_title(s, STDERR_FILENO, title);
        show_text(s, STDERR_FILENO, g->err, g->err_length);
    }
}

/* What it says on standard error, which the others may not say; or that it does not say it. */
static void show_errors(struct fleet_show *s, const struct fleet_group *most,
                        const struct fleet_group *g, const char *title)
{
    static const char silent[] = "(nothing)";

    if (g->err_length == 0 && most->err_length == 0)
        return;
    show_title(s, STDERR_FILENO, title);
    if (g->err_length > 0)
        show_text(s, STDERR_FILENO, g->err, g->err_length);
    else if (!s->o->no_label)
        show_text(s, STDERR_FILENO, silent, sizeof silent - 1);
}

static void show_difference(struct fleet_show *s, const struct fleet_group *most, const char *first,
                            const struct fleet_group *g, const char *title)
{
    char *text = fleet_groups_diff(most, first, g, title);

    if (!text)
        fleet_flow_fail(s->flow, ENOMEM);
    else
        show_text(s, STDOUT_FILENO, text, strlen(text));
    free(text);
    show_errors(s, most, g, title);
}

void fleet_show_done(struct fleet_show *s)
{
    const struct fleet_group *g, *most = NULL;
    char *first = NULL;

    if (!s->groups)
        return;
    fleet_groups_sort(s->groups);
    for (size_t i = 0; (g = fleet_groups_at(s->groups, i)) != NULL; i++) {
        char *title = fleet_groups_title(g, s->names);

        if (!title) {
            fleet_flow_fail(s->flow, ENOMEM);
            break;
        }
        if (i == 0 || !s->o->diff) {
            show_group(s, g, title);
        } else {
            show_difference(s, most, first, g, title);
        }
        if (i == 0) {
            most = g;
            first = title;
        } else {
            free(title);
        }
    }
    free(first);
}
