#include "launcher/targets/numbers.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/targets/pattern.h"

#define VALUE_BITS 57 /* 10^17 - 1 fits */
#define VALUE_MASK ((UINT64_C(1) << VALUE_BITS) - 1)

_Static_assert(PATTERN_DIGITS_MAX == 17, "a value has to fit into its bits");

size_t numbers_digits(const char *s, size_t n)
{
    size_t digits = 0;

    while (digits < n && s[digits] >= '0' && s[digits] <= '9')
        digits++;
    return digits;
}

uint64_t numbers_read(const char *s, size_t digits)
{
    uint64_t value = 0;

    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (uint64_t)(s[i] - '0');
    return (uint64_t)digits << VALUE_BITS | value;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

size_t numbers_sort(uint64_t *numbers, size_t count)
{
    size_t kept = 0, in_order = 1;

    while (in_order < count && numbers[in_order - 1] <= numbers[in_order])
        in_order++;
    if (in_order < count)
        qsort(numbers, count, sizeof *numbers, compare);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || numbers[kept - 1] != numbers[i])
            numbers[kept++] = numbers[i];
    return kept;
}

/* 10^digits: the first number that needs one more. */
static uint64_t end_of(uint64_t digits)
{
    uint64_t end = 1;

    while (digits-- > 0)
        end *= 10;
    return end;
}

/* Whether `next` may follow `last` in a range that begins with `first`: of as many digits, or, if
 * there are no leading zeros, as 10 follows 9. */
static int follows(uint64_t first, uint64_t last, uint64_t next)
{
    uint64_t digits = last >> VALUE_BITS, first_digits = first >> VALUE_BITS;

    if (next == last + 1 && next >> VALUE_BITS == digits)
        return 1;
    return (first_digits == 1 || (first & VALUE_MASK) >= end_of(first_digits - 1)) &&
           next >> VALUE_BITS == digits + 1 && (last & VALUE_MASK) + 1 == end_of(digits) &&
           (next & VALUE_MASK) == end_of(digits);
}

static int put_one(struct wire_buf *out, uint64_t number)
{
    char text[PATTERN_DIGITS_MAX];
    size_t digits = (size_t)(number >> VALUE_BITS);
    uint64_t value = number & VALUE_MASK;

    for (size_t i = digits; i-- > 0; value /= 10)
        text[i] = (char)('0' + value % 10);
    return wire_put(out, text, digits);
}

int numbers_put(struct wire_buf *out, const uint64_t *numbers, size_t count)
{
    int rc = 0;

    if (count == 1)
        return put_one(out, numbers[0]);
    for (size_t i = 0, next; i < count && rc == 0; i = next) {
        next = i + 1;
        while (next < count && follows(numbers[i], numbers[next - 1], numbers[next]))
            next++;
        rc = wire_put_u8(out, i == 0 ? '[' : ',');
        if (rc == 0)
            rc = put_one(out, numbers[i]);
        if (rc == 0 && next - i > 1)
            rc = wire_put_u8(out, '-');
        if (rc == 0 && next - i > 1)
            rc = put_one(out, numbers[next - 1]);
    }
    return rc == 0 ? wire_put_u8(out, ']') : rc;
}
