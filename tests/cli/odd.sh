# A FIFO or a folder in the place of any file that a run reads is refused by name, never waited for.
. "$QLOOM_SOURCE/tests/cli/common.sh"

cp -r "$QLOOM_SOURCE/examples/tiny-qwen3" "$dir/model"
cp "$QLOOM_SOURCE/examples/eval.txt" "$dir/eval.txt"
echo '{}' >"$dir/model/special_tokens_map.json"
cat >"$dir/p.yaml" <<END
qloom: 1
name: odd
device: cpu
baseline: false
stages:
  base: {use: auto, path: model}
  eval: {use: text, path: eval.txt, seqlen: 32, samples: 2}
  quant: {use: rtn, model: \$base, bits: 4, group_size: 32}
  fix: {use: svd, model: \$quant, rank: 2}
  ckpt: {use: gptq_checkpoint, model: \$quant, path: $dir/ckpt}
  lora: {use: peft_adapter, model: \$fix, path: $dir/lora}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
END
run 0 -q run "$dir/p.yaml" --runs "$dir/runs"
cat >"$dir/back.yaml" <<END
qloom: 1
name: back
device: cpu
baseline: false
stages:
  base: {use: auto, path: ckpt, adapter: lora}
  plain: {use: auto, path: model}
  codes: {use: checkpoint, model: \$plain, path: ckpt}
  eval: {use: text, path: eval.txt, seqlen: 32, samples: 2}
  ppl: {use: perplexity, model: \$base, data: \$eval}
  other: {use: perplexity, model: \$codes, data: \$eval}
END
run 0 -q run "$dir/back.yaml" --runs "$dir/runs"

for file in eval.txt model/config.json model/tokenizer.json model/tokenizer_config.json model/special_tokens_map.json \
    model/model.safetensors ckpt/config.json ckpt/quantize_config.json ckpt/model.safetensors lora/adapter_config.json \
    lora/adapter_model.safetensors; do
    mv "$dir/$file" "$dir/kept"
    for make in mkfifo mkdir; do
        $make "$dir/$file"
        timeout -k 5 300 "$QLOOM" -q run "$dir/back.yaml" --runs "$dir/runs" >"$dir/out" 2>"$dir/err" </dev/null
        got=$?
        [ "$got" -eq 1 ] || [ "$got" -eq 2 ] || fail "$make $file: status $got: $(cat "$dir/err")"
        has err "${file##*/}: "
        rm -r "${dir:?}/$file"
    done
    mv "$dir/kept" "$dir/$file"
done
run 0 -q run "$dir/back.yaml" --runs "$dir/runs"
done_testing
