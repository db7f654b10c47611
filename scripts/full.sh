#!/bin/sh
# Usage: full.sh PART: what .ci/run does in small, with the counts that have to hold before an issue is closed; each part within 45 minutes
# on two processors.
#   house  walls and sizes, all tests with both sanitizers, the same bits as BASE has (a program; else commit ec3edf3 is built for it)
#   files  all models against their golden files, 50 kills of runs with exports, every write of an export failing
#   trust  500 damages, 100 kills, 20 kills of `cache clear` beside table and report, the thread sanitizer over tables and exports
#   memory 20 kills where evaluation goes in passes and calibration waits in a file, 40 small disks, peaks against the plan
#   sweep  failing calls: each of the first 200 of every kind and 300 later ones, alone and with all that follow, in a new folder and a
#          finished one
# The last line counts the checks; the exit status is 0 when none failed.
set -u
cd "$(dirname "$0")/.."
exec </dev/null

passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
build=$PWD/build/release
export QLOOM_SOURCE="$PWD" QLOOM="$build/bin/qloom" SHIM="$build/lib/libfault-shim.so" SAME="$build/bin/same-results" \
    DAMAGE="$build/bin/damage" MAKE_MODEL="$build/bin/make-model"

# verdict STATUS NAME
verdict() {
    if [ "$1" -eq 0 ]; then
        echo "ok      $2"
        passed=$((passed + 1))
    else
        echo "FAILED  $2"
        failed=$((failed + 1))
    fi
}

# step NAME COMMAND...: one check; its last lines are what it says of itself
step() {
    name=$1
    shift
    "$@" >"$log" 2>&1
    status=$?
    if [ $status -eq 0 ]; then tail -n 2 "$log"; else tail -n 60 "$log"; fi
    verdict $status "$name"
}

# counted COMMAND...: one whose last line counts its checks
counted() {
    "$@" 2>&1 | tee "$log"
    counts=$(tail -n 1 "$log" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed.*/\1 \2/p')
    [ -n "$counts" ] || counts="0 1"
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
}

# made PRESET: builds it
made() {
    cmake --preset "$1" >"$log" 2>&1 && cmake --build --preset "$1" >>"$log" 2>&1 && return
    tail -n 30 "$log"
    verdict 1 "preset $1 builds"
    echo "$passed passed, $failed failed"
    exit 1
}

# threads NAME ARGUMENTS...: a pipeline with the thread sanitizer on two threads
threads() {
    pipeline=$1
    shift
    runs=$(mktemp -d)
    step "thread sanitizer, $pipeline" build/tsan/bin/qloom run "pipelines/$pipeline.yaml" --device cpu --threads 2 --runs "$runs" -q \
        -s calib.samples=4 -s calib.seqlen=64 -s eval.samples=4 -s eval.seqlen=64 "$@"
    rm -rf "$runs"
}

base_program() {
    [ -n "${BASE:-}" ] && return
    BASE=$PWD/build/base/build/release/bin/qloom
    [ -x "$BASE" ] && return
    { [ -d build/base ] || git worktree add --detach build/base ec3edf3; } >"$log" 2>&1 &&
        (cd build/base && cmake --preset release && cmake --build --preset release --target program) >>"$log" 2>&1 || BASE=
}

scripts/setup.sh --dev || exit 1
case ${1:-} in
house)
    counted scripts/house.sh
    counted scripts/test.sh release asan tsan
    base_program
    if [ -n "$BASE" ]; then
        counted scripts/same-bits.sh "$BASE" "$QLOOM"
    else
        tail -n 5 "$log"
        verdict 1 "the same bits: commit ec3edf3 does not build"
    fi
    ;;
files)
    made release
    export QLOOM_TEST_MODELS=all
    counted scripts/test.sh release/models
    step "50 kills" sh tests/fault/kill.sh 50
    step "failing writes" sh tests/fault/sweep.sh 200 100 open write pwrite fsync rename ftruncate unlink mkdir
    ;;
trust)
    made release
    step "500 damages" sh tests/fault/damages.sh 500
    step "100 kills" sh tests/fault/kill.sh 100
    step "20 kills of cache clear" sh tests/fault/clear.sh 20
    made tsan
    export TSAN_OPTIONS="halt_on_error=0 exitcode=66"
    threads quickstart
    threads grand -s 'quant.bits=[3]'
    threads export
    ;;
memory)
    made release
    step "20 kills in passes" sh tests/fault/passes.sh 20
    step "40 small disks" sh tests/fault/disk.sh 40
    step "peaks of SmolLM2's shape" scripts/peaks.sh build/release smollm2
    step "peaks of a 7B's shape" scripts/peaks.sh build/release llama2-7b 8 2048 2048
    ;;
sweep)
    made release
    other=$(mktemp)
    { sh tests/fault/sweep.sh 200 300 malloc mmap stat pthread_create; echo "status $?"; } >"$other" 2>&1 & # two processors
    step "failing calls: files" sh tests/fault/sweep.sh 200 300 open read write pwrite fsync rename ftruncate readdir unlink mkdir
    wait
    step "failing calls: memory and looking at files" sh -c 'sed "\$d" "$0"; tail -n 1 "$0" | grep -qx "status 0"' "$other"
    rm -f "$other"
    ;;
*)
    sed -n '2,11s/^# //p' "$0" >&2
    exit 2
    ;;
esac
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
