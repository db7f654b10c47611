/* ${VAR} and ${VAR:-default} in the values of a YAML tree; which values stay in the environment. */
#define _GNU_SOURCE /* mempcpy */
#include <string.h>
#include <strings.h>

#include "base/env.h"
#include "base/printer.h"
#include "yaml.h"

/* One character each, so that columns stay: U+E000 and U+E001, which mean nothing to YAML and to anybody else. */
#define OPEN "\xEE\x80\x80"
#define CLOSE "\xEE\x80\x81"
#define MARK_BYTES 3

/* Does a reference begin at `at`? The brace that ends it, on the same line and inside the same quotes; NULL: none does. */
static const char *
find_reference(const char *at, const char *end)
{
    if (end - at <= 2 || at[0] != '$' || at[1] != '{')
        return NULL;
    for (at += 2; at < end && !strchr("\n{\"'", *at); at++)
        if (*at == '}')
            return at;
    return NULL;
}

ql_status
ql_yaml_mask(ql_ctx *cx, const char **text, size_t *bytes, bool *masked)
{
    const char *const end = *text + *bytes, *close;
    char *out, *to;

    *masked = false;
    for (const char *p = *text; end - p >= MARK_BYTES; p++)
        if (memcmp(p, OPEN, MARK_BYTES) == 0 || memcmp(p, CLOSE, MARK_BYTES) == 0)
            return QL_OK;
    out = to = ql_alloc(cx, *bytes, MARK_BYTES);
    if (!out)
        return QL_MEMORY;
    for (const char *p = *text; p < end; p++) {
        *to++ = *p;
        close = find_reference(p, end);
        if (!close)
            continue;
        to = mempcpy(to, OPEN, MARK_BYTES);
        to = mempcpy(to, p + 2, (size_t)(close - p - 2));
        to = mempcpy(to, CLOSE, MARK_BYTES);
        p = close;
        *masked = true;
    }
    *text = out;
    *bytes = (size_t)(to - out);
    return QL_OK;
}

