/* Patterns of tokenizers, which mean what Oniguruma takes them for, in the words of PCRE2. What both read alike is
 * copied, what has another name is renamed, and what PCRE2 would silently read otherwise is refused. */
#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "regex.h"

#define SPACE "\\p{White_Space}"
#define IN_SET "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"       /* \w within a set */
#define WORD IN_SET "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}" /* by itself it has the numbers of Latin-1, too */
#define BOTH "dDAzZGKRXNaefnrtk"                           /* letters that mean the same behind a backslash */

typedef struct rewriting {
    const char *where, *all, *at, *end;
    size_t bytes;
    bool in_set;
    ql_text *out;
} rewriting;

static ql_status
refuse(ql_ctx *cx, const rewriting *r, const char *what)
{
    return QL_FAIL(cx, QL_UNSUPPORTED, "%s: the pattern %s is not supported: %s at byte %zu", r->where,
                   ql_json_quote(cx, r->all, r->bytes), what, (size_t)(r->at - r->all));
}

static char
peek(const rewriting *r, int ahead) /* NUL at the end */
{
    return r->end - r->at > ahead ? r->at[ahead] : '\0';
}

/* Appends `text` for the next `bytes` of the pattern. */
static ql_status
put(ql_ctx *cx, rewriting *r, const char *text, size_t bytes)
{
    r->at += bytes < (size_t)(r->end - r->at) ? bytes : (size_t)(r->end - r->at);
    return ql_text_put(cx, r->out, text, strlen(text));
}

static ql_status
copy(ql_ctx *cx, rewriting *r, size_t bytes)
{
    const char *from = r->at;
    size_t left = (size_t)(r->end - r->at);

    if (bytes > left)
        bytes = left;
    r->at += bytes;
    return ql_text_put(cx, r->out, from, bytes);
}

/* \p{Han}: PCRE2 takes the bare name for the script's extensions, Oniguruma for the script. */
static ql_status
property(ql_ctx *cx, rewriting *r)
{
    const char *name = r->at + 3, *close;
    size_t bytes;

    if (peek(r, 2) != '{')
        return copy(cx, r, 2);
    close = memchr(name, '}', (size_t)(r->end - name));
    if (!close)
        return refuse(cx, r, "a property without }");
    if (*name == '^')
        name++;
    bytes = (size_t)(close - name);
    if (bytes <= 2 || memchr(name, '=', bytes) || memchr(name, ':', bytes) || memchr(name, '_', bytes))
        return copy(cx, r, (size_t)(close + 1 - r->at));
    QL_TRY(cx, copy(cx, r, (size_t)(name - r->at)));
    if (strncasecmp(name, "Alphabetic", bytes) != 0)
        QL_TRY(cx, ql_text_put(cx, r->out, "sc:", 3));
    return copy(cx, r, bytes + 1);
}

static ql_status
escape(ql_ctx *cx, rewriting *r)
{
    static const struct {
        char letter;
        const char *outside, *in_set; /* in_set NULL: not there */
    } rows[] = {{'s', SPACE, SPACE},
                {'S', "\\P{White_Space}", "\\P{White_Space}"},
                {'w', "[" WORD "]", IN_SET},
                {'W', "[^" WORD "]", NULL},
                {'h', "[0-9A-Fa-f]", "0-9A-Fa-f"},
                {'H', "[^0-9A-Fa-f]", NULL},
                {'v', "\\x{b}", "\\x{b}"},
                {'b', "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))", "\\x{8}"},
                {'B', "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))", NULL}};
    const char c = peek(r, 1);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].letter == c && (!r->in_set || rows[i].in_set))
            return put(cx, r, r->in_set ? rows[i].in_set : rows[i].outside, 2);
    if (c == 'p' || c == 'P')
        return property(cx, r);
    if (c == 'u' && r->end - r->at >= 6) {
        QL_TRY(cx, put(cx, r, "\\x{", 2));
        QL_TRY(cx, copy(cx, r, 4));
        return put(cx, r, "}", 0);
    }
    if (c == 'x' && (peek(r, 2) == '{' || (peek(r, 2) >= '0' && peek(r, 2) <= '7')))
        return copy(cx, r, 2);
    if (isalpha((unsigned char)c) && !strchr(BOTH, c))
        return refuse(cx, r, "this escape");
    return copy(cx, r, 2);
}

