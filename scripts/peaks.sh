#!/bin/sh
# Usage: peaks.sh BUILD SHAPE [SAMPLES [SEQLEN [CHUNK]]]: what a run has in memory at most against what `qloom plan` says, without a limit and
# with three between the least and that: within 10 % of the plan, never above the limit, the same table each time. SHAPE: smollm2 (15 cells)
# or llama2-7b (two layers, four cells), with random weights. Each run has no more addresses (ulimit -v) than the plan and 15 %, the
# model's files, and what BLAS and the allocator reserve for a thread without touching it. Results lie in the page cache: time is not told.
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "$1")
shape=$2 samples=${3:-16} seqlen=${4:-1024} chunk=${5:-8192}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
threads=2
RESERVED=220 # MiB of addresses a thread: 136 of OpenBLAS, 64 of an arena, stacks

case $shape in
smollm2)
    "$build/bin/make-model" "$work/model" llama vocab=49152 hidden=576 intermediate=1536 layers="${LAYERS:-30}" heads=9 kv_heads=3 head_dim=64 tied=1
    pipeline=pipelines/sizes.yaml
    ;;
llama2-7b)
    "$build/bin/make-model" "$work/model" llama2-7b layers=2
    sed '/^matrix:/,$d' pipelines/sizes.yaml >"$work/p.yaml"
    sed -i "s|\.\./examples|$PWD/examples|" "$work/p.yaml"
    printf 'matrix:\n  quant: [{use: rtn}, {use: gptq}]\n  fix: [{use: none}, {use: lordq}]\n' >>"$work/p.yaml"
    printf 'table: {rows: quant.use, columns: fix.use, value: ppl.perplexity}\n' >>"$work/p.yaml"
    pipeline=$work/p.yaml
    ;;
*)
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
    ;;
esac
cp examples/tiny-qwen3/tokenizer*.json "$work/model/"
for copy in 1 2 3 4 5; do cat examples/calib.txt; done >"$work/text.txt"
mapped=$(du -sm "$work/model" | cut -f1)

# qloom COMMAND LIMIT OPTION...: with the pipeline
qloom() {
    command=$1 limit=$2
    shift 2
    export GROUP="${GROUP:-64}" RANK="${RANK:-16}"
    exec "$build/bin/qloom" -q --threads $threads "$command" "$pipeline" --device cpu -s base.path="$work/model" \
        -s calib.path="$work/text.txt" -s eval.path="$work/text.txt" -s calib.samples="$samples" -s eval.samples="$samples" \
        -s calib.seqlen="$seqlen" -s eval.seqlen="$seqlen" -s chunk_tokens="$chunk" ${limit:+-s memory="$limit"} "$@"
}

# mebibytes PATTERN: the number behind it in the plan, in MiB
mebibytes() {
    sed -n "s/^$1\([0-9.]*\) \([KMG]\)iB.*/\1 \2/p" "$work/plan" | tr -d '`' | awk '{ print $2 == "G" ? 1024 * $1 : $2 == "M" ? $1 : $1 / 1024 }'
}

failed=0
echo "| limit, MiB | planned | at most | passes | addresses |"
echo "| --- | --- | --- | --- | --- |"
for part in none 3 2 1; do
    limit=
    [ $part = none ] || limit=$(awk -v least="$least" -v all="$all" -v part=$part 'BEGIN { printf "%dMiB", least * 1.05 + (all - least) * part / 4 }')
    (qloom plan "$limit") >"$work/plan" 2>"$work/err" || { cat "$work/err"; exit 1; }
    planned=$(mebibytes 'host: ')
    [ $part = none ] && all=$planned least=$(mebibytes 'least: .memory: ')
    passes=$(sed -n 's/^passes: \([0-9]*\).*/\1/p' "$work/plan")
    addresses=$(awk -v p="$planned" -v m="$mapped" -v t=$((threads * RESERVED)) 'BEGIN { printf "%d", 1.15 * p + m + t }')
    (ulimit -v $((addresses * 1024)) && qloom run "$limit" --runs "$work/runs-$part") >"$work/table" 2>"$work/err" &
    run=$! most=0
    while kill -0 $run 2>/dev/null; do
        now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$run/status 2>/dev/null || true)
        most=${now:-$most}
        sleep 0.2
    done
    wait $run || { cat "$work/err"; exit 1; }
    [ $part = none ] && cp "$work/table" "$work/first"
    cmp -s "$work/table" "$work/first" || { echo "another table with a limit of $limit"; failed=1; }
    echo "| ${limit%MiB} | $planned | $((most / 1024)) | ${passes:-1} | $addresses |"
    awk -v most=$((most / 1024)) -v planned="$planned" -v limit="${limit%MiB}" 'BEGIN {
        exit !(most <= 1.1 * planned && most >= 0.9 * planned && (limit == "" || most <= limit + 0)) }' || { echo "not what was planned"; failed=1; }
done
exit $failed
