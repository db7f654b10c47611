# A data plugin whose tokens are not what they say: the run ends with an error that names its stage, before anything is walked.
. "$QLOOM_SOURCE/tests/cli/common.sh"

write_pipeline() {
    cat >"$dir/p.yaml" <<END
qloom: 1
name: lies
device: cpu
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  words: {use: lies, about: $1}
  quant: {use: rtn, model: \$base, bits: 4}
  found: {use: $2, model: \$quant, data: \$words}
END
}

# refused ABOUT EVALUATOR STATUS WORDS
refused() {
    write_pipeline "$1" "$2"
    run "$3" -q --plugin-path "$DIES" run "$dir/p.yaml" --runs "$dir/runs"
    has err "stage 'words' (lies)"
    has err "$4"
    says out ""
}

write_pipeline nothing perplexity
run 0 -q --plugin-path "$DIES" run "$dir/p.yaml" --runs "$dir/runs"
refused count perplexity 2 "no sequence came out of 2 documents"
refused offsets perplexity 1 "the plugin gave sequences without their offsets or ids"
refused ids perplexity 1 "the plugin gave sequences without their offsets or ids"
refused start perplexity 2 "do not start at token 0"
refused order perplexity 2 "sequence 1 ends before it starts"
refused vocabulary perplexity 2 "is outside the vocabulary"
refused first perplexity 2 "starts at position"
refused parent perplexity 2 "has the parent 1, expected an earlier sequence"
refused targets choices 1 "the plugin gave questions that name what is not there"
refused requests choices 1 "the plugin gave questions that name what is not there"
refused gold choices 1 "the plugin gave questions that name what is not there"
refused parameters perplexity 2 "the plugin wrote to 'parameters', which was lent for reading only"
done_testing
