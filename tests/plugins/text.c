/* The data plugin `text` through its shared object: formats, documents, sampling, and what it says of broken files. */
#include <sys/stat.h>
#include <zlib.h>

#include "lab.h"

static const char *
write_gz(ql_ctx *cx, const char *name, const char *data, size_t bytes)
{
    const char *path = ql_format(cx, "%s/%s", folder, name);
    gzFile f = gzopen(path, "wb");

    if (!f || gzwrite(f, data, (unsigned)bytes) != (int)bytes || gzclose(f) != Z_OK)
        exit(1);
    return path;
}

static void
test_formats(lab *l)
{
    static const char jsonl[] =
        "{\"text\": \"one\", \"id\": 1}\r\n\n{\"id\": 2, \"text\": \"zw\\u00f6\\n\"}\n{\"text\": \"\"}";
    static const char csv[] = "\xef\xbb\xbf"
                              "id,text,\"long name\"\r\n1,plain,x\r\n\r\n2,\"a \"\"b\"\", c\r\nd\",y\n3,,z\n";
    ql_ctx *cx = l->cx;
    ql_tokens t;

    CHECK_OK(cx, READ(l, &t, "path",
                      write_text(cx, "a.txt",
                                 "\xef\xbb\xbf"
                                 "ab\r\ncd\n\ref"),
                      "seqlen", "5"));
    SEQUENCES(l, &t, "ab\ncd");
    CHECK_INT(t.documents, 1);
    CHECK_OK(cx, READ(l, &t, "path", write_text(cx, "a.raw", "ab\r\n \ncd\n"), "seqlen", "9", "sampling", "first-n",
                      "samples", "7", "documents", "lines"));
    SEQUENCES(l, &t, "ab", "cd");
    CHECK(strstr(warning, "/a.raw: 4 tokens in 2 sequences, asked for 63 in 7"));
    for (int gz = 0; gz < 2; gz++) {
        const char *path = gz ? write_gz(cx, "a.jsonl.gz", jsonl, sizeof jsonl - 1) : write_text(cx, "a.jsonl", jsonl);

        CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "4", "join", "|"));
        SEQUENCES(l, &t, "one|", "zw\xc3\xb6");
        CHECK_INT(t.documents, 3);
    }
    CHECK_OK(cx,
             READ(l, &t, "path", write_text(cx, "a.csv", csv), "seqlen", "20", "sampling", "first-n", "samples", "3"));
    SEQUENCES(l, &t, "plain", "a \"b\", c\r\nd");
    CHECK_INT(t.rejected, 1);
    CHECK_OK(cx,
             READ(l, &t, "path", ql_format(cx, "%s/a.csv", folder), "seqlen", "2", "field", "long name", "join", ""));
    SEQUENCES(l, &t, "xy");
    CHECK_OK(cx, READ(l, &t, "path",
                      write_text(cx, "bad.txt",
                                 "a\xff\xe2\x82"
                                 "b\xc3"),
                      "seqlen", "11", "errors", "replace"));
    SEQUENCES(l, &t,
              "a\xef\xbf\xbd\xef\xbf\xbd"
              "b\xef\xbf\xbd");
}

static void
test_bos(lab *l)
{
    ql_ctx *cx = l->cx;
    const char *path = write_text(cx, "bos.txt", "abcdef");
    ql_tokens t;

    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "3"));
    SEQUENCES(l, &t, "abc", "def");
    CHECK(!t.bos);
    CHECK_INT(t.bos_id, BOS);
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "3", "bos", "yes"));
    SEQUENCES(l, &t, "^ab", "cde");
    CHECK(t.bos);
    l->request.bos = QL_BOS_NO; /* an evaluator that knows better */
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "6", "bos", "yes"));
    SEQUENCES(l, &t, "abcdef");
    l->request.bos = QL_BOS_DATA;
    l->request.max_positions = 2;
    CHECK_OK(cx, READ(l, &t, "path", path));
    SEQUENCES(l, &t, "ab", "cd", "ef");
    l->request.max_positions = 0;
    CHECK_ERROR(cx, READ(l, &t, "path", path), QL_INVALID,
                "seqlen is needed: the model does not say how many positions it has");
    /* Never two: a text that brings its BOS with it. */
    path = write_text(cx, "own.txt", "<s>abcde");
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "3", "bos", "yes"));
    SEQUENCES(l, &t, "^ab", "cde");
    CHECK(strstr(warning, "a text that already begins with the BOS token gets no second one (1 texts)"));
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "3", "bos", "no"));
    SEQUENCES(l, &t, "^ab", "cde");
    CHECK_STR(warning, "");
}

