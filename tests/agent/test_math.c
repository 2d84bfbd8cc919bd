/* The mathematics of a real worker, beside the same functions of this machine's C library in more
 * digits: values of all sizes, and all those that are special. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/worker.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

#define VALUES 4700

struct answer {
    int came, code;
    double *results;
    char text[300];
};

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct answer *a = arg;
    size_t n = 0;

    a->came = 1;
    a->code = code;
    snprintf(a->text, sizeof a->text, "%s", text != NULL ? text : "");
    if (result == NULL) {
        return;
    }
    const char *bytes = values_as_string(values_at(result, 0), &n);
    if (bytes == NULL) {
        snprintf(a->text, sizeof a->text, "%s", values_json(result));
    } else if (a->results == NULL) {
        snprintf(a->text, sizeof a->text, "%s", bytes);
    } else {
        ck_assert_uint_eq(n, VALUES * sizeof(double));
        memcpy(a->results, bytes, n);
    }
}

static int has_come(void *arg)
{
    const struct answer *a = arg;

    return a->came;
}

static void execute(struct answer *a, const char *source)
{
    const char *path = getenv("GRAPNEL_WORKER");
    const char *const argv[] = {"instance", NULL};
    struct harness_options o = {
        .argv = argv, .program = path != NULL ? path : WORKER_PATH, .features = LINK_FEATURE_REFS};
    struct harness *h = harness_start(&o);
    struct value *args = values_array();
    uint32_t id;

    ck_assert_int_eq(values_append(args, values_int(1)), 0);
    ck_assert_int_eq(values_append(args, values_text("execute")), 0);
    ck_assert_int_eq(values_append(args, values_text(source)), 0);
    ck_assert_int_eq(link_call(h->link, "call", args, on_answer, a, &id), 0);
    harness_until(h, has_come, a);
    ck_assert_msg(a->code == 0, "%d %s", a->code, a->text);
    harness_close(h);
    ck_assert_int_eq(harness_wait(h), 0);
    link_end(h->link, -E_CLOSED, "");
    harness_gone(h);
}

/* ---- the functions ---- */

static long double power(long double x, long double y)
{
    return isinf(x) ? pow((double)x, (double)y) : powl(x, y); /* glibc errs in (-inf)^-2^63 */
}

/* As Lua has it: of the sign of y. */
static long double modulo(long double x, long double y)
{
    double divisor = (double)y, rest = fmod((double)x, divisor);

    return (rest > 0 && divisor < 0) || (rest < 0 && divisor > 0) ? rest + divisor : rest;
}

struct range {
    double from, to;
};

/* `ulps`: how far off a result may be, in units of its last digit: as far as with any C library
 * that a worker can be linked with.  (With its own functions it is 0.53 at most, and 0.73 for
 * powers.) */
static const struct function {
    const char *source;
    long double (*of_x)(long double x);
    long double (*of_both)(long double x, long double y);
    struct range x, y;
    double ulps;
} functions[] = {
    {"math.exp(x)", expl, NULL, {-745, 710}, {0, 0}, 1},
    {"math.log(x)", logl, NULL, {0, 4}, {0, 0}, 1},
    {"math.log(x, 2)", log2l, NULL, {0, 4}, {0, 0}, 1},
    {"math.log(x, 10)", log10l, NULL, {0, 1e6}, {0, 0}, 2.5},
    {"math.sin(x)", sinl, NULL, {-30, 30}, {0, 0}, 1},
    {"math.cos(x)", cosl, NULL, {-30, 30}, {0, 0}, 1},
    {"math.tan(x)", tanl, NULL, {-30, 30}, {0, 0}, 1},
    {"math.sin(x)", sinl, NULL, {-1e9, 1e9}, {0, 0}, 1},
    {"math.cos(x)", cosl, NULL, {-1e300, 1e300}, {0, 0}, 1},
    {"math.asin(x)", asinl, NULL, {-1, 1}, {0, 0}, 1},
    {"math.acos(x)", acosl, NULL, {-1, 1}, {0, 0}, 1},
    {"math.atan(x)", atanl, NULL, {-30, 30}, {0, 0}, 1},
    {"math.sinh(x)", sinhl, NULL, {-20, 20}, {0, 0}, 2.5},
    {"math.cosh(x)", coshl, NULL, {-711, 711}, {0, 0}, 2.5},
    {"math.tanh(x)", tanhl, NULL, {-20, 20}, {0, 0}, 2.5},
    {"math.sqrt(x)", sqrtl, NULL, {0, 100}, {0, 0}, 1},
    {"math.atan(x, y)", NULL, atan2l, {-9, 9}, {-9, 9}, 1.5},
    {"x ^ y", NULL, power, {0, 20}, {-80, 80}, 1},
    {"x ^ y", NULL, power, {0.7, 1.5}, {-2000, 2000}, 1},
    {"x ^ y", NULL, power, {0, 1e300}, {-1, 1}, 1},
    {"math.fmod(x, y)", NULL, fmodl, {-1e9, 1e9}, {-3, 3}, 0},
    {"x % y", NULL, modulo, {-1e9, 1e9}, {-3, 3}, 0},
};

/* ---- the values ---- */

/* Infinities and the like, ends of ranges, and a double that is very near to a quarter turn: only
 * one is nearer by more than a bit, for which glibc's cosine is off by 8 units. */
