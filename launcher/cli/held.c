#include "launcher/cli/held.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/leave.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"

#define COLUMNS 11

/* One line: a server, or an instance of it. */
struct row {
    json_t *server, *instance; /* borrowed; instance NULL: the server itself */
    json_int_t serial;         /* the newest has the highest */
    int ambiguous;             /* one elsewhere has its name, too */
};

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static int newest_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return (x->serial < y->serial) - (x->serial > y->serial);
}

static const char *name_of(const struct row *r)
{
    return r->instance ? text_of(r->instance, "name") : text_of(r->server, "server");
}

/* A host that has moved has the name of before. */
static void find_ambiguous(struct row *rows, size_t count)
{
    json_t *places = json_object(); /* by name; null: several */

    for (size_t i = 0; i < count; i++) {
        json_t *place = json_object_get(rows[i].server, "place");
        json_t *known = json_object_get(places, name_of(&rows[i]));
        if (!known)
            json_object_set(places, name_of(&rows[i]), place);
        else if (!json_equal(known, place))
            json_object_set_new(places, name_of(&rows[i]), json_null());
    }
    for (size_t i = 0; i < count; i++)
        rows[i].ambiguous = json_is_null(json_object_get(places, name_of(&rows[i])));
    json_decref(places);
}

/* Rows in the order in which they are shown; NULL: memory is out. */
static struct row *make_rows(const json_t *servers, int instances, size_t *count)
{
    size_t i, j, n = 0;
    json_t *server, *instance;
    struct row *rows;

    json_array_foreach(servers, i, server) n +=
        1 + json_array_size(json_object_get(server, "instances"));
    rows = calloc(n + 1, sizeof *rows);
    *count = 0;
    json_array_foreach(servers, i, server)
    {
        if (rows && !instances)
            rows[(*count)++] = (struct row){.server = server};
        if (!rows || !instances)
            continue;
        json_array_foreach(json_object_get(server, "instances"), j, instance) rows[(*count)++] =
            (struct row){
                .server = server, .instance = instance, .serial = number_of(instance, "serial")};
    }
    if (rows && instances)
        qsort(rows, *count, sizeof *rows, newest_first);
    if (rows)
        find_ambiguous(rows, *count);
    return rows;
}

static int name_width(const struct row *r)
{
    size_t n = strlen(name_of(r));

    return (int)(r->ambiguous ? n + strlen(text_of(r->server, "place")) + 3 : n);
}

static void print_name(const struct row *r)
{
    say_text(stdout, name_of(r));
    if (!r->ambiguous)
        return;
    fputs(" (", stdout);
    say_text(stdout, text_of(r->server, "place"));
    putchar(')');
}

static int print_json(const struct row *r, struct grapnel_error *error)
{
    json_t *copy = json_copy(r->server);

    if (r->instance) {
        json_object_update(copy, r->instance);
        json_object_del(copy, "instances");
        json_object_del(copy, "serial");
    }
    return say_json(copy, error);
}

/* ---- the long form ---- */

typedef char cell[QUANTITY_TEXT + 8];

static void time_cell(cell c, const json_t *from, const char *key, int64_t factor)
{
    char text[QUANTITY_TEXT];
    json_int_t value = json_is_integer(json_object_get(from, key)) ? number_of(from, key) : -1;

    snprintf(c, sizeof(cell), "%s", value < 0 ? "-" : quantity_time_text(text, value * factor));
}

static void size_cell(cell c, const json_t *from, const char *key)
{
    char text[QUANTITY_TEXT];
    int known = json_is_integer(json_object_get(from, key));

    snprintf(c, sizeof(cell), "%s", known ? quantity_size_text(text, number_of(from, key)) : "-");
}

static void number_cell(cell c, const json_t *from, const char *key)
{
    if (number_of(from, key) > 0)
        snprintf(c, sizeof(cell), "%" JSON_INTEGER_FORMAT, number_of(from, key));
    else
        snprintf(c, sizeof(cell), "-");
}

