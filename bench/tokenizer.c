/* bench-tokenizer FOLDER FILE...: encodes each file once to warm up and once for the clock, and prints seconds of CPU time to open
 * the tokenizer, then for each file seconds to encode it and the number of ids. tokenizer.py compares. */
#include <stdio.h>
#include <time.h>

#include <qloom/tokenizer.h>

#include "core/base/file.h"

static double
cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ql_status
time_file(ql_ctx *cx, const ql_tokenizer *tk, const char *file)
{
    const char *text;
    size_t bytes;

    QL_TRY(cx, ql_file_read(cx, file, QL_FILE_MOST, &text, &bytes));
    for (int counted = 0; counted < 2; counted++) {
        ql_ids ids = {0};
        double begin = cpu_seconds();

        QL_TRY(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_NO, &ids));
        if (counted)
            printf("%.6f %lld\n", cpu_seconds() - begin, (long long)ids.count);
    }
    return QL_OK;
}

static ql_status
run(ql_ctx *cx, int argc, char **argv)
{
    double begin = cpu_seconds();
    ql_tokenizer *tk;
    ql_status st = QL_OK;

    if (argc < 3)
        return QL_FAIL(cx, QL_INVALID, "usage: bench-tokenizer FOLDER FILE...");
    QL_TRY(cx, ql_tokenizer_open(cx, argv[1], &tk));
    printf("%.6f\n", cpu_seconds() - begin);
    for (int i = 2; i < argc && st == QL_OK; i++)
        st = time_file(cx, tk, argv[i]);
    ql_tokenizer_close(tk);
    return st;
}

int
main(int argc, char **argv)
{
    ql_ctx cx;
    ql_scope scope;
    ql_status st;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    st = run(&cx, argc, argv);
    if (st != QL_OK)
        fprintf(stderr, "%s\n", ql_error(&cx));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return ql_status_exit(st);
}
