#include "launcher/broker/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_NAME "broker"
#define LOCK_NAME   "lock"
#define LOG_NAME    "log"
#define LOG_MAX     (256 * 1024)
#define BACKLOG     1024 /* a fleet comes all at once */
#define RETRY_MS    5 /* of a lock that another has: there is no way to wait for it with a limit */

struct place {
    int folder; /* what the paths below are relative to: checked once, it cannot be replaced */
    char *folder_path, *socket_path;
    dev_t device; /* of our own socket; inode 0: there is none */
    ino_t inode;
};

/* ---- the folder ---- */

/* Others must not be able to put another folder in place of one that lies here. */
static int check_parent(const char *path, struct error *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errors_set_system(e, -E_IO, errno, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return errors_set(e, -E_UNSAFE, "%s is not a folder", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return errors_set(e, -E_UNSAFE, "%s belongs to another user (uid %u)", path,
                          (unsigned)st.st_uid);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX))
        return errors_set(e, -E_UNSAFE, "%s may be changed by others (mode %04o)", path,
                          (unsigned)st.st_mode & 07777);
    return 0;
}

static int check_folder(const char *path, int fd, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return errors_set_system(e, -E_IO, errno, "%s", path);
    if (st.st_uid != geteuid())
        return errors_set(e, -E_UNSAFE, "%s belongs to another user (uid %u)", path,
                          (unsigned)st.st_uid);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return errors_set(e, -E_UNSAFE, "%s is open to others (mode %04o): it must be 0700", path,
                          (unsigned)st.st_mode & 07777);
    return 0;
}

/* 1, 0 (it is not there), or negative. */
static int open_folder(struct place *p, const char *parent, int make, struct error *e)
{
    const char *path = p->folder_path;
    int rc;

    if (make && (rc = check_parent(parent, e)) < 0)
        return rc;
    if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
        return errors_set_system(e, -E_IO, errno, "%s", path);
    p->folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (p->folder < 0 && errno == ENOENT)
        return 0;
    if (p->folder < 0 && (errno == ENOTDIR || errno == ELOOP))
        return errors_set(e, -E_UNSAFE, "%s is not a folder", path);
    if (p->folder < 0 && errno == EACCES)
        return errors_set(e, -E_UNSAFE, "%s belongs to another user", path);
    if (p->folder < 0)
        return errors_set_system(e, -E_IO, errno, "%s", path);
    rc = make ? 0 : check_parent(parent, e);
    if (rc == 0)
        rc = check_folder(path, p->folder, e);
    return rc < 0 ? rc : 1;
}

/* Of somebody else's session (su keeps the variable) it is no use to us, whoever left it. */
static int runtime_is_ours(const char *path)
{
    struct stat st;

    return path && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid();
}

static int make_paths(struct place *p, const char *parent, const char *runtime)
{
    int rc = runtime ? asprintf(&p->folder_path, "%s/grapnel", parent)
                     : asprintf(&p->folder_path, "%s/grapnel-%u", parent, (unsigned)geteuid());

    if (rc < 0)
        p->folder_path = NULL;
    if (rc >= 0 && (rc = asprintf(&p->socket_path, "%s/" SOCKET_NAME, p->folder_path)) < 0)
        p->socket_path = NULL;
    return rc < 0 ? -E_NOMEM : 0;
}

int place_find(const struct place_bases *bases, int make, struct place **p, struct error *e)
{
    const char *runtime = bases && bases->runtime ? bases->runtime : getenv("XDG_RUNTIME_DIR");
    const char *parent = bases && bases->temporary ? bases->temporary : "/tmp";
    struct place *found = calloc(1, sizeof *found);
    int rc;

    *p = NULL;
    if (!runtime_is_ours(runtime))
        runtime = NULL;
    if (runtime)
        parent = runtime;
    if (found)
        found->folder = -1;
    if (!found || make_paths(found, parent, runtime) < 0)
        rc = errors_set(e, -E_NOMEM, "the broker's folder");
    else
        rc = open_folder(found, parent, make, e);
    if (rc <= 0)
        place_free(found);
    else
        *p = found;
    return rc;
}

void place_free(struct place *p)
{
    if (!p)
        return;
    if (p->folder >= 0)
        close(p->folder);
    free(p->folder_path);
    free(p->socket_path);
    free(p);
}

const char *place_socket(const struct place *p)
{
    return p->socket_path;
}

/* ---- the socket ---- */

/* An address has room for some hundred bytes only; what is longer is reached through our open
 * folder. */
static int address_of(const struct place *p, const char *name, struct sockaddr_un *a,
                      struct error *e)
{
    char near[sizeof a->sun_path];
    int n = snprintf(near, sizeof near, "%s/%s", p->folder_path, name);

    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (n >= (int)sizeof near)
        n = snprintf(near, sizeof near, "/proc/self/fd/%d/%s", p->folder, name);
    if (n >= (int)sizeof near)
        return errors_set(e, -E_IO, "%s: the path is too long", p->socket_path);
    memcpy(a->sun_path, near, (size_t)n + 1);
    return 0;
}

