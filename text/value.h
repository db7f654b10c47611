/* Values of the template language: what records hold and expressions make. Immutable, in the innermost scope: [any thread]. */
#ifndef QLOOM_TEXT_VALUE_H
#define QLOOM_TEXT_VALUE_H

#include <qloom/json.h>

#include "text.h"

#define QL_VALUE_BYTES \
    ((int64_t)16 << 20) /* of a text or list that an expression makes: no template grows without end */

typedef enum ql_value_kind {
    QL_VALUE_NONE,
    QL_VALUE_BOOL,
    QL_VALUE_INT,
    QL_VALUE_REAL,
    QL_VALUE_TEXT,
    QL_VALUE_LIST,
    QL_VALUE_MAP
} ql_value_kind;

typedef struct ql_value ql_value;
struct ql_value { /* zero is none */
    ql_value_kind kind;
    union {
        int64_t integer; /* of a bool as well: 0 or 1 */
        double real;
        struct { /* UTF-8; not NUL-terminated */
            const char *text;
            int64_t bytes;
        };
        struct {
            const ql_value *items;
            int64_t count;
        };
        const ql_json *map;
    };
};

ql_value ql_value_text(const char *text, int64_t bytes);
/* What has grown becomes a text of the innermost scope where `st` is OK, else *out stays; `text` is let go in any case. `st`, or MEMORY. */
ql_status ql_value_take(ql_ctx *cx, ql_text *text, ql_status st, ql_value *out);
ql_value ql_value_int(int64_t integer);
ql_value ql_value_bool(bool is);
/* Lists are copied, maps stay where they are. */
ql_status ql_value_of_json(ql_ctx *cx, const ql_json *v, ql_value *out);

bool ql_value_true(const ql_value *v); /* as Python's bool() */
bool ql_value_is_number(const ql_value *v);
double ql_value_real(const ql_value *v); /* of a number */
/* As Python's ==: 1, 1.0 and True are equal; members of maps in any order. */
bool ql_value_equal(const ql_value *a, const ql_value *b);
bool ql_json_equal(const ql_json *a, const ql_json *b);
/* "text, url, date": the first names of an object's members, for a message; "none". NULL without memory. */
const char *ql_json_names(ql_ctx *cx, const ql_json *object);

/* Appends it as Python's str() writes it; as repr(), with quotes around texts. */
ql_status ql_value_put(ql_ctx *cx, const ql_value *v, bool repr, ql_text *out);
const char *ql_value_word(const ql_value *v); /* "a text", "a list", … for messages */

/* Code points of a text, and the byte at which code point `index` begins (the end for those behind it). */
int64_t ql_text_points(const char *text, int64_t bytes);
int64_t ql_text_at(const char *text, int64_t bytes, int64_t index);
/* Words of a text as re.split(r"\s+") counts them: one more than there are runs of white space. */
int64_t ql_text_words(const char *text, int64_t bytes);

#endif
