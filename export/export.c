/* The files of an export, and the record that tells the next run which they are. */
#include "export.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/printer.h"
#include "export_inside.h"
#include "results/facts.h"

#define SHARD_BYTES 5000000000u

/* What describes tokenizer and generation beside config.json; copied where the model has it. */
static const char *const beside[] = {
    "generation_config.json",  "tokenizer.json",     "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json",  "vocab.json",      "merges.txt",
    "chat_template.jinja",     "chat_template.json", "tekken.json"};

/* --- the record ------------------------------------------------------------------------------------------------------- */

static ql_status
print_record(ql_ctx *cx, FILE *out, const ql_export *x, const char *recipe, const ql_facts *m)
{
    ql_json_writer w = {.cx = cx, .out = out};

    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    ql_json_put_bool(&w, "complete", m != NULL);
    if (m && recipe)
        ql_json_put_text(&w, "recipe", recipe);
    for (int64_t i = 0; m && i < m->note_count; i++)
        ql_json_put_text(&w, m->notes[i].name, m->notes[i].value);
    for (int64_t i = 0; m && i < m->count; i++)
        ql_json_put_real(&w, m->rows[i].name, m->rows[i].value);
    ql_json_put_open(&w, "names", '[', QL_JSON_LINES);
    for (int64_t i = 0; i < x->file_count; i++)
        ql_json_put_text(&w, NULL, x->files[i]);
    ql_json_put_close(&w);
    ql_json_put_close(&w);
    fputc('\n', out);
    return ql_json_put_end(&w);
}

/* `m` NULL: the export is under way. */
static ql_status
write_record(ql_ctx *cx, const ql_export *x, const char *recipe, const ql_facts *m)
{
    const char *path = ql_format(cx, "%s/" QL_EXPORT_RECORD, x->target.work), *text;
    ql_printer p;
    ql_status st;

    if (!path)
        return QL_MEMORY;
    QL_TRY(cx, ql_printer_open(cx, &p));
    st = print_record(cx, p.out, x, recipe, m);
    QL_TRY(cx, ql_printer_close(cx, &p, &text));
    QL_TRY(cx, st);
    return ql_file_write(cx, path, text, strlen(text));
}

const char *
ql_export_keep(ql_ctx *cx, ql_export *x, const char *text)
{
    const char *kept;

    ql_scope_enter(cx, &x->memory);
    kept = ql_copy_text(cx, text, strlen(text));
    (void)ql_scope_leave(cx, &x->memory, QL_OK);
    return kept;
}

ql_status
ql_export_name(ql_ctx *cx, ql_export *x, const char *name, const char **path)
{
    bool known = false;

    *path = ql_format(cx, "%s/%s", x->target.work, name);
    if (!*path)
        return QL_MEMORY;
    for (int64_t i = 0; i < x->file_count && !known; i++)
        known = strcmp(x->files[i], name) == 0;
    if (known)
        return QL_OK;
    QL_TRY(cx, ql_grow(cx, &x->files, &x->file_capacity, x->file_count + 1, sizeof *x->files));
    x->files[x->file_count] = ql_export_keep(cx, x, name);
    if (!x->files[x->file_count])
        return QL_MEMORY;
    x->file_count++;
    return QL_OK;
}

/* --- opening and closing ------------------------------------------------------------------------------------------------ */

static ql_status
begin(ql_ctx *cx, ql_export *x)
{
    ql_status st;

    ql_scope_enter(cx, &x->memory);
    st = ql_target_open(cx, x->folder, &x->target);
    if (st == QL_OK)
        st = write_record(cx, x, NULL, NULL);
    if (st == QL_OK)
        st = ql_export_spool_open(cx, x);
    return ql_scope_leave(cx, &x->memory, st);
}

ql_status
ql_export_open(ql_ctx *cx, const char *folder, const ql_model_handle *m, ql_export **out)
{
    ql_export *x = ql_heap(cx, 1, sizeof *x);
    const char *whole = NULL;
    ql_status st;

    if (!x)
        return QL_MEMORY;
    *x = (ql_export){.model = m, .spool = -1, .shard = SHARD_BYTES, .target = {.lock = -1}};
    st = ql_path_resolve(cx, folder, &whole);
    x->folder = st == QL_OK ? ql_export_keep(cx, x, whole) : NULL;
    if (st == QL_OK)
        st = x->folder ? begin(cx, x) : QL_MEMORY;
    if (st == QL_OK)
        *out = x;
    else
        ql_export_close(cx, x);
    return st;
}

