/* Tasks as files: what is asked, how, and what the right answer is (docs/evaluation.md). A task file and records of a data file become
 * documents: texts to score. Everything lives in the innermost scope; tasks are immutable: [any thread]. */
#ifndef QLOOM_TASKS_H
#define QLOOM_TASKS_H

#include <qloom/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ql_task ql_task; /* a task file, read */

/* What a document asks of a model. */
typedef enum ql_task_kind {
    QL_TASK_CHOICES,      /* one context and several continuations */
    QL_TASK_CONTEXTS,     /* several contexts and one continuation */
    QL_TASK_CONTINUATION, /* one of each */
    QL_TASK_ROLLING,      /* a text, all of it */
    QL_TASK_GENERATE
} ql_task_kind;

typedef struct ql_task_info {
    const char *name, *file, *about, *cite, *headline; /* cite, about: NULL where the file has none */
    int64_t version, shots; /* shots: as many as are taken unless another number is asked for */
    ql_task_kind kind;
    int64_t metric_count;
    const char *const *metrics;
    const char *delimiter;
    bool whole; /* the context is scored with the continuation */
    const char *text;
    size_t bytes; /* of the file, which decides what it means */
} ql_task_info;

/* Opens the task file at path `name` (one with a slash or that ends in .yaml) or the shipped task of that name, which may carry a suffix
 * (`boolq@whole`). INVALID with everything that is wrong, "FILE:LINE:COLUMN: what" a line. */
QL_API ql_status ql_task_open(ql_ctx *cx, const char *name, const ql_task **out);
/* The task of two templates: `completion` follows `prompt`, with nothing between them. */
QL_API ql_status ql_task_of_pair(ql_ctx *cx, const char *prompt, const char *completion, const ql_task **out);
QL_API const ql_task_info *ql_task_about(const ql_task *task);
/* Names of the shipped tasks, sorted. */
QL_API ql_status ql_task_list(ql_ctx *cx, const char *const **out, int64_t *count);

typedef struct ql_task_options {
    const char *path, *pool; /* data; where shots are drawn from, NULL: as the rule says */
    int64_t shots;           /* -1: the task's own number */
    uint64_t seed;
    int64_t limit; /* the first so many documents; 0: all */
} ql_task_options;

typedef struct ql_task_request { /* a continuation that is scored */
    const char *context, *continuation;
    size_t context_bytes, continuation_bytes; /* the continuation's with the delimiter */
    int64_t points, bytes;                    /* of the choice alone: code points, bytes */
} ql_task_request;

typedef struct ql_task_document {
    const char *name; /* "record 3 of data/piqa.jsonl", for messages */
    int64_t number;   /* of the record in its file, from 0 */
    const char *part; /* what `by` says: a subject; NULL */
    int64_t gold_count;
    const int64_t *gold; /* right choices */
    int64_t request_count;
    const ql_task_request
        *requests; /* of a rolling text: none; of one to generate: its prompt and, as the continuation, the reference */
    const char *text; /* rolling */
    size_t text_bytes;
    int64_t words, count_bytes; /* of the text that perplexities are per word and byte of */
} ql_task_document;

/* Are the options right for the task? Without a look at the files. */
QL_API ql_status ql_task_check(ql_ctx *cx, const ql_task *task, const ql_task_options *options);
/* Reads the records and renders them; INVALID names file, line and what a record lacks. */
QL_API ql_status ql_task_read(ql_ctx *cx, const ql_task *task, const ql_task_options *options,
                              const ql_task_document **out, int64_t *count);

/* --- from texts to ids, as the public harness does it ----------------------------------------------------------------- */

/* Context and continuation as ids: white space at the context's end goes to the continuation, both are encoded as one text, and what is
 * longer than the context's own ids is the continuation. `bos` as for ql_tokenizer_encode; a text that begins with the prefix token's text
 * gets none. INVALID where nothing is left of the continuation. */
QL_API ql_status ql_task_encode(ql_ctx *cx, const ql_tokenizer *tk, ql_bos bos, const ql_task_request *request,
                                ql_ids *context, ql_ids *continuation);

/* --- texts that a model goes on with ------------------------------------------------------------------------------------- */

typedef struct ql_task_generation {
    int64_t max_gen; /* new tokens at most */
    int64_t stop_count, filter_count;
    const char *const *stops;   /* texts that end a generation */
    const char *const *filters; /* names of the ways to find the answer in a text */
} ql_task_generation;

/* Of a task that generates. [any thread] */
QL_API const ql_task_generation *ql_task_generates(const ql_task *task);

/* A prompt as ids. `bos` as for ql_tokenizer_encode; a prompt that begins with the text of BOS gets none. INVALID when there are none. */
QL_API ql_status ql_task_encode_prompt(ql_ctx *cx, const ql_tokenizer *tk, ql_bos bos, const char *text, size_t bytes,
                                       ql_ids *out);
/* Bytes of `text` before stop strings, which cut one after the other: the first of them, the second what the first has left, … */
QL_API size_t ql_task_cut(const char *const *stops, int64_t count, const char *text, size_t bytes);
/* What filter `f` finds in a text, and whether that is the reference; in the innermost scope. UNSUPPORTED when a pattern needs too many
 * steps. */
QL_API ql_status ql_task_extract(ql_ctx *cx, const ql_task *task, int64_t f, const char *text, size_t bytes,
                                 const char **out);
QL_API ql_status ql_task_matches(ql_ctx *cx, const ql_task *task, int64_t f, const char *found, const char *reference,
                                 bool *same);

/* One window of a rolling text: `count` ids from `first` on are read, behind the prefix token where `prefix` is set, and the `scored` ids
 * that end one behind them are predicted. */
typedef struct ql_task_window {
    int64_t first, count, scored;
    bool prefix;
} ql_task_window;

/* The windows of a text of `tokens` ids, each of `max_length` at most, made of ids that no window before it has scored. */
QL_API ql_status ql_task_windows(ql_ctx *cx, int64_t tokens, int64_t max_length, const ql_task_window **out,
                                 int64_t *count);

#ifdef __cplusplus
}
#endif

#endif
