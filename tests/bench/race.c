/* Runs commands in turn, A B C A B C …, and times each as a whole process.
 *
 *   race [-n RUNS] [-w WARMUPS] [-i FILE -r TIMES] [-p] COMMAND... [::: COMMAND...]...
 *
 *   -i FILE -r TIMES   stdin: FILE, so many times (else /dev/null)
 *   -p                 stdout: a pipe that is read here (else /dev/null); only the second half of
 *                      what comes is timed, so that neither the start nor growing windows count
 *
 * Prints a line for each: median, smallest and 90 % quantile of the wall time (ms), median of the
 * CPU time of it and its children (ms), and with -p the median of the bytes that came and of their
 * rate (MB/s).  Ends with 2 when a command fails. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define CONTESTANTS_MAX 8
#define RUNS_MAX        1000
#define PIPE_SIZE       (1024 * 1024)
#define SAMPLES_MAX     65536

extern char **environ;

struct contestant {
    char **argv;
    double wall[RUNS_MAX], cpu[RUNS_MAX], bytes[RUNS_MAX], rate[RUNS_MAX];
};

struct race {
    long runs, warmups, times;
    int read_output;
    const uint8_t *input; /* mapped */
    size_t input_size;
    int input_fd;
    int count;
    struct contestant *contestant[CONTESTANTS_MAX];
};

/* When how much had come. */
struct sample {
    uint64_t at_us, bytes;
};

static double cpu_ms(void)
{
    struct rusage u;

    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

/* A process of its own, since the contestant's output may have to be read at the same time. */
static pid_t feed(const struct race *r, int to, int not_ours)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    close(not_ours);
    signal(SIGPIPE, SIG_DFL);
    for (long i = 0; i < r->times; i++) {
        size_t done = 0;
        while (done < r->input_size) {
            ssize_t n = write(to, r->input + done, r->input_size - done);
            if (n <= 0)
                _exit(1);
            done += (size_t)n;
        }
    }
    _exit(0);
}

/* MB/s of the second half. */
static double second_half(const struct sample *s, size_t n)
{
    size_t i = 0;

    while (i + 1 < n && s[i].bytes < s[n - 1].bytes / 2)
        i++;
    if (n < 2 || s[n - 1].at_us == s[i].at_us)
        return 0;
    return (double)(s[n - 1].bytes - s[i].bytes) / (double)(s[n - 1].at_us - s[i].at_us);
}

static void read_all(int fd, double *bytes, double *rate)
{
    static uint8_t buffer[PIPE_SIZE];
    static struct sample samples[SAMPLES_MAX];
    uint64_t total = 0, last = 0;
    size_t count = 0;
    ssize_t n;

    while ((n = read(fd, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR)) {
        uint64_t now = bench_now_us();
        total += n > 0 ? (uint64_t)n : 0;
        /* A sample a millisecond is enough. */
        if (count < SAMPLES_MAX && now - last >= 1000) {
            samples[count++] = (struct sample){now, total};
            last = now;
        }
    }
    if (count && count < SAMPLES_MAX)
        samples[count++] = (struct sample){bench_now_us(), total};
    *bytes = (double)total;
    *rate = second_half(samples, count);
}

static void make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        bench_die("pipe: %s", strerror(errno));
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE);
}

static void run(struct race *r, struct contestant *c, long number)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, status, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    double bytes = 0, rate = 0, before = cpu_ms();
    pid_t pid, feeder = -1;
    uint64_t began;
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    if (r->input)
        make_pipe(in);
    if (r->read_output)
        make_pipe(out);
    posix_spawn_file_actions_adddup2(&actions, r->input ? in[0] : null, 0);
    posix_spawn_file_actions_adddup2(&actions, r->read_output ? out[1] : null, 1);
    began = bench_now_us();
    if (posix_spawnp(&pid, c->argv[0], &actions, NULL, c->argv, environ) != 0)
        bench_die("%s cannot be run", c->argv[0]);
    if (r->input) {
        close(in[0]);
        feeder = feed(r, in[1], out[0]);
        close(in[1]);
    }
    if (r->read_output) {
        close(out[1]);
        read_all(out[0], &bytes, &rate);
        close(out[0]);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (number >= 0) {
        c->wall[number] = (double)(bench_now_us() - began) / 1e3;
        c->cpu[number] = cpu_ms() - before;
        c->bytes[number] = bytes;
        c->rate[number] = rate;
    }
    if (feeder > 0)
        waitpid(feeder, NULL, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_die("%s ended with status %#x", c->argv[0], (unsigned)status);
    posix_spawn_file_actions_destroy(&actions);
    close(null);
}

static void map_input(struct race *r, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *at;

    if (fd < 0 || fstat(fd, &st) < 0)
        bench_die("%s: %s", path, strerror(errno));
    r->input_size = (size_t)st.st_size;
    at = mmap(NULL, r->input_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED)
        bench_die("%s: %s", path, strerror(errno));
    r->input = at;
    close(fd);
}

static void add_contestant(struct race *r, char **argv)
{
    struct contestant *c = calloc(1, sizeof *c);

    if (!argv[0] || r->count == CONTESTANTS_MAX || !c)
        bench_die("1 to %d commands", CONTESTANTS_MAX);
    c->argv = argv;
    r->contestant[r->count++] = c;
}

static void read_arguments(struct race *r, int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "+n:w:i:r:p")) != -1) {
        switch (option) {
        case 'n':
            r->runs = bench_number(optarg, 1);
            break;
        case 'w':
            r->warmups = bench_number(optarg, 0);
            break;
        case 'i':
            map_input(r, optarg);
            break;
        case 'r':
            r->times = bench_number(optarg, 1);
            break;
        case 'p':
            r->read_output = 1;
            break;
        default:
            bench_die("unknown option");
        }
    }
    if (r->runs > RUNS_MAX)
        bench_die("at most %d runs", RUNS_MAX);
    argv += optind;
    add_contestant(r, argv);
    for (; *argv; argv++) {
        if (strcmp(*argv, ":::") == 0) {
            *argv = NULL;
            add_contestant(r, argv + 1);
        }
    }
}

static void report(const struct race *r, struct contestant *c)
{
    size_t n = (size_t)r->runs;
    double median = bench_quantile(c->wall, n, 0.5); /* sorts */

    printf("%.3f %.3f %.3f %.3f", median, c->wall[0], bench_quantile(c->wall, n, 0.9),
           bench_quantile(c->cpu, n, 0.5));
    if (r->read_output)
        printf(" %.0f %.1f", bench_quantile(c->bytes, n, 0.5), bench_quantile(c->rate, n, 0.5));
    putchar('\n');
}

int main(int argc, char **argv)
{
    struct race r = {.runs = 5, .warmups = 1, .times = 1};

    read_arguments(&r, argc, argv);
    for (long i = -r.warmups; i < r.runs; i++) {
        for (int k = 0; k < r.count; k++)
            run(&r, r.contestant[k], i < 0 ? -1 : i);
    }
    for (int k = 0; k < r.count; k++)
        report(&r, r.contestant[k]);
    return 0;
}
