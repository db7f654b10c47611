# Signals end any command within two seconds, and a second one at once; what can't be written is an error with status 1.
. "$QLOOM_SOURCE/tests/cli/common.sh"
patience=15 # two seconds of a machine that does nothing else

pipeline <<'END'
  quant: {use: rtn, model: $base, bits: 4}
  ppl: {use: perplexity, model: $quant, data: $eval}
matrix:
  quant.bits: [8, 3]
END
run 0 -q run "$dir/p.yaml" --runs "$dir/runs"
cp "$dir/out" "$dir/table"
name=$(basename "$dir"/runs/small-*)

# stopped SIGNAL ARGUMENTS...: a command that reads a pipe which nobody writes to ends at the signal
stopped() {
    signal=$1
    shift
    "$QLOOM" "$@" >"$dir/out" 2>"$dir/err" <"$dir/fifo" &
    pid=$!
    await catches $pid
    before=$(date +%s)
    kill -"$signal" $pid || fail "$*: ended before the signal"
    wait $pid
    got=$?
    took=$(($(date +%s) - before))
    [ "$got" -eq 130 ] || fail "SIG$signal, $*: status $got"
    [ "$took" -lt $patience ] || fail "SIG$signal, $*: took $took s"
}
mkfifo "$dir/fifo"
exec 9<>"$dir/fifo"
for signal in INT TERM HUP; do
    stopped $signal tokenize "$QLOOM_SOURCE/examples/tiny-qwen3"
done

# A run of a long walk: it stops at a resumable point, and goes on to the same table.
for signal in TERM HUP; do
    rm -rf "$dir/cut" "$dir/err"
    : >"$dir/err"
    "$QLOOM" run "$dir/p.yaml" --runs "$dir/cut" -s eval.samples=4000 >"$dir/out" 2>"$dir/err" &
    pid=$!
    await at_work $pid "$dir/err" "0 %"
    before=$(date +%s)
    kill -$signal $pid
    wait $pid
    got=$?
    took=$(($(date +%s) - before))
    [ "$got" -eq 130 ] || fail "SIG$signal: a run ends with status $got: $(cat "$dir/err")"
    [ "$took" -lt $patience ] || fail "SIG$signal: a run took $took s to end"
    says out ""
done

# A limit of addresses that leaves OpenBLAS no room is told before anything runs. With a sanitizer no program begins below it.
if (ulimit -v 150000 && exec "$QLOOM" --version) 2>&1 | grep -q '^qloom '; then
    (ulimit -v 150000 && exec timeout 120 "$QLOOM" -q run "$dir/p.yaml" --runs "$dir/limited" --threads 1 >"$dir/out" 2>"$dir/err")
    [ $? -eq 1 ] || fail "a limit of addresses: another status than 1: $(cat "$dir/err")"
    has err "OpenBLAS has no room for its buffers, 1 of 136 MiB of addresses: raise the limit (ulimit -v), or lower --threads"
else
    (ulimit -v 150000 && exec "$QLOOM" --version) 2>&1 | grep -q Sanitizer || fail "no program begins with 150,000 KiB"
fi

# A file size limit is an error of the write.
(ulimit -f 1 && exec "$QLOOM" -q run "$dir/p.yaml" --runs "$dir/limited" >"$dir/out" 2>"$dir/err")
[ $? -eq 1 ] || fail "a file size limit: another status than 1: $(cat "$dir/err")"
grep -qi "file too large\|no space" "$dir/err" || fail "a file size limit is not named: $(cat "$dir/err")"
run 0 -q run "$dir/p.yaml" --runs "$dir/limited"
cmp -s "$dir/out" "$dir/table" || fail "after a file size limit: another table"
(ulimit -f 0 && exec "$QLOOM" table "$dir/runs/$name" -o "$dir/new.md" 2>"$dir/err")
[ $? -eq 1 ] || fail "-o with a file size limit: another status than 1"
[ -z "$(ls "$dir" | grep '^new')" ] || fail "-o left $(ls "$dir" | grep '^new')"

# Links planted in a run folder are not followed.
echo precious >"$dir/precious"
for file in log.txt at crashes lock; do
    rm -f "$dir/runs/$name/$file"
    ln -s "$dir/precious" "$dir/runs/$name/$file"
    "$QLOOM" -q run "$dir/p.yaml" --runs "$dir/runs" >"$dir/out" 2>"$dir/err"
    says precious "precious"
    rm -f "$dir/runs/$name/$file"
done

# A model file that is cut short while a run reads it is named, and the run can go on later.
cp -r "$QLOOM_SOURCE/examples/tiny-qwen3" "$dir/model"
"$QLOOM" run "$dir/p.yaml" -s "base.path=$dir/model" --runs "$dir/short" -s eval.samples=2000 >"$dir/out" 2>"$dir/err" &
pid=$!
await at_work $pid "$dir/err" "0 %"
: >"$dir/model/model.safetensors"
wait $pid
[ $? -eq 1 ] || fail "a model file that was cut short: another status than 1: $(cat "$dir/err")"
has err "model.safetensors"

# Names of a pipeline hold no control characters where they are shown.
sed 's/^name: small/name: "a\\e[2J\\nforged"/' "$dir/p.yaml" >"$dir/forged.yaml"
run 0 graph "$dir/forged.yaml"
! grep -q '^forged' "$dir/out" || fail "a name forges a line: $(cat "$dir/out")"
has out 'a\x1b[2J\nforged'

# A working directory that is gone, and no HOME.
mkdir "$dir/gone"
(cd "$dir/gone" && rmdir "$dir/gone" && exec env -u HOME -u TMPDIR "$QLOOM" -q run "$dir/p.yaml" --runs "$dir/runs" >"$dir/out" 2>"$dir/err")
[ $? -eq 0 ] || fail "a working directory that is gone: $(cat "$dir/err")"
cmp -s "$dir/out" "$dir/table" || fail "without a working directory: another table"
done_testing
