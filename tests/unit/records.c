/* Records of text files in every form that people keep them in, and what is said of those that are none. */
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <qloom/records.h>

#include "test.h"

#include "core/base/ctx.h"

static char folder[] = "/tmp/qloom-records-XXXXXX";

static const char *
write_file(ql_ctx *cx, const char *name, const void *data, size_t bytes)
{
    const char *path = ql_format(cx, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0)
        exit(1);
    return path;
}

/* All records, with bars between and the counts behind; or the error. */
static const char *
read_all(ql_ctx *cx, const ql_records_options *options)
{
    const char *out = "", *text;
    ql_records *r = NULL;
    ql_records_counts counts;
    size_t bytes;
    ql_status st = ql_records_open(cx, options, &r);

    while (st == QL_OK) {
        st = ql_records_next(cx, r, &text, &bytes);
        if (st != QL_OK || !text)
            break;
        out = ql_format(cx, "%s%s%.*s", out, ql_records_counted(r).records > 1 ? "|" : "", (int)bytes, text);
    }
    if (st == QL_OK) {
        counts = ql_records_counted(r);
        out = ql_format(cx, "%s #%d", out, (int)counts.records);
        if (counts.skipped)
            out = ql_format(cx, "%s -%d", out, (int)counts.skipped);
        if (counts.line_ends)
            out = ql_format(cx, "%s /%d", out, (int)counts.line_ends);
    }
    ql_records_close(r);
    return st == QL_OK ? out : ql_error(cx);
}

static void
test_forms(ql_ctx *cx)
{
    static const struct {
        const char *name, *data, *field;
        bool skip;
        const char *expected;
    } cases[] = {
        {"a.txt", "one\ntwo\n", NULL, false, "one\ntwo\n #1"},
        {"A.TXT", "one", NULL, false, "one #1"},
        {"wiki.test.tokens", "one\n", NULL, false, "one\n #1"},
        {"a.txt", "a\r\nb\rc\n\rd\r\n", NULL, false, "a\nb\nc\n\nd\n #1 /4"},
        {"a.txt",
         "a\xef\xbb\xbf"
         "b\n\xef\xbb\xbf"
         "c",
         NULL, false,
         "a\xef\xbb\xbf"
         "b\n\xef\xbb\xbf"
         "c #1"},
        {"a.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\r\n", NULL, false, "a|b #2"},
        {"a.jsonl", "{\"text\": \"a\"}\n\xef\xbb\xbf{\"text\": \"b\"}", NULL, false, "a|b #2"},
        {"a.json", "[{\"text\": \"a\"}, {\"text\": \"b\"}]", NULL, false, "a|b #2"},
        {"a.json", "\n[\n {\n  \"text\": \"a\"\n },\n {\"text\": \"b\"}\n]\n", NULL, false, "a|b #2"},
        {"a.json", "[]", NULL, false, " #0"},
        {"a.jsonl", "\"a\"\n\"b\"\n", NULL, false, "a|b #2"},
        {"a.json", "[\"a\", \"b\"]", "text", false, "a|b #2"},
        {"a.jsonl", "{\"data\": {\"text\": \"a\"}}", "data.text", false, "a #1"},
        {"a.jsonl", "{\"data.text\": \"a\"}", "data.text", false, "a #1"},
        {"a.jsonl", "{\"text\": \"a\", \"x\": NaN, \"y\": [-Infinity, 1e999], \"id\": 18446744073709551615}", NULL,
         false, "a #1"},
        {"a.jsonl", "{\"text\": \"half \\ud83d\"}", NULL, false, "half \xef\xbf\xbd #1"},
        {"a.jsonl", "{\"text\": \"a\", \"text\": \"b\"}", NULL, false, "b #1"},
        {"a.jsonl",
         "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": "
         "[{\"type\": "
         "\"text\", \"text\": \"Ho\"}, {\"type\": \"image\"}]}]}",
         NULL, false, "user\nHi\n\nassistant\nHo #1"},
        {"a.jsonl", "{\"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}]}", NULL, false, "human\nHi #1"},
        {"a.jsonl", "{\"chat\": [{\"role\": \"user\", \"content\": \"Hi\"}]}", "chat", false, "user\nHi #1"},
        {"a.jsonl", "{\"text\": \"a\"}\n{\"text\": null}\n{\"title\": \"x\"}\n{\"text\": 1}\n{\n\"b\"", NULL, true,
         "a|b #2 -4"},
        {"a.json", "[{\"text\": \"a\"}, {\"x\": 1}, {\"text\": \"b\"}]", NULL, true, "a|b #2 -1"},
        {"a.csv", "text,x\na,1\nb\nc,3\n\"d\"e,1\n", NULL, true, "a|c #2 -2"},
        {"a.csv", "x,y\n1,2\n", "y", false, "2 #1"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ql_records_options o = {.path = write_file(cx, cases[i].name, cases[i].data, strlen(cases[i].data)),
                                      .field = cases[i].field,
                                      .skip = cases[i].skip};

        CHECK_STR(read_all(cx, &o), cases[i].expected);
    }
}

static const char *
write_zstd(ql_ctx *cx, const char *name, const char *data, size_t bytes, size_t cut)
{
    char packed[1024];
    size_t n = ZSTD_compress(packed, sizeof packed, data, bytes, 3);

    return write_file(cx, name, packed, n - cut);
}

static const char *
write_gzip(ql_ctx *cx, const char *name, const char *data)
{
    const char *path = ql_format(cx, "%s/%s", folder, name);
    gzFile f = gzopen(path, "wb");

    if (!f || gzputs(f, data) < 0 || gzclose(f) != Z_OK)
        exit(1);
    return path;
}

static void
test_packed(ql_ctx *cx)
{
    char twice[512];
    size_t n;

    CHECK_STR(read_all(cx, &(ql_records_options){.path = write_gzip(cx, "a.txt.gz", "one\n")}), "one\n #1");
    CHECK_STR(read_all(cx, &(ql_records_options){.path = write_gzip(cx, "a.CSV.GZ", "text\none\n")}), "one #1");
    CHECK_STR(read_all(cx, &(ql_records_options){.path = write_zstd(cx, "a.jsonl.zst", "{\"text\": \"one\"}", 15, 0)}),
              "one #1");
    n = ZSTD_compress(twice, 256, "one ", 4, 3); /* frames one behind the other, of which one is empty */
    n += ZSTD_compress(twice + n, 128, "", 0, 3);
    n += ZSTD_compress(twice + n, 128, "two", 3, 3);
    CHECK_STR(read_all(cx, &(ql_records_options){.path = write_file(cx, "a.txt.zst", twice, n)}), "one two #1");
    CHECK_STR(read_all(cx, &(ql_records_options){.path = write_zstd(cx, "e.txt.zst", "", 0, 0)}), " #1");
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_zstd(cx, "c.txt.zst", "one", 3, 1)}),
                 "/c.txt.zst: the zstd data end too early, after "));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "n.txt.zst", "one", 3)}),
                 "/n.txt.zst: its name ends in .zst, but it is not zstd data"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "z.txt.zst", "", 0)}),
                 "/z.txt.zst: its name ends in .zst, but it is not zstd data"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "d.txt.zst",
                                                                       "\x28\xb5\x2f\xfd\x20\x03\x07\x00\x00one", 12)}),
                 "/d.txt.zst: the zstd data are damaged after 0 bytes of text"));
}

