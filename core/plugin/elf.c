/* Shared objects of 64-bit ELF, read with pread: headers, the plugin's symbol, the first fields of its descriptor. */
#include "elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"

#define SECTIONS_MAX 4096
#define SEGMENTS_MAX 256

#if defined(__aarch64__)
#define MACHINE EM_AARCH64
#define RELATIVE R_AARCH64_RELATIVE
#else
#define MACHINE EM_X86_64
#define RELATIVE R_X86_64_RELATIVE
#endif

typedef struct object {
    ql_ctx *cx;
    const char *path;
    int file;
    uint64_t bytes;
    Elf64_Ehdr head;
    Elf64_Phdr *segments;
    Elf64_Shdr *sections; /* NULL: there are none */
    ql_status failed;     /* MEMORY: a section could not be read */
} object;

static ql_status
broken(const object *o, const char *why)
{
    return QL_FAIL(o->cx, QL_INVALID, "%s: can't be loaded: %s", o->path, why);
}

/* `count` bytes at `offset`; false when the file has no such bytes. */
static bool
read_at(const object *o, uint64_t offset, void *to, size_t count)
{
    return offset <= o->bytes && count <= o->bytes - offset &&
           pread(o->file, to, count, (off_t)offset) == (ssize_t)count;
}

/* Where the byte that will lie at `address` is in the file; UINT64_MAX: nowhere. */
static uint64_t
offset_of(const object *o, uint64_t address)
{
    for (int i = 0; i < o->head.e_phnum; i++) {
        const Elf64_Phdr *s = &o->segments[i];

        if (s->p_type == PT_LOAD && address >= s->p_vaddr && address - s->p_vaddr < s->p_filesz)
            return s->p_offset + (address - s->p_vaddr);
    }
    return UINT64_MAX;
}

/* --- is it whole? ------------------------------------------------------------------------------------------------ */

static ql_status
open_object(object *o)
{
    ql_path_info at;
    struct stat st;

    QL_TRY(o->cx, ql_path_look(o->cx, o->path, &at));
    if (at.type != QL_PATH_FILE)
        return QL_FAIL(o->cx, QL_INVALID, "%s: can't be loaded: it is %s, not a file", o->path,
                       at.type == QL_PATH_NONE ? "a link that leads nowhere" : at.word);
    o->file = open(o->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO that came meanwhile is not waited for */
    if (o->file < 0 || fstat(o->file, &st) != 0)
        return broken(o, strerror(errno));
    o->bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    return QL_OK;
}

static ql_status
read_head(object *o)
{
    const Elf64_Ehdr *h = &o->head;

    if (!read_at(o, 0, &o->head, sizeof o->head))
        return broken(o, "it is too short for a shared object");
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return broken(o, "it is no shared object");
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != MACHINE ||
        h->e_type != ET_DYN)
        return broken(o, "it is no shared object for this machine: rebuild it here");
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum > SEGMENTS_MAX || h->e_shnum > SECTIONS_MAX ||
        (h->e_shnum && h->e_shentsize != sizeof(Elf64_Shdr)))
        return broken(o, "its headers are damaged");
    return QL_OK;
}

/* Everything that the headers speak of lies in the file. The table of sections is its end, which a copy that was cut off
 * or is under way does not have yet, be the file as long as it will be. */
static ql_status
read_tables(object *o)
{
    const Elf64_Ehdr *h = &o->head;
    const size_t segments = h->e_phnum * sizeof(Elf64_Phdr), sections = h->e_shnum * sizeof(Elf64_Shdr);
    const char *const cut = "it ends too early, as a file that is not wholly copied does";

    o->segments = ql_alloc(o->cx, segments + 1, 1);
    o->sections = ql_alloc(o->cx, sections + 1, 1);
    if (!o->segments || !o->sections)
        return QL_MEMORY;
    if (!read_at(o, h->e_phoff, o->segments, segments) || !read_at(o, h->e_shoff, o->sections, sections))
        return broken(o, cut);
    for (int i = 0; i < h->e_phnum; i++)
        if (o->segments[i].p_offset > o->bytes || o->segments[i].p_filesz > o->bytes - o->segments[i].p_offset)
            return broken(o, cut);
    if (h->e_shnum && (h->e_shstrndx >= h->e_shnum || o->sections[h->e_shstrndx].sh_type != SHT_STRTAB))
        return broken(o, cut);
    return QL_OK;
}

