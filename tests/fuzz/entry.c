/* Fuzzes entries of the store: the input's tensors, beside the part that says whose entry it is, under a right checksum. Such an entry is
 * found, and what it is asked for is there as it was written, or refused in words.
 * Aims at: core/store/parcel.c */
#include "folder.h"

#include "core/store/store.h"
#include "core/tensor/tensor.h"
#include "fault/forge.h"
#include "unit/host_backend.h"

static const ql_entry about = {.key = {{1, 2}}, .block = 3, .kind = "linears", .about = "a test"};
static forged identity; /* the parts of an entry to which nothing was put */

static void
take_file(ql_ctx *cx, const char *path, forged *e)
{
    ql_st_file f = {0};

    MUST(ql_st_open(cx, path, &f) == QL_OK && forge_take(e, &f));
    ql_st_close(&f);
}

/* A store with the entry that the input is put in the place of; its path. */
static const char *
make_store(ql_ctx *cx, ql_store *s)
{
    ql_parcel parcel = {0};
    const char *path = ql_format(cx, "%s/nodes/%016x%016x/00003.safetensors", fuzz_folder(), 1, 2);

    MUST(path && ql_store_open(cx, fuzz_folder(), s) == QL_OK);
    if (identity.count == 0) {
        MUST(ql_store_put(cx, s, &about, &parcel) == QL_OK);
        take_file(cx, path, &identity);
        MUST(identity.count > 0);
    }
    return path;
}

static void
add_identity(forged *e)
{
    for (int i = 0; i < identity.count && e->count < MOST_PARTS; i++) {
        forged_part *p = &e->parts[e->count++];

        *p = identity.parts[i];
        p->data = malloc(p->bytes + 1);
        memcpy(p->data, identity.parts[i].data, p->bytes);
    }
}

/* Has `back` the elements of `t`? */
static bool
same(ql_ctx *cx, const ql_tensor *t, const ql_tensor *back)
{
    const size_t bytes = ql_tensor_bytes(t);
    const void *was, *is;
    bool equal;

    MUST(ql_map(cx, t, QL_READ, &was) == QL_OK && ql_map(cx, back, QL_READ, &is) == QL_OK);
    equal = bytes == ql_tensor_bytes(back) && (bytes == 0 || memcmp(was, is, bytes) == 0);
    MUST(ql_unmap(cx, back) == QL_OK && ql_unmap(cx, t) == QL_OK);
    return equal;
}

/* A tensor of the input in an entry of its own, as it is and, a matrix, as codes of four bits: it comes back as it was. */
static void
put_again(ql_ctx *cx, const char *path, const ql_tensor *t)
{
    const bool matrix = ql_ndim(t) == 2;
    ql_parcel out = {0}, in = {0};
    ql_tensor *back;

    MUST(ql_parcel_put_tensor(cx, &out, "plain", t) == QL_OK);
    MUST(!matrix || ql_parcel_put_codes(cx, &out, "codes", t, 4) == QL_OK);
    MUST(ql_parcel_write(cx, &out, path) == QL_OK && ql_parcel_read(cx, path, &in) == QL_OK);
    MUST(ql_parcel_tensor_as(cx, &in, "plain", ql_dtype_of(t), &back) == QL_OK && same(cx, t, back));
    if (!matrix)
        return;
    if (ql_parcel_codes(cx, &in, "codes", 4, ql_dim(t, 0), ql_dim(t, 1), QL_U8, &back) != QL_OK)
        MUST(*ql_error(cx) && ql_dtype_of(t) != QL_U8); /* what did not fit, on a device that converts nothing */
    else if (ql_dtype_of(t) == QL_U8)
        MUST(same(cx, t, back));
    ql_error_clear(cx);
}

/* What was written can be read, a tensor only where it is one that a device has. */
static void
read_parts(ql_ctx *cx, const ql_parcel *parcel, const forged *e)
{
    for (int i = 0; i < e->count; i++) {
        const forged_part *p = &e->parts[i];
        unsigned char *copy = malloc(p->bytes + 2);
        const void *data;
        ql_tensor *t;
        size_t bytes;

        MUST(ql_parcel_find(cx, parcel, p->name, &data, &bytes) == QL_OK && bytes == p->bytes);
        MUST(memcmp(data, p->data, bytes) == 0);
        MUST(ql_parcel_copy(cx, parcel, p->name, copy, bytes) == QL_OK);
        MUST(ql_parcel_copy(cx, parcel, p->name, copy, bytes + 1) == QL_INVALID);
        if (ql_parcel_tensor(cx, parcel, p->name, &t) == QL_OK)
            put_again(cx, ql_format(cx, "%s/again", fuzz_folder()), t);
        else
            MUST(*ql_error(cx));
        MUST(ql_parcel_codes(cx, parcel, p->name, 1 + i % 9, (int64_t)p->bytes, 1, QL_F32, &t) == QL_OK ||
             *ql_error(cx));
        ql_error_clear(cx);
        free(copy);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static forged e;
    ql_ctx cx;
    ql_scope scope;
    ql_store s;
    ql_st_file f = {0};
    ql_parcel parcel = {0};
    bool found = false;
    const char *path;

    host_begin(&cx, &scope, 0);
    path = make_store(&cx, &s);
    if (ql_st_parse(&cx, "f", data, size, &f) == QL_OK && forge_take(&e, &f)) {
        add_identity(&e);
        MUST(forge_write(&e, path));
        MUST(ql_store_get(&cx, &s, &about, &parcel, &found) == QL_OK);
        if (found)
            read_parts(&cx, &parcel, &e);
    }
    ql_st_close(&f);
    forge_clear(&e);
    ql_scope_close(&cx, &scope);
    host_end(&cx);
    return 0;
}
