/* PEM private keys, through libcrypto. */
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "launcher/ssh/keyfile_impl.h"

struct phrase {
    const void *bytes;
    size_t n;
};

/* libcrypto would ask on the terminal if it were not given this. */
static int give_phrase(char *out, int size, int writing, void *user)
{
    const struct phrase *phrase = user;
    (void)writing;
    if (phrase->bytes == NULL || size < 0 || phrase->n > (size_t)size)
        return -1;
    memcpy(out, phrase->bytes, phrase->n);
    return (int)phrase->n;
}

static int is_encrypted(const char *text, size_t n)
{
    static const char *const marks[] = {"-----BEGIN ENCRYPTED PRIVATE KEY-----",
                                        "Proc-Type: 4,ENCRYPTED"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (memmem(text, n, marks[i], strlen(marks[i])) != NULL)
            return 1;
    return 0;
}

/* The public part: takes it over, or compares it with what FILE.pub said. */
static int match_blob(struct keyfile *k, struct error *e)
{
    struct wire_buf blob = {0};
    int rc = keyfile_pkey_blob(k->key, &blob);
    if (rc != 0)
        (void)errors_set(e, rc, "%s: a kind of key that SSH does not use", k->path);
    else if (k->blob == NULL)
        rc = keyfile_set_blob(k, wire_data(&blob), wire_length(&blob), e);
    else if (k->blob_n != wire_length(&blob) || memcmp(k->blob, wire_data(&blob), k->blob_n) != 0)
        rc = errors_set(e, -E_MALFORMED, "%s: the .pub file beside it is of another key", k->path);
    wire_free(&blob);
    return rc;
}

int keyfile_pem(struct keyfile *k, const char *text, size_t n, const void *passphrase,
                size_t passphrase_n, struct error *e)
{
    int rc;
    struct phrase phrase = {passphrase, passphrase_n};
    k->format = FORMAT_PEM;
    k->encrypted = is_encrypted(text, n);
    if (k->encrypted && passphrase == NULL)
        return 0;
    BIO *bio = n > INT_MAX ? NULL : BIO_new_mem_buf(text, (int)n);
    if (bio == NULL)
        return errors_set(e, -E_NOMEM, "%s", k->path);
    k->key = PEM_read_bio_PrivateKey(bio, NULL, give_phrase, &phrase);
    ERR_clear_error();
    if (k->key == NULL)
        rc = k->encrypted ? errors_set(e, -E_PASSPHRASE, "%s: wrong passphrase", k->path)
                          : errors_set(e, -E_MALFORMED, "%s: damaged PEM key", k->path);
    else
        rc = match_blob(k, e);
    if (rc == 0 && keyfile_pkey_test(k) != 0)
        rc = errors_set(e, -E_MALFORMED, "%s: public and private part do not belong together",
                        k->path);
    if (rc != 0) {
        EVP_PKEY_free(k->key);
        k->key = NULL;
    }
    BIO_free(bio);
    return rc;
}
