#!/bin/sh
# Usage: gpu-check.sh [--quick] [--model FOLDER]: on a machine with an NVIDIA GPU, from a bundle or a source tree that is built: every
# operation against its plain meaning, every pipeline on the CPU and on the GPU, compute-sanitizer where it is, and the times of
# docs/gpu.md. With --model also the whole of a generated Llama-2-7B-shaped model, and a table on it; it is written to FOLDER (13 GB) unless
# it is there. --quick takes the least of everything: is all in place? Needs nothing but the driver and CUDA's cuBLAS and cuSOLVER.
# Without --model it ends within QLOOM_GPU_CHECK_SECONDS (470). The last line counts what failed; bars are those of an H200.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
quick='' model=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --model)
        model=${2:?--model needs a folder}
        shift
        ;;
    *)
        sed -n '2,6s/^# //p' "$0"
        exit 2
        ;;
    esac
    shift
done
if [ -d "$root/checks" ]; then
    programs=$root/bin checks=$root/checks lib=$root/lib torch=$root/checks/gptq_torch.py
    export QLOOM_BUILD="$root"
else
    programs=$root/build/release/bin checks=$root/build/release/bin lib=$root/build/release/lib torch=$root/bench/gptq_torch.py
    export QLOOM_BUILD="$root/build/release"
fi
export QLOOM_SOURCE="$root" QLOOM_TEST_BACKEND="$lib/qloom/cuda.so" QLOOM_TEST_SEED="${QLOOM_TEST_SEED:-1}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
start=$(date +%s) limit=${QLOOM_GPU_CHECK_SECONDS:-470} failed=0 missed=0

# Where CUDA's libraries are not known to the loader: beside a toolkit, or in a Python environment. PyTorch finds its own.
given=${LD_LIBRARY_PATH:-}
if ! PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -q libcusolver; then
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

# fail WHAT RESULT: a line that counts, and the end of what was printed
fail() {
    failed=$((failed + 1))
    row "$1" "FAILED: $2"
    tail -n 5 "$work/out" | sed 's/^/    /'
}

# bar WHAT NUMBER UNIT BAR: a line with a number that should be at most BAR
bar() {
    verdict=$(awk -v x="$2" -v bar="$4" 'BEGIN { print x + 0 <= bar + 0 ? "holds" : "MISSED" }')
    row "$1" "$2 $3, bar $4: $verdict"
    [ "$verdict" = holds ] || missed=$((missed + 1))
}

# check WHAT SECONDS COMMAND...: runs the command, at most so long
check() {
    what=$1 most=$2 began=$(date +%s)
    shift 2
    [ "$most" -le "$(left)" ] || most=$(left)
    timeout "$most" "$@" >"$work/out" 2>&1
    status=$?
    case $status in
    0) row "$what" "fine, $(($(date +%s) - began)) s" ;;
    124) fail "$what" "not done after $most s" ;;
    *) fail "$what" "exit status $status" ;;
    esac
}

# differ CPU GPU: how many numbers two CSV tables have, the largest |ln(a / b)| of the original model's, and the median and the largest of
# the cells'
differ() {
    paste -d '\n' "$1" "$2" | awk -F, 'NR % 2 { n = NF; line = $0; for (i = 1; i <= NF; i++) a[i] = $i; next }
        { for (i = 1; i <= n; i++) if (a[i] ~ /^[0-9]+\.[0-9]+(e[-+]?[0-9]+)?$/) {
            d = $i + 0 > 0 ? log($i / a[i]) : 99
            print line ~ /^original/ ? "original" : "cell", d < 0 ? -d : d } }' | sort -k 1,1 -k 2,2g | awk '
        $1 == "original" { original = $2 }
        $1 == "cell" { cell[cells++] = $2 }
        END { printf "%d %.1e %.1e %.1e\n", NR, original, cell[int((cells - 1) / 2)], cell[cells - 1] }'
}

# pipeline FILE COMPUTE SAMPLES ORIGINAL MEDIAN: runs it on both devices at once. |ln| of perplexities is what losses differ by: ORIGINAL
# is the bar of the model as it is, MEDIAN that of the methods' cells in the median. A single cell may be far off: a code that falls to the
# other side of a tie moves the codes after it (docs/gpu.md).
pipeline() {
    what="pipeline $(basename "$1" .yaml), cpu and cuda in $2" most=$(left)
    [ "$most" -le 90 ] || most=90
    file=$1 compute=$2 samples=$3 original=$4 median=$5
    set -- -s eval.samples="$samples"
    if grep -q '^  calib:' "$file"; then set -- "$@" -s calib.samples=8; fi
    if [ "$quick" ]; then
        set -- "$@" -s base.path="$work/small" -s eval.samples=1 -s eval.seqlen=16
        if grep -q '^  calib:' "$file"; then set -- "$@" -s calib.samples=1 -s calib.seqlen=16; fi
        if grep -q '^  fix:' "$file"; then set -- "$@" -s fix.rank=4; fi
    fi
    timeout "$most" "$programs/qloom" -q run "$file" --device cpu --runs "$work/cpu" --format csv "$@" >"$work/cpu.csv" 2>"$work/cpu.out" &
    timeout "$most" "$programs/qloom" -q run "$file" --device cuda --runs "$work/cuda" --format csv -s compute="$compute" "$@" \
        >"$work/cuda.csv" 2>"$work/out"
    status=$?
    if ! wait $!; then
        cp "$work/cpu.out" "$work/out"
        fail "$what" "the cpu did not end well"
    elif [ $status -ne 0 ]; then
        fail "$what" "exit status $status"
    else
        # shellcheck disable=SC2046 # four numbers
        set -- $(differ "$work/cpu.csv" "$work/cuda.csv")
        numbers="$1 numbers, apart: original $2 (bar $original), cells $3 in the median (bar $median), $4 at most"
        if awk -v n="$1" -v a="$2" -v bar_a="$original" -v b="$3" -v bar_b="$median" \
            'BEGIN { exit !(n > 0 && a <= bar_a && b <= bar_b) }'; then
            row "$what" "fine: $numbers"
        else
            fail "$what" "$numbers"
        fi
    fi
}

