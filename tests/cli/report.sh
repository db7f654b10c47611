# A run's report and figures, tables of chosen cells and of differences, and the words for what isn't there.
. "$QLOOM_SOURCE/tests/cli/common.sh"

pipeline <<'END'
  quant: {use: rtn, model: $base, bits: 4, group_size: 64}
  ppl: {use: perplexity, model: $quant, data: $eval}
matrix:
  quant:
    - {use: rtn, label: "<b>&plain"}
    - {use: mxint, label: other}
  quant.bits: [8, 3]
table: {rows: quant.bits, columns: quant, value: ppl.perplexity}
END

run 0 -q run "$dir/p.yaml" --runs "$dir/runs"
name=$(basename "$dir"/runs/small-*)
[ -s "$dir/runs/$name/report.html" ] || fail "the run folder has no report.html"
run 0 report --runs "$dir/runs" "$name"
cmp -s "$dir/out" "$dir/runs/$name/report.html" || fail "report makes another page"
has out "<!doctype html>"
has out "&lt;b&gt;&amp;plain"
run 0 -q run "$dir/p.yaml" --runs "$dir/runs" -s name=second
run 0 report "$dir/runs/$name" "$dir"/runs/second-* -o "$dir/two.html"
says out ""
has two.html "<h1>2 runs</h1>"
run 1 report "$dir/runs/$name" -o "$dir/no/where.html"

for figure in pareto time memory graph; do
    run 0 plot "$dir/runs/$name" --figure $figure -o "$dir/$figure.svg"
    has $figure.svg "<svg xmlns="
done
run 0 plot "$dir/runs/$name"
cmp -s "$dir/out" "$dir/pareto.svg" || fail "plot draws something else than pareto"
run 2 plot "$dir/runs/$name" -f pie
says err "plot: there is no figure 'pie', expected one of pareto, series, time, memory, spectrum, heat, graph"
run 2 plot "$dir/runs/$name" -f heat
says err "plot: these results have nothing that 'heat' could show"
run 2 plot "$dir/runs/$name" --value ppl.perplexiti
says err "plot: no cell has the metric 'ppl.perplexiti' (did you mean 'ppl.perplexity'?)"
run 2 plot
says err "plot: expected the name of a run; folders in 'runs' are runs"

run 0 table "$dir/runs/$name" --where quant=other --where quant.bits=3 --value cost.bits --format csv
[ "$(sed 1d "$dir/out")" = "original,16,
3,3.125," ] || fail "--where leaves $(cat "$dir/out")"
run 0 table "$dir/runs/$name" --best columns
[ "$(grep -c '\*\*.*\*\*.*\*\*.*\*\*' "$dir/out")" = 1 ] || fail "--best columns: $(cat "$dir/out")"
run 0 table "$dir/runs/$name" --best rows
[ "$(grep -c '\*\*.*\*\*' "$dir/out")" = 2 ] || fail "--best rows: $(cat "$dir/out")"
run 0 table "$dir/runs/$name" --reference quant=other
has out "differences from the cell with quant=other, ± paired standard error"
[ "$(grep -c ' 0 ± 0 ' "$dir/out")" = 2 ] || fail "--reference: $(cat "$dir/out")"
run 0 table "$dir/runs/$name" --reference original --format csv
has out "quant.bits,<b>&plain,<b>&plain error,other,other error,notes"
run 2 table "$dir/runs/$name" --best cells
says err "--best: got 'cells', expected rows or columns"
run 2 table "$dir/runs/$name" --where quant.bits
says err "--where: got 'quant.bits', expected AXIS=LABEL, like quant.bits=3"
run 2 table "$dir/runs/$name" --where quant.bits=4
says err "--where: no cell has '4' as its quant.bits; there are 8, 3"
run 2 table "$dir/runs/$name" --reference quant.bit=3
says err "--reference: no run tells its cells apart by 'quant.bit' (did you mean 'quant.bits'?)"
done_testing
