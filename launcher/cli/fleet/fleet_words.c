#include "launcher/cli/fleet/fleet_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAFE                                                                                       \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" /* in every shell */          \
    "_@%+=:,./-"

void fleet_words_host_of(char *to, size_t size, const char *name)
{
    const char *at, *end;

    if (!strncmp(name, "ssh://", 6))
        name += 6;
    at = strrchr(name, '@');
    name = at ? at + 1 : name;
    if (*name == '[' && (end = strchr(name, ']')) != NULL) {
        name++;
    } else {
        end = strchr(name, ':');
        /* More than one colon: an address without brackets. */
        if (!end || strchr(end + 1, ':'))
            end = name + strlen(name);
    }
    snprintf(to, size, "%.*s", (int)(end - name), name);
}

/* What the sequence behind a % stands for, in place or static; *used bytes of it.  NULL with why[]
 * filled. */
static const char *look_up(const char *s, const struct fleet_words_host *h, char *place,
                           size_t size, size_t *used, char *why, size_t why_size)
{
    const char *end = strchr(s, '}'), *value;
    char key[256];

    *used = 1;
    if (*s == '%')
        return "%";
    if (*s == 'h') {
        fleet_words_host_of(place, size, h->name);
        return place;
    }
    if (*s == 'n') {
        snprintf(place, size, "%zu", h->number);
        return place;
    }
    if (*s == 'u') {
        value = h->user ? h->user : h->value(h->arg, "%u");
        if (!value)
            snprintf(why, why_size, "%s: the user is not known", h->name);
        return value;
    }
    if (*s != '{' || !end || (size_t)(end - s) >= sizeof key) {
        snprintf(why, why_size, "%%%.1s is none of %%h, %%u, %%n, %%{KEY} and %%%%", s);
        return NULL;
    }
    snprintf(key, sizeof key, "%.*s", (int)(end - s) - 1, s + 1);
    *used = (size_t)(end - s) + 1;
    value = h->value(h->arg, key);
    if (!value)
        snprintf(why, why_size, "%s: the inventory has no %s for it", h->name, key);
    return value;
}

static int is_safe(const char *value)
{
    return *value && !value[strspn(value, SAFE)];
}

static int put(FILE *f, const char *word, const struct fleet_words_host *host, int shell, char *why,
               size_t why_size)
{
    char place[512];

    for (size_t used; *word; word += used) {
        const char *value;

        if (*word != '%') {
            used = strcspn(word, "%");
            fwrite(word, 1, used, f);
            continue;
        }
        value = look_up(word + 1, host, place, sizeof place, &used, why, why_size);
        if (!value)
            return -1;
        if (shell && word[1] != '%' && !is_safe(value)) {
            snprintf(why, why_size,
                     "%s: a shell would read '%s' as more than a word: give the command in several "
                     "words",
                     host->name, value);
            return -1;
        }
        fputs(value, f);
        used++;
    }
    return 0;
}

char *fleet_words(const char *word, const struct fleet_words_host *host, int shell, char *why,
                  size_t why_size)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    int rc = f ? put(f, word, host, shell, why, why_size) : -1;

    if (!f)
        snprintf(why, why_size, "out of memory");
    if (f && fclose(f) != 0)
        rc = -1;
    if (rc == 0)
        return text;
    free(text);
    return NULL;
}
