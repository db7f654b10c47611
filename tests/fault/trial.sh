# What every fault test shares: one folder that all trials run in, random numbers, and the program with a fault. A test writes
# $dir/p.yaml; QLOOM is the program, SHIM the library that makes it fail, QLOOM_SOURCE the tree.
. "$QLOOM_SOURCE/tests/cli/common.sh"
seed=${QLOOM_TEST_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}

# number LIMIT: $drawn is a random one from 1 to LIMIT; $seed is the state
number() {
    seed=$((seed * 6364136223846793005 + 1442695040888963407))
    drawn=$(((seed >> 33 & 0x7fffffff) % $1 + 1))
}

# go FOLDER [FAULT]: the pipeline, with $arguments, with its runs in $dir/FOLDER/runs, and what the fault did in $dir/FOLDER.fault; the status is
# the program's. `timeout` has no fault.
go() {
    mkdir -p "$dir/$1"
    rm -f "$dir/$1.fault"
    mv "$dir/$1" "$dir/here" # exports name folders from the root, so every trial runs in the same one
    (cd "$dir/here" && timeout -k 1 "${patience:-300}" env QLOOM_FAULT="${2:-}" QLOOM_FAULT_LOG="${2:+$dir/$1.fault}" \
        LD_PRELOAD="${2:+$SHIM}" "$QLOOM" run ../p.yaml ${arguments:-} >out 2>err </dev/null)
    went=$?
    mv "$dir/here" "$dir/$1"
    return $went
}

# count FOLDER: an undisturbed run in a new folder, whose calls are counted in $dir/count
count() {
    mkdir "$dir/here"
    (cd "$dir/here" && QLOOM_FAULT_LOG="$dir/count" LD_PRELOAD="$SHIM" "$QLOOM" run ../p.yaml ${arguments:-} >out 2>err) ||
        fail "the counted run: $(cat "$dir/here/err")"
    mv "$dir/here" "$dir/$1"
}
