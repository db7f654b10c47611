/* The plugins of this process: where they are searched, and whether others could put code there. Every file is looked
 * into before the loader gets it; a backend's is loaded when it is asked for, since its libraries may take long, or fail,
 * where nobody needs them. */
#include "registry.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/path.h"
#include "descriptor.h"
#include "elf.h"

typedef struct entry {
    ql_found found;
    ql_plugin copy;
    dev_t dev;
    ino_t ino; /* with dev: the same file under another name */
} entry;

struct ql_registry {
    ql_scope *memory; /* of the entries and their texts */
    int64_t count, capacity;
    entry **items;
};

void
ql_registry_close(ql_registry *r)
{
    ql_ctx cx;

    if (!r)
        return;
    ql_ctx_init(&cx, NULL);
    ql_scope_enter(&cx, r->memory);
    ql_ctx_fini(&cx);
    free(r->memory);
    free(r->items);
    free(r);
}

/* "foo" of "/a/libfoo.so". */
static const char *
name_of_file(ql_ctx *cx, const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file, *dot;

    name += strncmp(name, "lib", 3) == 0 ? 3 : 0;
    dot = strrchr(name, '.');
    return ql_copy_text(cx, name, dot ? (size_t)(dot - name) : strlen(name));
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

/* Is the entry, whose name is known, the only sound one of that name? */
static ql_status
check_unique(ql_ctx *cx, const ql_registry *r, const ql_found *f)
{
    for (int64_t i = 0; i < r->count; i++) {
        const ql_found *first = &r->items[i]->found;

        if (!first->problem && strcmp(first->name, f->name) == 0)
            return QL_FAIL(
                cx, QL_INVALID,
                "%s: the name '%s' is taken by the %s of %s: rename one, or take its folder off the plugin path",
                f->file, f->name, ql_kind_name(first->kind), first->file);
    }
    return QL_OK;
}

/* Adds `e`. `status` is what looking at it gave; INVALID makes it a broken one, other failures are ours. */
static ql_status
keep(ql_ctx *cx, ql_registry *r, entry *e, ql_status status)
{
    ql_found *f = &e->found;

    if (!f->name)
        f->name = e->copy.name ? e->copy.name : name_of_file(cx, f->file);
    if (!f->name)
        return QL_MEMORY;
    if (status == QL_OK)
        status = check_unique(cx, r, f);
    if (status == QL_OK && e->copy.name) {
        f->plugin = &e->copy;
        f->help = e->copy.help;
        f->kind = e->copy.kind;
    } else if (status == QL_INVALID) {
        f->kind = QL_KIND_NONE;
        f->problem = ql_copy_text(cx, ql_error(cx), strlen(ql_error(cx)));
        if (!f->problem)
            return QL_MEMORY;
        ql_warn(cx, "%s", f->problem);
        ql_error_clear(cx);
    } else if (status != QL_OK) {
        return status;
    }
    QL_TRY(cx, ql_grow(cx, &r->items, &r->capacity, r->count + 1, sizeof *r->items));
    r->items[r->count++] = e;
    return QL_OK;
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
look_and_load(ql_ctx *cx, entry *e)
{
    ql_found *f = &e->found;
    ql_glance glance;

    QL_TRY(cx, ql_elf_look(cx, f->file, &glance));
    if (glance.kind != QL_BACKEND)
        return load(cx, f->file, &e->copy);
    f->kind = QL_BACKEND;
    f->name = ql_copy_text(cx, glance.name, strlen(glance.name));
    f->help = ql_copy_text(cx, glance.help, strlen(glance.help));
    return f->name && f->help ? QL_OK : QL_MEMORY;
}

/* The file `file`, or the descriptor `plugin` in memory. */
static ql_status
take(ql_ctx *cx, ql_registry *r, const char *file, const struct stat *st, const ql_plugin *plugin)
{
    entry *e = ql_alloc(cx, 1, sizeof *e);
    const char *name = e ? ql_copy_text(cx, file, strlen(file)) : NULL;

    if (!name)
        return QL_MEMORY;
    *e = (entry){.found.file = name, .dev = st->st_dev, .ino = st->st_ino};
    return keep(cx, r, e, plugin ? ql_descriptor_read(cx, name, plugin, &e->copy) : look_and_load(cx, e));
}

/* One file of a folder: kept, sound or broken, unless it is there already. */
static ql_status
take_file(ql_ctx *cx, ql_registry *r, const char *file)
{
    ql_path_info at;

    QL_TRY(cx, ql_path_look(cx, file, &at));
    if (at.type != QL_PATH_NONE && met(r, &at.stat))
        return QL_OK;
    ql_scope_enter(cx, r->memory);
    return ql_scope_leave(cx, r->memory, take(cx, r, file, &at.stat, NULL));
}

/* --- the search ------------------------------------------------------------------------------------------------- */

/* Could others than the user and root change what lies there? In a sticky folder they can't touch what exists. */
static ql_status
is_open_to_others(ql_ctx *cx, const char *path, bool sticky_is_fine, bool *out)
{
    ql_path_info at;

    QL_TRY(cx, ql_path_look(cx, path, &at));
    *out = (at.stat.st_mode & S_IWOTH && !(sticky_is_fine && at.stat.st_mode & S_ISVTX)) ||
           (at.stat.st_uid != 0 && at.stat.st_uid != geteuid());
    return QL_OK;
}

/* Code of the folder runs, so a place where others could put some is told: the folder, or one above it. */
static ql_status
warn_of_place(ql_ctx *cx, const char *folder)
{
    char *here = realpath(".", NULL);

    if (here && strcmp(here, folder) == 0)
        ql_warn(cx, "%s: plugins are loaded from the working directory", folder);
    free(here);
    for (const char *at = folder; at;) {
        const char *slash = strrchr(at, '/');
        bool open = false;

        QL_TRY(cx, is_open_to_others(cx, at, at != folder, &open));
        if (open)
            ql_warn(cx, "%s: plugins are loaded from here, and other users can write to %s", folder, at);
        if (open || strcmp(at, "/") == 0)
            return QL_OK;
        at = slash == at ? "/" : ql_copy_text(cx, at, (size_t)(slash - at));
    }
    return QL_MEMORY;
}

/* `origin`: what named the folder, for the text when it isn't there; NULL: it need not be. */
static ql_status
add_folder(ql_ctx *cx, ql_registry *r, const char *folder, const char *origin)
{
    char *real = realpath(folder, NULL);
    const char *path = real ? ql_copy_text(cx, real, strlen(real)) : NULL;
    const ql_folder_entry *entries;
    int64_t count, found = 0;
    bool there = false;

    free(real);
    if (real && !path)
        return QL_MEMORY;
    if (path)
        QL_TRY(cx, ql_is_folder(cx, path, &there));
    if (!there)
        return origin ? QL_FAIL(cx, QL_NOT_FOUND, "%s: no plugin folder '%s'", origin, folder) : QL_OK;
    QL_TRY(cx, ql_folder_list(cx, path, &entries, &count));
    for (int64_t i = 0; i < count; i++) { /* in the order of their names */
        const char *file = ql_format(cx, "%s/%s", path, entries[i].name);

        if (!file)
            return QL_MEMORY;
        if (!ql_ends_with(file, ".so"))
            continue;
        if (found++ == 0)
            QL_TRY(cx, warn_of_place(cx, path));
        QL_TRY(cx, take_file(cx, r, file));
    }
    return QL_OK;
}

static ql_status
add_paths(ql_ctx *cx, ql_registry *r, const char *paths, const char *origin)
{
    for (const char *p = paths; p && *p;) {
        const size_t n = strcspn(p, ":");
        const char *text = ql_copy_text(cx, p, n), *folder = text ? ql_path_from(cx, NULL, text) : NULL;

        if (!folder)
            return QL_MEMORY;
        if (n)
            QL_TRY(cx, add_folder(cx, r, folder, origin));
        p += n + (p[n] == ':');
    }
    return QL_OK;
}

/* The folder qloom/ beside the library that holds this table. */
static ql_status
own_folder(ql_ctx *cx, const char **out)
{
    static const char here = 0; /* an address of this library that is no function */
    const char *file;

    QL_TRY(cx, ql_object_file(cx, &here, &file));
    *out = ql_format(cx, "%.*s/qloom", (int)(strrchr(file, '/') - file), file);
    return *out ? QL_OK : QL_MEMORY;
}

/* Takes every plugin file of `paths`, of QLOOM_PLUGIN_PATH and of the folder beside the library. */
static ql_status
search(ql_ctx *cx, ql_registry *r, const char *paths)
{
    const char *own = NULL;

    QL_TRY(cx, add_paths(cx, r, paths, "--plugin-path"));
    QL_TRY(cx, add_paths(cx, r, ql_env("QLOOM_PLUGIN_PATH"), "QLOOM_PLUGIN_PATH"));
    QL_TRY(cx, own_folder(cx, &own));
    if (own)
        QL_TRY(cx, add_folder(cx, r, own, NULL));
    for (int64_t i = 0; own && i < r->count; i++) {
        ql_found *f = &r->items[i]->found;

        f->own = strncmp(f->file, own, strlen(own)) == 0 && strrchr(f->file, '/') == f->file + strlen(own);
    }
    return QL_OK;
}

/* --- the registry ------------------------------------------------------------------------------------------------ */

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
    if (!r || !(r->memory = ql_heap(cx, 1, sizeof *r->memory))) {
        free(r);
        return QL_MEMORY;
    }
    ql_scope_open(cx, &scope);
    st = search(cx, r, paths);
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
    const char *file;
    ql_status st;

    ql_scope_enter(cx, r->memory);
    st = ql_object_file(cx, plugin, &file);
    if (st == QL_OK)
        st = take(cx, r, file, &(struct stat){0}, plugin);
    QL_TRY(cx, ql_scope_leave(cx, r->memory, st));
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

bool
ql_registry_owns(const ql_registry *r, const ql_plugin *plugin)
{
    for (int64_t i = 0; i < r->count; i++)
        if (r->items[i]->found.plugin == plugin)
            return r->items[i]->found.own;
    return false;
}

const ql_found *
ql_registry_peek(const ql_registry *r, const char *name)
{
    const ql_found *found = NULL;

    for (int64_t i = 0; i < r->count; i++) {
        const ql_found *f = &r->items[i]->found;

        if (strcmp(f->name, name) == 0 && (!found || (f->problem && !found->problem)))
            found = f;
    }
    return found;
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
    ql_scope_enter(&cx, r->memory);
    if (load(&cx, f->file, &e->copy) == QL_OK) {
        e->found.plugin = &e->copy;
        e->found.help = e->copy.help;
    } else {
        e->found.kind = QL_KIND_NONE;
        e->found.problem = ql_copy_text(&cx, ql_error(&cx), strlen(ql_error(&cx)));
    }
    (void)ql_scope_leave(&cx, r->memory, QL_OK);
    return f->plugin || f->problem ? f : NULL; /* NULL: there was no memory to say why */
}

const ql_found *
ql_registry_find(const ql_registry *r, const char *name)
{
    return ql_registry_load(r, ql_registry_peek(r, name));
}
