/* Files of bytes: as they are, or packed with gzip or zstd. */
#ifndef QLOOM_TEXT_PACKED_H
#define QLOOM_TEXT_PACKED_H

#include "base/ctx.h"

typedef enum ql_packing { QL_PLAIN, QL_GZIP, QL_ZSTD } ql_packing;

typedef struct ql_packed { /* zero is its empty value */
    const char *path;
    void *gz, *zstd; /* plain files go through zlib, too */
    int fd;          /* of a zstd file */
    char *block;     /* what was read of it and not yet unpacked: [at, filled) */
    size_t at, filled;
    bool begun, open_frame; /* open_frame: would the end of the file cut a frame here? */
    bool failed;            /* nothing more can be read */
    int64_t given;          /* bytes unpacked so far */
} ql_packed;

/* INVALID where the bytes are not packed as the name says. */
ql_status ql_packed_open(ql_ctx *cx, const char *path, ql_packing packing, ql_packed *out);
/* Up to `most` bytes; *got is 0 at the end. What lies before damage is given first. */
ql_status ql_packed_read(ql_ctx *cx, ql_packed *p, char *out, size_t most, size_t *got);
void ql_packed_close(ql_packed *p);

#endif
