/* What Lua wants of the mathematics library, by the processor's own instructions where it has them
 * in more digits than a double: the C library has them too, as functions of long double, and its
 * functions of double are twenty times as large for their tables.  These stand in their place, to
 * 0.53 units of the last digit, and 0.73 for powers.  Elsewhere this file is empty. */
#include <math.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__linux__) && !defined(__GLIBC__)

double exp(double x)
{
    return (double)expl(x);
}

/* The hyperbolic ones, of |x| and then signed. */

double sinh(double x)
{
    long double t = expm1l(fabs(x));

    return copysign(isinf(t) ? HUGE_VAL : (double)((t + t / (t + 1)) / 2), x);
}

double cosh(double x)
{
    long double t = expl(fabs(x));

    return (double)((t + 1 / t) / 2);
}

double tanh(double x)
{
    long double t = expm1l(2 * fabsl(x));

    return copysign(isinf(t) ? 1 : (double)(t / (t + 2)), x);
}

double log(double x)
{
    return (double)logl(x);
}

double log2(double x)
{
    return (double)log2l(x);
}

double log10(double x)
{
    return (double)log10l(x);
}

double asin(double x)
{
    return (double)asinl(x);
}

double acos(double x)
{
    return (double)acosl(x);
}

double atan(double x)
{
    return (double)atanl(x);
}

double atan2(double y, double x)
{
    return (double)atan2l(y, x);
}

double fmod(double x, double y)
{
    return (double)fmodl(x, y);
}

/* x^y for 0 < x < infinity, x not 1, y finite and not 0.  With x = m 2^e, the exponent's whole part
 * y e is exact, so that what is lost of y log2(m) is all that is lost. */
static long double power(double x, double y)
{
    int e;
    long double m = frexp(x, &e), whole, part, whole_int, part_int;

    if (m < 0.70710678118654752440L) {
        m *= 2;
        e--;
    }
    whole = (long double)y * e;
    part = y * log2l(m);
    if (fabsl(whole + part) > 1200) {
        return exp2l(whole + part);
    }
    whole_int = rintl(whole);
    part_int = rintl(part);
    return scalbnl(exp2l((whole - whole_int) + (part - part_int)), (int)(whole_int + part_int));
}

/* 0: y is no integer; 1: odd; 2: even. */
static int parity(double y)
{
    return y != trunc(y) ? 0 : fmod(y, 2) != 0 ? 1 : 2;
}

static double power_of_limit(double x, double y)
{
    /* 0 or infinity to something: one of both. */
    int large = (x != 0) == (y > 0);
    double result = large ? HUGE_VAL : 0;

    return signbit(x) && parity(y) == 1 ? -result : result;
}

double pow(double x, double y)
{
    if (y == 0 || x == 1) {
        return 1;
    }
    if (isnan(x) || isnan(y)) {
        return x + y;
    }
    if (isinf(y)) {
        double size = fabs(x);
        return size == 1 ? 1 : (size > 1) == (y > 0) ? HUGE_VAL : 0;
    }
    if (x == 0 || isinf(x)) {
        return power_of_limit(x, y);
    }
    if (x < 0) {
        int kind = parity(y);
        return kind == 0 ? NAN : kind == 1 ? (double)-power(-x, y) : (double)power(-x, y);
    }
    return (double)power(x, y);
}

/* ---- sines ---- */

/* The bits of 2 / pi, behind 64 that are 0: as many as the largest double needs. */
static const uint64_t two_by_pi[] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
    0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e,
    0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b,
    0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab};

/* For |x| >= 1/2, finite: x = (n + *part) pi / 2, with |*part| <= 1/2; returns n modulo 4. */
static unsigned reduce(double x, long double *part)
{
    int e;
    uint64_t m = (uint64_t)ldexp(frexp(x, &e), 53);
    /* x is m 2^(e - 53).  Bits of 2 / pi above the window make multiples of 4 of that, and those
     * below make 2^-137; the product is in units of 2^-190, of which 2^-126 is enough: no part is
     * below 2^-62. */
    unsigned from = (unsigned)(e - 53 - 2 + 64);
    uint64_t window[3], top, n;
    unsigned __int128 low, mid;

    for (unsigned i = 0; i < 3; i++) {
        const uint64_t *at = &two_by_pi[from / 64 + i];
        window[i] = from % 64 == 0 ? at[0] : at[0] << from % 64 | at[1] >> (64 - from % 64);
    }
    low = (unsigned __int128)m * window[2];
    mid = (unsigned __int128)m * window[1] + (uint64_t)(low >> 64);
    top = m * window[0] + (uint64_t)(mid >> 64);
    n = (top + (1ull << 61)) >> 62;
    *part = ((long double)(int64_t)(top - (n << 62)) + (uint64_t)mid * 0x1p-64L) * 0x1p-62L;
    return (unsigned)n;
}

/* Sine and cosine of |x| less n quarter turns; returns n. */
static unsigned turn(double x, long double *sine, long double *cosine)
{
    long double rest = fabs(x);
    unsigned n = 0;

    if (!isfinite(x)) {
        *sine = *cosine = NAN;
        return 0;
    }
    if (rest > 0.75) {
        n = reduce((double)rest, &rest);
        rest *= 1.57079632679489661923132L;
    }
    __asm__("fsincos" : "=t"(*cosine), "=u"(*sine) : "0"(rest));
    return n;
}

/* The sine of the angle that turn() split, n quarter turns on. */
static double sine_of(unsigned n, long double sine, long double cosine)
{
    long double size = (n & 1) != 0 ? cosine : sine;

    return (double)((n & 2) != 0 ? -size : size);
}

double sin(double x)
{
    long double s, c;
    unsigned n = turn(x, &s, &c);

    return signbit(x) ? -sine_of(n, s, c) : sine_of(n, s, c);
}

double cos(double x)
{
    long double s, c;
    unsigned n = turn(x, &s, &c);

    return sine_of(n + 1, s, c);
}

double tan(double x)
{
    long double s, c, size;
    unsigned n = turn(x, &s, &c);

    size = (n & 1) != 0 ? -c / s : s / c;
    return (double)(signbit(x) ? -size : size);
}

#else

typedef int libm_is_empty;

#endif
