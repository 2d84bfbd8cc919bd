/* Lines of ssh_config cut into words. */
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/sshconfig_impl.h"

#define BLANKS " \t\r\n"

void sshconfig_words_trim(char *line)
{
    size_t n = strlen(line);
    while (n > 0 && strchr(BLANKS "\f", line[n - 1]) != NULL)
        line[--n] = '\0';
}

/* Passes blanks, and one = among them. */
static char *after_separator(char *s, int seen)
{
    s += strspn(s, BLANKS);
    if (!seen && *s == '=') {
        s++;
        s += strspn(s, BLANKS);
    }
    return s;
}

char *sshconfig_words_next(char **s)
{
    char *start = *s;
    if (start == NULL || *start == '\0')
        return NULL;
    if (*start == '"') {
        char *end = strchr(++start, '"');
        if (end == NULL)
            return NULL;
        *end = '\0';
        *s = end + 1 + strspn(end + 1, BLANKS);
        return start;
    }
    char *end = start + strcspn(start, BLANKS "=");
    int was_equals = *end == '=';
    if (*end != '\0')
        *end++ = '\0';
    *s = after_separator(end, was_equals);
    return start;
}

char *sshconfig_words_keyword(char *line, char **rest)
{
    line += strspn(line, BLANKS "\f");
    *rest = line;
    if (*line == '\0' || *line == '#')
        return NULL;
    char *keyword = sshconfig_words_next(rest);
    if (keyword != NULL && *keyword == '\0') /* ssh lets a separator stand before the keyword */
        keyword = sshconfig_words_next(rest);
    if (keyword == NULL) {
        *rest = line + strlen(line);
        return NULL;
    }
    if (*keyword == '\0' || *keyword == '#')
        return NULL;
    for (char *p = keyword; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return keyword;
}

/* Copies one word from *s to *out without its quotes and escapes.  0, or -E_CONFIG. */
static int copy_word(const char **s, char **out)
{
    char quote = '\0', *o = *out;
    const char *p = *s;
    for (; *p != '\0'; p++) {
        if (*p == '\\' &&
            (p[1] == '\'' || p[1] == '"' || p[1] == '\\' || (quote == '\0' && p[1] == ' '))) {
            *o++ = *++p;
        } else if (quote == '\0' && (*p == ' ' || *p == '\t')) {
            break;
        } else if (quote == '\0' && (*p == '"' || *p == '\'')) {
            quote = *p;
        } else if (quote != '\0' && *p == quote) {
            quote = '\0';
        } else {
            *o++ = *p;
        }
    }
    *o++ = '\0';
    *out = o;
    *s = p;
    return quote == '\0' ? 0 : -E_CONFIG;
}

int sshconfig_words_split(const char *s, char ***argv, size_t *argc)
{
    size_t n = strlen(s), most = n / 2 + 2; /* a word and a blank each */
    *argc = 0;
    *argv = malloc(most * sizeof **argv + n + most);
    if (*argv == NULL)
        return -E_NOMEM;
    char *out = (char *)(*argv + most);
    for (;;) {
        s += strspn(s, " \t");
        if (*s == '\0' || *s == '#')
            break;
        (*argv)[(*argc)++] = out;
        if (copy_word(&s, &out) != 0) {
            free(*argv);
            *argv = NULL;
            *argc = 0;
            return -E_CONFIG;
        }
    }
    (*argv)[*argc] = NULL;
    return 0;
}
