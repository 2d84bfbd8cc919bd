/* 64 bytes to `cat` on the host and back, in blocks by turns: over a stream of a held link, over a
 * bare libssh2 channel, and over one with buffers of our own between libssh2 and the socket.
 *
 *   echo ROUNDS      prints for each its median and its 90 % quantile (µs) */
#include "launcher/grapnel.h"
#include "tests/bench/bare.h"

#define MESSAGE 64
#define BLOCK   100
#define WAYS    3

struct held {
    struct grapnel *g;
    struct grapnel_server *server;
    struct grapnel_exec *x;
    size_t got;
};

static size_t on_out(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    struct held *h = arg;

    (void)x;
    (void)bytes;
    h->got += n;
    if (h->got >= MESSAGE)
        grapnel_stop(h->g);
    return n;
}

static void on_done(void *arg, struct grapnel_exec *x, const struct grapnel_exec_status *status,
                    const struct grapnel_error *error)
{
    (void)arg;
    (void)x;
    (void)status;
    bench_die("cat ended: %s", error ? error->text : "");
}

static void open_held(struct held *h)
{
    static const char *const cat[] = {"cat", NULL};
    static const struct grapnel_exec_handler handler = {.out = on_out, .done = on_done};
    struct grapnel_connect_options where = {.config_file = bench_setting("SSHD_CONFIG")};
    struct grapnel_exec_options what = {.argv = cat};
    struct grapnel_error e = {0};

    h->g = grapnel_new(NULL, &e);
    h->server = h->g ? grapnel_connect(h->g, "t", &where, &e) : NULL;
    h->x = h->server ? grapnel_exec_start(h->server, &what, &handler, h, &e) : NULL;
    if (!h->x)
        bench_die("%s: %s", e.text, e.detail);
}

static void echo_held(struct held *h, const char *message)
{
    h->got = 0;
    if (grapnel_exec_write(h->x, message, MESSAGE) != MESSAGE || grapnel_drive(h->g, 10000) != 0)
        bench_die("no echo on the held link");
}

static void echo_bare(struct bare *b, const char *message)
{
    char buffer[MESSAGE];
    size_t done = 0;
    ssize_t n;

    while (done < MESSAGE) {
        n = libssh2_channel_write(b->channel, message + done, MESSAGE - done);
        if (n == LIBSSH2_ERROR_EAGAIN)
            bare_wait(b);
        else if (n < 0)
            bench_die("libssh2: write: %zd", n);
        done += n > 0 ? (size_t)n : 0;
    }
    for (done = 0; done < MESSAGE;) {
        n = libssh2_channel_read(b->channel, buffer, MESSAGE - done);
        if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
            bare_wait(b);
        else if (n < 0)
            bench_die("libssh2: read: %zd", n);
        done += n > 0 ? (size_t)n : 0;
    }
}

int main(int argc, char **argv)
{
    static const char *const names[WAYS] = {"link", "libssh2", "libssh2 with buffers"};
    static const char cipher[] = "chacha20-poly1305@openssh.com";
    size_t rounds = argc == 2 ? (size_t)bench_number(argv[1], BLOCK) / BLOCK * BLOCK : 0;
    double *took[WAYS];
    char message[MESSAGE];
    struct held held = {0};
    struct bare bare[2];

    if (!rounds || libssh2_init(0) != 0)
        bench_die("usage: echo ROUNDS");
    memset(message, 'm', sizeof message);
    open_held(&held);
    bare_open(&bare[0], 0, cipher, "exec cat");
    bare_open(&bare[1], 1, cipher, "exec cat");
    for (int way = 0; way < WAYS; way++)
        took[way] = calloc(rounds, sizeof *took[way]);
    for (size_t block = 0; block <= rounds / BLOCK; block++) {
        for (int way = 0; way < WAYS; way++) {
            for (size_t i = 0; i < BLOCK; i++) {
                uint64_t began = bench_now_ns();
                if (way == 0)
                    echo_held(&held, message);
                else
                    echo_bare(&bare[way - 1], message);
                if (block > 0) /* the first is for warming up */
                    took[way][(block - 1) * BLOCK + i] = (double)(bench_now_ns() - began) / 1e3;
            }
        }
    }
    for (int way = 0; way < WAYS; way++)
        printf("%.2f %.2f %s\n", bench_quantile(took[way], rounds, 0.5),
               bench_quantile(took[way], rounds, 0.9), names[way]);
    fflush(stdout);
    bare_cut(&bare[0]);
    bare_cut(&bare[1]);
    grapnel_exec_free(held.x);
    grapnel_server_free(held.server);
    grapnel_free(held.g);
    return 0;
}
