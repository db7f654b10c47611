/* The pre-norm decoder, h += Attn(norm1(h)), h += MLP(norm2(h)): reads the config, lists the linears, and computes what
 * lies between them. */
#include "decoder.h"

#include <math.h>
#include <string.h>

#include "rope.h"
#include "stored.h"

#define MAX_SIZE ((int64_t)1 << 30)
#define MAX_COUNT ((int64_t)1 << 16) /* layers, elements of a head: what is allocated before any tensor is looked at */

enum { FULL, SLIDING };
enum { NORM_1, NORM_2, NORM_Q, NORM_K };
enum { KEPT_LSE };

static const char *const layer_types[] = {"full_attention", "sliding_attention"};

/* Old Llama files carry the default frequencies along. */
static const char *const ignored[] = {"self_attn.rotary_emb.inv_freq", NULL};

typedef struct decoder {
    int64_t hidden, intermediate;
    int64_t heads, kv_heads, head_dim, window;
    bool qkv_bias, o_bias, mlp_bias, qk_norm;
    const unsigned char *type; /* [layers]: FULL or SLIDING */
    rope rope[2];              /* by layer type; empty for a type that no layer has */
    stored stored;
} decoder;

static ql_status
read_size(ql_ctx *cx, const ql_json *o, const char *key, int64_t def, int64_t most, int64_t *out)
{
    QL_TRY(cx, ql_json_int(cx, o, key, def, out));
    if (*out < 1 || *out > most)
        return QL_FAIL(cx, QL_INVALID, "config.json: '%s': expected 1 to %lld, got %lld", key, (long long)most,
                       (long long)*out);
    return QL_OK;
}

static ql_status
read_heads(ql_ctx *cx, const decoder_arch *arch, const ql_json *o, decoder *m)
{
    /* An explicit null means "as many as heads" even where absence means a number. */
    const bool all = arch->kv_heads == 0 || ql_json_is_null(o, "num_key_value_heads");
    const bool derived = arch->head_dim == 0 && !ql_json_member(o, "head_dim");

    QL_TRY(cx, read_size(cx, o, "num_attention_heads", 32, MAX_SIZE, &m->heads));
    QL_TRY(cx, read_size(cx, o, "num_key_value_heads", all ? m->heads : arch->kv_heads, MAX_SIZE, &m->kv_heads));
    if (m->heads % m->kv_heads != 0)
        return QL_FAIL(cx, QL_INVALID,
                       "config.json: 'num_key_value_heads': expected a divisor of the %lld attention heads, got %lld",
                       (long long)m->heads, (long long)m->kv_heads);
    if (derived && m->hidden % m->heads != 0)
        return QL_FAIL(cx, QL_INVALID,
                       "config.json: 'hidden_size': expected a multiple of the %lld attention heads where head_dim is "
                       "not given, got %lld",
                       (long long)m->heads, (long long)m->hidden);
    QL_TRY(cx, read_size(cx, o, "head_dim", derived ? m->hidden / m->heads : arch->head_dim, MAX_COUNT, &m->head_dim));
    if (m->head_dim % 2 != 0)
        return QL_FAIL(cx, QL_INVALID,
                       "config.json: 'head_dim': expected an even number, because RoPE turns pairs, got %lld%s",
                       (long long)m->head_dim, derived ? " (hidden_size / num_attention_heads)" : "");
    return QL_OK;
}

/* `layer_types` says which layers slide; without it, max_window_layers does where use_sliding_window is on. */
static ql_status
read_listed_types(ql_ctx *cx, const ql_json *list, int64_t layers, unsigned char *type)
{
    if (!ql_json_is_array(list) || ql_json_length(list) != layers)
        return QL_FAIL(cx, QL_INVALID, "config.json: 'layer_types': expected a list of %lld, one a layer, got %lld",
                       (long long)layers, (long long)ql_json_length(list));
    for (int64_t i = 0; i < layers; i++) {
        const char *word = ql_json_string(ql_json_item(list, i));

        if (!word || (strcmp(word, layer_types[FULL]) != 0 && strcmp(word, layer_types[SLIDING]) != 0))
            return QL_FAIL(
                cx, QL_UNSUPPORTED,
                "config.json: 'layer_types[%lld]': expected \"full_attention\" or \"sliding_attention\", got %s%s%s",
                (long long)i, word ? "\"" : "", word ? word : "no string", word ? "\"" : "");
        type[i] = strcmp(word, layer_types[SLIDING]) == 0 ? SLIDING : FULL;
    }
    return QL_OK;
}

