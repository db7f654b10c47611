# Usage: disk.sh [TRIALS]: small file systems for all that a run writes, or for its cache or an export alone. Where the plan sees that a
# disk is too small, nothing starts and both numbers are told; where it can't see it (a disk with room for few files), the run ends with the
# name of the file. With room, the same command ends with what an undisturbed run has. Where nothing can be mounted, the cache's and
# export's part is left out, and a library in front of the system's makes the disk small.
. "$QLOOM_SOURCE/tests/fault/common.sh"
trials=${1:-8}
mkdir "$dir/small"
trap 'umount "$dir/here" "$dir/small" 2>/dev/null; rm -rf "$dir"' EXIT
mount -t tmpfs -o size=1m tmpfs "$dir/small" 2>"$dir/mount" && umount "$dir/small" && mounts=mounting
echo "$trials trials, seed $seed, on small disks that are made by ${mounts:-the shim}"

# try OPTION...: the pipeline in $dir/here, which lies on the small disk or names it
try() {
    (cd "$dir/here" && QLOOM_FAULT=${fault:-} LD_PRELOAD=${fault:+$SHIM} "$QLOOM" run ../p.yaml "$@" >"$dir/out" 2>"$dir/err" </dev/null)
}

# ended WHAT: after status $1 it was refused with both numbers before anything was made, or a write was
ended() {
    if grep -q "the disk lacks room: the run writes about .* are free" "$dir/err"; then
        refused=$((refused + 1))
        [ "$1" -eq 1 ] && [ -z "$(find "$dir/here" "$dir/small" -name journal.jsonl -o -name '0*.safetensors')" ] || fail "$2: refused after it had begun"
    else
        died=$((died + 1))
        [ "$1" -eq 1 ] && grep -qiE "/.*: .*(no space left on|disk I/O error|disk is full|unable to open)" "$dir/err" || fail "$2: status $1: $(cat "$dir/err")"
    fi
}

refused=0
fault=
died=0
trial=0
while [ $trial -lt "$trials" ]; do
    trial=$((trial + 1))
    mkdir "$dir/here"
    number 12000
    kib=$drawn
    number 60
    files=$drawn
    case $((trial % 4))${mounts:+m} in
    0m) at=$dir/here opt="size=${kib}k" set="" ;;
    1m) at=$dir/here opt="size=64m,nr_inodes=$files" set="" ;;
    2m) at=$dir/small opt="size=$((kib / 8))k" set="cache=$dir/small" ;;
    3m) at=$dir/small opt="size=$((kib / 2))k" set="merged.path=$dir/small/out" ;;
    *) at="" opt="" fault=room:$((kib * 1024)) set="" ;;
    esac
    [ -z "$at" ] || mount -t tmpfs -o "$opt" tmpfs "$at" || fail "mount"
    try ${set:+-s "$set"}
    status=$?
    [ $status -eq 0 ] || ended $status "trial $trial ($at $opt $fault)"
    fault=
    [ -z "$at" ] || mount -o remount,size=64m,nr_inodes=0 "$at"
    try ${set:+-s "$set"} || fail "trial $trial ($at $opt): with room: $(cat "$dir/err")"
    mv "$dir/out" "$dir/here/out"
    cp -a "$dir/here" "$dir/trial$trial"
    if [ -z "$set" ]; then
        check_finished "trial$trial"
    else
        cmp -s "$dir/plain/out" "$dir/trial$trial/out" || fail "trial $trial: another table"
    fi
    [ -z "$at" ] || umount "$at"
    rm -rf "$dir/here" "$dir/trial$trial"
done
echo "$refused refused, $died died"

# What the cache holds of the run's own work is not asked for again, and check and plan see what run sees.
if [ -n "${mounts:-}" ]; then
    mkdir "$dir/here"
    mount -t tmpfs -o size=300k tmpfs "$dir/small"
    for command in check plan run; do
        run 1 $command "$dir/p.yaml" -s cache="$dir/small/cache"
        has err "$dir/small/cache: the disk lacks room: the run writes about "
        has err " are free"
    done
    mount -o remount,size=64m "$dir/small"
    try -s cache="$dir/small/cache" || fail "with room: $(cat "$dir/err")"
    mount -o remount,size=$(($(du -sk "$dir/small" | cut -f1) + 40))k "$dir/small"
    try -s cache="$dir/small/cache" || fail "a finished run asks for room: $(cat "$dir/err")"
    run 1 check "$dir/p.yaml" -s cache="$dir/small/cache" -s quant.bits=8 -s quant.group_size=16
    umount "$dir/small"
    rm -rf "$dir/here"
fi

# Hidden states that wait have a folder of their own to be looked at.
if [ -n "${mounts:-}" ]; then
    cat >"$dir/waits.yaml" <<END
qloom: 1
name: waits
device: cpu
chunk_tokens: 1024
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, samples: 256, seqlen: 256}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, samples: 2, seqlen: 64}
  fix: {use: lordq, model: {use: rtn, model: \$base, bits: 3}, calib: \$calib, rank: 4, propagate: compensated}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
table: {rows: fix.use, value: ppl.perplexity}
END
    mount -t tmpfs -o size=1m tmpfs "$dir/small"
    run 0 plan "$dir/waits.yaml"
    halfway "$dir/out"
    set -- "$dir/waits.yaml" --runs "$dir/waits" -s "memory=$memory" -s "spill=$dir/small"
    run 1 run "$@"
    has err "$dir/small: the disk lacks room: the run writes about "
    has err " for hidden states that wait), and 1.0 MiB are free"
    mount -o remount,size=200m "$dir/small"
    run 0 run "$@"
    mv "$dir/out" "$dir/limited"
    run 0 run "$dir/waits.yaml" --runs "$dir/waits" --fresh
    cmp -s "$dir/out" "$dir/limited" || fail "spill: another table"
    umount "$dir/small"
fi

# cache_keep: needed leaves no block behind, whose numbers another run still has.
mkdir "$dir/needed"
go needed || fail "$(cat "$dir/needed/err")"
sed -i 's/^device: cpu/&\ncache_keep: needed/' "$dir/p.yaml"
rm -rf "$dir/needed"
go needed || fail "cache_keep: $(cat "$dir/needed/err")"
[ -z "$(find "$dir/needed/runs/cache" -name '0*.safetensors')" ] || fail "cache_keep: blocks are there"
[ -n "$(find "$dir/needed/runs/cache" -name whole.safetensors)" ] || fail "cache_keep: what belongs to the whole walk is gone"
cmp -s "$dir/plain/out" "$dir/needed/out" || fail "cache_keep: another table"
sed -i '/use: gptq_checkpoint/d; /use: dequantized/d; /use: layer_error/d' "$dir/p.yaml"
go needed || fail "cache_keep, again: $(cat "$dir/needed/err")"
go needed || fail "cache_keep, again: $(cat "$dir/needed/err")"
cmp -s "$dir/plain/out" "$dir/needed/out" || fail "cache_keep, again: another table"
done_testing
