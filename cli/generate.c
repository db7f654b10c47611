/* `qloom generate`: what a model goes on with behind a prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qloom/tasks.h>

#include "model/resident.h"
#include "plugin/select.h"
#include "cli.h"

#define NEW_TOKENS 64
#define CHUNK 4096 /* rows of a step */

typedef struct speaker {
    ql_cli *cli;
    const char *const *texts; /* the prompts */
    const char *device, *max_gen;
    const ql_tokenizer *tokenizer;
    int64_t count, most;
    ql_prompt *prompts;
    size_t shown; /* bytes of the only text that are printed already */
} speaker;

/* The only text is printed as it grows, as far as it is whole characters; of several each when it has ended. */
static ql_status
hear(ql_ctx *cx, void *user, int64_t i, const int32_t *ids, int64_t count, bool *end)
{
    speaker *s = user;
    const ql_ids all = {.count = count, .capacity = count, .ids = (int32_t *)ids};
    const char *text;
    size_t bytes, whole, bad;
    ql_scope scope;
    ql_status st;

    if (s->count > 1 && !*end)
        return QL_OK;
    ql_scope_open(cx, &scope);
    st = ql_tokenizer_decode(cx, s->tokenizer, &all, QL_DECODE_SKIP_SPECIAL, &text, &bytes);
    whole = st == QL_OK ? *end ? bytes : ql_utf8_check(text, bytes, &bad) : 0;
    if (st == QL_OK && s->count > 1)
        printf("%s%s%s\n", s->texts[i], text, i + 1 < s->count ? "\n" : "");
    else if (whole > s->shown)
        s->shown += fwrite(text + s->shown, 1, whole - s->shown, stdout);
    if (s->count == 1 && *end)
        putchar('\n');
    if (st == QL_OK && (fflush(stdout) != 0 || ferror(stdout)))
        st = QL_FAIL(cx, QL_IO, "standard output can't be written");
    ql_scope_close(cx, &scope);
    return st;
}

/* The prompts as tokens, which with what follows them have to find places in the model. */
static ql_status
encode(speaker *s, const ql_model_info *info)
{
    ql_ctx *cx = s->cli->cx;

    s->prompts = ql_alloc(cx, (size_t)s->count, sizeof *s->prompts);
    if (!s->prompts)
        return QL_MEMORY;
    for (int64_t i = 0; i < s->count; i++) {
        ql_ids ids;

        QL_TRY(cx, ql_task_encode_prompt(cx, s->tokenizer, QL_BOS_AUTO, s->texts[i], strlen(s->texts[i]), &ids));
        if (info->max_positions > 0 && ids.count + s->most > info->max_positions)
            return QL_FAIL(cx, QL_INVALID,
                           "--prompt: %lld tokens and %lld new ones are more than the %lld positions of the model",
                           (long long)ids.count, (long long)s->most, (long long)info->max_positions);
        s->prompts[i] = (ql_prompt){.ids = ids.ids, .count = ids.count, .most = s->most};
    }
    return QL_OK;
}

static ql_status
speak(speaker *s, const ql_model_handle *m, ql_resident *r)
{
    ql_ctx *cx = s->cli->cx;
    const size_t room = ql_device_room(cx->device) ? ql_device_room(cx->device) : cx->device->info.memory;
    ql_generation g = {.count = s->count,
                       .pool = s->count,
                       .kv_memory = room > cx->device->used ? (room - cx->device->used) / 2 : 0,
                       .chunk_tokens = CHUNK,
                       .share = !m->info.by_length,
                       .said = hear,
                       .user = s};
    const char *penalties;
    ql_generated took;

    QL_TRY(cx, encode(s, &m->info));
    g.prompts = s->prompts;
    QL_TRY(cx, ql_model_penalties(cx, m, &penalties));
    if (penalties)
        ql_warn(cx, "generation_config.json asks for %s, which is left out: the likeliest token is taken as it is",
                penalties);
    QL_TRY(cx, ql_model_ends_of_text(cx, m, &g.ends, &g.end_count));
    if (s->count == 1)
        fputs(s->texts[0], stdout);
    return ql_generate(cx, r, &g, &took);
}

