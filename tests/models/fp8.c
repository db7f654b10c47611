/* Checkpoints of 8-bit floats, decoded as this file decodes them in double: blocks, rows and tensors with scales of their own, linears that
 * are left as they were, and what is refused. */
#include "core/tensor/safetensors_write.h"
#include "models/lab.h"
#include "tests/make_model.h"

#define HIDDEN 48
#define BLOCKED "\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", \"weight_block_size\": [%d, %d]"
#define COMPRESSED                                                                                                 \
    "\"quant_method\": \"compressed-tensors\", \"format\": \"float-quantized\", \"config_groups\": {\"group_0\": " \
    "{\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 8, \"type\": \"float\", \"strategy\": \"%s\"}}}"

typedef enum harm { NOTHING, NO_SCALES, FEWER_SCALES, OTHER_FLOATS, A_NAN, A_BAD_SCALE } harm;

typedef struct form {
    const char *quantization; /* members of quantization_config */
    const char *scale;        /* what names of scales end in */
    int64_t rows, cols;       /* that a scale covers; 0: all of them */
    int ndim;                 /* of the scales; < 2: one for each row, or one for all */
    ql_st_dtype dtype;        /* of the scales */
    bool inputs;              /* scales of activations are there, too */
    harm harm;                /* to the first down_proj */
} form;

/* The weights as they should be decoded, in the order of layers and linears. */
static float *expected[14];

/* sign, 4 bits of exponent with bias 7, 3 of fraction; an exponent of 0 is 2^-6 without the leading one. */
static double
decode(unsigned char byte)
{
    const int exponent = byte / 8 % 16;
    const double fraction = byte % 8 / 8.0,
                 size = exponent ? pow(2, exponent - 7) * (1 + fraction) : pow(2, -6) * fraction;

    return byte < 128 ? size : -size;
}

static int64_t
blocks(int64_t size, int64_t block)
{
    return block ? (size + block - 1) / block : 1;
}

static bool
is_left(const char *name) /* a linear that is not converted */
{
    return strcmp(name, "model.layers.1.self_attn.v_proj.weight") == 0;
}

static bool
is_linear(const char *name)
{
    return strstr(name, "proj.weight") && !is_left(name);
}

static bool
is_harmed(const char *name)
{
    return strcmp(name, "model.layers.0.mlp.down_proj.weight") == 0;
}

static int64_t
scale_count(const form *f, const ql_st_tensor *t)
{
    return blocks(t->dims[0], f->rows) * blocks(t->dims[1], f->cols) -
           (f->harm == FEWER_SCALES && is_harmed(t->name) ? 1 : 0);
}

static int
declare(lab *l, const form *f, const ql_st_file *file, ql_st_entry *entries)
{
    int n = 0;

    for (int64_t i = 0; i < file->count; i++) {
        const ql_st_tensor *t = &file->tensors[i];
        const char *stem = ql_format(&l->cx, "%.*s", (int)(strlen(t->name) - strlen("weight")), t->name);
        ql_st_entry scales = {.name = ql_format(&l->cx, "%s%s", stem, f->scale), .dtype = f->dtype, .ndim = f->ndim};

        entries[n] = (ql_st_entry){.name = t->name, .dtype = t->dtype, .ndim = (int)t->ndim};
        memcpy(entries[n].dims, t->dims, (size_t)t->ndim * sizeof *t->dims);
        if (!is_linear(t->name)) {
            n++;
            continue;
        }
        entries[n++].dtype = f->harm == OTHER_FLOATS && is_harmed(t->name) ? QL_ST_F8_E5M2 : QL_ST_F8_E4M3;
        scales.dims[0] = f->ndim < 2 ? scale_count(f, t) : blocks(t->dims[0], f->rows);
        scales.dims[1] = f->ndim < 2 ? 0 : scale_count(f, t) / scales.dims[0];
        if (f->harm != NO_SCALES || !is_harmed(t->name))
            entries[n++] = scales;
        if (f->inputs)
            entries[n++] = (ql_st_entry){ql_format(&l->cx, "%sinput_scale", stem), QL_ST_F32, 1, {1}};
    }
    return n;
}

