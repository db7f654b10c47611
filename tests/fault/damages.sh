# Usage: damages.sh [COUNT] [SEED]: as many random damages, one each time in the run, results and cache of a finished table, of every kind
# of file that lies there: a bit turned, cut, zeroed, grown, deleted, two entries exchanged, one in another's place, and entries that are
# wrong under a right checksum. Half of the runs after it have lost their results, so that all comes from the cache. A run then ends with
# the undisturbed run's bytes or with an error that names a file, without a crash, in at most three times the time; where it was an
# error, removing what it names leads to those bytes.
. "$QLOOM_SOURCE/tests/fault/small.sh"
count=${1:-20}
seed=${2:-$seed}

# place N: the files of the N-th kind
place() {
    case $1 in
    0 | 1) find runs/cache/nodes -name '0*.safetensors' ;;
    2) find runs/cache/nodes -name '*.safetensors' ! -name '0*' ;;
    3) find runs/cache/files runs/cache/CACHEDIR.TAG -type f ;;
    4) find runs -maxdepth 1 -name results.db ;;
    5) find runs/sweep-* -maxdepth 1 -type f ! -name lock ! -name at ;;
    6) find runs/sweep-* -mindepth 2 -type f ;;
    esac | sort
}

# drawn_of LIST: a random line of it in $line
drawn_of() {
    number "$(echo "$1" | wc -l)"
    line=$(echo "$1" | sed -n "${drawn}p")
}

# damage KIND FILE OTHERS: does it, and says what in $told; false where the file has nothing to damage in that way
damage() {
    number 1000000000
    told="$1 $2"
    case $1 in
    delete) rm "$2" ;;
    swap | duplicate)
        drawn_of "$3"
        [ "$line" != "$2" ] && ! cmp -s "$line" "$2" || return 1
        told="$1 $2 $line"
        cp "$2" kept
        cp "$line" "$2"
        [ "$1" = duplicate ] || cp kept "$line"
        rm kept
        ;;
    *)
        told=$("$DAMAGE" "$1" "$2" "$drawn") || {
            status=$?
            [ $status -eq 3 ] || fail "damage $1 $2: status $status"
            return 1
        }
        told="$2: $told"
        ;;
    esac
}

# spent: $took is the processor time of all that ended since the last call, in milliseconds
before=0
spent() {
    times >"$dir/times"
    now=$(tail -n 1 "$dir/times" | tr 'ms' '  ' | awk '{ printf "%d", ($1 + $3) * 60000 + ($2 + $4) * 1000 }')
    took=$((now - before))
    before=$now
}

echo "seed $seed"
cd "$dir" || exit 1
spent
go plain || fail "the undisturbed run again: $(cat "$dir/plain/err")"
spent
limit=$((3 * took + 1000)) # of processor time, whatever else the machine does; who waits for ever is ended
trial=0 forged=0 errors=0
: >"$dir/kinds"
while [ $trial -lt "$count" ]; do
    rm -rf trial
    cp -r plain trial
    cd trial || exit 1
    number 7
    place=$((drawn - 1))
    files=$(place $place)
    drawn_of "$files"
    file=$line
    case $place in
    0 | 1 | 2) kinds="flip truncate zero grow delete swap duplicate drop shorten counts turn lose" ;;
    *) kinds="flip truncate zero grow delete" ;;
    esac
    drawn_of "$(echo "$kinds" | tr ' ' '\n')"
    kind=$line
    damage "$kind" "$file" "$files" || { cd ..; continue; }
    trial=$((trial + 1))
    echo "$kind" >>"$dir/kinds"
    case $kind in drop | shorten | counts | turn | lose) forged=$((forged + 1)) ;; esac
    number 2
    [ "$drawn" -eq 1 ] || { told="$told; without results.db"; rm -f runs/results.db; }
    cd ..
    spent
    go trial
    status=$?
    spent
    [ $took -le $limit ] || fail "$trial, $told: took $took ms, allowed $limit"
    if [ $status -ge 124 ]; then
        fail "$trial, $told: status $status: $(tail -n 2 trial/err)"
    elif [ $status -ne 0 ]; then
        errors=$((errors + 1))
        # What can't be made again by itself is removed, as the message says.
        grep -qF -e "$(basename "$file")" -e "$(dirname "$file")" trial/err || fail "$trial, $told: status $status, and the file is not named: $(tail -n 2 trial/err)"
        case $file in */CACHEDIR.TAG) cp "plain/$file" "trial/$file" ;; runs/sweep-*/*/*) rm -rf "trial/$(dirname "$file")" ;; *) rm -f "trial/$file" ;; esac
        repaired "$trial, $told"
    else
        { differences trial && cmp plain/out trial/out && "$SAME" plain/runs/results.db trial/runs/results.db; } >same 2>&1 ||
            fail "$trial, $told: other bytes than undisturbed: $(head -n 3 same)"
    fi
done
echo "$trial damages: $(sort "$dir/kinds" | uniq -c | tr -s ' \n' ' '); $errors ended with an error"
[ "$count" -lt 20 ] || [ $forged -gt 0 ] || fail "no entry was forged"
done_testing
