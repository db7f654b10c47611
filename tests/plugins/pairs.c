/* The data plugin `pairs` through its shared object: which tokens an example has, which of them are targets, and which records become
 * examples. */
#include "lab.h"

/* Sequence `i` as a text, with | before its targets, which go to its end. */
static const char *
marked(const lab *l, const ql_tokens *t, int64_t i)
{
    const char *text = sequence(l, t, i);
    const int64_t n = t->offsets[i + 1] - t->offsets[i];
    int64_t first = 0;

    while (first < n && !t->scored[t->offsets[i] + first])
        first++;
    for (int64_t k = first; k < n; k++)
        CHECK_INT(t->scored[t->offsets[i] + k], 1);
    return ql_format(l->cx, "%.*s|%s", (int)first, text, text + first);
}

static void
check_marked(const lab *l, const ql_tokens *t, const char *const *expected)
{
    int64_t count = 0;

    for (; expected[count] && count < t->count; count++)
        CHECK_STR(marked(l, t, count), expected[count]);
    CHECK_INT(t->count, count);
    CHECK(expected[count] == NULL);
}

#define EXAMPLES(l, t, ...) check_marked(l, t, (const char *const[]){__VA_ARGS__, NULL})
#define PAIR "prompt", "{{q}}?", "completion", " {{a}}"

static void
test_examples(lab *l)
{
    const char *path =
        write_text(l->cx, "a.jsonl",
                   "{\"q\": \"one\", \"a\": 1}\n{\"q\": \"<s>t\", \"a\": \"2</s>\"}\n{\"q\": \"\", \"a\": \"\"}\n");
    const char *none = write_text(l->cx, "none.jsonl", "{\"q\": \"\", \"a\": \"xy\"}\n");
    ql_tokens t;

    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "99"));
    EXAMPLES(l, &t, "one?| 1$", "^t?| 2$", "?| $");
    CHECK_INT(t.documents, 3);
    CHECK_INT(t.seqlen, 99);
    CHECK(!t.bos);
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "99", "bos", "yes", "eos", "false"));
    EXAMPLES(l, &t, "^one?| 1", "^t?| 2$", "^?| ");
    CHECK(t.bos);
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "99", "score", "all"));
    EXAMPLES(l, &t, "o|ne? 1$", "^|t? 2$", "?| $");
    CHECK_OK(l->cx, READ(l, &t, "path", none, "prompt", "{{q}}", "completion", "{{a}}", "max_length", "99"));
    EXAMPLES(l, &t, "x|y$"); /* nothing predicts a first token */
    CHECK_STR(warning, "");
}

static void
test_lengths(lab *l)
{
    const char *path =
        write_text(l->cx, "l.jsonl",
                   "{\"q\": \"12345\", \"a\": \"x\"}\n{\"q\": \"1\", \"a\": \"abc\"}\n{\"q\": \"1\", \"a\": \"a\"}\n");
    ql_tokens t;

    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "5"));
    EXAMPLES(l, &t, "1?| ab", "1?| a$");
    CHECK_INT(t.rejected, 1);
    CHECK(strstr(warning, "1 examples left out: nothing to score in the first 5 tokens") != NULL);
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "5", "too_long", "drop"));
    EXAMPLES(l, &t, "1?| a$");
    CHECK_INT(t.rejected, 2);
    l->request.max_positions = 8;
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR));
    EXAMPLES(l, &t, "12345?| x", "1?| abc$", "1?| a$");
    CHECK(strstr(warning, "1 examples cut to 8 tokens") != NULL);
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9"), QL_INVALID,
                "max_length: 9 tokens are more than the 8 positions of the model: allow_long: true takes them");
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "allow_long", "true"));
    EXAMPLES(l, &t, "12345?| x$", "1?| abc$", "1?| a$");
    l->request.max_positions = 0;
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR), QL_INVALID, "max_length is needed");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "2"), QL_INVALID,
                "l.jsonl: not one example is left: nothing to score in the first 2 tokens, or longer (3 records)");
}

