/* The file of remembered architectures, which others may have written. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/bootstrap/archmemory.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static char cache[64];
static char path[128];
static int fd;

static void remove_folder(void)
{
    char folder[128];
    (void)unlink(path);
    (void)snprintf(folder, sizeof(folder), "%s/grapnel", cache);
    (void)rmdir(folder);
    (void)rmdir(cache);
}

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "h:22\tLinux x86_64\nother:22\tLinux aarch64\n",
        "h:22\tLinux x86_64\nh:22\tFreeBSD amd64\n",
        "h:22\t",
        "\n\n\t\nh:22",
        "h:2\tno\nh:222\tno\nh:22 no\n",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
}

/* A cache folder of our own, whose file is written anew for each input. */
int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    const char *base = getenv("TMPDIR");
    char folder[128];
    (void)snprintf(cache, sizeof(cache), "%.40s/grapnel-fuzz.XXXXXX", base == NULL ? "/tmp" : base);
    MUST(mkdtemp(cache) != NULL);
    (void)snprintf(folder, sizeof(folder), "%s/grapnel", cache);
    MUST(mkdir(folder, 0700) == 0);
    (void)snprintf(path, sizeof(path), "%s/architectures", folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    MUST(fd >= 0 && setenv("XDG_CACHE_HOME", cache, 1) == 0 && atexit(remove_folder) == 0);
    return seeds_install(*argc, *argv, seeds);
}

/* What the last line of h:22 says, found in another way; NULL: there is none. */
static const char *expected(const char *text, size_t *n)
{
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, "h:22\t")) != NULL; at++) {
        if (at == text || at[-1] == '\n') {
            found = at + 5;
            *n = strcspn(found, "\n");
        }
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char uname[24];
    char longer[300];
    size_t n = 0;
    char *text = strndup((const char *)data, size); /* up to a zero byte, as it is read */
    MUST(text != NULL && ftruncate(fd, 0) == 0);
    MUST(pwrite(fd, data, size, 0) == (ssize_t)size);
    archmemory_recall("h:22", uname, sizeof(uname));
    MUST(strlen(uname) < sizeof(uname) && strchr(uname, '\n') == NULL);
    archmemory_recall("h:22", longer, sizeof(longer));
    MUST(strncmp(longer, uname, strlen(uname)) == 0);
    const char *found = size > ARCHMEMORY_FILE_MAX ? NULL : expected(text, &n);
    MUST(found == NULL ? uname[0] == '\0' : strncmp(uname, found, strlen(uname)) == 0);
    MUST(found == NULL || strlen(uname) == (n < sizeof(uname) ? n : sizeof(uname) - 1));
    archmemory_recall("", uname, sizeof(uname));
    /* What is noted is there afterwards, whatever stood before it. */
    if (size == 0 || data[size - 1] == '\n') {
        archmemory_note("h:22", "Noted today");
        archmemory_recall("h:22", uname, sizeof(uname));
        MUST(strcmp(uname, "Noted today") == 0 || strlen(text) < size);
    }
    free(text);
    return 0;
}
