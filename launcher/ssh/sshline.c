#include "launcher/ssh/sshline.h"

#include <string.h>
#include <strings.h>

#define WORD_MAX 1024
#define BLANKS   " \t"

/* ssh's letters: those with an argument, those without, and those after which no shell comes. */
static const char with_argument[] = "BbcDEeFIiJLlmoPpRSw", alone[] = "1246AaCgKkMqTtvXxYy";

/* Options by which a line leads elsewhere. */
static const char *const elsewhere[] = {"remotecommand", "sessiontype", "stdinnull",
                                        "forkafterauthentication"};

/* Cuts the next word off *s: 1, 0 at the end, -1 when it takes a shell to know what it becomes. */
static int next_word(const char **s, char word[WORD_MAX])
{
    size_t n = 0;
    char quote = '\0';
    const char *p = *s + strspn(*s, BLANKS);

    if (*p == '\0')
        return 0;
    for (; *p && (quote || !strchr(BLANKS, *p)); p++) {
        if (quote && *p == quote)
            quote = '\0';
        else if (!quote && (*p == '\'' || *p == '"'))
            quote = *p;
        else if ((quote != '\'' && strchr("$`\\", *p)) || (!quote && strchr(";&|<>()*?\n", *p)) ||
                 n + 1 == WORD_MAX)
            return -1;
        else
            word[n++] = *p;
    }
    word[n] = '\0';
    *s = p;
    return quote ? -1 : 1;
}

static int leads_elsewhere(const char *setting)
{
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        if (strncasecmp(setting + strspn(setting, BLANKS "="), elsewhere[i],
                        strlen(elsewhere[i])) == 0)
            return 1;
    }
    return 0;
}

/* One word of options, with the next if it belongs to it.  0, or -1: no shell comes. */
static int pass_options(const char *word, const char **rest)
{
    char next[WORD_MAX];
    const char *argument;

    for (const char *letter = word + 1; *letter; letter++) {
        if (strchr(alone, *letter))
            continue;
        if (!strchr(with_argument, *letter))
            return -1;
        argument = letter[1] ? letter + 1 : next;
        if (argument == next && next_word(rest, next) <= 0)
            return -1;
        return *letter == 'o' && leads_elsewhere(argument) ? -1 : 0;
    }
    return 0;
}

int sshline_gives_login_shell(const char *line, size_t *after)
{
    char word[WORD_MAX];
    const char *rest = line, *name;
    int ended = 0, hosts = 0, more;

    if (next_word(&rest, word) <= 0)
        return 0;
    *after = (size_t)(rest - line);
    name = strrchr(word, '/');
    if (strcmp(name ? name + 1 : word, "ssh") != 0)
        return 0;
    while ((more = next_word(&rest, word)) > 0) {
        if (!ended && strcmp(word, "--") == 0)
            ended = 1;
        else if (ended || word[0] != '-' || !word[1])
            hosts++;
        else if (pass_options(word, &rest) < 0)
            return 0;
    }
    return more == 0 && hosts == 1;
}