/* Qwen's keys say nothing where every layer has the window. */
static ql_status
follow_window(ql_ctx *cx, const decoder_arch *arch, const ql_json *o)
{
    static const char *const keys[] = {"layer_types", "use_sliding_window", "max_window_layers"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (ql_json_member(o, keys[i]))
            QL_TRY(cx, ql_follow(cx, "config.json",
                                 "'%s' has no effect on %s, as in transformers: 'sliding_window' is followed", keys[i],
                                 arch->name));
    return QL_OK;
}

static ql_status
read_windows(ql_ctx *cx, const decoder_arch *arch, const ql_json *o, int64_t layers, decoder *m)
{
    const ql_json *list = arch->window && !arch->window_everywhere ? ql_json_member(o, "layer_types") : NULL;
    const bool none = ql_json_is_null(o, "sliding_window");
    unsigned char *type = ql_alloc(cx, (size_t)layers, 1);
    int64_t from = layers;
    bool use = false;

    if (!type)
        return QL_MEMORY;
    m->type = type;
    if (list) {
        QL_TRY(cx, read_listed_types(cx, list, layers, type));
    } else if (arch->window) {
        if (arch->window_everywhere) {
            use = true;
            from = 0;
            QL_TRY(cx, follow_window(cx, arch, o));
        } else {
            QL_TRY(cx, ql_json_bool(cx, o, "use_sliding_window", false, &use));
            QL_TRY(cx, ql_json_int(cx, o, "max_window_layers", 28, &from));
        }
        for (int64_t i = 0; i < layers; i++)
            type[i] = use && !none && i >= from ? SLIDING : FULL;
    }
    if (!memchr(type, SLIDING, (size_t)layers))
        return QL_OK;
    if (none)
        return QL_FAIL(
            cx, QL_INVALID,
            "config.json: 'sliding_window': expected 1 or more, because layer_types has sliding_attention, got null");
    return read_size(cx, o, "sliding_window", 4096, MAX_SIZE, &m->window);
}

static ql_status
read_rope(ql_ctx *cx, const ql_json *o, int64_t layers, int64_t max_positions, decoder *m)
{
    for (int t = FULL; t <= SLIDING; t++)
        if (memchr(m->type, t, (size_t)layers))
            QL_TRY(cx, rope_open(cx, o, layer_types[t], m->head_dim, max_positions, &m->rope[t]));
    return QL_OK;
}

static ql_status
read_activation(ql_ctx *cx, const ql_json *o)
{
    const char *act;

    QL_TRY(cx, ql_json_text(cx, o, "hidden_act", "silu", &act));
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return QL_FAIL(cx, QL_UNSUPPORTED, "config.json: 'hidden_act': expected \"silu\", got \"%s\"", act);
    return QL_OK;
}

static ql_status
read_ends(ql_ctx *cx, const decoder_arch *arch, ql_source *src, ql_model_info *out)
{
    const ql_json *o = ql_source_config(src);
    const char *lm_head = "lm_head.weight";

    out->embed = "model.embed_tokens.weight";
    out->norm = "model.norm.weight";
    QL_TRY(cx, ql_source_anchor(cx, src, out->embed, "model."));
    QL_TRY(cx, ql_json_bool(cx, o, "tie_word_embeddings", false, &out->tied));
    QL_TRY(cx, ql_json_int(cx, o, "bos_token_id", arch->bos, &out->bos));
    QL_TRY(cx, ql_json_real(cx, o, "rms_norm_eps", 1e-6, &out->norm_eps));
    if (!(out->norm_eps >= 0) || !(out->norm_eps <= 1))
        return QL_FAIL(cx, QL_INVALID, "config.json: 'rms_norm_eps': expected 0 to 1, got %g", out->norm_eps);
    out->head = out->tied ? out->embed : lm_head;
    out->head_copy = out->tied ? lm_head : NULL;
    if (ql_source_has(src, "lm_head.qweight"))
        return QL_FAIL(cx, QL_UNSUPPORTED, "lm_head is quantized (lm_head.qweight): a quantized head can't be read");
    if (!ql_source_has(src, out->head))
        return QL_FAIL(cx, QL_INVALID, "config.json: 'tie_word_embeddings' is false: expected a tensor %s, got none",
                       lm_head);
    return QL_OK;
}

static ql_status
list_tensors(ql_ctx *cx, const decoder *m, ql_model_info *out)
{
    const int64_t d = m->hidden, f = m->intermediate, h = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    const ql_linear_info linears[] = {
        {"self_attn.q_proj", h, d, 0, m->qkv_bias},  {"self_attn.k_proj", kv, d, 0, m->qkv_bias},
        {"self_attn.v_proj", kv, d, 0, m->qkv_bias}, {"self_attn.o_proj", d, h, 1, m->o_bias},
        {"mlp.gate_proj", f, d, 2, m->mlp_bias},     {"mlp.up_proj", f, d, 2, m->mlp_bias},
        {"mlp.down_proj", d, f, 3, m->mlp_bias},
    };
    const ql_small_info smalls[] = {
        [NORM_1] = {"input_layernorm.weight", d},
        [NORM_2] = {"post_attention_layernorm.weight", d},
        [NORM_Q] = {"self_attn.q_norm.weight", m->head_dim},
        [NORM_K] = {"self_attn.k_norm.weight", m->head_dim},
    };
    ql_linear_info *l = ql_alloc(cx, 1, sizeof linears);
    ql_small_info *s = ql_alloc(cx, 1, sizeof smalls);

    if (!l || !s)
        return QL_MEMORY;
    out->linears = memcpy(l, linears, sizeof linears);
    out->linear_count = (int)(sizeof linears / sizeof *linears);
    out->subsets = 4;
    out->smalls = memcpy(s, smalls, sizeof smalls);
    out->small_count = m->qk_norm ? 4 : 2;
    out->ignored = ignored;
    out->block_prefix = "model.layers.%lld.";
    return QL_OK;
}

static ql_status
open_model(ql_ctx *cx, const void *self, ql_source *src, ql_model_info *out)
{
    const decoder_params *params = self;
    const decoder_arch *arch = &decoder_this;
    const ql_json *o = ql_source_config(src);
    decoder *m = ql_alloc(cx, 1, sizeof *m);
    bool bias = false;

    if (!m)
        return QL_MEMORY;
    *out = (ql_model_info){.architecture = arch->name, .state = m};
    QL_TRY(cx, read_activation(cx, o));
    QL_TRY(cx, read_size(cx, o, "vocab_size", arch->vocab, MAX_SIZE, &out->vocab));
    QL_TRY(cx, read_size(cx, o, "hidden_size", 4096, MAX_SIZE, &m->hidden));
    QL_TRY(cx, read_size(cx, o, "intermediate_size", arch->intermediate, MAX_SIZE, &m->intermediate));
    QL_TRY(cx, read_size(cx, o, "num_hidden_layers", 32, MAX_COUNT, &out->layers));
    QL_TRY(cx, read_size(cx, o, "max_position_embeddings", arch->max_positions, MAX_SIZE, &out->max_positions));
    QL_TRY(cx, read_heads(cx, arch, o, m));
    if (arch->attention_bias)
        QL_TRY(cx, ql_json_bool(cx, o, "attention_bias", false, &bias));
    m->qkv_bias = arch->qkv_bias || bias;
    m->o_bias = bias;
    if (arch->mlp_bias)
        QL_TRY(cx, ql_json_bool(cx, o, "mlp_bias", false, &m->mlp_bias));
    m->qk_norm = arch->qk_norm;
    out->hidden = m->hidden;
    QL_TRY(cx, read_windows(cx, arch, o, out->layers, m));
    QL_TRY(cx, read_rope(cx, o, out->layers, out->max_positions, m));
    out->by_length = m->rope[FULL].dynamic > 0 || m->rope[SLIDING].dynamic > 0;
    QL_TRY(cx, read_ends(cx, arch, src, out));
    QL_TRY(cx, list_tensors(cx, m, out));
    out->key_width = m->kv_heads * m->head_dim;
    return stored_open(cx, src, params->adapter, out, &m->stored);
}

static ql_status
linear(ql_ctx *cx, const void *self, const ql_linear_at *at, ql_stored_linear *out)
{
    (void)self;
    return stored_linear(cx, &((const decoder *)at->info->state)->stored, at, out);
}

/* A head's RMSNorm where `norm` is given, then RoPE: of y[T, heads * head_dim] into a new tensor. */
static ql_status
turn_heads(ql_ctx *cx, const ql_step *st, const ql_tensor *y, const ql_tensor *norm, ql_tensor **out)
{
    const decoder *m = st->info->state;
    const int64_t tokens = ql_dim(y, 0), width = ql_dim(y, 1);
    ql_rope_spec spec;

    if (norm) {
        ql_tensor *heads, *normed;

        QL_TRY(cx, ql_reshape(cx, y, 2, (const int64_t[]){tokens * (width / m->head_dim), m->head_dim}, &heads));
        QL_TRY(cx, ql_rmsnorm(cx, heads, norm, st->info->norm_eps, &normed));
        QL_TRY(cx, ql_reshape(cx, normed, 2, (const int64_t[]){tokens, width}, out));
    } else {
        QL_TRY(cx, ql_convert(cx, y, ql_dtype_of(y), out));
    }
    QL_TRY(cx, rope_for(cx, &m->rope[m->type[st->layer]], st->seqs, &spec));
    return ql_rope(cx, st->seqs, &spec, *out);
}

static ql_attention_spec
attention_of(const ql_step *st)
{
    const decoder *m = st->info->state;

    return (ql_attention_spec){.heads = m->heads,
                               .kv_heads = m->kv_heads,
                               .head_dim = m->head_dim,
                               .window = m->type[st->layer] == SLIDING ? m->window : 0};
}

/* The norm of the heads of q (0) or k (1); NULL: none. */
static const ql_tensor *
head_norm(const ql_step *st, int which)
{
    const decoder *m = st->info->state;

    return m->qk_norm ? st->smalls[which == 0 ? NORM_Q : NORM_K] : NULL;
}

static ql_status
attend(ql_ctx *cx, const ql_step *st)
{
    const ql_attention_spec spec = attention_of(st);
    ql_tensor *q, *k;

    QL_TRY(cx, turn_heads(cx, st, st->y[0], head_norm(st, 0), &q));
    QL_TRY(cx, turn_heads(cx, st, st->y[1], head_norm(st, 1), &k));
    if (st->kept)
        return ql_attention_lse(cx, st->seqs, &spec, (const ql_tensor *const[]){q, k, st->y[2]}, &st->kept[KEPT_LSE],
                                st->x);
    return ql_attention(cx, st->seqs, &spec, (const ql_tensor *const[]){q, k, st->y[2]}, st->x);
}

static ql_status
step_block(ql_ctx *cx, const void *self, const ql_step *st)
{
    const double eps = st->info->norm_eps;

    (void)self;
    switch (st->k) {
    case 0:
        return ql_rmsnorm(cx, st->h, st->smalls[NORM_1], eps, st->x);
    case 1:
        return attend(cx, st);
    case 2:
        return ql_add_rmsnorm(cx, st->h, st->y[0], st->smalls[NORM_2], eps, st->h_next, st->x);
    case 3:
        return ql_swiglu(cx, st->y[0], st->y[1], st->x);
    case 4:
        return ql_add(cx, st->h, st->y[0], st->h_next);
    default:
        return QL_FAIL(cx, QL_BUG, "a block has steps 0 to 4, not %d", st->k);
    }
}

/* --- gradients --- */

/* The vjp of turn_heads: d, the gradient of what it made of y, which is turned back in place, becomes that of y. */
static ql_status
turn_heads_back(ql_ctx *cx, const ql_step *st, const ql_tensor *y, const ql_tensor *norm, ql_tensor *d, ql_tensor **dy)
{
    const decoder *m = st->info->state;
    const int64_t tokens = ql_dim(y, 0), width = ql_dim(y, 1), rows[] = {tokens * (width / m->head_dim), m->head_dim};
    ql_tensor *heads, *d_heads, *dy_heads;
    ql_rope_spec spec;

    QL_TRY(cx, rope_back_for(cx, &m->rope[m->type[st->layer]], st->seqs, &spec));
    QL_TRY(cx, ql_rope(cx, st->seqs, &spec, d));
    *dy = d;
    if (!norm)
        return QL_OK;
    QL_TRY(cx, ql_new(cx, ql_dtype_of(y), tokens, width, dy));
    QL_TRY(cx, ql_reshape(cx, y, 2, rows, &heads));
    QL_TRY(cx, ql_reshape(cx, d, 2, rows, &d_heads));
    QL_TRY(cx, ql_reshape(cx, *dy, 2, rows, &dy_heads));
    return ql_rmsnorm_back(cx, heads, norm, st->info->norm_eps, d_heads, 0, dy_heads);
}

static ql_status
attend_back(ql_ctx *cx, const ql_step *st, const ql_grad *g)
{
    const ql_attention_spec spec = attention_of(st);
    ql_attended at = {.v = st->y[2], .y = *st->x, .lse = st->kept[KEPT_LSE]};
    const ql_tensor *dy = g->dx;
    ql_tensor *q, *k, *rounded, *d[3];

    QL_TRY(cx, turn_heads(cx, st, st->y[0], head_norm(st, 0), &q));
    QL_TRY(cx, turn_heads(cx, st, st->y[1], head_norm(st, 1), &k));
    at.q = q;
    at.k = k;
    if (ql_dtype_of(dy) != ql_dtype_of(q)) {
        QL_TRY(cx, ql_convert(cx, dy, ql_dtype_of(q), &rounded));
        dy = rounded;
    }
    QL_TRY(cx, ql_attention_back(cx, st->seqs, &spec, &at, dy, d));
    for (int i = 0; i < 2; i++)
        QL_TRY(cx, turn_heads_back(cx, st, st->y[i], head_norm(st, i), d[i], &g->dy[i]));
    g->dy[2] = d[2];
    return QL_OK;
}

static ql_status
step_back(ql_ctx *cx, const void *self, const ql_step *st, const ql_grad *g)
{
    const double eps = st->info->norm_eps;

    (void)self;
    switch (st->k) {
    case 0:
        return ql_rmsnorm_back(cx, st->h, st->smalls[NORM_1], eps, g->dx, 1, g->dh);
    case 1:
        return attend_back(cx, st, g);
    case 2:
        QL_TRY(cx, ql_rmsnorm_back(cx, *st->h_next, st->smalls[NORM_2], eps, g->dx, 1, g->dh));
        return ql_convert(cx, g->dh, ql_dtype_of(st->y[0]), &g->dy[0]);
    case 3:
        return ql_swiglu_back(cx, st->y[0], st->y[1], g->dx, &g->dy[0], &g->dy[1]);
    case 4:
        return ql_convert(cx, g->dh, ql_dtype_of(st->y[0]), &g->dy[0]);
    default:
        return QL_FAIL(cx, QL_BUG, "a block has steps 0 to 4, not %d", st->k);
    }
}

const ql_param decoder_rows[] = {
    QL_MODEL_PATH(decoder_params),
    QL_PATH(decoder_params, adapter, false, "folder of a PEFT LoRA adapter that the model wears; default: none"),
    QL_PARAMS_END,
};

const ql_model decoder_model = {
    .size = sizeof(ql_model),
    .architectures = decoder_architectures,
    .types = decoder_types,
    .open = open_model,
    .step = step_block,
    .linear = linear,
    .step_back = step_back,
};