static void
test_refused(ql_ctx *cx)
{
    const char *fifo = ql_format(cx, "%s/fifo.txt", folder);

    CHECK(mkfifo(fifo, 0600) == 0);
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = fifo}), "/fifo.txt: not a regular file but a FIFO"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "u.txt",
                                                                       "\xff\xfe"
                                                                       "a\0",
                                                                       4),
                                                    .replace = true}),
                 "/u.txt: UTF-16, by its byte order mark; texts are UTF-8: iconv -f UTF-16 -t UTF-8"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "u.jsonl", "\xfe\xff\0{", 4)}),
                 "/u.jsonl: UTF-16"));
    CHECK(strstr(
        read_all(cx, &(ql_records_options){.path = write_file(cx, "l.txt",
                                                              "version https://git-lfs.github.com/spec/v1\n", 43)}),
        "/l.txt: a Git LFS pointer in place of the file: fetch it with `git lfs pull`"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "h.raw", "<!DOCTYPE html>\n", 16)}),
                 "/h.raw: an HTML page in place of the file: the download failed"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "m.jsonl",
                                                                       "{\"messages\": [{\"role\": \"a\"}]}", 29)}),
                 "/m.jsonl:1: 'messages[0]': expected a message with role and content"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "t.json", "[{\"text\": \"a\"}, {1}]", 20),
                                                    .skip = true}),
                 "item 2 of the array: /tmp/")); /* where an item is no JSON, nobody knows where the next begins */
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "h.csv", "a,b\n", 4), .skip = true}),
                 "/h.csv:1: no column 'text' (columns: a, b)"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "w.csv", "text,a,text\n1,2,3\n", 18)}),
                 "/w.csv:1: two columns 'text'"));
    /* a file without a header: its first text is cut at a character */
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(
                                                        cx, "n.csv",
                                                        "123456789_123456789_123456789_12345678\u00e9\u00e9\n", 43)}),
                 "(columns: 123456789_123456789_123456789_12345678\u00e9)"));
    CHECK(strstr(read_all(cx, &(ql_records_options){.path = write_file(cx, "e.jsonl", "{\"messages\": []}\n", 17)}),
                 "/e.jsonl:1: 'messages': expected a list of messages, got none"));
}

int
main(void)
{
    ql_ctx cx;
    ql_scope scope;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    if (!mkdtemp(folder))
        return 1;
    test_forms(&cx);
    test_packed(&cx);
    test_refused(&cx);
    CHECK_INT(system(ql_format(&cx, "rm -r '%s'", folder)), 0);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
