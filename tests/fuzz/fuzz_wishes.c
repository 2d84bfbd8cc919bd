/* What a client of the broker says of how to connect: any value.  Whatever it is, the options are
 * sound, mean what was said, and come through once more as they are. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/broker/wishes.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- seeds ---- */

static void one(seeds_sink *sink, void *arg, struct value *v)
{
    struct wire_buf out = {0};

    if (v && values_encode(v, &out) == 0)
        sink(arg, wire_data(&out), wire_length(&out));
    wire_free(&out);
    values_free(v);
}

static struct value *with(struct value *map, const char *key, struct value *item)
{
    values_set(map, key, item);
    return map;
}

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const files[] = {"/k/one", "two", NULL}, *const env[] = {"A=1", "B=", NULL};
    static const int64_t numbers[] = {0, -1, 1, 65535, 65536, INT_MAX, INT64_MIN, INT64_MAX};
    static const char *const keys[] = {"port", "late_options", "lease", "memory", "cpu", "depth"};
    const struct grapnel_connect_options o = {.user = "u",
                                              .transport = "ssh2",
                                              .sudo_user = "",
                                              .config_file = "none",
                                              .identity_files = files,
                                              .ssh_options = env,
                                              .interactive = 1};
    const struct grapnel_instance_options i = {.memory = 1, .cwd = "/", .env = env, .unset = files};

    one(sink, arg, wishes_put(&o));
    one(sink, arg, wishes_put_instance(&i));
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
            one(sink, arg, with(wishes_put(&o), keys[k], values_int(numbers[n])));
    }
    one(sink, arg, with(values_map(), "user", values_int(1)));
    one(sink, arg, with(values_map(), "user", values_bytes("a\0b", 3)));
    one(sink, arg, with(values_map(), "env", values_text("A=1")));
    one(sink, arg, with(values_map(), "ssh_options", values_map()));
    seeds_values(sink, arg);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

/* ---- what must hold ---- */

/* Every text is the next one of the array that was said; what is no text is left out. */
static void check_list(const char *const *list, const struct value *said)
{
    size_t n = 0;

    for (size_t i = 0; i < values_count(said); i++) {
        const char *text = values_as_string(values_at(said, i), NULL);
        if (text)
            MUST(list && list[n] && strcmp(list[n++], text) == 0);
    }
    MUST(!list || list[n] == NULL);
}

static void check_text(const char *text, const struct value *said)
{
    const char *same = values_as_string(said, NULL);

    MUST(text ? same && strcmp(text, same) == 0 : !same);
}

static void check(struct wishes *w, const struct value *said)
{
    const struct grapnel_connect_options *o = wishes_options(w);
    const struct grapnel_instance_options *i = wishes_instance(w);

    check_text(o->user, values_get(said, "user"));
    check_text(o->transport, values_get(said, "transport"));
    check_text(o->sudo_user, values_get(said, "sudo_user"));
    check_list(o->identity_files, values_get(said, "identity_files"));
    check_list(o->ssh_options, values_get(said, "ssh_options"));
    check_list(i->env, values_get(said, "env"));
    check_list(i->unset, values_get(said, "unset"));
    MUST(o->port <= 65535 && o->late_options <= INT64_MAX);
    MUST(i->memory >= 0 && i->cpu_seconds >= 0 && i->depth >= 0);
    /* What a client cannot have a say in. */
    MUST(!o->asker && !o->phase && !o->broker && !o->one_shot && !i->output && !i->ended);
}

/* What was understood is said again and understood alike. */
static void check_again(struct wishes *w)
{
    struct value *map = wishes_put(wishes_options(w));
    struct wishes *again = wishes_get(map);

    MUST(map && again);
    check(again, map);
    MUST(wishes_options(w)->port == wishes_options(again)->port);
    MUST(wishes_options(w)->late_options == wishes_options(again)->late_options);
    MUST(wishes_cover(again, again));
    wishes_free(again);
    values_free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct value *v = NULL;
    struct wishes *w;

    if (values_decode(data, size, &v) != 0)
        return 0;
    w = wishes_get(v);
    MUST(w != NULL);
    check(w, v);
    values_free(v); /* w lives without it */
    check_again(w);
    wishes_free(w);
    return 0;
}
