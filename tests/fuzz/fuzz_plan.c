/* The arguments of `exec`.  What is accepted is a command that can be started, with exactly the
 * words, environment and limits that were asked for. */
#include <stdlib.h>
#include <string.h>

#include "agent/plan.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The agent's own environment: names that stay, that go, and that look alike. */
static char *const base[] = {"PATH=/bin", "HOME=/", "SHELL=/bin/sh", "PATHS=x",
                             "LANG=C",    "EMPTY=", "USER=nobody",   "LOGNAME=n",
                             "A=1",       "AB=2",   "ODD=a=b=c\n",   NULL};

/* ---- seeds ---- */

static void one(seeds_sink *sink, void *arg, struct value *args)
{
    struct wire_buf bytes = {0};

    MUST(values_encode(args, &bytes) == 0);
    sink(arg, wire_data(&bytes), wire_length(&bytes));
    wire_free(&bytes);
    values_free(args);
}

static struct value *words(const char *first, const char *second)
{
    struct value *list = values_array();

    values_append(list, values_text(first));
    values_append(list, values_bytes(second, strlen(second)));
    return list;
}

static struct value *with_env(struct value *args)
{
    struct value *env = values_map();

    values_set(env, "A", values_text("new"));
    values_set(env, "NEW", values_bytes("\xff=x", 3));
    values_set(args, "env", env);
    values_set(args, "unset", words("HOME", "NONE"));
    return args;
}

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const numbers[] = {"timeout_ms", "output_limit", "grace_ms", "stderr"};
    static const char *const flags[] = {"stdin", "merge", "clean"};
    struct value *args;

    args = values_map();
    values_set(args, "argv", words("printf", "\xff%s"));
    one(sink, arg, with_env(args));
    args = values_map();
    values_set(args, "line", values_text("echo x | cat"));
    values_set(args, "shell", values_text("/bin/csh"));
    values_set(args, "cwd", values_text("/tmp"));
    one(sink, arg, args);
    for (size_t i = 0; i < 4; i++) {
        args = values_map();
        values_set(args, "line", values_text("x"));
        values_set(args, numbers[i], values_int(600000));
        values_set(args, flags[i % 3], values_bool(1));
        one(sink, arg, with_env(args));
    }
    args = values_map();
    values_set(args, "argv", values_array());
    one(sink, arg, args);
    args = values_map();
    values_set(args, "argv", words("", "instance"));
    values_set(args, "blob", values_bytes("01234567890123456789012345678901", 32));
    one(sink, arg, args);
    one(sink, arg, words("no", "map"));
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

/* ---- what must hold ---- */

/* What the environment says of a name; NULL: nothing.  It must say it once. */
static const char *lookup(char *const *envp, const char *name, size_t n)
{
    const char *found = NULL;

    for (; *envp != NULL; envp++) {
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=') {
            MUST(found == NULL);
            found = *envp + n + 1;
        }
    }
    return found;
}

/* The last of the pairs with that name: a name may come as text and as bytes. */
static const char *asked_for(const struct value *env, const char *name, size_t n)
{
    const char *found = NULL;
    const struct value *key, *item;

    for (size_t i = 0; values_pair(env, i, &key, &item); i++) {
        const char *text = values_as_string(key, NULL);
        if (strlen(text) == n && strncmp(text, name, n) == 0) {
            found = values_as_string(item, NULL);
        }
    }
    return found;
}

