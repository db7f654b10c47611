#!/bin/sh
# Usage: run.sh BUILD SOURCE: installs BUILD into a prefix, moves it, and is a third party there: builds the example plugin with CMake
# and with plain cc, starts plugins with --new, and runs the example's pipeline.
set -eu
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CCACHE_DISABLE=1

cmake --install "$build" --prefix "$work/made" >/dev/null
mv "$work/made" "$work/prefix"
qloom=$work/prefix/bin/qloom
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name qloom.pc)")
export PKG_CONFIG_PATH

# An installed qloom finds its own plugins, and pkg-config knows where they are.
"$qloom" plugins >"$work/plugins"
grep -q perplexity "$work/plugins"
test -f "$(pkg-config --variable=plugindir qloom)/perplexity.so"
test "$(pkg-config --variable=abi qloom)" = "$("$qloom" plugins perplexity | awk '$1 == "abi" { print $2 }')"

build_plugin() {
    cmake -S "$1" -B "$1/build" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" 2>&1 &&
        cmake --build "$1/build" >>"$work/log" 2>&1 &&
        ctest --test-dir "$1/build" --output-on-failure >>"$work/log" 2>&1 || {
        cat "$work/log"
        exit 1
    }
}

# The example, whose folder is copied beside the bundled model that its pipeline reads, with a text that is quickly evaluated.
cp -r "$source/examples" "$work/examples"
head -c 4000 "$source/examples/eval.txt" >"$work/examples/eval.txt"
build_plugin "$work/examples/plugin"
test "$(wc -l <"$work/examples/plugin/hqq.c")" -lt 80
cc -shared -fPIC "$work/examples/plugin/hqq.c" -o "$work/hqq.so" $(pkg-config --cflags --libs qloom)
"$qloom" check-plugin "$work/hqq.so"

# A program that embeds the library; its numbers are those of the command line.
cmake -S "$work/examples/embed" -B "$work/embed" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" 2>&1 &&
    cmake --build "$work/embed" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cat >"$work/small.yaml" <<END
qloom: 1
stages:
  base: {use: auto, path: $work/examples/tiny-qwen3}
  text: {use: text, path: $work/examples/eval.txt, seqlen: 32, samples: 2}
  quant: {use: rtn, model: \$base, bits: 4}
  ppl: {use: perplexity, model: \$quant, data: \$text}
END
cd "$work"
embed/embed small.yaml quant.bits=3 >embedded
"$qloom" -q run small.yaml -s quant.bits=3 --runs other --format json >table.json
number=$(sed -n "s/^cell=0 stage=ppl name=perplexity value=//p" embedded)
grep -qF "\"ppl.perplexity\": $number" table.json || { cat embedded table.json; exit 1; }
status=0
embed/embed small.yaml quant.bits=30 2>refused >/dev/null || status=$?
test "$status" -eq 2
grep -q "bits: got .30" refused

# The plugin that docs/writing-a-plugin.md ends with.
awk '/^## A working plugin/ { on = 1 } /^```/ { code = 0 } code { print } on && /^```c/ { code = 1 }' \
    "$source/docs/writing-a-plugin.md" >"$work/mine.c"
cc -shared -fPIC "$work/mine.c" -o "$work/mine.so" $(pkg-config --cflags --libs qloom)
"$qloom" check-plugin "$work/mine.so"

# What --new writes builds, keeps the contract and needs nothing changed to be checked.
cd "$work"
for kind in quantizer compensator evaluator trainer; do
    "$qloom" plugins --new $kind my_$kind
    build_plugin "$work/my_$kind"
done

# A table with a column of the third party's.
cd "$work/examples/plugin"
QLOOM_PLUGIN_PATH=build "$qloom" --quiet run hqq.yaml >"$work/table"
cat "$work/table"
grep -q hqq "$work/table"

# The pipelines that --new writes run as they are.
export MODEL="$work/examples/tiny-qwen3" TEXT="$work/examples/eval.txt"
cd "$work"
for kind in quantizer compensator evaluator trainer; do
    "$qloom" --quiet --plugin-path "my_$kind/build" run "my_$kind/my_$kind.yaml"
done
