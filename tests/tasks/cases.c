/* Single rules of the public harness's protocol: prompts split into ids, windows, shots, cleanings, articles. */
#include "base/file.h"
#include "base/json.h"
#include "base/path.h"
#include "results/results.h"
#include "../test.h"

#include <qloom/tasks.h>

static ql_ctx cx;
static const char *fixtures;

/* Calls `check` with every line of a file of cases; returns how many there are. */
static int
each_line(const char *name, void (*check)(const ql_json *line))
{
    const char *path = ql_format(&cx, "%s/golden-eval/cases/%s", fixtures, name), *text, *end;
    size_t bytes;
    int lines = 0;

    REQUIRE_OK(&cx, ql_file_read(&cx, path, (size_t)1 << 26, &text, &bytes));
    for (; *text; text = end + 1, lines++) {
        const ql_json *line;

        end = strchr(text, '\n');
        REQUIRE_OK(&cx, ql_json_parse(&cx, &(ql_json_input){.file = path, .text = text, .bytes = (size_t)(end - text)},
                                      &line));
        check(line);
    }
    return lines;
}

static int64_t
int_of(const ql_json *v)
{
    int64_t i = INT64_MIN;

    (void)ql_json_as_int(v, &i);
    return i;
}

static const char *
text_of(const ql_json *line, const char *key)
{
    return ql_json_string(ql_json_member(line, key));
}

/* --- ids --------------------------------------------------------------------------------------------------------- */

static const char *
tokenizer_folder(const char *name)
{
    const char *model = ql_format(&cx, "%s/models/%s/tokenizer.json", fixtures, name);

    return access(model, R_OK) == 0 ? ql_format(&cx, "%s/models/%s", fixtures, name)
                                    : ql_format(&cx, "%s/tokenizers/%s", fixtures, name);
}

static bool
same_ids(const ql_ids *got, const ql_json *expected)
{
    bool same = got->count == ql_json_length(expected);

    for (int64_t i = 0; same && i < got->count; i++)
        same = got->ids[i] == int_of(ql_json_item(expected, i));
    return same;
}

static void
check_pair(const ql_json *line)
{
    static ql_tokenizer *tk;
    static const char *open;
    const char *name = text_of(line, "tokenizer"), *bos = text_of(line, "bos");
    size_t bytes[2];
    ql_task_request r = {.context = ql_json_bytes(ql_json_member(line, "context"), &bytes[0]),
                         .continuation = ql_json_bytes(ql_json_member(line, "continuation"), &bytes[1])};
    const ql_json *cont = ql_json_member(line, "cont");
    ql_ids context, rest;
    ql_status st;

    if (!open || strcmp(open, name) != 0) {
        ql_tokenizer_close(tk);
        REQUIRE_OK(&cx, ql_tokenizer_open(&cx, tokenizer_folder(name), &tk));
        open = name;
    }
    r.context_bytes = bytes[0];
    r.continuation_bytes = bytes[1];
    st = ql_task_encode(&cx, tk, strcmp(bos, "no") == 0 ? QL_BOS_NO : QL_BOS_AUTO, &r, &context, &rest);
    if (ql_json_length(cont) == 0) {
        CHECK_INT(st, QL_INVALID); /* the harness fails an assertion */
        CHECK(strstr(ql_error(&cx), "nothing is left of the continuation") != NULL);
        ql_error_clear(&cx);
    } else if (st != QL_OK || !same_ids(&context, ql_json_member(line, "ctx")) || !same_ids(&rest, cont)) {
        TEST_FAIL("%s, bos %s: '%s' + '%s': other ids (%s)", name, bos, r.context, r.continuation,
                  st == QL_OK ? "" : ql_error(&cx));
    }
}

/* --- windows ----------------------------------------------------------------------------------------------------- */

static void
check_span(const ql_json *expected, int64_t first, int64_t count)
{
    CHECK_INT(int_of(ql_json_item(expected, 2)), count);
    CHECK_INT(int_of(ql_json_item(expected, 0)), first);
    CHECK_INT(int_of(ql_json_item(expected, 1)), first == 9 ? 9 : first + count - 1);
}

