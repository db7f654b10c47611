#!/bin/sh
# Usage: gpu_check.sh BUILD SOURCE: scripts/gpu-check.sh, as a bundle has it, ends well on the emulated device and says at once when there is
# none. Three of the pipelines, and --quick: it is the script that is tested here.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/bundle
cmake --install "$build" --prefix "$root" >/dev/null
cmake --install "$build" --prefix "$root" --component checks >/dev/null
cp "$build/emulated/cuda.so" "$root/lib/qloom/"
mkdir "$root/scripts" "$root/pipelines"
cp "$source"/scripts/gpu-*.sh "$root/scripts/"
cp -r "$source/examples" "$root/"
cp "$source"/pipelines/quickstart.yaml "$source"/pipelines/export.yaml "$source"/pipelines/projq.yaml "$root/pipelines/"

status=0
QLOOM_TEST_CUDA_DEVICES=0 "$root/scripts/gpu-check.sh" --quick >"$work/none" 2>&1 || status=$?
cat "$work/none"
test $status -eq 1
test "$(cat "$work/none")" = 'no GPU to check: cuda:0: the driver answers, but has no device'

"$root/scripts/gpu-check.sh" --quick --model "$work/model" >"$work/out" 2>&1 || status=2
cat "$work/out"
test $status -eq 1
test "$(grep -c '| fine' "$work/out")" -eq 10
grep -q '^| table of 4 cells / its distinct parts  *| [0-9.]* (' "$work/out"
