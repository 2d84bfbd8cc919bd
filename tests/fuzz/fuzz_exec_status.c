/* What a host says of a command's end: any value.  Whatever it is, the status is sound. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/exec/exec_impl.h"
#include "proto/signals.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void one(seeds_sink *sink, void *arg, struct value *v)
{
    struct wire_buf out = {0};

    if (v && values_encode(v, &out) == 0)
        sink(arg, wire_data(&out), wire_length(&out));
    wire_free(&out);
    values_free(v);
}

static struct value *usual(void)
{
    static const char *const numbers[] = {"pid", "wall_us", "user_us", "system_us", "max_rss"};
    struct value *map = values_map();

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        values_set(map, numbers[i], values_int((int64_t)(i + 1) * 1000));
    values_set(map, "core", values_bool(0));
    return map;
}

static struct value *with(struct value *map, const char *key, struct value *item)
{
    values_set(map, key, item);
    return map;
}

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const names[] = {"TERM", "KILL", "SEGV", "34", "", "term"};
    static const char *const reasons[] = {"timeout", "output-limit", "cancelled", "whim"};
    static const int64_t numbers[] = {0, 255, 256, -1, INT64_MIN, INT64_MAX};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        one(sink, arg, with(usual(), "signal", values_text(names[i])));
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        one(sink, arg, with(usual(), "reason", values_text(reasons[i])));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        one(sink, arg, with(usual(), "status", values_int(numbers[i])));
        one(sink, arg, with(usual(), "pid", values_int(numbers[i])));
        one(sink, arg, with(usual(), "max_rss", values_int(numbers[i])));
    }
    one(sink, arg, with(usual(), "status", values_text("0")));
    one(sink, arg, with(usual(), "signal", values_int(SIGTERM)));
    one(sink, arg, values_map());
    seeds_values(sink, arg);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static void check(const struct grapnel_exec_status *s)
{
    static const char *const reasons[] = {"timeout", "output-limit", "cancelled"};
    int known = s->reason == NULL;

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        known |= s->reason && strcmp(s->reason, reasons[i]) == 0;
    MUST(known);
    MUST(s->exited == 0 || s->exited == 1);
    MUST(s->core == 0 || s->core == 1);
    MUST(s->exit_status >= 0 && s->exit_status <= 255);
    /* Either a status or a signal. */
    MUST(s->exited == (s->signal == NULL));
    MUST(s->exited ? s->signal_number == 0 : s->exit_status == 0);
    MUST(s->signal_number == 0 || signals_number(s->signal) == s->signal_number);
    MUST(s->left >= 0 && s->pid >= 0 && s->wall_us >= 0 && s->user_us >= 0 && s->system_us >= 0 &&
         s->max_rss >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grapnel_exec_status status = {0};
    struct value *v = NULL;

    if (values_decode(data, size, &v) != 0)
        return 0;
    exec_read_status(&status, v);
    /* What it names must not be the value's. */
    values_free(v);
    check(&status);
    return 0;
}
