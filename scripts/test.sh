#!/bin/sh
# Usage: test.sh [PRESET[/LABEL]...]: installs what is missing, builds and runs every test, or those with the label: asan/short. Presets:
# release (default), debug, asan, tsan. The last line counts the tests of all presets; the exit status is 0 when none failed.
set -u
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Fresh random inputs for every change of the sources, the same ones for every run of it: a failure can be repeated.
if [ -z "${QLOOM_TEST_SEED:-}" ]; then
    sources=$(git ls-tree HEAD core methods text export report kit cli plugins tests 2>/dev/null | sha1sum | cut -c 1-7)
    QLOOM_TEST_SEED=$(printf '%d' "0x$sources")
fi
export QLOOM_TEST_SEED
export QLOOM_CHECK=1 # what plugins are lent is watched in every call, the tree's own plugins' too

scripts/setup.sh || exit 1
for round in "${@:-release}"; do
    preset=${round%/*}
    label=
    [ "$preset" = "$round" ] || label="--label-regex ^${round#*/}\$"
    if ! cmake --preset "$preset" >"$output" 2>&1 || ! cmake --build --preset "$preset" >>"$output" 2>&1; then
        cat "$output"
        echo "preset $preset does not build"
        failed=$((failed + 1))
        continue
    fi
    sed -n "s/^-- cuda backend/preset $preset: cuda backend/p" "$output"
    # shellcheck disable=SC2086
    ctest --preset "$preset" $label --parallel "$(nproc)" </dev/null | tee "$output"
    total=$(grep -c '^ *[0-9]*/[0-9]* Test ' "$output")
    fine=$(grep -c '^ *[0-9]*/[0-9]* Test .* Passed ' "$output")
    left=$(grep -c '^ *[0-9]*/[0-9]* Test .*\*\*\*Skipped ' "$output")
    [ "$total" -gt 0 ] || failed=$((failed + 1))
    passed=$((passed + fine))
    skipped=$((skipped + left))
    failed=$((failed + total - fine - left))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
