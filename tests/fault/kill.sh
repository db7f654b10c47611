# Usage: kill.sh [TRIALS] [SEED]: runs die as by `kill -9`, half of them inside a write, the others anywhere; the same command then ends with
# what an undisturbed run has. Goes on until four in five of TRIALS died between the first and the last block. Prints where each did.
. "$QLOOM_SOURCE/tests/fault/common.sh"
trials=${1:-5}
seed=${2:-$seed}
echo "$trials trials, seed $seed; an undisturbed run has $writes writes and looks at the clock $ticks times"

# Where trial $1 died: the last block that its journal tells of, and the innermost function on the stack that says what was going on.
where() {
    block="block $(sed -n 's/.*"block":\([0-9]*\).*/\1/p' "$dir/$1"/runs/*/journal.jsonl 2>/dev/null | tail -n 1)"
    sed -n 's/.*libqloom[^ ]* +\(0x[0-9a-f]*\)$/\1/p' "$dir/$1.fault" |
        addr2line -i -f -e "$(dirname "$QLOOM")/../lib/libqloom.so" | sed -n 'p;n' >"$dir/stack"
    grep -qxE "walk_block|ql_finished_(take|put)" "$dir/stack" || block="outside the blocks"
    phase=$(grep -m1 -xE "$phases" "$dir/stack")
    echo "$block, ${phase:-elsewhere}, $(head -1 "$dir/$1.fault")"
}
phases='ql_store_(put|get|open|trim)|ql_variant_make|visit_subset|visit_tokens|ql_visit_run|ql_block_open|hand_linears|ql_stream_forward'
phases="$phases|ql_sinks_(open|block|end)|end_chunk|end_sink|ql_export_(begin|end)|ql_finished_(look_up|take|put|put_all)|put_found|ql_lanes_deal|ql_hidden_park|ql_keys_make"
phases="$phases|ql_results_save|write_texts|ql_folder_(open|manifest)|ql_model_open|open_streams|ql_journal_(open|put)|ql_run_graph"

trial=0
inside=0
while [ $trial -lt "$trials" ] || { [ $inside -lt $((trials * 4 / 5)) ] && [ $trial -lt $((trials * 3)) ]; }; do
    trial=$((trial + 1))
    if [ $((trial % 2)) -eq 0 ]; then
        number "$writes"
        fault=kill:$drawn
    else
        number "$ticks"
        fault=tick:$drawn
    fi
    go "trial$trial" $fault
    status=$?
    if [ $status -ne 137 ]; then
        [ $status -eq 0 ] || fail "trial $trial, $fault: status $status: $(cat "$dir/trial$trial/err")"
        echo "trial $trial, $fault: it had ended before"
    else
        place=$(where "trial$trial")
        echo "trial $trial, $fault: $place"
        case $place in block*) inside=$((inside + 1)) ;; esac
        go "trial$trial" || fail "trial $trial, $fault: the second run: $(cat "$dir/trial$trial/err")"
    fi
    check_finished "trial$trial"
    rm -rf "$dir/trial$trial"
done
echo "$inside of $trial died between the first and the last block"
done_testing
