#!/bin/sh
# Usage: run_paths.sh BUILD: no program, library or plugin of BUILD, or of a tree installed from it, looks for libraries anywhere but
# beside itself. An empty element of a run path is the current folder, and a library that lies there would run.
set -eu
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null

find "$build/bin" "$work/prefix" -type f -perm -u+x >"$work/files"
find "$build" "$work/prefix" -name '*.so*' -type f >>"$work/files"
seen=0
while read -r file; do
    readelf -d "$file" 2>/dev/null | sed -n 's/.*Library r[un]*path: \[\(.*\)\]$/\1/p' >"$work/paths"
    while read -r paths; do
        seen=$((seen + 1))
        case ":$paths:" in *::*) echo "$file: empty element in the run path $paths" && exit 1 ;; esac
        if printf '%s' "$paths" | tr : '\n' | grep -v '^\$ORIGIN\(/\|$\)'; then
            echo "$file: the run path $paths leaves the folder it is installed in" && exit 1
        fi
    done <"$work/paths"
done <"$work/files"
test "$seen" -ge 20 # every plugin has one
