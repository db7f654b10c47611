/* Texts that a resident model goes on with: a pool of sequences of any length, one step a token for all of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/rehearsal.h"
#include "tensor/tensor.h"
#include "resident.h"

/* A page of keys and values. What a prompt fills whole stays known after its sequence has ended, until the page is needed. */
typedef struct page {
    int64_t refs;
    uint64_t serial,
        before; /* of what it holds; of what the page before it held, 0: it is a text's first. serial 0: nothing known */
    int64_t used; /* the step in which it was last taken */
    int32_t ids[QL_PAGE];
} page;

typedef struct sequence {
    int64_t prompt, count, seen; /* tokens that it has; those whose keys and values are kept, or are in the step */
    int64_t first;               /* of them, those that came before the step */
    int32_t *ids, *pages;
    int64_t page_count;
} sequence;

typedef struct pool {
    ql_ctx *cx;
    ql_resident *r;
    const ql_generation *g;
    ql_generated *took;
    int64_t running, next; /* sequences; the prompt that comes next */
    sequence *sequences;   /* [g->pool] */
    int64_t page_count;
    page *pages;
    uint64_t serial;
} pool;

static int64_t
pages_for(int64_t tokens)
{
    return (tokens + QL_PAGE - 1) / QL_PAGE;
}

/* Pages that prompt `i` and its text take. The last token of a text is never read. */
static int64_t
pages_of(const ql_generation *g, int64_t i)
{
    return pages_for(g->prompts[i].count + g->prompts[i].most - 1);
}

static bool
is_left(const ql_generation *g, int64_t i)
{
    return !g->done || !g->done[i];
}

/* --- pages ------------------------------------------------------------------------------------------------------- */

/* The page that holds what follows `before`; -1: none does. */
static int32_t
find_page(const pool *p, uint64_t before, const int32_t *ids)
{
    for (int64_t i = 0; i < p->page_count; i++)
        if (p->pages[i].serial && p->pages[i].before == before &&
            memcmp(p->pages[i].ids, ids, sizeof p->pages[i].ids) == 0)
            return (int32_t)i;
    return -1;
}

/* A page that no sequence has, best one of which nothing is known, else the one that was taken longest ago; -1: there is none. */
static int32_t
free_page(const pool *p)
{
    int64_t best = -1;

    for (int64_t i = 0; i < p->page_count; i++) {
        const page *at = &p->pages[i];

        if (at->refs == 0 &&
            (best < 0 || (at->serial ? at->used : -1) < (p->pages[best].serial ? p->pages[best].used : -1)))
            best = i;
    }
    return (int32_t)best;
}

static void
release(pool *p, sequence *s)
{
    for (int64_t i = 0; i < s->page_count; i++)
        p->pages[s->pages[i]].refs--;
    s->page_count = 0;
}

static void
take(pool *p, sequence *s, int32_t at)
{
    p->pages[at].refs++;
    p->pages[at].used = p->took->steps;
    s->pages[s->page_count++] = at;
}

/* Pages that hold the beginning of the prompt already: all its whole ones but the last token's. */
static void
share(pool *p, sequence *s, const ql_prompt *prompt)
{
    uint64_t before = 0;

    while (p->g->share && (s->page_count + 1) * QL_PAGE < prompt->count) {
        const int32_t at = find_page(p, before, prompt->ids + s->page_count * QL_PAGE);

        if (at < 0)
            break;
        take(p, s, at);
        before = p->pages[at].serial;
    }
    s->first = s->seen = s->page_count * QL_PAGE;
}

/* Pages for the rest of the sequence. False: there are not enough, and the sequence has none. */
static bool
reserve(pool *p, sequence *s, int64_t pages)
{
    while (s->page_count < pages) {
        const int32_t at = free_page(p);

        if (at < 0) {
            release(p, s);
            return false;
        }
        p->pages[at].serial = 0;
        take(p, s, at);
    }
    return true;
}

/* What the prompt fills whole is known from here on: the step computes it before anything reads it. */
static void
announce(pool *p, const sequence *s, const ql_prompt *prompt)
{
    for (int64_t i = s->first / QL_PAGE; (i + 1) * QL_PAGE <= prompt->count; i++) {
        page *made = &p->pages[s->pages[i]];

        made->serial = ++p->serial;
        made->before = i ? p->pages[s->pages[i - 1]].serial : 0;
        memcpy(made->ids, prompt->ids + i * QL_PAGE, sizeof made->ids);
    }
}

/* --- sequences --------------------------------------------------------------------------------------------------- */

