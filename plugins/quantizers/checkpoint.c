/* Codes of somebody's checkpoint of the model in place of quantizing it: so that a compensator can repair them. */
#include <qloom/quantizer.h>

#include "../formats/packed.h"

typedef struct checkpoint {
    const char *path;
} checkpoint;

static const ql_param params[] = {
    QL_PATH(checkpoint, path, true, "folder of a checkpoint of the same model: GPTQ, or compressed-tensors"),
    QL_PARAMS_END,
};

static ql_status
quantize(ql_ctx *cx, const void *self, const ql_tensor *w, const ql_stats *stats, ql_qlinear *out)
{
    const checkpoint *p = self;
    ql_linear_at at = {.name = ql_linear_name(cx), .out = ql_dim(w, 0), .in = ql_dim(w, 1), .load = true};
    packed_format f;

    (void)stats;
    QL_TRY(cx, ql_source_part(cx, p->path, "model", &at.source));
    QL_TRY(cx, packed_open(cx, at.source, &f));
    if (!f.layout)
        return QL_FAIL(cx, QL_INVALID, "%s: neither quantization_config in config.json nor quantize_config.json",
                       p->path);
    if (!packed_has(cx, &f, at.name))
        return QL_FAIL(
            cx, QL_INVALID,
            "%s: the checkpoint has no codes of this linear: skip it with `overrides: [{match: \"%s\", skip: "
            "true}]`",
            p->path, at.name);
    return packed_read(cx, &f, &at, out);
}

QL_PLUGIN(.kind = QL_QUANTIZER, .name = "checkpoint", .version = "1.0",
          .help = "the codes of a checkpoint of the model, for a compensator to repair", .params = params,
          .self_size = sizeof(checkpoint), .quantizer = QL_TABLE(ql_quantizer, .quantize = quantize), );
