/* What the evaluators of tasks share: log-probabilities of the words of a chunk, their sums, and standard errors. */
#ifndef EVALUATORS_ANSWERS_H
#define EVALUATORS_ANSWERS_H

#include <qloom/evaluator.h>
#include <qloom/json.h>
#include <qloom/quantizer.h>

typedef struct answers_options { /* their parameters */
    int logprob_dtype;           /* as ql_float_dtype has it */
    bool save;
} answers_options;

#define ANSWERS_DTYPE                                                                         \
    QL_ENUM(answers_options, logprob_dtype, 2, ql_scale_dtypes,                               \
            "log-probabilities and their sums are rounded to it, as the public harness does " \
            "with a model of that dtype")

/* What a chunk leaves for each of its targets, in their order. */
typedef struct answers_word {
    float logp;
    int32_t best; /* 1: it is the likeliest word */
} answers_word;

/* A request once all chunks have been read. */
typedef struct answers_sum {
    double logp;
    int64_t words;
    bool greedy; /* each word is the likeliest */
} answers_sum;

/* `self`: answers_options. */
ql_status answers_chunk(ql_ctx *cx, const void *self, const ql_eval_chunk *chunk, ql_eval_found *found);
/* [request_count], in the innermost scope. NUMERIC when a sum is not finite. */
ql_status answers_sums(ql_ctx *cx, const answers_options *options, const ql_questions *q, const ql_eval_found *found,
                       answers_sum **out);

typedef struct answers_mean { /* of what comes: its sum, and the sum of squared deviations (Welford); zero is empty */
    int64_t count;
    double sum, mean, spread; /* mean: on the way */
} answers_mean;

/* The mean, exact where the numbers are 0 and 1. */
static inline double
answers_mean_of(const answers_mean *m)
{
    return m->sum / (double)m->count;
}

void answers_put(answers_mean *m, double value);
/* The standard error of the mean, with n - 1; NaN for one value. */
double answers_error(const answers_mean *m);
/* The fact `name`, and where there are two values or more `name`_stderr. */
ql_status answers_fact(ql_ctx *cx, ql_facts *out, const char *name, const char *part, double value, double error);

/* Puts the members of document `i` behind its `task` and `doc`. */
typedef ql_status (*answers_members)(ql_json_writer *w, const ql_eval_info *info, int64_t i, const void *user);
/* Writes answers-CELL.jsonl in the run's folder, an object a document. */
ql_status answers_save(ql_ctx *cx, const ql_eval_info *info, answers_members put, const void *user);

#endif
