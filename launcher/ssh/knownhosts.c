#include "launcher/ssh/knownhosts.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/knownhosts_impl.h"
#include "launcher/ssh/sshconfig.h"

int knownhosts_open(const char *const *files, size_t count, struct knownhosts **out,
                    struct error *e)
{
    int rc = 0;
    *out = NULL;
    struct knownhosts *set = sodium_init() < 0 ? NULL : calloc(1, sizeof *set);
    if (set == NULL)
        return errors_set(e, -E_NOMEM, "known_hosts");
    set->digest = EVP_MD_fetch(NULL, "SHA1", NULL);
    set->digest_context = EVP_MD_CTX_new();
    set->files = calloc(count + 1, sizeof *set->files);
    if (set->digest == NULL || set->digest_context == NULL || set->files == NULL) {
        rc = errors_set(e, -E_NOMEM, "known_hosts");
        goto out;
    }
    for (; set->files_count < count; set->files_count++) {
        set->files[set->files_count] = strdup(files[set->files_count]);
        if (set->files[set->files_count] == NULL) {
            rc = errors_set(e, -E_NOMEM, "known_hosts");
            goto out;
        }
    }
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = knownhosts_read(set, i, e);
out:
    if (rc != 0)
        knownhosts_free(set);
    else
        *out = set;
    return rc;
}

void knownhosts_hold(struct knownhosts *set)
{
    set->more_holders++;
}

void knownhosts_free(struct knownhosts *set)
{
    if (set == NULL)
        return;
    if (set->more_holders > 0) {
        set->more_holders--;
        return;
    }
    for (size_t i = 0; i < set->buffers_count; i++)
        free(set->buffers[i]);
    for (size_t i = 0; i < set->files_count; i++)
        free(set->files[i]);
    for (size_t i = 0; i < set->answers_count; i++)
        free(set->answers[i].at);
    knownhosts_index_free(&set->plain);
    knownhosts_index_free(&set->memory);
    free(set->answers);
    free(set->patterns.at);
    free(set->hashed);
    free(set->entries);
    free(set->files);
    free(set->buffers);
    EVP_MD_CTX_free(set->digest_context);
    EVP_MD_free(set->digest);
    free(set);
}

size_t knownhosts_count(const struct knownhosts *set)
{
    return set->entries_count;
}

