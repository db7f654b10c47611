/* A pipeline from a program of your own: what `qloom check`, `graph`, `plan` and `run` do. examples/embed/ is one page.
 *
 * The library prints nothing, never exits, and installs no signal handler and no timer; what it has to say goes to the functions of
 * ql_job_options. Whatever the locale, it reads and writes numbers with a decimal point; its calls set the thread's locale (uselocale) to
 * "C" until they return, so callbacks run in that. Texts and structs that it returns belong to the job and live until ql_job_close. One
 * thread at a time uses a job, but for ql_job_cancel. */
#ifndef QLOOM_JOB_H
#define QLOOM_JOB_H

#include <qloom/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_job ql_job;
struct ql_plugin; /* qloom/plugin.h */

typedef struct ql_job_options {
    const char *const *sets; /* "quant.bits=4", as -s of the command line, NULL-terminated; NULL: none */
    const char *plugin_path; /* folders to look into first, colon-separated; NULL: none */
    const char *device;      /* "auto", "cpu", "cuda", "cuda:1", in place of the file's; NULL: the file's */
    const char *runs;        /* folder of run folders and results.db; NULL: "runs" */
    int threads;             /* host threads; 0: one a processor */
    bool fresh;              /* work everything out anew, whatever the cache has */
    bool
        skip_failed; /* cells whose plugin died in an earlier run (ql_job_page.died) fail, and nothing of them is called */
    int argc;        /* with argv: the command line that the run's manifest records; 0: none */
    char *const *argv;
    /* Get a line of the log, and a line of progress that takes the place of the one before (`last` ends it). NULL: none. Called by the
     * thread that uses the job; worker threads may log, too. */
    void (*log)(void *user, ql_log_level level, const char *line);
    void (*progress)(void *user, const char *line, bool last);
    void *user;
    const struct ql_plugin *const *plugins; /* of the program itself, beside those of files; ends in NULL; NULL: none */
} ql_job_options;

/* Reads FILE, expands its matrix, and checks every stage in every cell; no model is loaded. `opt` may be NULL; what it points to must live
 * as long as the job. *out is set before the file is read, so that another thread can cancel that; on failure it can only be asked for its
 * error, and closed; NULL without memory. On INVALID the error holds all that is wrong, one line each. [any thread] */
QL_API ql_status ql_job_open(const char *file, const ql_job_options *opt, ql_job **out);
/* Lets go of the run folder and of all that the job has given out. NULL is fine. */
QL_API void ql_job_close(ql_job *job);

/* Text of the job's last failure; "" if none. Valid until the next failure. */
QL_API const char *ql_job_error(const ql_job *job);

/* Which plugin is called: written before every call into memory that the file `at` of the run folder maps, and nothing else is done about
 * crashes here. A program's handlers read it, and set `died`, by which the next run knows (skip_failed). Texts are cut to their size. */
typedef struct ql_job_page {
    int calling;      /* 1 while a function of the plugin runs; what follows is then whole */
    int died;         /* by the program: the signal that ended it, or -1; in this call */
    uint64_t node[2]; /* the stage in its variant; 0: none */
    double since;     /* when the call began: seconds of CLOCK_MONOTONIC */
    int64_t block;    /* -1: none */
    char plugin[64], stage[64], cell[256], linear[128]; /* "": none */
    int lending; /* 1 while what the plugin is lent can't be written: a SIGSEGV with SEGV_ACCERR is a write to it */
} ql_job_page;

typedef struct ql_job_info {
    int64_t stages, cells, nodes; /* declared, of the matrix, of the merged graph */
    const char *name;             /* of the run: "tiny-ablation-1a2b3c4d", after the file's name and content */
    const char *runs, *folder;    /* "runs", "runs/tiny-ablation-1a2b3c4d"; ql_job_run makes them */
    bool limited; /* by `memory:` or `host_memory:` of the file: for a program whose allocator keeps what is freed */
    double time_limit; /* of the file: seconds of one call of a plugin, for a timer of the program; 0: none */
    ql_job_page *page; /* at one address as long as the job lives */
    size_t held, peak; /* bytes of the device's memory: still held after the last run, and held at most during it */
    size_t planned;    /* what the run's own rehearsal below its limits said of that peak; 0: it needed none */
} ql_job_info;

