#include "launcher/fleet/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/exec/exec.h"
#include "launcher/fleet/fleet_impl.h"

#define PIECE (32 * 1024) /* that waits for a host's link, and not more */
#define AHEAD (16 << 20)  /* bytes that are read before any host can take them */

struct input {
    struct grapnel_fleet_job *job;
    int source; /* what it is read from; -1: it is a file, or all of it is read */
    int file;   /* what it is given from … */
    off_t at;   /* … beginning here */
    ev_io reader;
    uint64_t read;      /* bytes from the source … */
    uint64_t taken;     /* … and those that the fastest host has got */
    struct error error; /* code 0: all went well */
    uint8_t piece[PIECE];
};

static void close_source(struct input *in)
{
    if (in->source < 0)
        return;
    ev_io_stop(in->job->g->loop, &in->reader);
    close(in->source);
    in->source = -1;
}

/* A source that is faster than all hosts waits for them, or it would fill the disk. */
static void watch_source(struct input *in)
{
    if (in->source < 0)
        return;
    if (in->read - in->taken < AHEAD)
        ev_io_start(in->job->g->loop, &in->reader);
    else
        ev_io_stop(in->job->g->loop, &in->reader);
}

static void note_taken(struct input *in, const struct task *t)
{
    if (t->input_at <= in->taken)
        return;
    in->taken = t->input_at;
    watch_source(in);
}

static int put(struct input *in, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(in->file, in->piece + done, n - done);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return errors_set_system(&in->error, -E_IO, errno, "keeping the input");
        done += (size_t)put;
    }
    in->read += n;
    return 0;
}

/* Those that have had all of it want more. */
static void give_all(struct input *in)
{
    struct grapnel_fleet_job *job = in->job;

    for (size_t i = 0; i < job->next; i++) {
        if (job->tasks[i])
            work_input(job->tasks[i]);
    }
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct input *in = w->data;
    ssize_t n = read(in->source, in->piece, sizeof in->piece);

    (void)loop;
    (void)revents;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n < 0)
        errors_set_system(&in->error, -E_IO, errno, "the input could not be read");
    if (n <= 0 || put(in, (size_t)n) < 0)
        close_source(in);
    watch_source(in);
    if (in->error.code) /* nobody is told that cut input was all */
        job_stop(in->job, 1, &in->error);
    else
        give_all(in);
}

static int open_spool(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int fd = open(folder && *folder ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (size_t)snprintf(path, sizeof path, "%s/grapnel-input.XXXXXX",
                                    folder && *folder ? folder : "/tmp") >= sizeof path)
        return fd;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static int open_files(struct input *in, int fd, struct error *e)
{
    struct stat st;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0 || fstat(copy, &st) < 0) {
        if (copy >= 0)
            close(copy);
        return errors_set_system(e, -E_IO, errno, "descriptor %d", fd);
    }
    in->at = S_ISREG(st.st_mode) ? lseek(copy, 0, SEEK_CUR) : 0;
    if (S_ISREG(st.st_mode) && in->at >= 0) {
        in->file = copy;
        return 0;
    }
    in->source = copy;
    in->at = 0;
    in->file = open_spool();
    if (in->file < 0)
        return errors_set_system(e, -E_IO, errno, "no place to keep the input");
    return 0;
}

struct input *input_new(struct grapnel_fleet_job *job, int fd, struct error *e)
{
    struct input *in = calloc(1, sizeof *in);

    if (!in) {
        errors_set(e, -E_NOMEM, "input");
        return NULL;
    }
    in->job = job;
    in->source = in->file = -1;
    if (open_files(in, fd, e) < 0) {
        if (in->source >= 0)
            close(in->source);
        free(in);
        return NULL;
    }
    if (in->source >= 0) {
        ev_io_init(&in->reader, on_readable, in->source, EV_READ);
        in->reader.data = in;
        ev_io_start(job->g->loop, &in->reader);
    }
    return in;
}

void input_free(struct input *in)
{
    if (!in)
        return;
    close_source(in);
    if (in->file >= 0)
        close(in->file);
    free(in);
}

/* Into the piece: its length, 0: there is no more, or none yet; negative: t was stopped. */
static ssize_t read_for(struct input *in, struct task *t)
{
    struct error e = {0};
    ssize_t n;

    do {
        n = pread(in->file, in->piece, sizeof in->piece, in->at + (off_t)t->input_at);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        errors_set_system(&e, -E_IO, errno, "the input could not be read");
        task_stop(t, &e);
    }
    return n;
}

void input_give(struct input *in, struct task *t)
{
    ssize_t n = read_for(in, t);
    int64_t took;

    if (n == 0 && in->source < 0) {
        grapnel_exec_eof(t->exec);
    } else if (n > 0) {
        took = grapnel_exec_write(t->exec, in->piece, (size_t)n);
        t->input_at += took > 0 ? (uint64_t)took : 0;
        note_taken(in, t);
        if (took > 0)
            exec_ask_writable(t->exec);
    }
}

int input_take(struct input *in, struct task *t, const uint8_t **bytes, size_t *n)
{
    ssize_t got = read_for(in, t);

    if (got < 0)
        return -E_IO;
    if (got == 0)
        return in->source < 0 ? 0 : -E_TIMEOUT;
    t->input_at += (uint64_t)got;
    note_taken(in, t);
    *bytes = in->piece;
    *n = (size_t)got;
    return 1;
}
