/* Task files and records that are wrong: each message names file, line and column, or the record. And shapes of records that are right. */
#include "base/file.h"
#include "base/path.h"
#include "test.h"

#include <qloom/tasks.h>

static ql_ctx cx;
static char folder[] = "/tmp/qloom-task-XXXXXX";

#define HEAD "qloom-task: 1\nname: t\n"
#define ASKS HEAD "prompt: '{{q}}'\nchoices: '{{c}}'\ngold: '{{g}}'\n"

static const char *
write_file(const char *name, const char *text)
{
    const char *path = ql_format(&cx, "%s/%s", folder, name);

    REQUIRE_OK(&cx, ql_file_write(&cx, path, text, strlen(text)));
    return path;
}

/* The error's text with FOLDER in the place of the folder's name. */
static const char *
error_text(void)
{
    const char *text = ql_error(&cx), *at, *out = "";

    while ((at = strstr(text, folder))) {
        out = ql_format(&cx, "%s%.*sFOLDER", out, (int)(at - text), text);
        text = at + strlen(folder);
    }
    return ql_format(&cx, "%s%s", out, text);
}

static void
check_file(const char *text, const char *expected)
{
    const ql_task *task;

    CHECK_INT(ql_task_open(&cx, write_file("t.yaml", text), &task), QL_INVALID);
    if (!strstr(error_text(), expected))
        TEST_FAIL("got\n%s\nexpected\n%s", error_text(), expected);
    ql_error_clear(&cx);
}

/* The task over the records in a file of that name. */
static void
check_records(const char *text, const char *name, const char *records, int64_t shots, const char *expected)
{
    const ql_task_options o = {.path = write_file(name, records), .shots = shots};
    const ql_task_document *documents;
    const ql_task *task;
    int64_t count;

    REQUIRE_OK(&cx, ql_task_open(&cx, write_file("t.yaml", text), &task));
    CHECK(ql_task_read(&cx, task, &o, &documents, &count) != QL_OK);
    if (!strstr(error_text(), expected))
        TEST_FAIL("got\n%s\nexpected\n%s", error_text(), expected);
    ql_error_clear(&cx);
}

/* Two records, whose contexts are "one" and "two". */
static void
check_shape(const char *name, const char *records)
{
    const ql_task_options o = {.path = write_file(name, records)};
    const ql_task_document *documents;
    const ql_task *task;
    int64_t count;

    REQUIRE_OK(&cx, ql_task_open(&cx, write_file("t.yaml", HEAD "prompt: '{{q}}'\ncontinuation: '{{a}}'\n"), &task));
    REQUIRE_OK(&cx, ql_task_read(&cx, task, &o, &documents, &count));
    CHECK_INT(count, 2);
    CHECK_STR(documents[0].requests[0].context, "one");
    CHECK_STR(documents[1].requests[0].context, "two");
    CHECK_STR(documents[1].requests[0].continuation, " 2");
}