int place_check_peer(int fd, pid_t *pid, struct error *e)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 || n != sizeof peer)
        return errors_set_system(e, -E_UNSAFE, errno, "who is at the other end is not known");
    if (peer.uid != geteuid())
        return errors_set(e, -E_UNSAFE, "the other end is another user's (uid %u, process %d)",
                          (unsigned)peer.uid, (int)peer.pid);
    if (pid)
        *pid = peer.pid;
    return 0;
}

/* 1: a socket of ours is there; 0: nothing is; or negative. */
static int check_socket(const struct place *p, struct error *e)
{
    struct stat st;

    if (fstatat(p->folder, SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : errors_set_system(e, -E_IO, errno, "%s", p->socket_path);
    if (!S_ISSOCK(st.st_mode))
        return errors_set(e, -E_UNSAFE, "%s is not a socket", p->socket_path);
    if (st.st_uid != geteuid())
        return errors_set(e, -E_UNSAFE, "%s belongs to another user (uid %u)", p->socket_path,
                          (unsigned)st.st_uid);
    return 1;
}

int place_connect(struct place *p, int *fd, struct error *e)
{
    struct sockaddr_un a;
    int s, rc = check_socket(p, e);

    *fd = -1;
    if (rc <= 0)
        return rc;
    if ((rc = address_of(p, SOCKET_NAME, &a, e)) < 0)
        return rc;
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return errors_set_system(e, -E_DESCRIPTORS, errno, "socket");
    if (connect(s, (struct sockaddr *)&a, sizeof a) < 0)
        rc = errno == ECONNREFUSED || errno == ENOENT
                 ? 0
                 : errors_set_system(e, -E_SYSTEM, errno, "%s", p->socket_path);
    else
        rc = place_check_peer(s, NULL, e) < 0 ? e->code : 1;
    if (rc <= 0)
        close(s);
    else
        *fd = s;
    return rc;
}

static void nap(void)
{
    const struct timespec t = {.tv_nsec = RETRY_MS * 1000000L};

    nanosleep(&t, NULL);
}

int place_lock(struct place *p, int64_t timeout_ms, struct error *e)
{
    int fd = openat(p->folder, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errors_set_system(e, -E_IO, errno, "%s/" LOCK_NAME, p->folder_path);
    for (int64_t left = timeout_ms; flock(fd, LOCK_EX | LOCK_NB) < 0; left -= RETRY_MS) {
        int number = errno;
        if (number != EWOULDBLOCK && number != EINTR) {
            close(fd);
            return errors_set_system(e, -E_IO, number, "%s/" LOCK_NAME, p->folder_path);
        }
        if (left <= 0) {
            close(fd);
            return errors_set(e, -E_TIMEOUT, "another has held %s/" LOCK_NAME " all the time",
                              p->folder_path);
        }
        nap();
    }
    return fd;
}

/* It gets its name when it listens: who finds it can connect. */
int place_listen(struct place *p, struct error *e)
{
    static const char fresh[] = SOCKET_NAME ".new";
    struct sockaddr_un a;
    struct stat st;
    mode_t mask;
    int s, rc = check_socket(p, e);

    if (rc < 0 || (rc = address_of(p, fresh, &a, e)) < 0)
        return rc;
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return errors_set_system(e, -E_DESCRIPTORS, errno, "socket");
    unlinkat(p->folder, fresh, 0);
    mask = umask(0177);
    rc = bind(s, (struct sockaddr *)&a, sizeof a);
    umask(mask);
    if (rc < 0 || listen(s, BACKLOG) < 0 ||
        renameat(p->folder, fresh, p->folder, SOCKET_NAME) < 0 ||
        fstatat(p->folder, SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        rc = errors_set_system(e, -E_IO, errno, "%s", p->socket_path);
        unlinkat(p->folder, fresh, 0);
        close(s);
        return rc;
    }
    p->device = st.st_dev;
    p->inode = st.st_ino;
    return s;
}

int place_is_mine(const struct place *p)
{
    struct stat st;

    return p->inode && fstatat(p->folder, SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_dev == p->device && st.st_ino == p->inode;
}

void place_unlisten(struct place *p)
{
    if (place_is_mine(p))
        unlinkat(p->folder, SOCKET_NAME, 0);
    p->inode = 0;
}

int place_open_log(struct place *p)
{
    struct stat st;
    int fd;

    if (fstatat(p->folder, LOG_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > LOG_MAX)
        renameat(p->folder, LOG_NAME, p->folder, LOG_NAME ".old");
    /* A FIFO in its place must not hold up who opens it, nor the broker later. */
    fd = openat(p->folder, LOG_NAME,
                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}
