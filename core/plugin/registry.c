/* The plugins of this process. Every file is looked
 * into before the loader gets it; a backend's is loaded when it is asked for, since its libraries may take long, or fail,
 * where nobody needs them. */
#include "registry.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "descriptor.h"
#include "elf.h"
#include "search.h"

typedef struct entry {
    ql_found found;
    ql_plugin copy;
    dev_t dev;
    ino_t ino; /* with dev: the same file under another name */
    char *file, *name, *help, *problem;
} entry;

struct ql_registry {
    int64_t count, capacity;
    entry **items;
};

static char *
heap_text(ql_ctx *cx, const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = ql_heap(cx, n, 1);

    return copy ? memcpy(copy, text, n) : NULL;
}

static void
entry_free(entry *e)
{
    if (!e)
        return;
    free(e->file);
    free(e->name);
    free(e->help);
    free(e->problem);
    free(e);
}

void
ql_registry_close(ql_registry *r)
{
    if (!r)
        return;
    for (int64_t i = 0; i < r->count; i++)
        entry_free(r->items[i]);
    free(r->items);
    free(r);
}

/* "foo" of "/a/libfoo.so". */
static char *
name_of_file(ql_ctx *cx, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *name = heap_text(cx, slash ? slash + 1 : file);
    char *dot = name ? strrchr(name, '.') : NULL;

    if (dot)
        *dot = '\0';
    if (name && strncmp(name, "lib", 3) == 0)
        memmove(name, name + 3, strlen(name + 3) + 1);
    return name;
}

/* What dlopen says, without the file's name that our own text begins with. */
static const char *
loader_text(const char *file)
{
    const char *text = dlerror();
    const size_t n = strlen(file);

    if (!text)
        return "the loader gives no reason";
    return strncmp(text, file, n) == 0 && strncmp(text + n, ": ", 2) == 0 ? text + n + 2 : text;
}

/* INVALID: the file is broken. Other failures are ours. */
static ql_status
load(ql_ctx *cx, const char *file, ql_plugin *copy)
{
    void *handle, *symbol;
    ql_site before;

    *copy = (ql_plugin){.kind = QL_KIND_NONE};
    before = ql_enter_plugin(cx, file);
    handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    ql_leave(cx, before);
    if (!handle)
        return QL_FAIL(cx, QL_INVALID, "%s: can't be loaded: %s: rebuild it against this qloom", file,
                       loader_text(file));
    symbol = dlsym(handle, "ql_plugin_entry");
    if (!symbol)
        return QL_FAIL(cx, QL_INVALID, "%s: exports no ql_plugin_entry: not a plugin, or one without a QL_PLUGIN block",
                       file);
    return ql_descriptor_read(cx, file, symbol, copy);
}

ql_status
ql_plugin_load(ql_ctx *cx, const char *file, ql_plugin *out)
{
    ql_glance glance;
    ql_path_info at;
    char *path;
    ql_status status;

    *out = (ql_plugin){.kind = QL_KIND_NONE};
    QL_TRY(cx, ql_path_look(cx, file, &at));
    if (at.type == QL_PATH_NONE)
        return QL_FAIL(cx, QL_NOT_FOUND, "%s: no such file", file);
    path = realpath(file, NULL); /* a bare name would make dlopen search the system's folders */
    if (!path)
        return QL_FAIL(cx, QL_IO, "%s: can't be resolved", file);
    status = ql_elf_look(cx, path, &glance);
    if (status == QL_OK)
        status = load(cx, path, out);
    free(path);
    return status;
}

/* The sound plugin that already has this name; NULL: none. */
static const entry *
holder(const ql_registry *r, const char *name)
{
    for (int64_t i = 0; i < r->count; i++)
        if (!r->items[i]->problem && strcmp(r->items[i]->name, name) == 0)
            return r->items[i];
    return NULL;
}

/* `e` with a name: is it the only one of that name? */
static ql_status
check_unique(ql_ctx *cx, const ql_registry *r, const entry *e)
{
    const entry *first = e->name ? holder(r, e->name) : NULL;

    if (first)
        return QL_FAIL(cx, QL_INVALID,
                       "%s: the name '%s' is taken by the %s of %s: rename one, or take its folder off the plugin path",
                       e->file, e->name, ql_kind_name(first->found.kind), first->file);
    return QL_OK;
}

/* Writes down why an entry can't be used, when `status` is INVALID; other failures are ours. */
static ql_status
mark_broken(ql_ctx *cx, entry *e, ql_status status)
{
    if (status != QL_INVALID)
        return status;
    e->problem = heap_text(cx, ql_error(cx));
    if (!e->problem)
        return QL_MEMORY;
    ql_warn(cx, "%s", e->problem);
    ql_error_clear(cx);
    return QL_OK;
}

/* What others see of an entry. */
static void
show(entry *e, ql_kind kind)
{
    const bool loaded = e->copy.name && !e->problem;

    e->found = (ql_found){.file = e->file,
                          .name = e->name,
                          .help = loaded ? e->copy.help : e->help,
                          .kind = kind,
                          .plugin = loaded ? &e->copy : NULL,
                          .problem = e->problem};
}

