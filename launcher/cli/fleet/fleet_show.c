#include "launcher/cli/fleet/fleet_show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_groups.h"
#include "launcher/cli/fleet/fleet_lines.h"
#include "launcher/cli/fleet/fleet_outdir.h"
#include "launcher/cli/fleet/fleet_parts.h"
#include "launcher/cli/linediff.h"
#include "launcher/cli/say.h"

#define NAME_OUT "\033[36m" /* cyan */
#define NAME_ERR "\033[31m" /* red */
#define PLAIN    "\033[0m"

struct host {
    struct fleet_lines lines[2]; /* of stdout and stderr */
    struct fleet_kept kept[2];   /* likewise, when it is gathered … */
    int error;                   /* … and errno of what went wrong there; 0: nothing */
};

struct fleet_show {
    const struct options *o;
    const char *const *names;
    size_t count;
    struct fleet_flow *flow;
    struct host *hosts;
    struct fleet_store *store; /* of what is gathered, and of what waits to be shown */
    struct fleet_parts *parts;
    struct fleet_groups *groups; /* NULL: lines are shown as they come, or JSON is */
    int ended;                   /* all hosts have, so groups are shown; … */
    size_t next;                 /* … this one is the next */
    char *most, *most_title;     /* of the first one, with which others are compared */
    size_t most_length;
    int most_errs;               /* it has error output */
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
        (s->store = fleet_store_new()) == NULL ||
        /* JSON escapes only some of what a terminal would obey. */
        (s->parts = fleet_parts_new(s->store, flow, isatty(STDOUT_FILENO))) == NULL ||
        ((o->group || o->diff) && (s->groups = fleet_groups_new(s->store)) == NULL)) {
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
        fleet_store_drop(s->store, &s->hosts[i].kept[0]);
        fleet_store_drop(s->store, &s->hosts[i].kept[1]);
    }
    fleet_groups_free(s->groups);
    fleet_parts_free(s->parts);
    fleet_store_free(s->store);
    free(s->most);
    free(s->most_title);
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

/* After a failure nothing more. */
static int gather(struct fleet_show *s, struct host *h, int which, const void *bytes, size_t n)
{
    if (!h->error && fleet_store_add(s->store, &h->kept[which - 1], bytes, n) < 0)
        h->error = errno;
    return h->error ? -1 : 0;
}

int fleet_show_output(struct fleet_show *s, size_t host, int which, const void *bytes, size_t n)
{
    struct teller t = teller(s, host, which);

    if (fleet_show_gathers(s))
        return gather(s, &s->hosts[host], which, bytes, n);
    if (s->outdir)
        return fleet_outdir_write(s->outdir, host, which, bytes, n);
    return fleet_lines_feed(&s->hosts[host].lines[which - 1], bytes, n, put_line, &t);
}

/* ---- what was gathered ---- */

/* Lines of a text, in their turn. */
static void show_kept(struct fleet_show *s, int which, struct fleet_kept *k)
{
    struct teller *t = malloc(sizeof *t);

    if (t)
        *t = (struct teller){.s = s, .which = which};
    if (!t || fleet_parts_lines(s->parts, k, put_line, t) < 0) {
        free(t);
        fleet_flow_fail(s->flow, ENOMEM);
    }
}

static void show_text(struct fleet_show *s, int which, const char *text, size_t n)
{
    struct fleet_kept k = {0};

    if (fleet_store_add(s->store, &k, text, n) < 0)
        fleet_flow_fail(s->flow, errno);
    else
        show_kept(s, which, &k);
    fleet_store_drop(s->store, &k);
}

static int show_raw(struct fleet_show *s, const char *text, size_t n)
{
    struct fleet_kept k = {0};
    int rc = fleet_store_add(s->store, &k, text, n);

    if (rc == 0)
        rc = fleet_parts_raw(s->parts, &k);
    fleet_store_drop(s->store, &k);
    return rc;
}

/* The object's text, and the output in the place of its last brace. */
static void show_json(struct fleet_show *s, struct host *h, json_t *object, unsigned streams)
{
    static const char *const keys[] = {"stdout", "stderr"};
    size_t flags = isatty(STDOUT_FILENO) ? JSON_COMPACT | JSON_ENSURE_ASCII : JSON_COMPACT;
    char *text = object ? json_dumps(object, flags) : NULL;
    int rc = -1;

    errno = ENOMEM;
    if (text)
        rc = show_raw(s, text, strlen(text) - 1);
    for (int i = 0; i < 2 && rc == 0; i++) {
        if (streams >> i & 1)
            rc = fleet_parts_member(s->parts, keys[i], &h->kept[i]);
    }
    if (rc < 0 || show_raw(s, "}\n", 2) < 0)
        fleet_flow_fail(s->flow, errno);
    free(text);
    json_decref(object);
}

