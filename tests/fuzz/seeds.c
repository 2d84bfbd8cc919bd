#include "tests/fuzz/seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/frames.h"

static const uint8_t seeds_types[] = {
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc) (code),
#include "proto/frames.def"
#undef FRAME
};

static const char *const seeds_cbor[] = {
#define GOOD(hex, type, json, again) hex,
#define BAD(hex, code)               hex,
#define REF(hex, json, again)        hex,
#define NOREF(hex, code)             hex,
#include "tests/unit/cbor_vectors.def"
#undef GOOD
#undef BAD
#undef REF
#undef NOREF
};

static void one_frame(seeds_sink *sink, void *arg, const struct frame *f)
{
    struct wire_buf out = {0};
    if (frames_encode(&out, f) == 0) {
        sink(arg, wire_data(&out), wire_length(&out));
    }
    wire_free(&out);
}

void seeds_frames(seeds_sink *sink, void *arg)
{
    uint8_t *body = calloc(1, FRAMES_PAYLOAD_MAX + 100);
    if (body == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof(seeds_types); i++) {
        uint8_t type = seeds_types[i];
        struct frame f;
        memset(&f, 0, sizeof(f));
        f.type = type;
        f.id = frames_id_rule(type) == FRAMES_ID_LINK ? 0 : 1;
        one_frame(sink, arg, &f);
        /* A map, an array of a name and nil, text: what bodies are. */
        static const char *const bodies[] = {"\xa0", "\x82\x64\x65xec\xf6", "text"};
        for (size_t j = 0; j < sizeof(bodies) / sizeof(bodies[0]); j++) {
            f.body = (const uint8_t *)bodies[j];
            f.body_length = strlen(bodies[j]);
            one_frame(sink, arg, &f);
        }
        if (type == FRAME_DATA) {
            f.flags = FRAMES_DEFLATE;
            one_frame(sink, arg, &f);
            f.flags = 0;
        }
        f.body = body;
        f.body_length = FRAMES_PAYLOAD_MAX + 100;
        one_frame(sink, arg, &f);
    }
    free(body);
}

void seeds_values(seeds_sink *sink, void *arg)
{
    for (size_t i = 0; i < sizeof(seeds_cbor) / sizeof(seeds_cbor[0]); i++) {
        uint8_t bytes[256];
        size_t n = 0;
        for (const char *hex = seeds_cbor[i]; n < sizeof(bytes) && hex[0] != '\0'; hex += 2) {
            const char digits[3] = {hex[0], hex[1], '\0'};
            bytes[n++] = (uint8_t)strtoul(digits, NULL, 16);
        }
        sink(arg, bytes, n);
    }
}

struct folder {
    const char *path;
    unsigned count;
};

static void to_file(void *arg, const uint8_t *bytes, size_t n)
{
    struct folder *folder = arg;
    char path[4096];
    int length = snprintf(path, sizeof(path), "%s/seed-%04u", folder->path, folder->count++);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return;
    }
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        return;
    }
    (void)fwrite(bytes, 1, n, f);
    (void)fclose(f);
}

int seeds_install(int argc, char **argv, void (*each)(seeds_sink *sink, void *arg))
{
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (argv[i][0] != '-' && stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
            struct folder folder = {.path = argv[i]};
            each(to_file, &folder);
            break;
        }
    }
    return 0;
}