/* A text in which every window is different: the letters count up in base 26. */
static char *
numbered(ql_ctx *cx, int64_t bytes)
{
    char *s = ql_alloc(cx, (size_t)bytes + 1, 1);

    for (int64_t i = 0; i < bytes; i++)
        s[i] = (char)('a' + (i % 3 == 0 ? i / 2028 : i % 3 == 1 ? i / 78 : i / 3) % 26);
    return s;
}

static void
test_windows(lab *l)
{
    ql_ctx *cx = l->cx;
    const char *s = numbered(cx, 1003), *path = write_text(cx, "numbered.txt", s);
    int64_t last = -1, at;
    ql_tokens t, again;

    l->request.seed = 5;
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "10"));
    CHECK_INT(t.count, 100);
    CHECK_INT(t.asked, 0);
    CHECK(strncmp(sequence(l, &t, 99), s + 990, 10) == 0);
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "10", "samples", "40"));
    CHECK_OK(cx, READ(l, &again, "path", path, "seqlen", "10", "samples", "40"));
    CHECK_INT(t.count, 40);
    for (int64_t i = 0; i < 40; i++) {
        at = strstr(s, sequence(l, &t, i)) - s;
        CHECK(at > last && at % 10 == 0);
        last = at;
        CHECK_STR(sequence(l, &again, i), sequence(l, &t, i));
    }
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "10", "samples", "101"));
    CHECK_INT(t.count, 100);
    CHECK(strstr(warning, "1000 tokens in 100 sequences, asked for 1010 in 101"));
    CHECK_ERROR(cx, READ(l, &t, "path", path, "seqlen", "1004"), QL_INVALID,
                "/numbered.txt: not one sequence of 1004 tokens: the longest text has 1003 (1 documents read)");
}

/* Documents of 0, 3, 6, ... 3 (count - 1) letters, each of its own letter. */
static const char *
write_documents(ql_ctx *cx, int count)
{
    ql_text out = {0};
    const char *path;

    for (int i = 0; i < count; i++) {
        char letters[200] = "";

        memset(letters, 'a' + i % 26, (size_t)(3 * i));
        REQUIRE_OK(cx, ql_text_put(cx, &out, "{\"text\": \"", 10));
        REQUIRE_OK(cx, ql_text_put(cx, &out, letters, strlen(letters)));
        REQUIRE_OK(cx, ql_text_put(cx, &out, "\"}\n", 3));
    }
    path = write_file(cx, "documents.jsonl", out.data, (size_t)out.count);
    free(out.data);
    return path;
}

static void
test_wikitext2(lab *l)
{
    ql_ctx *cx = l->cx;
    const char *s = numbered(cx, 500);
    ql_mt19937 g;
    ql_tokens t;

    l->request.seed = 0;
    CHECK_OK(cx, READ(l, &t, "path", write_text(cx, "wiki.raw", s), "seqlen", "7", "samples", "9", "sampling",
                      "gptq-wikitext2"));
    ql_mt19937_seed(&g, 0);
    for (int64_t i = 0; i < 9; i++)
        CHECK(strncmp(sequence(l, &t, i), s + ql_mt19937_between(&g, 0, 500 - 7 - 1), 7) == 0);
    CHECK_INT(t.count, 9);
    /* Rows: lines with their ends, blank ones empty, joined by two newlines; `join` alone makes the same text. */
    CHECK_OK(cx, READ(l, &t, "path", write_text(cx, "rows.raw", " \n = A = \n\nb\n"), "seqlen", "16", "join", "\n\n"));
    SEQUENCES(l, &t, "\n\n = A = \n\n\n\n\nb\n");
    CHECK_OK(cx, READ(l, &t, "path", ql_format(cx, "%s/rows.raw", folder), "seqlen", "15", "samples", "1", "sampling",
                      "gptq-wikitext2"));
    CHECK_INT(t.count, 1);
    CHECK_ERROR(cx,
                READ(l, &t, "path", ql_format(cx, "%s/rows.raw", folder), "seqlen", "16", "samples", "1", "sampling",
                     "gptq-wikitext2"),
                QL_INVALID, "not one sequence of 16 tokens");
}

