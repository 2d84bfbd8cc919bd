/* The CBOR decoder.  What it accepts is encoded, decoded to an equal value, and from then on always
 * encoded as the same bytes; its JSON is text. */
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/values.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds_values);
}

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct value *v = NULL;
    int rc = values_decode(data, size, &v);
    if (rc != 0) {
        MUST(v == NULL && (rc == -E_MALFORMED || rc == -E_TOO_LARGE));
        return 0;
    }
    struct wire_buf first = {0};
    struct wire_buf second = {0};
    struct value *back = NULL;
    MUST(values_encode(v, &first) == 0);
    MUST(values_decode(wire_data(&first), wire_length(&first), &back) == 0);
    MUST(values_equal(v, back));
    MUST(values_encode(back, &second) == 0);
    MUST(wire_length(&first) == wire_length(&second));
    MUST(memcmp(wire_data(&first), wire_data(&second), wire_length(&first)) == 0);

    char *json = values_json(v);
    MUST(json != NULL && values_is_utf8(json, strlen(json)));
    for (const char *p = json; *p != '\0'; p++) {
        MUST((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
    free(json);
    values_free(back);
    values_free(v);
    wire_free(&second);
    wire_free(&first);
    return 0;
}
