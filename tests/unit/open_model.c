/* Opening a model: which plugin is taken, and what is said about tensors that are missing, misshapen, different or
 * too many. */
#include "core/model/open_model.h"

#include <unistd.h>

#include "make_model.h"

/* --- two model plugins ------------------------------------------------------------------------------------------ */

typedef struct params {
    const char *path;
} params;

static const ql_param rows[] = {QL_MODEL_PATH(params), QL_PARAMS_END};
static const char *const ignored[] = {"self_attn.ignored", NULL};

/* A decoder of the sizes that the config says, with one linear and one norm a block. */
static ql_status
open_any(ql_ctx *cx, const void *self, ql_source *src, ql_model_info *out)
{
    static const ql_small_info smalls[] = {{"input_layernorm.weight", 4}};
    const params *p = self;
    const ql_json *o = ql_source_config(src);
    ql_linear_info *l = ql_alloc(cx, 1, sizeof *l);

    CHECK_STR(p->path, ql_source_folder(src));
    if (!l)
        return QL_MEMORY;
    *l = (ql_linear_info){.name = "mlp.up_proj", .in = 4, .bias = true};
    *out = (ql_model_info){.architecture = "Any",
                           .subsets = 1,
                           .linear_count = 1,
                           .linears = l,
                           .small_count = 1,
                           .smalls = smalls,
                           .block_prefix = "model.layers.%lld.",
                           .embed = "model.embed_tokens.weight",
                           .norm = "model.norm.weight",
                           .head = "lm_head.weight",
                           .ignored = ignored};
    QL_TRY(cx, ql_json_int(cx, o, "num_hidden_layers", 0, &out->layers));
    QL_TRY(cx, ql_json_int(cx, o, "hidden_size", 0, &out->hidden));
    QL_TRY(cx, ql_json_int(cx, o, "vocab_size", 0, &out->vocab));
    QL_TRY(cx, ql_json_int(cx, o, "intermediate_size", 0, &l->out));
    QL_TRY(cx, ql_json_bool(cx, o, "tie_word_embeddings", false, &out->tied));
    out->head = out->tied ? out->embed : out->head;
    out->head_copy = out->tied ? "lm_head.weight" : NULL;
    return QL_OK;
}

static ql_status
no_step(ql_ctx *cx, const void *self, const ql_step *step)
{
    (void)self;
    (void)step;
    return QL_FAIL(cx, QL_BUG, "no forward in this test");
}

static const char *const first_architectures[] = {"FirstForCausalLM", NULL};
static const char *const first_types[] = {"first", NULL};
static const char *const second_architectures[] = {"SecondForCausalLM", "SecondModel", NULL};
static const char *const second_types[] = {"second", NULL};
static const ql_model first_model = {.size = sizeof(ql_model),
                                     .architectures = first_architectures,
                                     .types = first_types,
                                     .open = open_any,
                                     .step = no_step};
static const ql_model second_model = {.size = sizeof(ql_model),
                                      .architectures = second_architectures,
                                      .types = second_types,
                                      .open = open_any,
                                      .step = no_step};

#define PLUGIN(n, m)                                                                                                  \
    {                                                                                                                 \
        .abi_major = QL_ABI_MAJOR, .abi_minor = QL_ABI_MINOR, .size = sizeof(ql_plugin), .kind = QL_MODEL, .name = n, \
        .version = "1", .help = "a test's", .params = rows, .self_size = sizeof(params), .model = &(m)                \
    }

static const ql_plugin first = PLUGIN("first", first_model), second = PLUGIN("second", second_model);

/* --- cases ------------------------------------------------------------------------------------------------------ */

typedef struct bench { /* what every case needs */
    ql_ctx *cx;
    ql_registry *registry;
    const char *folder;
    heard *log;
} bench;

static void
write_model(const bench *b, const char *architecture, const char *type, bool tied)
{
    const model_spec spec = {.architecture = architecture,
                             .type = type,
                             .vocab = 7,
                             .hidden = 4,
                             .intermediate = 3,
                             .layers = 2,
                             .heads = 1,
                             .kv_heads = 1,
                             .head_dim = 4,
                             .mlp_bias = true,
                             .dtype = QL_ST_F32,
                             .tied = tied};

    REQUIRE_OK(b->cx, make_model(b->cx, b->folder, &spec));
}

