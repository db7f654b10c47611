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
#define SEGMENT_BYTES ((uint64_t)1 << 32) /* more than any program has of code and data */

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

/* --- will the loader stay within it? ------------------------------------------------------------------------------ */

/* Do `bytes` bytes from `address` on lie in one segment as it will be loaded? */
static bool
is_loaded(const object *o, uint64_t address, uint64_t bytes, unsigned flags)
{
    for (int i = 0; i < o->head.e_phnum; i++) {
        const Elf64_Phdr *s = &o->segments[i];

        if (s->p_type == PT_LOAD && (s->p_flags & flags) == flags && s->p_memsz < SEGMENT_BYTES &&
            address >= s->p_vaddr && address - s->p_vaddr <= s->p_memsz && bytes <= s->p_memsz - (address - s->p_vaddr))
            return true;
    }
    return false;
}

/* Sections that are loaded lie where a segment puts them: else a header of one of the two is damaged. */
static bool
sections_agree(const object *o)
{
    for (int i = 0; i < o->head.e_shnum; i++) {
        const Elf64_Shdr *s = &o->sections[i];
        const unsigned flags = PF_R | (s->sh_flags & SHF_WRITE ? PF_W : 0) | (s->sh_flags & SHF_EXECINSTR ? PF_X : 0);

        if (!(s->sh_flags & SHF_ALLOC) || s->sh_flags & SHF_TLS || s->sh_size == 0)
            continue;
        if (!is_loaded(o, s->sh_addr, s->sh_size, flags) ||
            (s->sh_type != SHT_NOBITS && offset_of(o, s->sh_addr) != s->sh_offset))
            return false;
    }
    return true;
}

/* Of the dynamic section: where things begin, how many bytes they have (0: that stands elsewhere), and the type of their sections. */
static const struct {
    int64_t begin, bytes;
    uint32_t type;
} dynamic_rows[] = {{DT_SYMTAB, 0, SHT_DYNSYM},
                    {DT_STRTAB, DT_STRSZ, SHT_STRTAB},
                    {DT_RELA, DT_RELASZ, SHT_RELA},
                    {DT_JMPREL, DT_PLTRELSZ, SHT_RELA},
                    {DT_GNU_HASH, 0, SHT_GNU_HASH},
                    {DT_HASH, 0, SHT_HASH},
                    {DT_VERSYM, 0, SHT_GNU_versym},
                    {DT_VERNEED, 0, SHT_GNU_verneed},
                    {DT_VERDEF, 0, SHT_GNU_verdef},
                    {DT_INIT_ARRAY, DT_INIT_ARRAYSZ, SHT_INIT_ARRAY},
                    {DT_FINI_ARRAY, DT_FINI_ARRAYSZ, SHT_FINI_ARRAY}};

/* The value of a tag; `or` where the dynamic section lacks it. */
static uint64_t
value_of(const Elf64_Dyn *all, uint64_t count, int64_t tag, uint64_t or)
{
    for (uint64_t k = 0; k < count && all[k].d_tag != DT_NULL; k++)
        if (all[k].d_tag == tag)
            return all[k].d_un.d_val;
    return or ;
}

/* Does the dynamic section say of section `s` where it is, and how long? */
static bool
is_named(const Elf64_Dyn *all, uint64_t count, const Elf64_Shdr *s)
{
    bool listed = false;

    for (size_t i = 0; i < sizeof dynamic_rows / sizeof *dynamic_rows; i++) {
        if (dynamic_rows[i].type != s->sh_type || s->sh_size == 0)
            continue;
        listed = true;
        if (value_of(all, count, dynamic_rows[i].begin, UINT64_MAX) == s->sh_addr &&
            (!dynamic_rows[i].bytes || value_of(all, count, dynamic_rows[i].bytes, 0) == s->sh_size))
            return true;
    }
    return !listed;
}

