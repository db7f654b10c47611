/* Progress and the sinks of the log: what a pipe gets, what a quiet terminal gets, what log.txt gets. */
#include "core/base/log.h"
#include "core/base/progress.h"
#include "test.h"

typedef struct seen {
    char lines[64][600];
    int count, ends;
} seen;

static void
see(void *user, const char *line, bool last)
{
    seen *s = user;

    snprintf(s->lines[s->count++ % 64], sizeof s->lines[0], "%s", line);
    s->ends += last;
}

static void
test_lines(void)
{
    seen s = {0};
    ql_log log = {.user = &s, .progress = see};
    ql_progress p;
    ql_ctx cx;

    ql_ctx_init(&cx, &log);
    ql_progress_start(&cx, &p, 3, "walk");
    ql_progress_step(&cx, &p, 1, "block 1 of 3");
    p.start -= 60; /* a minute has gone by: two more are left */
    ql_progress_step(&cx, &p, 0, "block 2 of 3");
    ql_progress_step(&cx, &p, 2, NULL);
    ql_progress_end(&cx, &p);
    CHECK_INT(s.count, 5);
    CHECK_INT(s.ends, 1);
    CHECK_STR(s.lines[0], "walk: 0 %");
    CHECK_STR(s.lines[1], "walk: 33 %, block 1 of 3");
    CHECK_STR(s.lines[2], "walk: 33 %, 2:00 left, block 2 of 3");
    CHECK_STR(s.lines[3], "walk: 100 %");
    CHECK_STR(s.lines[4], "walk: done in 1:00");

    s = (seen){0};
    ql_progress_start(&cx, &p, 4, "walk");
    ql_progress_step(&cx, &p, 1, NULL);
    ql_progress_end(&cx, &p);
    CHECK_STR(s.lines[2], "walk: stopped at 25 % after 0 s");
    ql_ctx_fini(&cx);
}

static void
check_sink(bool quiet, const char *want)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = tmpfile();
    ql_terminal t;
    ql_progress p;
    ql_ctx cx;

    if (!out)
        exit(1);
    ql_terminal_init(&t, out, quiet);
    ql_ctx_init(&cx, &t.log);
    cx.site = (ql_site){.stage = "quant (x)", .block = -1};
    ql_debug(&cx, "hidden");
    ql_info(&cx, "information");
    ql_warn(&cx, "careful %d", 7);
    cx.site = (ql_site){0};
    ql_progress_start(&cx, &p, 10, "walk");
    for (int i = 0; i < 10; i++)
        ql_progress_step(&cx, &p, 1, NULL); /* too soon for another line */
    ql_progress_end(&cx, &p);
    ql_terminal_fini(&t);
    ql_ctx_fini(&cx);
    bytes = (size_t)ftell(out);
    rewind(out);
    text = calloc(bytes + 1, 1);
    if (!text || fread(text, 1, bytes, out) != bytes)
        exit(1);
    CHECK_STR(text, want);
    free(text);
    fclose(out);
}

static void
test_file(void)
{
    seen s = {0};
    ql_log next = {.user = &s, .progress = see};
    FILE *out = tmpfile();
    char line[256];
    ql_log_file l;
    ql_ctx cx;

    if (!out)
        exit(1);
    ql_log_file_init(&l, out, &next);
    next.write = NULL; /* no line may get so far: only progress is sent below */
    l.next = NULL;
    ql_ctx_init(&cx, &l.log);
    ql_debug(&cx, "deep");
    ql_warn(&cx, "careful");
    l.next = &next;
    l.log.progress(l.log.user, "walk: 1 %", false);
    CHECK_INT(s.count, 1);
    ql_log_file_fini(&l);
    rewind(out);
    CHECK(fgets(line, sizeof line, out) != NULL);
    CHECK_STR(line + 11, "debug: deep\n"); /* behind the seconds */
    CHECK(fgets(line, sizeof line, out) != NULL);
    CHECK_STR(line + 11, "warning: careful\n");
    CHECK(fgets(line, sizeof line, out) == NULL);
    fclose(out);
    ql_ctx_fini(&cx);
}

int
main(void)
{
    test_lines();
    check_sink(false, "quant (x): information\nwarning: quant (x): careful 7\nwalk: 0 %\nwalk: done in 0 s\n");
    check_sink(true, "warning: quant (x): careful 7\n");
    test_file();
    return TEST_DONE();
}