/* --- the descriptor ---------------------------------------------------------------------------------------------- */

/* The text at `address` of the object as it will be loaded, into `out`; "" when there is none that fits. */
static void
text_at(const object *o, uint64_t address, char *out, size_t size)
{
    const uint64_t offset = offset_of(o, address);
    const size_t most = offset < o->bytes && o->bytes - offset < size ? (size_t)(o->bytes - offset) : size;

    if (!read_at(o, offset, out, most) || !memchr(out, '\0', most))
        *out = '\0';
}

/* What section `s` holds, with a NUL behind it; NULL when it does not lie in the file. */
static const void *
read_section(object *o, const Elf64_Shdr *s)
{
    void *data;

    if (s->sh_offset > o->bytes || s->sh_size > o->bytes - s->sh_offset)
        return NULL;
    data = ql_alloc(o->cx, (size_t)s->sh_size + 1, 1);
    if (!data)
        o->failed = QL_MEMORY;
    return data && read_at(o, s->sh_offset, data, (size_t)s->sh_size) ? data : NULL;
}

/* Address of the exported symbol `name`; 0: none. */
static uint64_t
find_symbol(object *o, const char *name)
{
    for (int i = 0; i < o->head.e_shnum; i++) {
        const Elf64_Shdr *s = &o->sections[i], *texts = &o->sections[s->sh_link < o->head.e_shnum ? s->sh_link : 0];
        const Elf64_Sym *symbols = s->sh_type == SHT_DYNSYM ? read_section(o, s) : NULL;
        const char *names = symbols ? read_section(o, texts) : NULL;

        for (uint64_t k = 0; names && k < s->sh_size / sizeof *symbols; k++)
            if (symbols[k].st_shndx != SHN_UNDEF && symbols[k].st_name < texts->sh_size &&
                strcmp(names + symbols[k].st_name, name) == 0)
                return symbols[k].st_value;
    }
    return 0;
}

/* The pointer that the loader will put at `address`; what stands there already where it has no relocation of its own. */
static uint64_t
pointer_at(object *o, uint64_t address)
{
    uint64_t value = 0;

    for (int i = 0; i < o->head.e_shnum; i++) {
        const Elf64_Shdr *s = &o->sections[i];
        const Elf64_Rela *moves = s->sh_type == SHT_RELA && s->sh_flags & SHF_ALLOC ? read_section(o, s) : NULL;

        for (uint64_t k = 0; moves && k < s->sh_size / sizeof *moves; k++)
            if (moves[k].r_offset == address && ELF64_R_TYPE(moves[k].r_info) == RELATIVE)
                return (uint64_t)moves[k].r_addend;
    }
    return read_at(o, offset_of(o, address), &value, sizeof value) ? value : 0;
}

static ql_status
look(object *o, ql_glance *out)
{
    ql_plugin fields = {.kind = QL_KIND_NONE};
    uint64_t entry;

    QL_TRY(o->cx, open_object(o));
    QL_TRY(o->cx, read_head(o));
    QL_TRY(o->cx, read_tables(o));
    if (!o->head.e_shnum)
        return QL_OK;
    entry = find_symbol(o, "ql_plugin_entry");
    if (!entry && o->failed == QL_OK)
        return QL_FAIL(o->cx, QL_INVALID,
                       "%s: exports no ql_plugin_entry: not a plugin, or one without a QL_PLUGIN block", o->path);
    if (!read_at(o, offset_of(o, entry), &fields, offsetof(ql_plugin, name)))
        return o->failed;
    text_at(o, pointer_at(o, entry + offsetof(ql_plugin, name)), out->name, sizeof out->name);
    text_at(o, pointer_at(o, entry + offsetof(ql_plugin, help)), out->help, sizeof out->help);
    out->kind = *out->name && *out->help ? fields.kind : QL_KIND_NONE;
    return o->failed;
}

ql_status
ql_elf_look(ql_ctx *cx, const char *file, ql_glance *out)
{
    object o = {.cx = cx, .path = file, .file = -1};
    ql_scope scope;
    ql_status st;

    *out = (ql_glance){.kind = QL_KIND_NONE};
    ql_scope_open(cx, &scope);
    st = look(&o, out);
    ql_scope_close(cx, &scope);
    if (o.file >= 0)
        close(o.file);
    return st;
}
