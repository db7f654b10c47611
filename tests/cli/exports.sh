# Exports from the command line: folders of a table's cells, what each says of itself, the same bytes when finished blocks come from the
# cache, and `inspect` on what was written.
. "$QLOOM_SOURCE/tests/cli/common.sh"

cat >"$dir/p.yaml" <<END
qloom: 1
name: out
device: cpu
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, seqlen: 64, samples: 2}
  quant: {use: gptq, model: \$base, calib: \$calib, bits: 4, group_size: 32}
  fix: {use: lordq, model: \$quant, rank: 4}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, seqlen: 32, samples: 4}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
  ckpt: {use: gptq_checkpoint, model: \$quant}
  lora: {use: peft_adapter, model: \$fix, path: adapters}
  plain: {use: dequantized, model: \$fix, path: $dir/plain}
matrix: {quant.bits: [4, 3]}
table: {rows: quant.bits, value: plain.ppl.perplexity}
END

run 0 run "$dir/p.yaml" --runs "$dir/runs"
has out "| plain.ppl.perplexity |"
run_folder=$(echo "$dir"/runs/out-*)
has err "loads in: vLLM, SGLang, transformers with GPTQModel"
has err "serve: vllm serve $run_folder/ckpt/4"
has err "serve: vllm serve $run_folder/ckpt/3 --enable-lora --max-lora-rank 8 --lora-modules qloom=$run_folder/adapters/3"
for folder in "$run_folder/ckpt/4" "$run_folder/ckpt/3" "$run_folder/adapters/4" "$run_folder/adapters/3" "$dir/plain/4" "$dir/plain/3"; do
    grep -q '"complete": true' "$folder/qloom_export.json" || fail "$folder is not complete"
    ls -A "$folder" | grep -q tmp && fail "$folder has half a file"
done
grep -q '"base_model_name_or_path": ".*/ckpt/3"' "$run_folder/adapters/3/adapter_config.json" || fail "the adapter has another base"

# Groups that don't divide the inputs: a whole checkpoint, which GPTQModel would refuse.
run 0 run "$dir/p.yaml" --runs "$dir/uneven" -s quant.bits=4 -s quant.group_size=24 -s plain.path=uneven
has err "loads in: qloom; not transformers with GPTQModel, nor vLLM or SGLang: groups of 24 don't divide the"

# What will load each export is known before the run, and what its format can't hold is an error of `check`.
run 0 check "$dir/p.yaml" -s quant.bits=4
has err "stage 'ckpt' (gptq_checkpoint): will load in: vLLM, SGLang, transformers with GPTQModel"
has err "stage 'lora' (peft_adapter): will load in: PEFT; vLLM and SGLang where they load its base"
has err "stage 'plain' (dequantized): will load in: everything that loads the original"
run 0 check "$dir/p.yaml" -s quant.bits=4 -s quant.group_size=24
has err "stage 'ckpt' (gptq_checkpoint): will load in: qloom; not transformers with GPTQModel, nor vLLM or SGLang: groups of 24 don't"
run 0 plan "$dir/p.yaml" -s quant.bits=3
has err "stage 'ckpt' (gptq_checkpoint): will load in: transformers with GPTQModel; not current vLLM or SGLang: it takes 4 and 8 bits"
run 2 check "$dir/p.yaml" -s quant.bits=5
has err "stage 'ckpt' (gptq_checkpoint): model.layers.0.self_attn.q_proj: GPTQ checkpoints hold 2, 3, 4 or 8 bits, got 5"
run 0 check "$dir/p.yaml" -s fix.rank=0
has err "stage 'lora' (peft_adapter): will load in: nothing, for no linear of the model has an adapter: export a compensator's model"
run 2 check "$dir/p.yaml" -s lora.base_model=../base
has err "stage 'lora' (peft_adapter): base_model: expected a folder from the root, or the name of a model on a hub, got '../base'"

# An adapter alone names the original model, on which it means something else.
grep -v 'ckpt' "$dir/p.yaml" >"$dir/alone.yaml"
run 0 run "$dir/alone.yaml" --runs "$dir/alone" -s quant.bits=4 -s plain.path=alone
has err "the adapters stand on quantized weights that no stage exports, and base_model_name_or_path names the original model"
run 0 run "$dir/alone.yaml" --runs "$dir/alone" -s quant.bits=4 -s plain.path=alone -s lora.base_model=org/model
grep -q "no stage exports" "$dir/err" && fail "a warning in spite of base_model"

# An adapter that was trained stands on the quantizer's weights, too; a fresh one is seen at `check`.
cat >"$dir/tuned.yaml" <<END
qloom: 1
name: tuned
device: cpu
baseline: false
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, seqlen: 32, samples: 2}
  quant: {use: rtn, model: \$base, bits: 4, group_size: 32}
  tune: {use: lora, model: \$quant, data: \$calib, rank: 2, batch: 2}
  again: {use: lora, model: \$tune, data: \$calib, batch: 2}
  ckpt: {use: gptq_checkpoint, model: \$quant}
  lora: {use: peft_adapter, model: \$again}
END
run 0 check "$dir/tuned.yaml"
has err "stage 'lora' (peft_adapter): will load in: PEFT; vLLM and SGLang where they load its base"
run 0 run "$dir/tuned.yaml" --runs "$dir/runs"
grep -q '"base_model_name_or_path": ".*/tuned-.*/ckpt"' "$dir"/runs/tuned-*/lora/adapter_config.json || fail "the tuned adapter has another base"

