#!/bin/sh
# One pipeline that users start from, on the cpu and on the emulated cuda device: the same labels, numbers within the tolerance, which is
# that of bf16 where a code between two levels falls to the other side. Usage: pipeline.sh QLOOM PLUGINS NAME TOLERANCE [-s SETTING]...
set -u
qloom=$1 plugins=$2 name=$3 tolerance=$4
shift 4
file=$(cd "$(dirname "$0")/../.." && pwd)/pipelines/$name.yaml
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MODEL CALIB EVAL GROUP RANK

for device in cpu cuda; do
    QLOOM_PLUGIN_PATH=$plugins "$qloom" run "$file" -q --device $device --runs "$dir/$device" --format csv \
        -s calib.samples=2 -s calib.seqlen=32 -s eval.samples=2 -s eval.seqlen=32 "$@" >"$dir/$device.csv" || exit 1
done
awk -F, -v tolerance="$tolerance" '
    NR == FNR { expected[FNR] = $0; lines = FNR; next }
    {
        n = split(expected[FNR], want, ",")
        for (i = 1; i <= NF || i <= n; i++) {
            number = $i ~ /^[0-9]+\.[0-9]+(e[-+]?[0-9]+)?$/
            off = number && want[i] > 0 ? $i / want[i] - 1 : $i != want[i]
            off = off < 0 ? -off : off
            if (off > tolerance)
                bad = bad "line " FNR ", column " i ": got " $i ", on the cpu " want[i] "\n"
            worst = off > worst ? off : worst
            count += number
        }
    }
    END {
        printf "%s%d numbers, the worst off by %.2g of %g\n", bad, count, worst, tolerance
        exit bad != "" || FNR != lines || count == 0
    }' "$dir/cpu.csv" "$dir/cuda.csv"
