/* Real models and real text for tests of the cuda backend: the project's own example, and the fixtures where they are. */
#ifndef QLOOM_TEST_CUDA_MODELS_H
#define QLOOM_TEST_CUDA_MODELS_H

#include <unistd.h>

#include <qloom/tokenizer.h>

#include "core/base/file.h"
#include "core/model/block.h"
#include "device.h"

/* The folder of an architecture's model; NULL where the fixtures are absent. Its name is as long as the context's scope. */
static inline const char *
model_folder(ql_ctx *cx, const char *name)
{
    const char *source = getenv("QLOOM_SOURCE"), *fixtures = getenv("QLOOM_FIXTURES");
    const char *folder = strcmp(name, "tiny-qwen3") == 0
                             ? ql_format(cx, "%s/examples/tiny-qwen3", source ? source : ".")
                             : ql_format(cx, "%s/models/%s", fixtures ? fixtures : "", name);

    if (access(folder, R_OK) == 0)
        return folder;
    printf("no model %s\n", folder);
    return NULL;
}

/* Tokens of the example text `file` for the model in `folder`, at least `count`. */
static inline const int32_t *
model_text(ql_ctx *cx, const char *folder, const char *file, int64_t count)
{
    const char *source = getenv("QLOOM_SOURCE"), *text;
    ql_ids ids = {0};
    ql_tokenizer *tk;
    size_t bytes;

    REQUIRE_OK(cx, ql_tokenizer_open(cx, folder, &tk));
    REQUIRE_OK(cx, ql_file_read(cx, ql_format(cx, "%s/examples/%s", source ? source : ".", file), QL_FILE_MOST, &text,
                                &bytes));
    REQUIRE_OK(cx, ql_tokenizer_encode(cx, tk, text, bytes, QL_BOS_NO, &ids));
    ql_tokenizer_close(tk);
    CHECK(ids.count >= count);
    return ids.count >= count ? ids.ids : (exit(1), NULL);
}

/* A device of the backend under test beside that of `cx`. */
static inline ql_device *
second_device(ql_ctx *cx, ql_dtype compute)
{
    ql_device *d;

    REQUIRE_OK(cx, ql_device_open(cx, test_backend(), &(ql_device_options){.threads = 1, .compute = compute}, 0, &d));
    return d;
}

#endif
