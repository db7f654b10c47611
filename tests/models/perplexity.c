/* Perplexity of every fixture model on the bundled text, from the tokenizer to the loss, against golden.json. */
#include <qloom/tokenizer.h>

#include "core/base/json.h"
#include "models/lab.h"

#define TEXT "bundled/eval.txt"
#define CHUNK 32   /* windows */
#define CHUNKS 128 /* at most */

typedef struct expected {
    int64_t tokens, seqlen, windows;
    double perplexity;
} expected;

static expected
read_golden(ql_ctx *cx, const char *folder)
{
    const ql_json *root, *list;
    expected e = {0};

    REQUIRE_OK(cx, ql_json_read(cx, ql_format(cx, "%s/golden.json", folder), &root));
    list = ql_json_member(root, "perplexity");
    for (int64_t i = 0; i < ql_json_length(list); i++) {
        const ql_json *o = ql_json_item(list, i);

        if (strcmp(ql_json_string(ql_json_member(o, "text")), TEXT) != 0)
            continue;
        REQUIRE_OK(cx, ql_json_int(cx, o, "tokens", 0, &e.tokens));
        REQUIRE_OK(cx, ql_json_int(cx, o, "seqlen", 0, &e.seqlen));
        REQUIRE_OK(cx, ql_json_int(cx, o, "windows", 0, &e.windows));
        REQUIRE_OK(cx, ql_json_real(cx, o, "perplexity", 0, &e.perplexity));
    }
    CHECK(e.windows > 0);
    return e;
}

static void
read_text(ql_ctx *cx, const char *fixtures, const char *folder, ql_ids *ids)
{
    ql_tokenizer *tk;
    const char *text;
    size_t bytes;

    REQUIRE_OK(cx, ql_tokenizer_open(cx, folder, &tk));
    REQUIRE_OK(cx, ql_file_read(cx, ql_format(cx, "%s/" TEXT, fixtures), QL_FILE_MOST, &text, &bytes));
    REQUIRE_OK(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_NO, ids));
    ql_tokenizer_close(tk);
}

/* Sum of the losses of the windows of one chunk, h being what the last block gave. */
static double
loss(ql_ctx *cx, const ql_model_handle *m, const ql_ends *ends, const ql_flow *f, const int32_t *ids)
{
    const int64_t tokens = f->seqs->offsets[f->seqs->count];
    int32_t *next = ql_alloc(cx, (size_t)tokens, sizeof *next);
    ql_tensor *x, *targets, *nll;
    const double *values;
    double sum = 0;

    for (int64_t s = 0; s < f->seqs->count; s++)
        for (int64_t t = f->seqs->offsets[s]; t < f->seqs->offsets[s + 1]; t++)
            next[t] = t + 1 < f->seqs->offsets[s + 1] ? ids[t + 1] : -1;
    REQUIRE_OK(cx, ql_upload(cx, QL_I32, tokens, -1, next, &targets));
    REQUIRE_OK(cx, ql_model_norm(cx, m, ends, f->h, &x));
    REQUIRE_OK(cx, ql_nll(cx, x, ends->head, targets, &nll));
    values = lab_values(cx, nll);
    for (int64_t t = 0; t < tokens; t++)
        sum += values[t];
    return sum;
}

static double
total_loss(ql_ctx *cx, const ql_model_handle *m, const expected *e, const int32_t *ids)
{
    const int64_t chunks = (e->windows + CHUNK - 1) / CHUNK;
    int64_t offsets[CHUNK + 1];
    ql_seqs seqs[CHUNKS];
    ql_flow flows[CHUNKS];
    ql_ends ends;
    double sum = 0;

    for (int64_t i = 0; i <= CHUNK; i++)
        offsets[i] = i * e->seqlen;
    for (int64_t c = 0; c < chunks; c++) {
        ql_tensor *h;

        seqs[c] = (ql_seqs){.count = c + 1 < chunks ? CHUNK : e->windows - c * CHUNK, .offsets = offsets};
        REQUIRE_OK(cx, ql_model_embed(cx, m, ids + c * CHUNK * e->seqlen, seqs[c].count * e->seqlen, &h));
        flows[c] = (ql_flow){.seqs = &seqs[c], .h = h};
    }
    for (int64_t i = 0; i < m->info.layers; i++) {
        ql_block *b;

        REQUIRE_OK(cx, ql_block_open(cx, m, i, &b));
        for (int64_t c = 0; c < chunks; c++)
            REQUIRE_OK(cx, ql_block_forward(cx, b, NULL, &flows[c]));
        ql_block_close(b);
    }
    REQUIRE_OK(cx, ql_model_ends(cx, m, &ends));
    for (int64_t c = 0; c < chunks; c++)
        sum += loss(cx, m, &ends, &flows[c], ids + c * CHUNK * e->seqlen);
    return sum;
}

static void
check_model(lab *l, const char *fixtures, const char *folder)
{
    ql_ctx *cx = &l->cx;
    ql_model_handle m = {0};
    ql_ids ids = {0};
    ql_scope scope;
    expected e;
    double perplexity;

    ql_scope_open(cx, &scope);
    e = read_golden(cx, folder);
    read_text(cx, fixtures, folder, &ids);
    CHECK_INT(ids.count, e.tokens);
    if (ids.count == e.tokens && (e.windows + CHUNK - 1) / CHUNK <= CHUNKS) {
        REQUIRE_OK(cx, ql_model_open(cx, l->registry, NULL, NULL, folder, &m));
        perplexity = exp(total_loss(cx, &m, &e, ids.ids) / (double)(e.windows * (e.seqlen - 1)));
        if (!(fabs(perplexity / e.perplexity - 1) <= 1e-5))
            TEST_FAIL("%s: perplexity %.9g, expected %.9g", folder, perplexity, e.perplexity);
        ql_model_close(&m);
    }
    ql_scope_close(cx, &scope);
}

int
main(void)
{
    return lab_fixtures(check_model);
}
