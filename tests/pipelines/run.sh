#!/bin/sh
# One pipeline that users start from: it is checked as it is, then run with what the first line of ref/NAME.txt adds, few samples above
# all, and its table compared: labels exactly, numbers within the tolerance of the second line: about twice what they moved under OpenBLAS's
# kernels for older processors, where a code between two levels falls to the other side and GPTQ's feedback carries it on. Usage: run.sh QLOOM NAME [check|run|write]: check leaves out the run (it would take minutes
# with sanitizers), write makes the table of now the reference.
set -u
qloom=$1 name=$2 what=${3:-run}
here=$(cd "$(dirname "$0")" && pwd) || exit 1
file=$here/../../pipelines/$name.yaml
ref=$here/ref/$name.txt
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MODEL CALIB EVAL GROUP RANK

"$qloom" check "$file" || exit 1
[ "$what" = check ] && exit 0
arguments=$(sed -n '1s/^# arguments: //p' "$ref")
tolerance=$(sed -n '2s/^# tolerance: //p' "$ref")
[ -n "$arguments" ] && [ -n "$tolerance" ] || { echo "$ref does not begin with its arguments and its tolerance"; exit 1; }
# shellcheck disable=SC2086
"$qloom" run "$file" -q --device cpu --runs "$dir" --format csv $arguments >"$dir/table" || exit 1
if [ "$what" = write ]; then
    head -n 2 "$ref" >"$dir/ref"
    cat "$dir/table" >>"$dir/ref"
    cp "$dir/ref" "$ref"
fi
sed 1,2d "$ref" >"$dir/expected"
awk -F, -v tolerance="$tolerance" '
    function is_number(text) { return text ~ /^[0-9]+\.[0-9]+(e[-+]?[0-9]+)?$/ }
    NR == FNR { expected[FNR] = $0; lines = FNR; next }
    {
        n = split(expected[FNR], want, ",")
        if (n != NF)
            bad = bad "line " FNR ": got " $0 ", expected " expected[FNR] "\n"
        for (i = 1; i <= NF && n == NF; i++) {
            if (is_number($i) && is_number(want[i])) {
                off = $i / want[i] - 1
                off = off < 0 ? -off : off
                worst = off > worst ? off : worst
                count++
            } else
                off = $i == want[i] ? 0 : 1
            if (off > tolerance)
                bad = bad "line " FNR ", column " i ": got " $i ", expected " want[i] "\n"
        }
    }
    END {
        printf "%s%d numbers, the worst off by %.2g of %g\n", bad, count, worst, tolerance
        exit bad != "" || FNR != lines || count == 0
    }' "$dir/expected" "$dir/table"
