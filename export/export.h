/* The files of an export: its folder, tensors put aside until their places are known, and the record of it all. */
#ifndef QLOOM_EXPORT_EXPORT_H
#define QLOOM_EXPORT_EXPORT_H

#include <qloom/exporter.h>

#include "model/open_model.h"

#define QL_EXPORT_RECORD "qloom_export.json" /* which files are ours, and whether all are there */

/* Makes FOLDER. What an earlier export left there goes; any other file that is there is INVALID, and so is the model's own folder.
 * `m` must outlive the export, which lies on the heap until ql_export_close. */
ql_status ql_export_open(ql_ctx *cx, const char *folder, const ql_model_handle *m, ql_export **out);
/* Adds `files` and `bytes` to the metrics and the runtimes to the notes, and records the export as complete. */
ql_status ql_export_finish(ql_ctx *cx, ql_export *x, const char *recipe, ql_facts *m);
void ql_export_close(ql_ctx *cx, ql_export *x); /* NULL is fine; what is not complete stays marked so */

#endif
