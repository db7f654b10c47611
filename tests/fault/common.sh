# What the fault tests share: QLOOM is the program, SHIM the library that makes it fail, SAME what compares
# results, QLOOM_SOURCE the tree. A small pipeline in $dir,
# an undisturbed run of it in $dir/plain, and what that wrote counted in $writes, $bytes and $ticks.
. "$QLOOM_SOURCE/tests/cli/common.sh"

cat >"$dir/p.yaml" <<END
qloom: 1
name: fault
device: cpu
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, samples: 2, seqlen: 64}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, samples: 2, seqlen: 64}
  quant: {use: gptq, model: \$base, calib: \$calib, bits: 3, group_size: 64}
  fix: {use: none, model: \$quant, calib: \$calib}
  error: {use: layer_error, model: \$fix}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
  codes: {use: gptq_checkpoint, model: \$quant}
  merged: {use: dequantized, model: \$fix}
matrix:
  quant: [{use: rtn}, {use: gptq}]
  fix: [{use: none}, {use: lordq, rank: 4}]
table: {rows: quant.use, columns: fix.use, value: ppl.perplexity}
END

# number LIMIT: $drawn is a random one from 1 to LIMIT; $seed is the state
number() {
    seed=$((seed * 6364136223846793005 + 1442695040888963407))
    drawn=$(((seed >> 33 & 0x7fffffff) % $1 + 1))
}

# go TRIAL [FAULT]: runs the pipeline in $dir/TRIAL with the fault; the status is the program's
go() {
    mkdir -p "$dir/$1"
    mv "$dir/$1" "$dir/here" # exports name folders from the root, so every trial runs in the same one
    (cd "$dir/here" && QLOOM_FAULT=${2:-} QLOOM_FAULT_LOG=${2:+$dir/$1.fault} LD_PRELOAD=${2:+$SHIM} \
        "$QLOOM" run ../p.yaml >out 2>err </dev/null)
    status=$?
    mv "$dir/here" "$dir/$1"
    return $status
}

# check_finished TRIAL: it has what the undisturbed run has, in every file that has no time in it
check_finished() {
    "$SAME" "$dir/plain/runs/results.db" "$dir/$1/runs/results.db" >"$dir/same" || fail "$1: $(cat "$dir/same")"
    for file in out $(cd "$dir/plain" && find runs/fault-* -type f ! -name log.txt ! -name journal.jsonl ! -name lock ! -name at ! -name report.html); do
        cmp -s "$dir/plain/$file" "$dir/$1/$file" || fail "$1: $file differs"
    done
    for file in $(cd "$dir/$1" && find runs -path runs/cache -prune -o -type f -print); do
        [ -e "$dir/plain/$file" ] || fail "$1: $file should not be there"
    done
}

# The undisturbed run, with the shim to count.
mkdir "$dir/here"
(cd "$dir/here" && QLOOM_FAULT_LOG="$dir/count" LD_PRELOAD="$SHIM" "$QLOOM" run ../p.yaml >out 2>err) || fail "the undisturbed run: $(cat "$dir/here/err")"
mv "$dir/here" "$dir/plain"
read -r _ writes _ bytes _ ticks <"$dir/count"