/* Ids 100, 101, … behind the prefix token 9. */
static void
check_windows(const ql_json *line)
{
    const ql_json *expected = ql_json_member(line, "windows");
    const ql_task_window *w;
    int64_t count;

    REQUIRE_OK(&cx, ql_task_windows(&cx, int_of(ql_json_member(line, "tokens")),
                                    int_of(ql_json_member(line, "max_length")), &w, &count));
    CHECK_INT(count, ql_json_length(expected));
    for (int64_t i = 0; i < count && i < ql_json_length(expected); i++) {
        const ql_json *one = ql_json_item(expected, i);
        const int64_t end = w[i].first + w[i].count + 1, context = w[i].count + 1 - w[i].scored + w[i].prefix;

        check_span(ql_json_member(one, "context"), w[i].prefix ? 9 : 100 + w[i].first, context);
        check_span(ql_json_member(one, "scored"), 100 + end - w[i].scored, w[i].scored);
    }
}

/* --- task files -------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/qloom-cases-XXXXXX";

static const char *
write_file(const char *name, const char *text)
{
    const char *path = ql_format(&cx, "%s/%s", folder, name);

    REQUIRE_OK(&cx, ql_file_write(&cx, path, text, strlen(text)));
    return path;
}

/* A pool of records 0, 1, …; the shots of the first four documents say which were drawn. */
static void
check_shots(const ql_json *line)
{
    static const char task_text[] = "qloom-task: 1\nname: t\nprompt: 'Q{{n}}'\nchoices: \"{{['a', 'b']}}\"\ngold: 0\n"
                                    "shots: {rule: %s, separator: ';'}\n";
    const bool self = strcmp(text_of(line, "rule"), "self") == 0;
    const int64_t pool = int_of(ql_json_member(line, "pool")), shots = int_of(ql_json_member(line, "shots"));
    const ql_json *expected = ql_json_member(line, "documents");
    char *records = ql_alloc(&cx, (size_t)pool + 8, 32), *at = records;
    const char *data = "{\"n\": -1}\n{\"n\": -2}\n{\"n\": -3}\n{\"n\": -4}\n";
    ql_task_options o = {.shots = shots, .seed = (uint64_t)int_of(ql_json_member(line, "seed")), .limit = 4};
    const ql_task_document *documents;
    const ql_task *task;
    int64_t count;

    for (int64_t i = 0; i < pool; i++)
        at += sprintf(at, "{\"n\": %lld}\n", (long long)i);
    o.pool = write_file("pool.jsonl", records);
    o.path = self ? o.pool : write_file("data.jsonl", data);
    REQUIRE_OK(&cx, ql_task_open(&cx, write_file("t.yaml", ql_format(&cx, task_text, text_of(line, "rule"))), &task));
    REQUIRE_OK(&cx, ql_task_read(&cx, task, &o, &documents, &count));
    CHECK_INT(count, ql_json_length(expected));
    for (int64_t d = 0; d < count; d++) {
        const ql_json *drawn = ql_json_item(expected, d);
        const char *want = "";

        for (int64_t i = 0; i < ql_json_length(drawn); i++)
            want = ql_format(&cx, "%sQ%lld a;", want, (long long)int_of(ql_json_item(drawn, i)));
        if (strncmp(documents[d].requests[0].context, want, strlen(want)) != 0)
            TEST_FAIL("pool %lld, %s: document %lld: got %s, expected %s", (long long)pool, text_of(line, "rule"),
                      (long long)d, documents[d].requests[0].context, want);
    }
}

/* The first document of the record in a file of its own, by a shipped task. */
static const ql_task_document *
first_of(const char *name, const char *data, const char *ending)
{
    const ql_task_options o = {.path = write_file(ql_format(&cx, "one.%s", ending), data), .shots = 0};
    const ql_task_document *documents;
    const ql_task *task;
    int64_t count;

    REQUIRE_OK(&cx, ql_task_open(&cx, name, &task));
    REQUIRE_OK(&cx, ql_task_read(&cx, task, &o, &documents, &count));
    return documents;
}