int knownhosts_name(const char *host, unsigned port, char *out, size_t size)
{
    if (size > 0)
        out[0] = '\0';
    if (host[0] == '\0' || host[0] == '|' || host[0] == '@' || host[0] == '#' || port > 65535)
        return -E_ARGUMENT;
    for (const char *p = host; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr(",*?!", *p) != NULL)
            return -E_ARGUMENT;
    int n = port == 0 || port == 22 ? snprintf(out, size, "%s", host)
                                    : snprintf(out, size, "[%s]:%u", host, port);
    if (n < 0 || (size_t)n >= size)
        return -E_LIMIT;
    for (char *p = out; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return 0;
}

static int compare(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

/* Appends the entries with hashed names that are this one. */
static int find_hashed(struct knownhosts *set, const char *name, size_t n,
                       struct knownhosts_numbers *found)
{
    int rc = 0;
    uint8_t mac[20];
    for (size_t i = 0; rc == 0 && i < set->hashed_count; i++) {
        struct knownhosts_hashed *h = &set->hashed[i];
        if (h->taken)
            continue;
        rc = knownhosts_index_hmac(set, h->salt, name, n, mac);
        if (rc == 0 && memcmp(mac, h->hash, sizeof mac) == 0) {
            h->taken = 1;
            rc = knownhosts_index_append(found, h->entry);
        }
    }
    return rc;
}

static int find_all(struct knownhosts *set, const char *name, size_t n,
                    struct knownhosts_numbers *found)
{
    size_t cursor = 0, entry;
    int rc = 0;
    while (rc == 0 && knownhosts_index_next(&set->plain, name, n, &cursor, &entry))
        rc = knownhosts_index_append(found, entry);
    for (size_t i = 0; rc == 0 && i < set->patterns.count; i++)
        if (sshconfig_match_list(name, set->entries[set->patterns.at[i]].hosts, 1) == 1)
            rc = knownhosts_index_append(found, set->patterns.at[i]);
    if (rc == 0)
        rc = find_hashed(set, name, n, found);
    if (rc != 0 || found->count == 0)
        return rc;
    qsort(found->at, found->count, sizeof *found->at, compare);
    size_t kept = 1; /* a line may hold a name twice */
    for (size_t i = 1; i < found->count; i++)
        if (found->at[i] != found->at[kept - 1])
            found->at[kept++] = found->at[i];
    found->count = kept;
    return 0;
}

/* The numbers of all entries for a name, from memory if it was asked for before: with hashed
 * names a search costs some 0.3 us a line, and each connection asks more than once. */
static int find(struct knownhosts *set, const char *name, struct knownhosts_numbers **out)
{
    size_t n = strlen(name), cursor = 0, number;
    if (knownhosts_index_next(&set->memory, name, n, &cursor, &number)) {
        *out = &set->answers[number];
        return 0;
    }
    struct knownhosts_numbers found = {0}, *answers;
    char *copy = strdup(name);
    int rc = knownhosts_read_keep(set, copy);
    if (rc == 0)
        rc = find_all(set, name, n, &found);
    if (rc != 0)
        goto out;
    rc = -E_NOMEM;
    answers = knownhosts_index_grow(set->answers, set->answers_count, &set->answers_size,
                                    sizeof *answers);
    if (answers == NULL)
        goto out;
    set->answers = answers;
    if (knownhosts_index_put(&set->memory, copy, n, set->answers_count) != 0)
        goto out;
    answers[set->answers_count] = found;
    found.at = NULL;
    *out = &answers[set->answers_count++];
    rc = 0;
out:
    if (rc != 0) { /* a line must not stay taken by a name that is not remembered */
        for (size_t i = 0; i < set->hashed_count; i++)
            for (size_t j = 0; j < found.count; j++)
                if (found.at != NULL && found.at[j] == set->hashed[i].entry)
                    set->hashed[i].taken = 0;
    }
    free(found.at);
    return rc;
}

/* Types that ssh knows but whose blobs are not walked over here. */
static int is_other_type(const char *type)
{
    static const char *const types[] = {"ssh-dss", "sk-ssh-ed25519@openssh.com",
                                        "sk-ecdsa-sha2-nistp256@openssh.com"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i], type) == 0)
            return 1;
    return 0;
}

/* Lines whose key does not decode are as if they were not there. */
static int is_valid(struct knownhosts_entry *entry)
{
    if (entry->valid != VALID_NOT_LOOKED)
        return entry->valid == VALID_YES;
    entry->valid = VALID_NO;
    size_t text_n = strlen(entry->key), n = text_n / 4 * 3;
    if (n == 0 || n > SSHKEY_BLOB_MAX)
        return 0;
    uint8_t blob[SSHKEY_BLOB_MAX];
    char type[SSHKEY_NAME_MAX];
    if (sshkey_base64_decode(entry->key, text_n, blob, &n) != 0 ||
        sshkey_type(blob, n, type) != 0 || strcmp(type, entry->type) != 0)
        return 0;
    int rc = sshkey_check(blob, n);
    if (rc == 0 || (rc == -E_UNSUPPORTED && is_other_type(type)))
        entry->valid = VALID_YES;
    return entry->valid == VALID_YES;
}

/* ssh's judgement over a host's lines: revocation first, then the key itself, then any other key,
 * be it of another type, makes it changed. */
static void judge(struct knownhosts *set, const struct knownhosts_numbers *found, const char *type,
                  const char *key, struct knownhosts_match *out)
{
    *out = (struct knownhosts_match){.state = KNOWNHOSTS_UNKNOWN};
    for (size_t i = 0; i < found->count; i++) {
        struct knownhosts_entry *entry = &set->entries[found->at[i]];
        int same_type = strcmp(entry->type, type) == 0, better;
        if (!is_valid(entry))
            continue;
        int same_key = same_type && strcmp(entry->key, key) == 0;
        if (entry->marker == MARKER_AUTHORITY) {
            out->authority = 1;
            continue;
        }
        if (entry->marker == MARKER_REVOKED) {
            if (!same_key)
                continue;
            out->state = KNOWNHOSTS_REVOKED;
            better = 1;
        } else if (same_key) {
            better = out->state != KNOWNHOSTS_KNOWN;
            out->state = KNOWNHOSTS_KNOWN;
        } else if (out->state == KNOWNHOSTS_KNOWN) {
            better = 0;
        } else {
            better = out->state == KNOWNHOSTS_UNKNOWN || (same_type && !out->same_type);
            out->state = KNOWNHOSTS_CHANGED;
        }
        if (better) {
            out->file = set->files[entry->file];
            out->line = entry->line;
            out->type = entry->type;
            out->key = entry->key;
            out->same_type = same_type;
        }
        if (out->state == KNOWNHOSTS_REVOKED)
            return;
    }
}

