/* Hashes of files and texts, for names, manifests and fingerprints: 128-bit xxHash. */
#ifndef QLOOM_BASE_HASH_H
#define QLOOM_BASE_HASH_H

#include "ctx.h"

/* Of a file's first `limit` bytes; SIZE_MAX: all of them. NOT_FOUND, IO with the system's reason. */
ql_status ql_hash_file(ql_ctx *cx, const char *path, size_t limit, uint64_t out[2]);

void ql_hash_bytes(const void *data, size_t bytes, uint64_t out[2]);

/* 32 hexadecimal digits, in the innermost scope; NULL without memory. */
const char *ql_hash_text(ql_ctx *cx, const uint64_t hash[2]);

#endif