/* The loader follows the dynamic section, which says the same as the sections do. */
static bool
dynamic_agrees(object *o, const Elf64_Shdr *s)
{
    const Elf64_Dyn *all = read_section(o, s);
    const uint64_t count = s->sh_size / sizeof *all, texts = all ? value_of(all, count, DT_STRSZ, 0) : 0;

    for (int i = 0; all && i < o->head.e_phnum; i++) {
        const Elf64_Phdr *p = &o->segments[i];

        if ((p->p_type == PT_DYNAMIC && (p->p_vaddr != s->sh_addr || p->p_filesz != s->sh_size)) ||
            (p->p_type == PT_GNU_RELRO && /* which linkers round up to pages, of up to 64 KiB */
             (!is_loaded(o, p->p_vaddr, p->p_filesz, 0) || p->p_memsz - p->p_filesz >= 65536)))
            return false;
    }
    for (int i = 0; all && i < o->head.e_shnum; i++)
        if (o->sections[i].sh_flags & SHF_ALLOC && !is_named(all, count, &o->sections[i]))
            return false;
    for (uint64_t k = 0; all && k < count && all[k].d_tag != DT_NULL; k++) {
        const int64_t tag = all[k].d_tag;
        const uint64_t v = all[k].d_un.d_val;

        if (((tag == DT_NEEDED || tag == DT_SONAME || tag == DT_RUNPATH || tag == DT_RPATH) && v >= texts) ||
            ((tag == DT_INIT || tag == DT_FINI) && !is_loaded(o, v, 1, PF_X)) ||
            (tag == DT_PLTGOT && !is_loaded(o, v, 0, PF_W)) || (tag == DT_RELAENT && v != sizeof(Elf64_Rela)) ||
            (tag == DT_SYMENT && v != sizeof(Elf64_Sym)))
            return false;
    }
    return all != NULL;
}

/* Relocations change what will be writable, by symbols that there are. */
static bool
moves_agree(object *o, const Elf64_Shdr *s)
{
    const Elf64_Shdr *symbols = &o->sections[s->sh_link < o->head.e_shnum ? s->sh_link : 0];
    const Elf64_Rela *all = read_section(o, s);
    const uint64_t known = symbols->sh_type == SHT_DYNSYM ? symbols->sh_size / sizeof(Elf64_Sym) : 1;

    for (uint64_t k = 0; all && k < s->sh_size / sizeof *all; k++)
        if (all[k].r_offset % sizeof(uint64_t) || !is_loaded(o, all[k].r_offset, sizeof(uint64_t), PF_W) ||
            ELF64_R_SYM(all[k].r_info) >= known ||
            (ELF64_R_TYPE(all[k].r_info) == RELATIVE && !is_loaded(o, (uint64_t)all[k].r_addend, 0, 0)))
            return false;
    return all != NULL;
}

/* Symbols have names, and those that are defined lie in the object. */
static bool
symbols_agree(object *o, const Elf64_Shdr *s)
{
    const Elf64_Shdr *texts = &o->sections[s->sh_link < o->head.e_shnum ? s->sh_link : 0];
    const Elf64_Sym *all = read_section(o, s);

    for (uint64_t k = 0; all && k < s->sh_size / sizeof *all; k++)
        if (all[k].st_name >= texts->sh_size ||
            (all[k].st_shndx != SHN_UNDEF && all[k].st_shndx < SHN_LORESERVE &&
             ELF64_ST_TYPE(all[k].st_info) != STT_TLS && !is_loaded(o, all[k].st_value, all[k].st_size, 0)))
            return false;
    return all != NULL;
}

static ql_status
check_tables(object *o)
{
    bool good = sections_agree(o);

    for (int i = 0; good && i < o->head.e_shnum; i++) {
        const Elf64_Shdr *s = &o->sections[i];

        if (s->sh_type == SHT_DYNAMIC)
            good = dynamic_agrees(o, s);
        else if (s->sh_type == SHT_RELA && s->sh_flags & SHF_ALLOC)
            good = moves_agree(o, s);
        else if (s->sh_type == SHT_DYNSYM)
            good = symbols_agree(o, s);
    }
    return good || o->failed != QL_OK ? o->failed : broken(o, "its tables contradict each other: it is damaged");
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
    QL_TRY(o->cx, check_tables(o));
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