# From the cache, over an export that was cut short.
mkdir "$dir/first"
cp -r "$run_folder/ckpt" "$run_folder/adapters" "$dir/plain" "$dir/first"
sed -i 's/"complete": true/"complete": false/' "$dir/plain/4/qloom_export.json"
echo half >"$dir/plain/4/model.safetensors.123.tmp"
echo mine >"$dir/plain/4/notes.txt"
rm -r "$run_folder/ckpt" "$dir/plain/4/model.safetensors"
run 2 -q run "$dir/p.yaml" --runs "$dir/runs"
has err "$dir/plain/4: the folder holds files that are no earlier export's (notes.txt, for one): name another, or empty it"
has "plain/4/notes.txt" mine
has "plain/4/model.safetensors.123.tmp" half
rm "$dir/plain/4/notes.txt"
run 0 -q run "$dir/p.yaml" --runs "$dir/runs"
for folder in ckpt adapters; do
    diff -r "$dir/first/$folder" "$run_folder/$folder" >&2 || fail "$folder differs when blocks come from the cache"
done
diff -r "$dir/first/plain" "$dir/plain" >&2 || fail "plain weights differ when blocks come from the cache"

run 0 inspect "$run_folder/ckpt/4"
has out "architecture  Qwen3ForCausalLM (plugin qwen3)"
run 0 inspect "$dir/plain/4"
has out "self_attn.q_proj.weight              [256, 128]         BF16"

# A label that lies about its zero points, of a checkpoint in place of quantizing.
cp -r "$run_folder/ckpt/4" "$dir/lies"
sed -i 's/"checkpoint_format": "gptq"/"checkpoint_format": "gptq_v2"/' "$dir"/lies/*.json
cat >"$dir/lies.yaml" <<END
qloom: 1
name: lies
device: cpu
baseline: false
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  quant: {use: checkpoint, model: \$base, path: lies}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, seqlen: 32, samples: 4}
  ppl: {use: perplexity, model: \$quant, data: \$eval}
END
run 0 run "$dir/lies.yaml" --runs "$dir/lying"
has out "followed config.json: zero points are of version 1, which is taken, not of version 2 as the label says"
[ "$(grep -c 'zero points are of version' "$dir/err")" -eq 1 ] || fail "the warning is there more than once"

# `~` is the home folder wherever a path is named; and what was followed where files disagree goes with numbers and exports.
mkdir "$dir/home"
cp -r "$QLOOM_SOURCE/examples/tiny-qwen3" "$dir/home/model"
sed -i 's/"add_bos_token": false/"add_bos_token": true/' "$dir/home/model/tokenizer_config.json"
cp "$QLOOM_SOURCE/examples/eval.txt" "$dir/home"
cat >"$dir/home.yaml" <<END
qloom: 1
name: home
device: cpu
cache: ~/cache
stages:
  base: {use: auto, path: ~/model}
  eval: {use: text, path: ~/eval.txt, seqlen: 32, samples: 4}
  quant: {use: rtn, model: \$base, bits: 4, group_size: 32}
  ppl: {use: perplexity, model: \$quant, data: \$eval}
  plain: {use: dequantized, model: \$quant, path: ~/plain}
END
HOME=$dir/home
export HOME
run 0 run "$dir/home.yaml" --runs=~/runs
for file in cache runs/results.db plain/model.safetensors; do
    [ -e "$HOME/$file" ] || fail "there is no ~/$file"
done
followed="followed tokenizer_config.json: 'add_bos_token': it is true, but the post_processor of tokenizer.json adds none"
has out "$followed"
has home/plain/qloom_export.json '"followed": "tokenizer_config.json: '
run 0 table --runs=~/runs "$(basename "$HOME"/runs/home-*)" --output=~/table.md
has home/table.md "$followed"
run 0 cache list --cache=~/cache
run 0 inspect '~/model'
run 0 check "$dir/home.yaml" -s 'base.path=~/model'
run 2 --plugin-path=/:~/plugins plugins
has err "no plugin folder '$HOME/plugins'"

# A mount point can't be swapped with a folder beside it: told before anything runs. Another disk is seen at once, one that is mounted twice
# in the swap.
mkdir -p "$dir/mounted/here" "$dir/mounted/twice" "$dir/other"
if unshare -rm mount -t tmpfs none "$dir/mounted/here" 2>"$dir/err"; then
    for how in "-t tmpfs none here" "--bind ../other twice"; do
        target=$dir/mounted/${how##* }
        (cd "$dir/mounted" && unshare -rm sh -c 'mount $1 && shift && exec "$@"' sh "$how" \
            "$QLOOM" run "$dir/home.yaml" --runs "$dir/runs-mounted" -s plain.path="$target" >"$dir/out" 2>"$dir/err")
        status=$?
        [ $status -eq 1 ] || [ $status -eq 2 ] || fail "an export onto a mount point: status $status: $(cat "$dir/err")"
        has err "$target: it can't be replaced as a whole, being a mount point: name a folder below it"
        [ -z "$(ls -A "$dir/mounted" | grep -v -x -e here -e twice)" ] || fail "an export onto a mount point leaves $(ls -A "$dir/mounted")"
    done
else
    echo "skipped: nothing can be mounted here: $(cat "$dir/err")"
fi
done_testing
