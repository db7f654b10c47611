#!/bin/sh
# Usage: sizes.sh BUILD SOURCE: docs/sizes.md says what is planned now: words of a row exactly, numbers within a twentieth, of which the
# program's own memory and the processor's kernels take some. One row here; `scripts/sizes.sh BUILD` makes all.
set -u
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$source/scripts/sizes.sh" "$build" Qwen3-0.6B laptop >"$work/now" || exit 1
awk '
    function is_number(text) { return text ~ /^[0-9]+(\.[0-9]+)?$/ }
    FNR == 1 { section = "" }
    /^### / { section = $0 }
    NR == FNR { if (/^\| a /) said[section FS $3 FS $4 FS $5 FS $6 FS $7] = $0; next }
    /^\| a / {
        n = split(said[section FS $3 FS $4 FS $5 FS $6 FS $7], want)
        wrong = n != NF
        for (i = 1; i <= NF && !wrong; i++) {
            off = $i - want[i]
            wrong = is_number($i) && is_number(want[i]) ? off * off > (0.05 * want[i] + 0.05) ^ 2 : $i != want[i]
        }
        if (wrong)
            print "now:  " $0 "\nsaid: " said[section FS $3 FS $4 FS $5 FS $6 FS $7]
        rows++
        bad += wrong
    }
    END { print rows " rows, " bad + 0 " of them are said otherwise"; exit rows == 0 || bad }' "$source/docs/sizes.md" "$work/now" || {
    echo "docs/sizes.md is stale: scripts/sizes.sh BUILD"
    exit 1
}
