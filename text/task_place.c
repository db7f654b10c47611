/* Where things stand in a task file. */
#include <inttypes.h>
#include <string.h>

#include "task.h"

/* The raw text of the file from line and column on. */
static const char *
raw_at(const ql_task *task, ql_place place)
{
    const char *at = task->info.text;

    for (int64_t line = 1; line < place.line && (at = strchr(at, '\n')); line++)
        at++;
    for (int64_t column = 1; at && *at && column < place.column; column++)
        do
            at++;
        while (((unsigned char)*at & 0xC0) == 0x80);
    return at;
}

/* A block scalar: its text begins on the line after its sign, behind the indentation. */
static ql_place
place_in_block(const ql_yaml *scalar, const char *raw, size_t at)
{
    ql_place place = scalar->place;
    const char *line = strchr(raw, '\n');

    place.line++;
    place.column = 1 + (line ? (int64_t)strspn(line + 1, " ") : 0);
    for (size_t i = 0; i < at; i++)
        if (scalar->text[i] == '\n') {
            place.line++;
            line = line ? strchr(line + 1, '\n') : NULL;
            place.column = 1 + (line ? (int64_t)strspn(line + 1, " ") : 0);
        } else {
            place.column += ((unsigned char)scalar->text[i] & 0xC0) != 0x80;
        }
    return place;
}

/* Raw characters that stand for one of the text. */
static int64_t
raw_width(char mark, const char *raw)
{
    static const char lengths[] = "x\4u\6U\12";
    const char *known;

    if (mark == '\'' && raw[0] == '\'')
        return 2;
    if (mark != '"' || raw[0] != '\\')
        return 1;
    known = raw[1] ? strchr(lengths, raw[1]) : NULL;
    return known ? known[1] : 2;
}

ql_place
ql_task_place(const ql_task *task, const ql_yaml *scalar, size_t at)
{
    ql_place place = scalar->place;
    const char *raw = raw_at(task, place);
    const char mark = raw && (*raw == '"' || *raw == '\'') ? *raw : '\0';

    if (!raw)
        return place;
    if (scalar->quoted && !mark)
        return place_in_block(scalar, raw, at);
    raw += mark != '\0';
    place.column += mark != '\0';
    for (size_t i = 0; i < at && *raw && *raw != '\n'; i++) {
        int64_t width;

        if (((unsigned char)scalar->text[i] & 0xC0) == 0x80)
            continue;
        width = raw_width(mark, raw);
        place.column += width;
        for (; width > 0 && *raw; width--)
            do
                raw++;
            while (((unsigned char)*raw & 0xC0) == 0x80);
    }
    return place;
}

ql_status
ql_task_blame(ql_ctx *cx, const ql_task *task, const ql_wrong *wrong, ql_status st)
{
    const ql_yaml *scalar = st != QL_OK && wrong->in ? ql_template_tag(wrong->in) : NULL;
    ql_place place;

    if (!scalar)
        return st;
    place = ql_task_place(task, scalar, wrong->at);
    return ql_where(cx, st, "%s:%" PRId64 ":%" PRId64, place.file, place.line, place.column);
}
