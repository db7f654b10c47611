/* A file without a name in which hidden states wait while something else needs their memory. What is written is in the system's hands until
 * it is read again: no call waits for the disk, and nothing is left behind, however the program ends. */
#ifndef QLOOM_WALK_SPILL_H
#define QLOOM_WALK_SPILL_H

#include "device/device.h"

typedef struct ql_spill {
    const char *folder;
    int file;     /* -1: not open */
    bool pretend; /* a rehearsal: places are counted, nothing is written */
    int64_t end;  /* bytes of the file at most */
    uint64_t written, read;
    struct ql_spill_place *free; /* that can be used again */
    int64_t free_count, free_capacity;
} ql_spill;

/* Opens a file in `folder`, which is made. IO says why it can't be written. `folder` has to live as long. */
ql_status ql_spill_open(ql_ctx *cx, const char *folder, bool pretend, ql_spill *out);
void ql_spill_close(ql_spill *s);

ql_status ql_spill_put(ql_ctx *cx, ql_spill *s, const void *data, size_t bytes, int64_t *at);
ql_status ql_spill_get(ql_ctx *cx, ql_spill *s, int64_t at, void *data, size_t bytes);
/* They are read soon. */
void ql_spill_ahead(const ql_spill *s, int64_t at, size_t bytes);
/* The place can be used again. */
void ql_spill_free(ql_spill *s, int64_t at, size_t bytes);

#endif
