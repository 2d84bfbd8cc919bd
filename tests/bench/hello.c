/* From the start of the agent's process to the first byte of its HELLO.
 *
 *   hello AGENT HASH ROUNDS
 *
 * AGENT is started as on a host, `boot HASH`: it reads and checks its own file, deletes it, makes
 * its guardian and greets.  Prints median and 90 % quantile (µs) of that, then of `stdio`, which
 * has neither check nor deletion. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define PREFACE "GRAPNEL\n"

extern char **environ;

static void copy_file(const char *from, const char *to)
{
    static uint8_t buffer[1024 * 1024];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    ssize_t n;

    if (in < 0 || out < 0)
        bench_die("%s: %s", in < 0 ? from : to, strerror(errno));
    while ((n = read(in, buffer, sizeof buffer)) > 0) {
        if (write(out, buffer, (size_t)n) != n)
            bench_die("%s: %s", to, strerror(errno));
    }
    close(in);
    close(out);
}

/* Reads the preface and one byte more; what is before it is none of HELLO's. */
static void read_hello(int fd)
{
    char bytes[sizeof PREFACE];
    size_t got = 0;

    while (got < sizeof bytes) {
        ssize_t n = read(fd, bytes + got, sizeof bytes - got);
        if (n <= 0)
            bench_die("the agent did not greet");
        got += (size_t)n;
    }
    if (memcmp(bytes, PREFACE, sizeof PREFACE - 1) != 0)
        bench_die("the agent said something else");
}

static double start_one(char *const *argv)
{
    int in[2], out[2];
    posix_spawn_file_actions_t actions;
    uint64_t began, took;
    pid_t pid;

    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        bench_die("pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    began = bench_now_ns();
    if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0)
        bench_die("%s cannot be run", argv[0]);
    close(in[0]);
    close(out[1]);
    read_hello(out[0]);
    took = bench_now_ns() - began;
    close(in[1]);
    close(out[0]);
    waitpid(pid, NULL, 0);
    posix_spawn_file_actions_destroy(&actions);
    return (double)took / 1e3;
}

static double boot_one(const char *agent, char *hash)
{
    char folder[] = "/tmp/.grapnel-bench-XXXXXX", path[64], verb[] = "boot";
    char *argv[] = {path, verb, hash, NULL};
    double took;

    if (!mkdtemp(folder))
        bench_die("%s: %s", folder, strerror(errno));
    snprintf(path, sizeof path, "%s/agent", folder);
    copy_file(agent, path);
    took = start_one(argv);
    if (access(folder, F_OK) == 0)
        bench_die("the agent left %s behind", folder);
    return took;
}

int main(int argc, char **argv)
{
    char verb[] = "stdio";
    char *stdio[] = {argv[1], verb, NULL};
    size_t rounds = argc == 4 ? (size_t)bench_number(argv[3], 1) : 0;
    double *boot = calloc(rounds + 1, sizeof *boot), *plain = calloc(rounds + 1, sizeof *plain);

    if (!rounds || !boot || !plain)
        bench_die("usage: hello AGENT HASH ROUNDS");
    (void)boot_one(argv[1], argv[2]);
    for (size_t i = 0; i < rounds; i++) {
        boot[i] = boot_one(argv[1], argv[2]);
        plain[i] = start_one(stdio);
    }
    printf("%.0f %.0f boot\n", bench_quantile(boot, rounds, 0.5),
           bench_quantile(boot, rounds, 0.9));
    printf("%.0f %.0f stdio\n", bench_quantile(plain, rounds, 0.5),
           bench_quantile(plain, rounds, 0.9));
    return 0;
}