static const double special[] = {
    0.0,
    0.25,
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    3.0,
    10.0,
    1001.0,
    1e22,
    INFINITY,
    NAN,
    DBL_TRUE_MIN,
    DBL_MIN,
    DBL_MAX,
    1 + DBL_EPSILON,
    1 - DBL_EPSILON / 2,
    0x1.6a09e667f3bcdp-1,
    1e-10,
    1e300,
    0x1.921fb54442d18p0,
    0x1.921fb54442d18p1,
    0x1.62e42fefa39efp+9,
    0x1.6232bdd7abcd2p+9,
    746.0,
    1074.0,
    1075.0,
    0x1p52,
    0x1p53,
    0x1.fffffffffffffp53,
    0x1p63,
    0x1p64,
    8444920710073313 * 0x1p939,
};

enum { SPECIAL = 2 * (int)(sizeof special / sizeof *special) }; /* their pairs fit in VALUES */

static double special_at(int i)
{
    return i % 2 == 0 ? special[i / 2] : -special[i / 2];
}

static uint64_t bits(void)
{
    static uint64_t state = 1;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1d;
}

static double within(struct range r)
{
    return r.from + (r.to - r.from) * ((double)(bits() >> 11) * 0x1p-53);
}

static double anything(void)
{
    uint64_t b = bits();
    double x;

    memcpy(&x, &b, sizeof x);
    return x;
}

enum kind { WITHIN, ANYTHING, TURNS, SPECIALS, KINDS };

/* Fills xy[2 * VALUES]: an x and a y each. */
static void choose(const struct function *f, enum kind kind, double *xy)
{
    for (int i = 0; i < VALUES; i++, xy += 2) {
        switch (kind) {
        case WITHIN:
            xy[0] = within(f->x);
            xy[1] = within(f->y);
            break;
        case ANYTHING:
            xy[0] = anything();
            xy[1] = anything();
            break;
        case TURNS: /* near the zeros of sines, and whole numbers as exponents */
            xy[0] = (double)(int64_t)(bits() >> 43) * 0x1.921fb54442d18p0;
            xy[1] = (double)(bits() % 64) - 32;
            break;
        default:
            xy[0] = special_at(i % SPECIAL);
            xy[1] = special_at(i / SPECIAL % SPECIAL);
        }
    }
}

/* How far a result is from the right one, in units of the last digit that it can have. */
static double off(double got, long double right)
{
    double near = (double)right;
    int e;

    if (isnan(got) || isnan(near)) {
        return isnan(got) && isnan(near) ? 0 : HUGE_VAL;
    }
    if (got == near) {
        return signbit(got) != signbit(near) ? HUGE_VAL : 0;
    }
    if (isinf(got) || isinf(near)) {
        return HUGE_VAL;
    }
    (void)frexpl(right, &e);
    return (double)(fabsl(got - right) / ldexpl(1, e - 53 < -1074 ? -1074 : e - 53));
}

/* ---- tests ---- */

/* A program that gives f(x, y) of all of them, each as the bytes of a double. */
static char *program(const char *source, const double *xy)
{
    static const char head[] = "local b = require('hash').unhex('",
                      tail[] = "') local f = function(x, y) return %s end local out = {} "
                               "for at = 1, #b, 16 do local x, y = string.unpack('=dd', b, at) "
                               "out[#out + 1] = string.pack('=d', f(x, y)) end "
                               "return table.concat(out)";
    const unsigned char *bytes = (const unsigned char *)xy;
    size_t n = 2 * VALUES * sizeof *xy, room = sizeof head + 2 * n + sizeof tail + strlen(source);
    char *text = malloc(room);
    size_t at = sizeof head - 1;

    ck_assert_ptr_nonnull(text);
    memcpy(text, head, at);
    for (size_t i = 0; i < n; i++, at += 2) {
        snprintf(text + at, 3, "%02x", bytes[i]);
    }
    snprintf(text + at, room - at, tail, source);
    return text;
}

START_TEST(functions_agree)
{
    const struct function *f = &functions[_i / KINDS];
    static double xy[2 * VALUES], results[VALUES];
    struct answer a = {.results = results};
    char *source;

    if (harness_valgrind()) {
        return; /* it has no more digits than a double */
    }
    choose(f, (enum kind)(_i % KINDS), xy);
    source = program(f->source, xy);
    execute(&a, source);
    free(source);
    for (int i = 0; i < VALUES; i++) {
        double x = xy[2 * i], y = xy[2 * i + 1];
        long double right = f->of_x != NULL ? f->of_x(x) : f->of_both(x, y);
        double by = off(results[i], right);
        ck_assert_msg(by <= f->ulps, "%s of %a, %a is %a, not %La: %g units", f->source, x, y,
                      results[i], right, by);
    }
}
END_TEST

START_TEST(powers_of_integers_are_exact)
{
    struct answer a = {0};

    execute(&a, "for b = -60, 60 do local p = 1 for e = 0, 60 do "
                "if math.abs(p) > 2^53 then break end "
                "assert((b + 0.0) ^ e == p, b .. '^' .. e) p = p * b end end "
                "for e = -1074, 1023 do assert(2^e == tonumber(('0x1p%d'):format(e)), e) end "
                "for e = 0, 22 do assert(10^e == tonumber('1e' .. e)) end "
                "for n = 1, 94906265, 9973 do assert((n + 0.0)^2 == n * n, n) end "
                "return 'exact'");
    ck_assert_str_eq(a.text, "exact");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("math");
    TCase *c = tcase_create("math");

    tcase_set_timeout(c, 30);
    tcase_add_loop_test(c, functions_agree, 0, KINDS * (int)(sizeof functions / sizeof *functions));
    tcase_add_test(c, powers_of_integers_are_exact);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
