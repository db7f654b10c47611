#!/bin/sh
# qloom check tells settings that do nothing, or not what they seem to, and nothing else.
. "$QLOOM_SOURCE/tests/cli/common.sh"

# advises STAGES-AND-MATRIX TEXT...: `check` has exactly these warnings; '*' stands for anything
advises() {
    printf '%s\n' "$1" | pipeline
    shift
    run 0 check "$dir/p.yaml"
    [ "$(grep -c . "$dir/err")" -eq $# ] || fail "$# warnings expected, got: $(cat "$dir/err")"
    for text; do
        # shellcheck disable=SC2254
        case "$(cat "$dir/err")" in
        *$text*) ;;
        *) fail "no '$text' in: $(cat "$dir/err")" ;;
        esac
    done
}

quant='  quant: {use: rtn, model: $base, bits: 4, group_size: 32'
ppl='  ppl: {use: perplexity, model: $quant, data: $eval}'

advises "$quant}
$ppl"
advises "$quant, overrides: [{match: \"*.dwn_proj\", bits: 8}, {match: \"*\", bits: 3}, {match: \"*.q_proj\", skip: true}]}
$ppl" \
    "p.yaml:7:72: stage 'quant' (rtn): overrides: '\*.dwn_proj' matches no linear of base (did you mean '\*.down_proj'?)" \
    "p.yaml:7:127: stage 'quant' (rtn): overrides: '\*.q_proj' does nothing: rules before it take all linears that it matches"
advises "$quant}
  fix: {use: svd, model: \$quant, rank: 4000}
  ppl: {use: perplexity, model: \$fix, data: \$eval}" \
    "stage 'fix' (svd): rank 4000 is above the smaller side of 35 linears, such as model.layers.0.self_attn.q_proj with" \
    "stage 'fix' (svd): the result takes * bits a weight, more than the 16 of the original"
advises "$quant}
  fix: {use: svd, model: \$quant, rank: 4000, overrides: [{match: \"*.mlp.*\", skip: true}, {match: \"*\", rank: 8}]}
  ppl: {use: perplexity, model: \$fix, data: \$eval}"
advises "  quant: {use: rtn, model: \$base, bits: 8, group_size: 1}
$ppl" "stage 'quant' (rtn): the result takes 24.00 bits a weight, more than the 16 of the original"
advises "  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, seqlen: 32, samples: 4}
$quant}
  fix: {use: svd, model: \$quant, calib: \$calib, rank: 8}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
matrix:
  fix: [{use: lordq}, {use: qera}, {use: qera, scaling: approx}, {use: eora, rank: 4}, {use: svd}]" \
    "stage 'fix' (qera) is one with stage 'fix' (lordq) by construction: both are the best adapter of rank 8 in the norm of the layer output, from the same statistics"
advises "  quant: {use: gptq, model: \$base, bits: 4, group_size: 32, act_order: desc}
$ppl
matrix:
  quant: [{use: rtn}]
  quant.damp: [0.1]" \
    "p.yaml:7:61: stage 'quant': 'act_order' does nothing: no plugin of its cells has it" \
    "p.yaml:11:3: stage 'quant': 'damp' does nothing: no plugin of its cells has it"
run 0 check "$dir/p.yaml" -s quant.sym=false
printf '%s\n' "$quant}
$ppl" | pipeline
run 0 check "$dir/p.yaml" -s quant.damp=0.1
grep -q "^warning: -s quant.damp=0.1: stage 'quant': 'damp' does nothing" "$dir/err" || fail "not told: $(cat "$dir/err")"
exit "$failures"