static ql_status
begin(pool *p, sequence *s, bool *fits)
{
    const ql_prompt *prompt = &p->g->prompts[p->next];
    const int64_t pages = pages_of(p->g, p->next);

    *s = (sequence){.prompt = p->next, .count = prompt->count};
    s->ids = ql_heap(p->cx, (size_t)(prompt->count + prompt->most), sizeof *s->ids);
    s->pages = ql_heap(p->cx, (size_t)pages, sizeof *s->pages);
    if (!s->ids || !s->pages)
        return QL_MEMORY;
    memcpy(s->ids, prompt->ids, (size_t)prompt->count * sizeof *s->ids);
    share(p, s, prompt);
    *fits = reserve(p, s, pages);
    if (*fits)
        announce(p, s, prompt);
    return QL_OK;
}

static void
end(pool *p, sequence *s)
{
    release(p, s);
    free(s->ids);
    free(s->pages);
    *s = (sequence){0};
}

/* Prompts come in while there are places, pages and rows. */
static ql_status
admit(pool *p, int64_t *rows)
{
    bool fits = true;

    for (int64_t i = 0; i < p->running; i++)
        *rows += p->sequences[i].count - p->sequences[i].seen;
    for (; fits && p->next < p->g->count && p->running < p->g->pool; p->next += fits) {
        sequence *s = &p->sequences[p->running];

        if (!is_left(p->g, p->next))
            continue;
        if (*rows > 0 && *rows + p->g->prompts[p->next].count > p->g->chunk_tokens)
            break;
        QL_TRY(p->cx, begin(p, s, &fits));
        if (!fits) {
            end(p, s);
            continue;
        }
        p->running++;
        *rows += s->count - s->seen;
        p->took->prompt_tokens += s->count;
        p->took->shared_tokens += s->seen;
    }
    p->took->running = p->running > p->took->running ? p->running : p->took->running;
    return QL_OK;
}

/* --- a step ------------------------------------------------------------------------------------------------------ */

/* The largest number's place, the first of equal ones. */
static int32_t
largest(const float *x, int64_t count)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++)
        if (x[i] > x[best])
            best = i;
    return (int32_t)best;
}

static bool
is_end(const ql_generation *g, int32_t id)
{
    for (int64_t i = 0; i < g->end_count; i++)
        if (g->ends[i] == id)
            return true;
    return false;
}

/* The sequence's next token; a sequence that has ended leaves at once. */
static ql_status
say(pool *p, sequence *s, int32_t id)
{
    const ql_prompt *prompt = &p->g->prompts[s->prompt];
    bool over;

    s->ids[s->count++] = id;
    p->took->new_tokens++;
    over = is_end(p->g, id) || s->count == prompt->count + prompt->most;
    if (p->cx->device->clock) /* a rehearsal's tokens mean nothing */
        return QL_OK;
    QL_TRY(p->cx, p->g->said(p->cx, p->g->user, s->prompt, s->ids + prompt->count, s->count - prompt->count, &over));
    if (over)
        end(p, s);
    return QL_OK;
}

/* The others keep their order: who comes first takes pages first. */
static void
close_ranks(pool *p)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < p->running; i++)
        if (p->sequences[i].ids)
            p->sequences[kept++] = p->sequences[i];
    for (int64_t i = kept; i < p->running; i++)
        p->sequences[i] = (sequence){0};
    p->running = kept;
}

static ql_status
run_rows(pool *p, int64_t rows, ql_tensor **logits)
{
    const size_t n = (size_t)p->running;
    int64_t *offsets = ql_alloc(p->cx, n + 1, sizeof *offsets), *first = ql_alloc(p->cx, n, sizeof *first);
    int32_t *ids = ql_alloc(p->cx, (size_t)rows, sizeof *ids);
    const int32_t **pages = ql_alloc(p->cx, n, sizeof(int32_t *));
    const ql_seqs seqs = {.count = p->running, .offsets = offsets, .first = first};

    if (!offsets || !first || !ids || !pages)
        return QL_MEMORY;
    for (int64_t i = 0; i < p->running; i++) {
        sequence *s = &p->sequences[i];

        first[i] = s->first = s->seen;
        pages[i] = s->pages;
        offsets[i + 1] = offsets[i] + s->count - s->seen;
        memcpy(ids + offsets[i], s->ids + s->seen, (size_t)(s->count - s->seen) * sizeof *ids);
        s->seen = s->count;
    }
    return ql_resident_step(p->cx, p->r, &(ql_resident_rows){&seqs, ids, pages}, logits);
}

