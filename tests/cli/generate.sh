# What a model goes on with behind prompts: the same alone and side by side; wrong input is told; an interrupt ends it.
. "$QLOOM_SOURCE/tests/cli/common.sh"

model=$QLOOM_SOURCE/examples/tiny-qwen3
say() {
    "$QLOOM" generate "$model" -q --device cpu --threads 1 "$@"
}
expect() { # what, expected, got
    [ "$2" = "$3" ] || fail "$1: got '$3', expected '$2'"
}

first=$(say -p "Once upon a time" --max-gen 16) || fail "no text"
case $first in
"Once upon a time, there was a little girl named"*) ;;
*) fail "got '$first'" ;;
esac
second=$(say -p "Tom had a" --max-gen 16) || fail "no second text"
both=$(say -p "Once upon a time" -p "Tom had a" --max-gen 16) || fail "no two texts"
expect "two prompts" "$(printf '%s\n\n%s' "$first" "$second")" "$both"

run 2 generate "$model"
says err "--prompt TEXT is needed: what the model goes on with"
run 2 generate "$model" -p a --max-gen x
says err "--max-gen: expected a number from 1 to 1048576, got 'x'"
run 2 generate "$model" -q --device cpu -p a --max-gen 512
says err "--prompt: 1 tokens and 512 new ones are more than the 512 positions of the model"
run 2 generate "$dir/none" -p a
says err "$dir/none: no such folder"
run 0 generate --help
grep -q -- "--max-gen N" "$dir/out" || fail "no help"
done_testing
