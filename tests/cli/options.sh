# Options out of an argument list: where they may stand, what ends them, which are refused.
. "$QLOOM_SOURCE/tests/cli/common.sh"

pipeline <<'END'
  quant: {use: rtn, model: $base, bits: 4}
  ppl: {use: perplexity, model: $quant, data: $eval}
END

# refused MESSAGE ARGUMENTS...
refused() {
    message=$1
    shift
    run 2 "$@"
    says err "$message"
}

# Before, between and behind the operands, in both forms; each -s counts, in order.
run 0 graph -s quant.bits=5 "$dir/p.yaml" --set quant.bits=3 --set=name=a=b
has out "bits=3"
run 0 graph --dot "$dir/p.yaml"
has out "digraph"
run 0 plugins --json rtn
run 0 plugins rtn --markdown
has out "### rtn"
refused "check: expected one pipeline file, got 2 operands" check a -s name=x b
# A single dash is an operand; two end the options.
refused "check: expected one pipeline file, got 4 operands" check a - -- --flag -f
refused "check: expected one pipeline file, got 0 operands" check
# The last of a single option counts.
run 0 -q run "$dir/p.yaml" --runs "$dir/runs" -f html -f json
has out '"ppl.perplexity"'

refused "unknown option '--formt' (did you mean '--format'?)" table --formt x
refused "unknown option '--quite' (did you mean '--quiet'?)" run --quite
refused "unknown option '-s'" run -s=3
refused "unknown option '--zzzzzzzz'" run --zzzzzzzz=1
refused "option '--fresh' takes no value, got 'yes'" run --fresh=yes
refused "option '--format' needs a value" run a --format
refused "option '--set' needs a value" run a -s
done_testing
