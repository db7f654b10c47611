/* The folder of a run: made and locked, with the expanded pipeline, the manifest and the log. */
#ifndef QLOOM_RUN_FOLDER_H
#define QLOOM_RUN_FOLDER_H

#include "base/log.h"
#include "pipeline/graph.h"
#include "plugin/registry.h"

#define QL_RUNS_DEFAULT "runs"
#define QL_CACHE_DEFAULT "cache" /* below the folder of runs */

typedef struct ql_folder {
    const char *runs, *name, *path; /* "runs", "tiny-ablation-1a2b3c4d", "runs/tiny-ablation-1a2b3c4d" */
    int lock;                       /* descriptor that holds the lock */
    FILE *log_file;
    ql_log_file log;       /* into log.txt, and on to the sink that the context had */
    const ql_log *outside; /* that sink */
} ql_folder;

/* <name>-<hash8>: a file name that no shell, URL or table has trouble with. In the innermost scope; NULL without memory. */
const char *ql_folder_name(ql_ctx *cx, const ql_graph *g);

/* Makes RUNS/<name>-<hash8>/, hash8 from the expanded pipeline; locks it, writes pipeline.yaml, begins log.txt anew and
 * puts it in front of the context's log. INVALID when another process runs there. Paths live in the innermost scope;
 * `out` must stay where it is until ql_folder_close. */
ql_status ql_folder_open(ql_ctx *cx, const char *runs, const ql_graph *g, ql_folder *out);

void ql_folder_close(ql_ctx *cx, ql_folder *f); /* a zeroed folder is fine */

typedef struct ql_manifest {
    ql_registry *registry;
    const char *device; /* as the backend describes it */
    int threads, argc;
    char *const *argv; /* the command line */
} ql_manifest;

/* Writes manifest.json: versions, the graph's plugins with the hash of their files, its input files with their hashes,
 * device, seed, threads, command line. It holds no time and no absolute path of its own. */
ql_status ql_folder_manifest(ql_ctx *cx, const ql_folder *f, const ql_graph *g, const ql_manifest *m);

#endif