/* Random codes and scales of a linear, and in `out` what they mean. */
static void
write_linear(lab *l, const form *f, ql_st_writer *w, const ql_st_tensor *t, float *out)
{
    const int64_t rows = t->dims[0], cols = t->dims[1], across = blocks(cols, f->cols), count = scale_count(f, t);
    unsigned char *codes = ql_alloc(&l->cx, (size_t)t->count, 1);
    float *scales = ql_alloc(&l->cx, (size_t)(blocks(rows, f->rows) * across), sizeof *scales);
    uint16_t *halves = ql_alloc(&l->cx, (size_t)count, sizeof *halves);
    const bool harmed = is_harmed(t->name), wide = f->dtype == QL_ST_F32;
    const char *name = ql_format(&l->cx, "%.*s%s", (int)(strlen(t->name) - strlen("weight")), t->name, f->scale);

    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;

        scales[i] = (float)(1e-3 + test_uniform(&l->random));
        memcpy(&bits, &scales[i], sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
        bits = (uint32_t)halves[i] << 16;
        if (!wide)
            memcpy(&scales[i], &bits, sizeof bits);
    }
    for (int64_t i = 0; i < rows * cols; i++) {
        const double scale = scales[(f->rows ? i / cols / f->rows : 0) * across + (f->cols ? i % cols / f->cols : 0)];

        codes[i] = (unsigned char)test_u64(&l->random);
        codes[i] ^= codes[i] % 128 == 127; /* no NaN */
        out[i] = (float)(decode(codes[i]) * scale);
    }
    codes[2 * cols + 1] = harmed && f->harm == A_NAN ? 0xff : codes[2 * cols + 1];
    scales[count - 1] = harmed && f->harm == A_BAD_SCALE ? -1 : scales[count - 1];
    REQUIRE_OK(&l->cx, ql_st_write(&l->cx, w, t->name, codes, (size_t)(rows * cols)));
    if (f->harm != NO_SCALES || !harmed)
        REQUIRE_OK(&l->cx,
                   ql_st_write(&l->cx, w, name, wide ? (void *)scales : halves, (size_t)count * (wide ? 4 : 2)));
}

