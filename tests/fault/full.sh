# A write that fails, a full disk, Ctrl-C, damaged entries: each is told with the file's name, and the same command then ends with what an
# undisturbed run has. Then what a run takes from an earlier one, and the cache command.
. "$QLOOM_SOURCE/tests/fault/common.sh"
echo "seed $seed"

# A write without room: nothing but the log may lose it without a word.
for trial in 1 2 3 4; do
    number "$writes"
    go "fail$trial" "fail:$drawn"
    case $? in
    0) ;;
    1) grep -qiE "/.*: .*(no space left on|disk I/O error|disk is full)" "$dir/fail$trial/err" ||
        fail "fail:$drawn: $(cat "$dir/fail$trial/err")" ;;
    *) fail "fail:$drawn: status $?: $(cat "$dir/fail$trial/err")" ;;
    esac
    go "fail$trial" || fail "after fail:$drawn: $(cat "$dir/fail$trial/err")"
    check_finished "fail$trial"
done

# A disk that is full from some point on.
number $((bytes * 9 / 10))
go full "full:$drawn"
[ $? -eq 1 ] || fail "full:$drawn: it did not fail"
grep -qiE "/.*: no space left on" "$dir/full/err" || fail "full:$drawn: $(cat "$dir/full/err")"
go full || fail "after full:$drawn: $(cat "$dir/full/err")"
check_finished full

# Ctrl-C.
go stopped "stop:$((ticks / 2))"
[ $? -eq 130 ] || fail "Ctrl-C: another status: $(cat "$dir/stopped/err")"
grep -qF "what is finished is kept; the same command goes on from there" "$dir/stopped/err" || fail "Ctrl-C: $(cat "$dir/stopped/err")"
go stopped || fail "after Ctrl-C: $(cat "$dir/stopped/err")"
check_finished stopped
journal=$(echo "$dir"/stopped/runs/fault-*/journal.jsonl)
tail -n +"$(grep -n '"walk"' "$journal" | tail -1 | cut -d: -f1)" "$journal" >"$dir/second"
grep -q '"did":"replay"' "$dir/second" || fail "after Ctrl-C nothing was replayed"
grep -q '"did":"run"' "$dir/second" || fail "after Ctrl-C nothing was left to do"

# Damage is told, and mended.
for entry in "$dir"/stopped/runs/cache/nodes/*/whole.safetensors; do
    printf x | dd of="$entry" bs=1 seek=200 conv=notrunc 2>"$dir/dd"
done
go stopped || fail "damaged entries: $(cat "$dir/stopped/err")"
grep -qF "its bytes don't have its checksum; it is thrown away and made again" "$dir/stopped/err" ||
    grep -qF "; it is thrown away and made again" "$dir/stopped/err" || fail "damage: $(cat "$dir/stopped/err")"
check_finished stopped

# One more compensator on a finished table: its own work alone.
(cd "$dir/plain" && sed '/use: gptq_checkpoint/d; /use: dequantized/d; s/{use: lordq, rank: 4}/&, {use: svd, rank: 5}/' ../p.yaml >../more.yaml &&
    "$QLOOM" run ../more.yaml >more 2>err) || fail "one more: $(cat "$dir/plain/err")"
journal=$(grep -l svd "$dir"/plain/runs/fault-*/journal.jsonl)
grep '"did":"run"' "$journal" | grep -vE '"what":"(layer_error of |perplexity of |choices of )?svd rank=5 on' && fail "one more: other work was done"
[ "$(grep -c '"did":"run"' "$journal")" -eq 26 ] || fail "one more: $(grep -c '"did":"run"' "$journal") pieces of work, expected 26"
grep -q " 1 calibration streams, 4 evaluation streams," "$dir/plain/err" || fail "one more: $(cat "$dir/plain/err")"

# The cache: listed, limited, cleared.
run 0 cache --cache "$dir/plain/runs/cache"
has out "  gptq bits=3 group_size=64 on qwen3 path=tiny-qwen3"
has out " stages, "
run 0 run "$dir/more.yaml" --runs "$dir/plain/runs" -s cache_limit=1MiB -s quant.bits=2
has err "made room, the least recently used"
run 0 cache list --cache "$dir/plain/runs/cache"
grep -q " gptq bits=3 " "$dir/out" && fail "cache_limit: an old stage is still there"
has out " gptq bits=2 "
run 0 cache clear --cache "$dir/plain/runs/cache"
has out "removed "
run 0 cache --cache "$dir/plain/runs/cache"
says out "0 stages, 0 bytes, in $dir/plain/runs/cache"
run 2 cache --cache "$dir"
says err "$dir: no cache of qloom: it has no CACHEDIR.TAG"
run 2 cache purge
says err "cache: got 'purge', expected list or clear"
run 2 cache list all
says err "cache: expected list or clear, got 2 operands"
run 2 run "$dir/p.yaml" --runs "$dir/r" -s cache="$QLOOM_SOURCE"
has err "$QLOOM_SOURCE: the folder has other files; a cache needs one of its own"
done_testing