static int is_listed(const struct value *list, const char *name, size_t n)
{
    for (size_t i = 0; i < values_count(list); i++) {
        const char *text = values_as_string(values_at(list, i), NULL);
        if (strlen(text) == n && strncmp(text, name, n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The name of a base setting stands between spaces. */
static int stays(const char *name)
{
    return strstr(" PATH HOME USER LOGNAME SHELL ", name) != NULL;
}

static void check_env(const struct value *args, const struct plan *plan)
{
    const struct value *env = values_get(args, "env");
    const struct value *unset = values_get(args, "unset");
    int clean = values_as_bool(values_get(args, "clean"), 0);
    size_t count = 0;

    for (char *const *at = plan->envp; *at != NULL; at++) {
        const char *equals = strchr(*at, '=');
        MUST(equals != NULL && equals > *at);
        (void)lookup(plan->envp, *at, (size_t)(equals - *at));
        MUST(asked_for(env, *at, (size_t)(equals - *at)) != NULL ||
             lookup(base, *at, (size_t)(equals - *at)) != NULL);
    }
    for (size_t i = 0; base[i] != NULL; i++) {
        size_t n = (size_t)(strchr(base[i], '=') - base[i]);
        const char *text = lookup(plan->envp, base[i], n);
        const char *asked = asked_for(env, base[i], n);
        char name[16] = " ";
        memcpy(name + 1, base[i], n);
        name[n + 1] = ' ';
        if (asked != NULL) {
            MUST(text != NULL && strcmp(text, asked) == 0);
        } else if (is_listed(unset, base[i], n) || (clean && !stays(name))) {
            MUST(text == NULL);
        } else {
            MUST(text == base[i] + n + 1);
        }
    }
    for (const struct value *key, *item; values_pair(env, count, &key, &item); count++) {
        const char *name = values_as_string(key, NULL);
        const char *text = lookup(plan->envp, name, strlen(name));
        MUST(text != NULL && strcmp(text, asked_for(env, name, strlen(name))) == 0);
    }
}

static void check_words(const struct value *args, const struct plan *plan)
{
    const struct value *list = values_get(args, "argv");
    size_t n = 0;

    while (plan->argv[n] != NULL) {
        n++;
    }
    if (values_type(list) == VALUE_NIL) {
        MUST(n == 3 && strcmp(plan->argv[1], "-c") == 0);
        MUST(strcmp(plan->argv[2], values_as_string(values_get(args, "line"), NULL)) == 0);
        return;
    }
    MUST(n > 0 && n == values_count(list));
    for (size_t i = 0; i < n; i++) {
        MUST(strcmp(plan->argv[i], values_as_string(values_at(list, i), NULL)) == 0);
    }
}

static void check_number(const struct value *args, const char *name, uint64_t got,
                         uint64_t fallback, uint64_t most)
{
    const struct value *v = values_get(args, name);

    MUST(got <= most);
    MUST(got == (values_type(v) == VALUE_NIL ? fallback : (uint64_t)values_as_int(v, -1)));
}

static void check_blob(const struct value *args, const struct plan *plan)
{
    size_t n = 0;
    const char *hash = values_as_string(values_get(args, "blob"), &n);

    MUST(plan->has_blob == (hash != NULL));
    MUST(hash == NULL || (n == sizeof plan->blob && memcmp(hash, plan->blob, n) == 0));
    MUST(hash == NULL || values_type(values_get(args, "argv")) == VALUE_ARRAY);
}

static void check(const struct value *args, const struct plan *plan)
{
    const char *cwd = values_as_string(values_get(args, "cwd"), NULL);

    check_words(args, plan);
    check_blob(args, plan);
    check_env(args, plan);
    check_number(args, "timeout_ms", plan->timeout_ms, 0, PLAN_TIMEOUT_MOST);
    check_number(args, "output_limit", plan->output_limit, 0, INT64_MAX / 2);
    check_number(args, "grace_ms", plan->grace_ms, PLAN_GRACE_MS, PLAN_GRACE_MOST);
    check_number(args, "stderr", plan->stderr_id, 0, UINT32_MAX);
    MUST((cwd == NULL) == (plan->cwd == NULL) && (cwd == NULL || strcmp(cwd, plan->cwd) == 0));
    MUST(!plan->merge || plan->stderr_id == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct value *args = NULL;
    struct plan plan;
    struct error e = {0};
    int result;

    if (values_decode(data, size, &args) != 0) {
        return 0;
    }
    result = plan_read(args, base, &plan, &e);
    if (result == 0) {
        MUST(e.code == 0);
        check(args, &plan);
    } else {
        MUST(result == -E_ARGUMENT && e.code == result && e.detail[0] != '\0');
        MUST(plan.argv == NULL && plan.envp == NULL && plan.texts == NULL);
    }
    plan_free(&plan);
    values_free(args);
    return 0;
}
