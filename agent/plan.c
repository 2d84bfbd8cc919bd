#include "agent/plan.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- texts: everything that argv and envp point to, in one list ---- */

/* A new text of n + m bytes, freed with the plan; NULL when memory is out. */
static char *keep(struct plan *plan, const char *a, size_t n, const char *b, size_t m)
{
    char **list;
    char *text;

    if ((plan->text_count & (plan->text_count - 1)) == 0) {
        size_t room = plan->text_count == 0 ? 1 : plan->text_count * 2;
        list = realloc(plan->texts, room * sizeof *list);
        if (list == NULL) {
            return NULL;
        }
        plan->texts = list;
    }
    text = malloc(n + m + 1);
    if (text == NULL) {
        return NULL;
    }
    memcpy(text, a, n);
    if (m > 0) {
        memcpy(text + n, b, m);
    }
    text[n + m] = '\0';
    plan->texts[plan->text_count++] = text;
    return text;
}

static char *keep_text(struct plan *plan, const char *text)
{
    return keep(plan, text, strlen(text), NULL, 0);
}

/* ---- argv ---- */

const char *plan_shell(char *const *environment)
{
    const struct passwd *account;

    for (; environment != NULL && *environment != NULL; environment++) {
        if (strncmp(*environment, "SHELL=/", 7) == 0) {
            return *environment + 6;
        }
    }
    account = getpwuid(geteuid());
    if (account != NULL && account->pw_shell != NULL && account->pw_shell[0] == '/') {
        return account->pw_shell;
    }
    return "/bin/sh";
}

static int read_line(const struct value *args, char *const *base, struct plan *plan,
                     struct error *e)
{
    const char *line = values_as_string(values_get(args, "line"), NULL);
    const struct value *named = values_get(args, "shell");
    const char *shell = values_as_string(named, NULL);

    if (line == NULL) {
        return errors_set(e, -E_ARGUMENT, "neither argv nor line is given, or not as text");
    }
    if (values_type(named) != VALUE_NIL && shell == NULL) {
        return errors_set(e, -E_ARGUMENT, "shell is not a text");
    }
    plan->argv = calloc(4, sizeof *plan->argv);
    if (plan->argv == NULL) {
        return -E_NOMEM;
    }
    plan->argv[0] = keep_text(plan, shell != NULL ? shell : plan_shell(base));
    plan->argv[1] = keep_text(plan, "-c");
    plan->argv[2] = keep_text(plan, line);
    if (plan->argv[0] == NULL || plan->argv[1] == NULL || plan->argv[2] == NULL) {
        return -E_NOMEM;
    }
    return 0;
}

static int read_argv(const struct value *list, struct plan *plan, struct error *e)
{
    size_t count = values_count(list);

    if (values_type(list) != VALUE_ARRAY || count == 0) {
        return errors_set(e, -E_ARGUMENT, "argv is not an array with a command in it");
    }
    plan->argv = calloc(count + 1, sizeof *plan->argv);
    if (plan->argv == NULL) {
        return -E_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const char *word = values_as_string(values_at(list, i), NULL);
        if (word == NULL) {
            return errors_set(e, -E_ARGUMENT,
                              "argv[%zu] is neither text nor bytes, or has a zero byte", i);
        }
        plan->argv[i] = keep_text(plan, word);
        if (plan->argv[i] == NULL) {
            return -E_NOMEM;
        }
    }
    return 0;
}

static int read_blob(const struct value *hash, struct plan *plan, struct error *e)
{
    size_t n = 0;
    const char *bytes = values_as_string(hash, &n);

    if (values_type(hash) == VALUE_NIL) {
        return 0;
    }
    if (values_type(hash) != VALUE_BYTES || n != sizeof plan->blob) {
        return errors_set(e, -E_ARGUMENT, "blob is not a hash of %zu bytes", sizeof plan->blob);
    }
    memcpy(plan->blob, bytes, n);
    plan->has_blob = 1;
    return 0;
}

static int read_command(const struct value *args, char *const *base, struct plan *plan,
                        struct error *e)
{
    int result = read_blob(values_get(args, "blob"), plan, e);

    if (result != 0) {
        return result;
    }
    if (values_type(values_get(args, "argv")) != VALUE_NIL) {
        return read_argv(values_get(args, "argv"), plan, e);
    }
    if (plan->has_blob) {
        return errors_set(e, -E_ARGUMENT, "blob needs argv");
    }
    return read_line(args, base, plan, e);
}

/* ---- environment ---- */

static int name_matches(const char *setting, const char *name, size_t n)
{
    return strncmp(setting, name, n) == 0 && setting[n] == '=';
}

static void env_remove(char **envp, const char *name, size_t n)
{
    char **to = envp;

    for (; *envp != NULL; envp++) {
        if (!name_matches(*envp, name, n)) {
            *to++ = *envp;
        }
    }
    *to = NULL;
}

static int stays_when_clean(const char *setting)
{
    static const char *const names[] = {"PATH", "HOME", "USER", "LOGNAME", "SHELL"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (name_matches(setting, names[i], strlen(names[i]))) {
            return 1;
        }
    }
    return 0;
}

static int name_is_fit(const char *name)
{
    return name != NULL && name[0] != '\0' && strchr(name, '=') == NULL;
}

static int env_start(char *const *base, size_t more, int clean, struct plan *plan)
{
    size_t count = 0;
    size_t n = 0;

    while (base != NULL && base[count] != NULL) {
        count++;
    }
    plan->envp = calloc(count + more + 1, sizeof *plan->envp);
    if (plan->envp == NULL) {
        return -E_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (!clean || stays_when_clean(base[i])) {
            plan->envp[n++] = base[i];
        }
    }
    return 0;
}

