# Plugins that write to what they are lent, to each input in each way: their cell fails or the run ends and names them, the other cells keep
# their numbers, and so does a later run without the plugin, from the cache. On the processor, and on a device whose memory is not the host's.
. "$QLOOM_SOURCE/tests/cli/common.sh"
ulimit -c 0
"$MAKE_MODEL" "$dir/model" qwen3 layers=2 hidden=32 intermediate=64 heads=2 kv_heads=2 head_dim=16 || exit 1
cp "$QLOOM_SOURCE"/examples/tiny-qwen3/tokenizer*.json "$dir/model"
device=cpu
paths=$DIES:$EMULATED

# write_pipeline COMPENSATORS EVALUATORS
write_pipeline() {
    cat >"$dir/p.yaml" <<END
qloom: 1
name: writes
stages:
  base: {use: auto, path: $dir/model}
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, samples: 2, seqlen: 32}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, seqlen: 32, samples: 2}
  quant: {use: rtn, model: \$base, bits: 3, group_size: 32}
  fix: {use: none, model: \$quant, calib: \$calib}
  ppl: {use: perplexity, model: \$fix, data: \$eval}
  nll: {use: perplexity, model: \$fix, data: \$eval, protocol: llama.cpp}
$2
matrix:
  fix: [{use: svd, rank: 2}, $1{use: qera, rank: 3}]
table: {rows: fix.use, value: ppl.perplexity}
END
}

# go RUNS ARGUMENTS...: numbers in $dir/out
go() {
    runs=$1
    shift
    "$QLOOM" -q --plugin-path "$paths" run "$dir/p.yaml" --device $device --runs "$dir/$runs" -f csv "$@" >"$dir/out" 2>"$dir/err" </dev/null
}

# others WHAT: the other cells have the numbers of the undisturbed run
others() {
    [ "$(grep -E '^(original|svd|qera),' "$dir/out")" = "$numbers" ] || fail "$1: other cells moved: $(cat "$dir/out")"
}

# kept WHAT RUNS: a run without the plugin takes the others' numbers from the cache
kept() {
    write_pipeline "" ""
    go "$2" || fail "$1: without the plugin: $(cat "$dir/err")"
    others "$1, without the plugin"
    rm -rf "${dir:?}/$2"
}

# ends WHAT STATUS ARGUMENTS...: a run in the folder runs ends with that status
ends() {
    told=$1
    expected=$2
    shift 2
    go runs "$@"
    status=$?
    [ $status -eq "$expected" ] || fail "$told: status $status, expected $expected: $(cat "$dir/err")"
}

# refused WHAT WORDS: the cell fails by itself
refused() {
    ends "$1" 1
    has err "$2"
    others "$1"
    kept "$1" runs
}

# caught WHAT: the write ends the program, and the next run goes on with the other cells
caught() {
    ends "$1" 139
    has err "plugin '$2' wrote to memory that was lent to it for reading only"
    has err " in stage $3"
    says out ""
    ends "$1, --skip-failed" 1 --skip-failed
    others "$1, --skip-failed"
    kept "$1" runs
}

# noticed WHAT: the run ends with an error after the call, and nothing of it is kept
noticed() {
    ends "$1" 1
    has err "the plugin wrote to memory that was lent for reading only"
    says out ""
    kept "$1" runs
}

# to_chunk INPUT HOW: an evaluator of the model's end writes; nobody's numbers are shown or kept but right ones
to_chunk() {
    what="$device, $1 of a chunk by $2"
    write_pipeline "" "  marks: {use: marks, model: \$fix, data: \$eval, to: $1, by: $2}"
    case $1,$2,$device in
    chunk,*) ends "$what" 0 ;;
    tokens,*) ends "$what" 2 && has err "the plugin wrote to 'ids', which was lent for reading only" ;;
    x,pointer,cpu | head,pointer,cpu)
        ends "$what" 139
        has err "plugin 'marks' wrote to memory that was lent to it for reading only"
        has err " in stage marks"
        ;;
    *)
        ends "$what" 1
        has err "lent for reading only"
        ;;
    esac
    kept "$what" runs
}

for device in cpu cuda; do
    write_pipeline "" ""
    go undisturbed || fail "an undisturbed run on $device: $(cat "$dir/err")"
    numbers=$(grep -E '^(original|svd|qera),' "$dir/out")
    [ "$(echo "$numbers" | grep -c .)" -eq 3 ] || fail "no numbers: $(cat "$dir/out")"
    rm -rf "$dir/undisturbed"
    inputs="w what h abs_mean abs_max memo last_of_w" ways="operation map pointer"
    [ $device = cpu ] || inputs="what h memo" ways="map pointer"
    for input in $inputs; do
        for how in $ways; do
            what="$device, $input by $how"
            write_pipeline "{use: writes, to: $input, by: $how}, " ""
            case $how,$device in
            pointer,cpu) caught "$what" writes "fix, model.layers." ;;
            pointer,*) noticed "$what" ;;
            *) refused "$what" "lent for reading only" ;;
            esac
        done
    done
    for input in parameters statistics; do
        write_pipeline "{use: writes, to: $input}, " ""
        refused "$device, $input" "the plugin wrote to '$input', which was lent for reading only"
    done
    for input in x head; do
        for how in $ways; do
            to_chunk $input $how
        done
    done
    for input in ids offsets chunk parameters tokens; do
        to_chunk $input pointer
    done
done

# An exporter, in each of its calls: nothing of it is there afterwards, and no number but right ones.
device=cpu
write_pipeline "" ""
go undisturbed || fail "an undisturbed run: $(cat "$dir/err")"
numbers=$(grep -E '^(original|svd|qera),' "$dir/out")
for at in begin linear end; do
    inputs="parameters model linears"
    [ $at != linear ] || inputs="$inputs qlinear w what"
    for input in $inputs; do
        for how in $ways; do
            [ "$how" = operation ] || [ "$input" = w ] || [ "$input" = what ] || continue
            what="an exporter's $at, $input by $how"
            write_pipeline "" "  out: {use: spoils, model: \$fix, path: $dir/spoiled, at: $at, to: $input, by: $how}"
            case $input,$how in
            w,pointer | what,pointer)
                ends "$what" 139
                has err "plugin 'spoils' wrote to memory that was lent to it for reading only"
                has err " in stage out"
                ;;
            w,* | what,*) ends "$what" 1 && has err "lent for reading only" ;;
            *) ends "$what" $([ $at = begin ] && echo 2 || echo 1) && has err "the plugin wrote to '$input', which was lent for reading only" ;;
            esac
            [ ! -e "$dir/spoiled" ] || [ -z "$(find "$dir/spoiled" -name '.qloom-export-*' -prune -o -name '*.json' -print)" ] || fail "$what: files are there"
            kept "$what" runs
            rm -rf "$dir/spoiled"
        done
    done
done

# The contract of plugins finds them, too.
for input in w what h; do
    for how in operation map pointer; do
        WRITES_TO=$input WRITES_BY=$how "$QLOOM" check-plugin "$DIES/writes.so" >"$dir/out" 2>"$dir/err"
        status=$?
        cat "$dir/err" >>"$dir/out"
        has out "lent"
        [ $status -eq 2 ] || [ "$status,$how" = 139,pointer ] || fail "check-plugin, $input by $how: status $status: $(cat "$dir/out")"
    done
done
"$QLOOM" check-plugin "$DIES/writes.so" >"$dir/out" 2>"$dir/err" || fail "check-plugin finds something where nothing is written: $(cat "$dir/out")"
done_testing