static void
test_files(void)
{
    check_file("", "FOLDER/t.yaml:1:1: the file is empty");
    check_file("- a\n", "FOLDER/t.yaml:1:1: expected a mapping, got a list");
    check_file(
        HEAD "promt: a\n",
        "FOLDER/t.yaml:1:1: expected one kind of request: prompt and choices; contexts and continuation; prompt and "
        "continuation; text; or prompt, answer and generate\n"
        "FOLDER/t.yaml:3:1: unknown key 'promt' (did you mean 'prompt'?)");
    check_file(HEAD "prompt: a\nchoices: b\n", "FOLDER/t.yaml:1:1: missing key 'gold': which choice is right");
    check_file(
        ASKS "text: a\n",
        "FOLDER/t.yaml:1:1: expected one kind of request: prompt and choices; contexts and continuation; prompt and "
        "continuation; text; or prompt, answer and generate");
    check_file("name: t\nprompt: a\ncontinuation: b\n", "FOLDER/t.yaml:1:1: expected `qloom-task: 1` in a task file");
    check_file("qloom-task: 2\nprompt: a\ncontinuation: b\n",
               "FOLDER/t.yaml:1:1: missing key 'name'\nFOLDER/t.yaml:1:13: expected `qloom-task: 1` in a task file");
    check_file(HEAD "prompt: \"a\\n{{q}\"\ncontinuation: b\n",
               "FOLDER/t.yaml:3:16: expected '}}' or an operator, got '}'");
    check_file(HEAD "prompt: |\n  one\n  two {{q +}}\ncontinuation: b\n",
               "FOLDER/t.yaml:5:12: expected a value, got '}'");
    check_file(HEAD "prompt: 'it''s {{1 1}}'\ncontinuation: b\n",
               "FOLDER/t.yaml:3:20: expected '}}' or an operator, got '1'");
    check_file(HEAD "let:\n- \"f(x)\": '{{f(x)}}'\nprompt: a\ncontinuation: b\n",
               "FOLDER/t.yaml:4:14: no function 'f'; a function is defined above its use");
    check_file(HEAD "let: [a]\nprompt: [a]\ncontinuation: {a: b}\n",
               "FOLDER/t.yaml:3:7: let: expected `name: template`, got 'a'\n"
               "FOLDER/t.yaml:4:9: expected a template, a text, got a list\n"
               "FOLDER/t.yaml:5:15: expected a template, a text, got a mapping");
    check_file(ASKS "metrics: [acc, word_perplexity]\nshots: {rule: none, count: x, seed: 1}\nscore: part\n",
               "FOLDER/t.yaml:6:16: 'word_perplexity' is not known here, expected one like 'acc'\n"
               "FOLDER/t.yaml:7:15: 'none' is not known here, expected one like 'train'\n"
               "FOLDER/t.yaml:7:28: expected a number from 0 to 1048576, got 'x'\n"
               "FOLDER/t.yaml:7:31: unknown key 'seed'\n"
               "FOLDER/t.yaml:8:8: 'part' is not known here, expected one like 'continuation'");
    check_file(HEAD "prompt: a\nprompt: b\n", "FOLDER/t.yaml:4:1: duplicate key 'prompt' (first on line 3)");
}

