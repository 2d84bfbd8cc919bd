#include "launcher/ssh/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/ssh/keyfile_impl.h"

static int has(const char *text, size_t n, const char *what)
{
    return memmem(text, n, what, strlen(what)) != NULL;
}

static int starts(const char *text, size_t n, const char *what)
{
    return n >= strlen(what) && memcmp(text, what, strlen(what)) == 0;
}

static struct keyfile *new_keyfile(const char *path)
{
    struct keyfile *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->path = strdup(path);
    k->comment = strdup("");
    if (k->path == NULL || k->comment == NULL) {
        keyfile_free(k);
        return NULL;
    }
    return k;
}

void keyfile_free(struct keyfile *k)
{
    if (k == NULL)
        return;
    EVP_PKEY_free(k->key); /* libcrypto wipes it */
    free(k->path);
    free(k->comment);
    free(k->blob);
    free(k->sealed);
    free(k);
}

int keyfile_set_blob(struct keyfile *k, const void *blob, size_t n, struct error *e)
{
    char type[SSHKEY_NAME_MAX];
    int rc = sshkey_type(blob, n, type);
    if (rc != 0)
        return errors_set(e, rc, "%s: no public key where it belongs", k->path);
    if (sshkey_is_certificate(type) || sshkey_is_token(type))
        return errors_set(e, -E_AUTH_NEEDS_OPENSSH, "%s: %s", k->path, type);
    rc = sshkey_check(blob, n);
    if (rc == -E_UNSUPPORTED)
        return errors_set(e, rc, "%s: keys of type %s", k->path, type);
    if (rc != 0)
        return errors_set(e, rc, "%s: damaged public key", k->path);
    k->blob = malloc(n);
    if (k->blob == NULL)
        return errors_set(e, -E_NOMEM, "%s", k->path);
    memcpy(k->blob, blob, n);
    k->blob_n = n;
    memcpy(k->type, type, sizeof k->type);
    return 0;
}

/* One line: type, base64, comment. */
static int read_public(struct keyfile *k, const char *text, size_t n, struct error *e)
{
    const char *end = memchr(text, '\n', n);
    size_t line = end == NULL ? n : (size_t)(end - text);
    char *copy = strndup(text, line), *rest = copy, *type, *key;
    char real[SSHKEY_NAME_MAX];
    uint8_t *blob = NULL;
    int rc = -E_MALFORMED;
    if (copy == NULL)
        return errors_set(e, -E_NOMEM, "%s", k->path);
    copy[strcspn(copy, "\r")] = '\0';
    type = strsep(&rest, " \t");
    key = rest == NULL ? NULL : strsep(&rest, " \t");
    if (key == NULL || strlen(key) / 4 * 3 > SSHKEY_BLOB_MAX)
        goto out;
    size_t blob_n = strlen(key) / 4 * 3 + 1;
    blob = malloc(blob_n);
    if (blob == NULL || sshkey_base64_decode(key, strlen(key), blob, &blob_n) != 0 ||
        sshkey_type(blob, blob_n, real) != 0 || strcmp(real, type) != 0)
        goto out;
    rc = keyfile_set_blob(k, blob, blob_n, e);
    if (rc == 0 && rest != NULL && *rest != '\0') {
        free(k->comment);
        k->comment = strdup(rest);
        if (k->comment == NULL)
            rc = errors_set(e, -E_NOMEM, "%s", k->path);
    }
    blob_n = 0;
out:
    if (rc == -E_MALFORMED && k->blob == NULL)
        (void)errors_set(e, rc, "%s: not a public key", k->path);
    free(blob);
    free(copy);
    return rc;
}

static int looks_public(const char *text, size_t n)
{
    static const char *const types[] = {"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (starts(text, n, types[i]))
            return 1;
    return 0;
}

/* Reads a private key's text into *k, which may know its public part already. */
static int read_private(struct keyfile *k, const char *text, size_t n, const void *passphrase,
                        size_t passphrase_n, struct error *e)
{
    if (has(text, n, "-----BEGIN OPENSSH PRIVATE KEY-----"))
        return keyfile_openssh(k, text, n, passphrase, passphrase_n, e);
    if (has(text, n, "-----BEGIN ") && has(text, n, "PRIVATE KEY-----"))
        return keyfile_pem(k, text, n, passphrase, passphrase_n, e);
    if (starts(text, n, "PuTTY-User-Key-File"))
        return errors_set(e, -E_UNSUPPORTED, "%s: PuTTY's format (puttygen -O private-openssh)",
                          k->path);
    return errors_set(e, -E_MALFORMED, "%s: not a private key", k->path);
}

/* Keeps the text of a locked key, for keyfile_unlock. */
static int keep_sealed(struct keyfile *k, const void *text, size_t n, struct error *e)
{
    if (k->key != NULL || !k->encrypted)
        return 0;
    k->sealed = malloc(n + 1);
    if (k->sealed == NULL)
        return errors_set(e, -E_NOMEM, "%s", k->path);
    memcpy(k->sealed, text, n);
    k->sealed_n = n;
    return 0;
}

int keyfile_parse(const char *name, const void *data, size_t n, const void *passphrase,
                  size_t passphrase_n, struct keyfile **out, struct error *e)
{
    int rc;
    *out = NULL;
    if (n > KEYFILE_SIZE_MAX)
        return errors_set(e, -E_LIMIT, "%s: too long for a key", name);
    if (sodium_init() < 0)
        return errors_set(e, -E_SYSTEM, "libsodium");
    struct keyfile *k = new_keyfile(name);
    if (k == NULL)
        return errors_set(e, -E_NOMEM, "%s", name);
    if (looks_public(data, n))
        rc = read_public(k, data, n, e);
    else
        rc = read_private(k, data, n, passphrase, passphrase_n, e);
    if (rc == 0)
        rc = keep_sealed(k, data, n, e);
    if (rc != 0)
        keyfile_free(k);
    else
        *out = k;
    return rc;
}

/* Reads a file into *text (from sodium_malloc: it may be an unencrypted key).  *open_mode is the
 * file's mode if it is ours and others may do something with it, else 0. */
static int slurp(const char *path, char **text, size_t *n, unsigned *open_mode, struct error *e)
{
    struct stat st;
    int rc = 0;
    *text = NULL;
    *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errors_set_system(e, -E_IO, errno, "%s", path);
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode)) {
        rc = errors_set(e, -E_IO, "%s: not a file", path);
        goto out;
    }
    *open_mode = st.st_uid == getuid() && (st.st_mode & 077) != 0 ? st.st_mode & 07777 : 0;
    *text = sodium_init() < 0 ? NULL : sodium_malloc(KEYFILE_SIZE_MAX + 1);
    if (*text == NULL) {
        rc = errors_set(e, -E_NOMEM, "%s", path);
        goto out;
    }
    for (ssize_t got = 1; rc == 0 && got != 0;) {
        got = read(fd, *text + *n, KEYFILE_SIZE_MAX + 1 - *n);
        if (got < 0 && errno != EINTR)
            rc = errors_set_system(e, -E_IO, errno, "%s", path);
        else if (got > 0)
            *n += (size_t)got;
        if (rc == 0 && *n > KEYFILE_SIZE_MAX)
            rc = errors_set(e, -E_LIMIT, "%s: too long for a key", path);
    }