static void add_to_groups(struct fleet_show *s, const struct grapnel_fleet_result *r)
{
    struct fleet_kept *out = &s->hosts[r->host].kept[0], *err = &s->hosts[r->host].kept[1];

    if (r->alias || (r->error && !fleet_store_length(out) && !fleet_store_length(err)))
        return;
    if (fleet_groups_add(s->groups, r->host, out, err) < 0)
        fleet_flow_fail(s->flow, errno);
}

/* Those that belong into the object, as bits 0 and 1. */
static unsigned streams_of(const struct host *h, const struct grapnel_fleet_result *r, int values)
{
    if (r->began <= 0 || r->alias)
        return 0;
    if (!values)
        return 3;
    return fleet_store_length(&h->kept[1]) > 0 ? 2 : 0;
}

void fleet_show_ended(struct fleet_show *s, const struct grapnel_fleet_result *r, json_t *object,
                      int values)
{
    struct host *h = &s->hosts[r->host];

    if (s->o->json) {
        show_json(s, h, object, streams_of(h, r, values));
    } else if (s->groups) {
        add_to_groups(s, r);
    } else if (s->outdir) {
        fleet_outdir_end(s->outdir, r->host, r->began > 0);
    } else {
        for (int which = 1; which <= 2; which++) {
            struct teller t = teller(s, r->host, which);

            fleet_lines_end(&h->lines[which - 1], put_line, &t);
        }
    }
    fleet_store_drop(s->store, &h->kept[0]);
    fleet_store_drop(s->store, &h->kept[1]);
}

int fleet_show_error(const struct fleet_show *s, size_t host)
{
    return s->outdir ? fleet_outdir_error(s->outdir, host) : s->hosts[host].error;
}

/* ---- groups ---- */

static void show_title(struct fleet_show *s, int which, const char *title)
{
    size_t n = strlen(title) + 16;
    char *line = malloc(n);

    if (line && !s->o->no_label)
        show_text(s, which, line, (size_t)snprintf(line, n, "---- %s ----\n", title));
    free(line);
}

static void show_group(struct fleet_show *s, struct fleet_group *g, const char *title)
{
    if (fleet_store_length(&g->out) > 0) {
        show_title(s, STDOUT_FILENO, title);
        show_kept(s, STDOUT_FILENO, &g->out);
    }
    if (fleet_store_length(&g->err) > 0) {
        show_title(s, STDERR_FILENO, title);
        show_kept(s, STDERR_FILENO, &g->err);
    }
}

/* What it says on standard error, which the others may not say; or that it does not say it. */
static void show_errors(struct fleet_show *s, struct fleet_group *g, const char *title)
{
    static const char silent[] = "(nothing)\n";
    int says = fleet_store_length(&g->err) > 0;

    if (!says && !s->most_errs)
        return;
    show_title(s, STDERR_FILENO, title);
    if (says)
        show_kept(s, STDERR_FILENO, &g->err);
    else if (!s->o->no_label)
        show_text(s, STDERR_FILENO, silent, sizeof silent - 1);
}

static int keep_most(struct fleet_show *s, const struct fleet_group *g, const char *title)
{
    s->most_length = (size_t)fleet_store_length(&g->out);
    s->most_errs = fleet_store_length(&g->err) > 0;
    s->most = fleet_store_text(s->store, &g->out);
    s->most_title = strdup(title);
    return s->most && s->most_title ? 0 : -1;
}

static int show_difference(struct fleet_show *s, struct fleet_group *g, const char *title)
{
    size_t n = (size_t)fleet_store_length(&g->out);
    char *out = fleet_store_text(s->store, &g->out), *text;

    if (!out)
        return -1;
    fleet_store_drop(s->store, &g->out);
    text = linediff(s->most, s->most_length, s->most_title, out, n, title);
    free(out);
    if (!text)
        return -1;
    show_text(s, STDOUT_FILENO, text, strlen(text));
    free(text);
    show_errors(s, g, title);
    return 0;
}

/* True when there was one. */
static int show_next(struct fleet_show *s)
{
    struct fleet_group *g = s->ended ? fleet_groups_at(s->groups, s->next) : NULL;
    char *title;
    int rc = 0;

    if (!g || fleet_flow_error(s->flow))
        return 0;
    errno = ENOMEM;
    title = fleet_groups_title(g, s->names);
    if (!title)
        rc = -1;
    else if (s->o->diff)
        rc = s->next ? show_difference(s, g, title) : keep_most(s, g, title);
    if (rc == 0 && (!s->next || !s->o->diff))
        show_group(s, g, title);
    if (rc < 0)
        fleet_flow_fail(s->flow, errno);
    free(title);
    s->next++;
    return 1;
}

void fleet_show_done(struct fleet_show *s)
{
    if (!s->groups)
        return;
    fleet_groups_sort(s->groups);
    s->ended = 1;
}

int fleet_show_more(struct fleet_show *s)
{
    while (!fleet_parts_more(s->parts)) {
        if (!show_next(s))
            return 0;
    }
    return 1;
}
