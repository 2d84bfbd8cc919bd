/* What a host's shell prints instead of, before and after the bootstrap's status lines: any bytes
 * in any cut.  "%N" in the input stands for the attempt's nonce, which no fuzzer could guess. */
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/bootstrap.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define NONCE  32
#define OUTPUT 8192

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "\x01@grapnel %N sys Linux x86_64\nGRAPNEL\n",
        "\x07Welcome!\r\n@grapnel %N sys Linux aarch64\n@grapnel %N fail arch\n",
        "\x02@grapnel %N sys Linux x86_64\n@grapnel %N fail space 2\n",
        "\x03@grapnel %N sys Linux x86_64\n@grapnel %N fail gzip\n",
        "\x04@grapnel %N sys Linux x86_64\n@grapnel %N fail notemp\nrest",
        "\x06@grapnel %N sys Linux x86_64\n@grapnel %N fail files\n",
        "\x46@grapnel %N sys Linux x86_64\n@grapnel %N kept space\nGRAPNEL\n",
        "\x85@grapnel %N sys Linux x86_64\n@grapnel %N fail keep hash\n",
        "\x05This account is currently not available.\n",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static size_t with_nonce(const uint8_t *data, size_t size, const char *nonce, uint8_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < size && n + NONCE < OUTPUT; i++) {
        if (data[i] == '%' && i + 1 < size && data[i + 1] == 'N') {
            memcpy(out + n, nonce, NONCE);
            n += NONCE;
            i++;
        } else {
            out[n++] = data[i];
        }
    }
    return n;
}

static void check_end(struct bootstrap *b, enum bootstrap_result result,
                      const struct bootstrap_options *options, const struct error *e)
{
    struct bootstrap_options next = *options;
    const char *uname;

    if (result == BOOTSTRAP_FAILED)
        MUST(e->code < 0);
    if (result != BOOTSTRAP_AGAIN)
        return;
    uname = bootstrap_next(b, &next);
    /* Another attempt must differ from this one, or it would go on for ever. */
    MUST(uname || next.plain != options->plain || next.skip > options->skip ||
         next.keep != options->keep);
    MUST(!uname || strlen(uname) < 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t packed[] = "agent";
    struct agents_binary agent = {.name = "linux-x86_64",
                                  .uname = "Linux x86_64",
                                  .hash_hex = "00",
                                  .sha256_hex = "11",
                                  .packed = packed,
                                  .packed_size = sizeof packed,
                                  .plain_size = sizeof packed};
    struct bootstrap_options options = {.agent = &agent};
    enum bootstrap_result result = BOOTSTRAP_MORE;
    uint8_t output[OUTPUT];
    struct error e = {0};
    char said[2000];
    size_t n, at = 0, piece;
    struct bootstrap *b;
    int level;

    if (size == 0)
        return 0;
    piece = data[0] % 63 + 1;
    options.keep = (enum bootstrap_keep)((data[0] >> 6) % 3);
    b = bootstrap_new(&options, &e);
    MUST(b);
    n = with_nonce(data + 1, size - 1, strstr(bootstrap_command(b), "n=") + 2, output);
    while (at < n && result == BOOTSTRAP_MORE) {
        size_t used, now = n - at < piece ? n - at : piece;
        result = bootstrap_input(b, output + at, now, &used, &e);
        MUST(used <= now);
        MUST(result == BOOTSTRAP_STARTED || used == now);
        at += used;
    }
    bootstrap_diagnostics(b, data, size);
    bootstrap_noise(b, said, sizeof said);
    (void)bootstrap_kept(b, &level);
    MUST(!strpbrk(said, "\033\n\r\a"));
    if (result == BOOTSTRAP_MORE)
        result = bootstrap_ended(b, data[0], &e);
    check_end(b, result, &options, &e);
    bootstrap_free(b);
    return 0;
}