static const char *
line_of(const ql_json *line, const char *further)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    ql_json_writer w = {.cx = &cx, .out = out};
    const char *copy;

    ql_json_put_open(&w, NULL, '{', QL_JSON_SPACED);
    for (int64_t i = 0; i < ql_json_members(line); i++) {
        const char *key;
        const ql_json *v = ql_json_at(line, i, &key);

        if (ql_json_string(v))
            ql_json_put_text(&w, key, ql_json_string(v));
        else if (ql_json_is_array(v)) {
            ql_json_put_open(&w, key, '[', QL_JSON_SPACED);
            for (int64_t k = 0; k < ql_json_length(v); k++)
                ql_json_put_text(&w, NULL, ql_json_string(ql_json_item(v, k)));
            ql_json_put_close(&w);
        }
    }
    ql_json_put_text(&w, "label", further);
    ql_json_put_close(&w);
    REQUIRE_OK(&cx, ql_json_put_end(&w));
    fclose(out);
    copy = ql_format(&cx, "%s\n", text);
    free(text);
    return copy;
}

static void
check_hellaswag(const ql_json *line)
{
    const ql_task_document *d = first_of("hellaswag", line_of(line, "0"), "jsonl");
    const ql_json *choices = ql_json_member(line, "choices");

    CHECK_STR(d->requests[0].context, text_of(line, "query"));
    CHECK_INT(d->request_count, ql_json_length(choices));
    for (int64_t i = 0; i < d->request_count; i++)
        CHECK_STR(d->requests[i].continuation + 1, ql_json_string(ql_json_item(choices, i)));
}

static void
check_detokenize(const ql_json *line)
{
    const ql_task_document *d = first_of("wikitext", ql_format(&cx, " = H = \n%s", text_of(line, "page")), "raw");
    const char *text = text_of(line, "text"), *expected;

    text += *text == ' '; /* white space behind a line end goes, and here one stands in front */
    expected = ql_format(&cx, " = H =\n%s", text);

    CHECK_STR(d->text, expected);
}

static int64_t article;

static void
check_article(const ql_json *line)
{
    static const ql_task_document *documents;
    static int64_t count;
    const ql_task_options o = {.path = ql_format(&cx, "%s/datasets/wikitext2/wiki.test.raw", fixtures)};
    const ql_task *task;

    if (!documents) {
        REQUIRE_OK(&cx, ql_task_open(&cx, "wikitext", &task));
        REQUIRE_OK(&cx, ql_task_read(&cx, task, &o, &documents, &count));
    }
    if (article >= count)
        return;
    CHECK_INT(documents[article].count_bytes, int_of(ql_json_member(line, "page_bytes")));
    CHECK_INT(documents[article].text_bytes, int_of(ql_json_member(line, "text_bytes")));
    CHECK_INT(documents[article].words, int_of(ql_json_member(line, "words")));
    CHECK(strncmp(documents[article].text, text_of(line, "head"), strlen(text_of(line, "head"))) == 0);
    article++;
}

static void
check_statistic(const ql_json *line)
{
    static ql_results *db;
    double expected = NAN;
    ql_sheet row;

    if (!db)
        REQUIRE_OK(&cx, ql_results_open(&cx, NULL, false, &db));
    (void)ql_json_as_real(ql_json_member(line, "p"), &expected);
    if (strcmp(text_of(line, "kind"), "mcnemar") != 0)
        return;
    REQUIRE_OK(&cx, ql_sheet_read(db, &row, "SELECT mcnemar(?, ?)", "ii", int_of(ql_json_member(line, "only_first")),
                                  int_of(ql_json_member(line, "only_second"))));
    CHECK_NEAR(ql_row(&row, 0)->real, expected, 1e-10 * expected);
}

/* --- texts that were generated ----------------------------------------------------------------------------------- */

static void
check_cut(const ql_json *line)
{
    const ql_json *stop = ql_json_member(line, "stop");
    const char *stops[8], *text = text_of(line, "text");

    for (int64_t i = 0; i < ql_json_length(stop); i++)
        stops[i] = ql_json_string(ql_json_item(stop, i));
    CHECK_STR(ql_format(&cx, "%.*s", (int)ql_task_cut(stops, ql_json_length(stop), text, strlen(text)), text),
              text_of(line, "cut"));
}

