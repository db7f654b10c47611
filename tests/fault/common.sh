# What kill.sh and full.sh share: a small pipeline, an undisturbed run of it in $dir/plain, and what that wrote counted in $writes, $bytes
# and $ticks. SAME compares results.
. "$QLOOM_SOURCE/tests/fault/trial.sh"

cat >"$dir/p.yaml" <<END
qloom: 1
name: fault
device: cpu
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, samples: 2, seqlen: 64}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, samples: 2, seqlen: 64}
  stories: {use: tasks, file: $QLOOM_SOURCE/examples/tasks/next_sentence.yaml, path: $QLOOM_SOURCE/examples/tasks/goals.jsonl, limit: 4}
  quant: {use: gptq, model: \$base, calib: \$calib, bits: 3, group_size: 64}
  fix: {use: none, model: \$quant, calib: \$calib}
  error: {use: layer_error, model: \$fix}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
  choice: {use: choices, model: \$fix, data: \$stories}
  codes: {use: gptq_checkpoint, model: \$quant}
  merged: {use: dequantized, model: \$fix}
matrix:
  quant: [{use: rtn}, {use: gptq}]
  fix: [{use: none}, {use: lordq, rank: 4}]
table: {rows: quant.use, columns: fix.use, value: ppl.perplexity}
END

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

# halfway PLAN: `memory` is in the middle between what it says that the run takes and the least. Enough tokens make that far from both,
# whatever a process has beside its tensors.
halfway() {
    memory=$(tr -d '\140' <"$1" | awk '
        $1 == "host:" || $1 == "least:" { sum += $1 == "host:" ? $2 : $3 }
        match($0, /; [0-9.]* MiB of it for speed/) { sum -= substr($0, RSTART + 2) }
        END { printf "%dKiB", sum / 2 * 1024 }')
}

if [ "${limited:-}" ]; then
    arguments="-s chunk_tokens=64 -s calib.samples=40 -s eval.samples=40"
    # shellcheck disable=SC2086 # words
    "$QLOOM" plan "$dir/p.yaml" $arguments >"$dir/plan" 2>"$dir/err" || fail "the plan: $(cat "$dir/err")"
    halfway "$dir/plan"
    arguments="$arguments -s memory=$memory"
    # shellcheck disable=SC2086
    "$QLOOM" plan "$dir/p.yaml" $arguments >"$dir/plan" 2>"$dir/err" || fail "the plan: $(cat "$dir/err")"
    grep -E "^passes|^waiting" "$dir/plan"
    [ "$(grep -cE "^passes|^waiting" "$dir/plan")" -eq 2 ] || fail "no passes, or nothing waits: $(cat "$dir/plan")"
fi

count plain
read -r _ writes _ bytes _ ticks <"$dir/count"
