/* What the tests of the SSH client modules share: a folder of their own, files, commands. */
#ifndef TESTS_UNIT_SSHTOOLS_H
#define TESTS_UNIT_SSHTOOLS_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* One folder a test: made by its set-up, removed by its tear-down (call sshtools_leave). */
static char sshtools_folder[64];

static inline void sshtools_enter(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(sshtools_folder, sizeof sshtools_folder, "%.40s/grapnel-unit.XXXXXX",
                   base == NULL ? "/tmp" : base);
    ck_assert_ptr_nonnull(mkdtemp(sshtools_folder));
}

/* A path in the folder; valid until the eighth call after it. */
__attribute__((format(printf, 1, 2))) static inline const char *sshtools_path(const char *format,
                                                                              ...)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8], name[128];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(name, sizeof name, format, list);
    va_end(list);
    (void)snprintf(path, 256, "%s/%s", sshtools_folder, name);
    return path;
}

static inline void sshtools_write_n(const char *path, const void *text, size_t n, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    ck_assert_msg(fd >= 0, "%s", path);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
    ck_assert_int_eq(close(fd), 0);
}

static inline void sshtools_write(const char *path, const char *text)
{
    sshtools_write_n(path, text, strlen(text), 0600);
}

/* The whole file (terminated, the caller frees it). */
static inline char *sshtools_read(const char *path, size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s", path);
    ck_assert_int_eq(fstat(fd, &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(read(fd, text, (size_t)st.st_size), st.st_size);
    text[st.st_size] = '\0';
    if (n != NULL)
        *n = (size_t)st.st_size;
    close(fd);
    return text;
}

/* Runs a shell line in the folder; its exit status.  Its first `size` bytes of output, if wanted.*/
static inline int sshtools_run(char *out, size_t size, const char *line)
{
    char whole[4096];
    (void)snprintf(whole, sizeof whole, "cd '%s' && %s", sshtools_folder, line);
    FILE *f = popen(whole, "re");
    ck_assert_ptr_nonnull(f);
    size_t n = out == NULL ? 0 : fread(out, 1, size - 1, f);
    if (out != NULL)
        out[n] = '\0';
    char waste[4096];
    while (fread(waste, 1, sizeof waste, f) > 0)
        continue;
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* True when a program is installed. */
static inline int sshtools_have(const char *program)
{
    char line[128];
    (void)snprintf(line, sizeof line, "command -v %s >/dev/null 2>&1", program);
    int status = system(line);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static inline size_t sshtools_open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        closedir(d);
    return n;
}

static inline void sshtools_leave(void)
{
    char line[128];
    (void)snprintf(line, sizeof line, "rm -rf -- '%s'", sshtools_folder);
    ck_assert_int_eq(system(line), 0);
}

#endif
