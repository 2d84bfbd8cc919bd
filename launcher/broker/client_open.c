/* Finds the broker, and starts one where there is none. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/broker/client_impl.h"
#include "launcher/broker/place.h"

#define LOCK_MS  20000 /* for others who start one */
#define TRIES    5     /* brokers that leave while we come */
#define KEPT     3     /* the lock's number in the broker; above it nothing is open there */
#define TEXT_MAX 900

/* ---- starting ---- */

/* In the child, after fork: only async-signal-safe calls. */
static void become(const char *const *argv, const int fds[4])
{
    int moved[4];
    sigset_t none;

    for (int i = 0; i < 4; i++) {
        if ((moved[i] = fcntl(fds[i], F_DUPFD, 10)) < 0)
            _exit(127);
    }
    for (int i = 0; i < 4; i++) {
        if (dup2(moved[i], i) < 0)
            _exit(127);
    }
    syscall(SYS_close_range, KEPT + 1, ~0U, 0);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() < 0 || chdir("/") < 0)
        _exit(127);
    switch (fork()) { /* nobody's child, and no session's leader */
    case 0:
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    case -1:
        _exit(127);
    default:
        _exit(0);
    }
}

/* What it says before it listens: "ready", or why it does not. */
static int read_word(int fd, struct error *e)
{
    char text[TEXT_MAX];
    size_t n = 0;
    ssize_t k;

    do {
        k = read(fd, text + n, sizeof text - 1 - n);
        n += k > 0 ? (size_t)k : 0;
    } while ((k > 0 && n < sizeof text - 1 && !memchr(text, '\n', n)) || (k < 0 && errno == EINTR));
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!strcmp(text, "ready"))
        return 0;
    return errors_set(e, -E_BROKER, "it does not start%s%s", *text ? ": " : "", text);
}

/* Waits until it listens, or has given up. */
static int start(struct place *place, const char *const *argv, int lock, struct error *e)
{
    int word[2] = {-1, -1}, null = open("/dev/null", O_RDWR | O_CLOEXEC), rc, status;
    int log = place_open_log(place);
    pid_t child = -1;

    if (null < 0 || pipe2(word, O_CLOEXEC) < 0) {
        rc = errors_set_system(e, -E_DESCRIPTORS, errno, "the broker");
    } else {
        const int fds[] = {null, word[1], log >= 0 ? log : null,
                           lock}; /* a full disk is no reason */
        child = fork();
        if (child == 0)
            become(argv, fds);
        rc = child < 0 ? errors_set_system(e, -E_SYSTEM, errno, "fork") : 0;
    }
    if (word[1] >= 0)
        close(word[1]);
    if (child > 0) {
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        rc = read_word(word[0], e);
    }
    if (word[0] >= 0)
        close(word[0]);
    if (null >= 0)
        close(null);
    if (log >= 0)
        close(log);
    return rc;
}

/* ---- finding ---- */

/* 1 with *b; 0: there is none, or it is about to leave; or negative. */
static int meet(struct grapnel *g, struct place *place, int replace, struct grapnel_broker **b,
                struct error *e)
{
    struct client_question q = {0};
    int fd, rc = place_connect(place, &fd, e);

    *b = NULL;
    if (rc <= 0)
        return rc;
    *b = client_new(g, fd);
    if (!*b)
        return errors_set(e, -E_NOMEM, "the broker");
    rc = client_greet(*b, place_socket(place), e);
    if (rc == 1 && ((*b)->leaving || ((*b)->stale && replace))) {
        /* One of another build has agents of that build: it goes, and what it holds with it, when
         * nobody uses it any more. */
        context_trace(g, 0, NULL, "the broker of another build (process %d) leaves",
                      (int)(*b)->pid);
        q.b = *b;
        client_ask(&q, "leave", values_map());
        client_await(&q, 1, 10000);
        free(q.json);
        rc = 0;
    }
    if (rc <= 0) {
        client_free(*b);
        *b = NULL;
    }
    return rc;
}

static int meet_or_start(struct grapnel *g, struct place *place, const char *const *argv,
                         struct grapnel_broker **b, struct error *e)
{
    int lock, rc = 0;

    for (int i = 0; i < TRIES && rc == 0; i++) {
        rc = meet(g, place, argv != NULL, b, e);
        if (rc != 0 || !argv)
            break;
        lock = place_lock(place, LOCK_MS, e);
        if (lock < 0)
            return lock;
        rc = meet(g, place, 1, b, e); /* somebody may have been faster */
        if (rc == 0)
            rc = start(place, argv, lock, e);
        close(lock);
    }
    if (rc < 0)
        return rc;
    return *b ? 0 : errors_set(e, argv ? -E_BROKER : -E_NOT_HELD, "there is no broker");
}

struct grapnel_broker *grapnel_broker_open(struct grapnel *g, const char *const *start_argv,
                                           struct grapnel_error *error)
{
    struct grapnel_broker *b = NULL;
    struct place *place;
    struct error e = {0};
    int rc;

    context_lock(g);
    rc = place_find(NULL, start_argv != NULL, &place, &e);
    if (rc == 1)
        meet_or_start(g, place, start_argv, &b, &e);
    else if (rc == 0)
        errors_set(&e, -E_NOT_HELD, "there is no broker");
    place_free(place);
    context_unlock(g);
    if (!b)
        context_error(error, "", &e);
    return b;
}
