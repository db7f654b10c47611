#!/bin/sh
# Usage: results.sh [WINDOWS]: runs pipelines/grand.yaml on every fixture model with WINDOWS (default 64) calibration and evaluation windows
# of 256 TinyStories tokens, and writes docs/results.md. The discussion at its end, which a person wrote about the numbers, stays.
set -eu
cd "$(dirname "$0")/.."

windows=${1:-64}
fixtures=${QLOOM_FIXTURES:-../shared/fixtures}
qloom=build/release/bin/qloom
page=docs/results.md
runs=build/results
text=$(mktemp)
trap 'rm -f "$text"' EXIT
commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- core methods text export report kit cli plugins pipelines || commit="$commit, with changes"
cpu=$(LC_ALL=C lscpu | sed -n 's/^Model name: *//p' | head -n 1)
CALIB=$(realpath "$fixtures/datasets/tinystories/train.txt")
EVAL=$(realpath "$fixtures/datasets/tinystories/valid.txt")
export CALIB EVAL MODEL GROUP RANK

cat >"$text" <<END
# Results: every quantizer with every compensator

Written by \`scripts/results.sh $windows\` on $(date -u +%Y-%m-%d), at commit $commit, on $(nproc) processors of kind "$cpu".

Perplexities, lower is better. Pipeline: \`pipelines/grand.yaml\`. Calibration: windows of 256 tokens drawn from TinyStories
\`train.txt\` (seed 42); evaluation: windows of 256 drawn from \`valid.txt\`, each scored on its own. RTN, GPTQ and ProjQ on an asymmetric grid, GPTQ
and ProjQ with damping 0.1, MXINT in blocks of 32. Adapters and scales are stored in fp16. The narrow models have
$windows windows each way, groups of 32 and rank 8; the wide ones half the windows, groups of 128 and rank 32. The rank of ProjQ is that of
the adapter.
END

# table MODEL GROUP RANK WINDOWS
table() {
    MODEL=$(realpath "$fixtures/models/$1")
    GROUP=$2 RANK=$3
    begin=$(date +%s)
    "$qloom" run pipelines/grand.yaml -q --runs "$runs/$1" -s calib.samples="$4" -s eval.samples="$4" >"$runs/$1.md" ||
        [ $? -eq 1 ] # a failed cell, which the table shows
    { # footnotes are numbered a table each, and pages number them together
        printf '\n## %s\n\nGroups of %s, rank %s, %s windows; %s s.\n\n' "$1" "$2" "$3" "$4" "$(($(date +%s) - begin))"
        sed "1,2d; s/\[^\([0-9]*\)\]/[^$1-\1]/g" "$runs/$1.md"
    } >>"$text"
}

mkdir -p "$runs"
for model in stories260K tiny-llama tiny-qwen2 tiny-qwen3; do
    table "$model" 32 8 "$windows"
done
for model in wide-qwen2 wide-qwen3; do
    table "$model" 128 32 "$(((windows + 1) / 2))"
done

[ ! -f "$page" ] || sed -n '/^## Discussion$/,$p' "$page" | { echo; cat; } >>"$text"
cp "$text" "$page"
