/* Rotary embeddings: from what config.json says to inverse frequencies. */
#ifndef QLOOM_MODELS_ROPE_H
#define QLOOM_MODELS_ROPE_H

#include <qloom/model.h>

typedef struct rope {
    int64_t head_dim;
    const float *inv_freq; /* [head_dim / 2] */
    float scale;           /* attention factor: cos and sin are multiplied by it */
    double theta;
    double dynamic; /* factor of the dynamic type, whose frequencies follow the sequence length; else 0 */
    int64_t limit;  /* of the dynamic type: length up to which nothing is scaled */
} rope;

/* Reads rope_theta, rope_scaling and rope_parameters for the layers of one type ("full_attention"). INVALID and
 * UNSUPPORTED name the key. */
ql_status rope_open(ql_ctx *cx, const ql_json *config, const char *layer_type, int64_t head_dim, int64_t max_positions,
                    rope *out);

/* What ql_rope needs for these sequences. */
ql_status rope_for(ql_ctx *cx, const rope *r, const ql_seqs *seqs, ql_rope_spec *out);
/* The same for its vjp, which turns back. */
ql_status rope_back_for(ql_ctx *cx, const rope *r, const ql_seqs *seqs, ql_rope_spec *out);

#endif
