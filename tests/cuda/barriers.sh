#!/bin/sh
# Usage: barriers.sh BACKEND TESTS: takes the barriers out of the kernels, one at a time, and wants the differential test that runs the
# kernel to fail without it. BACKEND: the emulated plugin; TESTS: the folder of the test programs.
set -u
backend=$1 tests=$2
cd "$(dirname "$0")/../../plugins/backends/cuda"
passed=0 failed=0

# cases FILE: the program and the first words of the cases that run its kernels
cases() {
    case $1 in
    attention*.cu) echo blocks attention ;;
    gather.cu) echo random transpose ;;
    launch.cuh | logits.cu) echo blocks kl ;;
    sweep.cu) echo groups sweep ;;
    *) echo "barriers.sh does not know what tests $1" >&2 ;;
    esac
}

for at in $(grep -nE '__sync(threads|warp)\(\)' *.cu *.cuh | cut -d: -f1,2); do
    set -- $(cases "${at%:*}")
    QLOOM_TEST_BACKEND=$backend QLOOM_TEST_CASE=${2-} QLOOM_TEST_NO_BARRIER=$at "$tests/test-kernels-${1-none}" >/dev/null 2>&1
    case $? in
    1 | 134) passed=$((passed + 1)) ;; # a check failed, or threads that should have met didn't
    *)
        failed=$((failed + 1))
        echo "$at: nothing fails without this barrier"
        ;;
    esac
done
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
