/* Everything wrong with a file that people write, collected, sorted and told in one go. */
#include "problems.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define PROBLEMS_MAX 200

static bool
same_place(const ql_place *a, const ql_place *b)
{
    return a->line == b->line && a->column == b->column && strcmp(a->file, b->file) == 0;
}

void
ql_problem_vadd(ql_ctx *cx, ql_problems *p, ql_place place, const char *fmt, va_list ap)
{
    const char *text = ql_problems_full(p) ? NULL : ql_vformat(cx, fmt, ap);
    char visible[sizeof cx->error];

    if (text) {
        ql_visible(text, "\\n", visible, sizeof visible);
        text = ql_copy_text(cx, visible, strlen(visible));
    }
    if (!text) {
        p->failed = ql_problems_full(p) ? p->failed : QL_MEMORY;
        return;
    }
    for (int64_t i = 0; i < p->count; i++) /* the same stage is looked at in many cells */
        if (same_place(&p->items[i].place, &place) && strcmp(p->items[i].text, text) == 0)
            return;
    p->failed = ql_grow(cx, &p->items, &p->capacity, p->count + 1, sizeof *p->items);
    if (p->failed != QL_OK)
        return;
    p->items[p->count] = (ql_problem){.place = place, .text = text, .order = p->count};
    p->count++;
}

void
ql_problem_add(ql_ctx *cx, ql_problems *p, ql_place place, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ql_problem_vadd(cx, p, place, fmt, ap);
    va_end(ap);
}

bool
ql_problems_full(const ql_problems *p)
{
    return p->failed != QL_OK || p->count >= PROBLEMS_MAX;
}

/* In file order; what has no line, because it was given on the command line, at the end. */
static int
compare(const void *a, const void *b)
{
    const ql_problem *x = a, *y = b;
    const int64_t lines[] = {x->place.line ? x->place.line : INT64_MAX, y->place.line ? y->place.line : INT64_MAX};

    if (lines[0] != lines[1])
        return lines[0] < lines[1] ? -1 : 1;
    if (x->place.column != y->place.column)
        return x->place.column < y->place.column ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* "FILE:LINE:COLUMN: TEXT", or "FILE: TEXT" for a place without lines. NULL without memory. */
static const char *
placed(ql_ctx *cx, ql_place at, const char *text)
{
    return at.line ? ql_format(cx, "%s:%" PRId64 ":%" PRId64 ": %s", at.file, at.line, at.column, text)
                   : ql_format(cx, "%s: %s", at.file, text);
}

void
ql_place_warn(ql_ctx *cx, ql_place place, const char *fmt, ...)
{
    const char *text;
    va_list ap;

    va_start(ap, fmt);
    text = ql_vformat(cx, fmt, ap);
    va_end(ap);
    text = text ? placed(cx, place, text) : NULL;
    if (text)
        ql_warn(cx, "%s", text);
}

ql_status
ql_problems_end(ql_ctx *cx, ql_problems *p)
{
    char text[sizeof cx->error];
    const size_t room = sizeof text - 64; /* for the last line */
    size_t used = 0;
    int64_t shown = 0;

    if (p->failed != QL_OK || p->count == 0)
        return p->failed;
    qsort(p->items, (size_t)p->count, sizeof *p->items, compare);
    for (; shown < p->count; shown++) {
        const char *line = placed(cx, p->items[shown].place, p->items[shown].text);
        const size_t n = line ? strlen(line) + 1 : 0; /* with the newline before it */

        if (!line)
            return QL_MEMORY;
        if (used + n > room && shown > 0)
            break;
        used += (size_t)snprintf(text + used, room - used, "%s%.*s", shown ? "\n" : "", (int)(room - 2), line);
        used = used < room ? used : room - 1;
    }
    text[used] = '\0';
    if (shown < p->count || p->count >= PROBLEMS_MAX)
        snprintf(text + used, sizeof text - used, "\nand more: these are the first %" PRId64, shown);
    return ql_fail_lines(cx, QL_INVALID, text);
}

void
ql_problems_fini(ql_problems *p)
{
    free(p->items);
    *p = (ql_problems){0};
}
