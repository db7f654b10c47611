# A plugin that ends the program: the message names it, stage, linear and cell; the status is not 0; finished blocks are kept; and with
# --skip-failed the other cells get the numbers that they have without it.
. "$QLOOM_SOURCE/tests/cli/common.sh"

limit=0
write_pipeline() {
    pipeline <<END
  quant: {use: dies, model: \$base, bits: 4}
  ppl: {use: perplexity, model: \$quant, data: \$eval}
matrix:
  quant.how: [$1]
table: {rows: quant.how, value: ppl.perplexity}
time_limit: $limit
END
}

qloom="$QLOOM --plugin-path $DIES"
write_pipeline not
$qloom -q run "$dir/p.yaml" --runs "$dir/undisturbed" -f csv >"$dir/undisturbed.csv" || fail "an undisturbed run fails"
numbers=$(grep '^not,' "$dir/undisturbed.csv")
[ -n "$numbers" ] || fail "no numbers: $(cat "$dir/undisturbed.csv")"

# dies HOW STATUS WORDS
dies() {
    write_pipeline "not, $1"
    $qloom run "$dir/p.yaml" --runs "$dir/runs-$1" >"$dir/out" 2>"$dir/err"
    status=$?
    [ "$status" -eq "$2" ] || fail "$1: status $status, expected $2: $(cat "$dir/err")"
    has err "plugin 'dies' $3 in stage quant, model.layers.1.self_attn."
    has err "cell quant.how=$1"
    says out ""
    grep -q '"block": *0\|"block":0' "$dir/runs-$1"/small-*/journal.jsonl || fail "$1: no finished block is kept"
    # Without the option the plugin dies again; with it the other cell has its numbers, and this one its reason.
    run 1 -q --plugin-path "$DIES" run "$dir/p.yaml" --runs "$dir/runs-$1" -f csv --skip-failed
    [ "$(grep '^not,' "$dir/out")" = "$numbers" ] || fail "$1: other numbers beside a plugin that died: $(cat "$dir/out")"
    has err "1 of 3 cells failed"
    has out "the plugin ended the program of an earlier run"
}

ulimit -c 0
dies segv 139 "crashed (segmentation fault)"
dies bus 135 "crashed (bus error)"
dies fpe 136 "crashed (arithmetic exception)"
dies ill 132 "crashed (illegal instruction)"
dies abort 134 "aborted"
dies exit 1 "called exit()"
dies exit_at_once 1 "called exit()"
dies quick_exit 1 "called exit()"
dies stack 139 "crashed (segmentation fault)"
# A thread of the plugin's own has no stack for handlers: the process is gone without a word, which the next run says.
write_pipeline "not, thread"
for said in "" "the run before ended without a word while plugin 'dies' was called in stage quant, model.layers.1."; do
    $qloom run "$dir/p.yaml" --runs "$dir/runs-thread" >"$dir/out" 2>"$dir/err"
    [ $? -eq 139 ] || fail "thread: another status than 139: $(cat "$dir/err")"
    [ -z "$said" ] || has err "$said"
done

# One that changes how the thread rounds moves no other cell.
cat >"$dir/r.yaml" <<END
$(sed '/^matrix/,$d' "$dir/p.yaml")
matrix:
  quant: [{use: dies, how: WAY}, {use: rtn, bits: 3}, {use: gptq, bits: 3, calib: \$eval}]
table: {rows: quant, value: ppl.perplexity}
END
for way in not rounds; do
    sed "s/WAY/$way/" "$dir/r.yaml" >"$dir/r-$way.yaml"
    $qloom -q run "$dir/r-$way.yaml" --runs "$dir/runs-$way" -f csv >"$dir/$way" 2>"$dir/err" || fail "$way: $(cat "$dir/err")"
done
[ "$(sed '/dies/d' "$dir/not")" = "$(sed '/dies/d' "$dir/rounds")" ] || fail "a plugin that rounds otherwise moves other cells: $(cat "$dir/not" "$dir/rounds")"
[ "$(grep -c . "$dir/not")" -ge 4 ] || fail "no numbers: $(cat "$dir/not")"

# A plugin that every cell needs.
cat >"$dir/q.yaml" <<END
qloom: 1
device: cpu
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  eval: {use: dies_data}
  quant: {use: rtn, model: \$base, bits: 4}
  ppl: {use: perplexity, model: \$quant, data: \$eval}
END
"$QLOOM" --plugin-path "$DIES" run "$dir/q.yaml" --runs "$dir/runs-data" >"$dir/out" 2>"$dir/err"
[ $? -eq 139 ] || fail "a data plugin: another status than 139: $(cat "$dir/err")"
has err "plugin 'dies_data' crashed (segmentation fault) in stage eval"
has err "--skip-failed can leave none out"
"$QLOOM" --plugin-path "$DIES" run "$dir/q.yaml" --runs "$dir/runs-data" --skip-failed >"$dir/out" 2>"$dir/err"
[ $? -eq 139 ] || fail "a data plugin, --skip-failed: another status than 139: $(cat "$dir/err")"

# A stack that is too small is refused.
(ulimit -s 128 && exec "$QLOOM" run "$dir/p.yaml" --runs "$dir/runs-small" >"$dir/out" 2>"$dir/err")
[ $? -eq 1 ] || fail "a stack of 128 KiB: another status than 1"
has err "the stack may have 128 KiB (ulimit -s), expected 256 KiB or more"

# The contract of plugins names the plugin too.
cp "$DIES/dies.so" "$dir/other.so"
DIES_CHECK=1 "$QLOOM" check-plugin "$dir/other.so" >"$dir/out" 2>"$dir/err"
[ $? -eq 139 ] || fail "check-plugin: another status than 139: $(cat "$dir/err")"
has err "plugin 'dies' crashed (segmentation fault)"

limit=3 # what any other call ends in, on a machine that does much else, too
dies loop 1 "took longer than \`time_limit:\`"
limit=0

# A run without the option forgets: the plugin, mended meanwhile, is called.
write_pipeline "not, segv"
$qloom run "$dir/p.yaml" --runs "$dir/runs-segv" >"$dir/out" 2>"$dir/err"
[ $? -eq 139 ] || fail "without --skip-failed a plugin that died is not called again"

# An endless loop: the signal that it does not look at ends it all the same, two seconds later, and says so; a second one ends it at once.
# The test may be too late for either on a machine that does much else, so each has some attempts.
write_pipeline "not, loop"
looping() {
    grep -q "how=loop" "$dir"/runs-loop/small-*/at && grep -q "model.layers.1" "$dir"/runs-loop/small-*/at
}
for times in 1 2; do
    attempts=0
    while [ $attempts -lt 5 ]; do
        attempts=$((attempts + 1))
        rm -rf "$dir/runs-loop"
        $qloom run "$dir/p.yaml" --runs "$dir/runs-loop" >"$dir/out" 2>"$dir/err" &
        pid=$!
        await looping
        kill -TERM $pid
        [ $times -eq 1 ] || { await at_work $pid "$dir/err" "once more to stop" && kill -TERM $pid; }
        wait $pid
        [ $? -eq 130 ] || fail "$times signals in an endless loop: another status than 130"
        ends=$(grep -c "stopped in the middle of a block" "$dir/err")
        [ "$ends" -ne $((2 - times)) ] || break
    done
    [ "$ends" -eq $((2 - times)) ] || fail "an endless loop and $times signals: $(cat "$dir/err")"
done
done_testing