static ql_status
posix_set(ql_ctx *cx, rewriting *r)
{
    static const char *const rows[][2] = {{"[:alpha:]", "\\p{Alphabetic}"},
                                          {"[:digit:]", "\\p{Nd}"},
                                          {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
                                          {"[:upper:]", "\\p{Uppercase}"},
                                          {"[:lower:]", "\\p{Lowercase}"},
                                          {"[:space:]", SPACE},
                                          {"[:punct:]", "\\p{P}\\p{S}"},
                                          {"[:word:]", IN_SET},
                                          {"[:xdigit:]", "0-9A-Fa-f"}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = strlen(rows[i][0]);

        if ((size_t)(r->end - r->at) >= n && memcmp(r->at, rows[i][0], n) == 0)
            return put(cx, r, rows[i][1], n);
    }
    return refuse(cx, r, "a set inside a set");
}

static ql_status
in_set(ql_ctx *cx, rewriting *r)
{
    if (*r->at == '[')
        return posix_set(cx, r);
    if (*r->at == '&' && peek(r, 1) == '&')
        return refuse(cx, r, "an intersection of sets");
    r->in_set = *r->at != ']';
    return copy(cx, r, 1);
}

static ql_status
open_set(ql_ctx *cx, rewriting *r)
{
    r->in_set = true;
    QL_TRY(cx, copy(cx, r, peek(r, 1) == '^' ? 2 : 1));
    return peek(r, 0) == ']' ? put(cx, r, "\\]", 1) : QL_OK;
}

/* {,n} is {0,n}. {n}? and {n,m}+ repeat once more, while to PCRE2 they are lazy and possessive. */
static ql_status
interval(ql_ctx *cx, rewriting *r)
{
    size_t n = 1 + strspn(r->at + 1, "0123456789,");
    const char after = r->at[n] == '}' ? peek(r, (int)n + 1) : '\0';

    if (r->at[n] != '}' || n == 1)
        return copy(cx, r, 1);
    if (after == '+' || (after == '?' && !memchr(r->at, ',', n)))
        return refuse(cx, r, "an interval that is repeated");
    if (peek(r, 1) != ',')
        return copy(cx, r, n + 1);
    QL_TRY(cx, put(cx, r, "{0", 1));
    return copy(cx, r, n);
}

/* (?m...) lets the point match line ends, which is s to PCRE2. Options without a colon reach beyond | to Oniguruma. */
static ql_status
group(ql_ctx *cx, rewriting *r)
{
    const size_t n = peek(r, 1) == '?' ? strspn(r->at + 2, "imx-") : 0;

    if (peek(r, 1) == '*' || (peek(r, 1) == '?' && (peek(r, 2) == '~' || peek(r, 2) == '{')))
        return refuse(cx, r, "this group");
    if (n && r->at[2 + n] == ')' && r->at != r->all)
        return refuse(cx, r, "an option in the middle");
    if (!n)
        return copy(cx, r, 1);
    QL_TRY(cx, copy(cx, r, 2));
    for (size_t i = 0; i < n; i++)
        QL_TRY(cx, peek(r, 0) == 'm' ? put(cx, r, "s", 1) : copy(cx, r, 1));
    return QL_OK;
}

ql_status
ql_regex_rewrite(ql_ctx *cx, const char *where, const char *pattern, size_t bytes, ql_text *out)
{
    rewriting r = {.where = where, .all = pattern, .at = pattern, .end = pattern + bytes, .bytes = bytes, .out = out};

    while (r.at < r.end) {
        if (*r.at == '\\')
            QL_TRY(cx, escape(cx, &r));
        else if (r.in_set)
            QL_TRY(cx, in_set(cx, &r));
        else if (*r.at == '[')
            QL_TRY(cx, open_set(cx, &r));
        else if (*r.at == '{')
            QL_TRY(cx, interval(cx, &r));
        else if (*r.at == '(')
            QL_TRY(cx, group(cx, &r));
        else
            QL_TRY(cx, copy(cx, &r, 1));
    }
    return QL_OK;
}
