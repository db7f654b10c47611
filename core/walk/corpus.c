/* Token sequences cut into chunks of whole sequences. */
#include "corpus.h"

#include "base/hash.h"

int64_t
ql_span_tokens(const ql_span *s)
{
    return s->seqs.offsets[s->seqs.count];
}

ql_status
ql_corpus_make(ql_ctx *cx, const ql_tokens *tokens, int64_t chunk_tokens, ql_corpus *out)
{
    const int64_t *at = tokens->offsets;
    uint64_t both[4];
    ql_span *spans = ql_alloc(cx, (size_t)tokens->count, sizeof *spans);

    if (!spans)
        return QL_MEMORY;
    *out = (ql_corpus){.tokens = *tokens, .spans = spans};
    for (int64_t s = 0, end; s < tokens->count; s = end) {
        int64_t *offsets;

        for (end = s + 1; end < tokens->count && at[end + 1] - at[s] <= chunk_tokens;)
            end++;
        offsets = ql_alloc(cx, (size_t)(end - s) + 1, sizeof *offsets);
        if (!offsets)
            return QL_MEMORY;
        for (int64_t i = s; i <= end; i++)
            offsets[i - s] = at[i] - at[s];
        spans[out->span_count++] = (ql_span){
            .seqs = {.count = end - s, .offsets = offsets},
            .first_sequence = s,
            .first_token = at[s],
        };
    }
    ql_hash_bytes(at, (size_t)(tokens->count + 1) * sizeof *at, both);
    ql_hash_bytes(tokens->ids, (size_t)at[tokens->count] * sizeof *tokens->ids, both + 2);
    ql_hash_bytes(both, sizeof both, out->key);
    return QL_OK;
}

ql_status
ql_corpus_read(ql_ctx *cx, const ql_node *n, const ql_data_request *req, ql_tokens *out)
{
    const char *who = cx->who;
    ql_status st;

    *out = (ql_tokens){.bos_id = -1};
    cx->who = n->name;
    st = n->plugin->data->read(cx, n->self, req, out);
    cx->who = who;
    if (st == QL_OK && (out->count < 1 || out->offsets[out->count] < 1))
        st = QL_FAIL(cx, QL_INVALID, "no sequence came out of %lld documents (%lld were too short)",
                     (long long)out->documents, (long long)out->rejected);
    return st == QL_OK ? st : ql_where(cx, st, "stage '%s' (%s)", n->name, n->plugin->name);
}
