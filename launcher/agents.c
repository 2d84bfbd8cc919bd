#include "launcher/agents.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>

#define HASH_SIZE 32
#define FOLDERS   3

struct manifest_entry {
    const char *name;
    size_t plain_size, packed_size;
    const char *plain_hash, *packed_hash;
};

static const struct manifest_entry manifest[] = {
#define AGENT(name, plain_size, packed_size, plain_hash, packed_hash)                              \
    {name, plain_size, packed_size, plain_hash, packed_hash},
#include "agents_manifest.h"
#undef AGENT
};
#define MANIFEST_COUNT (sizeof manifest / sizeof *manifest)

struct agents {
    char *folders[FOLDERS]; /* in order of search; NULL: not there */
    struct agents_binary loaded[MANIFEST_COUNT];
};

static char *beside_program(void)
{
    char path[PATH_MAX], *slash, *folder;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    if (n <= 0)
        return NULL;
    path[n] = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    return asprintf(&folder, "%s/agents", path) < 0 ? NULL : folder;
}

struct agents *agents_new(const char *folder)
{
    struct agents *a = calloc(1, sizeof *a);

    if (!a)
        return NULL;
    if (!folder)
        folder = getenv("GRAPNEL_AGENTS");
    if (folder && *folder) {
        a->folders[0] = strdup(folder);
    } else {
        a->folders[0] = beside_program();
        a->folders[1] = strdup(GRAPNEL_LIBEXECDIR);
    }
    return a;
}

void agents_free(struct agents *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < FOLDERS; i++)
        free(a->folders[i]);
    for (size_t i = 0; i < MANIFEST_COUNT; i++)
        free(a->loaded[i].packed);
    free(a);
}

/* "Linux x86_64" → "linux-x86_64".  Unexpected characters make a name that no agent has. */
static void name_from_uname(const char *uname, char *name, size_t size)
{
    size_t i;

    for (i = 0; uname[i] && i + 1 < size; i++)
        name[i] = uname[i] == ' ' ? '-' : (char)tolower((unsigned char)uname[i]);
    name[i] = '\0';
}

static int own_uname(char *text, size_t size)
{
    struct utsname u;

    if (uname(&u) < 0)
        return -E_SYSTEM;
    return snprintf(text, size, "%s %s", u.sysname, u.machine) < (int)size ? 0 : -E_LIMIT;
}

/* Reads the whole file, which must have exactly `size` bytes.  NULL with errno; 0: other size. */
static uint8_t *read_exactly(const char *path, size_t size)
{
    uint8_t *bytes = NULL;
    struct stat st;
    size_t have = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) < 0 || (bytes = malloc(size ? size : 1)) == NULL)
        goto out;
    errno = 0;
    if ((uint64_t)st.st_size != size)
        goto out;
    while (have < size) {
        ssize_t n = read(fd, bytes + have, size - have);
        if (n <= 0)
            goto out;
        have += (size_t)n;
    }
    close(fd);
    return bytes;
out:
    free(bytes);
    close(fd);
    return NULL;
}

static int hash_matches(const uint8_t *bytes, size_t n, const char *hex)
{
    uint8_t hash[HASH_SIZE];
    char text[2 * HASH_SIZE + 1];

    crypto_generichash(hash, sizeof hash, bytes, n, NULL, 0);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    return strcmp(text, hex) == 0;
}

static int load(struct agents *a, const struct manifest_entry *m, struct agents_binary *b,
                struct error *e)
{
    char path[PATH_MAX];
    uint8_t *bytes = NULL;

    for (size_t i = 0; i < FOLDERS; i++) {
        if (!a->folders[i])
            continue;
        snprintf(path, sizeof path, "%s/%s.gz", a->folders[i], m->name);
        bytes = read_exactly(path, m->packed_size);
        if (bytes || errno != ENOENT)
            break;
    }
    if (!bytes && errno)
        return errors_set_system(e, -E_AGENT_MISSING, errno, "%s", path);
    if (!bytes || !hash_matches(bytes, m->packed_size, m->packed_hash)) {
        free(bytes);
        return errors_set(e, -E_AGENT_TAMPERED, "%s", path);
    }
    b->packed = bytes;
    b->packed_size = m->packed_size;
    b->plain_size = m->plain_size;
    b->hash_hex = m->plain_hash;
    snprintf(b->name, sizeof b->name, "%s", m->name);
    return 0;
}

static int no_agent(const char *uname, struct error *e)
{
    char list[400] = "";

    for (size_t i = 0; i < MANIFEST_COUNT; i++) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", manifest[i].name);
    }
    return errors_set(e, -E_ARCH, "the host says \"%s\"; there are agents for %s", uname, list);
}

/* This machine's own system if there is an agent for it, else that of the first agent. */
static void guess(char *uname, size_t size)
{
    char name[48] = "";

    if (own_uname(uname, size) == 0)
        name_from_uname(uname, name, sizeof name);
    for (size_t i = 0; i < MANIFEST_COUNT; i++) {
        if (strcmp(manifest[i].name, name) == 0)
            return;
    }
    snprintf(uname, size, "%s", manifest[0].name);
    uname[strcspn(uname, "-")] = ' ';
    uname[0] = (char)toupper((unsigned char)uname[0]);
}

const struct agents_binary *agents_find(struct agents *a, const char *uname, struct error *e)
{
    char guessed[64] = "", name[48];

    if (!uname) {
        guess(guessed, sizeof guessed);
        uname = guessed;
    }
    name_from_uname(uname, name, sizeof name);
    for (size_t i = 0; i < MANIFEST_COUNT; i++) {
        struct agents_binary *b = &a->loaded[i];
        if (strcmp(manifest[i].name, name) != 0)
            continue;
        if (!b->packed && load(a, &manifest[i], b, e) < 0)
            return NULL;
        snprintf(b->uname, sizeof b->uname, "%s", uname);
        return b;
    }
    no_agent(uname, e);
    return NULL;
}

uint8_t *agents_unpack(const struct agents_binary *b, struct error *e)
{
    z_stream z = {0};
    uint8_t *plain = malloc(b->plain_size ? b->plain_size : 1);
    int result = Z_MEM_ERROR;

    if (!plain || inflateInit2(&z, 15 + 16) != Z_OK) {
        free(plain);
        errors_set(e, -E_NOMEM, "unpacking the agent");
        return NULL;
    }
    z.next_in = b->packed;
    z.avail_in = (uInt)b->packed_size;
    z.next_out = plain;
    z.avail_out = (uInt)b->plain_size;
    result = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    if (result == Z_STREAM_END && z.total_out == b->plain_size)
        return plain;
    free(plain);
    errors_set(e, -E_AGENT_TAMPERED, "%s does not unpack", b->name);
    return NULL;
}
