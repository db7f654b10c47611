/* PEFT LoRA adapters, read. */
#ifndef FORMATS_LORA_H
#define FORMATS_LORA_H

#include <qloom/model.h>

typedef struct lora {
    const ql_source *source;
    const ql_json *config;
} lora;

/* Opens the folder and checks adapter_config.json: a LoRA without biases, decomposed weights or modules of its own. */
ql_status lora_open(ql_ctx *cx, const char *folder, lora *out);
/* Does every tensor belong to a linear of the model? Others would be left out in silence. */
ql_status lora_check_all(ql_ctx *cx, const lora *l, const ql_model_info *info);
/* The factors of a linear, checked; with at->load read, B scaled as PEFT scales it. `out` stays as it is where there are none. */
ql_status lora_read(ql_ctx *cx, const lora *l, const ql_linear_at *at, ql_stored_linear *out);

#endif
