#!/bin/sh
# Usage: run.sh QLOOM FOLDER: `qloom check-plugin` refuses every plugin of FOLDER with the exact text beside its source.
set -u
qloom=$1
folder=$(cd "$2" && pwd -P)
here=$(cd "$(dirname "$0")" && pwd)
failed=0
for expected in "$here"/*.expected; do
    name=$(basename "$expected" .expected)
    got=$("$qloom" check-plugin "$folder/$name.so" 2>&1 >"$folder/stdout")
    status=$?
    got=$(printf '%s\n' "$got" | sed "s|$folder/||g; s|^error: ||")
    if [ "$got" != "$(cat "$expected")" ] || [ $status -ne 2 ] || [ -s "$folder/stdout" ]; then
        echo "$name: exit status $status, expected 2"
        echo "  got      $got"
        echo "  expected $(cat "$expected")"
        failed=1
    fi
done
exit $failed
