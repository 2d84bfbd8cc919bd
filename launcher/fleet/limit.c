#include "launcher/fleet/limit.h"

#include <dirent.h>
#include <stdint.h>
#include <sys/resource.h>

#define PER_HOST 4  /* a socket and one for ssh-agent; or a child's three pipes, and one to wait */
#define RESERVED 64 /* for the program itself: files, threads that resolve names, the loop */
#define UNKNOWN  32 /* taken to be open where that cannot be seen */

static size_t open_now(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    if (!d)
        return UNKNOWN;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

size_t limit_hosts(void)
{
    struct rlimit r;
    size_t used = open_now() + RESERVED, most;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 1;
    if (r.rlim_cur < r.rlim_max) {
        struct rlimit raised = {.rlim_cur = r.rlim_max, .rlim_max = r.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            r = raised;
    }
    most = r.rlim_cur > SIZE_MAX / 2 ? SIZE_MAX / 2 : (size_t)r.rlim_cur;
    return most > used + PER_HOST ? (most - used) / PER_HOST : 1;
}
