#!/bin/sh
# Usage: gpu-check.sh [--model FOLDER]: on a machine with an NVIDIA GPU, from a bundle or a source tree that is built: every operation
# against its plain meaning, every pipeline on the CPU and on the GPU, compute-sanitizer where it is, and the times of docs/gpu.md. With
# --model also the whole of a generated Llama-2-7B-shaped model, written to FOLDER (13 GB) unless it is there. Needs nothing but the
# driver and CUDA's cuBLAS and cuSOLVER; without --model it takes less than 8 minutes. The last line counts what failed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
model=
if [ "${1:-}" = --model ] && [ -n "${2:-}" ]; then
    model=$2
elif [ $# -gt 0 ]; then
    sed -n '2,5s/^# //p' "$0"
    exit 2
fi
if [ -d "$root/checks" ]; then
    programs=$root/bin checks=$root/checks lib=$root/lib
else
    programs=$root/build/release/bin checks=$programs lib=$root/build/release/lib
fi
export QLOOM_TEST_BACKEND="$lib/qloom/cuda.so" QLOOM_TEST_SEED="${QLOOM_TEST_SEED:-1}" QLOOM_BUILD="$root"
[ -d "$root/checks" ] || QLOOM_BUILD=$root/build/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
start=$(date +%s) limit=470 failed=0

# Where CUDA's libraries are not known to the loader: beside a toolkit, or in a Python environment.
if ! ldconfig -p | grep -q libcusolver; then
    for folder in $(find /usr/local/cuda*/ /opt /usr/lib /usr/local/lib -name 'lib*.so.1[123]' 2>/dev/null |
        grep -E 'lib(cublas|cusolver|cusparse|nvJitLink)\.so' | xargs -r -n 1 dirname | sort -u); do
        LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    done
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
fi

left() {
    echo $((start + limit - $(date +%s) > 1 ? start + limit - $(date +%s) : 1))
}

# row WHAT RESULT: a line of the table
row() {
    printf '| %-52s | %s |\n' "$1" "$2"
}

# check WHAT SECONDS COMMAND...: runs the command, at most so long, and prints a row
check() {
    what=$1 most=$2 began=$(date +%s)
    shift 2
    [ "$most" -le "$(left)" ] || most=$(left)
    if timeout "$most" "$@" >"$work/out" 2>&1; then
        row "$what" "fine, $(($(date +%s) - began)) s"
    else
        status=$?
        failed=$((failed + 1))
        row "$what" "FAILED ($([ $status -eq 124 ] && echo "not done after $most s" || echo "exit status $status"))"
        tail -n 5 "$work/out" | sed 's/^/    /'
    fi
}

# differ CPU GPU: largest |ln(a / b)| of the numbers of two CSV tables, of the line of the original and of all
differ() {
    paste -d '\n' "$1" "$2" | awk -F, 'NR % 2 { n = NF; line = $0; for (i = 1; i <= NF; i++) a[i] = $i; next }
        { for (i = 1; i <= n; i++) if (a[i] + 0 > 0 && $i + 0 > 0 && a[i] ~ /\./) {
            d = log($i / a[i]); if (d < 0) d = -d
            if (d > all) all = d
            if (line ~ /original/ && d > original) original = d
            count++ } }
        END { printf "%d %.2e %.2e\n", count, original, all }'
}

# pipeline FILE COMPUTE BAR: runs it on both devices; the original model has to agree, methods may break ties differently
pipeline() {
    name=$(basename "$1" .yaml)
    sets=
    grep -q '^  calib:' "$1" && sets="$sets -s calib.samples=8"
    grep -q '^  eval:' "$1" && sets="$sets -s eval.samples=4"
    most=$(left)
    [ "$most" -le 90 ] || most=90
    [ -f "$work/$name.csv" ] || timeout "$most" "$programs/qloom" -q run "$1" --device cpu --runs "$work/runs" --format csv $sets \
        >"$work/$name.csv" 2>"$work/out"
    if timeout "$most" "$programs/qloom" -q run "$1" --device cuda --runs "$work/runs" --format csv $sets -s "compute=$2" \
        >"$work/gpu.csv" 2>>"$work/out"; then
        numbers=$(differ "$work/$name.csv" "$work/gpu.csv")
        verdict=$(echo "$numbers" | awk -v bar="$3" '{ print $1 > 0 && $2 <= bar && $3 <= 0.4 ? "fine" : "FAILED" }')
        row "pipeline $name, cpu and cuda in $2" \
            "$verdict: $(echo "$numbers" | awk '{ print $1 " numbers, original " $2 ", cells " $3 " apart (|ln|)" }')"
        [ "$verdict" = fine ] || failed=$((failed + 1))
    else
        failed=$((failed + 1))
        row "pipeline $name, cpu and cuda in $2" "FAILED"
        tail -n 3 "$work/out" | sed 's/^/    /'
    fi
}

echo "qloom $("$programs/qloom" --version | awk '{ print $NF }') on $(uname -m), $(date -u +%Y-%m-%dT%H:%MZ)"
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null || echo "nvidia-smi does not answer"
echo
row "what" "result"
row "---" "---"
for name in algebra blocks groups random; do
    check "operations: $name" 90 "$checks/test-kernels-$name"
done
for file in quickstart export srr loftq rivals projq propagation rank_sweep calibration_sweep grand; do
    if [ "$(left)" -gt 120 ]; then
        pipeline "$root/pipelines/$file.yaml" fp32 1e-5
    else
        row "pipeline $file" "not run: no time left"
    fi
done
[ "$(left)" -gt 60 ] && pipeline "$root/pipelines/quickstart.yaml" bf16 5e-4
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
if [ -x "$sanitizer" ] && [ "$(left)" -gt 60 ]; then
    check "compute-sanitizer: random" 60 "$sanitizer" --error-exitcode 9 "$checks/test-kernels-random"
else
    row "compute-sanitizer" "not run: not here, or no time left"
fi
if [ "$(left)" -gt 30 ]; then
    echo
    timeout "$(left)" "$checks/bench-device" || failed=$((failed + 1))
fi
if [ -n "$model" ]; then
    limit=100000
    [ -f "$model/config.json" ] || "$checks/make-model" "$model" llama2-7b
    cp "$root"/examples/tiny-qwen3/tokenizer*.json "$model/"
    for i in $(seq 400); do cat "$root/examples/eval.txt"; done | head -c 1500000 >"$work/text.txt"
    cat "$model"/*.safetensors >/dev/null # disk time apart
    cat >"$work/whole.yaml" <<'END'
qloom: 1
name: whole
stages:
  base: {use: auto, path: model}
  calib: {use: text, path: text.txt, samples: 128, seqlen: 2048}
  eval: {use: text, path: text.txt, samples: 166, seqlen: 2048}
  quant: {use: projq, model: $base, calib: $calib, bits: 2, group_size: 128, sym: false, rank: 64}
  fix: {use: lordq, model: $quant, calib: $calib, rank: 64}
  ppl: {use: perplexity, model: $fix, data: $eval}
baseline: false
END
    echo
    check "whole model: ProjQ 2 bit, LoRDQ, perplexity (bar 120 s)" 600 "$programs/qloom" run "$work/whole.yaml" \
        --device cuda --runs "$work/whole" -s base.path="$model" -s calib.path="$work/text.txt" -s eval.path="$work/text.txt"
    cat "$work/out"
fi
echo
echo "$failed failed, $(($(date +%s) - start)) s"
[ "$failed" -eq 0 ]
