# A trainer that asks for what can't be, writes to what it is lent or dies: the run ends with its name, and nothing of it is kept.
. "$QLOOM_SOURCE/tests/cli/common.sh"
ulimit -c 0
"$MAKE_MODEL" "$dir/model" qwen3 layers=2 hidden=32 intermediate=64 heads=2 kv_heads=2 head_dim=16 || exit 1
cp "$QLOOM_SOURCE"/examples/tiny-qwen3/tokenizer*.json "$dir/model"

# learns HOW STATUS WORDS
learns() {
    cat >"$dir/p.yaml" <<END
qloom: 1
name: learns
device: cpu
baseline: false
stages:
  base: {use: auto, path: $dir/model}
  words: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, samples: 4, seqlen: 24}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, samples: 1, seqlen: 24}
  quant: {use: rtn, model: \$base, bits: 4, group_size: 32}
  tune: {use: learns, how: $1, model: \$quant, data: \$words, eval: \$eval}
  ppl: {use: perplexity, model: \$tune, data: \$eval}
END
    run "$2" -q --plugin-path "$DIES" run "$dir/p.yaml" --runs "$dir/runs" -f csv
    [ -z "$3" ] || has err "$3"
}

learns well 0 ""
number=$(cat "$dir/out")
[ "$(grep -c '[0-9]\.[0-9]' "$dir/out")" -gt 0 ] || fail "no number: $number"
for how in updates batch rank alpha clip looks; do
    learns $how 1 "the plugin asks for what can't be: "
    has err "tune"
done
learns no_looks 0 ""
learns rate 1 "the plugin's rate at update 1 is "
learns parameters 1 "the plugin wrote to 'parameters', which was lent for reading only"
learns gradient 1 "lent for reading only"
learns pointer 139 "plugin 'learns' wrote to memory that was lent to it for reading only"
has err " in stage tune"
learns segv 139 "plugin 'learns' crashed (segmentation fault) in stage tune"
learns exit 1 "plugin 'learns' called exit() in stage tune"
learns well 0 ""
[ "$(cat "$dir/out")" = "$number" ] || fail "another number: $(cat "$dir/out")"
done_testing
