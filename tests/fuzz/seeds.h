/* First inputs for the fuzzers, made from the tables, so that none lies in the tree as a file. */
#ifndef TESTS_FUZZ_SEEDS_H
#define TESTS_FUZZ_SEEDS_H

#include <stddef.h>
#include <stdint.h>

/* Takes one seed, of n bytes. */
typedef void seeds_sink(void *arg, const uint8_t *bytes, size_t n);

/* One frame of each type, alone, with a body, and in parts where it comes in parts. */
void seeds_frames(seeds_sink *sink, void *arg);
/* The CBOR vectors of the unit tests, good and bad. */
void seeds_values(seeds_sink *sink, void *arg);

/* For LLVMFuzzerInitialize: writes the seeds of `each` to the first argument that is a directory
 * (the corpus), as seed-0000 and so on.  Returns 0. */
int seeds_install(int argc, char **argv, void (*each)(seeds_sink *sink, void *arg));

#endif
