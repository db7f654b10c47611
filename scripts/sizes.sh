#!/bin/sh
# Usage: sizes.sh BUILD [MODEL [MACHINE]]: the tables of docs/sizes.md, or the one of MODEL, or its row of a machine whose name has that word:
# what `qloom plan` says of pipelines/sizes.yaml and, where that does not fit, of quickstart.yaml. Models are files of the right size with
# holes in place of weights, GPUs are named and not there.
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "$1")
model=${2:-} machine=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Enough text for all sequences.
for copy in 1 2 3 4 5; do cat examples/calib.txt; done >"$work/text.txt"

# NAME make-model's arguments
models="Qwen3-0.6B qwen3 vocab=151936 hidden=1024 intermediate=3072 layers=28 heads=16 kv_heads=8 head_dim=128 tied=1
Llama-2-7B llama2-7b
Llama-3.1-8B llama vocab=128256 hidden=4096 intermediate=14336 layers=32 heads=32 kv_heads=8 head_dim=128 shards=4
Qwen3-32B qwen3 vocab=151936 hidden=5120 intermediate=25600 layers=64 heads=64 kv_heads=8 head_dim=128 shards=17
Llama-2-70B llama2-70b"

# DEVICE MEMORY HOST_MEMORY MACHINE
machines="cpu 12GiB 12GiB a laptop, 16 GB
cpu 52GiB 52GiB a workstation, 64 GB
cuda 21GiB 52GiB a GPU of 24 GB, 64 GB beside it
cuda 72GiB 104GiB a GPU of 80 GB, 128 GB beside it"

# plan FILE MODEL DEVICE MEMORY HOST_MEMORY: a row but for the machine; nothing where the table does not fit
plan() {
    GROUP=128 RANK=64 LD_LIBRARY_PATH=$build/lib QLOOM_TEST_CUDA_DEVICES=0 "$build/bin/qloom" -q --plugin-path "$build/emulated" \
        plan "pipelines/$1.yaml" --device "$3" --memory "$4" --host-memory "$5" -s base.path="$work/$2" \
        -s calib.path="$work/text.txt" -s calib.samples=128 -s calib.seqlen=2048 \
        -s eval.path="$work/text.txt" -s eval.samples=166 -s eval.seqlen=2048 >"$work/out" 2>"$work/err" || true
    grep -q "^memory: " "$work/out" || grep -q "is too little: the least is" "$work/err" || { cat "$work/err" >&2; exit 1; }
    awk -v file="$1" -v device="$3" -v limits="\`--memory $4$([ "$3" = cpu ] || echo " --host-memory $5")\`" '
        /^memory: / { memory = $2 " " $3 }
        /^host: / { host = $2 " " $3 }
        /^passes: / { passes = $2 + 0 }
        /^waiting: / { waiting = $2 " " $3 }
        /^least: / { gsub(/`/, ""); least = $3 " " $4; sub(/,$/, "", least) }
        /^disk: .* of cache$/ { cache = $3 " " $4 }
        END {
            if (memory != "")
                print file " | " limits " | " (device == "cpu" ? "" : memory) " | " host " | " (passes ? passes : 1) " | " waiting " | " \
                    cache " | " least
        }' "$work/out"
}

echo "$models" | grep "^$model" | while read -r name arguments; do
    # shellcheck disable=SC2086
    "$build/bin/make-model" "$work/$name" $arguments sparse=1
    cp examples/tiny-qwen3/tokenizer*.json "$work/$name/"
    printf '\n### %s\n\n' "$name"
    echo "| machine | file | limits | device | host | passes | waits in a file | cache | least |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    echo "$machines" | grep "$machine" | while read -r device memory host where; do
        row=$(plan sizes "$name" "$device" "$memory" "$host")
        [ -n "$row" ] || row=$(plan quickstart "$name" "$device" "$memory" "$host")
        [ -n "$row" ] || row="none | | | | | | | $(sed -n 's/.*the least is \([^;]*\);.*/\1/p' "$work/err")"
        echo "| $where | $row |"
    done
    rm -rf "${work:?}/$name"
done