static void
test_c4(lab *l)
{
    ql_ctx *cx = l->cx;
    const char *path = write_documents(cx, 26);
    ql_mt19937 g;
    ql_tokens t;

    l->request.seed = 3;
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "30", "samples", "40", "sampling", "gptq-c4"));
    CHECK_INT(t.count, 40);
    CHECK_INT(t.documents, 26);
    ql_mt19937_seed(&g, 3);
    for (int64_t i = 0; i < 40; i++) {
        int64_t document;

        do
            document = ql_mt19937_between(&g, 0, 25);
        while (3 * document < 30);
        if (3 * document > 30)
            ql_mt19937_between(&g, 0, 3 * document - 30 - 1);
        CHECK_INT(sequence(l, &t, i)[0], 'a' + document);
    }
    CHECK_ERROR(cx, READ(l, &t, "path", path, "seqlen", "76", "samples", "1", "sampling", "gptq-c4"), QL_INVALID,
                "not one sequence of 76 tokens: the longest text has 75 (26 documents read)");
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "6", "samples", "2", "sampling", "projq-c4"));
    CHECK_INT(t.documents, 22); /* no further than the 20 that are long enough */
    CHECK_INT(t.rejected, 2);
    ql_mt19937_seed(&g, 42);
    {
        int64_t order[20];

        for (int64_t i = 0; i < 20; i++)
            order[i] = i;
        ql_mt19937_shuffle(&g, order, 20);
        CHECK_INT(sequence(l, &t, 0)[0], 'c' + order[0]);
        CHECK_INT(sequence(l, &t, 1)[0], 'c' + order[1]);
    }
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "6", "samples", "3", "sampling", "projq-c4"));
    CHECK(strstr(warning, "24 documents of 6 tokens, the procedure shuffles 30"));
}

static void
test_streams(lab *l)
{
    ql_ctx *cx = l->cx;
    const char *path = write_documents(cx, 40);
    ql_tokens t;

    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "5", "samples", "3", "sampling", "first-n"));
    SEQUENCES(l, &t, "bbb", "ccccc", "ddddd");
    CHECK_INT(t.documents, 4);
    CHECK_INT(t.asked, 15);
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "5", "samples", "3", "sampling", "pack"));
    SEQUENCES(l, &t, "$bbb$", "ccccc", "c$ddd");
    CHECK_INT(t.documents, 4);
    CHECK_OK(cx, READ(l, &t, "path", write_text(cx, "p.txt", "a\nbc\n"), "seqlen", "2", "sampling", "pack", "documents",
                      "lines"));
    SEQUENCES(l, &t, "a$", "bc");
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "7", "samples", "2", "sampling", "srr"));
    SEQUENCES(l, &t, "\n\nbbb\n\n", "cccccc\n");
    CHECK_INT(t.documents, 40);
    CHECK_OK(cx, READ(l, &t, "path", path, "seqlen", "7", "samples", "1", "sampling", "srr"));
    CHECK_INT(t.documents, 20);
}

