#include "launcher/bootstrap/agents.h"

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
#define FOLDERS   2
#define PLACES    2

struct manifest_entry {
    const char *name;
    size_t plain_size, packed_size;
    const char *plain_hash, *packed_hash, *plain_sha256;
};

#define AGENT(name, plain_size, packed_size, plain_hash, packed_hash, plain_sha256)                \
    {name, plain_size, packed_size, plain_hash, packed_hash, plain_sha256},
static const struct manifest_entry agents_manifest[] = {
#include "agents_manifest.h"
};
static const struct manifest_entry workers_manifest[] = {
#include "workers_manifest.h"
};
#undef AGENT
#define AGENTS_COUNT  (sizeof agents_manifest / sizeof *agents_manifest)
#define WORKERS_COUNT (sizeof workers_manifest / sizeof *workers_manifest)

/* One kind of binary: its part of the build, and where its files lie in or beside a folder. */
struct kind {
    const struct manifest_entry *manifest;
    size_t count;
    const char *places[PLACES]; /* below a folder; NULL: no second */
    int missing, tampered;      /* error codes */
};
static const struct kind agent_kind = {
    agents_manifest, AGENTS_COUNT, {"", NULL}, -E_AGENT_MISSING, -E_AGENT_TAMPERED};
static const struct kind worker_kind = {workers_manifest,
                                        WORKERS_COUNT,
                                        {"/workers", "/../workers"},
                                        -E_WORKER_MISSING,
                                        -E_WORKER_TAMPERED};

struct agents {
    char *folders[FOLDERS]; /* in order of search; NULL: not there */
    struct agents_binary agents[AGENTS_COUNT], workers[WORKERS_COUNT];
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
    for (size_t i = 0; i < AGENTS_COUNT; i++)
        free(a->agents[i].packed);
    for (size_t i = 0; i < WORKERS_COUNT; i++)
        free(a->workers[i].packed);
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

/* Reads the first file that is there.  NULL with errno, 0 for a wrong size; then `path` is the file
 * that was there, or else where it should be. */
static uint8_t *read_first(const struct agents *a, const struct kind *k,
                           const struct manifest_entry *m, char path[PATH_MAX])
{
    const char *last = "";

    for (size_t i = 0; i < FOLDERS * PLACES; i++) {
        const char *folder = a->folders[i / PLACES], *place = k->places[i % PLACES];
        uint8_t *bytes;
        if (!folder || !place)
            continue;
        snprintf(path, PATH_MAX, "%s%s/%s.gz", folder, place, m->name);
        bytes = read_exactly(path, m->packed_size);
        if (bytes || errno != ENOENT)
            return bytes;
        last = folder;
    }
    snprintf(path, PATH_MAX, "%s%s/%s.gz", last, k->places[0], m->name);
    errno = ENOENT;
    return NULL;
}

static void describe(const struct manifest_entry *m, struct agents_binary *b)
{
    b->packed_size = m->packed_size;
    b->plain_size = m->plain_size;
    b->hash_hex = m->plain_hash;
    b->sha256_hex = m->plain_sha256;
    snprintf(b->name, sizeof b->name, "%s", m->name);
}

static int load(struct agents *a, const struct kind *k, const struct manifest_entry *m,
                struct agents_binary *b, struct error *e)
{
    char path[PATH_MAX] = "";
    uint8_t *bytes = read_first(a, k, m, path);

    if (!bytes && errno)
        return errors_set_system(e, k->missing, errno, "%s", path);
    if (!bytes || !hash_matches(bytes, m->packed_size, m->packed_hash)) {
        free(bytes);
        return errors_set(e, k->tampered, "%s", path);
    }
    b->packed = bytes;
    describe(m, b);
    return 0;
}

/* The entry's place in both the manifest and what is loaded; count: no such name. */
static size_t find(const struct kind *k, const char *name)
{
    size_t i = 0;

    while (i < k->count && strcmp(k->manifest[i].name, name) != 0)
        i++;
    return i;
}

static void list_names(const struct kind *k, char *list, size_t size)
{
    size_t at = 0;

    list[0] = '\0';
    for (size_t i = 0; i < k->count && at < size; i++)
        at += (size_t)snprintf(list + at, size - at, "%s%s", i ? ", " : "", k->manifest[i].name);
}

/* This machine's own system if there is an agent for it, else that of the first agent. */
static void guess(char *uname, size_t size)
{
    char name[48] = "";

    if (own_uname(uname, size) == 0)
        name_from_uname(uname, name, sizeof name);
    if (find(&agent_kind, name) < AGENTS_COUNT)
        return;
    snprintf(uname, size, "%s", agents_manifest[0].name);
    uname[strcspn(uname, "-")] = ' ';
    uname[0] = (char)toupper((unsigned char)uname[0]);
}

/* The entry's place, with all that is known without its file. */
static struct agents_binary *look_up(struct agents *a, const char *uname, struct error *e)
{
    char guessed[64] = "", name[48], list[400];
    struct agents_binary *b;
    size_t i;

    if (!uname) {
        guess(guessed, sizeof guessed);
        uname = guessed;
    }
    name_from_uname(uname, name, sizeof name);
    i = find(&agent_kind, name);
    if (i == AGENTS_COUNT) {
        list_names(&agent_kind, list, sizeof list);
        errors_set(e, -E_ARCH, "the host says \"%s\"; there are agents for %s", uname, list);
        return NULL;
    }
    b = &a->agents[i];
    describe(&agents_manifest[i], b);
    if (uname != b->uname)
        snprintf(b->uname, sizeof b->uname, "%s", uname);
    return b;
}

const struct agents_binary *agents_known(struct agents *a, const char *uname, struct error *e)
{
    return look_up(a, uname, e);
}

const struct agents_binary *agents_find(struct agents *a, const char *uname, struct error *e)
{
    struct agents_binary *b = look_up(a, uname, e);

    if (b && !b->packed && load(a, &agent_kind, &agents_manifest[b - a->agents], b, e) < 0)
        return NULL;
    return b;
}

const struct agents_binary *agents_worker(struct agents *a, const char *name, struct error *e)
{
    size_t i = find(&worker_kind, name);
    char list[400];

    if (i == WORKERS_COUNT) {
        list_names(&worker_kind, list, sizeof list);
        errors_set(e, -E_WORKER_MISSING, "none for %s; there are workers for %s", name, list);
        return NULL;
    }
    if (!a->workers[i].packed && load(a, &worker_kind, &workers_manifest[i], &a->workers[i], e) < 0)
        return NULL;
    return &a->workers[i];
}

static void hash_names(crypto_generichash_state *state, const struct kind *k)
{
    for (size_t i = 0; i < k->count; i++) {
        const char *const texts[] = {k->manifest[i].name, k->manifest[i].plain_hash};
        for (size_t j = 0; j < 2; j++)
            crypto_generichash_update(state, (const uint8_t *)texts[j], strlen(texts[j]) + 1);
    }
}

void agents_build(char text[AGENTS_BUILD])
{
    crypto_generichash_state state;
    uint8_t hash[(AGENTS_BUILD - 1) / 2];

    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, (const uint8_t *)GRAPNEL_VERSION, sizeof GRAPNEL_VERSION);
    hash_names(&state, &agent_kind);
    hash_names(&state, &worker_kind);
    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_bin2hex(text, AGENTS_BUILD, hash, sizeof hash);
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
