/* Inputs as segments of trees: what several of them begin with is there once. Inputs are sorted by their ids, so those that share a
 * beginning lie side by side. */
#include <stdlib.h>
#include <string.h>

#include "tasks.h"

typedef struct builder {
    ql_ctx *cx;
    const tasks_input **inputs; /* sorted */
    int64_t most;               /* tokens of a tree: beyond that its beginning is there once more */
    int64_t segments, tokens, targets;
    int64_t *offsets, *first, *parent;
    int32_t *ids;
    ql_scored_word *target;
} builder;

static int64_t
common(const tasks_input *a, const tasks_input *b)
{
    int64_t n = 0;

    while (n < a->count && n < b->count && a->ids[n] == b->ids[n])
        n++;
    return n;
}

static int
by_ids(const void *pa, const void *pb)
{
    const tasks_input *a = *(const tasks_input *const *)pa, *b = *(const tasks_input *const *)pb;
    const int64_t n = common(a, b);

    if (n < a->count && n < b->count)
        return a->ids[n] < b->ids[n] ? -1 : 1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return (a->request > b->request) - (a->request < b->request);
}

/* Ids [from, to) that inputs [lo, hi) have in common become a segment, with the targets that lie in it. */
static int64_t
add_segment(builder *b, int64_t lo, int64_t hi, int64_t from, int64_t to, int64_t parent)
{
    const int64_t s = b->segments++;

    memcpy(b->ids + b->tokens, b->inputs[lo]->ids + from, (size_t)(to - from) * sizeof *b->ids);
    b->first[s] = from;
    b->parent[s] = parent;
    for (int64_t i = lo; i < hi; i++) {
        const tasks_input *in = b->inputs[i];
        const int64_t begin = in->count - in->scored;

        for (int64_t p = begin > from ? begin : from; p < in->count && p < to; p++)
            b->target[b->targets++] =
                (ql_scored_word){.row = b->tokens + p - from, .request = in->request, .id = in->words[p - begin]};
    }
    b->tokens += to - from;
    b->offsets[s + 1] = b->tokens;
    return s;
}

/* The end of the inputs from `lo` on that agree with it at position `at`. */
static int64_t
group_end(const builder *b, int64_t lo, int64_t hi, int64_t at)
{
    int64_t end = lo + 1;

    while (end < hi && b->inputs[end]->ids[at] == b->inputs[lo]->ids[at])
        end++;
    return end;
}

/* Inputs [lo, hi), whose first `from` ids, the same in all, are in segment `parent` and above. */
static ql_status
build(builder *b, int64_t lo, int64_t hi, int64_t from, int64_t parent)
{
    const int64_t shared = common(b->inputs[lo], b->inputs[hi - 1]);
    int64_t begin = lo;

    QL_TRY(b->cx, ql_check_interrupt(b->cx));
    if (hi - lo == 1 || shared == b->inputs[hi - 1]->count) { /* one input, or the same one several times */
        if (shared > from)
            (void)add_segment(b, lo, hi, from, shared, parent);
        return QL_OK;
    }
    if (shared > from)
        parent = add_segment(b, lo, hi, from, shared, parent);
    while (b->inputs[begin]->count == shared) /* inputs that end here */
        begin++;
    for (int64_t end; begin < hi; begin = end) {
        end = group_end(b, begin, hi, shared);
        QL_TRY(b->cx, build(b, begin, end, shared, parent));
    }
    return QL_OK;
}

/* Runs of inputs whose trees are not too large. */
static ql_status
build_all(builder *b, int64_t count)
{
    for (int64_t lo = 0, hi; lo < count; lo = hi) {
        int64_t tokens = b->inputs[lo]->count;

        for (hi = lo + 1; hi < count; hi++) {
            tokens += b->inputs[hi]->count - common(b->inputs[hi - 1], b->inputs[hi]);
            if (tokens > b->most)
                break;
        }
        QL_TRY(b->cx, build(b, lo, hi, 0, -1));
    }
    return QL_OK;
}

static int
by_row(const void *pa, const void *pb)
{
    const ql_scored_word *a = pa, *b = pb;

    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return (a->request > b->request) - (a->request < b->request);
}

/* Targets in the order of their rows, which become places in the list of scored tokens. */
static ql_status
score(ql_ctx *cx, builder *b, ql_questions *out)
{
    int64_t *scored = ql_alloc(cx, (size_t)b->targets + 1, sizeof *scored);

    if (!scored)
        return QL_MEMORY;
    qsort(b->target, (size_t)b->targets, sizeof *b->target, by_row);
    out->scored_count = 0;
    for (int64_t i = 0; i < b->targets; i++) {
        if (out->scored_count == 0 || scored[out->scored_count - 1] != b->target[i].row)
            scored[out->scored_count++] = b->target[i].row;
        b->target[i].row = out->scored_count - 1;
    }
    out->scored = scored;
    out->targets = b->target;
    out->target_count = b->targets;
    return QL_OK;
}

ql_status
tasks_tree_make(ql_ctx *cx, const tasks_inputs *in, int64_t most, ql_tokens *out, ql_questions *questions)
{
    builder b = {.cx = cx, .most = most};
    int64_t tokens = 0, targets = 0;

    for (int64_t i = 0; i < in->count; i++) {
        tokens += in->items[i].count;
        targets += in->items[i].scored;
    }
    b.inputs = ql_alloc(cx, (size_t)in->count + 1, sizeof(const tasks_input *));
    b.offsets = ql_alloc(cx, 2 * (size_t)in->count + 1, sizeof *b.offsets);
    b.first = ql_alloc(cx, 2 * (size_t)in->count, sizeof *b.first);
    b.parent = ql_alloc(cx, 2 * (size_t)in->count, sizeof *b.parent);
    b.ids = ql_alloc(cx, (size_t)tokens, sizeof *b.ids);
    b.target = ql_alloc(cx, (size_t)targets + 1, sizeof *b.target);
    if (!b.inputs || !b.offsets || !b.first || !b.parent || !b.ids || !b.target)
        return QL_MEMORY;
    for (int64_t i = 0; i < in->count; i++)
        b.inputs[i] = &in->items[i];
    if (most)
        qsort(b.inputs, (size_t)in->count, sizeof *b.inputs, by_ids);
    for (int64_t i = 0; !most && i < in->count; i++)
        (void)add_segment(&b, i, i + 1, 0, b.inputs[i]->count, -1);
    if (most)
        QL_TRY(cx, build_all(&b, in->count));
    out->count = b.segments;
    out->offsets = b.offsets;
    out->ids = b.ids;
    out->first = b.first;
    out->parent = b.parent;
    return score(cx, &b, questions);
}
