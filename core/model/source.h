/* A model folder: config.json and the tensors of its safetensors, one file or shards, by name. The part for model
 * plugins is in <qloom/model.h>. */
#ifndef QLOOM_MODEL_SOURCE_H
#define QLOOM_MODEL_SOURCE_H

#include <qloom/model.h>

#include "tensor/safetensors.h"

/* Opens FOLDER and checks every file's header; no weight is read. Memory comes from the innermost scope, which must
 * outlive the source; the files stay mapped until ql_source_close. */
ql_status ql_source_open(ql_ctx *cx, const char *folder, ql_source **out);
void ql_source_close(ql_source *src); /* NULL is fine */

/* Tensors sorted by name. */
const ql_st_tensor *ql_source_item(const ql_source *src, int64_t i);
int64_t ql_source_index(const ql_source *src, const char *name);      /* -1: none */
bool ql_source_asked(const ql_source *src, int64_t i);                /* was it checked, or told to be expected? */
void ql_source_expect(const ql_source *src, const char *name);        /* a tensor that may be there, unread */
ql_st_tensor *ql_source_find(const ql_source *src, const char *name); /* NULL: none */

/* ql_source_load in two halves. The first has the bytes as the file has them on their way to the device (ql_upload_begin); the second,
 * once they have arrived, converts them and counts the read. */
ql_status ql_source_begin(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor **raw);
ql_status ql_source_finish(ql_ctx *cx, const ql_source *src, const ql_want *want, ql_tensor *raw, ql_tensor **out);
/* Rows `ids` of the table that `want` describes ([vocab, width]) as [count, width], gathered on the host. INVALID
 * for an id outside. */
ql_status ql_source_rows(ql_ctx *cx, const ql_source *src, const ql_want *want, const int32_t *ids, int64_t count,
                         ql_tensor **out);

/* Asks the system to read the pages of a tensor ahead: a hint. */
void ql_source_prefetch(const ql_source *src, const char *name);
/* Times that the whole tensor left its file; rows don't count. */
int64_t ql_source_reads(const ql_source *src, const char *name);
/* Have two tensors the same shape, dtype and bytes? Gives the pages back, and is no read. */
bool ql_source_equal(const ql_st_tensor *a, const ql_st_tensor *b);

#endif