# sanitize TOOL NAME: one of compute-sanitizer's tools on a test of operations, as far as it comes in 20 s
sanitize() {
    what="compute-sanitizer $1: $2" most=20
    if [ ! -x "$sanitizer" ] || [ "$(left)" -le 100 ]; then
        row "$what" "not run: $([ -x "$sanitizer" ] && echo "no time left" || echo "it is not here")"
        return
    fi
    QLOOM_TEST_ROUNDS=1 timeout $most "$sanitizer" --tool "$1" --report-api-errors no --error-exitcode 9 "$checks/test-kernels-$2" \
        >"$work/out" 2>&1
    status=$?
    if grep '^=========' "$work/out" | grep -qvE 'COMPUTE-SANITIZER|SUMMARY: 0 (errors|hazards)'; then
        fail "$what" "it found something"
    elif [ $status -eq 124 ]; then
        row "$what" "fine as far as it came in $most s"
    elif [ $status -ne 0 ]; then
        fail "$what" "exit status $status"
    else
        row "$what" "fine"
    fi
}

# bench: bench-device, and the same GPTQ in PyTorch where that has a GPU
bench() {
    if ! timeout "$(left)" "$checks/bench-device" ${quick:+32 1} >"$work/out" 2>&1; then
        fail "bench" "bench-device did not end well"
        return
    fi
    echo
    cat "$work/out"
    [ "$quick" ] || missed=$((missed + $(grep -c MISSED "$work/out")))
    cp "$work/out" "$work/times"
    echo
    if ! LD_LIBRARY_PATH=$given timeout 60 python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
        row "GPTQ in PyTorch" "not run: no PyTorch with a GPU here"
        return
    fi
    for shape in '4096 4096' '4096 11008'; do
        [ "$(left)" -gt 30 ] || break
        # shellcheck disable=SC2086 # two numbers
        if ! theirs=$(LD_LIBRARY_PATH=$given timeout "$(left)" python3 "$torch" $shape 2>"$work/out"); then
            fail "GPTQ in PyTorch" "it did not end well"
            return
        fi
        ours=$(grep "^| GPTQ with its factor, W\[$(echo "$shape" | sed 's/ /, /')\]" "$work/times" | awk -F'|' '{ print $3 + 0 }')
        bar "ours / GPTQ in PyTorch, W[$(echo "$shape" | sed 's/ /, /')]" "$(awk -v a="$ours" -v b="$theirs" 'BEGIN { print a / b }')" \
            "($theirs ms)" 0.1
    done
}

if ! "$checks/bench-device" 1 0 >"$work/device" 2>&1; then
    sed -n '1s/.*device error: //; 1s/^/no GPU to check: /p' "$work/device"
    exit 1
fi
echo "qloom $("$programs/qloom" --version | awk '{ print $NF }') on $(uname -m), $(date -u +%Y-%m-%dT%H:%MZ)"
cat "$work/device"
echo
row "what" "result"
row "---" "---"
[ -z "$quick" ] || export QLOOM_TEST_ROUNDS=1
for name in algebra blocks groups random train; do
    check "operations: $name" 90 "$checks/test-kernels-$name"
done
check "losses of tokens of a real model" 60 env QLOOM_TEST_SEQUENCES="$([ "$quick" ] && echo 1 || echo 256)" "$checks/test-cuda-losses"
grep apart "$work/out" | sed 's/^/    /'
if [ "$quick" ]; then
    "$checks/make-model" "$work/small" qwen3 hidden=32 intermediate=64 layers=1 heads=2 kv_heads=2 head_dim=16
    cp "$root"/examples/tiny-qwen3/tokenizer*.json "$work/small/"
else
    check "RTN and GPTQ of a real model" 60 "$checks/test-cuda-answers"
    grep apart "$work/out" | sed 's/^/    /'
fi
for file in "$root"/pipelines/*.yaml; do
    if [ "$(left)" -gt 120 ]; then
        pipeline "$file" fp32 4 1e-5 0.05
    else
        row "pipeline $(basename "$file" .yaml)" "not run: no time left"
    fi
done
# Losses of bf16 scatter by 1e-2 about the right ones: their mean needs tokens.
[ "$(left)" -le 60 ] || pipeline "$root/pipelines/quickstart.yaml" bf16 64 "$([ "$quick" ] && echo 5e-2 || echo 5e-4)" 0.05
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
for name in algebra blocks groups random train; do
    sanitize memcheck $name
done
for name in groups blocks train; do
    sanitize racecheck $name
    sanitize synccheck $name
done
[ "$(left)" -le 30 ] || bench
[ -z "$model" ] || . "$(dirname "$0")/gpu-model.sh"
echo
echo "$failed failed, $missed bars missed, $(($(date +%s) - start)) s"
[ "$failed" -eq 0 ]