static void
test_file_errors(lab *l)
{
    ql_ctx *cx = l->cx;
    char big[4000];
    const char *path;
    struct stat info;
    ql_tokens t;

    CHECK_ERROR(cx, READ(l, &t, "path", "none.txt", "seqlen", "4"), QL_NOT_FOUND,
                "none.txt: No such file or directory");
    mkdir(ql_format(cx, "%s/d.txt", folder), 0700);
    CHECK_ERROR(cx, READ(l, &t, "path", ql_format(cx, "%s/d.txt", folder), "seqlen", "4"), QL_IO,
                "/d.txt: not a regular file but a folder");
    CHECK_ERROR(cx, READ(l, &t, "path", write_text(cx, "e.txt", ""), "seqlen", "4"), QL_INVALID,
                "/e.txt: not one sequence of 4 tokens: the longest text has 0 (1 documents read)");
    CHECK_ERROR(cx, READ(l, &t, "path", write_text(cx, "e.jsonl", "\n\n"), "seqlen", "4"), QL_INVALID,
                "the longest text has 0 (0 documents read)");
    CHECK_ERROR(cx,
                READ(l, &t, "path",
                     write_text(cx, "u.txt",
                                "\xef\xbb\xbf"
                                "ab\nc\xffz\n"),
                     "seqlen", "4"),
                QL_INVALID, "/u.txt:2: not UTF-8 at byte 7 of the file (0xFF); 'errors: replace' goes on with U+FFFD");
    CHECK_ERROR(cx,
                READ(l, &t, "path",
                     write_text(cx, "u2.txt",
                                "\xef\xbb\xbf"
                                "a\xff"),
                     "seqlen", "4"),
                QL_INVALID, "at byte 4 of the file");
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(' ' + (i * i * 31 + i / 7) % 90);
    path = write_gz(cx, "cut.jsonl.gz", big, sizeof big);
    CHECK(stat(path, &info) == 0 && truncate(path, info.st_size - 9) == 0);
    CHECK_ERROR(cx, READ(l, &t, "path", path, "seqlen", "4"), QL_INVALID,
                "/cut.jsonl.gz: the gzip data end too early, after");
    CHECK_ERROR(cx, READ(l, &t, "path", path, "seqlen", "4", "bad_records", "skip"),
                QL_INVALID, /* no record, but the file */
                "/cut.jsonl.gz: the gzip data end too early, after");
    path = write_gz(cx, "broken.json.gz", big, sizeof big);
    {
        FILE *f = fopen(path, "r+b");

        fseek(f, 40, SEEK_SET);
        fwrite("\xff\xff\xff\xff\xff\xff\xff\xff", 1, 8, f);
        fclose(f);
    }
    CHECK_ERROR(cx, READ(l, &t, "path", path, "seqlen", "4"), QL_INVALID,
                "/broken.json.gz: the gzip data are damaged after");
    CHECK_ERROR(cx, READ(l, &t, "path", write_text(cx, "p.json.gz", "{}"), "seqlen", "4"), QL_INVALID,
                "/p.json.gz: its name ends in .gz, but it is not gzip data");
    CHECK_ERROR(cx, READ(l, &t, "path", write_gz(cx, "z.json", "{}", 2), "seqlen", "4"), QL_INVALID,
                "/z.json: gzip data, but its name does not end in .gz");
}