void
ql_yaml_unmask(char *text)
{
    char *out = text;

    while (*text) {
        if (strncmp(text, OPEN, MARK_BYTES) == 0 || strncmp(text, CLOSE, MARK_BYTES) == 0) {
            *out++ = text[MARK_BYTES - 1] == CLOSE[MARK_BYTES - 1] ? '}' : '{';
            text += MARK_BYTES;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

/* --- secrets ----------------------------------------------------------------------------------------------------- */

/* Is `word` (n bytes, upper or lower case) among `words`? */
static bool
is_among(const char *word, size_t n, const char *const *words)
{
    while (*words && (strlen(*words) != n || strncasecmp(word, *words, n) != 0))
        words++;
    return *words != NULL;
}

/* HF_TOKEN, AWS_SECRET_ACCESS_KEY, PGPASSWORD, but not TOKENIZER, KEYBOARD and API_TOKEN_FILE, which is a place. */
static bool
name_is_secret(const char *name)
{
    static const char *const secrets[] = {"TOKEN",      "SECRET",      "PASSWORD",   "PASSWD", "PASSPHRASE",
                                          "CREDENTIAL", "CREDENTIALS", "PGPASSWORD", "APIKEY", NULL};
    static const char *const keys[] = {"KEY", NULL}; /* behind another word only */
    static const char *const places[] = {"FILE", "PATH", "DIR", "FOLDER", "SOCK", NULL};
    bool secret = false;

    for (const char *p = name; *p;) {
        const size_t n = strcspn(p, "_");

        secret = secret || is_among(p, n, secrets) || (p > name && is_among(p, n, keys));
        if (!p[n] && is_among(p, n, places))
            return false;
        p += n + (p[n] == '_');
    }
    return secret;
}

/* The beginnings that services give their keys, a private key, an address with a password in it. */
static bool
value_is_secret(const char *value)
{
    static const char *const beginnings[] = {"hf_",    "sk-",   "sk_",   "ghp_", "gho_", "ghs_", "ghu_", "github_pat_",
                                             "glpat-", "xoxb-", "xoxp-", "AKIA", "ASIA", "AIza", "eyJ",  "-----BEGIN "};
    const char *scheme = strstr(value, "://"), *at = scheme ? strchr(scheme, '@') : NULL;

    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(value, beginnings[i], strlen(beginnings[i])) == 0 && strlen(value) >= 16)
            return true;
    return at && memchr(scheme + 3, ':', (size_t)(at - scheme - 3));
}

/* --- references -------------------------------------------------------------------------------------------------- */

static bool
is_name(const char *s)
{
    static const char letters[] = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    return *s && !(*s >= '0' && *s <= '9') && s[strspn(s, letters)] == '\0';
}

typedef struct expansion {
    ql_ctx *cx;
    ql_problems *problems;
    const char *told; /* " NAME  NAME " of the variables whose values stay in the environment */
} expansion;

/* What a pipeline says is written into its run folder, so a secret stands for its reference: told once a variable. */
static bool
is_secret(expansion *x, ql_place place, const char *name, const char *value)
{
    const char *word, *told;

    if (!*value || (!name_is_secret(name) && !value_is_secret(value)))
        return false;
    word = ql_format(x->cx, " %s ", name);
    if (word && strstr(x->told, word))
        return true;
    told = word ? ql_format(x->cx, "%s%s", x->told, word) : NULL;
    if (told)
        x->told = told;
    else
        x->problems->failed = QL_MEMORY;
    ql_place_warn(x->cx, place,
                  "the value of '%s' looks like a secret and stays in the environment: the text keeps ${%s}", name,
                  name);
    return true;
}

/* Prints what the reference `ref` (between the braces) stands for; false with the problem told. */
static bool
print_reference(expansion *x, ql_place place, const char *ref, FILE *out)
{
    const char *dash = strstr(ref, ":-"), *value;
    const char *name = ql_copy_text(x->cx, ref, dash ? (size_t)(dash - ref) : strlen(ref));

    if (!name) {
        x->problems->failed = QL_MEMORY;
        return false;
    }
    value = ql_env(name);
    if (!is_name(name) || strchr(ref, '{')) /* a reference in a default would be left as it is */
        ql_problem_add(x->cx, x->problems, place,
                       "'${%s}' is no reference to the environment: expected ${NAME} or ${NAME:-default}", ref);
    else if (!dash && !value)
        ql_problem_add(x->cx, x->problems, place,
                       "the environment has no variable '%s'; ${%s:-default} would give a value of its own", name,
                       name);
    else if (dash && (!value || !*value))
        return fputs(dash + 2, out) >= 0;
    else if (is_secret(x, place, name, value))
        return fprintf(out, "${%s}", name) > 0;
    else
        return fputs(value, out) >= 0;
    return false;
}

/* The text of `v` with its references replaced onto `out`; false with the problem told. */
static bool
print_expanded(expansion *x, const ql_yaml *v, FILE *out)
{
    const char *at = v->text, *open;

    while ((open = strstr(at, "${")) != NULL) {
        const char *close = strchr(open, '}'), *ref;

        if (!close) {
            ql_problem_add(x->cx, x->problems, v->place, "'${' without '}' in '%s'", v->text);
            return false;
        }
        fprintf(out, "%.*s", (int)(open - at), at);
        ref = ql_copy_text(x->cx, open + 2, (size_t)(close - open - 2));
        if (!ref)
            x->problems->failed = QL_MEMORY;
        if (!ref || !print_reference(x, v->place, ref, out))
            return false;
        at = close + 1;
    }
    fputs(at, out);
    return true;
}

static void
expand(expansion *x, ql_yaml *v)
{
    const char *text;
    ql_printer p;
    bool ok;

    for (int64_t i = 0; i < v->count; i++)
        expand(x, v->items[i]);
    if (v->kind != QL_YAML_SCALAR || x->problems->failed != QL_OK || !strstr(v->text, "${"))
        return;
    x->problems->failed = ql_printer_open(x->cx, &p);
    if (x->problems->failed != QL_OK)
        return;
    ok = print_expanded(x, v, p.out);
    if (ql_printer_close(x->cx, &p, &text) != QL_OK)
        x->problems->failed = QL_MEMORY;
    else if (ok)
        v->text = text;
}

void
ql_yaml_environment(ql_ctx *cx, ql_problems *problems, ql_yaml *v)
{
    expand(&(expansion){.cx = cx, .problems = problems, .told = ""}, v);
}
