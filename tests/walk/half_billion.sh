#!/bin/sh
# Usage: half_billion.sh BUILD SOURCE: the quickstart on two blocks of a model with the shapes of Qwen2.5-0.5B.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$build/bin/make-model" "$work/model" qwen2 layers=2
cp "$source"/examples/tiny-qwen3/tokenizer*.json "$work/model/"
"$build/bin/qloom" run "$source/pipelines/quickstart.yaml" --runs "$work/runs" --format json -s base.path="$work/model" \
    -s calib.samples=2 -s eval.samples=1 >"$work/table.json"
# What was planned is what it took: the most device memory in MiB, within 15 %.
"$build/bin/qloom" plan "$source/pipelines/quickstart.yaml" -s base.path="$work/model" -s calib.samples=2 -s eval.samples=1 >"$work/plan" 2>/dev/null
planned=$(sed -n 's/^memory: \([0-9.]*\) MiB at most$/\1/p' "$work/plan")
took=$(sed -n "s/.*memory: \([0-9.]*\) MiB of the device's at most$/\1/p" "$work"/runs/quickstart-*/log.txt)
echo "planned $planned MiB, took $took MiB"
awk -v p="$planned" -v t="$took" 'BEGIN { exit !(p > 0.85 * t && p < 1.15 * t) }'
# Every cell and the original have a perplexity.
cells=$(grep -c '"cell"' "$work/table.json")
numbers=$(grep -o '"ppl.perplexity": *[0-9][0-9.e+]*' "$work/table.json" | wc -l)
echo "$cells cells, $numbers perplexities"
test "$cells" -ge 9
test "$numbers" -eq "$cells"
