/* ssh/transport_ssh2.h for the command: SSH in process is in a file of its own, ssh2.so, which is
 * loaded when the first such connection is to be made.  What goes through the broker needs none,
 * and libcrypto, which comes with it, takes a good part of such a command's time to load. */
#include "launcher/ssh/transport_ssh2.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "/ssh2.so"

/* As the agents: beside the program, or where things are installed. */
static void find(char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof FILE_NAME);
    char *slash;

    if (n > 0) {
        path[n] = '\0';
        slash = strrchr(path, '/');
        memcpy(slash ? slash : path, FILE_NAME, sizeof FILE_NAME);
        if (access(path, F_OK) == 0)
            return;
    }
    snprintf(path, PATH_MAX, "%s", GRAPNEL_LIBEXECDIR FILE_NAME);
}

/* It stays once it is loaded, with what connections point to. */
static void *load(int flags)
{
    char path[PATH_MAX];

    find(path);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | flags);
}

/* Copies the address of a function to *at, a pointer to a pointer to it; false: there is none. */
static int look_up(void *part, const char *name, void *at)
{
    void *symbol = part ? dlsym(part, name) : NULL;

    if (symbol)
        memcpy(at, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* Loads it, and copies the address of a function: 0, or negative with *e filled. */
static int get(const char *name, void *at, struct error *e)
{
    const char *version;
    void *part = load(0);

    if (!look_up(part, name, at) || !look_up(part, "transport_ssh2_version", &version))
        return errors_set(e, -E_SYSTEM, "grapnel is not installed completely: %s", dlerror());
    if (strcmp(version, GRAPNEL_VERSION) != 0)
        return errors_set(e, -E_SYSTEM,
                          "grapnel %s was to load its part ssh2.so, but that is of %s",
                          GRAPNEL_VERSION, version);
    return 0;
}

struct transport *transport_ssh2(const struct transport_options *options, const char *command,
                                 const struct transport_handler *handler, void *arg,
                                 struct error *e)
{
    __typeof__(transport_ssh2) *start;

    return get("transport_ssh2", &start, e) < 0 ? NULL : start(options, command, handler, arg, e);
}

int transport_ssh2_write_keys(const char *path, const char *folder,
                              struct knownhosts_change *changes, size_t n, struct error *e)
{
    __typeof__(transport_ssh2_write_keys) *write_keys;
    int rc = get("transport_ssh2_write_keys", &write_keys, e);

    return rc < 0 ? rc : write_keys(path, folder, changes, n, e);
}

/* There are keys only where it was loaded. */
void transport_ssh2_forgive(struct keyring *keys)
{
    __typeof__(transport_ssh2_forgive) *forgive;

    if (keys && look_up(load(RTLD_NOLOAD), "transport_ssh2_forgive", &forgive))
        forgive(keys);
}

void transport_ssh2_free_keys(struct keyring *keys)
{
    __typeof__(transport_ssh2_free_keys) *free_keys;

    if (keys && look_up(load(RTLD_NOLOAD), "transport_ssh2_free_keys", &free_keys))
        free_keys(keys);
}

int transport_ssh2_sha1(const void *bytes, size_t n, char hex[TRANSPORT_SSH2_SHA1])
{
    __typeof__(transport_ssh2_sha1) *sha1;

    return look_up(load(0), "transport_ssh2_sha1", &sha1) ? sha1(bytes, n, hex) : -E_SYSTEM;
}
