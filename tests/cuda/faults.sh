#!/bin/sh
# What a user reads when the device fails in the middle, on the emulated one, which QLOOM_PLUGIN_PATH has: an operation is named, nothing
# goes on elsewhere, and no table is printed.
. "$QLOOM_SOURCE/tests/cli/common.sh"

pipeline <<END
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, seqlen: 32, samples: 4}
  quant: {use: gptq, model: \$base, calib: \$calib, bits: 4, group_size: 64}
  ppl: {use: perplexity, model: \$quant, data: \$eval}
END

# fails STATUS PATTERN DEVICE: the run ends with that status, an error that PATTERN describes, and without a table
fails() {
    run "$1" -q run "$dir/p.yaml" --device "$3" --fresh --runs "$dir/runs"
    says out ""
    grep -v '^warning: .*cuda.so: the name' "$dir/err" >"$dir/text"
    grep -qxE "$2" "$dir/text" || fail "expected '$2': $(cat "$dir/text")"
}

stage="(stage 'quant' \(gptq\), model\.layers\.[0-4]\.[a-z_.]*: )?"
text='(cuda[A-Za-z]*: )?unspecified launch failure \(cudaErrorLaunchFailure\)'
for kernel in 2 40 200; do
    export QLOOM_TEST_CUDA_FAULT=$kernel
    fails 1 "${stage}[a-z_ ]+, or an operation queued before it \(QLOOM_SYNC=1 tells which\): $text" auto
    export QLOOM_SYNC=1
    fails 1 "${stage}[a-z_]+: $text" cuda
    unset QLOOM_SYNC
done
unset QLOOM_TEST_CUDA_FAULT

export QLOOM_TEST_CUDA_MEMORY=33000000
fails 1 'cuda:0 \(emulated on the host\) has no room for the 32 MiB of its libraries: who else uses it\?' cuda
export QLOOM_TEST_CUDA_MEMORY=34500000
fails 1 "${stage}(feedback_sweep: )?cuda has no room: (working space|quant \(gptq group_size=64\)) asks for [0-9.]+ KiB, 32\.[0-9] MiB of 32\.9 MiB are in use; lower \`memory:\` or \
\`chunk_tokens:\`; held:" cuda
has text "32.0 MiB the device's libraries"
has text 'KiB weights of blocks'

done_testing
