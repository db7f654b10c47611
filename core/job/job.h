/* A job, from the inside. */
#ifndef QLOOM_JOB_JOB_H
#define QLOOM_JOB_JOB_H

#include <qloom/job.h>

#include "pipeline/graph.h"
#include "run/folder.h"

typedef struct ql_crash { /* a call in which a plugin ended the program of an earlier run */
    uint64_t node[2];
    const char *why; /* "the plugin ended the program (signal 11) in model.layers.3.mlp.down_proj" */
    struct ql_crash *next;
} ql_crash;

struct ql_job {
    ql_ctx cx;
    ql_scope scope;
    ql_log log;
    ql_job_options opt;
    ql_registry *registry;
    ql_graph graph;
    ql_job_info info;
    ql_folder folder;  /* open from the first run on */
    ql_crash *crashes; /* of earlier runs, since one without skip_failed began */
    int cancelled;
};

/* Opens the device that the options or the file ask for as the context's, once. `imagine`: as in a ql_device_wish. */
ql_status ql_job_device(ql_job *job, bool imagine);

#define QL_PAGE_BYTES 4096
/* Maps the run folder's file `at` at the job's page; where it can't, the page stays as it is. What an earlier process that died left
 * there becomes a crash, kept in the file `crashes` as a line `NODE WHY`. Without skip_failed those of earlier runs are forgotten. */
ql_status ql_job_map(ql_job *job);

#endif
