#include "agent/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/tree.h"
#include "proto/errors.h"

/* Values of the kernel's interface that a libc may not know yet. */
#ifndef PR_SET_CHILD_SUBREAPER
#define PR_SET_CHILD_SUBREAPER 36
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS   1033
#define F_SEAL_SEAL   0x0001
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW   0x0004
#define F_SEAL_WRITE  0x0008
#endif
#ifndef F_SETPIPE_SZ
#define F_SETPIPE_SZ 1031
#define F_GETPIPE_SZ 1032
#endif
#define BLOB_CLOEXEC   0x1u
#define BLOB_SEALING   0x2u
#define BLOB_EXEC      0x10u
#define RUN_EMPTY_PATH 0x1000 /* of execveat */
/* These have the same number on every architecture but alpha. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

int linux_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL) == 0 ? 0 : -E_UNSUPPORTED;
}

int linux_parent_death(int signal)
{
    return prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0UL, 0UL, 0UL) == 0 ? 0 : -E_UNSUPPORTED;
}

static void close_listed(DIR *d, int first)
{
    struct dirent *entry;

    while ((entry = readdir(d)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10); /* 0 for "." and ".." */
        if (fd >= first && fd != dirfd(d)) {
            close(fd);
        }
    }
}

void linux_close_from(int first)
{
    struct rlimit limit;
    DIR *d;

    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0) {
        return;
    }
    d = opendir("/proc/self/fd");
    if (d != NULL) {
        close_listed(d, first);
        closedir(d);
        return;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 65536) {
        limit.rlim_cur = 65536;
    }
    for (int fd = first; fd < (int)limit.rlim_cur; fd++) {
        close(fd);
    }
}

static int blob_in(const char *directory)
{
    char path[512];
    int fd;
    int n = snprintf(path, sizeof path, "%s/.grapnel-XXXXXX", directory);

    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -E_SYSTEM;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return -E_SYSTEM;
    }
    unlink(path);
    return fd;
}

int linux_blob(const char *name)
{
    const char *directories[] = {getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm", getenv("HOME")};
    int fd = -E_SYSTEM;

#ifdef SYS_memfd_create
    /* Newer kernels may be set to refuse a file in memory that does not say that it will be run,
     * older ones do not know the word. */
    fd = (int)syscall(SYS_memfd_create, name, BLOB_CLOEXEC | BLOB_SEALING | BLOB_EXEC);
    if (fd < 0 && errno == EINVAL) {
        fd = (int)syscall(SYS_memfd_create, name, BLOB_CLOEXEC | BLOB_SEALING);
    }
    if (fd >= 0) {
        return fd;
    }
#endif
    for (size_t i = 0; i < sizeof directories / sizeof directories[0] && fd < 0; i++) {
        if (directories[i] != NULL && directories[i][0] == '/') {
            fd = blob_in(directories[i]);
        }
    }
    return fd < 0 ? -E_SYSTEM : fd;
}

int linux_seal(int *fd)
{
    char path[64];
    int again;

    if (fchmod(*fd, 0500) != 0) {
        return -E_SYSTEM;
    }
    if (fcntl(*fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0) {
        return 0;
    }
    /* A file proper cannot be run while anybody has it open for writing. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", *fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    if (again < 0) {
        return -E_SYSTEM;
    }
    close(*fd);
    *fd = again;
    return 0;
}

/* Writes /proc/self/fd/N, without stdio: the caller may share its memory with its parent. */
static void own_path_of(int fd, char path[32])
{
    static const char folder[] = "/proc/self/fd/";
    char digits[12];
    size_t n = 0;

    memcpy(path, folder, sizeof folder - 1);
    path += sizeof folder - 1;
    do {
        digits[n++] = (char)('0' + fd % 10);
        fd /= 10;
    } while (fd > 0);
    while (n > 0) {
        *path++ = digits[--n];
    }
    *path = '\0';
}

void linux_run_file(int fd, char *const *argv, char *const *envp)
{
    char path[32];

#ifdef SYS_execveat
    (void)syscall(SYS_execveat, fd, "", argv, envp, RUN_EMPTY_PATH);
    if (errno != ENOSYS) {
        return;
    }
#endif
    own_path_of(fd, path);
    (void)execve(path, argv, envp);
}

void linux_default_signals(void)
{
    static const uint64_t standard[8]; /* the kernel's struct sigaction, all zero: SIG_DFL */
    const long mask_bytes = 8;

    for (int i = 1; i <= 64; i++) {
        (void)syscall(SYS_rt_sigaction, i, standard, NULL, mask_bytes);
    }
}

void linux_pipe_size(int fd, int bytes)
{
    if (fcntl(fd, F_GETPIPE_SZ) < bytes) {
        (void)fcntl(fd, F_SETPIPE_SZ, bytes);
    }
}

/* A number alone may belong to another process by the time that the signal is sent: so the process
 * is held by a descriptor first, then looked at, then signalled through the descriptor. */
int linux_signal(pid_t pid, uint64_t started, int number)
{
    struct tree_process p;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0u);
    int result = 0;

    if (fd < 0 && errno == ESRCH) {
        return 0;
    }
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (tree_look(pid, &p) != 0 || p.started != started) {
        goto out;
    }
    if (fd >= 0) {
        result = (int)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0u);
    } else {
        result = kill(pid, number);
    }
out:
    if (result != 0) {
        result = errno == EPERM ? -E_SYSTEM : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

uint64_t linux_resident(pid_t pid)
{
    char path[64];
    char text[128];
    char *at;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';
    at = strchr(text, ' '); /* the first number is the address space, the second what is resident */
    return at == NULL ? 0 : (uint64_t)strtoull(at, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

int linux_own_path(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);

    if (n < 0) {
        return -E_SYSTEM;
    }
    path[n] = '\0';
    return 0;
}

int linux_own_file(void)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -E_SYSTEM : fd;
}
