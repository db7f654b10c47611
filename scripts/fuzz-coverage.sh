#!/bin/sh
# Usage: fuzz-coverage.sh: line coverage that the fuzz targets' seeds alone reach of the files that the targets aim at. The bar is 80 %;
# the last line counts the files.
set -u
cd "$(dirname "$0")/.."

build=build/fuzz-coverage
bar=80
passed=0 failed=0
export CC=gcc CXX=g++
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="-O0 --coverage" >/dev/null &&
    cmake --build $build --target fuzz-replays >$build/log || { cat $build/log; exit 1; }
export QLOOM_SOURCE="$PWD" QLOOM_BUILD="$PWD/$build"
for target in tests/fuzz/*.c; do
    name=$(basename "$target" .c)
    [ "$name" != replay ] || continue
    find $build -name '*.gcda' -delete
    $build/bin/test-fuzz-"$name" "tests/fuzz/seeds/$name" >/dev/null || failed=$((failed + 1))
    for file in $(sed -nE 's,.*Aims at: ([^*]*)\*/$,\1,p' "$target"); do
        percent=$(gcov -n -o "$(find $build/CMakeFiles -path "*/$file.gcno")" "$file" |
            grep -F -A1 "/$file'" | sed -nE 's/^Lines executed:([0-9.]+)%.*/\1/p')
        echo "$name: ${percent:-0} % of the lines of $file"
        if [ "$(printf '%.0f' "${percent:-0}")" -ge $bar ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
        fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