out:
    if (rc != 0) {
        sodium_free(*text);
        *text = NULL;
    }
    close(fd);
    return rc;
}

int keyfile_load_public(const char *path, struct keyfile **out, struct error *e)
{
    char *text;
    size_t n;
    unsigned open_mode;
    *out = NULL;
    int rc = slurp(path, &text, &n, &open_mode, e);
    if (rc != 0)
        return rc;
    if (looks_public(text, n))
        rc = keyfile_parse(path, text, n, NULL, 0, out, e);
    else
        rc = errors_set(e, -E_MALFORMED, "%s: not a public key", path);
    sodium_free(text);
    return rc;
}

/* FILE.pub beside FILE; 0 if it was read. */
static int load_beside(const char *path, struct keyfile **out, struct error *e)
{
    char beside[4200];
    *out = NULL;
    if (snprintf(beside, sizeof beside, "%s.pub", path) >= (int)sizeof beside)
        return errors_set(e, -E_IO, "%s: path too long", path);
    return keyfile_load_public(beside, out, e);
}

/* Gives a locked PEM key the public part that stands beside it. */
static void borrow_public(struct keyfile *k)
{
    struct keyfile *beside;
    if (k->blob != NULL || load_beside(k->path, &beside, NULL) != 0)
        return;
    k->blob = beside->blob;
    k->blob_n = beside->blob_n;
    memcpy(k->type, beside->type, sizeof k->type);
    free(k->comment);
    k->comment = beside->comment;
    beside->blob = NULL;
    beside->comment = NULL;
    keyfile_free(beside);
}

int keyfile_load(const char *path, const void *passphrase, size_t n, struct keyfile **out,
                 struct error *e)
{
    char *text;
    size_t text_n;
    unsigned open_mode;
    *out = NULL;
    if (access(path, F_OK) != 0 && errno == ENOENT && load_beside(path, out, NULL) == 0)
        return 0;
    int rc = slurp(path, &text, &text_n, &open_mode, e);
    if (rc != 0)
        return rc;
    if (open_mode != 0 && !looks_public(text, text_n))
        rc = errors_set(e, -E_CONFIG,
                        "%s: mode %04o: a private key must not be open to others (chmod 600)", path,
                        open_mode);
    else
        rc = keyfile_parse(path, text, text_n, passphrase, n, out, e);
    if (rc == 0)
        borrow_public(*out);
    sodium_free(text);
    return rc;
}

int keyfile_unlock(struct keyfile *k, const void *passphrase, size_t n, struct error *e)
{
    if (k->key != NULL)
        return 0;
    if (k->sealed == NULL)
        return errors_set(e, -E_UNSUPPORTED, "%s: only the public key is here", k->path);
    int rc = read_private(k, (const char *)k->sealed, k->sealed_n,
                          passphrase == NULL ? "" : passphrase, passphrase == NULL ? 0 : n, e);
    if (rc == 0) {
        free(k->sealed);
        k->sealed = NULL;
        k->sealed_n = 0;
    }
    return rc;
}

const uint8_t *keyfile_blob(const struct keyfile *k, size_t *n)
{
    *n = k->blob_n;
    return k->blob;
}

const char *keyfile_type(const struct keyfile *k)
{
    return k->type;
}

const char *keyfile_comment(const struct keyfile *k)
{
    return k->comment;
}

const char *keyfile_path(const struct keyfile *k)
{
    return k->path;
}

int keyfile_encrypted(const struct keyfile *k)
{
    return k->encrypted;
}

int keyfile_locked(const struct keyfile *k)
{
    return k->key == NULL;
}

int keyfile_public_only(const struct keyfile *k)
{
    return k->key == NULL && k->sealed == NULL;
}
