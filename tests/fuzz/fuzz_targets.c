/* Sets of targets: texts of the language, files of groups, inventories, and lists of names to fold.
 * The first byte says which. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "launcher/targets/expression.h"
#include "launcher/targets/fold.h"
#include "launcher/targets/inventory.h"
#include "tests/fuzz/seeds.h"

#define LIMIT 2000

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const char inventory[] = "2# c\nlonely ansible_host=10.0.0.9\n[web]\n"
                                "web[01:50].x ansible_user='a b' k=\"v\"\n[a:f]x\n"
                                "[p:children]\nweb\n[p:vars]\nansible_port = 22\n"
                                "[all:vars]\nk=v\n";

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "0web[01-20,30-40/2].example.com",
        "0r[1-4]n[01-16]!r2n03,x^r1n01&r[1-2]n[1-9] y",
        "0u@[fe80::[9-12]]:22,ssh://h:1,2001:db8::[1-9]",
        "0@g,@g[1-2]!@* #x",
        "0n[1-99999999999999999],n[08-011],n[5-1],n[1-5/0],n[],n[1",
        "1web1\nweb01\nweb2\nr1n1\nr1n2\nr2n1\nr2n2\n10.0.0.1\nn123456789012345678",
        "1[1::1]:22\n[2::1]:22\na9b9\na10b10\na09b9",
        "2[a:children]\nb\n[b:children]\na\n",
    };
    sink(arg, (const uint8_t *)inventory, sizeof inventory - 1);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static const char *name_at(const void *arg, size_t i)
{
    return names_at(arg, i);
}

/* Folded and expanded it is the same set. */
static void check_fold(const struct names *set)
{
    struct names again = {0};
    struct error e = {0};
    char *text;
    MUST(fold_names(name_at, set, set->count, &text) == 0);
    MUST(expression_add(&again, text, strlen(text), NULL, &e) == 0);
    MUST(again.count == set->count);
    for (size_t i = 0; i < set->count; i++) {
        MUST(names_find(&again, names_at(set, i), names_length(set, i)) != NAMES_NONE);
    }
    free(text);
    names_clear(&again);
}

static void check_set(const struct names *set)
{
    MUST(set->gone == 0);
    for (size_t i = 0; i < set->count; i++) {
        const char *name = names_at(set, i);
        size_t n = names_length(set, i);
        MUST(n > 0 && n <= 1000 && strlen(name) == n && *name != '-');
        MUST(names_find(set, name, n) == i);
        for (size_t j = 0; j < n; j++) {
            MUST((unsigned char)name[j] > ' ' && name[j] != 0x7f);
        }
    }
    check_fold(set);
}

/* Groups that are made of what they are called. */
static int add_group(void *arg, const char *name, struct names *set, struct error *e)
{
    (void)arg;
    if (*name == '*') {
        return errors_set(e, -E_CONFIG, "no");
    }
    int rc = names_add(set, "member", 6, NULL, e);
    return rc == 0 ? names_add(set, "other", 5, NULL, e) : rc;
}

/* A host that is called "x" elsewhere. */
static int target_of(void *arg, const char *name, const char **target, struct error *e)
{
    (void)arg;
    (void)e;
    *target = *name == 'x' ? "root@other" : NULL;
    return 0;
}

static void check_text(const char *text, size_t n)
{
    const struct expression_groups groups = {add_group, target_of, NULL};
    struct names set = {.limit = LIMIT};
    struct error e = {0};
    MUST(names_add(&set, "first", 5, NULL, &e) == 0);
    int rc = expression_add_line(&set, text, n, &groups, &e);
    MUST(rc == 0 ? e.code == 0 : rc < 0 && e.detail[0] != '\0' && set.count == 1);
    names_compact(&set);
    check_set(&set);
    names_clear(&set);
}

/* Lines as names: whatever is no name of a set is left out. */
static void check_list(char *text)
{
    struct names set = {.limit = LIMIT};
    struct error e = {0};
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        struct names one = {.limit = 1};
        if (expression_add(&one, line, strlen(line), NULL, &e) == 0 && one.count == 1) {
            MUST(names_unite(&set, &one, &e) == 0 || e.code == -E_LIMIT);
        }
        names_clear(&one);
    }
    check_set(&set);
    names_clear(&set);
}

static void check_inventory(const char *text, size_t n)
{
    static const char *const groups[] = {"all", "ungrouped", "web", "p", "lonely"};
    struct names set = {.limit = LIMIT};
    struct error e = {0};
    struct inventory *inv = inventory_parse(text, n, "fuzz", &e);
    MUST(inv != NULL || (e.code < 0 && e.detail[0] != '\0'));
    for (size_t i = 0; inv != NULL && i < sizeof groups / sizeof groups[0]; i++) {
        if (inventory_add(inv, groups[i], &set, &e) != 0) {
            MUST(e.code < 0 && e.detail[0] != '\0');
        }
    }
    for (size_t i = 0; i < set.count; i++) {
        MUST(inventory_value(inv, names_at(&set, i), "inventory_hostname") != NULL);
        (void)inventory_value(inv, names_at(&set, i), "k");
    }
    check_set(&set);
    names_clear(&set);
    inventory_free(inv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    char *text = malloc(size);
    MUST(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 3 == 0) {
        check_text(text, size - 1);
    } else if (data[0] % 3 == 1) {
        check_list(text);
    } else {
        check_inventory(text, size - 1);
    }
    free(text);
    return 0;
}
