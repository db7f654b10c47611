#!/bin/sh
# Usage: coverage.sh PLUGIN LAUNCHED: names the kernels of the emulated PLUGIN that no test has launched; LAUNCHED holds the places in PLUGIN
# of those that were. A kernel that nothing launches in any test is as good as untested.
set -eu
plugin=$1 launched=$2
[ -s "$launched" ] || { echo "$launched: no kernel was launched" && exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Every instantiation of a kernel is a function of its own, whose name ends with _kernel.
nm "$plugin" | awk '$2 ~ /^[tTwW]$/ { print $1, $3 }' | c++filt | grep -E '^[0-9a-f]+ (void )?[a-z0-9_]+_kernel(<|\()' | grep -v '\[clone' |
    sort >"$work/kernels"
sort -u "$launched" >"$work/launched"
join -v 1 "$work/kernels" "$work/launched" >"$work/never"
cut -d' ' -f2- "$work/never" | sed 's/^/never launched: /'
echo "$(wc -l <"$work/kernels") kernels, $(wc -l <"$work/never") never launched"
[ "$(wc -l <"$work/kernels")" -ge 100 ] && [ ! -s "$work/never" ]
