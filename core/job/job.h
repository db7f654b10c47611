/* A job, from the inside. */
#ifndef QLOOM_JOB_JOB_H
#define QLOOM_JOB_JOB_H

#include <qloom/job.h>

#include "model/open_model.h"
#include "pipeline/graph.h"
#include "run/folder.h"
#include "walk/plan.h"

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
    ql_folder folder;    /* open from the first run on */
    int64_t lane_tokens; /* of a run: the most tokens of evaluation in memory at once */
    ql_crash *crashes;   /* of earlier runs, since one without skip_failed began */
    int cancelled;
};

/* Opens the device that the options or the file ask for as the context's, once. `imagine`: as in a ql_device_wish. */
ql_status ql_job_device(ql_job *job, bool imagine);

/* The folder of the cache: of the pipeline file, else the one beside the runs. In the innermost scope; NULL without memory. */
const char *ql_job_cache(ql_job *job);

/* What a run writes, what is there already, and how large its models are. */
typedef struct ql_disk {
    double model;         /* bytes of the weights in the models' files */
    double cache, known;  /* bytes of finished blocks, and those of them that the cache has */
    double entry;         /* bytes of a finished block of one stage, at most */
    double stored;        /* bytes of all that the cache has */
    double waiting;       /* bytes of the file in which hidden states wait */
    ql_store_item *items; /* [item_count], on the heap */
    int64_t item_count, export_count;
    ql_forecast_export *exports;
} ql_disk;

/* Lists what the cache has. Close in any case. */
ql_status ql_disk_open(ql_job *job, ql_disk *out);
void ql_disk_close(ql_disk *d);
/* Adds an open model and what a walk over it writes. `keyed`: its variants have keys; else any entry of the cache may be of them. */
ql_status ql_disk_add(ql_job *job, const ql_plan *walk, const ql_model_handle *m, bool keyed, ql_disk *d);
/* Both, for every model of the job; one that can't be opened is left out. Keys are made where the device is open. Close in any case. */
ql_status ql_disk_survey(ql_job *job, ql_disk *out);
/* Which disk lacks the room for that, and what could be freed; NULL: none. */
ql_status ql_disk_look(ql_job *job, const ql_disk *d, const char **full);
/* IO where one does. */
ql_status ql_disk_check(ql_job *job, const ql_disk *d);

#define QL_PAGE_BYTES 4096
/* Maps the run folder's file `at` at the job's page; where it can't, the page stays as it is. What an earlier process that died left
 * there becomes a crash, kept in the file `crashes` as a line `NODE WHY`. Without skip_failed those of earlier runs are forgotten. */
ql_status ql_job_map(ql_job *job);

#endif
