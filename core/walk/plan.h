/* What one walk over one model does: variants of the model, streams of tokens through them, sinks that measure or write them. The plan
 * is a pure function of the checked graph; the walk fills in what each has while it is under way. */
#ifndef QLOOM_WALK_PLAN_H
#define QLOOM_WALK_PLAN_H

#include "pipeline/graph.h"
#include "corpus.h"
#include "state.h"

typedef struct ql_variant ql_variant;
typedef struct ql_stream ql_stream;

/* A model that differs from its parent in what one stage made of its linears. */
struct ql_variant {
    int64_t id;         /* in ql_plan.variants: parents before children, a family side by side; 0: the original */
    ql_variant *parent; /* NULL: the original model */
    const ql_node
        *stage; /* of the original: its model; quantizer, compensator, trainer; exporter: what its files hold */
    const ql_node
        *heir; /* of a joint quantizer: the stage behind it, through whose variant its statistics come; NULL: none */
    ql_stream *calib; /* whose statistics it reads; NULL: none */
    int64_t visit; /* of a block, in which it is made: 0 has no tokens, n + 1 is that of ql_plan.streams[n]; -1: none */
    int64_t level; /* trainers up to here: level n + 1 begins when all variants of level n are made */
    ql_key key;    /* of all that decides its bits */
    /* of the walk that is under way */
    const char *title, *about; /* "quant (NAME bits=3)"; "NAME bits=3 on MODEL" */
    ql_linear_state *linears;  /* [linear_count], of the block at hand */
    bool *kept, *wanted;       /* [layers]: the store has it; something reads it in this pass */
    ql_outline *outlines;      /* [layers × linears] of a rehearsal, which has no store; NULL: none */
    char *failed;              /* NULL: fine so far; else why, with the linear's name; on the heap */
    ql_tally block, all;       /* of the block at hand; of the blocks before, or of the whole walk when `told` */
    bool told;                 /* the store had `all` */
    int64_t node;              /* of a trainer: of the results, whose facts and series are what it found */
    ql_curve series;
    ql_train_sums sums;
};

/* What a stream is there for. */
enum { QL_TAP_STATS = 1, QL_TAP_END = 2 };

/* Token sequences on their way through a variant, block by block. */
struct ql_stream {
    const ql_node *data;
    ql_variant *through;
    unsigned taps; /* statistics at every subset's input; hidden states at the end of the model */
    int64_t visit; /* of a block, in which it goes forward; of one with statistics */
    bool kept;     /* its statistics are read in a later visit of the block, or at its end */
    /* of the walk that is under way */
    int64_t until;           /* blocks that it has to pass */
    const ql_corpus *corpus; /* NULL: it is not run */
    ql_lane lane;            /* its chunks that are under way; none: it is not run now */
    ql_stream *equal_to;     /* shares its hidden states until a linear differs; NULL: has its own */
    int64_t followers;       /* streams that are equal to this one */
    ql_hidden **h;           /* [lane.count], at the border of blocks */
    ql_hidden **before;      /* the same before the block at hand, while there are followers */
    ql_gathered **gathered;  /* [subsets]: sums of the block at hand */
    bool dead;               /* its variant failed */
    ql_cost cost;            /* of going forward */
};

/* An evaluator or exporter at one variant. It wants finished linears, or chunks at the end of the model. */
typedef struct ql_sink {
    const ql_node *stage;
    ql_variant *of;
    ql_stream *calib; /* whose statistics it is handed with linears; NULL: none */
    ql_key key;
    /* of the walk that is under way */
    const char *title, *about;
    ql_stream *stream;        /* whose chunks it wants; NULL: none */
    const ql_corpus *prompts; /* that the finished model goes on with for it; NULL: none */
    bool *kept;               /* [layers]: its numbers of the block are there */
    ql_leavings found;        /* what the chunks of its stream have left so far */
    int64_t until;            /* chunks that it has had */
    int64_t stored;           /* bytes of `found` that the store has */
    void *state;              /* of an exporter */
    ql_scope scope;           /* memory of `begin` and of what it keeps */
    int64_t node;             /* of the results, whose facts are what it finds */
    ql_facts facts;           /* of the whole model, until they are handed to the results */
    ql_export *files;         /* of an exporter */
    const char *recipe;       /* of an exporter: what made the model */
    char *failed;             /* on the heap; NULL: fine so far */
    ql_cost cost;
    bool ended; /* its facts and files are complete */
    bool told;  /* the results have its facts of the whole model: its stream is not run */
} ql_sink;

typedef struct ql_plan {
    const ql_node *root; /* the model */
    int64_t variant_count, stream_count, sink_count;
    ql_variant **variants;
    ql_stream **streams; /* with statistics; the original's first, then as deep as their variants */
    ql_sink *sinks;
    int64_t levels;               /* the deepest */
    const struct ql_seen *inputs; /* files whose content stands in the keys */
} ql_plan;

/* The plan for model node `root`. INVALID, with the file's place, where statistics can't be had: no `calib:`, or `quantized` behind a
 * joint quantizer. Everything lives in the innermost scope. */
ql_status ql_plan_make(ql_ctx *cx, const ql_graph *g, const ql_node *root, ql_plan *out);

/* The node whose output an edge to `n` really carries: an identity is its input. */
const ql_node *ql_plan_resolve(const ql_node *n);

/* Does a stage that quantizes, compensates or trains make it? Else it is the original, or what files hold. */
bool ql_variant_is_made(const ql_variant *v);
/* Is it a trainer's, made between two levels and not block by block? */
bool ql_variant_is_trained(const ql_variant *v);
/* Is it what an exporter's files hold? */
bool ql_variant_is_written(const ql_variant *v);
/* The nearest variant that a quantizer made: `v` itself or one before it; NULL: none. */
ql_variant *ql_variant_quantizer(ql_variant *v);
/* Does making it read the statistics of `s`: its own or, where it drives the quantizer before it, that one's? */
bool ql_variant_reads(const ql_variant *v, const ql_stream *s);

/* Does a sink measure the variant, write it, or compare with it? */
bool ql_plan_is_read(const ql_plan *p, const ql_variant *v);
/* The variant that stage `n` of a cell ends in; NULL: none in this plan. */
ql_variant *ql_plan_variant(const ql_plan *p, const ql_node *n);
/* The sink of node `n` at the model that stage `end` leaves: what its `model:` names, the root for a baseline, or an exporter whose files
 * are scored; NULL: none in this plan. */
ql_sink *ql_plan_find(const ql_plan *p, const ql_node *n, const ql_node *end);

#endif
