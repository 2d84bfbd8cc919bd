/* What the worker uses of the C library and needs less of than musl has: these stand in the place
 * of musl's, which bring along threads for timers and limits, locales, a shell and searches for
 * texts of any size.  With another library this file is empty. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && !defined(__GLIBC__)

/* ---- the kernel's own ---- */

/* But for SIGEV_THREAD, which nobody here asks for, the kernel's structure is the library's. */
int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer)
{
    int number;

    if (event != NULL && event->sigev_notify == SIGEV_THREAD) {
        errno = ENOTSUP;
        return -1;
    }
    if (syscall(SYS_timer_create, clock, event, &number) != 0) {
        return -1;
    }
    *timer = (timer_t)(intptr_t)number;
    return 0;
}

/* Limits are the process's on all kernels that the agent starts on; musl knows of older ones. */
#ifdef __LP64__
int setrlimit(int which, const struct rlimit *limit)
{
    return (int)syscall(SYS_setrlimit, which, limit);
}
#endif

/* What is asked for here; musl answers a hundred and more. */
long sysconf(int name)
{
    unsigned char may[4096];
    long n, count = 0;

    switch (name) {
    case _SC_PAGESIZE:
        return (long)getauxval(AT_PAGESZ);
    case _SC_CLK_TCK:
        return (long)getauxval(AT_CLKTCK);
    case _SC_NPROCESSORS_CONF:
    case _SC_NPROCESSORS_ONLN:
        n = syscall(SYS_sched_getaffinity, 0, sizeof may, may);
        for (long i = 0; i < 8 * n; i++) {
            count += may[i / 8] >> i % 8 & 1;
        }
        return count > 0 ? count : 1;
    default:
        errno = EINVAL;
        return -1;
    }
}

/* ---- no shell: os.execute and io.popen are the worker's own (waiting.lua) ---- */

int system(const char *line)
{
    if (line == NULL) {
        return 0;
    }
    errno = ENOSYS;
    return -1;
}

FILE *popen(const char *line, const char *mode)
{
    (void)line;
    (void)mode;
    errno = ENOSYS;
    return NULL;
}

/* ---- one locale, in which a character is a byte ---- */

char *setlocale(int category, const char *name)
{
    static char c[] = "C";

    (void)category;
    return name == NULL || *name == 0 || strcmp(name, c) == 0 || strcmp(name, "POSIX") == 0 ? c
                                                                                            : NULL;
}

size_t mbstowcs(wchar_t *restrict to, const char *restrict from, size_t n)
{
    size_t at = 0;

    for (; to == NULL || at < n; at++) {
        if (to != NULL) {
            to[at] = (unsigned char)from[at];
        }
        if (from[at] == 0) {
            break;
        }
    }
    return at;
}

int wctomb(char *to, wchar_t c)
{
    if (to == NULL) {
        return 0;
    }
    if ((unsigned)c > 0xff) {
        errno = EILSEQ;
        return -1;
    }
    *to = (char)c;
    return 1;
}

/* ---- small instead of fast with very much ---- */

char *strstr(const char *in, const char *what)
{
    size_t n = strlen(what);

    while (strncmp(in, what, n) != 0) {
        if (*in++ == 0) {
            return NULL;
        }
    }
    return (char *)(uintptr_t)in;
}

void *memmem(const void *in, size_t n, const void *what, size_t size)
{
    const char *at = in;

    for (; size <= n; at++, n--) {
        if (memcmp(at, what, size) == 0) {
            return (char *)(uintptr_t)at;
        }
    }
    return NULL;
}

static void swap(char *a, char *b, size_t size)
{
    while (size-- > 0) {
        char c = *a;
        *a++ = *b;
        *b++ = c;
    }
}

/* The element at `at` goes down to its place in the heap below it. */
static void sift(char *base, size_t at, size_t n, size_t size,
                 int (*compare)(const void *, const void *))
{
    size_t child;

    while ((child = 2 * at + 1) < n) {
        char *larger = base + child * size;
        if (child + 1 < n && compare(larger, larger + size) < 0) {
            larger += size;
            child++;
        }
        if (compare(base + at * size, larger) >= 0) {
            return;
        }
        swap(base + at * size, larger, size);
        at = child;
    }
}

/* Heapsort. */
void qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    for (size_t i = n / 2; i-- > 0;) {
        sift(base, i, n, size, compare);
    }
    while (n > 1) {
        n--;
        swap(base, (char *)base + n * size, size);
        sift(base, 0, n, size, compare);
    }
}

#else

typedef int libc_is_empty;

#endif
