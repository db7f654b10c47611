#!/bin/sh
# Values of the environment that look like secrets are in no file, name and message of a run; their names are.
. "$QLOOM_SOURCE/tests/cli/common.sh"
export HF_TOKEN=s3cr3t-one AWS_SECRET_ACCESS_KEY=s3cr3t-two FOLDER="$QLOOM_SOURCE/examples" ADDRESS=https://me:s3cr3t-three@host/x

sed "s|\$QLOOM_SOURCE|$QLOOM_SOURCE|" >"$dir/p.yaml" <<'END'
qloom: 1
name: "t-${AWS_SECRET_ACCESS_KEY}"
device: cpu
stages:
  base: {use: auto, path: "${FOLDER}/tiny-qwen3"}
  eval: {use: text, path: "${FOLDER}/eval.txt", seqlen: 32, samples: 2}
  quant: {use: rtn, model: $base, bits: 4, group_size: 32}
  ppl: {use: perplexity, model: $quant, data: $eval}
matrix:
  quant: [{use: rtn, label: "${HF_TOKEN}"}, {use: mxint, label: "${ADDRESS}"}]
table: {rows: quant.use, value: ppl.perplexity}
END
run 0 run "$dir/p.yaml" --runs "$dir/runs"
for name in HF_TOKEN AWS_SECRET_ACCESS_KEY ADDRESS; do
    grep -q "the value of '$name' looks like a secret and stays in the environment" "$dir/err" || fail "$name is not told: $(cat "$dir/err")"
done
grep -q 'HF_TOKEN' "$dir/out" || fail "the table does not name HF_TOKEN: $(cat "$dir/out")"
grep -rqF "$FOLDER/tiny-qwen3" "$dir/runs" || fail "the path is not in the expanded pipeline"
found=$(grep -rla 's3cr3t' "$dir/runs" "$dir/out" "$dir/err"; find "$dir/runs" -name '*s3cr3t*')
[ -z "$found" ] || fail "the secret is in: $found"
printf 'qloom: 1\nstages:\n  base: {use: "${HF_TOKEN}"}\n' >"$dir/b.yaml"
run 2 check "$dir/b.yaml"
grep -q "there is no plugin '\${HF_TOKEN}'" "$dir/err" && ! grep -q s3cr3t "$dir/err" || fail "not told: $(cat "$dir/err")"
exit "$failures"