/* What a token is may depend on what follows: then the prompt's tokens are no begin of the whole's. */
static void
test_boundary(lab *l)
{
    static const char json[] = "{\"model\": {\"vocab\": {\"a\": 97, \"b\": 98, \"ab\": 99}, \"merges\": [\"a b\"]}, "
                               "\"added_tokens\": [{\"id\": 257, \"content\": \"</s>\"}]}";
    const char *path = write_text(l->cx, "b.jsonl", "{\"q\": \"a\", \"a\": \"b\"}\n{\"q\": \"b\", \"a\": \"a\"}\n");
    const char *config = "{\"eos_token\": \"</s>\"}";
    ql_tokenizer_files files = {.name = "t", .text = json, .bytes = sizeof json - 1, .config_name = "c"};
    ql_tokenizer *tk;
    ql_tokens t;

    files.config_text = config;
    files.config_bytes = strlen(config);
    REQUIRE_OK(l->cx, ql_tokenizer_parse(l->cx, &files, &tk));
    l->request.tokenizer = tk;
    /* `ab` is one token, 99: 'c' */
    CHECK_OK(l->cx, READ(l, &t, "path", path, "prompt", "{{q}}", "completion", "{{a}}", "max_length", "9"));
    EXAMPLES(l, &t, "c|\003", "b|a\003");
    CHECK(strstr(warning, "1 examples whose prompt's tokens are no begin of the whole's") != NULL);
    CHECK_OK(l->cx, READ(l, &t, "path", path, "prompt", "{{q}}", "completion", "{{a}}", "max_length", "9", "boundary",
                         "separate"));
    EXAMPLES(l, &t, "a|b\003", "b|a\003");
    CHECK_STR(warning, "");
    l->request.tokenizer = l->tokenizer;
    ql_tokenizer_close(tk);
}

/* Bit i: example i of the twenty is there. */
static unsigned
which(const lab *l, const ql_tokens *t)
{
    unsigned all = 0;
    int last = -1;

    for (int64_t i = 0; i < t->count; i++) {
        const int n = atoi(sequence(l, t, i));

        CHECK(n > last); /* in the order of the file */
        last = n;
        all |= 1u << n;
    }
    return all;
}

static void
test_parts(lab *l)
{
    const char *text = "", *path;
    unsigned train, held, other;
    ql_tokens t;

    for (int i = 0; i < 20; i++)
        text = ql_format(l->cx, "%s{\"q\": \"%d\", \"a\": \"x\"}\n", text, i);
    path = write_text(l->cx, "p.jsonl", text);
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "holdout", "0.3"));
    CHECK_INT(t.count, 14);
    train = which(l, &t);
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "holdout", "0.3", "part", "held"));
    CHECK_INT(t.count, 6);
    held = which(l, &t);
    CHECK_INT(train & held, 0);
    CHECK_INT(train | held, (1 << 20) - 1);
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "holdout", "0.3", "samples", "5"));
    CHECK_INT(t.count, 5);
    CHECK_INT(which(l, &t) & ~train, 0);
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "holdout", "0.3", "samples", "50"));
    CHECK_INT(which(l, &t), train);
    CHECK(strstr(warning, "14 records, asked for 50") != NULL);
    l->request.seed = 5;
    CHECK_OK(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "holdout", "0.3", "part", "held"));
    other = which(l, &t);
    CHECK(other != held);
    l->request.seed = 0;
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "holdout", "0.01", "part", "held"),
                QL_INVALID, "p.jsonl: a holdout of 0.01 of 20 records is none");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "part", "held"), QL_INVALID,
                "part: held needs holdout");
}

/* A task of each kind: its prompt and its right answer. */
static void
test_tasks(lab *l)
{
    static const struct {
        const char *task, *example;
    } rows[] = {
        {"prompt: \"{{q}}:\"\nchoices: \"{{c}}\"\ngold: \"{{n}}\"\n", "who:| me$"},
        {"prompt: \"{{q}}:\"\nchoices: \"{{c}}\"\ngold: \"{{n}}\"\nscore: whole\n", "w|ho: me$"},
        {"prompt: \"{{q}}:\"\nchoices: \"{{c}}\"\ngold: \"{{[1, 0]}}\"\ndelimiter: \"\"\ndescription: \"D \"\n",
         "D who:|me$"},
        {"contexts: \"{{c}}\"\ncontinuation: \"{{q}}\"\ngold: \"{{n}}\"\n", "me| who$"},
        {"prompt: \"{{q}}\"\ncontinuation: \"{{c[0]}}\"\n", "who| you$"},
        {"text: \"{{q}}\"\n", "w|ho$"},
        {"prompt: \"{{q}}\"\nanswer: \"{{c[1]}}\"\ngenerate: {max_gen: 3}\nshots: {rule: train, count: 5}\n",
         "who| me$"},
    };
    const char *path = write_text(l->cx, "t.jsonl", "{\"q\": \"who\", \"c\": [\"you\", \"me\"], \"n\": 1}\n");
    ql_tokens t;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *file = write_text(l->cx, "t.yaml", ql_format(l->cx, "qloom-task: 1\nname: t\n%s", rows[i].task));

        CHECK_OK(l->cx, READ(l, &t, "path", path, "file", file, "max_length", "99"));
        EXAMPLES(l, &t, rows[i].example);
    }
}

