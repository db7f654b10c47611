#!/bin/sh
# Usage: run.sh BUILD SOURCE: packs the bundle, unpacks it elsewhere, and runs the quickstart there without an environment.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$source/scripts/bundle.sh" "$build" "$work"
archive=$(echo "$work"/qloom-*.tar.gz)
test "$(stat -c %s "$archive")" -lt 25000000 || { echo "the archive has 25 MB or more"; exit 1; }
mkdir "$work/some where"
tar -C "$work/some where" -xzf "$archive"
root=$(echo "$work/some where"/qloom-*)

# From outside comes the C library alone; everything is found without an environment.
for file in "$root"/bin/* "$root"/checks/* "$root"/lib/*.so* "$root"/lib/qloom/*.so; do
    strange=$(env -i LD_TRACE_LOADED_OBJECTS=1 LD_LIBRARY_PATH="$root/lib" /lib64/ld-linux-x86-64.so.2 "$file" |
        awk '$2 == "=>" { print $1, $3, $4, $5 }' | grep -vF "$root/" | grep -vE '^(libc|libm|libdl|libpthread|librt|libresolv)\.so' || true)
    test -z "$strange" || { echo "$file takes from outside: $strange"; exit 1; }
done
cd "$root"
env -i bin/qloom run pipelines/quickstart.yaml --device cpu --runs "$work/runs" --format json -s calib.samples=2 -s eval.samples=2 \
    >"$work/table.json"
grep -q '"ppl.perplexity"' "$work/table.json"
env -i QLOOM_TEST_BACKEND="$root/lib/qloom/cpu.so" checks/test-kernels-random >/dev/null