static int look_up(struct knownhosts *set, const char *host, unsigned port, const char *type,
                   const char *key, struct knownhosts_match *out)
{
    char name[KNOWNHOSTS_NAME_MAX];
    struct knownhosts_numbers *found;
    int rc = knownhosts_name(host, port, name, sizeof name);
    if (rc == 0)
        rc = find(set, name, &found);
    if (rc == 0)
        judge(set, found, type, key, out);
    return rc == -E_LIMIT ? -E_ARGUMENT : rc;
}

int knownhosts_check(struct knownhosts *set, const char *host, unsigned port, const void *key,
                     size_t n, struct knownhosts_match *out)
{
    char type[SSHKEY_NAME_MAX];
    struct knownhosts_match plain;
    *out = (struct knownhosts_match){.state = KNOWNHOSTS_UNKNOWN};
    int rc = sshkey_type(key, n, type);
    if (rc == 0 && sshkey_check(key, n) == -E_MALFORMED)
        rc = -E_MALFORMED;
    if (rc != 0)
        return rc;
    char *text = malloc(sshkey_base64_size(n));
    if (text == NULL)
        return -E_NOMEM;
    sshkey_base64_encode(key, n, text);
    rc = look_up(set, host, port, type, text, out);
    if (rc == 0 && out->state == KNOWNHOSTS_UNKNOWN && port != 0 && port != 22) {
        rc = look_up(set, host, 0, type, text, &plain);
        if (rc == 0 && (plain.state == KNOWNHOSTS_KNOWN || plain.state == KNOWNHOSTS_REVOKED)) {
            plain.authority |= out->authority;
            *out = plain;
        }
    }
    free(text);
    return rc;
}

/* Appends `name` to a comma separated list, once. */
static int list_add(char *out, size_t size, const char *name)
{
    size_t used = strlen(out), n = strlen(name);
    for (const char *p = out; *p != '\0';) {
        size_t length = strcspn(p, ",");
        if (length == n && memcmp(p, name, n) == 0)
            return 0;
        p += length + (p[length] == ',');
    }
    if (used + (used > 0) + n + 1 > size)
        return -E_LIMIT;
    if (used > 0)
        out[used++] = ',';
    memcpy(out + used, name, n + 1);
    return 0;
}

int knownhosts_types(struct knownhosts *set, const char *host, unsigned port, char *out,
                     size_t size)
{
    char name[KNOWNHOSTS_NAME_MAX];
    struct knownhosts_numbers *found;
    if (size == 0)
        return -E_LIMIT;
    out[0] = '\0';
    int rc = knownhosts_name(host, port, name, sizeof name);
    if (rc == 0)
        rc = find(set, name, &found);
    if (rc != 0)
        return rc == -E_LIMIT ? -E_ARGUMENT : rc;
    for (size_t i = 0; i < found->count; i++) {
        struct knownhosts_entry *entry = &set->entries[found->at[i]];
        if (entry->marker == MARKER_NONE && is_valid(entry) &&
            (rc = list_add(out, size, entry->type)) != 0)
            return rc;
    }
    if (out[0] == '\0' && port != 0 && port != 22)
        return knownhosts_types(set, host, 0, out, size);
    return 0;
}

int knownhosts_algorithms(struct knownhosts *set, const char *host, unsigned port, char *out,
                          size_t size)
{
    char types[1024];
    int rc = knownhosts_types(set, host, port, types, sizeof types);
    if (size == 0)
        return -E_LIMIT;
    out[0] = '\0';
    if (rc != 0)
        return rc;
    for (char *p = types; *p != '\0' && rc == 0;) {
        size_t n = strcspn(p, ",");
        int last = p[n] == '\0';
        p[n] = '\0';
        if (strcmp(p, "ssh-rsa") == 0) {
            rc = list_add(out, size, "rsa-sha2-512");
            if (rc == 0)
                rc = list_add(out, size, "rsa-sha2-256");
        } else {
            rc = list_add(out, size, p);
        }
        p += last ? n : n + 1;
    }
    return rc;
}
