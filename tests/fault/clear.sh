# Usage: clear.sh [TRIALS] [SEED]: `cache clear` dies as by `kill -9` in one of its removals, while table and report are made of the run
# whose cache it is. Both say what they always say, the cache is still one, and the same run ends with the undisturbed run's bytes.
. "$QLOOM_SOURCE/tests/fault/small.sh"
trials=${1:-5}
seed=${2:-$seed}
echo "$trials trials, seed $seed"

cd "$dir" || exit 1
run=$(basename plain/runs/sweep-*)
cp -r plain trial
(cd trial && QLOOM_FAULT_LOG=../count LD_PRELOAD=$SHIM "$QLOOM" cache clear --cache runs/cache >out 2>&1) || fail "cache clear: $(cat trial/out)"
removals=$(sed -n 's/^unlink //p' count)
[ "$removals" -gt 0 ] || fail "cache clear removes nothing"
(cd plain && "$QLOOM" table --runs runs "$run" >../table && "$QLOOM" report --runs runs "$run" -o ../page.html -q) || fail "table and report of the undisturbed run"

trial=0 died=0
while [ $trial -lt "$trials" ]; do
    trial=$((trial + 1))
    rm -rf trial
    cp -r plain trial
    number "$removals"
    (cd trial && QLOOM_FAULT=unlink:$drawn! LD_PRELOAD=$SHIM exec "$QLOOM" cache clear --cache runs/cache >cleared 2>&1) &
    clearing=$!
    (cd trial && "$QLOOM" report --runs runs "$run" -o page.html -q >report 2>&1) &
    (cd trial && "$QLOOM" table --runs runs "$run" >table 2>&1) || fail "$trial, removal $drawn: table: $(cat trial/table)"
    wait "$clearing" 2>/dev/null
    [ $? -ne 137 ] || died=$((died + 1))
    wait
    cmp -s table trial/table || fail "$trial, removal $drawn: another table"
    cmp -s page.html trial/page.html || fail "$trial, removal $drawn: another report: $(head -n 2 trial/report)"
    (cd trial && "$QLOOM" cache --cache runs/cache >listed 2>&1) || fail "$trial, removal $drawn: cache: $(cat trial/listed)"
    repaired "$trial, removal $drawn"
done
echo "$died of $trial died"
[ "$died" -gt 0 ] || fail "cache clear never died"
done_testing