/* What the task's filters find in a text, and whether it is the reference. */
static void
check_found(const ql_task *task, int64_t f, const char *text, const char *reference, const char *expected, bool right)
{
    const char *found;
    bool same;

    REQUIRE_OK(&cx, ql_task_extract(&cx, task, f, text, strlen(text), &found));
    CHECK_STR(found, expected);
    REQUIRE_OK(&cx, ql_task_matches(&cx, task, f, found, reference, &same));
    if (same != right)
        TEST_FAIL("'%s' with the reference '%s': got %d, expected %d", text, reference, same, right);
}

static void
check_extract(const ql_json *line)
{
    static const ql_task *task;
    const char *text = text_of(line, "text"), *cut;
    const ql_task_generation *g;

    if (!task)
        REQUIRE_OK(&cx, ql_task_open(&cx, "gsm8k", &task));
    g = ql_task_generates(task);
    CHECK_INT(g->filter_count, 2);
    cut = ql_format(&cx, "%.*s", (int)ql_task_cut(g->stops, g->stop_count, text, strlen(text)), text);
    CHECK_STR(cut, text_of(line, "cut"));
    for (int64_t f = 0; f < 2; f++)
        check_found(task, f, cut, text_of(line, "reference"), text_of(line, g->filters[f]),
                    int_of(ql_json_member(line, ql_format(&cx, "%s_match", g->filters[f]))) == 1);
}

/* As the ProjQ release scores what its recipe trains. */
static void
check_numbers(void)
{
    static const struct {
        const char *text, *reference, *found;
        bool right;
    } rows[] = {
        {"so 3 + 4 = 7. The final answer is:  7", "7", "7", true},
        {"The final answer is: 1,234 of 99", "1234", "1234", true},
        {"The final answer is: 18.0", "18", "18.0", true},
        {"The final answer is: 18.", "18", "18.", true},
        {"The final answer is: none. 5", "5", "5", true},
        {"first 5, then 6. The final answer is: none", "6", "6.", true}, /* none behind it: the last of all */
        {"He has 12 or -3", "-3", "-3", true},
        {"no number", "5", "[invalid]", false},
        {"The final answer is: 7", "8", "7", false},
        {"The final answer is: 1003", "a <<1+2=3>>3\nThe final answer is:  1,003", "1003", true},
        {"The final answer is: 3", "a <<1+2=3>>3\nThe final answer is:  1,003", "3", false},
    };
    const ql_task_document *d =
        first_of("gsm8k@projq", "{\"question\": \"Q?\", \"answer\": \"a <<1+2=3>>3\\n#### 1,003\"}\n", "jsonl");
    const ql_task *task;

    CHECK_STR(d->requests[0].context,
              "Q?\nAnswer the above question. First think step by step and then answer the final number.\n");
    CHECK_STR(d->requests[0].continuation, "a <<1+2=3>>3\nThe final answer is:  1,003"); /* as the release learns it */
    REQUIRE_OK(&cx, ql_task_open(&cx, "gsm8k@projq", &task));
    CHECK_INT(ql_task_generates(task)->stop_count, 0);
    CHECK_INT(ql_task_generates(task)->max_gen, 256);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_found(task, 0, rows[i].text, rows[i].reference, rows[i].found, rows[i].right);
}

int
main(void)
{
    ql_scope scope;

    fixtures = test_fixtures();
    if (!fixtures)
        return test_failures ? 1 : 77;
    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    CHECK(each_line("pairs.jsonl", check_pair) > 400);
    CHECK(each_line("windows.jsonl", check_windows) > 10);
    CHECK(each_line("shots.jsonl", check_shots) > 90);
    CHECK(each_line("hellaswag.jsonl", check_hellaswag) >= 10);
    CHECK(each_line("detokenize.jsonl", check_detokenize) > 20);
    CHECK(each_line("wikitext.jsonl", check_article) == 62);
    CHECK_INT(article, 62);
    CHECK(each_line("extract.jsonl", check_extract) == 65);
    CHECK(each_line("cut.jsonl", check_cut) == 10);
    check_numbers();
    CHECK(each_line("statistics.jsonl", check_statistic) > 15);
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
