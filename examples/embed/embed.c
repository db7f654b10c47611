/* A program that runs a pipeline by itself: `embed FILE [KEY=VALUE...]` runs it, with progress on standard error, and prints a line for
 * every metric of every cell. Ctrl-C stops it at a point from which the same command goes on. */
#include <signal.h>
#include <stdio.h>

#include <qloom/job.h>

static ql_job *job; /* what the signal handler reaches */

static void
stop(int signal)
{
    (void)signal;
    ql_job_cancel(job);
}

static void
show_log(void *user, ql_log_level level, const char *line)
{
    (void)user;
    if (level <= QL_LOG_WARN)
        fprintf(stderr, "%s\n", line);
}

static void
show_progress(void *user, const char *line, bool last)
{
    (void)user;
    fprintf(stderr, "\r\033[K%s%s", line, last ? "\n" : "");
}

static ql_status
print_row(void *user, int columns, const char *const *names, const char *const *values)
{
    (void)user;
    for (int i = 0; i < columns; i++)
        printf("%s%s=%s", i ? " " : "", names[i], values[i] ? values[i] : "-");
    printf("\n");
    return QL_OK;
}

static ql_status
run(const char *file, const char *const *sets)
{
    const ql_job_options options = {.sets = sets, .log = show_log, .progress = show_progress};
    ql_status st = ql_job_open(file, &options, &job);

    if (st != QL_OK)
        return st;
    printf("%lld cells into %s\n", (long long)ql_job_about(job)->cells, ql_job_about(job)->folder);
    signal(SIGINT, stop);
    st = ql_job_run(job);
    signal(SIGINT, SIG_DFL);
    if (st != QL_OK)
        return st;
    return ql_job_query(
        job,
        "SELECT c.number AS cell, n.stage, f.name, f.value FROM run r JOIN cell c ON c.run = r.id"
        " JOIN cell_node n ON n.cell = c.id JOIN fact f USING (node)"
        " WHERE r.name = :run AND f.block = -1 AND f.part IS NULL ORDER BY c.number, n.position, f.position",
        print_row, NULL);
}

int
main(int argc, char **argv)
{
    ql_status st;

    if (argc < 2) {
        fprintf(stderr, "usage: embed FILE [KEY=VALUE...]\n");
        return 2;
    }
    st = run(argv[1], (const char *const *)argv + 2);
    if (st != QL_OK)
        fprintf(stderr, "%s\n", job ? ql_job_error(job) : ql_status_text(st));
    ql_job_close(job);
    return ql_status_exit(st);
}
