/* What a program asks results.db in SQL. */
#ifndef QLOOM_RESULTS_QUERY_H
#define QLOOM_RESULTS_QUERY_H

#include <qloom/job.h>

#include "base/ctx.h"

/* ql_job_query over RUNS/results.db, with `run` in the place of `:run`. */
ql_status ql_results_query(ql_ctx *cx, const char *runs, const char *run, const char *sql, ql_job_row row, void *user);

#endif
