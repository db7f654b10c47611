/* What fuzz targets share: the entry point that libFuzzer and replay.c call, and a trap for what must hold. */
#ifndef QLOOM_TESTS_FUZZ_H
#define QLOOM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)            \
    do {                      \
        if (!(cond))          \
            __builtin_trap(); \
    } while (0)

#endif
