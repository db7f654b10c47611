#!/bin/sh
# check.sh PROGRAM: every wrong model folder beside this script gives exactly the text of its file `expected` and exit status 2.
set -u
program=$1
cd "$(dirname "$0")" || exit 1
got=$(mktemp)
trap 'rm -f "$got"' EXIT

failed=0
for folder in */; do
    name=${folder%/}
    "$program" inspect "$name" >"$got" 2>&1
    status=$?
    if [ $status -ne 2 ]; then
        echo "$name: exit status $status, expected 2"
        failed=1
    fi
    diff -u "$name/expected" "$got" || failed=1
done
exit $failed
