/* A program that takes many lines through the broker, one after another, and runs a command on
 * each: half of them are closed, the others dropped without a word.
 *
 *   lines TARGET TRANSPORT COUNT
 *
 * Ends with 1 when one did not go through the broker, or a descriptor stays open here. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"

#define WAIT_MS 20000

static struct grapnel_error error;

static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;

    if (!d)
        return -1;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int fail(const char *what)
{
    char text[2000];

    grapnel_error_format(&error, text, sizeof text);
    fprintf(stderr, "lines: %s: %s\n", what, text);
    return 0;
}

static int goes_through(struct grapnel_server *s)
{
    struct grapnel_exec_options o = {.line = "exit 7"};
    struct grapnel_result r = {0};
    struct grapnel_server_info info;
    int good = 0;

    grapnel_server_info(s, &info);
    if (strcmp(info.transport, "broker") != 0)
        fprintf(stderr, "lines: by %s\n", info.transport);
    else if (grapnel_run(s, &o, &r, &error) < 0)
        fail("run");
    else
        good = r.status.exited && r.status.exit_status == 7;
    grapnel_result_clear(&r);
    return good;
}

static int take_one(struct grapnel *g, const char *target, const char *transport, int closes)
{
    struct grapnel_connect_options o = {
        .transport = transport, .connect_timeout = WAIT_MS, .broker = 1};
    struct grapnel_server *s = grapnel_connect(g, target, &o, &error);
    int good = s ? goes_through(s) : fail("connect");

    if (good && closes && grapnel_close(s, WAIT_MS, &error) < 0)
        good = fail("close");
    grapnel_server_free(s);
    return good;
}

int main(int argc, char **argv)
{
    long count = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    struct grapnel *g = count > 0 ? grapnel_new(NULL, &error) : NULL;
    int before, good;

    if (!g) {
        fputs("usage: lines TARGET TRANSPORT COUNT\n", stderr);
        return 2;
    }
    good = take_one(g, argv[1], argv[2], 1); /* what stays open from the first use on */
    before = entries("/proc/self/fd");
    for (long i = 1; good && i < count; i++)
        good = take_one(g, argv[1], argv[2], i % 2 == 0);
    if (good && entries("/proc/self/fd") != before) {
        fprintf(stderr, "lines: %d descriptors before, %d after\n", before,
                entries("/proc/self/fd"));
        good = 0;
    }
    grapnel_free(g);
    return !good;
}
