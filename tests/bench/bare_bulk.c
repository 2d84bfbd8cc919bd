/* Bulk over a bare libssh2 channel, as fast as libssh2 goes.
 *
 *   bare_bulk down|up CIPHER COMMAND     down: COMMAND's stdout to ours; up: our stdin to its */
#include "tests/bench/bare.h"

static void write_out(const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        ssize_t k = write(1, bytes, n);
        if (k < 0 && errno != EINTR)
            bench_die("stdout: %s", strerror(errno));
        bytes += k > 0 ? k : 0;
        n -= k > 0 ? (size_t)k : 0;
    }
}

static void down(struct bare *b)
{
    static uint8_t buffer[BARE_BUFFER];

    for (;;) {
        ssize_t n = libssh2_channel_read(b->channel, (char *)buffer, sizeof buffer);
        if (n > 0)
            write_out(buffer, (size_t)n);
        else if (n == LIBSSH2_ERROR_EAGAIN)
            bare_wait(b);
        else if (n == 0 && libssh2_channel_eof(b->channel))
            return;
        else if (n < 0)
            bench_die("libssh2: read: %zd", n);
    }
}

static void up(struct bare *b)
{
    static uint8_t buffer[BARE_BUFFER];
    ssize_t have;

    while ((have = read(0, buffer, sizeof buffer)) > 0) {
        for (ssize_t done = 0; done < have;) {
            ssize_t n =
                libssh2_channel_write(b->channel, (char *)buffer + done, (size_t)(have - done));
            if (n > 0)
                done += n;
            else if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
                bare_wait(b);
            else
                bench_die("libssh2: write: %zd", n);
            while (b->out_end - b->out_at > 4 * BARE_BUFFER)
                bare_wait(b);
        }
    }
    BARE_DO(b, libssh2_channel_send_eof(b->channel));
    down(b); /* until the command has read all and ended */
}

int main(int argc, char **argv)
{
    struct bare b;

    if (argc != 4)
        bench_die("usage: bare_bulk down|up CIPHER COMMAND");
    if (libssh2_init(0) != 0)
        bench_die("libssh2 does not start");
    bare_open(&b, 1, argv[2], argv[3]);
    if (strcmp(argv[1], "up") == 0)
        up(&b);
    else
        down(&b);
    bare_cut(&b);
    return 0;
}