static int env_set(const struct value *set, size_t i, struct plan *plan, struct error *e)
{
    const struct value *key;
    const struct value *item;
    const char *name = NULL;
    const char *text = NULL;
    char *setting;
    size_t n = 0;

    if (values_pair(set, i, &key, &item)) {
        name = values_as_string(key, NULL);
        text = values_as_string(item, NULL);
    }
    if (!name_is_fit(name) || text == NULL) {
        return errors_set(e, -E_ARGUMENT, "env: pair %zu is not a name and a text", i);
    }
    setting = keep(plan, name, strlen(name) + 1, text, strlen(text));
    if (setting == NULL) {
        return -E_NOMEM;
    }
    setting[strlen(name)] = '=';
    env_remove(plan->envp, name, strlen(name));
    while (plan->envp[n] != NULL) {
        n++;
    }
    plan->envp[n] = setting;
    plan->envp[n + 1] = NULL;
    return 0;
}

static int read_env(const struct value *args, char *const *base, struct plan *plan, struct error *e)
{
    const struct value *set = values_get(args, "env");
    const struct value *unset = values_get(args, "unset");
    int result =
        env_start(base, values_count(set), values_as_bool(values_get(args, "clean"), 0), plan);

    if (result != 0) {
        return result;
    }
    if (values_type(set) != VALUE_NIL && values_type(set) != VALUE_MAP) {
        return errors_set(e, -E_ARGUMENT, "env is not a map");
    }
    if (values_type(unset) != VALUE_NIL && values_type(unset) != VALUE_ARRAY) {
        return errors_set(e, -E_ARGUMENT, "unset is not an array");
    }
    for (size_t i = 0; i < values_count(unset); i++) {
        const char *name = values_as_string(values_at(unset, i), NULL);
        if (!name_is_fit(name)) {
            return errors_set(e, -E_ARGUMENT, "unset[%zu] is not a name", i);
        }
        env_remove(plan->envp, name, strlen(name));
    }
    for (size_t i = 0; i < values_count(set) && result == 0; i++) {
        result = env_set(set, i, plan, e);
    }
    return result;
}

/* ---- the rest ---- */

/* A whole number of args from 0 to most; `fallback` when it is not given. */
static int read_number(const struct value *args, const char *name, int64_t most, int64_t fallback,
                       int64_t *number, struct error *e)
{
    const struct value *v = values_get(args, name);

    *number = values_type(v) == VALUE_NIL ? fallback : values_as_int(v, -1);
    if (*number < 0 || *number > most) {
        return errors_set(e, -E_ARGUMENT, "%s is not a number from 0 to %lld", name,
                          (long long)most);
    }
    return 0;
}

static int read_cwd(const struct value *args, struct plan *plan, struct error *e)
{
    const struct value *v = values_get(args, "cwd");
    const char *text = values_as_string(v, NULL);

    if (values_type(v) == VALUE_NIL) {
        return 0;
    }
    if (text == NULL) {
        return errors_set(e, -E_ARGUMENT, "cwd is not a text");
    }
    plan->cwd = keep_text(plan, text);
    return plan->cwd == NULL ? -E_NOMEM : 0;
}

static int read_rest(const struct value *args, struct plan *plan, struct error *e)
{
    int64_t timeout = 0;
    int64_t limit = 0;
    int64_t grace = 0;
    int64_t id = 0;
    int result = read_cwd(args, plan, e);

    if (result == 0) {
        result = read_number(args, "timeout_ms", PLAN_TIMEOUT_MOST, 0, &timeout, e);
    }
    if (result == 0) {
        result = read_number(args, "output_limit", INT64_MAX / 2, 0, &limit, e);
    }
    if (result == 0) {
        result = read_number(args, "grace_ms", PLAN_GRACE_MOST, PLAN_GRACE_MS, &grace, e);
    }
    if (result == 0) {
        result = read_number(args, "stderr", UINT32_MAX, 0, &id, e);
    }
    plan->timeout_ms = (uint64_t)timeout;
    plan->output_limit = (uint64_t)limit;
    plan->grace_ms = (unsigned)grace;
    plan->stderr_id = (uint32_t)id;
    plan->with_stdin = values_as_bool(values_get(args, "stdin"), 0);
    plan->merge = values_as_bool(values_get(args, "merge"), 0);
    if (result == 0 && plan->merge && plan->stderr_id != 0) {
        result = errors_set(e, -E_ARGUMENT, "merge and stderr exclude each other");
    }
    return result;
}

int plan_read(const struct value *args, char *const *base, struct plan *plan, struct error *e)
{
    int result;

    memset(plan, 0, sizeof *plan);
    if (values_type(args) != VALUE_MAP) {
        return errors_set(e, -E_ARGUMENT, "the arguments are not a map");
    }
    result = read_command(args, base, plan, e);
    if (result == 0) {
        result = read_env(args, base, plan, e);
    }
    if (result == 0) {
        result = read_rest(args, plan, e);
    }
    if (result == -E_NOMEM) {
        errors_set(e, result, "the command is too large");
    }
    if (result != 0) {
        plan_free(plan);
    }
    return result;
}

void plan_free(struct plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->text_count; i++) {
        free(plan->texts[i]);
    }
    free(plan->texts);
    free(plan->argv);
    free(plan->envp);
    memset(plan, 0, sizeof *plan);
}
