#!/bin/sh
# Usage: without.sh BACKEND TESTS: takes away what orders things, one at a time: barriers in kernels, events, waits for streams; and
# wants the test that depends on it to fail. BACKEND: the emulated plugin; TESTS: the folder of the test programs.
set -u
backend=$1 tests=$2
cd "$(dirname "$0")/../../plugins/backends/cuda"
passed=0 failed=0

# cases FILE: the program and the first words of the cases that run its kernels
cases() {
    case $1 in
    attention_back*.cu) echo kernels-train attention_back ;;
    attention*.cu) echo kernels-blocks attention ;;
    device.c | memory.c) echo cuda-streams ;;
    gather.cu) echo kernels-random transpose ;;
    launch.cuh | logits.cu) echo kernels-blocks kl ;;
    sweep.cu) echo kernels-groups sweep ;;
    train.cu) echo kernels-train head_loss ;;
    trtri.cu) echo kernels-algebra trtri ;;
    *) echo "without.sh does not know what tests $1" >&2 ;;
    esac
}

for at in $(grep -nE '__sync(threads|warp)\(|cuda(Stream|Event)(Synchronize|WaitEvent|Record)\(' *.c *.cu *.cuh | cut -d: -f1,2); do
    set -- $(cases "${at%:*}")
    QLOOM_TEST_BACKEND=$backend QLOOM_TEST_CASE=${2-} QLOOM_TEST_WITHOUT=$at "$tests/test-${1-none}" >/dev/null 2>&1
    case $? in
    1 | 134 | 139) passed=$((passed + 1)) ;; # a check failed, the emulation found something broken, or memory was gone
    *)
        failed=$((failed + 1))
        echo "$at: nothing fails without it"
        ;;
    esac
done
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" -eq 0 ]
