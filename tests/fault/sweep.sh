# Usage: sweep.sh FIRST RANDOM [CALL...]: calls of the C library fail under a small table with exports: each CALL (all that the shim knows)
# at its n-th time, for every n up to FIRST and RANDOM ones beyond, that one alone and all from there on, in a new folder and where all is
# finished. A run then ends with an error, or with the undisturbed run's bytes; no file is half there; and the same command without the
# fault ends with the undisturbed run's bytes.
. "$QLOOM_SOURCE/tests/fault/small.sh"
first=${1:-0} random=${2:-1}
[ $# -lt 2 ] || shift 2
calls=${*:-malloc mmap open read write pwrite fsync rename ftruncate stat readdir unlink mkdir pthread_create}

# attempt STATE FAULT: one faulty run on what $dir/trial has, and its repair
attempt() {
    go trial "$2"
    status=$?
    what="$1, $2, status $status"
    trials=$((trials + 1))
    if [ $status -eq 0 ]; then
        { differences trial && cmp "$dir/plain/out" "$dir/trial/out"; } >"$dir/same" 2>&1 || case $2 in
        write:*) ;; # what could not be printed is not in $dir/trial/out
        *) fail "$what: other bytes than undisturbed: $(head -n 3 "$dir/same")" ;;
        esac
    elif [ $status -ge 124 ]; then
        fail "$what: it died or did not end: $(tail -n 2 "$dir/trial/err")"
    else
        errors=$((errors + 1))
        case $2 in write:*) ;; *) [ -s "$dir/trial/err" ] || fail "$what: without a word" ;; esac
        [ ! -d "$(echo "$dir"/trial/runs/sweep-*)" ] || differences trial | grep -v '^Only in' >"$dir/same"
        [ ! -s "$dir/same" ] || fail "$what: a file is neither old nor new: $(head -n 3 "$dir/same")"
    fi

    repaired "$what"
}

count counted
echo "seed $seed; calls of an undisturbed run: $(sed 1d "$dir/count" | tr '\n' ' ')"
trials=0 errors=0
for call in $calls; do
    limit=$(sed -n "s/^$call //p" "$dir/count")
    [ "$limit" -gt 0 ] || continue
    numbers=$(seq 1 $((first < limit ? first : limit)))
    if [ "$first" -lt "$limit" ]; then
        i=0
        while [ $i -lt "$random" ] && [ $i -lt $((limit - first)) ]; do
            number $((limit - first))
            numbers="$numbers $((first + drawn))"
            i=$((i + 1))
        done
    fi
    for n in $numbers; do
        for fault in "$call:$n" "$call:$n+"; do
            rm -rf "$dir/trial"
            attempt fresh "$fault"
            attempt warm "$fault"
        done
    done
done
echo "$trials faulty runs, $errors ended with an error, $failures findings"
[ "$errors" -gt 0 ] || fail "no fault had an effect"
done_testing
