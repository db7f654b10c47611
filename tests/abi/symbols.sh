#!/bin/sh
# Usage: symbols.sh LIBRARY HEADER...: every symbol that the library exports begins with ql_; those of its public version are exactly the
# functions that the public headers declare with QL_API; and nothing of tables, report, contract or command line is in it.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
nm -D --defined-only "$1" | awk '$2 ~ /[A-Z]/ && $2 != "A" { print $3 }' >"$folder/all"
sed -n 's/@@*QLOOM_[0-9]*$//p' "$folder/all" | sort >"$folder/exported"
shift
grep -hv '#define' "$@" | tr '\n' ' ' | grep -o 'QL_API [^;(]*(' | sed 's/.*[ *]\([a-z_0-9]*\)($/\1/' | sort -u >"$folder/declared"
if grep -v '^ql_' "$folder/all" || grep -E '^ql_(table_|report_|plot_|contract_|cmd_|main)' "$folder/all"; then
    echo "above: symbols that are not the library's"
    exit 1
fi
diff "$folder/declared" "$folder/exported" && exit 0
echo "left: declared with QL_API in a public header; right: exported by the library"
exit 1
