# What the tests of the command line share: QLOOM is the program, QLOOM_SOURCE the tree; a temporary folder that goes away.
set -u
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# pipeline: writes $dir/p.yaml, a small model and a text with the stages and tables of standard input
pipeline() {
    {
        cat <<END
qloom: 1
name: small
device: cpu
stages:
  base: {use: auto, path: $QLOOM_SOURCE/examples/tiny-qwen3}
  eval: {use: text, path: $QLOOM_SOURCE/examples/eval.txt, seqlen: 32, samples: 4}
END
        cat
    } >"$dir/p.yaml"
}

# run EXPECTED_STATUS ARGUMENTS...: standard output in $dir/out, standard error in $dir/err
run() {
    expected=$1
    shift
    "$QLOOM" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq "$expected" ] || fail "qloom $*: status $got, expected $expected: $(cat "$dir/err")"
}

# says FILE TEXT: the file's only content is TEXT
says() {
    [ "$(cat "$dir/$1")" = "$2" ] || fail "$1 is '$(cat "$dir/$1")', expected '$2'"
}

# has FILE TEXT: the file contains TEXT
has() {
    grep -qF -- "$2" "$dir/$1" || fail "$1 has no '$2': $(cat "$dir/$1")"
}

# await COMMAND...: waits until the command succeeds, for two minutes at most: however slow the machine is, and no longer than it takes
await() {
    waits=0
    until "$@" 2>/dev/null; do
        waits=$((waits + 1))
        [ $waits -lt 2400 ] || { fail "waited in vain for: $*"; return 1; }
        sleep 0.05
    done
}

# catches PID: the process has set what the three signals of a user do
catches() {
    mask=$(sed -n 's/^SigCgt:.*\(....\)$/\1/p' "/proc/$1/status")
    [ $((0x${mask:-0} & 0x4003)) -eq $((0x4003)) ]
}

# at_work PID FILE WORDS: FILE has the words, or the process is gone
at_work() {
    grep -q "$3" "$2" || ! kill -0 "$1"
}

done_testing() {
    [ "$failures" -eq 0 ]
}
