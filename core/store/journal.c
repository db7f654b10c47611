/* The journal of a run. A process that is killed may leave half a line, which the next one ends. */
#include "journal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

/* Each line leaves the process at once; what it tells is on the disk already. */
static ql_status
flushed(ql_ctx *cx, const ql_journal *j)
{
    return fflush(j->file) == 0 && !ferror(j->file) ? QL_OK : QL_FAIL(cx, QL_IO, "%s: %s", j->path, strerror(errno));
}

ql_status
ql_journal_open(ql_ctx *cx, const char *folder, ql_journal *out)
{
    *out = (ql_journal){.path = ql_format(cx, "%s/" QL_JOURNAL_FILE, folder)};
    if (!out->path)
        return QL_MEMORY;
    QL_TRY(cx, ql_file_stream(cx, out->path, "a+", &out->file));
    if (fseek(out->file, -1, SEEK_END) == 0 && fgetc(out->file) != '\n' && fseek(out->file, 0, SEEK_END) == 0)
        fputc('\n', out->file);
    return flushed(cx, out);
}

ql_status
ql_journal_begin(ql_ctx *cx, ql_journal *j, const char *root, int64_t blocks)
{
    const char *name = ql_json_quote(cx, root, strlen(root));

    if (!j)
        return QL_OK;
    if (!name)
        return QL_MEMORY;
    fprintf(j->file, "{\"walk\":%s,\"blocks\":%" PRId64 "}\n", name, blocks);
    return flushed(cx, j);
}

ql_status
ql_journal_put(ql_ctx *cx, ql_journal *j, const ql_journal_line *line)
{
    const char *stage, *what;

    if (!j)
        return QL_OK;
    stage = ql_json_quote(cx, line->stage, strlen(line->stage));
    what = ql_json_quote(cx, line->what, strlen(line->what));
    if (!stage || !what)
        return QL_MEMORY;
    fputc('{', j->file);
    if (line->block != QL_WHOLE)
        fprintf(j->file, "\"block\":%" PRId64 ",", line->block);
    fprintf(j->file, "\"stage\":%s,\"what\":%s,\"key\":\"%016" PRIx64 "%016" PRIx64 "\",\"did\":\"%s\"}\n", stage, what,
            line->key.half[0], line->key.half[1], line->replayed ? "replay" : "run");
    return flushed(cx, j);
}

void
ql_journal_close(ql_journal *j)
{
    if (j->file)
        (void)fclose(j->file);
    *j = (ql_journal){0};
}
