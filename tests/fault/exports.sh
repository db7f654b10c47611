# Usage: exports.sh [all]. The contract of exporters: whatever call fails, and wherever the process dies, an earlier export is bit for bit as it was or the new one is
# complete. Every exporter of the tree; with `all` every n-th write, every rename, fsync, mkdir and unlink and 50 deaths, else some of them. QLOOM, SHIM, MAKE_MODEL and
# QLOOM_SOURCE as in small.sh.
. "$QLOOM_SOURCE/tests/cli/common.sh"
seed=${QLOOM_TEST_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
echo "seed $seed"

"$MAKE_MODEL" "$dir/model" qwen3 layers=1 hidden=32 intermediate=64 heads=2 kv_heads=2 head_dim=16 || exit 1
cp "$QLOOM_SOURCE"/examples/tiny-qwen3/tokenizer*.json "$dir/model"
cat >"$dir/p.yaml" <<END
qloom: 1
name: exports
device: cpu
stages:
  base: {use: auto, path: model}
  quant: {use: rtn, model: \$base, bits: 4, group_size: 32}
  fix: {use: svd, model: \$quant, rank: 2}
  codes: {use: gptq_checkpoint, model: \$quant, path: $dir/x/codes}
  packed: {use: compressed_tensors, model: \$quant, path: $dir/x/packed}
  merged: {use: dequantized, model: \$fix, path: $dir/x/merged}
  adapter: {use: peft_adapter, model: \$fix, path: $dir/x/adapter}
END
exporters=$("$QLOOM" plugins --json | grep -c '"kind": "exporter"')
[ "$exporters" -eq 4 ] || fail "$exporters exporters, 4 are tried here"

# go BITS [FAULT]
go() {
    QLOOM_FAULT=${2:-} LD_PRELOAD=${2:+$SHIM} timeout -k 1 300 "$QLOOM" run "$dir/p.yaml" -s quant.bits="$1" --runs "$dir/runs" --threads 1 \
        >"$dir/out" 2>"$dir/err" </dev/null
}

# check WHAT: each export is the old one or the new one
check() {
    for folder in codes packed merged adapter; do
        diff -rq "$dir/x/$folder" "$dir/old/$folder" >/dev/null 2>&1 || diff -rq "$dir/x/$folder" "$dir/new/$folder" >"$dir/same" 2>&1 ||
            fail "$1: $folder is neither old nor new: $(head -n 2 "$dir/same")"
    done
}

# attempt FAULT
attempt() {
    rm -rf "$dir/x"
    cp -r "$dir/old" "$dir/x"
    go 8 "$1"
    status=$?
    trials=$((trials + 1))
    [ $status -eq 0 ] || bad=$((bad + 1))
    check "$1, status $status"
    [ $status -ne 0 ] || diff -rq "$dir/x" "$dir/new" >"$dir/same" 2>&1 || fail "$1: status 0, but $(head -n 2 "$dir/same")"
}

# settled WHAT: the same command again leaves the new exports and nothing else
settled() {
    go 8 || fail "$1: the same command again: $(tail -n 2 "$dir/err")"
    diff -rq "$dir/x" "$dir/new" >"$dir/same" 2>&1 || fail "$1: the same command again: $(head -n 2 "$dir/same")"
}

go 8 || fail "$(cat "$dir/err")"
mv "$dir/x" "$dir/new"
go 4 || fail "$(cat "$dir/err")"
cp -r "$dir/x" "$dir/old"
rm -rf "$dir/x"
cp -r "$dir/old" "$dir/x"
QLOOM_FAULT_LOG=$dir/count LD_PRELOAD=$SHIM "$QLOOM" run "$dir/p.yaml" -s quant.bits=8 --runs "$dir/runs" --threads 1 >"$dir/out" 2>"$dir/err" || fail "the counted run"
read -r _ writes _ <"$dir/count"
trials=0 bad=0 deaths=50 step=1
[ "${1:-}" = all ] || deaths=4 step=17
for n in $(seq $((seed % step + 1)) $step "$writes"); do
    attempt "fail:$n"
done
for call in rename fsync mkdir unlink; do
    for n in $(seq $((seed % step + 1)) $step "$(sed -n "s/^$call //p" "$dir/count")"); do
        attempt "$call:$n"
    done
done
settled "after failures"
i=0
while [ $i -lt $deaths ]; do
    seed=$(((seed * 1103515245 + 12345) & 0x7fffffff))
    case $((i % 2)) in
    0) attempt "kill:$((seed / 65536 % writes + 1))" ;;
    1) attempt "rename:$((seed / 65536 % $(sed -n "s/^rename //p" "$dir/count") + 1))!" ;;
    esac
    i=$((i + 1))
done
settled "after deaths"
echo "$trials faulty runs, $bad of them ended otherwise than well, $failures findings"
[ "$bad" -gt 5 ] || fail "faults had no effect"

# Two processes and one folder: the second is told, the first goes on.
work=$(cd "$dir/x" && mkdir .w && rmdir .w && pwd)
QLOOM_FAULT="" "$QLOOM" run "$dir/p.yaml" --runs "$dir/other" >"$dir/o1" 2>"$dir/e1" &
QLOOM_FAULT="" "$QLOOM" run "$dir/p.yaml" --runs "$dir/another" >"$dir/o2" 2>"$dir/e2" &
wait
check "two processes in $work"
done_testing
