/* What a run may take of the device and of the host, and how it keeps to that: by lanes of evaluation, whose length rehearsals find. */
#ifndef QLOOM_JOB_LIMITS_H
#define QLOOM_JOB_LIMITS_H

#include <stdint.h>

#include "walk/run.h"
#include "job.h"

typedef struct ql_limits { /* bytes; 0: none */
    size_t memory;         /* what the file says of the device, or of a host that is the device */
    size_t host_memory;    /* the same of the host, or 80 % of what is free there */
    size_t pool,
        pinned; /* what is left of them for tensors, and for hidden states on the host of a device with memory of its own */
    size_t other; /* of the host: program, libraries, tokens, a block on its way to the cache or from it */
    bool said;    /* by the file: it is an error where they are too small */
} ql_limits;

/* From the file and from what the system has, on the job's open or imagined device. `seen`: of a rehearsal, which says what a walk has in
 * memory beside tensors; NULL: the process as it is. `entry`: bytes of a block in the cache, at most. */
void ql_limits_find(const ql_job *job, const ql_run_work *seen, double entry, ql_limits *out);
/* The same after a rehearsal of one block, which is enough for that. */
ql_status ql_limits_measure(ql_job *job, double entry, ql_limits *out);

#define QL_NO_LIMIT (SIZE_MAX / 2) /* of a trial: more than any device has */

typedef struct ql_trial { /* a rehearsal */
    size_t pool, pinned;  /* limits */
    int64_t lane_tokens;  /* as in ql_run_options */
    int64_t layers;       /* the most blocks; 0: all */
    bool loud;            /* its log lines are shown */
    double rate;          /* of ql_rehearsal_rate; 0: nobody reads seconds */
    ql_results *results;  /* gets what stages cost; NULL: nobody reads it */
    /* after it */
    bool fits;           /* it did not run out of memory */
    size_t memory, host; /* bytes of the device's and of its host's at most */
    size_t taken;        /* as `memory`, with what the pool keeps of freed ones */
    double seconds;
    ql_run_work work;
} ql_trial;

/* Rehearses the job's walks. */
ql_status ql_rehearse(ql_job *job, ql_trial *t);
/* The longest lanes with which the walks keep to `pool` and `pinned` of `t`: sets its lane_tokens and what comes after. Not `fits`: not
 * even the shortest do. */
ql_status ql_fit(ql_job *job, ql_trial *t);
/* The least that would do for the pool, or, with `pinned`, for the host's part, while the other limit of `t` stays. */
ql_status ql_least(ql_job *job, const ql_trial *t, bool pinned, size_t *out);
/* MEMORY: the limits are too small; names the least. */
ql_status ql_fail_limits(ql_job *job, const ql_limits *l);

#endif
