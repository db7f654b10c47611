# Usage: forged.sh [DRAWS] [SEED]: an entry of the cache is whole under its checksum, which anybody can write, so what it counts is looked at
# before it is believed. In every entry of a finished table a linear has lost its tensors and says so, or, for each further one of DRAWS, a
# number becomes huge or negative, under a right checksum; the run after it, whose results are gone, doesn't die, ends within the limit, and
# leaves the rows in results.db that the undisturbed one has, and prints its table: but for values of a linear's own.
. "$QLOOM_SOURCE/tests/fault/small.sh"
draws=${1:-8}
seed=${2:-$seed}
echo "$draws draws for each entry, seed $seed"

cd "$dir" || exit 1
forged=0 refused=0
for entry in $(cd plain && find runs/cache/nodes -name '*.safetensors'); do
    draw=0
    while [ $draw -lt "$draws" ]; do
        draw=$((draw + 1))
        kind=$([ $draw -eq 1 ] && echo lose || echo counts)
        rm -rf trial
        cp -r plain trial
        rm -f trial/runs/results.db
        number 1000000000
        told=$("$DAMAGE" "$kind" "trial/$entry" "$drawn") || continue
        forged=$((forged + 1))
        go trial
        status=$?
        ! grep -q "is thrown away and made again" trial/err || refused=$((refused + 1))
        [ $status -lt 124 ] || fail "$entry, $told: status $status: $(tail -n 2 trial/err)"
        # A linear's own values (a damping, a flag) are as little betrayed by others as its codes: they are believed, and nothing breaks.
        case $told in counts*.values*) continue ;; esac
        [ $status -eq 0 ] || fail "$entry, $told: status $status: $(tail -n 2 trial/err)"
        { differences trial && cmp plain/out trial/out && "$SAME" plain/runs/results.db trial/runs/results.db; } >same 2>&1 ||
            fail "$entry, $told: $(head -n 3 same)"
    done
done
echo "$forged forged, $refused of them refused"
[ "$forged" -gt 0 ] && [ "$refused" -gt 0 ] || fail "nothing was forged, or nothing of it noticed"
done_testing
