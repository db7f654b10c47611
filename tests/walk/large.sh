#!/bin/sh
# Usage: large.sh BUILD SOURCE: what is planned for models of 7 and 70 billion weights, whose files are holes, on a cuda device that is
# not here: a table in 24 GB and a pipeline in 80 GB.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

for i in 1 2 3 4 5 6 7 8 9 10 11 12; do cat "$source/examples/calib.txt"; done >text.txt
{
    echo 'qloom: 1'
    echo 'compute: bf16'
    echo 'stages:'
    echo '  base: {use: auto, path: model}'
    echo '  calib: {use: text, path: text.txt, samples: 128, seqlen: 2048}'
    echo '  eval: {use: text, path: text.txt, samples: 32, seqlen: 2048}'
    echo '  quant: {use: projq, model: $base, calib: $calib, bits: 2, group_size: 128, sym: false, rank: 64}'
    echo '  fix: {use: lordq, model: $quant, calib: $calib, rank: 64}'
    echo '  ppl: {use: perplexity, model: $fix, data: $eval}'
} >one.yaml
{
    cat one.yaml
    echo 'matrix:'
    echo '  quant: [{use: rtn}, {use: gptq}, {use: projq}]'
    echo '  fix: [{use: none}, {use: srr}, {use: qera}, {use: lordq}]'
} >table.yaml

# plan TYPE FILE BYTES
plan() {
    rm -rf model
    "$build/bin/make-model" model "$1" sparse=1
    cp "$source"/examples/tiny-qwen3/tokenizer*.json model/
    LD_LIBRARY_PATH=$build/lib QLOOM_TEST_CUDA_DEVICES=0 "$build/bin/qloom" -q --plugin-path "$build/emulated" plan "$2" \
        --device cuda -s "memory=$3" >out
    peak=$(sed -n 's/^memory: \(.*\) at most.*/\1/p' out)
    echo "$1, $2: $peak of $3 bytes"
    test -n "$peak"
    grep -q '^device: cuda, not here$' out
    test "$(grep -c '^time' out)" -eq 0
}
plan llama2-7b table.yaml 24000000000
plan llama2-70b one.yaml 80000000000
