/* The log of a run, which may have been torn at any time, and be anybody's: what it says of hosts
 * is found, and what is appended to it counts. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/cli/fleet/fleet_journal.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "{\"host\":\"a\",\"finished\":true}\n{\"host\":\"b\",\"finished\":false}\n",
        "{\"host\":\"a\",\"finished\":true}\n{\"host\":\"a\",\"finished\":false}\n{\"host\":\"a\",",
        "{\"host\":\"a\",\"finished\":true}\n{\"host\":\"b\",\"same_as\":\"a\"}\n",
        "{\"host\":\"a\",\"same_as\":\"b\"}\n{\"host\":\"b\",\"same_as\":\"a\"}\n",
        "# names\nweb1\n  web2 # one\n\n{\"host\":\"web3\",\"finished\":true}\n",
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

/* What a file says that holds these bytes and then that text.  NULL: it is an error. */
static json_t *hosts_of(const uint8_t *data, size_t size, const char *more, int plain)
{
    struct grapnel_error error = {.code = 0};
    char path[40];
    int fd = memfd_create("log", MFD_CLOEXEC);
    json_t *hosts, *value;
    const char *name;

    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    MUST(write(fd, more, strlen(more)) == (ssize_t)strlen(more));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    hosts = fleet_journal_hosts(path, "finished", plain, &error);
    close(fd);
    MUST(hosts || error.code < 0);
    json_object_foreach(hosts, name, value)
    {
        MUST(json_is_true(value));
    }
    return hosts;
}

static void check(const uint8_t *data, size_t size, int plain)
{
    json_t *hosts = hosts_of(data, size, "\n", plain);
    json_t *torn = hosts_of(data, size, "\n{\"host\":\"new\",\"finis", plain);
    json_t *more = hosts_of(data, size, "\n{\"host\":\"new\",\"finished\":true}\n", plain);
    json_t *again = hosts_of(data, size,
                             "\n{\"host\":\"new\",\"finished\":true}\n"
                             "{\"host\":\"new\",\"finished\":false}\n",
                             plain);

    MUST(!hosts == !torn && !hosts == !more && !hosts == !again);
    MUST(!hosts || json_equal(hosts, torn));
    MUST(!hosts || json_is_true(json_object_get(more, "new")));
    MUST(!hosts || !json_object_get(again, "new"));
    json_decref(hosts);
    json_decref(torn);
    json_decref(more);
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, 0);
    /* Sets that are large, and groups, are another one's affair. */
    if (size == 0 || (!memchr(data, '[', size) && !memchr(data, '@', size)))
        check(data, size, 1);
    return 0;
}