/* Takes `e` over. `status` is what looking at it gave; INVALID makes it a broken one. */
static ql_status
keep(ql_ctx *cx, ql_registry *r, entry *e, ql_kind kind, ql_status status)
{
    if (!e->name && e->copy.name && !(e->name = heap_text(cx, e->copy.name)))
        status = QL_MEMORY;
    if (status == QL_OK)
        status = check_unique(cx, r, e);
    status = mark_broken(cx, e, status);
    if (status == QL_OK && !e->name && !(e->name = name_of_file(cx, e->file)))
        status = QL_MEMORY;
    if (status == QL_OK)
        status = ql_grow(cx, &r->items, &r->capacity, r->count + 1, sizeof *r->items);
    if (status != QL_OK) {
        entry_free(e);
        return status;
    }
    show(e, e->problem ? QL_KIND_NONE : kind);
    r->items[r->count++] = e;
    return QL_OK;
}

static entry *
entry_new(ql_ctx *cx, const char *file)
{
    entry *e = ql_heap(cx, 1, sizeof *e);

    if (e && !(e->file = heap_text(cx, file))) {
        entry_free(e);
        return NULL;
    }
    return e;
}

static bool
met(const ql_registry *r, const struct stat *st)
{
    for (int64_t i = 0; i < r->count; i++)
        if (r->items[i]->ino == st->st_ino && r->items[i]->dev == st->st_dev)
            return true;
    return false;
}

/* A backend is kept by what its file says. */
static ql_status
look_and_load(ql_ctx *cx, entry *e, ql_kind *kind)
{
    ql_glance glance;

    QL_TRY(cx, ql_elf_look(cx, e->file, &glance));
    *kind = glance.kind;
    if (glance.kind != QL_BACKEND) {
        QL_TRY(cx, load(cx, e->file, &e->copy));
        *kind = e->copy.kind;
        return QL_OK;
    }
    e->name = heap_text(cx, glance.name);
    e->help = heap_text(cx, glance.help);
    return e->name && e->help ? QL_OK : QL_MEMORY;
}

ql_status
ql_registry_take(ql_ctx *cx, ql_registry *r, const char *file)
{
    ql_kind kind = QL_KIND_NONE;
    ql_path_info at;
    ql_status status;
    entry *e;

    QL_TRY(cx, ql_path_look(cx, file, &at));
    if (at.type != QL_PATH_NONE && met(r, &at.stat))
        return QL_OK;
    e = entry_new(cx, file);
    if (!e)
        return QL_MEMORY;
    e->dev = at.stat.st_dev;
    e->ino = at.stat.st_ino;
    status = look_and_load(cx, e, &kind);
    return keep(cx, r, e, kind, status);
}

static int
by_kind(const void *a, const void *b)
{
    const ql_found *x = &(*(entry *const *)a)->found, *y = &(*(entry *const *)b)->found;
    int order;

    if (x->problem || y->problem)
        return x->problem && y->problem ? strcmp(x->file, y->file) : y->problem ? -1 : 1;
    order = (x->kind > y->kind) - (x->kind < y->kind);
    return order ? order : strcmp(x->name, y->name);
}

static void
sort(ql_registry *r)
{
    if (r->count)
        qsort(r->items, (size_t)r->count, sizeof *r->items, by_kind);
}

ql_status
ql_registry_open(ql_ctx *cx, const char *paths, ql_registry **out)
{
    ql_registry *r = ql_heap(cx, 1, sizeof *r);
    ql_scope scope;
    ql_status st;

    *out = NULL;
    if (!r)
        return QL_MEMORY;
    ql_scope_open(cx, &scope);
    st = ql_registry_search(cx, r, paths);
    ql_scope_close(cx, &scope);
    if (st != QL_OK) {
        ql_registry_close(r);
        return st;
    }
    sort(r);
    *out = r;
    return QL_OK;
}

ql_status
ql_registry_add(ql_ctx *cx, ql_registry *r, const ql_plugin *plugin)
{
    entry *e = entry_new(cx, "(memory)");
    ql_status status;

    if (!e)
        return QL_MEMORY;
    status = ql_descriptor_read(cx, e->file, plugin, &e->copy);
    QL_TRY(cx, keep(cx, r, e, e->copy.kind, status));
    sort(r);
    return QL_OK;
}

int64_t
ql_registry_count(const ql_registry *r)
{
    return r->count;
}

const ql_found *
ql_registry_item(const ql_registry *r, int64_t i)
{
    return &r->items[i]->found;
}

/* The entry of that name, a broken one before a good one; NULL: none. */
static entry *
find(const ql_registry *r, const char *name)
{
    entry *good = NULL;

    for (int64_t i = 0; i < r->count; i++) {
        if (strcmp(r->items[i]->name, name) != 0)
            continue;
        if (r->items[i]->problem)
            return r->items[i];
        good = r->items[i];
    }
    return good;
}

const ql_found *
ql_registry_peek(const ql_registry *r, const char *name)
{
    const entry *e = find(r, name);

    return e ? &e->found : NULL;
}

const ql_found *
ql_registry_load(const ql_registry *r, const ql_found *f)
{
    entry *e = NULL;
    ql_ctx cx;

    for (int64_t i = 0; i < r->count; i++)
        if (&r->items[i]->found == f && !f->plugin && !f->problem)
            e = r->items[i];
    if (!e)
        return f;
    ql_ctx_init(&cx, NULL);
    if (load(&cx, e->file, &e->copy) != QL_OK)
        e->problem = heap_text(&cx, ql_error(&cx));
    if (e->problem || e->copy.name)
        show(e, e->problem ? QL_KIND_NONE : QL_BACKEND);
    else
        f = NULL; /* there was no memory to say why */
    ql_ctx_fini(&cx);
    return f;
}

const ql_found *
ql_registry_find(const ql_registry *r, const char *name)
{
    return ql_registry_load(r, ql_registry_peek(r, name));
}
