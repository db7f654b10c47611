/* The pre-tokenizer: steps that cut a piece of text into words or rewrite it. Every part that a step makes goes through
 * the steps after it by itself, as in the public library. */
#include "split.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"

enum { CUT, SPACE_BEFORE, BYTES, MARKS }; /* kinds of steps */

typedef enum ql_prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } ql_prepend;
static const char *const prepend_words[] = {"always", "first", "never", NULL};

typedef enum ql_split_rule { ISOLATED, REMOVED, CONTIGUOUS, WITH_PREVIOUS, WITH_NEXT } ql_split_rule;
static const char *const rule_words[] = {"Isolated",           "Removed",        "Contiguous",
                                         "MergedWithPrevious", "MergedWithNext", NULL};

/* Punctuation of ASCII and of Unicode, but for characters that are younger than the library's table, and with two that
 * have become symbols since. */
#define PUNCTUATION                                                                                  \
    "(?![\\x{61d}\\x{9fd}\\x{a76}\\x{c77}\\x{c84}\\x{1b7d}-\\x{1b7e}\\x{2e43}-\\x{2e4f}"             \
    "\\x{2e52}-\\x{2e5d}\\x{10ead}\\x{10f55}-\\x{10f59}\\x{10f86}-\\x{10f89}\\x{1144b}-\\x{1144f}"   \
    "\\x{1145a}-\\x{1145b}\\x{1145d}\\x{11660}-\\x{1166c}\\x{116b9}\\x{1183b}\\x{11944}-\\x{11946}"  \
    "\\x{119e2}\\x{11a3f}-\\x{11a46}\\x{11a9a}-\\x{11a9c}\\x{11a9e}-\\x{11aa2}\\x{11c41}-\\x{11c45}" \
    "\\x{11c70}-\\x{11c71}\\x{11ef7}-\\x{11ef8}\\x{11fff}\\x{12ff1}-\\x{12ff2}\\x{16e97}-\\x{16e9a}" \
    "\\x{16fe2}\\x{1e95e}-\\x{1e95f}])[\\p{P}\\x{166d}\\x{111c9}$+<=>\\^`|~]"

/* --- reading ----------------------------------------------------------------------------------------------------- */

static ql_status
read_split(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    ql_text_step *step = NULL;

    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    QL_TRY(cx, ql_pattern_read(cx, v, &step->pattern));
    QL_TRY(cx, ql_read_word(cx, v, "behavior", rule_words, ISOLATED, &step->rule));
    return ql_json_bool(cx, v, "invert", false, &step->invert);
}

static ql_status
read_digits(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    bool individual;
    ql_text_step *step = NULL;

    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    QL_TRY(cx, ql_json_bool(cx, v, "individual_digits", false, &individual));
    step->rule = individual ? ISOLATED : CONTIGUOUS;
    return ql_pattern_regex(cx, v, "\\p{N}", &step->pattern);
}

static ql_status
read_punctuation(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    ql_text_step *step = NULL;

    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    QL_TRY(cx, ql_read_word(cx, v, "behavior", rule_words, ISOLATED, &step->rule));
    return ql_pattern_regex(cx, v, PUNCTUATION, &step->pattern);
}

static ql_status
read_byte_level(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    bool prefix, regex;
    ql_text_step *step = NULL;

    QL_TRY(cx, ql_json_bool(cx, v, "add_prefix_space", true, &prefix));
    QL_TRY(cx, ql_json_bool(cx, v, "use_regex", true, &regex));
    QL_TRY(cx, ql_prefix_space(cx, v, steps, &prefix));
    if (prefix)
        QL_TRY(cx, ql_step_add(cx, v, SPACE_BEFORE, steps, &step));
    if (regex) {
        QL_TRY(cx, ql_step_add(cx, v, CUT, steps, &step));
        QL_TRY(cx, ql_pattern_regex(
                       cx, v, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                       &step->pattern));
    }
    return ql_step_add(cx, v, kind, steps, &step);
}

static ql_status
read_metaspace(ql_ctx *cx, const ql_json *v, int kind, void *steps)
{
    ql_text_step *step = NULL;
    bool prefix, split;

    QL_TRY(cx, ql_step_add(cx, v, kind, steps, &step));
    QL_TRY(cx, ql_json_bool(cx, v, "add_prefix_space", true, &prefix));
    QL_TRY(cx, ql_json_bool(cx, v, "split", true, &split));
    QL_TRY(cx,
           ql_read_word(cx, v, "prepend_scheme", prepend_words, prefix ? PREPEND_ALWAYS : PREPEND_NEVER, &step->rule));
    prefix = step->rule != PREPEND_NEVER;
    QL_TRY(cx, ql_prefix_space(cx, v, steps, &prefix));
    if (!prefix)
        step->rule = PREPEND_NEVER;
    QL_TRY(cx, ql_read_text(cx, v, "replacement", &step->text));
    if (!*step->text)
        return ql_json_expected(cx, ql_json_member(v, "replacement"), "a character");
    if (!split)
        return QL_OK;
    QL_TRY(cx, ql_step_add(cx, v, CUT, steps, &step));
    step->rule = WITH_NEXT;
    step->pattern.bytes = strlen(step[-1].text);
    return ql_read_text(cx, v, "replacement", &step->pattern.literal);
}

