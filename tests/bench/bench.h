/* What the measuring programs share.  Everything is static: each program is one file. */
#ifndef GRAPNEL_TESTS_BENCH_H
#define GRAPNEL_TESTS_BENCH_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline uint64_t bench_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static inline uint64_t bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Says why nothing can be measured, and ends the program. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void bench_die(const char *format,
                                                                             ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

/* A setting that tests/bench/bench.sh hands over in the environment. */
static inline const char *bench_setting(const char *name)
{
    const char *value = getenv(name);

    if (!value || !*value)
        bench_die("%s is not set: this runs from tests/bench/bench.sh", name);
    return value;
}

static inline long bench_number(const char *text, long least)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*end || end == text || n < least)
        bench_die("\"%s\" is not a number of at least %ld", text, least);
    return n;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The part-th quantile (0..1) of n values, which get sorted by it. */
static inline double bench_quantile(double *values, size_t n, double part)
{
    qsort(values, n, sizeof *values, bench_compare);
    return values[(size_t)((double)(n - 1) * part + 0.5)];
}

/* Bytes of a field ("Rss", "Pss", "Private_Dirty", …) of a process, 0: gone. */
static inline uint64_t bench_memory(long pid, const char *field)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    size_t n = strlen(field);
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pid);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, field, n) == 0 && line[n] == ':') {
            kib = strtoull(line + n + 1, NULL, 10);
            break;
        }
    }
    if (f)
        fclose(f);
    return (uint64_t)kib * 1024;
}

static inline long bench_parent(long pid)
{
    char path[64], text[512];
    const char *at;
    size_t n;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    f = fopen(path, "re");
    n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    at = strrchr(text, ')'); /* the name may hold anything */
    return at && strlen(at) > 4 ? strtol(at + 4, NULL, 10) : 0;
}

#endif
