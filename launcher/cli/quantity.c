#include "launcher/cli/quantity.h"

#include <stdio.h>
#include <string.h>

#define SHARE_MAX    1000000000
#define FRACTION_ONE 1000000 /* 10 to that power */

struct number {
    int64_t whole;
    int64_t millionths;
};

struct unit {
    const char *name;
    int64_t size;
};

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Returns what follows the number; NULL: there is none. */
static const char *read_number(const char *s, struct number *number)
{
    int64_t scale = FRACTION_ONE;
    int digits = 0;

    *number = (struct number){0, 0};
    for (; is_digit(*s); s++, digits++) {
        if (number->whole > QUANTITY_SIZE_MAX / 10)
            number->whole = QUANTITY_SIZE_MAX + 1; /* over every limit, and so it stays */
        else
            number->whole = number->whole * 10 + (*s - '0');
    }
    if (*s != '.')
        return digits ? s : NULL;
    if (!is_digit(*++s))
        return NULL;
    for (; is_digit(*s); s++) {
        scale /= 10;
        if (scale == 0)
            return NULL;
        number->millionths += (*s - '0') * scale;
    }
    return s;
}

static int in_units(const char *text, const struct unit *units, int64_t max, int64_t *result)
{
    struct number number;
    const char *rest = read_number(text, &number);
    int64_t fraction;

    if (!rest)
        return QUANTITY_MALFORMED;
    while (units->name && strcmp(units->name, rest) != 0)
        units++;
    if (!units->name)
        return QUANTITY_MALFORMED;
    if (number.whole > max / units->size)
        return QUANTITY_TOO_LARGE;
    /* The largest unit times a million still fits in 63 bits. */
    fraction = (number.millionths * units->size + FRACTION_ONE - 1) / FRACTION_ONE;
    if (number.whole * units->size > max - fraction)
        return QUANTITY_TOO_LARGE;
    *result = number.whole * units->size + fraction;
    return 0;
}

int quantity_time(const char *text, int64_t *ms)
{
    static const struct unit units[] = {{"", 1000},      {"s", 1000},    {"ms", 1},
                                        {"m", 60000},    {"min", 60000}, {"h", 3600000},
                                        {"d", 86400000}, {NULL, 0}};

    return in_units(text, units, QUANTITY_TIME_MAX, ms);
}

int quantity_size(const char *text, int64_t *bytes)
{
    static const struct unit units[] = {{"", 1},
                                        {"b", 1},
                                        {"B", 1},
#define SIZE_UNIT(upper, lower, size)                                                              \
    {lower, size}, {upper, size}, {upper "B", size}, {upper "iB", size}
                                        SIZE_UNIT("K", "k", 1024),
                                        SIZE_UNIT("M", "m", 1024 * 1024),
                                        SIZE_UNIT("G", "g", 1024 * 1024 * 1024),
                                        SIZE_UNIT("T", "t", (int64_t)1024 * 1024 * 1024 * 1024),
#undef SIZE_UNIT
                                        {"kB", 1024},
                                        {NULL, 0}};

    return in_units(text, units, QUANTITY_SIZE_MAX, bytes);
}

int quantity_share(const char *text, int64_t *share)
{
    struct number number;
    const char *rest = read_number(text, &number);
    int percent = rest && !strcmp(rest, "%");

    if (!rest || (*rest && !percent) || memchr(text, '.', (size_t)(rest - text)) ||
        number.whole < 1 || number.whole > (percent ? 100 : SHARE_MAX))
        return QUANTITY_MALFORMED;
    *share = percent ? -number.whole : number.whole;
    return 0;
}

int64_t quantity_of(int64_t share, int64_t whole)
{
    int64_t part = share < 0 ? whole * -share / 100 : share;

    return part < 1 ? 1 : part;
}

const char *quantity_size_text(char text[QUANTITY_TEXT], int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    int unit = -1;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(text, QUANTITY_TEXT, "%d bytes", (int)value);
    else
        snprintf(text, QUANTITY_TEXT, "%.*f %s", value < 100 ? 1 : 0, value, units[unit]);
    return text;
}

const char *quantity_time_text(char text[QUANTITY_TEXT], int64_t us)
{
    if (us < 10000)
        snprintf(text, QUANTITY_TEXT, "%.2f ms", (double)us / 1e3);
    else if (us < 100000)
        snprintf(text, QUANTITY_TEXT, "%.1f ms", (double)us / 1e3);
    else if (us < 1000000)
        snprintf(text, QUANTITY_TEXT, "%.0f ms", (double)us / 1e3);
    else
        snprintf(text, QUANTITY_TEXT, "%.2f s", (double)us / 1e6);
    return text;
}
