/* What a Split or a Replace looks for: a text, or a regular expression. */
#define _GNU_SOURCE /* memmem */

#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#include "component.h"
#include "unicode.h"

ql_status
ql_pattern_regex(ql_ctx *cx, const ql_json *v, const char *regex, ql_pattern *out)
{
    return ql_regex_compile(cx, ql_json_where(cx, v), regex, strlen(regex), &out->regex);
}

ql_status
ql_pattern_read(ql_ctx *cx, const ql_json *v, ql_pattern *out)
{
    const ql_json *pattern = ql_json_member(v, "pattern"), *regex = ql_json_member(pattern, "Regex");
    const char *text;
    size_t bytes;

    if (regex) {
        text = ql_json_bytes(regex, &bytes);
        return text ? ql_regex_compile(cx, ql_json_where(cx, v), text, bytes, &out->regex)
                    : ql_json_expected(cx, regex, "a pattern");
    }
    if (!ql_json_member(pattern, "String"))
        return QL_FAIL(cx, QL_INVALID, "%s: no 'pattern' with a String or a Regex", ql_json_where(cx, v));
    QL_TRY(cx, ql_read_text(cx, pattern, "String", &out->literal));
    out->bytes = strlen(out->literal);
    return out->bytes ? QL_OK : QL_FAIL(cx, QL_INVALID, "%s: an empty pattern", ql_json_where(cx, v));
}

void
ql_pattern_fini(ql_pattern *p)
{
    free(p->literal);
    ql_regex_free(p->regex);
}

ql_status
ql_pattern_next(ql_ctx *cx, const ql_pattern *p, ql_regex_work *work, const char *text, size_t bytes, ql_match *m)
{
    const char *hit;
    const size_t before = m->end;
    size_t from = before, step;

    if (p->literal) {
        hit = memmem(text + from, bytes - from, p->literal, p->bytes);
        m->found = hit != NULL;
        if (hit) {
            m->begin = (size_t)(hit - text);
            m->end = m->begin + p->bytes;
        }
        return QL_OK;
    }
    do {
        QL_TRY(cx, ql_regex_find(cx, p->regex, work, text, bytes, from, &m->found, &m->begin, &m->end));
        if (!m->found || m->end > m->begin || !m->any || m->end != before)
            break;
        m->found = from < bytes;
        if (m->found) {
            ql_utf8_char((const unsigned char *)text + from, &step);
            from += step;
        }
    } while (m->found);
    m->any = true;
    return QL_OK;
}

ql_status
ql_pattern_replace(ql_ctx *cx, const ql_pattern *p, ql_regex_work *work, const char *text, size_t bytes, const char *to,
                   ql_text *out)
{
    ql_match m = {0};
    size_t done = 0;

    for (;;) {
        QL_TRY(cx, ql_pattern_next(cx, p, work, text, bytes, &m));
        if (!m.found)
            return ql_text_put(cx, out, text + done, bytes - done);
        QL_TRY(cx, ql_text_put(cx, out, text + done, m.begin - done));
        QL_TRY(cx, ql_text_put(cx, out, to, strlen(to)));
        done = m.end;
    }
}
