/* ssh's patterns (ssh_config(5), "PATTERNS"). */
#include <string.h>

#include "launcher/ssh/sshconfig.h"

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int same(char a, char b, int fold)
{
    return a == b || (fold && lower(a) == lower(b));
}

/* Matches s against the n bytes at p.  On a mismatch only the last * is widened, so the time is
 * bounded by the product of both lengths whatever a file says. */
static int match_n(const char *s, const char *p, size_t n, int fold)
{
    const char *end = p + n, *star = NULL, *resume = NULL;
    while (*s != '\0') {
        if (p < end && *p == '*') {
            star = ++p;
            resume = s;
        } else if (p < end && (*p == '?' || same(*s, *p, fold))) {
            p++;
            s++;
        } else if (star != NULL) {
            p = star;
            s = ++resume;
        } else {
            return 0;
        }
    }
    while (p < end && *p == '*')
        p++;
    return p == end;
}

int sshconfig_match(const char *s, const char *pattern)
{
    return match_n(s, pattern, strlen(pattern), 0);
}

int sshconfig_match_list(const char *s, const char *patterns, int fold)
{
    int found = 0;
    for (;;) {
        size_t n = strcspn(patterns, ",");
        int negated = *patterns == '!';
        if (match_n(s, patterns + negated, n - (size_t)negated, fold)) {
            if (negated)
                return -1;
            found = 1;
        }
        if (patterns[n] == '\0')
            return found;
        patterns += n + 1;
    }
}
