/* Servers that are not what a client hopes for.
 *
 *   rogue mute       accepts, and never says a word
 *   rogue http       answers as a web server does, and closes
 *   rogue close      accepts, and closes at once
 *   rogue garbage    sends random bytes without end
 *   rogue banner     says that it is an SSH server, and nothing more
 *   rogue old        says that it speaks SSH 1 only
 *   rogue full       its queue is full: connections to it are never answered
 *
 * Each listens on a free port of 127.0.0.1, or on the ADDRESS and PORT that follow, and prints the
 * port's number. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUE_TRIES 64

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on(int backlog, struct sockaddr_in *a)
{
    socklen_t size = sizeof *a;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a->sin_family = AF_INET;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)a, sizeof *a) < 0 || listen(fd, backlog) < 0 ||
        getsockname(fd, (struct sockaddr *)a, &size) < 0)
        die("listen");
    return fd;
}

/* Connects until a connection is not answered any more: then the queue is full. */
static void fill_queue(const struct sockaddr_in *a)
{
    for (int i = 0; i < QUEUE_TRIES; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        if (fd < 0 ||
            (connect(fd, (const struct sockaddr *)a, sizeof *a) < 0 && errno != EINPROGRESS))
            die("connect");
        if (poll(&p, 1, 200) == 0)
            return;
    }
    fputs("the queue does not fill\n", stderr);
    exit(1);
}

static void send_garbage(int fd)
{
    uint8_t bytes[4096];
    uint32_t x = 2463534242u;

    for (;;) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            bytes[i] = (uint8_t)x;
        }
        if (write(fd, bytes, sizeof bytes) < 0)
            return;
    }
}

static void serve(const char *mode, int fd)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nNo.\r\n";
    static const char banner[] = "SSH-2.0-rogue\r\n", old[] = "SSH-1.5-rogue\r\n";
    char request[1024];
    ssize_t n = 0;

    if (strcmp(mode, "garbage") == 0)
        send_garbage(fd);
    else if (strcmp(mode, "http") == 0 && read(fd, request, sizeof request) > 0)
        n = write(fd, http, sizeof http - 1);
    else if (strcmp(mode, "banner") == 0)
        n = write(fd, banner, sizeof banner - 1);
    else if (strcmp(mode, "old") == 0)
        n = write(fd, old, sizeof old - 1);
    if (n < 0)
        return;
    if (strcmp(mode, "http") == 0 || strcmp(mode, "close") == 0)
        shutdown(fd, SHUT_WR);
    while (read(fd, request, sizeof request) > 0)
        ;
}

static void answer(const char *mode, int listener)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        if (fork() == 0) {
            close(listener);
            serve(mode, fd);
            _exit(0);
        }
        close(fd);
    }
}

static void stay(void)
{
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int full, listener;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (argc == 4) {
        a.sin_addr.s_addr = inet_addr(argv[2]);
        a.sin_port = htons((in_port_t)strtoul(argv[3], NULL, 10));
    } else if (argc != 2) {
        fputs("usage: rogue mute|http|close|garbage|banner|old|full [ADDRESS PORT]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    full = strcmp(argv[1], "full") == 0;
    listener = listen_on(full ? 0 : 128, &a);
    if (full)
        fill_queue(&a);
    printf("%u\n", (unsigned)ntohs(a.sin_port));
    fflush(stdout);
    if (full)
        stay();
    answer(argv[1], listener);
}
