#include "agent/selfdelete.h"

#include <errno.h>
#include <limits.h>
#include <sodium/crypto_generichash.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux.h"

#define HASH_SIZE 32

static int hash_of(int fd, uint8_t *hash)
{
    crypto_generichash_state state;
    uint8_t part[16384];
    ssize_t n;

    crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
    for (;;) {
        n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        crypto_generichash_update(&state, part, (unsigned long long)n);
    }
    crypto_generichash_final(&state, hash, HASH_SIZE);
    return n < 0 ? -E_SYSTEM : 0;
}

int selfdelete_check(const char *hex, struct error *e)
{
    uint8_t hash[HASH_SIZE];
    char text[2 * HASH_SIZE + 1];
    int result;
    int fd = linux_own_file();

    if (fd < 0) {
        return errors_set_system(e, -E_SYSTEM, errno, "own file");
    }
    result = hash_of(fd, hash);
    if (result != 0) {
        errors_set_system(e, result, errno, "own file");
    }
    close(fd);
    for (size_t i = 0; i < HASH_SIZE; i++) {
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    }
    if (result == 0 && strcmp(text, hex) != 0) {
        result = errors_set(e, -E_AGENT_TAMPERED, "its hash is %s", text);
    }
    return result;
}

int selfdelete_run(struct error *e)
{
    static const char prefix[] = ".grapnel-";
    char path[PATH_MAX];
    char *slash;
    const char *name;

    if (linux_own_path(path, sizeof path) != 0 || (unlink(path) != 0 && errno != ENOENT)) {
        return errors_set_system(e, -E_SYSTEM, errno, "own file");
    }
    slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return 0;
    }
    *slash = '\0';
    slash = strrchr(path, '/');
    name = slash != NULL ? slash + 1 : path;
    /* On NFS a running program keeps a file there whatever we do; that is no reason not to run. */
    if (strncmp(name, prefix, sizeof prefix - 1) == 0) {
        (void)rmdir(path);
    }
    return 0;
}