void
ql_export_close(ql_ctx *cx, ql_export *x)
{
    if (!x)
        return;
    if (x->spool >= 0)
        close(x->spool);
    ql_target_close(cx, &x->target);
    ql_scope_enter(cx, &x->memory);
    ql_scope_close(cx, &x->memory);
    free(x->files);
    free(x->items);
    free(x);
}

/* --- files of text ------------------------------------------------------------------------------------------------------ */

static ql_status
write_file(ql_ctx *cx, ql_export *x, const char *file, const void *data, size_t bytes)
{
    const char *path;

    QL_TRY(cx, ql_export_name(cx, x, file, &path));
    QL_TRY(cx, ql_file_write(cx, path, data, bytes));
    x->bytes += bytes;
    return QL_OK;
}

ql_status
ql_export_text(ql_ctx *cx, ql_export *x, const char *file, const char *text)
{
    return write_file(cx, x, file, text, strlen(text));
}

static const ql_export_pair *
member_of(const ql_export_pair *members, int64_t count, const char *key)
{
    for (int64_t i = 0; i < count; i++)
        if (strcmp(members[i].key, key) == 0)
            return &members[i];
    return NULL;
}

static ql_status
print_config(ql_ctx *cx, FILE *out, const ql_export *x, const ql_export_pair *members, int64_t count)
{
    ql_json_writer w = {.cx = cx, .out = out};
    const ql_json *config = ql_source_config(x->model->source);
    const bool tied = x->model->info.tied;
    const char *key = NULL;

    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    for (int64_t i = 0; i < ql_json_members(config); i++) {
        const ql_json *v = ql_json_at(config, i, &key);

        if (member_of(members, count, key))
            continue;
        if (!tied && strcmp(key, "tie_word_embeddings") == 0) /* the export has a head of its own */
            ql_json_put_bool(&w, key, false);
        else
            ql_json_put_value(&w, key, v);
    }
    for (int64_t i = 0; i < count; i++)
        if (members[i].value)
            ql_json_put_raw(&w, members[i].key, members[i].value);
    ql_json_put_close(&w);
    fputc('\n', out);
    return ql_json_put_end(&w);
}

ql_status
ql_export_config(ql_ctx *cx, ql_export *x, const ql_export_pair *members, int64_t count)
{
    const char *folder = ql_source_folder(x->model->source), *text;
    ql_printer p;
    ql_status st;

    QL_TRY(cx, ql_printer_open(cx, &p));
    st = print_config(cx, p.out, x, members, count);
    QL_TRY(cx, ql_printer_close(cx, &p, &text));
    QL_TRY(cx, st);
    QL_TRY(cx, ql_export_text(cx, x, "config.json", text));
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        const char *path = ql_format(cx, "%s/%s", folder, beside[i]);
        size_t bytes;
        bool there;

        if (!path)
            return QL_MEMORY;
        QL_TRY(cx, ql_is_file(cx, path, &there));
        if (!there)
            continue;
        QL_TRY(cx, ql_file_read(cx, path, QL_FILE_MOST, &text, &bytes));
        QL_TRY(cx, write_file(cx, x, beside[i], text, bytes));
    }
    return QL_OK;
}

/* --- the end -------------------------------------------------------------------------------------------------------------- */

ql_status
ql_export_loads(ql_ctx *cx, ql_export *x, const char *runtimes, const char *serve)
{
    x->runtimes = ql_export_keep(cx, x, runtimes);
    x->serve = ql_export_keep(cx, x, serve);
    return x->runtimes && x->serve ? QL_OK : QL_MEMORY;
}

ql_status
ql_export_finish(ql_ctx *cx, ql_export *x, const char *recipe, ql_facts *m)
{
    QL_TRY(cx, ql_fact(cx, m, "files", NULL, (double)x->file_count));
    QL_TRY(cx, ql_fact(cx, m, "bytes", NULL, (double)x->bytes));
    if (x->runtimes) {
        QL_TRY(cx, ql_fact_note(cx, m, "runtimes", x->runtimes));
        QL_TRY(cx, ql_fact_note(cx, m, "serve", x->serve));
    }
    return write_record(cx, x, recipe, m);
}

ql_status
ql_export_place(ql_ctx *cx, ql_export *x)
{
    QL_TRY(cx, ql_target_swap(cx, &x->target));
    ql_info(cx, "export in %s: %lld files, %llu bytes", x->folder, (long long)x->file_count,
            (unsigned long long)x->bytes);
    if (x->runtimes) {
        ql_info(cx, "loads in: %s", x->runtimes);
        ql_info(cx, "serve: %s", x->serve);
    }
    return QL_OK;
}