/* What is known of the job since it was opened. */
QL_API const ql_job_info *ql_job_about(const ql_job *job);

/* Looks at the models' files too, and warns in the log of settings that do nothing, or not what they seem to: rules for linears that
 * match none, ranks above what a linear has, results larger than the original, stages that are one by construction.
 * IO when a disk lacks the room for what a run writes. */
QL_API ql_status ql_job_check(ql_job *job);

/* The merged graph as text, or as Graphviz reads it; NULL on failure. */
QL_API const char *ql_job_graph(ql_job *job, bool dot);

typedef struct ql_forecast_linear {
    const char *name;
    int64_t out, in;
    const char *remark; /* groups that do not divide the inputs, say; "": none */
} ql_forecast_linear;

typedef struct ql_forecast_model {
    const char *stage, *architecture;
    int64_t layers, hidden, vocab;
    int64_t linear_count; /* of a block */
    const ql_forecast_linear *linears;
    int64_t streams, units,
        finals;   /* calibration streams; variants that are made; those that are measured or written */
    double bytes; /* of its weights' files */
} ql_forecast_model;

typedef struct ql_forecast_stage {
    const char *stage, *label; /* "quant", "NAME bits=3" */
    double seconds;            /* all cells together */
    size_t memory;             /* bytes of the device's at most */
} ql_forecast_stage;

typedef struct ql_forecast_export {
    const char *stage, *help, *folder;
    double bytes; /* at most, while it is made: tensors are put aside before they are written where they belong */
} ql_forecast_export;

typedef struct ql_forecast_phase {
    double seconds;
    size_t memory; /* bytes of the device's at most */
} ql_forecast_phase;

typedef struct ql_forecast {
    const char *device;
    bool timed;          /* the device answered; else there are no seconds and no rate */
    double rate;         /* floating-point operations a second of its products */
    double seconds;      /* of the whole walk, reading files apart */
    size_t memory, room; /* bytes of the device's that tensors take at most; the limit, 0: none */
    size_t host,
        host_room; /* of the host's, all in all (of a device that is the host, its tensors too); the limit, 0: none */
    size_t least,
        host_least; /* the smallest limits that would do: of `memory:`; of `host_memory:`, 0: it does not matter */
    int64_t passes; /* of evaluation: the first makes the variants, each further one goes over the store */
    ql_forecast_phase first, further; /* that pass; all others together */
    double extra;                     /* seconds of them that limits cost */
    double waiting;                   /* bytes of the file in which hidden states wait, at most */
    double cache;                     /* bytes of finished blocks on the disk, about */
    size_t spare; /* of `host`: what freed tensors leave for those to come; it goes where something needs the room */
    const char *full; /* which disk lacks room for cache, exports and run folder, and what could be freed; NULL: none */
    int64_t model_count, stage_count, export_count;
    const ql_forecast_model *models;
    const ql_forecast_stage *stages; /* those that the walk calls */
    const ql_forecast_export *exports;
} ql_forecast;

/* What a run would take, found by rehearsing its walk on a device where nothing happens; of weights only headers are read. */
QL_API ql_status ql_job_plan(ql_job *job, ql_forecast *out);

/* Runs the cells that are not finished yet, and stores the numbers in results.db. The run folder stays locked until the job is closed.
 * INTERRUPTED after ql_job_cancel: what is finished is kept, and the next run goes on from there. NUMERIC when cells failed: the others'
 * numbers are stored. */
QL_API ql_status ql_job_run(ql_job *job);

/* Makes the call at work, and every later one, end with INTERRUPTED at the next resumable point. [any thread, signal handlers] */
QL_API void ql_job_cancel(ql_job *job);

/* Gets a row of a query; values are texts, numbers as they read back equal, NULL for NULL. Anything but OK ends the query. */
typedef ql_status (*ql_job_row)(void *user, int columns, const char *const *names, const char *const *values);

/* One SELECT over results.db, whose tables docs/database.md describes; `:run` stands for the name of the job's run. */
QL_API ql_status ql_job_query(ql_job *job, const char *sql, ql_job_row row, void *user);

#ifdef __cplusplus
}
#endif

#endif
