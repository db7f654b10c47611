#!/bin/sh
# Usage: fuzz.sh [SECONDS]: builds the fuzz targets with clang and runs them for SECONDS (300) in all, two at a time, from their seeds.
set -u
cd "$(dirname "$0")/.."

seconds=${1:-300}
build=build/fuzz
# The same inputs for the same sources, so that what passed here passes there; other ones with every change.
seed=$(printf '%d' "0x$(git ls-tree HEAD core methods text export report kit cli plugins tests 2>/dev/null | sha1sum | cut -c 1-7)")
export CC=clang CXX=clang++
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DQLOOM_FUZZ=ON >/dev/null && cmake --build $build --target fuzz || exit 1

fuzz_one() {
    target=$1
    name=$(basename "$target")
    mkdir -p "$build/corpus/$name"
    if "$target" -seed="$seed" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -artifact_prefix="$build/$name-" \
        "$build/corpus/$name" "tests/fuzz/seeds/$name" >"$build/$name.log" 2>&1; then
        echo "fuzz $name: $(grep -c '^#' "$build/$name.log") reports, no finding" && touch "$build/$name.ok"
    else
        tail -n 30 "$build/$name.log"
        echo "fuzz $name: FINDING, input in $build/$name-*"
    fi
}

rm -f "$build"/*.ok
seconds=$((seconds / $(find "$build/fuzz" -type f | wc -l)))
count=0
for target in "$build"/fuzz/*; do
    fuzz_one "$target" &
    count=$((count + 1))
    [ $((count % 2)) -eq 0 ] && wait
done
wait
good=$(find "$build" -maxdepth 1 -name '*.ok' | wc -l)
echo "$good passed, $((count - good)) failed"
[ "$good" -eq "$count" ]
