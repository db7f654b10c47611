# Help of every command, unknown commands and options, exit statuses, and standard output that can't be written.
. "$QLOOM_SOURCE/tests/cli/common.sh"

run 0 --version
has out "qloom "
run 0 --version --verbose
has out "PCRE2 "
has out "(Unicode "
run 2 plugins --verbose
has err "--verbose goes with --version"
run 0 --help
says err ""
for command in $(sed -n '/^  [a-z]/s/^  \([a-z-]*\) .*/\1/p' "$dir/out"); do
    run 0 "$command" --help
    has out "usage: qloom $command"
    has out "--plugin-path DIRS"
    says err ""
    run 0 -h "$command"
    has out "usage: qloom $command"
    run 2 "$command" --no-such-option
    has err "unknown option '--no-such-option'"
    says out ""
done

run 2
has err "no command given"
says out ""
run 2 tabel
says err "unknown command 'tabel' (did you mean 'table'?)"
run 2 xyzzy
says err "unknown command 'xyzzy'; 'qloom --help' lists them"
run 2 --helo
says err "unknown option '--helo' (did you mean '--help'?)"
run 2 --threads 0 table x
says err "--threads: got '0', expected a whole number from 1 to 4096"
run 2 table x --threads 1x
says err "--threads: got '1x', expected a whole number from 1 to 4096"
run 2 table x --threads
says err "option '--threads' needs a value"
run 2 table
says err "table: expected the name of a run; folders in 'runs' are runs"
run 2 table --runs "$dir" some-run
says err "$dir/results.db: there are no results here"

"$QLOOM" --help >/dev/full 2>"$dir/err"
[ $? -eq 1 ] || fail "a full disk under standard output: status is not 1"
has err "cannot write the results to standard output: No space left on device"
"$QLOOM" --help >&- 2>"$dir/err"
[ $? -eq 1 ] || fail "closed standard output: status is not 1"
has err "cannot write the results to standard output"
# A reader that leaves is an error of the write, not a signal that kills.
mkfifo "$dir/pipe"
(exec 3<>"$dir/pipe" 4>"$dir/pipe" 3<&- && exec "$QLOOM" --help >&4 2>"$dir/err")
[ $? -eq 1 ] || fail "closed pipe: status is not 1"
has err "cannot write the results to standard output: Broken pipe"
# More tokens than the model has positions; a folder whose name is no UTF-8.
cat >"$dir/long.yaml" <<END
qloom: 1
name: long
device: cpu
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, seqlen: 16777216}
  ppl: {use: perplexity, model: \$base, data: \$eval}
END
run 2 run "$dir/long.yaml" --runs "$dir/long"
has err "seqlen: 16777216 tokens are more than the "
has err " positions of the model: allow_long: true takes them"
foreign=$dir/$(printf 'mod\350les')
if mkdir "$foreign" 2>"$dir/no"; then
    cp "$dir/long.yaml" "$foreign"
    cp -r "$QLOOM_SOURCE/examples/tiny-qwen3" "$foreign/m"
    sed -i "s|path: $QLOOM_SOURCE/examples/tiny-qwen3|path: m|" "$foreign/long.yaml"
    run 2 run "$foreign/long.yaml" --runs "$dir/long"
    has err "/mod\\xe8les/m: not UTF-8, so the pipeline can't be written down: rename the folder or file"
fi
done_testing