static ql_status
step(pool *p, int64_t rows)
{
    ql_tensor *logits;
    const float *x;

    QL_TRY(p->cx, run_rows(p, rows, &logits));
    QL_TRY(p->cx, ql_map(p->cx, logits, QL_READ, &x));
    for (int64_t i = 0; i < p->running; i++) {
        const float *row = x + i * ql_dim(logits, 1);
        const int32_t id = largest(row, ql_dim(logits, 1));

        if (!(row[id] - row[id] == 0))
            return QL_FAIL(p->cx, QL_NUMERIC, "the logits of prompt %lld's token %lld are not finite",
                           (long long)p->sequences[i].prompt, (long long)p->sequences[i].count);
        QL_TRY(p->cx, say(p, &p->sequences[i], id));
    }
    QL_TRY(p->cx, ql_unmap(p->cx, logits));
    close_ranks(p);
    p->took->steps++;
    return ql_check_interrupt(p->cx);
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

/* Pages for as many sequences as may run; fewer where memory is short, but enough for each prompt alone. */
static ql_status
open_pages(pool *p)
{
    const ql_generation *g = p->g;
    int64_t most = 0, all = 0, room;
    size_t bytes;
    char limit[32], needed[32];

    QL_TRY(p->cx, ql_resident_page_bytes(p->cx, p->r, &bytes));
    for (int64_t i = 0; i < g->count; i++)
        if (is_left(g, i)) {
            const int64_t pages = pages_of(g, i);

            most = pages > most ? pages : most;
            all += pages;
        }
    room = (int64_t)(g->kv_memory / bytes);
    if (room < most)
        return QL_FAIL(
            p->cx, QL_MEMORY,
            "kv_memory: %s hold %lld pages of %d tokens; the longest prompt and its text alone need %lld, %s",
            ql_bytes_text(g->kv_memory, limit, sizeof limit), (long long)room, QL_PAGE, (long long)most,
            ql_bytes_text((size_t)most * bytes, needed, sizeof needed));
    p->page_count = all < g->pool * most ? all : g->pool * most;
    p->page_count = p->page_count < room ? p->page_count : room;
    p->pages = ql_heap(p->cx, (size_t)p->page_count + 1, sizeof *p->pages);
    p->sequences = ql_heap(p->cx, (size_t)g->pool, sizeof *p->sequences);
    if (!p->pages || !p->sequences)
        return QL_MEMORY;
    p->took->kv_bytes = (size_t)p->page_count * bytes;
    p->cx->holds = "keys and values";
    QL_TRY(p->cx, ql_resident_keep(p->cx, p->r, p->page_count));
    p->cx->holds = "hidden states";
    return QL_OK;
}

/* A rehearsal takes a step of prompts and one of new tokens; the time of all the others is what these take. */
static ql_status
rehearse_rest(pool *p, double before, double between)
{
    const double prompts = between - before, tokens = ql_device_seconds(p->cx->device) - between;
    double all = 0, left = 0, most = 0;

    for (int64_t i = 0; i < p->g->count; i++)
        if (is_left(p->g, i)) {
            all += (double)p->g->prompts[i].count;
            left += (double)p->g->prompts[i].most;
        }
    for (int64_t i = 0; i < p->running; i++)
        most += (double)p->g->prompts[p->sequences[i].prompt].count;
    if (p->running > 0)
        ql_rehearsal_spend(p->cx->device, prompts * (all / most - 1) + tokens * fmax(left / (double)p->running - 2, 0));
    return QL_OK;
}

static ql_status
run(pool *p)
{
    const double before = ql_device_seconds(p->cx->device);
    double between = before;

    for (;;) {
        ql_scope scope;
        int64_t rows = 0;

        QL_TRY(p->cx, admit(p, &rows));
        if (rows == 0)
            return QL_OK;
        ql_scope_open(p->cx, &scope);
        QL_TRY(p->cx, step(p, rows));
        ql_scope_close(p->cx, &scope);
        if (p->cx->device->clock && p->took->steps == 2)
            return rehearse_rest(p, before, between);
        between = ql_device_seconds(p->cx->device);
    }
}

ql_status
ql_generate(ql_ctx *cx, ql_resident *r, const ql_generation *g, ql_generated *out)
{
    pool p = {.cx = cx, .r = r, .g = g, .took = out};
    const char *holds = cx->holds;
    ql_status st;

    *out = (ql_generated){0};
    st = open_pages(&p);
    if (st == QL_OK)
        st = run(&p);
    for (int64_t i = 0; p.sequences && i < g->pool; i++)
        end(&p, &p.sequences[i]);
    free(p.sequences);
    free(p.pages);
    cx->holds = holds;
    return st;
}
