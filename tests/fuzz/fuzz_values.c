/* The CBOR decoder, with refs; without, it must accept the same but for those.  What it accepts is
 * encoded, decoded to an equal value, and from then on always encoded as the same bytes; its JSON
 * is text. */
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

/* True when there is a ref in v, each of which must be as the header says. */
static int has_refs(const struct value *v)
{
    int found = 0;
    const struct value *key, *item;
    if (values_type(v) == VALUE_REF) {
        const char *kind = values_ref_kind(v);
        MUST(values_ref_id(v) > 0 && (kind != NULL || values_ref_name(v) == NULL));
        MUST(kind == NULL || (kind[0] != '\0' && strlen(kind) <= VALUES_KIND_MAX));
        return 1;
    }
    for (size_t i = 0; values_type(v) == VALUE_ARRAY && i < values_count(v); i++) {
        found |= has_refs(values_at(v, i));
    }
    for (size_t i = 0; values_pair(v, i, &key, &item); i++) {
        MUST(!has_refs(key));
        found |= has_refs(item);
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct value *v = NULL;
    struct value *plain = NULL;
    int rc = values_decode_refs(data, size, &v);
    int plain_rc = values_decode(data, size, &plain);
    MUST((plain_rc == 0) == (plain != NULL));
    if (rc != 0) {
        MUST(v == NULL && (rc == -E_MALFORMED || rc == -E_TOO_LARGE));
        MUST(plain_rc == rc || plain_rc == -E_MALFORMED);
        return 0;
    }
    MUST(plain_rc == (has_refs(v) ? -E_MALFORMED : 0));
    MUST(plain == NULL || values_equal(v, plain));
    struct wire_buf first = {0};
    struct wire_buf second = {0};
    struct value *back = NULL;
    MUST(values_encode(v, &first) == 0);
    MUST(values_decode_refs(wire_data(&first), wire_length(&first), &back) == 0);
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
    values_free(plain);
    values_free(back);
    values_free(v);
    wire_free(&second);
    wire_free(&first);
    return 0;
}