static void
write_config(const bench *b, const char *text)
{
    CHECK_OK(b->cx, ql_file_write(b->cx, ql_format(b->cx, "%s/config.json", b->folder), text, strlen(text)));
}

static ql_status
try(const bench *b, ql_model_handle *m)
{
    return ql_model_open(b->cx, b->registry, NULL, NULL, b->folder, m);
}

static void
check_choice(const bench *b)
{
    ql_model_handle m;
    const params self = {.path = b->folder};

    write_model(b, "SecondModel", "unheard", false);
    REQUIRE_OK(b->cx, try(b, &m));
    CHECK_STR(m.plugin->name, "second");
    CHECK_INT(m.info.layers, 2);
    CHECK_STR(((const params *)m.self)->path, b->folder);
    CHECK_INT(b->log->count, 1);
    CHECK(strstr(b->log->last,
                 ": 18 tensors that this architecture does not use, the first is model.layers.0.mlp.down_proj.bias"));
    ql_model_close(&m);
    ql_model_close(&m);

    write_model(b, "Unheard", "first", false);
    b->log->count = 0;
    REQUIRE_OK(b->cx, try(b, &m));
    CHECK_STR(m.plugin->name, "first");
    CHECK_INT(b->log->count, 2);
    ql_model_close(&m);

    b->log->count = 0;
    REQUIRE_OK(b->cx,
               ql_model_open(b->cx, b->registry, &second, &self, b->folder, &m)); /* named: taken, with a warning */
    CHECK_STR(m.plugin->name, "second");
    CHECK(m.self == &self);
    CHECK_INT(b->log->count, 2);
    ql_model_close(&m);

    write_model(b, "Unheard", "unheard", false);
    CHECK_ERROR(b->cx, try(b, &m), QL_UNSUPPORTED,
                ": config.json: 'architectures': no plugin for 'Unheard'; known: FirstForCausalLM, SecondForCausalLM, "
                "SecondModel");
    CHECK(!m.source);
    write_config(b, "{\"model_type\": \"unheard\"}");
    CHECK_ERROR(b->cx, try(b, &m), QL_UNSUPPORTED,
                ": config.json: 'model_type': no plugin for 'unheard'; known: First");
    write_config(b, "{}");
    CHECK_ERROR(b->cx, try(b, &m), QL_INVALID,
                ": config.json: neither 'architectures' nor 'model_type' says which model this is");
    write_config(b, "{\"architectures\": \"x\"}");
    CHECK_ERROR(b->cx, try(b, &m), QL_INVALID,
                ": config.json: 'architectures': expected an array of architectures, got \"x\"");
    write_config(b, "{\"architectures\": [1]}");
    CHECK_ERROR(b->cx, try(b, &m), QL_INVALID,
                ": config.json: 'architectures[0]': expected the name of an architecture, got 1");
}

static void
check_sizes(const bench *b)
{
    static const char *const start = "{\"model_type\": \"first\", \"num_hidden_layers\":";
    ql_model_handle m;

    write_model(b, "FirstForCausalLM", "first", false);
    write_config(
        b, ql_format(b->cx, "%s 9000000000000000000, \"hidden_size\": 4, \"vocab_size\": 7, \"intermediate_size\": 3}",
                     start));
    CHECK_ERROR(b->cx, try(b, &m), QL_NOT_FOUND, ": model.layers.2.mlp.up_proj.weight: no such tensor in the files");
    write_config(b, ql_format(b->cx, "%s 2, \"hidden_size\": 4, \"vocab_size\": 8, \"intermediate_size\": 3}", start));
    CHECK_ERROR(b->cx, try(b, &m), QL_INVALID, ": model.embed_tokens.weight: shape [8, 4] expected, file has [7, 4]");
    write_config(b, ql_format(b->cx, "%s 2, \"hidden_size\": 4, \"vocab_size\": 7, \"intermediate_size\": 5}", start));
    CHECK_ERROR(b->cx, try(b, &m), QL_INVALID,
                ": model.layers.0.mlp.up_proj.weight: shape [5, 4] expected, file has [3, 4]");
    write_config(b, ql_format(b->cx, "%s 0, \"hidden_size\": 4, \"vocab_size\": 7, \"intermediate_size\": 5}", start));
    CHECK_ERROR(b->cx, try(b, &m), QL_INVALID,
                ": plugin 'first' sees 0 blocks of 1 subsets, hidden size 4, vocabulary 7");
    write_config(b, ql_format(b->cx, "%s \"2\"}", start));
    CHECK_ERROR(b->cx, try(b, &m), QL_INVALID, ": config.json: 'num_hidden_layers': expected an integer, got \"2\"");
}

