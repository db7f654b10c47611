#!/bin/sh
# Every NAME.yaml here is wrong: `qloom check` says exactly NAME.expected on standard error and exits with 2.
# Usage: run.sh QLOOM [--write]: --write makes the expectations what is said now, to be read before they are committed.
set -u
qloom=$1
write=${2-}
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "$here" || exit 1
raw=$(mktemp) || exit 1
said=$(mktemp) || exit 1
trap 'rm -f "$raw" "$said"' EXIT
unset QLOOM_TEST_UNSET HF_HOME HF_HUB_CACHE
export HOME=/nowhere
failed=0
count=0
for file in *.yaml; do
    name=${file%.yaml}
    arguments=$(sed -n '1s/^# arguments: //p' "$file" | LC_ALL=C tr -d '\000')
    # shellcheck disable=SC2086
    "$qloom" check $arguments "$file" >/dev/null 2>"$raw"
    status=$?
    LC_ALL=C sed "s|$here/||g" "$raw" >"$said"
    count=$((count + 1))
    [ "$write" = --write ] && cp "$said" "$name.expected"
    if [ "$status" -ne 2 ]; then
        echo "$file: exit status $status, expected 2"
        failed=$((failed + 1))
    fi
    if ! diff -u "$name.expected" "$said"; then
        failed=$((failed + 1))
    fi
done
echo "$count pipelines, $failed failures"
[ "$count" -gt 0 ] && [ "$failed" -eq 0 ]