static void
write_model(lab *l, const form *f)
{
    const model_spec spec = {.architecture = "LlamaForCausalLM",
                             .type = "llama",
                             .vocab = 64,
                             .hidden = HIDDEN,
                             .intermediate = 80,
                             .layers = 2,
                             .heads = 3,
                             .kv_heads = 1,
                             .head_dim = 16,
                             .dtype = QL_ST_F32,
                             .seed = 1,
                             .config = ql_format(&l->cx, "\"quantization_config\": {%s}", f->quantization)};
    const char *path = ql_format(&l->cx, "%s/model.safetensors", l->folder);
    const float one = 1;
    ql_st_entry entries[64];
    ql_st_writer *w;
    ql_st_file file;
    int n;

    REQUIRE_OK(&l->cx, make_model(&l->cx, l->folder, &spec));
    REQUIRE_OK(&l->cx, ql_st_open(&l->cx, path, &file));
    n = declare(l, f, &file, entries);
    REQUIRE_OK(&l->cx, ql_st_create(&l->cx, path, &(ql_st_plan){.count = n, .entries = entries}, &w));
    for (int64_t i = 0; i < file.count; i++)
        if (!is_linear(file.tensors[i].name))
            REQUIRE_OK(&l->cx, ql_st_write(&l->cx, w, file.tensors[i].name, ql_st_data(&file.tensors[i]),
                                           file.tensors[i].bytes));
    for (int layer = 0, k = 0; layer < 2; layer++)
        for (int i = 0; i < 7; i++, k++) {
            static const char *const linears[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                  "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                                  "mlp.down_proj"};
            const ql_st_tensor *t =
                ql_st_find(&file, ql_format(&l->cx, "model.layers.%d.%s.weight", layer, linears[i]));

            expected[k] = ql_alloc(&l->cx, (size_t)t->count, sizeof *expected[k]);
            if (is_left(t->name))
                memcpy(expected[k], ql_st_data(t), t->bytes);
            else
                write_linear(l, f, w, t, expected[k]);
        }
    for (int i = 0; i < n; i++)
        if (ql_ends_with(entries[i].name, "input_scale"))
            REQUIRE_OK(&l->cx, ql_st_write(&l->cx, w, entries[i].name, &one, sizeof one));
    REQUIRE_OK(&l->cx, ql_st_commit(&l->cx, w));
    ql_st_close(&file);
}

/* Every weight is the number that its byte and its scale mean, to the bit, and each tensor leaves the file once. */
static void
check_model(lab *l, const ql_model_handle *m)
{
    for (int64_t layer = 0, k = 0; layer < m->info.layers; layer++) {
        ql_block *b;

        REQUIRE_OK(&l->cx, ql_block_open(&l->cx, m, layer, &b));
        for (int i = 0; i < m->info.linear_count; i++, k++) {
            const ql_tensor *t;
            const float *w;

            REQUIRE_OK(&l->cx, ql_block_weight(&l->cx, b, i, false, &t));
            REQUIRE_OK(&l->cx, ql_map(&l->cx, t, QL_READ, &w));
            CHECK(memcmp(w, expected[k], (size_t)ql_count(t) * sizeof *w) == 0);
            REQUIRE_OK(&l->cx, ql_unmap(&l->cx, t));
            CHECK_INT(ql_source_reads(m->source, ql_format(&l->cx, "%s.weight", ql_block_name(b, i))), 1);
        }
        ql_block_close(b);
    }
}

static void
test_form(lab *l, const form *f)
{
    heard h = {0};
    const ql_log log = {.write = hear, .user = &h};
    ql_model_handle m;
    ql_scope scope;

    ql_scope_open(&l->cx, &scope);
    write_model(l, f);
    l->cx.log = &log;
    REQUIRE_OK(&l->cx, ql_model_open(&l->cx, l->registry, NULL, NULL, l->folder, &m));
    l->cx.log = NULL;
    CHECK_INT(h.count, 1);
    CHECK_STR(h.last, "config.json: weights of F8_E4M3 with scales are decoded as they are loaded");
    check_model(l, &m);
    ql_model_close(&m);
    ql_scope_close(&l->cx, &scope);
}

/* Opening the model, or loading its first block, fails with `words`. */
static void
test_refused(lab *l, const form *f, ql_status expect, const char *words)
{
    ql_model_handle m = {0};
    ql_block *b = NULL;
    ql_scope scope;
    ql_status st;

    ql_scope_open(&l->cx, &scope);
    write_model(l, f);
    st = ql_model_open(&l->cx, l->registry, NULL, NULL, l->folder, &m);
    if (st == QL_OK)
        st = ql_block_open(&l->cx, &m, 0, &b);
    CHECK_ERROR(&l->cx, st, expect, words);
    ql_block_close(b);
    ql_model_close(&m);
    ql_scope_close(&l->cx, &scope);
}

int
main(void)
{
    static const struct {
        harm harm;
        ql_status st;
        const char *words;
    } harms[] = {
        {NO_SCALES, QL_INVALID,
         "model.layers.0.mlp.down_proj: its weight is F8_E4M3, and there are no scales "
         "model.layers.0.mlp.down_proj.weight_scale_inv"},
        {FEWER_SCALES, QL_INVALID,
         "model.layers.0.mlp.down_proj.weight_scale_inv: expected [5, 12] scales, there are 59"},
        {OTHER_FLOATS, QL_UNSUPPORTED,
         "model.layers.0.mlp.down_proj: its weight is F8_E5M2, and of 8-bit floats F8_E4M3 is read"},
        {A_NAN, QL_INVALID, "model.layers.0.mlp.down_proj: its weight is NaN in row 2, column 1"},
        {A_BAD_SCALE, QL_INVALID, "weight_scale_inv: expected scales that are no negative numbers"},
    };
    static const struct {
        const char *config, *words;
    } configs[] = {
        {"\"quant_method\": \"mxfp4\"", "MXFP4 is not read: take the model's 16-bit release"},
        {"\"quant_method\": \"fp8\", \"fmt\": \"e5m2\"", "'quantization_config.fmt': expected \"e4m3\", got \"e5m2\""},
        {"\"quant_method\": \"fp8\", \"weight_block_size\": [128]",
         "expected two sizes of a block, such as [128, 128]"},
        {"\"quant_method\": \"compressed-tensors\"", "expected config_groups with weights"},
        {"\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"g\": {\"weights\": {\"num_bits\": 4, "
         "\"type\": \"int\"}}}",
         "'quantization_config.config_groups.g': expected 8-bit floats, got int of 4 bits"},
        {"\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"g\": {\"weights\": {\"num_bits\": 8, "
         "\"type\": \"float\", "
         "\"strategy\": \"group\"}}}",
         "expected a scale for each tensor, channel or block, got \"group\""},
    };
    lab l;
    form f;

    lab_open(&l);
    f = (form){ql_format(&l.cx, BLOCKED, 128, 128), "weight_scale_inv", 128, 128, 2, QL_ST_F32, false, NOTHING};
    test_form(&l, &f);
    f = (form){ql_format(&l.cx, BLOCKED, 7, 20), "weight_scale_inv", 7, 20, 2, QL_ST_BF16, true, NOTHING};
    test_form(&l, &f);
    f = (form){"\"quant_method\": \"fp8\", \"weight_block_size\": null",
               "weight_scale_inv",
               0,
               0,
               0,
               QL_ST_F32,
               true,
               NOTHING};
    test_form(&l, &f);
    f = (form){ql_format(&l.cx, COMPRESSED, "tensor"), "weight_scale", 0, 0, 1, QL_ST_BF16, true, NOTHING};
    test_form(&l, &f);
    f = (form){ql_format(&l.cx, COMPRESSED, "channel"), "weight_scale", 1, 0, 2, QL_ST_BF16, false, NOTHING};
    test_form(&l, &f);
    f = (form){ql_format(&l.cx, COMPRESSED, "channel"), "weight_scale", 1, 0, 1, QL_ST_F32, false, NOTHING};
    test_form(&l, &f);
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        f = (form){ql_format(&l.cx, BLOCKED, 10, 7),      "weight_scale_inv", 10,    7,
                   harms[i].harm == FEWER_SCALES ? 1 : 2, QL_ST_F32,          false, harms[i].harm};
        test_refused(&l, &f, harms[i].st, harms[i].words);
    }
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        f = (form){configs[i].config, "weight_scale", 0, 0, 1, QL_ST_F32, false, NOTHING};
        test_refused(&l, &f,
                     strstr(configs[i].words, "expected two") || strstr(configs[i].words, "config_groups with")
                         ? QL_INVALID
                         : QL_UNSUPPORTED,
                     configs[i].words);
    }
    return lab_close(&l);
}
