/* YAML texts as small trees that know where everything stands. Trees live in the innermost scope. */
#ifndef QLOOM_YAML_YAML_H
#define QLOOM_YAML_YAML_H

#include "problems.h"

#define QL_YAML_BYTES_MAX (1 << 18)

typedef enum ql_yaml_kind { QL_YAML_SCALAR, QL_YAML_LIST, QL_YAML_MAP } ql_yaml_kind;

typedef struct ql_yaml ql_yaml;
struct ql_yaml {
    ql_yaml_kind kind;
    ql_place place;
    const char *text; /* of a scalar */
    bool quoted;      /* "3" in quotes is a string */
    bool set;         /* given on the command line */
    bool used;        /* of a key: some cell takes its value */
    int64_t count, capacity;
    ql_yaml **keys;  /* of a map, scalars all; in file order, distinct */
    ql_yaml **items; /* of a list or map */
};

/* Reads one document. What is wrong goes to `problems`; *out is NULL when nothing could be read, an empty text
 * included. Refused, each with a message: several documents, anchors, aliases, tags, duplicate keys, keys that are no
 * scalars, nesting beyond 32, more than 256 KiB, what is not UTF-8. The status only tells failures of the machine. */
ql_status ql_yaml_parse(ql_ctx *cx, ql_problems *problems, const char *file, const char *text, size_t bytes,
                        ql_yaml **out);

/* Value of `key` in a map; NULL: absent, or not a map. */
ql_yaml *ql_yaml_get(const ql_yaml *map, const char *key);
/* Position of `key` in a map, or -1. */
int64_t ql_yaml_find(const ql_yaml *map, const char *key);
/* Appends to a list (key NULL) or map, or takes the place of what the map has under that key. */
ql_status ql_yaml_put(ql_ctx *cx, ql_yaml *to, ql_yaml *key, ql_yaml *item);
/* A scalar that stands at `place`. NULL without memory. */
ql_yaml *ql_yaml_scalar(ql_ctx *cx, ql_place place, const char *text);
/* Is it a plain scalar without text: `key:` and nothing behind it? */
bool ql_yaml_empty(const ql_yaml *v);
/* "a list", "a mapping", "'text'" for messages. NULL without memory. */
const char *ql_yaml_describe(ql_ctx *cx, const ql_yaml *v);
/* On one line, as flow YAML without quotes, for labels: "{use: x, bits: 3}". NULL without memory. */
const char *ql_yaml_line(ql_ctx *cx, const ql_yaml *v);
bool ql_yaml_equal(const ql_yaml *a, const ql_yaml *b);

/* ${VAR} and ${VAR:-default} in every value below `v`. What looks like a secret by the variable's name or its value stays
 * ${VAR}, with a warning: values of a pipeline are written into run folders, tables and logs. */
void ql_yaml_environment(ql_ctx *cx, ql_problems *problems, ql_yaml *v);

/* Braces of ${…} would end a word inside {…} or […]: they are masked before a text is parsed, into a copy, and
 * unmasked in each word. `masked`: there are any. */
ql_status ql_yaml_mask(ql_ctx *cx, const char **text, size_t *bytes, bool *masked);
void ql_yaml_unmask(char *text);

/* The tree as YAML text. */
ql_status ql_yaml_emit(ql_ctx *cx, const ql_yaml *v, const char **out);

#endif
