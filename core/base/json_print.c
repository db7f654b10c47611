/* JSON trees back to text, for files that are another one with changes. */
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "printer.h"

/* False when memory for a text was missing. */
static bool
print(ql_ctx *cx, FILE *out, const ql_json *v, int depth)
{
    const bool object = ql_json_is_object(v);
    const int64_t count = object ? ql_json_members(v) : ql_json_length(v);
    const char *text, *key = NULL;
    bool ok = true, flag;
    int64_t number;
    double real;
    size_t bytes;

    if (object || ql_json_is_array(v)) {
        for (int64_t i = 0; i < count && ok; i++) {
            const ql_json *item = object ? ql_json_at(v, i, &key) : ql_json_item(v, i);

            fprintf(out, "%s\n%*s", i ? "," : object ? "{" : "[", 2 * depth + 2, "");
            text = object ? ql_json_quote(cx, key, strlen(key)) : "";
            ok = text != NULL;
            fprintf(out, "%s%s", ok ? text : "", object ? ": " : "");
            ok = ok && print(cx, out, item, depth + 1);
        }
        if (count)
            fprintf(out, "\n%*s%c", 2 * depth, "", object ? '}' : ']');
        else
            fputs(object ? "{}" : "[]", out);
        return ok;
    }
    if ((text = ql_json_bytes(v, &bytes)))
        text = ql_json_quote(cx, text, bytes);
    else if (ql_json_as_int(v, &number))
        text = ql_format(cx, "%lld", (long long)number);
    else if (ql_json_as_real(v, &real))
        text = ql_json_real_text(cx, real);
    else
        text = ql_json_as_bool(v, &flag) ? flag ? "true" : "false" : "null";
    fputs(text ? text : "", out);
    return text != NULL;
}

ql_status
ql_json_print(ql_ctx *cx, const ql_json *v, const char **out)
{
    ql_printer p;
    bool ok;

    QL_TRY(cx, ql_printer_open(cx, &p));
    ok = print(cx, p.out, v, 0);
    QL_TRY(cx, ql_printer_close(cx, &p, out));
    return ok ? QL_OK : QL_MEMORY;
}
