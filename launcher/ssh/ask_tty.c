/* Asking on the terminal.
 *
 * While the echo is off the terminal also sends no signals: the keys that would are read here, so
 * that the terminal is as it was before such a signal acts.  What ends the process without passing
 * here is left to a guard: a child that holds the old settings and a pipe from us, and puts them
 * back if the pipe ends without a word.  So no signal handlers are needed, which a library should
 * not install. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "launcher/ssh/ask_impl.h"

struct guard {
    pid_t pid;
    int pipe;
};

int ask_tty_open(const struct ask_options *options)
{
    const char *path = options->tty == NULL ? ASK_TTY : options->tty;
    return open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
}

static void write_all(int fd, const char *s, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, s, n);
        if (done < 0 && errno != EINTR)
            return; /* a terminal that cannot show the prompt will not give an answer either */
        if (done > 0) {
            s += done;
            n -= (size_t)done;
        }
    }
}

/* The guard's life: only calls that are allowed after fork in a program with threads. */
static _Noreturn void guard_main(int tty, int fd, const struct termios *old)
{
    char word;
    ssize_t n;
    (void)setpgid(0, 0); /* what kills our group shall not kill the guard */
    do {
        n = read(fd, &word, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1)
        (void)tcsetattr(tty, TCSAFLUSH, old); /* also drops what was typed of the secret */
    _exit(0);
}

static int guard_start(struct guard *g, int tty, const struct termios *old)
{
    int ends[2];
    sigset_t all, before;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -E_DESCRIPTORS;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the child keeps them all blocked */
    g->pid = fork();
    if (g->pid == 0) {
        close(ends[1]);
        guard_main(tty, ends[0], old);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[0]);
    g->pipe = ends[1];
    if (g->pid < 0) {
        close(ends[1]);
        return -E_SYSTEM;
    }
    return 0;
}

static void guard_stop(struct guard *g)
{
    write_all(g->pipe, "q", 1);
    close(g->pipe);
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void quiet(int tty, const struct termios *old)
{
    struct termios t = *old;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL | ICANON | ISIG | IEXTEN);
    t.c_iflag |= ICRNL;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    (void)tcsetattr(tty, TCSAFLUSH, &t);
}

/* Removes the last character, which may have several bytes. */
static void rub_out(struct ask *a)
{
    while (a->n > 0) {
        unsigned char c = (unsigned char)a->secret[--a->n];
        a->secret[a->n] = '\0';
        if ((c & 0xc0) != 0x80)
            break;
    }
}

/* The signal that a key stands for; 0: none. */
static int signal_of(const struct termios *t, unsigned char c)
{
    if (c == _POSIX_VDISABLE || (t->c_lflag & ISIG) == 0)
        return 0;
    if (c == t->c_cc[VINTR])
        return SIGINT;
    if (c == t->c_cc[VQUIT])
        return SIGQUIT;
    return c == t->c_cc[VSUSP] ? SIGTSTP : 0;
}

/* Lets a key's signal act with the terminal as it was.  0 to go on, -E_CANCELLED. */
static int act(struct ask *a, int tty, const struct termios *old, int number)
{
    (void)tcsetattr(tty, TCSAFLUSH, old);
    write_all(tty, "\n", 1);
    (void)kill(0, number);
    if (number != SIGTSTP)
        return -E_CANCELLED; /* somebody handles it: then this question is over */
    sodium_memzero(a->secret, a->n + 1);
    a->n = 0;
    quiet(tty, old);
    write_all(tty, a->prompt, strlen(a->prompt));
    return 0;
}

/* One key.  1: the answer is complete; 0: go on; negative. */
static int key(struct ask *a, int tty, const struct termios *old, unsigned char c)
{
    int number = signal_of(old, c);
    if (number != 0)
        return act(a, tty, old, number);
    if (c == '\n' || c == '\r')
        return 1;
    if (c != _POSIX_VDISABLE && c == old->c_cc[VEOF])
        return a->n > 0 ? 1 : -E_CANCELLED;
    if (c == old->c_cc[VERASE] || c == 0x7f || c == 0x08) {
        rub_out(a);
        return 0;
    }
    if (c == old->c_cc[VKILL]) {
        sodium_memzero(a->secret, a->n);
        a->n = 0;
        return 0;
    }
    return ask_put(a, (char)c);
}

static int read_quietly(struct ask *a, int tty, const struct termios *old)
{
    int rc = 0;
    unsigned char c = 0;
    while (rc == 0) {
        rc = ask_wait(a, tty);
        if (rc != 0)
            break;
        ssize_t n = read(tty, &c, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        rc = n <= 0 ? -E_CANCELLED : key(a, tty, old, c); /* hung up */
    }
    sodium_memzero(&c, 1);
    return rc == 1 ? 0 : rc;
}

static int ask_silently(struct ask *a, int tty, const struct termios *old)
{
    struct guard guard;
    int rc = guard_start(&guard, tty, old);
    if (rc != 0)
        return rc;
    quiet(tty, old);
    write_all(tty, a->prompt, strlen(a->prompt));
    rc = read_quietly(a, tty, old);
    (void)tcsetattr(tty, TCSAFLUSH, old);
    write_all(tty, "\n", 1);
    guard_stop(&guard);
    return rc;
}

int ask_tty(struct ask *a, struct error *e)
{
    struct termios old;
    int rc, tty = ask_tty_open(a->options);
    if (tty < 0 || tcgetattr(tty, &old) != 0) {
        rc = errors_set_system(e, -E_UNSUPPORTED, errno, "the terminal");
        goto out;
    }
    if (a->options->echo || a->options->kind == ASK_CONFIRM) {
        write_all(tty, a->prompt, strlen(a->prompt));
        rc = ask_line(a, tty);
    } else {
        rc = ask_silently(a, tty, &old);
    }
    if (rc != 0)
        (void)errors_set(e, rc, "asking on the terminal");
out:
    if (tty >= 0)
        close(tty);
    return rc;
}
