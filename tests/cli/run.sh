# A small pipeline from the file to its tables: what lies in the run folder, and what `table` makes of it.
. "$QLOOM_SOURCE/tests/cli/common.sh"

pipeline <<'END'
  quant: {use: rtn, model: $base, bits: 4, group_size: 64}
  ppl: {use: perplexity, model: $quant, data: $eval}
matrix:
  quant.bits: [8, 3]
table: {rows: quant.bits, value: ppl.perplexity}
END

run 0 run "$dir/p.yaml" --runs "$dir/runs"
has out "| original "
has err "done in"
cp "$dir/out" "$dir/first"
name=$(basename "$dir"/runs/small-*)
for file in pipeline.yaml manifest.json log.txt table.md table.csv table.tex table.json; do
    [ -s "$dir/runs/$name/$file" ] || fail "the run folder has no $file"
done
cmp -s "$dir/first" "$dir/runs/$name/table.md" || fail "table.md is not what was printed"

run 0 -q run "$dir/p.yaml" --runs "$dir/runs"
cmp -s "$dir/out" "$dir/first" || fail "a second run prints another table"
says err ""

run 0 table --runs "$dir/runs" "$name"
cmp -s "$dir/out" "$dir/first" || fail "table makes another table"
for format in md csv tex json; do
    run 0 table "$dir/runs/$name/" --format "$format"
    cmp -s "$dir/out" "$dir/runs/$name/table.$format" || fail "table --format $format makes another table"
done
run 0 table "$dir/runs/$name" --columns quant.bits --format csv
has out "run,8,3,notes"
run 2 table "$dir/runs/$name" --rows quant.bit
says err "table: no run tells its cells apart by 'quant.bit' (did you mean 'quant.bits'?)"
run 2 table "$dir/runs/$name" --value ppl.perplexiti
says err "table: no cell has the metric 'ppl.perplexiti' (did you mean 'ppl.perplexity'?)"
run 2 table "$dir/runs/$name" --format html
says err "--format: got 'html', expected md, csv, tex or json"
run 2 table "$dir/runs/${name}x"
says err "$dir/runs/results.db: there is no run '${name}x' (did you mean '$name'?)"

# An interrupted run says so with its status, and leaves the results that were there.
"$QLOOM" run "$dir/p.yaml" --runs "$dir/runs" -s eval.samples=1000 -s ppl.protocol=gptq >"$dir/out" 2>"$dir/err" &
pid=$!
await at_work $pid "$dir/err" "0 %"
kill -TERM $pid
wait $pid
[ $? -eq 130 ] || fail "an interrupted run has another status: $(cat "$dir/err")"
says out ""
run 0 table "$dir/runs/$name"
done_testing
