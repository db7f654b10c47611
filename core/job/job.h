/* A job, from the inside. */
#ifndef QLOOM_JOB_JOB_H
#define QLOOM_JOB_JOB_H

#include <qloom/job.h>

#include "pipeline/graph.h"
#include "run/folder.h"

struct ql_job {
    ql_ctx cx;
    ql_scope scope;
    ql_log log;
    ql_job_options opt;
    ql_registry *registry;
    ql_graph graph;
    ql_job_info info;
    ql_folder folder; /* open from the first run on */
    int cancelled;
};

/* Opens the device that the options or the file ask for as the context's, once. `imagine`: as in a ql_device_wish. */
ql_status ql_job_device(ql_job *job, bool imagine);

#endif
