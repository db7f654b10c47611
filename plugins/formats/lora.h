/* PEFT LoRA adapters, read as PEFT 0.21 reads them (docs/compatibility.md). */
#ifndef FORMATS_LORA_H
#define FORMATS_LORA_H

#include <qloom/model.h>

typedef struct lora {
    const ql_source *source;
    const ql_json *config;
} lora;

/* Opens the folder and checks adapter_config.json: a LoRA whose forward is that of plain LoRA. */
ql_status lora_open(ql_ctx *cx, const char *folder, lora *out);
/* Warns of tensors that no linear wears, because the configuration leaves their module out or the model has none of that name, and of
 * modules that should wear some and find none. UNSUPPORTED for factors of the embedding or the head; INVALID when nothing is worn. */
ql_status lora_check_all(ql_ctx *cx, const lora *l, const ql_model_info *info);
/* The factors of a linear, checked; with at->load read, B scaled as PEFT scales it. `out` stays as it is where there are none. */
ql_status lora_read(ql_ctx *cx, const lora *l, const ql_linear_at *at, ql_stored_linear *out);

/* --- the configuration: lora_config.c */

/* INVALID and UNSUPPORTED name the key, the value and what is expected. */
ql_status lora_config_check(ql_ctx *cx, const ql_json *config);
/* Does the configuration put an adapter on `module` ("model.layers.3.mlp.down_proj")? */
ql_status lora_targets(ql_ctx *cx, const ql_json *config, const char *module, bool *out);
/* Rank and scale of a module: alpha over rank, or over its root; each may have a pattern. */
ql_status lora_scale(ql_ctx *cx, const ql_json *config, const char *module, int64_t *rank, double *scale);

#endif
