#include "launcher/cli/doctor.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/interrupts.h"
#include "launcher/cli/leave.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/residue.h"
#include "launcher/cli/say.h"

#define ASK_MS   10000
#define CLOSE_MS 10000
#define LOOK_MS  30000
#define PINGS    5 /* calls over the held line, to measure its round trip */
#define RESIDUE  1 /* exit status when something was left behind */

enum step { STEP_CONNECT, STEP_MEASURE, STEP_CLOSE, STEP_LOOK, STEP_DONE };

struct doctor {
    const struct options *o;
    struct grapnel *g;
    struct reach_trace trace;
    struct reach reach;
    struct leave leave;
    enum step failed; /* STEP_DONE: none */
    struct grapnel_error error;
    struct grapnel_server_info info;
    char *target, *agent; /* copies, as they die with the server */
    json_t *facts, *usage;
    int64_t connect_us, command_us, close_us;
    struct residue before, after;
    json_t *old_files, *new_files;
};

static json_t *take_json(char *text, struct grapnel_error *error)
{
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;

    if (text && !json)
        say_fail(error, "MALFORMED", "the host's answer makes no sense");
    grapnel_string_free(text);
    return json;
}

/* What the held line can tell. */
static int measure(struct doctor *d, struct grapnel_server *s)
{
    static const char *const nothing[] = {"true", NULL};
    struct grapnel_exec_options command = {.argv = nothing, .timeout = ASK_MS};
    struct grapnel_result result;
    int64_t start;

    for (int i = 0; i < PINGS; i++) {
        json_decref(d->facts);
        d->facts = take_json(grapnel_facts_json(s, 1, ASK_MS, &d->error), &d->error);
        if (!d->facts)
            return -1;
    }
    start = interrupts_clock_us();
    if (grapnel_run(s, &command, &result, &d->error) < 0)
        return -1;
    d->command_us = interrupts_clock_us() - start;
    grapnel_result_clear(&result);
    if (residue_look(&d->before, s, NULL, LOOK_MS, &d->error) < 0)
        return -1;
    d->usage = take_json(grapnel_usage_json(s, ASK_MS, &d->error), &d->error);
    if (!d->usage)
        return -1;
    grapnel_server_info(s, &d->info);
    d->agent = strdup(d->info.agent ? d->info.agent : "");
    return 0;
}

static int first_line(struct doctor *d)
{
    struct grapnel_server *s = reach_open(&d->reach, d->g, d->o, d->o->target, 0, &d->error);
    int64_t start;

    d->failed = STEP_CONNECT;
    if (s && grapnel_wait_ready(s, -1, &d->error) == 0) {
        d->connect_us = d->reach.phases[reach_last(&d->reach)].at_us;
        d->failed = STEP_MEASURE;
        if (measure(d, s) == 0) {
            start = interrupts_clock_us();
            d->failed = grapnel_close(s, CLOSE_MS, &d->error) < 0 ? STEP_CLOSE : STEP_DONE;
            d->close_us = interrupts_clock_us() - start;
        }
    }
    grapnel_server_free(s);
    return d->failed == STEP_DONE ? 0 : -1;
}

static int is_in(const json_t *array, const char *text)
{
    size_t i;
    json_t *item;

    json_array_foreach(array, i, item)
    {
        if (!strcmp(json_string_value(item), text))
            return 1;
    }
    return 0;
}

/* A second connection looks for what the first one left. */
static void second_line(struct doctor *d)
{
    struct reach reach;
    struct grapnel_server *s;
    size_t i;
    json_t *file;
    int rc = -1;

    d->failed = STEP_LOOK;
    d->trace.record = NULL;
    s = reach_open(&reach, d->g, d->o, d->o->target, 0, &d->error);
    if (s)
        rc = residue_look(&d->after, s, d->before.self, LOOK_MS, &d->error);
    if (rc == 0)
        grapnel_close(s, CLOSE_MS, NULL);
    grapnel_server_free(s);
    if (rc < 0)
        return;
    json_array_foreach(d->after.files, i, file) json_array_append(
        is_in(d->before.files, json_string_value(file)) ? d->old_files : d->new_files, file);
    d->failed = STEP_DONE;
}

static int is_clean(const struct doctor *d)
{
    return json_array_size(d->after.alive) == 0 && json_array_size(d->new_files) == 0 &&
           json_array_size(d->old_files) == 0;
}

/* ---- text ---- */

