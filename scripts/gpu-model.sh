# shellcheck shell=sh disable=SC2154 # what gpu-check.sh --model does last; it reads this file, and its functions and names are used here.
# The whole of a Llama-2-7B-shaped model: ProjQ, LoRDQ and perplexity in one walk, where its time goes, and a table against its parts.

shape='' calib='samples: 128, seqlen: 2048' eval='samples: 166, seqlen: 2048'
if [ "$quick" ]; then
    shape='hidden=32 intermediate=64 layers=1 heads=2 kv_heads=2 head_dim=16 vocab=512'
    calib='samples: 1, seqlen: 32' eval='samples: 1, seqlen: 32'
fi
mkdir -p "$model"
model=$(cd "$model" && pwd)
# shellcheck disable=SC2086 # a word a key
[ -f "$model/config.json" ] || "$checks/make-model" "$model" llama2-7b $shape
cp "$root"/examples/tiny-qwen3/tokenizer*.json "$model/"
for _ in $(seq 15); do cat "$root/examples/eval.txt"; done >"$work/text.txt"
cat "$model"/*.safetensors >/dev/null # disk time apart: what is read comes from the page cache, what is written goes to memory
runs=$work/runs
[ ! -w /dev/shm ] || runs=$(mktemp -d /dev/shm/qloom-XXXXXX)
trap 'rm -rf "$work" "$runs"' EXIT

# walk NAME STAGE...: runs a pipeline of these lines; its wall seconds go to $seconds, or to nothing when it failed
walk() {
    name=$1
    shift
    {
        printf 'qloom: 1\nname: %s\nbaseline: false\n%s\nstages:\n' "$name" "$top"
        echo "  base: {use: auto, path: '$model'}"
        echo "  calib: {use: text, path: $work/text.txt, $calib}"
        echo "  eval: {use: text, path: $work/text.txt, $eval}"
        printf '%s\n' "$@"
    } >"$work/$name.yaml"
    rm -rf "$runs/walk"
    began=$(date +%s.%N)
    seconds=
    if timeout 1800 "$programs/qloom" run "$work/$name.yaml" --device cuda --fresh --runs "$runs/walk" >"$work/out" 2>&1; then
        seconds=$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }')
    else
        fail "walk $name" "exit status $?"
    fi
}

quantizer() {
    echo "  quant: {use: $1, model: \$base, calib: \$calib, bits: 2, group_size: 128, sym: false}"
}
compensator() {
    echo "  fix: {use: $1, model: \$quant, calib: \$calib$([ "$1" = none ] || echo ', rank: 64')}"
}
ppl="  ppl: {use: perplexity, model: \$fix, data: \$eval}"
original="  ppl: {use: perplexity, model: \$base, data: \$eval}"
error="  error: {use: layer_error, model: \$fix, calib: \$calib}"

echo
top=
walk whole "$(quantizer projq)" "$(compensator lordq)" "$ppl"

# phase WHAT STAGES FLOOR: the seconds of some stages beside what the products alone take at the rates of an H200
phase() {
    spent=$(sed -n "s/^seconds: //p" "$work/out" | tr "," "\n" |
        awk -v stages=" $2 " 'index(stages, " " $1 " ") { s += $2 } END { print s + 0 }')
    row "  $1" "$spent s, floor $3 s"
}
if [ -n "$seconds" ]; then
    bar "whole model: ProjQ 2 bit, LoRDQ, perplexity" "$seconds" s 120
    phase "weights up" base 0.3
    phase "calibration: forwards and Hessians, two streams" calib 16.4
    phase "ProjQ: factors, five rounds" quant 8.3
    phase "LoRDQ" fix 1.0
    phase "perplexity: forwards and losses" "eval ppl" 5.9
fi

# The table, as bench/table.py does it: statistics of one stream serve all cells, and a part is what one takes beyond those whose work it
# shares.
top='propagate: original'
quantizers='rtn gptq projq' compensators='none srr qera lordq'
[ -z "$quick" ] || quantizers='rtn gptq' compensators='none lordq'
walk original "$original" && only_original=$seconds
walk bare "$(quantizer rtn)" "$(compensator none)" "$ppl" && bare=$seconds
parts=
for q in $quantizers; do
    for c in $compensators; do
        walk "$q-$c" "$(quantizer "$q")" "$(compensator "$c")" "$ppl" "$error"
        parts="$parts $q $c ${seconds:-0}"
    done
done
cells=$(echo "$parts" | awk '{ print NF / 3 }')
list() {
    echo "$*" | sed 's/ /}, {use: /g; s/^/[{use: /; s/$/}]/'
}
# shellcheck disable=SC2086 # a word each
walk table "$(quantizer rtn)" "$(compensator qera)" "$ppl" "$error" "matrix:" "  quant: $(list $quantizers)" "  fix: $(list $compensators)"
if [ -n "$seconds" ]; then
    ratio=$(echo "$parts" | awk -v table="$seconds" -v b="${only_original:-0}" -v bare="${bare:-0}" '{
        for (i = 1; i < NF; i += 3) alone[$i, $(i + 1)] = $(i + 2)
        calibration = alone["rtn", "none"] - bare; sum = b + calibration
        for (i = 1; i < NF; i += 3) sum += $(i + 2) - ($(i + 1) == "none" ? b + calibration : alone[$i, "none"] - (bare - b))
        printf "%.3f", table / sum }')
    bar "table of $cells cells / its distinct parts" "$ratio" "($seconds s)" 1.15
fi
