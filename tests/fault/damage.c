/* damage KIND FILE SEED: changes a file of a run or a cache at a random place, and says how. Kinds for any file: flip a bit, truncate,
 * zero a stretch, grow. Kinds for entries of the store, with the checksum made right again, so that only what is inside betrays them:
 * drop a part, shorten one, make its counts huge, turn its shape, or lose a linear's tensors, which then says that it has none. Exit 3
 * when the file has nothing of that kind to damage, 4 when the checksum of the untouched entry is not the one that this program knows how
 * to make. */
#include <unistd.h>

#include "core/base/ctx.h"
#include "forge.h"

static uint64_t state;
static forged entry; /* its memory goes with the process */

static uint64_t
drawn(uint64_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % limit;
}

/* --- any file ---------------------------------------------------------------------------------------------------- */

static int
damage_bytes(const char *kind, const char *path)
{
    FILE *f = fopen(path, "r+b");
    long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1, at = 0, length = 1;
    int byte;

    if (size < 0)
        return perror(path), 1;
    if (size == 0 && strcmp(kind, "grow") != 0)
        return 3;
    if (strcmp(kind, "grow") != 0)
        at = (long)drawn((uint64_t)size);
    if (strcmp(kind, "truncate") == 0) {
        if (ftruncate(fileno(f), at) != 0)
            return perror(path), 1;
    } else if (strcmp(kind, "grow") == 0) {
        length = (long)drawn(64) + 1;
        for (long i = 0; i < length; i++)
            fputc((int)drawn(256), f);
        at = size;
    } else if (strcmp(kind, "flip") == 0) {
        fseek(f, at, SEEK_SET);
        byte = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(byte ^ (1 << drawn(8)), f);
    } else {
        length = (long)drawn((uint64_t)(size - at)) + 1;
        fseek(f, at, SEEK_SET);
        for (long i = 0; i < length; i++)
            fputc(0, f);
    }
    printf("%s of %ld bytes at %ld of %ld", kind, length, at, size);
    return fclose(f) != 0;
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

/* Is it a part of numbers that the host counts with: of a tally, of a linear's values, of which tensors there are? Of values the last eight
 * bytes count, the dead columns; what comes before them (flags, a damping) is as little betrayed by others as the codes. */
static bool
has_counts(const char *name)
{
    const char *dot = strrchr(name, '.');

    name = dot ? dot + 1 : name;
    return strcmp(name, "tally") == 0 || strcmp(name, "values") == 0 || strcmp(name, "present") == 0;
}

static bool
ends_with(const char *name, const char *end)
{
    return strlen(name) >= strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

/* The tensors of the linear whose part "3.present" is `p` go, and the part says that there are none. */
static void
lose(forged_part *p)
{
    const size_t prefix = strlen(p->name) - strlen("present");
    int kept = 0;
    char linear[sizeof p->name];

    memcpy(linear, p->name, sizeof linear);
    memset(p->data, 0, p->bytes);
    for (int i = 0; i < entry.count; i++) {
        const char *name = entry.parts[i].name;

        if (strncmp(name, linear, prefix) != 0 || ends_with(name, ".present") || ends_with(name, ".values"))
            entry.parts[kept++] = entry.parts[i];
    }
    entry.count = kept;
}

/* Chooses a part that has the kind of damage's victim in it; NULL: there is none. */
static forged_part *
victim(const char *kind)
{
    const int first = entry.count ? (int)drawn((uint64_t)entry.count) : 0;

    for (int i = 0; i < entry.count; i++) {
        forged_part *p = &entry.parts[(first + i) % entry.count];

        if (strcmp(kind, "drop") == 0 || (strcmp(kind, "shorten") == 0 && p->ndim > 0 && p->dims[0] > 1) ||
            (strcmp(kind, "lose") == 0 && ends_with(p->name, ".present")) ||
            (strcmp(kind, "counts") == 0 && has_counts(p->name)) ||
            (strcmp(kind, "turn") == 0 && p->ndim == 2 && p->dims[0] != p->dims[1]))
            return p;
    }
    return NULL;
}

static void
change(const char *kind, forged_part *p)
{
    const int64_t rows = p->dims[0];
    int64_t number = drawn(2) ? INT64_C(1) << 40 : -1;

    printf("%s of part '%s', checksum right", kind, p->name);
    if (strcmp(kind, "drop") == 0) {
        free(p->data);
        *p = entry.parts[--entry.count];
    } else if (strcmp(kind, "shorten") == 0) {
        p->dims[0] = 1 + (int64_t)drawn((uint64_t)rows - 1);
        p->bytes = p->bytes / (size_t)rows * (size_t)p->dims[0];
    } else if (strcmp(kind, "lose") == 0) {
        lose(p);
    } else if (strcmp(kind, "turn") == 0) {
        p->dims[0] = p->dims[1];
        p->dims[1] = rows;
    } else {
        const size_t size = p->bytes < sizeof number ? p->bytes : sizeof number;
        const char *dot = strrchr(p->name, '.');
        const bool last = dot && strcmp(dot, ".values") == 0;

        memcpy(p->data + (last ? p->bytes - size : drawn(p->bytes / size) * size), &number, size);
    }
}

int
main(int argc, char **argv)
{
    static const char *const plain[] = {"flip", "truncate", "zero", "grow"};
    unsigned char sum[16];
    ql_ctx cx;
    ql_scope scope;
    ql_st_file f = {0};
    forged_part *p;

    if (argc != 4)
        return fprintf(stderr, "usage: damage KIND FILE SEED\n"), 2;
    state = strtoull(argv[3], NULL, 10);
    (void)drawn(2);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(argv[1], plain[i]) == 0)
            return damage_bytes(argv[1], argv[2]);
    ql_ctx_init(&cx, NULL);
    ql_scope_open(&cx, &scope);
    if (ql_st_open(&cx, argv[2], &f) != QL_OK || !forge_take(&entry, &f))
        return fprintf(stderr, "%s: %s\n", argv[2], ql_error(&cx)), 1;
    ql_st_close(&f);
    ql_scope_close(&cx, &scope);
    ql_ctx_fini(&cx);
    forge_sum(&entry, sum);
    if (memcmp(sum, entry.sum, sizeof sum) != 0)
        return fprintf(stderr, "%s: its checksum is another than this program makes\n", argv[2]), 4;
    p = victim(argv[1]);
    if (!p)
        return 3;
    change(argv[1], p);
    return !forge_write(&entry, argv[2]);
}