/* All blocks come to rest on the device. */
static ql_status
rest(ql_ctx *cx, const ql_model_handle *m, ql_resident **out)
{
    QL_TRY(cx, ql_resident_open(cx, m, m->info.layers, out));
    for (int64_t i = 0; i < m->info.layers; i++) {
        ql_block *b;
        ql_status st;

        QL_TRY(cx, ql_check_interrupt(cx));
        QL_TRY(cx, ql_block_open(cx, m, i, &b));
        st = ql_resident_add(cx, *out, b, NULL);
        ql_block_close(b);
        QL_TRY(cx, st);
    }
    return QL_OK;
}

static ql_status
run_model(speaker *s, ql_registry *registry, const char *path)
{
    ql_ctx *cx = s->cli->cx;
    ql_model_handle m = {0};
    ql_resident *r = NULL;
    ql_tokenizer *tk = NULL;
    ql_status st;

    QL_TRY(cx, ql_model_open(cx, registry, NULL, NULL, path, &m));
    st = ql_tokenizer_open(cx, path, &tk);
    s->tokenizer = tk;
    if (st == QL_OK)
        st = ql_device_select(cx, registry,
                              &(ql_device_wish){.word = s->device ? s->device : "auto", .threads = s->cli->threads});
    if (st == QL_OK)
        st = rest(cx, &m, &r);
    if (st == QL_OK)
        st = speak(s, &m, r);
    ql_resident_close(r);
    ql_tokenizer_close(tk);
    ql_model_close(&m);
    return st;
}

static ql_status
run(ql_cli *cli, int argc, char **argv)
{
    const char **texts = NULL;
    speaker s = {.cli = cli, .most = NEW_TOKENS};
    const ql_option options[] = {{.name = "--prompt", .letter = "-p", .list = &texts},
                                 {.name = "--max-gen", .value = &s.max_gen},
                                 {.name = "--device", .value = &s.device},
                                 QL_OPTIONS_END};
    ql_registry *registry;
    ql_scope scope;
    ql_status st;
    char *end;

    QL_TRY(cli->cx, ql_options(cli, options, &argc, argv, 1, 1, "one model folder"));
    if (s.max_gen) {
        s.most = strtoll(s.max_gen, &end, 10);
        if (*end || end == s.max_gen || s.most < 1 || s.most > 1 << 20)
            return QL_FAIL(cli->cx, QL_INVALID, "--max-gen: expected a number from 1 to %d, got '%s'", 1 << 20,
                           s.max_gen);
    }
    s.texts = texts;
    while (texts && texts[s.count])
        s.count++;
    if (s.count == 0)
        return QL_FAIL(cli->cx, QL_INVALID, "--prompt TEXT is needed: what the model goes on with");
    QL_TRY(cli->cx, ql_cli_registry(cli, &registry));
    ql_scope_open(cli->cx, &scope);
    st = run_model(&s, registry, argv[1]);
    ql_scope_close(cli->cx, &scope); /* what is on the device goes before it */
    ql_device_close(cli->cx->device);
    cli->cx->device = NULL;
    return st;
}

const ql_command ql_cmd_generate = {
    .name = "generate",
    .arguments = "MODEL --prompt TEXT",
    .help = "show what a model goes on with behind a prompt",
    .usage = "MODEL is a folder with config.json, tokenizer.json and safetensors, one that an exporter wrote, too. The "
             "model goes "
             "on greedily: the\n"
             "likeliest token, of equal ones the first, until it ends the text. Several prompts run side by side, "
             "which changes "
             "none.\n\n"
             "  -p, --prompt TEXT     what it goes on with (repeatable)\n"
             "      --max-gen N       new tokens at most; default: 64\n"
             "      --device DEVICE   auto, cpu, cuda or cuda:N\n",
    .run = run,
};
