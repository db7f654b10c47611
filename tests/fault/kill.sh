# Usage: kill.sh [TRIALS] [SEED]: runs die as by `kill -9`, half of them inside a write, the others anywhere; the same command then ends with
# what an undisturbed run has. Prints where each died.
. "$QLOOM_SOURCE/tests/fault/common.sh"
trials=${1:-8}
seed=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
echo "$trials trials, seed $seed; an undisturbed run has $writes writes and looks at the clock $ticks times"

# Block and phase of trial $1: the log's last block, and the innermost function of the walk on the stack.
where() {
    block=$(grep -o 'block [0-9]* of [0-9]*' "$dir/$1"/runs/*/log.txt | tail -1)
    phase=$(sed -n 's/.*libqloom[^(]*(+\(0x[0-9a-f]*\)).*/\1/p' "$dir/$1.fault" |
        addr2line -f -e "$(dirname "$QLOOM")/../lib/libqloom.so" 2>/dev/null | sed -n 'p;n' |
        grep -m1 -E '^(ql_store_save|ql_store_load|ql_store_open|ql_unit_run|ql_visit_run|ql_block_open|ql_evaluate_block|ql_evaluate_end|ql_replay_open|ql_replay_begin|ql_replay_end|ql_replay_finish|ql_keys_make|ql_results_save|ql_folder_open|ql_folder_manifest|ql_run_graph)$')
    echo "${block:-before the walk}, ${phase:-elsewhere}, $(head -1 "$dir/$1.fault")"
}

# number LIMIT: a random one from 1 to LIMIT
number() {
    seed=$(((seed * 1103515245 + 12345) & 0x7fffffff))
    drawn=$((seed / 8 % $1 + 1))
}

inside=0
for trial in $(seq "$trials"); do
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
echo "$inside of $trials died between the first and the last block"
done_testing