/* Shipped tasks that exist to be learned: the texts of the programs that published them. */
static void
test_shipped(lab *l)
{
    static const struct {
        const char *task, *record, *example;
    } rows[] = {
        {"alpaca", "{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"}",
         "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
         "response "
         "that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:|3$"},
        {"alpaca", "{\"instruction\": \"Add.\", \"input\": \"\", \"output\": \"3\"}",
         "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
         "### Instruction:\nAdd.\n\n### Response:|3$"},
        {"llm_adapters", "{\"instruction\": \"Add.\", \"input\": \"\", \"output\": \"3\"}",
         "B|elow is an instruction that describes a task. Write a response that appropriately completes the request.  "
         "# noqa: E501\n\n                ### Instruction:\n                Add.\n                \n"
         "                ### Response:\n                3$"},
        {"llm_adapters", "{\"instruction\": \"Add.\", \"input\": \"1\", \"output\": \"3\"}",
         "B|elow is an instruction that describes a task, paired with an input that provides further context. Write a "
         "response "
         "that appropriately completes the request.  # noqa: E501\n\n                ### Instruction:\n                "
         "Add.\n"
         "                \n                ### Input:\n                1\n                \n"
         "                ### Response:\n                3$"},
        {"commonsense_qa@projq",
         "{\"question\": \"Where?\", \"choices\": {\"label\": [\"A\", \"B\"], \"text\": [\"x\", \"y\"]}, "
         "\"answerKey\": \"B\"}",
         "Q|: Where?\nA: y$"},
        {"gsm8k", "{\"question\": \"1+1?\", \"answer\": \"<<1+1=2>>2\\n#### 2\"}",
         "Question: 1+1?\nAnswer:| <<1+1=2>>2\n#### 2$"},
        {"gsm8k@projq", "{\"question\": \"1+1?\", \"answer\": \"2\\n#### 2\"}",
         "1+1?\nAnswer the above question. First think step by step and then answer the final number.\n|2\nThe final "
         "answer "
         "is:  2$"},
        {"gsm8k@qera", "{\"question\": \"1+1?\", \"answer\": \"2\\n#### 2\"}",
         "1+1?\nAnswer the above question. First think step by step and then answer the final number.\n|2\nThe final "
         "answer "
         "is 2$"},
        {"chatml",
         "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": "
         "\"Yes?\"}]}",
         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n|Yes?<|im_end|>$"},
    };
    ql_tokens t;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = write_text(l->cx, "s.jsonl", rows[i].record);

        CHECK_OK(l->cx, READ(l, &t, "path", path, "task", rows[i].task, "max_length", "9999"));
        EXAMPLES(l, &t, rows[i].example);
    }
}

static void
test_errors(lab *l)
{
    const char *path = write_text(l->cx, "e.jsonl", "{\"q\": \"one\", \"a\": 1}\n{\"q\": \"two\"}\n");
    const char *other = write_text(l->cx, "n.jsonl", "{\"q\": \"a\\u0000b\", \"a\": 1}\n");
    static const char plain[] = "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}";
    ql_tokenizer_files files = {.name = "t", .text = plain, .bytes = sizeof plain - 1};
    ql_tokenizer *tk;
    ql_tokens t;

    CHECK_ERROR(l->cx, READ(l, &t, "path", path), QL_INVALID, "expected one of: `task`");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, "prompt", "x"), QL_INVALID, "expected one of: `task`");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, "task", "gsm8k", PAIR), QL_INVALID, "expected one of: `task`");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, "task", "gms8k"), QL_NOT_FOUND, "did you mean 'gsm8k'?");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, "prompt", "{{q", "completion", "x"), QL_INVALID,
                "prompt (line 1), completion (line 2):1:");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9"), QL_INVALID,
                "completion (line 2):2:19: record 1 of");
    CHECK_ERROR(l->cx, READ(l, &t, "path", other, PAIR, "max_length", "9"), QL_INVALID, "NUL character");
    REQUIRE_OK(l->cx, ql_tokenizer_parse(l->cx, &files, &tk));
    l->request.tokenizer = tk;
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9"), QL_INVALID,
                "eos: the tokenizer has no EOS token; `eos: false` leaves it out");
    CHECK_ERROR(l->cx, READ(l, &t, "path", path, PAIR, "max_length", "9", "bos", "yes"), QL_INVALID,
                "bos: yes, but the tokenizer has no BOS token");
    l->request.tokenizer = l->tokenizer;
    ql_tokenizer_close(tk);
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
    lab_open(&l, &cx, "pairs");
    test_examples(&l);
    test_lengths(&l);
    test_boundary(&l);
    test_parts(&l);
    test_tasks(&l);
    test_shipped(&l);
    test_errors(&l);
    lab_close(&l);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