static void
test_record_errors(lab *l)
{
    static const struct {
        const char *name, *text, *error;
    } cases[] = {
        {"r.jsonl", "{\"text\": \"a\"}\n{\"b\": 1, \"c\": 2}\n", "/r.jsonl:2: no field 'text' (fields: b, c)"},
        {"r.jsonl", "{}\n", "/r.jsonl:1: no field 'text' (fields: none)"},
        {"r.jsonl", "\n{\"text\": [1]}\n", "/r.jsonl:2: 'text': expected a text, got an array"},
        {"r.json", "[{\"text\": 1}]\n", "/r.json: item 1: 'text': expected a text, got 1"},
        {"r.json", "[{\"text\": \"a\"}, 1]\n", "/r.json: item 2: expected an object or a text, got 1"},
        {"r.json", "[{\"text\": \"a\"}\n{}]\n", "/r.json:2: expected a comma or ']' behind an item of the array"},
        {"r.json", "[{\"text\": \"a\"}]\n{}", "/r.json:2: more text behind the end of the array"},
        {"r.json", "[{\"text\": \"a\"},\n\n {1}]", "item 2 of the array: /tmp/"},
        {"r.json", "[", "/r.json:1:1: "},
        {"r.json", "{\n\"text\": 1}\n", "expected one JSON record a line, or one array of them: /tmp/"},
        {"r.jsonl", "{\"text\": null}", "/r.jsonl:1: field 'text' is null"},
        {"r.csv", "a,b\n1,2\n", "/r.csv:1: no column 'text' (columns: a, b)"},
        {"r.csv", "text,b\n1,2\n3\n", "/r.csv:3: 1 fields, expected 2 as in the header"},
        {"r.csv", "text,b\n1,2\n\"3,\n4\n", "/r.csv:3: a quoted field does not end"},
        {"r.csv", "text,b\n\"1\"x,2\n", "/r.csv:2: expected a comma or a line end after a closing quote, got 'x'"},
    };
    ql_ctx *cx = l->cx;
    ql_tokens t;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_ERROR(cx, READ(l, &t, "path", write_text(cx, cases[i].name, cases[i].text), "seqlen", "1"), QL_INVALID,
                    cases[i].error);
    CHECK_ERROR(cx, READ(l, &t, "path", "a.parquet"), QL_UNSUPPORTED,
                "a.parquet: Parquet is not read; this makes JSON lines of it: python3 -c \"import pandas");
    CHECK_ERROR(
        cx, READ(l, &t, "path", "a.doc.gz"), QL_UNSUPPORTED,
        "a.doc.gz: unknown kind of file, expected .txt, .raw, .tokens, .jsonl, .json, .csv or .tsv, as it is or packed "
        "as .gz or .zst");
    CHECK_ERROR(cx, READ(l, &t, "path", "a.txt", "bad_records", "skip"), QL_INVALID,
                "bad_records: skip is for JSON and CSV");
    CHECK_ERROR(cx, READ(l, &t, "path", "a.csv", "documents", "lines"), QL_INVALID,
                "documents: lines is for files of plain text: here every record is a document");
    CHECK_ERROR(cx, READ(l, &t, "path", "a.txt", "field", "x"), QL_INVALID,
                "field: x: a file of plain text has no fields");
    CHECK_ERROR(cx, READ(l, &t, "path", "a.txt", "sampling", "srr"), QL_INVALID, "sampling: srr needs samples");
}

/* The token counts of the joined test split of WikiText-2. */
static void
test_counts(lab *l)
{
    static const struct {
        const char *tokenizer;
        int64_t tokens, windows;
    } cases[] = {{"llama2", 341469, 166}, {"qwen3", 299078, 146}};
    const char *fixtures = test_fixtures(),
               *path = ql_format(l->cx, "%s/datasets/wikitext2/wiki.test.raw", fixtures ? fixtures : "");
    ql_tokens t;

    for (size_t i = 0; i < 2 && fixtures; i++) {
        ql_tokenizer *tk;
        ql_data_request kept = l->request;

        REQUIRE_OK(l->cx,
                   ql_tokenizer_open(l->cx, ql_format(l->cx, "%s/tokenizers/%s", fixtures, cases[i].tokenizer), &tk));
        l->request.tokenizer = tk;
        CHECK_OK(l->cx, READ(l, &t, "path", path, "seqlen", "2048", "join", "\n\n"));
        CHECK_INT(t.count, cases[i].windows);
        CHECK_OK(l->cx,
                 READ(l, &t, "path", path, "seqlen", "400000", "join", "\n\n", "sampling", "first-n", "samples", "1"));
        CHECK_INT(t.offsets[1], cases[i].tokens);
        l->request = kept;
        ql_tokenizer_close(tk);
    }
}

int
main(void)
{
    const ql_log log = {.write = keep_warning};
    ql_ctx cx;
    ql_scope scope;
    lab l;

    ql_ctx_init(&cx, &log);
    ql_scope_open(&cx, &scope);
    lab_open(&l, &cx, "text");
    test_formats(&l);
    test_bos(&l);
    test_windows(&l);
    test_wikitext2(&l);
    test_c4(&l);
    test_streams(&l);
    test_file_errors(&l);
    test_record_errors(&l);
    test_counts(&l);
    lab_close(&l);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
