/* The folder of an export. Its record is written before the first file and lists every file before that is there, so that the
 * next run can tell what is an export's and what is the user's. */
#include "export.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/printer.h"
#include "export_inside.h"
#include "results/facts.h"

#define SHARD_BYTES 5000000000u

/* What describes tokenizer and generation beside config.json; copied where the model has it. */
static const char *const beside[] = {
    "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json",      "vocab.json",     "merges.txt",      "chat_template.jinja",   "chat_template.json"};

/* --- the record ------------------------------------------------------------------------------------------------------- */

static ql_status
print_record(ql_ctx *cx, FILE *out, const ql_export *x, const char *recipe, const ql_facts *m)
{
    ql_json_writer w = {.cx = cx, .out = out};

    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    ql_json_put_bool(&w, "complete", m != NULL);
    if (m && recipe)
        ql_json_put_text(&w, "recipe", recipe);
    if (m && x->runtimes)
        ql_json_put_text(&w, "runtimes", x->runtimes);
    if (m && x->serve)
        ql_json_put_text(&w, "serve", x->serve);
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
    const char *path = ql_format(cx, "%s/" QL_EXPORT_RECORD, x->folder), *text;
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

    *path = ql_format(cx, "%s/%s", x->folder, name);
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
    return write_record(cx, x, NULL, NULL);
}

/* --- an earlier export -------------------------------------------------------------------------------------------------- */

static bool
is_plain(const char *name)
{
    return name && *name && !strchr(name, '/') && strcmp(name, "..") != 0 && strcmp(name, ".") != 0;
}

/* Is `entry` what a kill left of file `name` beside it? */
static bool
is_half(const char *entry, const char *name)
{
    const size_t n = strlen(entry), m = strlen(name);

    return n > m + 4 && strncmp(entry, name, m) == 0 && entry[m] == '.' && strcmp(entry + n - 4, ".tmp") == 0;
}

/* Is it one of the files that an earlier export's record lists, or half of one, or of the record? */
static bool
is_ours(const char *entry, const ql_json *names)
{
    for (int64_t i = 0; i < ql_json_length(names); i++) {
        const char *name = ql_json_string(ql_json_item(names, i));

        if (is_plain(name) && (strcmp(entry, name) == 0 || is_half(entry, name)))
            return true;
    }
    return is_half(entry, QL_EXPORT_RECORD);
}

static ql_status
remove_ours(ql_ctx *cx, const char *folder, const ql_json *names)
{
    DIR *d = opendir(folder);
    ql_status st = QL_OK;

    if (!d)
        return QL_FAIL(cx, QL_IO, "%s: %s", folder, strerror(errno));
    for (struct dirent *e = readdir(d); e && st == QL_OK; e = readdir(d))
        if (is_ours(e->d_name, names) && unlinkat(dirfd(d), e->d_name, 0) != 0)
            st = QL_FAIL(cx, QL_IO, "%s/%s: %s", folder, e->d_name, strerror(errno));
    closedir(d);
    return st;
}

/* A file in a folder that no export has made; NULL: none. In the innermost scope. */
static ql_status
stranger(ql_ctx *cx, const char *folder, const char **out)
{
    DIR *d = opendir(folder);

    *out = NULL;
    if (!d)
        return QL_FAIL(cx, QL_IO, "%s: %s", folder, strerror(errno));
    for (struct dirent *e = readdir(d); e && !*out; e = readdir(d))
        if (e->d_name[0] != '.')
            *out = ql_copy_text(cx, e->d_name, strlen(e->d_name));
    closedir(d);
    return QL_OK;
}

static ql_status
clear(ql_ctx *cx, const char *folder)
{
    const char *record = ql_format(cx, "%s/" QL_EXPORT_RECORD, folder), *other;
    const ql_json *earlier = NULL;
    bool there;

    if (!record)
        return QL_MEMORY;
    QL_TRY(cx, ql_is_file(cx, record, &there));
    if (there)
        QL_TRY(cx, ql_json_read(cx, record, &earlier));
    QL_TRY(cx, remove_ours(cx, folder, ql_json_member(earlier, "names")));
    if (earlier)
        return QL_OK;
    QL_TRY(cx, stranger(cx, folder, &other));
    if (other)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: the folder holds files that are no earlier export's (%s, for one): name another, or "
                       "empty it",
                       folder, other);
    return QL_OK;
}

/* --- opening and closing ------------------------------------------------------------------------------------------------ */

static bool
same_folder(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static ql_status
begin(ql_ctx *cx, ql_export *x)
{
    QL_TRY(cx, ql_make_folders(cx, x->folder));
    if (same_folder(x->folder, ql_source_folder(x->model->source)))
        return QL_FAIL(cx, QL_INVALID, "%s: this is the model's own folder: an export needs another", x->folder);
    QL_TRY(cx, clear(cx, x->folder));
    QL_TRY(cx, write_record(cx, x, NULL, NULL));
    return ql_export_spool_open(cx, x);
}

ql_status
ql_export_open(ql_ctx *cx, const char *folder, const ql_model_handle *m, ql_export **out)
{
    ql_export *x = ql_heap(cx, 1, sizeof *x);
    ql_status st;

    if (!x)
        return QL_MEMORY;
    *x = (ql_export){.model = m, .spool = -1, .shard = SHARD_BYTES};
    x->folder = ql_export_keep(cx, x, folder);
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
print_config(ql_ctx *cx, FILE *out, const ql_json *config, const ql_export_pair *members, int64_t count)
{
    ql_json_writer w = {.cx = cx, .out = out};
    const char *key = NULL;

    ql_json_put_open(&w, NULL, '{', QL_JSON_LINES);
    for (int64_t i = 0; i < ql_json_members(config); i++) {
        const ql_json *v = ql_json_at(config, i, &key);

        if (!member_of(members, count, key))
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
    st = print_config(cx, p.out, ql_source_config(x->model->source), members, count);
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
    QL_TRY(cx, write_record(cx, x, recipe, m));
    ql_info(cx, "export in %s: %lld files, %llu bytes", x->folder, (long long)x->file_count,
            (unsigned long long)x->bytes);
    if (x->runtimes) {
        ql_info(cx, "loads in: %s", x->runtimes);
        ql_info(cx, "serve: %s", x->serve);
    }
    return QL_OK;
}
