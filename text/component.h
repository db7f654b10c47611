/* What the components of a tokenizer.json (normalizer, pre-tokenizer, post-processor, decoder) have in common: each is a
 * thing with a type, or a Sequence of such things. */
#ifndef QLOOM_TEXT_COMPONENT_H
#define QLOOM_TEXT_COMPONENT_H

#include "pattern.h"

#define QL_STEPS_MAX 16

typedef struct ql_text_step { /* of a normalizer, pre-tokenizer or decoder */
    int kind;
    ql_pattern pattern;  /* Split, Replace */
    char *text;          /* Replace: what is put in; Prepend: before what; Strip: the character; Metaspace: the mark */
    int64_t start, stop; /* Strip: how often at either end */
    int rule;            /* Split: ql_split_rule; Metaspace: ql_prepend */
    bool invert;         /* Split: what lies between matches counts as the match */
} ql_text_step;

typedef struct ql_text_steps {
    bool present;     /* is there such a component at all? */
    int prefix_space; /* a space before a text? What tokenizer_config.json says: 1: yes, -1: no, 0: nothing */
    int count;
    ql_text_step items[QL_STEPS_MAX];
} ql_text_steps;

typedef struct ql_component_type { /* one of the types that a component may have; the last has no name */
    const char *name;
    int kind;
    ql_status (*read)(ql_ctx *cx, const ql_json *v, int kind, void *out);
} ql_component_type;

/* Reads `v`, or each item of `list` where it is a Sequence; NULL: nothing. UNSUPPORTED: "FILE: 'normalizer': type "Nmt"
 * is not supported (supported: NFC, Prepend, Sequence)". */
ql_status ql_component_read(ql_ctx *cx, const ql_json *v, const char *list, const ql_component_type *types, void *out);

/* The next step of `steps` (a ql_text_steps), zeroed but for `kind`. */
ql_status ql_step_add(ql_ctx *cx, const ql_json *v, int kind, void *steps, ql_text_step **out);
/* The `read` of steps that are only a type, and of a Replace. */
ql_status ql_step_read(ql_ctx *cx, const ql_json *v, int kind, void *steps);
ql_status ql_step_read_replace(ql_ctx *cx, const ql_json *v, int kind, void *steps);
void ql_steps_fini(ql_text_steps *s);

/* Does a step put a space before a text? What tokenizer_config.json says goes before what the step says. */
ql_status ql_prefix_space(ql_ctx *cx, const ql_json *v, const void *steps, bool *own);

/* The required member `key` of `v`, a text, copied to the heap. */
ql_status ql_read_text(ql_ctx *cx, const ql_json *v, const char *key, char **out);
/* `key` as one of `words`, which NULL ends; `def` where it is absent. */
ql_status ql_read_word(ql_ctx *cx, const ql_json *v, const char *key, const char *const *words, int def, int *out);

#endif
