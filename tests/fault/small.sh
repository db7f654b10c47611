# What sweep.sh and damages.sh share: a table of two blocks with exports that takes a twentieth of a second, and an undisturbed run of it in
# $dir/plain. SAME compares results, MAKE_MODEL makes the model.
# Thousands of runs, most of whose time a disk would take; containers often have 64 MiB there.
[ ! -w /dev/shm ] || [ "$(df -Pk /dev/shm | awk 'END { print $4 }')" -lt 200000 ] || export TMPDIR="${TMPDIR:-/dev/shm}"
. "$QLOOM_SOURCE/tests/fault/trial.sh"
arguments="--threads 2"

"$MAKE_MODEL" "$dir/model" qwen3 layers=2 hidden=32 intermediate=64 heads=2 kv_heads=2 head_dim=16 || exit 1
cp "$QLOOM_SOURCE"/examples/tiny-qwen3/tokenizer*.json "$dir/model"
cat >"$dir/p.yaml" <<END
qloom: 1
name: sweep
device: cpu
stages:
  base: {use: auto, path: model}
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, samples: 1, seqlen: 32}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, samples: 1, seqlen: 32}
  quant: {use: gptq, model: \$base, calib: \$calib, bits: 4, group_size: 32}
  fix: {use: lordq, model: \$quant, calib: \$calib, rank: 2}
  error: {use: layer_error, model: \$fix}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
  codes: {use: gptq_checkpoint, model: \$quant}
  merged: {use: dequantized, model: \$fix}
matrix:
  fix: [{use: none}, {use: lordq}]
table: {rows: fix.use, columns: quant.bits, value: ppl.perplexity}
END

# differences FOLDER: of its run from the undisturbed one, in files that have no time in them
differences() {
    (cd "$dir" && diff -rq -x log.txt -x journal.jsonl -x lock -x at -x report.html plain/runs/sweep-* "$1"/runs/sweep-* 2>&1)
}

# repaired WHAT: the command without the fault ends as if nothing had been
repaired() {
    go trial || fail "$1: the same command again: status $?: $(tail -n 2 "$dir/trial/err")"
    { differences trial && cmp "$dir/plain/out" "$dir/trial/out" && "$SAME" "$dir/plain/runs/results.db" "$dir/trial/runs/results.db"; } >"$dir/same" 2>&1 ||
        fail "$1: the same command again ends otherwise: $(head -n 3 "$dir/same")"
}

go plain || fail "the undisturbed run: $(cat "$dir/plain/err")"
