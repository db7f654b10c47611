# What a pipeline will take is said before anything runs, and nothing is left behind.
. "$QLOOM_SOURCE/tests/cli/common.sh"

pipeline <<END
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, seqlen: 32, samples: 4}
  quant: {use: gptq, model: \$base, calib: \$calib, bits: 4, group_size: 96}
  ppl: {use: perplexity, model: \$quant, data: \$eval, save_nll: true}
  out: {use: dequantized, model: \$quant}
END

cd "$dir" || exit 1
run 0 -q plan p.yaml
has out "small: 6 stages, 1 cell"
has out "Qwen3ForCausalLM, 5 blocks, hidden 128, vocabulary 512"
has out "self_attn.q_proj         [256, 128]; gptq group_size=96: the last group has 32 columns"
has out "1 calibration streams, 1 units of work"
has out "  quant (gptq group_size=96)"
has out "MiB at most"
has out "disk: at most 4.0 MiB for out"
says err ""
[ "$(ls)" = "err
out
p.yaml" ] || fail "plan leaves files: $(ls)"

# the key that is too small is the one that is named
run 1 plan p.yaml --memory 1MiB
has err '`memory:` of 1.0 MiB is too little: the least is '
run 1 plan p.yaml --host-memory 1MiB
has err '`host_memory:` of 1.0 MiB is too little: the least is '
run 1 plan p.yaml --memory 3MiB --host-memory 2MiB
has err '`host_memory:` of 2.0 MiB is too little: the least is '

run 2 plan p.yaml -s quant.bits=9
has err "quant"
run 2 plan
has err "plan: expected one pipeline file, got 0 operands"
run 0 plan --help
has out "no weight is read"
done_testing
