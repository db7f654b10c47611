#!/bin/sh
# Usage: plans.sh PROGRAM DIR: writes what check, graph and plan say of every pipelines/*.yaml into DIR, with estimated seconds and the
# device's speed left out, so that `diff -r` of two programs' folders shows whether they do the same work.
set -u
[ $# -eq 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
program=$(realpath "$1") && mkdir -p "$2" && dir=$(realpath "$2") && cd "$(dirname "$0")/.." || exit 2
unset MODEL CALIB EVAL GROUP RANK

status=0
for file in pipelines/*.yaml; do
    name=$(basename "$file" .yaml)
    for command in check graph plan; do
        device=
        [ $command = graph ] || device="--device cpu"
        [ $command != check ] || device=
        # shellcheck disable=SC2086
        "$program" $command "$file" --threads 1 $device >"$dir/$name.$command" 2>"$dir/$name.$command.log" </dev/null || status=1
    done
    sed -i -E 's/^ +[0-9.e+-]+( +[0-9.]+ [KMGT]?i?B )/         -\1/; s/^time: about .*/time: -/; s/, [0-9.]+ [KMGTP]FLOP\/s//' "$dir/$name.plan"
    sed -i -E "s,$PWD/,,g; s/done in .*/done/" "$dir/$name".*
done
exit $status
