/* The files of an export: its folder, tensors put aside until their places are known, and the record of it all. */
#ifndef QLOOM_EXPORT_EXPORT_H
#define QLOOM_EXPORT_EXPORT_H

#include <qloom/exporter.h>

#include "model/open_model.h"

/* Begins an export that will be FOLDER (ql_target_open). `m` must outlive the export, which lies on the heap until ql_export_close. */
ql_status ql_export_open(ql_ctx *cx, const char *folder, const ql_model_handle *m, ql_export **out);
/* Adds `files` and `bytes` to the metrics and the runtimes to the notes, and records the export as complete. */
ql_status ql_export_finish(ql_ctx *cx, ql_export *x, const char *recipe, ql_facts *m);
/* Puts what is finished in its place. */
ql_status ql_export_place(ql_ctx *cx, ql_export *x);
void ql_export_close(ql_ctx *cx, ql_export *x); /* NULL is fine; what is not in its place is removed */

#endif