static const char *outcome(const struct doctor *d)
{
    return leave_number(&d->leave) ? "cut off" : "failed";
}

static void row(const char *name)
{
    printf("%-13s ", name);
}

static void print_phase(const struct doctor *d, size_t i)
{
    const struct reach_phase *p = &d->reach.phases[i];
    const char *name = p->name ? p->name : "";
    char took[QUANTITY_TEXT] = "";

    if ((int)i == reach_last(&d->reach)) {
        if (d->failed == STEP_CONNECT) {
            snprintf(took, sizeof took, "%s", outcome(d));
        } else {
            name = "total";
            quantity_time_text(took, p->at_us);
        }
    } else if (p->name) {
        quantity_time_text(took, reach_phase_us(&d->reach, i));
    }
    printf("%-13s %10s%s%s\n", name, took, *p->note ? "  " : "", p->note);
}

static void print_phases(const struct doctor *d)
{
    printf("%-13s %10s  %s\n", "phase", "took", "chosen");
    for (size_t i = 0; i < atomic_load(&d->reach.count); i++)
        print_phase(d, i);
    putchar('\n');
}

static const char *fact(const struct doctor *d, const char *key)
{
    const char *text = json_string_value(json_object_get(d->facts, key));

    return text ? text : "?";
}

static void print_host(const struct doctor *d)
{
    char memory[QUANTITY_TEXT], text[600];
    json_int_t cores = json_integer_value(json_object_get(d->facts, "cores"));

    row("host");
    snprintf(text, sizeof text, "%.60s, %.60s %.60s %.60s, %lld core%s, %s of memory",
             fact(d, "hostname"), fact(d, "system"), fact(d, "release"), fact(d, "arch"),
             (long long)cores, cores == 1 ? "" : "s",
             quantity_size_text(memory, json_integer_value(json_object_get(d->facts, "memory"))));
    say_text(stdout, text);
    putchar('\n');
    row("user");
    say_text(stdout, fact(d, "user"));
    putchar('\n');
}

static void print_line(const struct doctor *d)
{
    const struct grapnel_server_info *i = &d->info;
    char a[QUANTITY_TEXT], b[QUANTITY_TEXT], c[QUANTITY_TEXT];

    row("transport");
    printf("%s\n", i->transport);
    row("agent");
    printf("%s, %s sent, %lld attempt%s\n", d->agent, quantity_size_text(a, i->agent_bytes),
           (long long)i->boot_attempts, i->boot_attempts == 1 ? "" : "s");
    row("sent");
    printf("%s on the link", quantity_size_text(a, i->link_sent));
    if (i->line_sent)
        printf(", %s on the wire", quantity_size_text(b, i->line_sent));
    printf(", %s of it before the agent answered\n", quantity_size_text(c, i->early_bytes));
    row("received");
    printf("%s on the link", quantity_size_text(a, i->link_received));
    if (i->line_received)
        printf(", %s on the wire", quantity_size_text(b, i->line_received));
    putchar('\n');
    row("round trip");
    printf("%s\n", i->round_trip_us ? quantity_time_text(a, i->round_trip_us) : "unknown");
    row("memory");
    printf("%s resident on the host\n",
           quantity_size_text(a, json_integer_value(json_object_get(d->usage, "rss"))));
    row("command");
    printf("%s for `true` on the held line\n", quantity_time_text(a, d->command_us));
}

static void print_list(const char *what, const json_t *array, const char *remark)
{
    size_t i;
    json_t *item;

    json_array_foreach(array, i, item)
    {
        row("");
        printf("%s ", what);
        say_text(stdout, json_string_value(item));
        printf("%s\n", remark);
    }
}

static void print_residue(const struct doctor *d)
{
    size_t i;
    json_t *pid;

    row("residue");
    puts(is_clean(d) ? "nothing left" : "left behind:");
    print_list("process", d->after.alive, "");
    print_list("file", d->new_files, "");
    print_list("file", d->old_files, " (from an earlier run, or a session that starts)");
    if (json_array_size(d->after.agents) > 0) {
        row("");
        printf("(agents of other sessions run as");
        json_array_foreach(d->after.agents, i, pid)
        {
            putchar(' ');
            say_text(stdout, json_string_value(pid));
        }
        puts(")");
    }
}

