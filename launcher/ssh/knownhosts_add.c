/* New lines for known_hosts, and fingerprints. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/ssh/knownhosts_impl.h"

#define REPLACED_MAX                                                                               \
    100 /* times that another file takes its place while its lock is waited for                    \
         */

int knownhosts_fingerprint(const void *key, size_t n, char out[KNOWNHOSTS_FINGERPRINT_MAX])
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char type[SSHKEY_NAME_MAX];
    out[0] = '\0';
    if (sshkey_type(key, n, type) != 0)
        return -E_MALFORMED;
    (void)SHA256(key, n, hash);
    memcpy(out, "SHA256:", 7);
    (void)sodium_bin2base64(out + 7, KNOWNHOSTS_FINGERPRINT_MAX - 7, hash, sizeof hash,
                            sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    return 0;
}

int knownhosts_add_hash(struct knownhosts *set, const char *name, char *out, size_t size)
{
    uint8_t salt[20], mac[20];
    char salt_text[32], mac_text[32];
    randombytes_buf(salt, sizeof salt);
    int rc = knownhosts_index_hmac(set, salt, name, strlen(name), mac);
    if (rc != 0)
        return rc;
    sshkey_base64_encode(salt, sizeof salt, salt_text);
    sshkey_base64_encode(mac, sizeof mac, mac_text);
    (void)snprintf(out, size, "|1|%s|%s", salt_text, mac_text);
    return 0;
}

void knownhosts_make_folder(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (strncmp(path, folder, n) == 0 && path[n] == '/')
        (void)mkdir(folder, 0700);
}

/* True when the path still leads to what was opened. */
static int is_same(const char *path, int fd)
{
    struct stat here, there;

    return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_dev == there.st_dev &&
           here.st_ino == there.st_ino;
}

int knownhosts_add_open(const char *path, struct error *e)
{
    for (int tries = 0; tries < REPLACED_MAX; tries++) {
        int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        if (fd < 0)
            return errors_set_system(e, -E_IO, errno, "%s", path);
        /* The lock is for what stands between looking and writing; O_APPEND keeps a line whole
         * also against writers that take no lock, as ssh does not. */
        while (flock(fd, LOCK_EX) != 0 && errno == EINTR)
            continue;
        if (is_same(path, fd))
            return fd;
        close(fd);
    }
    return errors_set(e, -E_IO, "%s: it is replaced again and again", path);
}

int knownhosts_add_lines(int fd, const char *path, const char *lines, size_t n, struct error *e)
{
    ssize_t done;
    do {
        done = write(fd, lines, n);
    } while (done < 0 && errno == EINTR);
    if (done < 0)
        return errors_set_system(e, -E_IO, errno, "%s", path);
    return (size_t)done == n ? 0
                             : errors_set(e, -E_IO, "%s: the line was written in part only", path);
}

/* text is '\n' and the line: the first byte is sent only if the file's last line has no end. */
static int append(const char *path, const char *text, size_t n, struct error *e)
{
    char last = '\n';
    struct stat st;
    int fd = knownhosts_add_open(path, e);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        pread(fd, &last, 1, st.st_size - 1) != 1)
        last = '\n';
    size_t skip = last == '\n';
    int rc = knownhosts_add_lines(fd, path, text + skip, n - skip, e);
    if (close(fd) != 0 && rc == 0)
        rc = errors_set_system(e, -E_IO, errno, "%s", path);
    return rc;
}

int knownhosts_add_remember(struct knownhosts *set, const char *path, const char *name,
                            const char *type, const char *key)
{
    size_t size = strlen(name) + strlen(type) + strlen(key) + 4, before = set->entries_count;
    size_t cursor = 0, number;
    unsigned file = 0; /* behind the last: no name, if the file is not one of the set's */
    char *text = malloc(size);
    if (text == NULL)
        return -E_NOMEM;
    (void)snprintf(text, size, "%s %s %s", name, type, key);
    while (file < set->files_count && strcmp(set->files[file], path) != 0)
        file++;
    int rc = knownhosts_read_text(set, text, size - 2, file);
    if (rc == 0 && set->entries_count > before &&
        knownhosts_index_next(&set->memory, name, strlen(name), &cursor, &number))
        rc = knownhosts_index_append(&set->answers[number], before);
    return rc;
}

int knownhosts_add(struct knownhosts *set, const char *path, const char *host, unsigned port,
                   const void *key, size_t n, int hashed, struct error *e)
{
    char name[KNOWNHOSTS_NAME_MAX], written[KNOWNHOSTS_NAME_MAX], type[SSHKEY_NAME_MAX];
    struct knownhosts *own = NULL;
    struct knownhosts_match match;
    char *base64 = NULL, *text = NULL;
    size_t size;
    int rc = knownhosts_name(host, port, name, sizeof name);
    if (rc != 0)
        return errors_set(e, -E_ARGUMENT, "not a host name for known_hosts");
    if (sshkey_type(key, n, type) != 0 || sshkey_check(key, n) == -E_MALFORMED)
        return errors_set(e, -E_MALFORMED, "host key");
    if (set == NULL) {
        rc = knownhosts_open(NULL, 0, &own, e);
        if (rc != 0)
            return rc;
    } else if (knownhosts_check(set, name, 0, key, n, &match) == 0 &&
               match.state == KNOWNHOSTS_KNOWN) {
        return 0; /* another connection to the same host was faster */
    }
    rc = -E_NOMEM;
    base64 = malloc(sshkey_base64_size(n));
    size = sizeof written + sizeof type + sshkey_base64_size(n) + 8;
    text = malloc(size);
    if (base64 == NULL || text == NULL)
        goto out;
    sshkey_base64_encode(key, n, base64);
    (void)snprintf(written, sizeof written, "%s", name);
    if (hashed && knownhosts_add_hash(set == NULL ? own : set, name, written, sizeof written) != 0)
        goto out;
    int length = snprintf(text, size, "\n%s %s %s\n", written, type, base64);
    rc = append(path, text, (size_t)length, e);
    if (rc == 0 && set != NULL)
        rc = knownhosts_add_remember(set, path, name, type, base64);
out:
    if (rc == -E_NOMEM)
        (void)errors_set(e, rc, "%s", path);
    knownhosts_free(own);
    free(base64);
    free(text);
    return rc;
}
