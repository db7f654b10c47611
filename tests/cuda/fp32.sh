#!/bin/sh
# Usage: fp32.sh BUILD SOURCE: a pipeline on the emulated device in fp32 and on the cpu: the same perplexities to 1e-5.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/both.yaml" <<END
qloom: 1
name: both
compute: fp32
stages:
  base: {use: auto, path: $source/examples/tiny-qwen3}
  calib: {use: text, path: $source/examples/calib.txt, samples: 1, seqlen: 16}
  eval: {use: text, path: $source/examples/eval.txt, samples: 1, seqlen: 16}
  quant: {use: rtn, model: \$base, bits: 4, group_size: 64}
  fix: {use: lordq, model: \$quant, calib: \$calib, rank: 4}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
table: {rows: quant.use, value: ppl.perplexity}
END
for device in cpu cuda; do
    LD_LIBRARY_PATH=$build/lib "$build/bin/qloom" -q --plugin-path "$build/emulated" run "$work/both.yaml" --device $device \
        --runs "$work/runs" --format csv | cut -d , -f 1,2 >"$work/$device"
    cat "$work/$device"
done
paste -d , "$work/cpu" "$work/cuda" | awk -F, '$2 + 0 > 0 { n++; d = log($4 / $2); if (d < -1e-5 || d > 1e-5) bad++ }
    END { exit !(n == 2 && !bad) }'