/* The file below has what open_any asks for, a head beside a tied embedding, and one tensor that it ignores. */
static void
write_tied(const bench *b, unsigned char last)
{
    ql_st_entry e[] = {{.name = "model.embed_tokens.weight", .ndim = 2, .dims = {7, 4}},
                       {.name = "lm_head.weight", .ndim = 2, .dims = {7, 4}},
                       {.name = "model.norm.weight", .ndim = 1, .dims = {4}},
                       {.name = "model.layers.0.mlp.up_proj.weight", .ndim = 2, .dims = {3, 4}},
                       {.name = "model.layers.0.mlp.up_proj.bias", .ndim = 1, .dims = {3}},
                       {.name = "model.layers.0.input_layernorm.weight", .ndim = 1, .dims = {4}},
                       {.name = "model.layers.0.self_attn.ignored", .ndim = 1, .dims = {1}}};
    static const size_t sizes[] = {56, 56, 8, 24, 6, 8, 2};
    unsigned char data[56] = {1, 2, 3};
    ql_st_writer *w;

    for (size_t i = 0; i < 7; i++)
        e[i].dtype = QL_ST_BF16;
    REQUIRE_OK(b->cx, ql_st_create(b->cx, ql_format(b->cx, "%s/model.safetensors", b->folder),
                                   &(ql_st_plan){.count = 7, .entries = e}, &w));
    for (size_t i = 0; i < 7; i++) {
        data[55] = i == 1 ? last : 0;
        CHECK_OK(b->cx, ql_st_write(b->cx, w, e[i].name, data, sizes[i]));
    }
    CHECK_OK(b->cx, ql_st_commit(b->cx, w));
    write_config(b, "{\"model_type\": \"first\", \"num_hidden_layers\": 1, \"hidden_size\": 4, \"vocab_size\": 7, "
                    "\"intermediate_size\": 3, "
                    "\"tie_word_embeddings\": true}");
}

static void
check_tied(const bench *b)
{
    ql_model_handle m;

    write_tied(b, 0);
    b->log->count = 0;
    REQUIRE_OK(b->cx, try(b, &m));
    CHECK_INT(b->log->count, 0);
    CHECK_INT(ql_source_reads(m.source, "lm_head.weight"), 0);
    ql_model_close(&m);
    write_tied(b, 1);
    REQUIRE_OK(b->cx, try(b, &m));
    CHECK_INT(b->log->count, 1);
    CHECK(strstr(
        b->log->last,
        ": lm_head.weight differs from model.embed_tokens.weight, to which 'tie_word_embeddings' ties it; it is used"));
    CHECK(!m.info.tied);
    CHECK_STR(m.info.head, "lm_head.weight");
    ql_model_close(&m);
}

int
main(void)
{
    char folder[] = "/tmp/qloom-open-XXXXXX";
    heard log = {0};
    const ql_log sink = {.write = hear, .user = &log};
    ql_ctx cx;
    ql_scope scope;
    bench b = {.cx = &cx, .folder = folder, .log = &log};

    if (!mkdtemp(folder))
        SKIP("no temporary folder");
    ql_ctx_init(&cx, &sink);
    ql_scope_open(&cx, &scope);
    REQUIRE_OK(&cx, ql_registry_open(&cx, folder, &b.registry)); /* a folder without plugins comes first */
    REQUIRE_OK(&cx, ql_registry_add(&cx, b.registry, &first));
    REQUIRE_OK(&cx, ql_registry_add(&cx, b.registry, &second));
    log.count = 0;
    check_choice(&b);
    check_sizes(&b);
    check_tied(&b);
    ql_registry_close(b.registry);
    unlink(ql_format(&cx, "%s/model.safetensors", folder));
    unlink(ql_format(&cx, "%s/config.json", folder));
    CHECK_INT(rmdir(folder), 0);
    ql_ctx_fini(&cx);
    return TEST_DONE();
}
