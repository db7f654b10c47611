/* Fuzzes JSON texts: parse, walk the tree, ask every getter, print, parse again.
 * Aims at: core/base/json.c core/base/json_parse.c */
#include "fuzz.h"

#include <string.h>

#include "core/base/json.h"

/* Every getter gives a value or an error with a text. */
static void
ask(ql_ctx *cx, const ql_json *o, const char *key)
{
    int64_t i = 7;
    double r = 7;
    bool b = false;
    const char *s = NULL;

    MUST(ql_json_int(cx, o, key, i, &i) == QL_OK || *ql_error(cx));
    MUST(ql_json_real(cx, o, key, r, &r) == QL_OK || *ql_error(cx));
    MUST(ql_json_bool(cx, o, key, b, &b) == QL_OK || *ql_error(cx));
    MUST(ql_json_text(cx, o, key, s, &s) == QL_OK || *ql_error(cx));
    MUST(!ql_json_is_null(o, key) || !ql_json_member(o, key));
}

static void
walk(ql_ctx *cx, const ql_json *v)
{
    size_t bytes = 0;
    const char *key, *text = ql_json_bytes(v, &bytes);
    const ql_json *again;
    ql_scope scope;

    ql_scope_open(cx, &scope);
    if (text) { /* what we print we can read, unchanged */
        const char *quoted = ql_json_quote(cx, text, bytes);

        MUST(quoted &&
             ql_json_parse(cx, &(ql_json_input){.file = "again", .text = quoted, .bytes = strlen(quoted), .depth = 1},
                           &again) == QL_OK);
        text = ql_json_bytes(again, &bytes);
        MUST(text && !ql_json_string(v) == !ql_json_string(again));
    }
    (void)ql_json_expected(cx, v, "something else");
    ql_scope_close(cx, &scope);
    for (int64_t i = 0; i < ql_json_length(v); i++)
        walk(cx, ql_json_item(v, i));
    for (int64_t i = 0; i < ql_json_members(v); i++) {
        const ql_json *member = ql_json_at(v, i, &key);

        ask(cx, v, key);
        walk(cx, member);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_ctx cx;
    ql_scope scope;
    const ql_json *root = NULL;
    ql_status st;

    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    st = ql_json_parse(&cx, &(ql_json_input){.file = "f", .text = (const char *)data, .bytes = size}, &root);
    MUST(st == QL_OK || (st == QL_INVALID && strncmp(ql_error(&cx), "f:", 2) == 0));
    if (st == QL_OK) {
        ask(&cx, root, "absent");
        walk(&cx, root);
    } else { /* bytes of any kind can be printed */
        const char *quoted = ql_json_quote(&cx, (const char *)data, size);

        MUST(quoted &&
             ql_json_parse(&cx, &(ql_json_input){.file = "f", .text = quoted, .bytes = strlen(quoted), .depth = 1},
                           &root) == QL_OK);
    }
    ql_ctx_fini(&cx);
    return 0;
}
