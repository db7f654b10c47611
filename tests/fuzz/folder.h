/* A folder in memory for fuzz targets whose subject reads files, and a small safetensors file to put there. */
#ifndef QLOOM_TESTS_FUZZ_FOLDER_H
#define QLOOM_TESTS_FUZZ_FOLDER_H

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fuzz_place[64];

static inline void
fuzz_folder_gone(void)
{
    char command[96];

    snprintf(command, sizeof command, "rm -rf %s", fuzz_place);
    (void)!system(command);
}

/* Made once a process, removed at its end. */
static inline const char *
fuzz_folder(void)
{
    if (!*fuzz_place) {
        snprintf(fuzz_place, sizeof fuzz_place, "%s/qloom-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        MUST(mkdtemp(fuzz_place));
        atexit(fuzz_folder_gone);
    }
    return fuzz_place;
}

static inline void
fuzz_file(const char *name, const void *data, size_t size)
{
    char path[160];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    f = fopen(path, "wb");
    MUST(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

/* F32 tensors of four zeros by their names, NULL-terminated. */
static inline void
fuzz_tensors(const char *name, const char *const *tensors)
{
    unsigned char file[4096] = {0};
    char *header = (char *)file + 8;
    size_t used = 0, count = 0;
    uint64_t size;

    for (; tensors[count]; count++)
        used += (size_t)snprintf(header + used, sizeof file - 8 - used,
                                 "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[%zu,%zu]}",
                                 count ? "," : "{", tensors[count], count * 16, count * 16 + 16);
    header[used++] = '}';
    size = used;
    memcpy(file, &size, sizeof size);
    memset(header + used, 0, count * 16);
    fuzz_file(name, file, 8 + used + count * 16);
}

#endif
