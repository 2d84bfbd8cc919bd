#include "launcher/ssh/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "launcher/safetext.h"
#include "launcher/ssh/ask_impl.h"
#include "launcher/ssh/asker.h"

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int ask_wait(const struct ask *a, int fd)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = a->options->cancel_fd, .events = POLLIN},
                                {.fd = fd, .events = POLLIN}};
        long long left = a->deadline == 0 ? -1 : a->deadline - now_ms();
        if (a->deadline != 0 && left <= 0)
            return -E_TIMEOUT;
        int n = poll(fds, 2, (int)left);
        if (n < 0 && errno != EINTR)
            return -E_SYSTEM;
        if (n > 0 && fds[0].revents != 0)
            return -E_CANCELLED;
        if (n > 0 && fds[1].revents != 0)
            return 0;
    }
}

int ask_put(struct ask *a, char c)
{
    if (a->n + 1 >= ASK_SECRET_MAX)
        return -E_LIMIT;
    a->secret[a->n++] = c;
    a->secret[a->n] = '\0';
    return 0;
}

int ask_line(struct ask *a, int fd)
{
    int rc = 0;
    char c = '\0';
    /* Byte by byte: nothing behind the line is read, and no copy is left in a buffer. */
    while (rc == 0) {
        rc = ask_wait(a, fd);
        if (rc != 0)
            break;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            rc = -E_SYSTEM;
        else if (n == 0 || c == '\n')
            break;
        else
            rc = ask_put(a, c);
    }
    sodium_memzero(&c, 1);
    if (rc == 0 && a->n > 0 && a->secret[a->n - 1] == '\r')
        a->secret[--a->n] = '\0';
    return rc;
}

/* Opens the password file if nobody else could have had a hand in it.  A descriptor, or negative.
 */
static int open_file(const char *path, struct error *e)
{
    struct stat st;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errors_set_system(e, -E_CONFIG, errno, ASK_PASSWORD_FILE " %.500s", path);
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode))
        rc = errors_set(e, -E_CONFIG, ASK_PASSWORD_FILE " %.500s: not a file", path);
    else if (st.st_uid != getuid() && st.st_uid != 0)
        rc = errors_set(e, -E_CONFIG,
                        ASK_PASSWORD_FILE
                        " %.500s belongs to another user (uid %u): it must be yours",
                        path, (unsigned)st.st_uid);
    else if ((st.st_mode & 077) != 0)
        rc =
            errors_set(e, -E_CONFIG,
                       ASK_PASSWORD_FILE " %.500s is open to other users (mode %04o): chmod 600 it",
                       path, (unsigned)st.st_mode & 07777);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int from_file(struct ask *a, const char *path, struct error *e)
{
    int fd = open_file(path, e);
    if (fd < 0)
        return fd;
    int rc = ask_line(a, fd);
    if (rc != 0)
        (void)errors_set(e, rc, ASK_PASSWORD_FILE " %.500s", path);
    else if (a->n == 0)
        rc = errors_set(e, -E_CONFIG, ASK_PASSWORD_FILE " %.500s: its first line is empty", path);
    close(fd);
    return rc;
}

static const char *password_file(const struct ask_options *options)
{
    const char *path = options->kind == ASK_PASSWORD ? getenv(ASK_PASSWORD_FILE) : NULL;
    return path != NULL && path[0] != '\0' ? path : NULL;
}

static int by_some_way(struct ask *a, struct error *e)
{
    const char *path = password_file(a->options);
    if (a->options->asker != NULL)
        return asker_ask(a->options->asker, a->options, a->secret, &a->n, e);
    if (path != NULL)
        return from_file(a, path, e);
    if (a->options->batch)
        return errors_set(e, -E_UNSUPPORTED, "%s", ask_why_not(a->options));
    int tty = ask_tty_open(a->options);
    if (tty >= 0)
        close(tty);
    const char *program = ask_program_choose(a->options, tty >= 0);
    if (program != NULL)
        return ask_program(a, program, e);
    if (tty < 0)
        return errors_set(e, -E_UNSUPPORTED, "%s", ask_why_not(a->options));
    return ask_tty(a, e);
}

int ask_secret(const struct ask_options *options, char **secret, size_t *n, struct error *e)
{
    const char *prompt = options->prompt == NULL ? "" : options->prompt;
    struct ask a = {.options = options};
    *secret = NULL;
    if (n != NULL)
        *n = 0;
    a.prompt = safetext_dup(prompt, strlen(prompt), SAFETEXT_LINES);
    a.secret = sodium_init() < 0 ? NULL : sodium_malloc(ASK_SECRET_MAX);
    if (a.prompt == NULL || a.secret == NULL) {
        free(a.prompt);
        sodium_free(a.secret);
        return errors_set(e, -E_NOMEM, "asking");
    }
    a.secret[0] = '\0';
    if (options->timeout_ms != 0)
        a.deadline = now_ms() + options->timeout_ms;
    int rc = by_some_way(&a, e);
    free(a.prompt);
    if (rc != 0) {
        sodium_free(a.secret); /* wipes it */
        return rc;
    }
    *secret = a.secret;
    if (n != NULL)
        *n = a.n;
    return 0;
}

void ask_free(char *secret)
{
    sodium_free(secret); /* wipes it; takes NULL */
}

int ask_password_file(struct error *e)
{
    const struct ask_options account = {.kind = ASK_PASSWORD};
    const char *path = password_file(&account);
    int fd = path == NULL ? 0 : open_file(path, e);
    if (path == NULL || fd < 0)
        return fd;
    close(fd);
    return 1;
}

int ask_possible(const struct ask_options *options)
{
    if (options->asker != NULL)
        return asker_possible(options->asker, options);
    if (password_file(options) != NULL)
        return 1;
    if (options->batch)
        return 0;
    int tty = ask_tty_open(options);
    if (tty >= 0)
        close(tty);
    return tty >= 0 || ask_program_choose(options, 0) != NULL;
}

const char *ask_why_not(const struct ask_options *options)
{
    const char *program = options->askpass != NULL ? options->askpass : getenv("SSH_ASKPASS");
    if (options->batch)
        return options->kind == ASK_PASSWORD ? "batch mode, and no " ASK_PASSWORD_FILE
                                             : "batch mode";
    if (program != NULL && program[0] != '\0')
        return "no terminal, and SSH_ASKPASS counts only with DISPLAY set or "
               "SSH_ASKPASS_REQUIRE=force";
    return options->kind == ASK_PASSWORD ? "no terminal, no SSH_ASKPASS, no " ASK_PASSWORD_FILE
                                         : "no terminal, no SSH_ASKPASS";
}