ql_status
ql_splitter_read(ql_ctx *cx, const ql_json *v, bool bytes, ql_splitter *out)
{
    static const ql_component_type types[] = {
        {"ByteLevel", BYTES, read_byte_level},  {"Digits", CUT, read_digits}, {"Metaspace", MARKS, read_metaspace},
        {"Punctuation", CUT, read_punctuation}, {"Split", CUT, read_split},   {0}};
    ql_text_steps *steps = &out->steps;

    QL_TRY(cx, ql_component_read(cx, v, "pretokenizers", types, steps));
    for (int i = 0; i < steps->count; i++)
        out->splits = out->splits || steps->items[i].kind == CUT;
    out->byte_level = bytes && steps->count && steps->items[steps->count - 1].kind == BYTES;
    steps->count -= out->byte_level; /* the model does this step itself */
    return QL_OK;
}

ql_status
ql_splitter_cut_before(ql_ctx *cx, const ql_json *v, const char *mark, ql_splitter *out)
{
    const char *regex = ql_format(cx, "(?:%s)+", mark);
    ql_text_step *step = NULL;

    if (!regex)
        return QL_MEMORY;
    QL_TRY(cx, ql_step_add(cx, v, CUT, &out->steps, &step));
    step->rule = WITH_NEXT;
    return ql_pattern_regex(cx, v, regex, &step->pattern);
}

/* --- splitting --------------------------------------------------------------------------------------------------- */

typedef struct splitting { /* one call of ql_split */
    const ql_splitter *splitter;
    ql_split_work *work;
    ql_word_fn word;
    void *user;
} splitting;

static ql_status run(ql_ctx *cx, const splitting *s, int step, bool start, const char *text, size_t bytes);

typedef struct cutting { /* one step over one piece: the part that the next one may still join */
    size_t begin, end;
    bool held, match; /* match: of the part that came last */
} cutting;

/* Does a part join the one before it? */
static bool
joins(const cutting *c, int rule, bool match)
{
    switch (rule) {
    case CONTIGUOUS:
        return c->held && match == c->match;
    case WITH_PREVIOUS:
        return c->held && match && !c->match;
    case WITH_NEXT:
        return c->held && !match && c->match;
    default:
        return false;
    }
}

static ql_status
flush(ql_ctx *cx, const splitting *s, int step, bool start, const char *text, cutting *c)
{
    bool held = c->held;

    c->held = false;
    return held ? run(cx, s, step + 1, start && c->begin == 0, text + c->begin, c->end - c->begin) : QL_OK;
}

static ql_status
cut(ql_ctx *cx, const splitting *s, int step, bool start, const char *text, size_t bytes)
{
    const ql_text_step *rules = &s->splitter->steps.items[step];
    ql_match m = {0};
    cutting c = {0};
    size_t done = 0;

    for (bool last = false; !last;) {
        QL_TRY(cx, ql_pattern_next(cx, &rules->pattern, &s->work->regex, text, bytes, &m));
        last = !m.found;
        for (int between = 1; between >= 0; between--) { /* what lies before the match, then the match */
            const size_t begin = between ? done : m.begin, end = between ? (last ? bytes : m.begin) : m.end;
            const bool match = (between == 0) != rules->invert;

            if (between ? begin == end : last)
                continue;
            if (joins(&c, rules->rule, match)) {
                c.end = end;
            } else {
                QL_TRY(cx, flush(cx, s, step, start, text, &c));
                c = (cutting){.begin = begin, .end = end, .held = rules->rule != REMOVED || !match};
            }
            c.match = match;
        }
        done = m.end;
    }
    return flush(cx, s, step, start, text, &c);
}

static ql_status
rewrite(ql_ctx *cx, const splitting *s, const ql_text_step *step, bool start, const char *text, size_t bytes,
        ql_text *out)
{
    const ql_pattern space = {.literal = (char[]){" "}, .bytes = 1};
    const size_t mark = step->text ? strlen(step->text) : 0;
    char c[4];

    out->count = 0;
    if (step->kind == BYTES) {
        for (size_t i = 0; i < bytes; i++)
            QL_TRY(cx, ql_text_put(cx, out, c, ql_utf8_put(ql_byte_char((unsigned char)text[i]), c)));
        return QL_OK;
    }
    if (step->kind == SPACE_BEFORE) {
        if (text[0] != ' ')
            QL_TRY(cx, ql_text_put(cx, out, " ", 1));
        return ql_text_put(cx, out, text, bytes);
    }
    if ((step->rule == PREPEND_ALWAYS || (step->rule == PREPEND_FIRST && start)) && text[0] != ' ' &&
        (bytes < mark || memcmp(text, step->text, mark) != 0))
        QL_TRY(cx, ql_text_put(cx, out, step->text, mark));
    return ql_pattern_replace(cx, &space, &s->work->regex, text, bytes, step->text, out);
}

/* `text` through the steps from `step` on. */
static ql_status
run(ql_ctx *cx, const splitting *s, int step, bool start, const char *text, size_t bytes)
{
    ql_text *made;

    if (!bytes)
        return QL_OK;
    if (step == s->splitter->steps.count)
        return s->word(cx, s->user, text, bytes);
    if (s->splitter->steps.items[step].kind == CUT)
        return cut(cx, s, step, start, text, bytes);
    made = &s->work->made[step];
    QL_TRY(cx, rewrite(cx, s, &s->splitter->steps.items[step], start, text, bytes, made));
    return run(cx, s, step + 1, start, made->data, (size_t)made->count);
}

ql_status
ql_split(ql_ctx *cx, const ql_splitter *splitter, ql_split_work *work, bool start, const char *text, size_t bytes,
         ql_word_fn word, void *user)
{
    const splitting s = {.splitter = splitter, .work = work, .word = word, .user = user};

    return run(cx, &s, 0, start, text, bytes);
}

void
ql_split_work_fini(ql_split_work *work)
{
    ql_regex_work_fini(&work->regex);
    for (int i = 0; i < QL_STEPS_MAX; i++)
        free(work->made[i].data);
}