static void
test_records(void)
{
    static const char task[] = ASKS "metrics: [acc, acc_norm]\n";

    check_records(task, "d.jsonl", "{\"c\": [\"a\", \"b\"], \"g\": 0}\n", 0,
                  "FOLDER/t.yaml:3:12: record 0 of FOLDER/d.jsonl: no field 'q' (did you mean 'c'?) (has: c, g)");
    check_records(task, "d.jsonl", "{\"q\": [1], \"c\": [\"a\", \"b\"], \"g\": 0}\n", 0,
                  "FOLDER/t.yaml:3:10: record 0 of FOLDER/d.jsonl: expected a text, got a list");
    check_records(task, "d.jsonl", "{\"q\": 1, \"c\": \"ab\", \"g\": 0}\n", 0,
                  "FOLDER/t.yaml:4:11: record 0 of FOLDER/d.jsonl: expected a list of texts, got a text");
    check_records(task, "d.jsonl", "{\"q\": 1, \"c\": [\"a\"], \"g\": 0}\n", 0,
                  "FOLDER/t.yaml:4:11: record 0 of FOLDER/d.jsonl: expected 2 to 1000 choices, got 1");
    check_records(task, "d.jsonl", "{\"q\": 1, \"c\": [\"a\", 2], \"g\": 0}\n", 0,
                  "FOLDER/t.yaml:4:11: record 0 of FOLDER/d.jsonl: choice 1: expected a text, got an integer");
    check_records(
        task, "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"\"], \"g\": 0}\n", 0,
        "FOLDER/t.yaml:4:11: record 0 of FOLDER/d.jsonl: choice 1 is empty, and acc_norm divides by its length");
    check_records(task, "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"b\"], \"g\": 2}\n", 0,
                  "FOLDER/t.yaml:5:8: record 0 of FOLDER/d.jsonl: gold 2 is outside the 2 choices");
    check_records(task, "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"b\"], \"g\": \"x\"}\n", 0,
                  "FOLDER/t.yaml:5:8: record 0 of FOLDER/d.jsonl: gold 'x' is none of the choices");
    check_records(
        task, "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"b\"], \"g\": null}\n", 0,
        "FOLDER/t.yaml:5:8: record 0 of FOLDER/d.jsonl: gold: expected an index or the text of a choice, got none");
    check_records(task, "d.jsonl", "{\"q\": 1}\n[2]\n", 0, "FOLDER/d.jsonl:2: expected an object, got an array");
    check_records(
        task, "d.jsonl", "{\"q\": 1,}\n", 0,
        "expected one JSON record a line, or one array of them: FOLDER/d.jsonl:1:9: expected a key in quotes");
    check_records(task, "d.jsonl", "{\"q\": 1, \"q\": 2}\n", 0,
                  "FOLDER/d.jsonl:1:17: an object that has the key \"q\" twice");
    check_records(task, "d.jsonl", "{\"q\": \"\\ud800\"}\n", 0, "half of a surrogate pair");
    check_records(task, "d.jsonl", "{\"q\": \"\xff\"}\n", 0, "not UTF-8");
    check_records(task, "d.jsonl", "\n", 0, "FOLDER/d.jsonl: no records");
    check_records(task, "d.csv", "q,c\n1,2,3\n", 0, "FOLDER/d.csv:2: 3 fields, expected 2 as in the header");
    check_records(task, "d.csv", "q,q\n1,2\n", 0, "FOLDER/d.csv:1: two columns \"q\"");
    check_records(task, "d.parquet", "PAR1", 0, "FOLDER/d.parquet: Parquet is not read");
    check_records(task, "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"b\"], \"g\": 0}\n", 2,
                  "pool is needed: 2 shots of 't' are taken from another file");
    check_records(ASKS "shots: {rule: self}\n", "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"b\"], \"g\": 0}\n", 2,
                  "record 0 of FOLDER/d.jsonl: 2 shots need a pool of 3 records, FOLDER/d.jsonl has 1");
    check_records(ASKS "where: '{{g > 0}}'\n", "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"b\"], \"g\": 0}\n", 0,
                  "FOLDER/d.jsonl: no document: `where` leaves out all 1 records");
    check_records(ASKS "let:\n- x: 'aaaaaaaaaaaaaaaa'\n- x: '{{x~x~x~x~x~x~x~x}}'\n- x: '{{x~x~x~x~x~x~x~x}}'\n"
                       "- x: '{{x~x~x~x~x~x~x~x}}'\n- x: '{{x~x~x~x~x~x~x~x}}'\n- x: '{{x~x~x~x~x~x~x~x}}'\n"
                       "- x: '{{x~x~x~x~x~x~x~x}}'\n- x: '{{x~x~x~x~x~x~x~x}}'\n",
                  "d.jsonl", "{\"q\": 1, \"c\": [\"a\", \"b\"], \"g\": 0}\n", 0, "a value of more than 16777216 bytes");
}

static void
test_shapes(void)
{
    check_shape("d.jsonl", "{\"q\": \"one\", \"a\": 1}\n\n{\"q\": \"two\", \"a\": 2}\n");
    check_shape("d.json", "[{\"q\": \"one\", \"a\": 1},\n {\"q\": \"two\", \"a\": 2}]\n");
    check_shape("d.csv", "q,a\none,1\n\"two\",2\n");
    check_shape("d.tsv", "q\ta\none\t1\ntwo\t2\n");
    check_shape("d.json",
                "{\"rows\": [{\"row\": {\"q\": \"one\", \"a\": 1}}, {\"row\": {\"q\": \"two\", \"a\": 2}}]}\n");
    check_shape("d.json", "{\"q\": {\"0\": \"one\", \"1\": \"two\"}, \"a\": {\"0\": 1, \"1\": 2}}\n");
}

static void
test_names(void)
{
    const ql_task *task;

    CHECK_ERROR(&cx, ql_task_open(&cx, "arc_eazy", &task), QL_NOT_FOUND,
                "no task 'arc_eazy' (did you mean 'arc_easy'?)");
    CHECK_OK(&cx, ql_task_open(&cx, "arc_easy", &task));
    CHECK_STR(ql_task_about(task)->headline, "acc_norm");
}

int
main(void)
{
    ql_scope scope;

    if (!mkdtemp(folder))
        return 1;
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    test_files();
    test_records();
    test_shapes();
    test_names();
    CHECK_OK(&cx, ql_remove_tree(&cx, folder));
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