static void fill(cell cells[COLUMNS], const struct row *r)
{
    const json_t *s = r->server;
    int worker = json_is_integer(json_object_get(r->instance, "worker_pid"));
    int ended = json_is_string(json_object_get(r->instance, "ended"));

    snprintf(cells[0], sizeof(cell), "%s", ended ? "ended" : text_of(s, "state"));
    time_cell(cells[1], r->instance ? r->instance : s, "age_ms", 1000);
    time_cell(cells[2], r->instance ? r->instance : s, "idle_ms", 1000);
    number_cell(cells[3], worker ? r->instance : s, worker ? "worker_pid" : "pid");
    time_cell(cells[4], s, "round_trip_us", 1);
    size_cell(cells[5], s, "sent");
    size_cell(cells[6], s, "received");
    number_cell(cells[7], s, "streams");
    size_cell(cells[8], worker ? r->instance : s, worker ? "worker_rss" : "rss");
    if (number_of(s, "keep_ms") > 0)
        time_cell(cells[9], s, "keep_ms", 1000);
    else
        snprintf(cells[9], sizeof(cell), "-");
    snprintf(cells[10], sizeof(cell), "%s", text_of(s, "transport"));
}

static int print_long(const struct row *rows, size_t count, struct grapnel_error *error)
{
    static const char *const heads[COLUMNS] = {"STATE",  "AGE",  "IDLE",     "PID",
                                               "RTT",    "SENT", "RECEIVED", "STREAMS",
                                               "MEMORY", "KEEP", "LINE"};
    cell(*cells)[COLUMNS] = calloc(count + 1, sizeof *cells);
    int widths[COLUMNS] = {0}, name = 4;

    if (!cells)
        return say_fail(error, "NOMEM", "out of memory");
    for (size_t i = 0; i <= count; i++) {
        for (size_t k = 0; i == 0 && k < COLUMNS; k++)
            snprintf(cells[0][k], sizeof(cell), "%s", heads[k]);
        if (i > 0) {
            fill(cells[i], &rows[i - 1]);
            name = name_width(&rows[i - 1]) > name ? name_width(&rows[i - 1]) : name;
        }
        for (size_t k = 0; k < COLUMNS; k++)
            widths[k] = (int)strlen(cells[i][k]) > widths[k] ? (int)strlen(cells[i][k]) : widths[k];
    }
    for (size_t i = 0; i <= count; i++) {
        if (i > 0)
            print_name(&rows[i - 1]);
        printf("%-*s", name - (i > 0 ? name_width(&rows[i - 1]) : 0), i > 0 ? "" : "NAME");
        for (size_t k = 0; k < COLUMNS; k++)
            printf(k + 1 < COLUMNS ? "  %-*s" : "  %.*s", k + 1 < COLUMNS ? widths[k] : 100,
                   cells[i][k]);
        putchar('\n');
    }
    free(cells);
    return 0;
}

static void print_short(const struct row *r)
{
    const char *state = text_of(r->server, "state");

    print_name(r);
    if (!r->instance && strcmp(state, "deployed") != 0)
        printf("\t%s", state);
    putchar('\n');
}

static int print(const struct options *o, const char *text, int instances,
                 struct grapnel_error *error)
{
    json_t *servers = json_loads(text, 0, NULL);
    size_t count;
    struct row *rows = make_rows(servers, instances, &count);
    int rc = 0;

    if (!json_is_array(servers))
        rc = say_fail(error, "MALFORMED", "the broker's answer makes no sense");
    else if (!rows)
        rc = say_fail(error, "NOMEM", "out of memory");
    else if (o->long_form && !o->json && count > 0)
        rc = print_long(rows, count, error);
    else
        for (size_t i = 0; i < count && rc == 0; i++) {
            if (o->json)
                rc = print_json(&rows[i], error);
            else
                print_short(&rows[i]);
        }
    free(rows);
    json_decref(servers);
    return rc < 0 ? rc : say_flush(error);
}

static int list(const struct options *o, int instances)
{
    struct reach_trace trace = {.o = o};
    struct grapnel_error error = {0};
    struct grapnel *g = reach_context(&trace, 0, &error);
    struct grapnel_broker *b = g ? grapnel_broker_open(g, NULL, &error) : NULL;
    char *text = b ? grapnel_broker_list(b, o->long_form || o->json, &error) : NULL;
    int rc = text ? print(o, text, instances, &error) : -1;

    if (!b && g && !strcmp(error.name, "NOT_HELD"))
        rc = 0; /* without a broker nothing is held */
    if (rc < 0)
        say_error(&error);
    grapnel_string_free(text);
    grapnel_broker_free(b);
    grapnel_free(g);
    return rc < 0 ? SAY_FAILED : 0;
}

int ls_verb(const struct options *o)
{
    return list(o, 1);
}

int servers_verb(const struct options *o)
{
    return list(o, 0);
}
