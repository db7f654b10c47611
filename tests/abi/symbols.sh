#!/bin/sh
# Usage: symbols.sh LIBRARY HEADERS: the library exports exactly the functions that the public headers declare with QL_API.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
nm -D --defined-only "$1" | awk '$2 ~ /[A-Z]/ { print $3 }' | sed 's/@.*//' | sort >"$folder/exported"
grep -hv '#define' "$2"/*.h | tr '\n' ' ' | grep -o 'QL_API [^;(]*(' | sed 's/.*[ *]\([a-z_0-9]*\)($/\1/' | sort -u >"$folder/declared"
diff "$folder/declared" "$folder/exported" && exit 0
echo "left: declared with QL_API in a public header; right: exported by the library"
exit 1