static void print_text(const struct doctor *d)
{
    char took[QUANTITY_TEXT];

    if (d->failed == STEP_DONE)
        printf("%s: %s\n\n", d->target, is_clean(d) ? "all is well" : "something was left behind");
    else
        printf("%s: %s\n\n", d->target, outcome(d));
    if (atomic_load(&d->reach.count) > 0)
        print_phases(d);
    if (d->failed > STEP_MEASURE) {
        print_host(d);
        print_line(d);
    }
    if (d->failed > STEP_CLOSE) {
        row("close");
        printf("%s until the host confirmed that all had ended\n",
               quantity_time_text(took, d->close_us));
    }
    if (d->failed == STEP_DONE)
        print_residue(d);
}

/* ---- JSON ---- */

static json_t *json_info(const struct doctor *d)
{
    const struct grapnel_server_info *i = &d->info;

    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "transport",
                     i->transport, "agent", d->agent, "agent_bytes", (json_int_t)i->agent_bytes,
                     "boot_attempts", (json_int_t)i->boot_attempts, "round_trip_us",
                     (json_int_t)i->round_trip_us, "link_sent", (json_int_t)i->link_sent,
                     "link_received", (json_int_t)i->link_received, "line_sent",
                     (json_int_t)i->line_sent, "line_received", (json_int_t)i->line_received,
                     "early_bytes", (json_int_t)i->early_bytes);
}

static json_t *json_all(const struct doctor *d)
{
    json_t *object =
        json_pack("{s:o, s:b, s:o}", "host", say_json_text(d->o->target), "well",
                  d->failed == STEP_DONE && is_clean(d), "phases", reach_json(&d->reach));

    if (d->failed > STEP_MEASURE) {
        json_object_set(object, "facts", d->facts);
        json_object_set(object, "usage", d->usage);
        json_object_set_new(object, "line", json_info(d));
        json_object_set_new(object, "connect_us", json_integer(d->connect_us));
        json_object_set_new(object, "command_us", json_integer(d->command_us));
    }
    if (d->failed > STEP_CLOSE)
        json_object_set_new(object, "close_us", json_integer(d->close_us));
    if (d->failed == STEP_DONE)
        json_object_set_new(object, "residue",
                            json_pack("{s:O, s:O, s:O, s:O}", "processes", d->after.alive, "files",
                                      d->new_files, "older_files", d->old_files, "other_agents",
                                      d->after.agents));
    else
        json_object_set_new(object, "error", say_json_error(&d->error));
    return object;
}

/* The exit status. */
static int verdict(const struct doctor *d)
{
    if (d->failed == STEP_DONE)
        return is_clean(d) ? 0 : RESIDUE;
    return leave_number(&d->leave) ? leave_status(leave_number(&d->leave)) : SAY_FAILED;
}

static int report(struct doctor *d)
{
    struct grapnel_error error;
    int rc = 0;

    if (d->failed != STEP_DONE && leave_number(&d->leave))
        leave_error(&d->error, d->o->target, leave_number(&d->leave));
    if (d->o->json)
        rc = say_json(json_all(d), &error);
    else
        print_text(d);
    if (rc < 0 || say_flush(&error) < 0) {
        say_error(&error);
        return SAY_FAILED;
    }
    if (d->failed != STEP_DONE && !d->o->json && leave_number(&d->leave) != SIGINT)
        say_error(&d->error);
    return verdict(d);
}

static void clear(struct doctor *d)
{
    residue_clear(&d->before);
    residue_clear(&d->after);
    json_decref(d->old_files);
    json_decref(d->new_files);
    json_decref(d->facts);
    json_decref(d->usage);
    free(d->target);
    free(d->agent);
    grapnel_free(d->g);
    free(d);
}

int doctor_verb(const struct options *o)
{
    struct doctor *d = calloc(1, sizeof *d);
    size_t size = 4 * strlen(o->target) + 1;
    int status = SAY_FAILED;

    if (d) {
        d->o = o;
        d->trace.o = o;
        d->trace.record = &d->reach;
        d->target = malloc(size);
        d->old_files = json_array();
        d->new_files = json_array();
    }
    if (!d || !d->target || !d->old_files || !d->new_files) {
        say_note("out of memory");
        goto out;
    }
    say_safe(d->target, size, o->target);
    d->g = reach_context(&d->trace, 0, &d->error);
    if (d->g && leave_begin(&d->leave, d->g, -1) < 0)
        say_fail(&d->error, "SYSTEM", "signals cannot be caught");
    else if (d->g && first_line(d) == 0)
        second_line(d);
    status = report(d);
    if (leave_number(&d->leave))
        leave_now(status);
out:
    if (d)
        clear(d);
    return status;
}
