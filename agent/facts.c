#include "agent/facts.h"

#include <dirent.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/linux.h"
#include "agent/nested.h"
#include "agent/plan.h"
#include "agent/reap.h"
#include "agent/session.h"

#ifndef GRAPNEL_VERSION
#define GRAPNEL_VERSION "0"
#endif

extern char **environ;

static const char *or_text(const char *a, const char *b)
{
    return a != NULL && a[0] != '\0' ? a : b;
}

static const char *byte_order(void)
{
    const union {
        uint16_t number;
        uint8_t bytes[2];
    } probe = {.number = 1};

    return probe.bytes[0] == 1 ? "little" : "big";
}

static void add_account(struct value *map)
{
    const struct passwd *account = getpwuid(geteuid());
    const char *user = account != NULL ? account->pw_name : NULL;
    const char *home = account != NULL ? account->pw_dir : NULL;

    user = or_text(user, or_text(getenv("LOGNAME"), or_text(getenv("USER"), "")));
    home = or_text(getenv("HOME"), or_text(home, "/"));
    values_set(map, "user", values_text(user));
    values_set(map, "home", values_text(home));
    values_set(map, "uid", values_int((int64_t)geteuid()));
    values_set(map, "gid", values_int((int64_t)getegid()));
    values_set(map, "shell", values_text(plan_shell(environ)));
}

static void add_public(struct value *map, const struct utsname *u)
{
    values_set(map, "version", values_text(GRAPNEL_VERSION));
    values_set(map, "system", values_text(u->sysname));
    values_set(map, "arch", values_text(u->machine));
    values_set(map, "byte_order", values_text(byte_order()));
    values_set(map, "word_bits", values_int((int64_t)sizeof(void *) * CHAR_BIT));
}

static void look_up(struct utsname *u)
{
    if (uname(u) != 0) {
        memset(u, 0, sizeof *u);
    }
}

static void add_system(struct value *map, const struct utsname *u)
{
    values_set(map, "release", values_text(u->release));
    values_set(map, "hostname", values_text(u->nodename));
    values_set(map, "cores", values_int(sysconf(_SC_NPROCESSORS_ONLN)));
    values_set(map, "memory",
               values_int((int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE)));
}

struct value *facts_public(void)
{
    struct value *map = values_map();
    struct utsname u;

    look_up(&u);
    add_public(map, &u);
    return map;
}

struct value *facts_get(void)
{
    struct value *map = facts_public();
    struct utsname u;
    char cwd[PATH_MAX];

    if (map == NULL) {
        return NULL;
    }
    look_up(&u);
    add_system(map, &u);
    add_account(map);
    values_set(map, "pid", values_int(getpid()));
    values_set(map, "cwd", values_text(getcwd(cwd, sizeof cwd) != NULL ? cwd : ""));
    return map;
}

void facts_call(struct session *session, struct link *l, uint32_t id, const struct value *args)
{
    (void)session;
    (void)args;
    link_answer(l, id, facts_get());
}

static int64_t descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t n = -3; /* "." and ".." and the folder itself */

    if (d == NULL) {
        return 0;
    }
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n;
}

void facts_usage(struct session *session, struct link *l, uint32_t id, const struct value *args)
{
    struct agent *a = session_agent(session);
    struct value *map = values_map();

    (void)args;
    values_set(map, "rss", values_int((int64_t)linux_resident(getpid())));
    values_set(map, "guardian_rss", values_int((int64_t)linux_resident(getppid())));
    values_set(map, "processes", values_int((int64_t)reap_count(agent_reap(a))));
    values_set(map, "streams", values_int((int64_t)link_stream_count(l)));
    values_set(map, "sessions", values_int((int64_t)nested_set_count(agent_nested(a))));
    values_set(map, "descriptors", values_int(descriptors()));
    link_answer(l, id, map);
}
