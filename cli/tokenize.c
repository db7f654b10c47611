/* `qloom tokenize`: lines on standard input to token ids, and back, one line at a time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qloom/tokenizer.h>

#include "base/json.h"
#include "cli.h"

static const char usage[] =
    "FOLDER is any folder with a tokenizer.json. Every line on standard input becomes one line of ids on standard "
    "output.\n\n"
    "  --jsonl             one JSON string a line in, one JSON array of ids a line out: for texts with line ends\n"
    "  --decode            the other way: ids in, texts out\n"
    "  --bos yes|no|auto   begin with the BOS token; auto: as the tokenizer's files say; default: no\n";

typedef struct job {
    ql_cli *cli;
    ql_tokenizer *tokenizer;
    bool jsonl, decode;
    ql_bos bos;
} job;

static ql_status
read_bos(ql_ctx *cx, const char *text, ql_bos *out)
{
    for (int i = 0; ql_bos_words[i]; i++)
        if (strcmp(text, ql_bos_words[i]) == 0) {
            *out = (ql_bos)i;
            return QL_OK;
        }
    return QL_FAIL(cx, QL_INVALID, "--bos: got '%s', expected auto, yes or no", text);
}

static ql_status
encode(const job *j, const char *line, size_t bytes)
{
    ql_ctx *cx = j->cli->cx;
    const ql_json *v = NULL;
    ql_ids ids = {0};

    if (j->jsonl) {
        QL_TRY(cx, ql_json_parse(cx, &(ql_json_input){.file = "standard input", .text = line, .bytes = bytes}, &v));
        line = ql_json_bytes(v, &bytes);
        if (!line)
            return ql_json_expected(cx, v, "a JSON string");
    }
    QL_TRY(cx, ql_tokenizer_encode(cx, j->tokenizer, line, bytes, j->bos, &ids));
    printf("%s", j->jsonl ? "[" : "");
    for (int64_t i = 0; i < ids.count; i++)
        printf("%s%d", i == 0 ? "" : j->jsonl ? ", " : " ", (int)ids.ids[i]);
    printf("%s\n", j->jsonl ? "]" : "");
    return QL_OK;
}

static ql_status
add_id(ql_ctx *cx, ql_ids *ids, int64_t id)
{
    if (id < 0 || id > INT32_MAX)
        return QL_FAIL(cx, QL_INVALID, "%lld is no token id", (long long)id);
    ids->ids[ids->count++] = (int32_t)id;
    return QL_OK;
}

static ql_status
read_array(ql_ctx *cx, const char *line, size_t bytes, ql_ids *ids)
{
    const ql_json *v;
    int64_t id;

    QL_TRY(cx, ql_json_parse(cx, &(ql_json_input){.file = "standard input", .text = line, .bytes = bytes}, &v));
    if (!ql_json_is_array(v))
        return ql_json_expected(cx, v, "a JSON array of ids");
    for (int64_t i = 0; i < ql_json_length(v); i++) {
        if (!ql_json_as_int(ql_json_item(v, i), &id))
            return ql_json_expected(cx, ql_json_item(v, i), "an id");
        QL_TRY(cx, add_id(cx, ids, id));
    }
    return QL_OK;
}

static ql_status
read_numbers(ql_ctx *cx, const char *line, ql_ids *ids)
{
    char *end;

    for (;;) {
        long long id;

        line += strspn(line, " \t\r");
        if (!*line)
            return QL_OK;
        errno = 0;
        id = strtoll(line, &end, 10);
        if (errno || end == line || (*end && !strchr(" \t\r", *end)))
            return QL_FAIL(cx, QL_INVALID, "expected ids with spaces between, got '%.20s'", line);
        QL_TRY(cx, add_id(cx, ids, id));
        line = end;
    }
}

static ql_status
decode(const job *j, const char *line, size_t bytes)
{
    ql_ctx *cx = j->cli->cx;
    ql_ids ids = {.ids = ql_alloc(cx, bytes, sizeof *ids.ids)}; /* an id takes at least one character */
    const char *text;
    size_t length;

    if (!ids.ids)
        return QL_MEMORY;
    QL_TRY(cx, j->jsonl ? read_array(cx, line, bytes, &ids) : read_numbers(cx, line, &ids));
    QL_TRY(cx, ql_tokenizer_decode(cx, j->tokenizer, &ids, 0, &text, &length));
    if (j->jsonl) {
        text = ql_json_quote(cx, text, length);
        if (!text)
            return QL_MEMORY;
        length = strlen(text);
    }
    (void)fwrite(text, 1, length, stdout);
    putchar('\n');
    return QL_OK;
}

static ql_status
each_line(const job *j)
{
    ql_ctx *cx = j->cli->cx;
    char *line = NULL;
    size_t capacity = 0;
    ql_status st = QL_OK;

    for (int64_t number = 1; st == QL_OK; number++) {
        ql_scope scope;
        ssize_t n = getline(&line, &capacity, stdin);
        size_t bytes = n > 0 ? (size_t)n : 0;

        if (n < 0)
            break;
        if (bytes && line[bytes - 1] == '\n')
            line[--bytes] = '\0';
        ql_scope_open(cx, &scope);
        st = j->decode ? decode(j, line, bytes) : encode(j, line, bytes);
        ql_scope_close(cx, &scope);
        st = st == QL_OK ? ql_check_interrupt(cx) : ql_where(cx, st, "line %lld", (long long)number);
    }
    free(line);
    if (st == QL_OK && ferror(stdin))
        return QL_FAIL(cx, QL_IO, "cannot read standard input");
    return st;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    const char *bos = NULL;
    job j = {.cli = cli, .bos = QL_BOS_NO};
    const ql_option options[] = {{.name = "--jsonl", .flag = &j.jsonl},
                                 {.name = "--decode", .flag = &j.decode},
                                 {.name = "--bos", .value = &bos},
                                 QL_OPTIONS_END};
    ql_status st;

    QL_TRY(cli->cx, ql_options(cli, options, &argc, argv, 1, 1, "one folder with a tokenizer.json"));
    if (bos && j.decode)
        return QL_FAIL(cli->cx, QL_INVALID, "--bos is for encoding, not for --decode");
    if (bos)
        QL_TRY(cli->cx, read_bos(cli->cx, bos, &j.bos));
    QL_TRY(cli->cx, ql_tokenizer_open(cli->cx, argv[1], &j.tokenizer));
    st = each_line(&j);
    ql_tokenizer_close(j.tokenizer);
    return st;
}

const ql_command ql_cmd_tokenize = {
    .name = "tokenize",
    .arguments = "FOLDER",
    .help = "lines of text to token ids, and back",
    .usage = usage,
    .run = run,
};
