#!/bin/sh
# Usage: same-bits.sh BASE-PROGRAM PROGRAM [PIPELINE...]: runs pipelines with two programs on three small models, one thread each, and
# compares every metric, note, table and exported file byte by byte. What may differ is left out: costs, results.db, journals, manifests
# of runs and exports, and the path that an adapter says its base model has. What the base program made is kept in
# $SAME_BITS_DIR (build/same-bits), so that only the first call runs it. The last line counts the comparisons.
set -u
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
base=$(realpath "$1") program=$(realpath "$2") || exit 2
shift 2
top=$(realpath "$(dirname "$0")/..")
fixtures=$(realpath "${QLOOM_FIXTURES:-$top/../shared/fixtures}") || exit 2
kept=${SAME_BITS_DIR:-$top/build/same-bits}
mkdir -p "$kept" || exit 2
[ $# -gt 0 ] || set -- quickstart grand projq srr loftq propagation export
unset MODEL CALIB EVAL GROUP RANK

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cp -r "$top/pipelines" "$work" && mkdir "$work/examples" "$work/models" || exit 1
cp "$top"/examples/*.txt "$work/examples" && cp -r "$top/examples/tiny-qwen3" "$work/models" || exit 1
for model in tiny-llama tiny-qwen2; do
    mkdir "$work/models/$model"
    for file in config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json; do
        cp "$fixtures/models/$model/$file" "$work/models/$model" || exit 1
    done
done

# settings PIPELINE MODEL: sizes that take seconds, formats in which no cell of any pipeline fails, and ranks below every side of a linear:
# what SRR leaves outside all directions is zero now, and was the rounding of fp32 before.
settings() {
    echo "-s base.path=../models/$2 -s calib.samples=4 -s calib.seqlen=64 -s eval.samples=4 -s eval.seqlen=64"
    case $1:$2 in srr:tiny-qwen3) ;; srr:*) echo "-s quant.scale_dtype=bf16 -s fix.rank=[16,48]" ;; esac
}

# outcome PROGRAM PIPELINE MODEL FOLDER: runs it, and leaves in FOLDER what is compared; without a table only what the program said
outcome() {
    rm -rf "$work/runs" "$4"
    mkdir -p "$4"
    # shellcheck disable=SC2046
    (cd "$work" && "$1" run "pipelines/$2.yaml" --device cpu --threads 1 --runs runs $(settings "$2" "$3") >"$4/output" 2>"$work/log" </dev/null)
    echo "status $?" >>"$4/output"
    run=$(find "$work/runs" -mindepth 1 -maxdepth 1 -name "$2-*")
    if [ ! -d "$run" ]; then
        cat "$work/log" >>"$4/output"
        return
    fi
    for format in md csv tex json; do
        "$1" table "$run" --format $format >"$4/table.$format" 2>&1
    done
    "$1" table "$run" --format csv --value cost.bits >"$4/bits.csv" 2>&1
    find "$run" -mindepth 1 -maxdepth 1 -type d -exec cp -r {} "$4" \;
    find "$4" -name qloom_export.json -exec rm {} +
    find "$4" -name adapter_config.json -exec sed -i '/"base_model_name_or_path"/d' {} +
}

# compared FOLDER: a copy without what depends on the name of a run's folder and on where it lies, a metric or a note of a cell a line
compared() {
    rm -rf "$1.compared"
    cp -r "$1" "$1.compared"
    find "$1.compared" -maxdepth 1 -type f -exec sed -i -E "s,$work/,,g" {} +
    find "$1.compared" -maxdepth 1 -type f -exec sed -i -E 's,runs/[a-z]+-[0-9a-f]{8},RUN,g; s/"adapter.bytes": [0-9]+/"adapter.bytes": -/' {} +
    sed -i 's/, "/,\n    "/g' "$1.compared/table.json"
}

# What decides about the base's outcomes: the program with its library and plugins, how it is run, the inputs.
libraries=$(dirname "$base")/../lib
version=$(cd "$work" && { cat "$base"; sed -n '/^settings/,/^}/p; /^outcome/,/^}/p' "$top/scripts/same-bits.sh"
    find "$libraries" -name '*.so*' -type f -exec cat {} +
    cat examples/*.txt models/*/*; } | sha256sum | cut -c 1-16)
passed=0 failed=0
for pipeline in "$@"; do
    [ -f "$top/pipelines/$pipeline.yaml" ] || { echo "no pipelines/$pipeline.yaml"; exit 2; }
    for model in tiny-qwen3 tiny-llama tiny-qwen2; do
        expected=$kept/$version-$(sha256sum <"$top/pipelines/$pipeline.yaml" | cut -c 1-8)-$pipeline-$model
        if [ ! -d "$expected" ]; then
            outcome "$base" "$pipeline" "$model" "$work/base"
            [ -s "$work/base/table.json" ] || { echo "the base program made no table of $pipeline:"; cat "$work/base/output"; exit 1; }
            cp -r "$work/base" "$expected.$$" && mv -T "$expected.$$" "$expected" || exit 1
        fi
        outcome "$program" "$pipeline" "$model" "$work/got"
        rm -rf "$work/expected"
        cp -r "$expected" "$work/expected"
        compared "$work/expected"
        compared "$work/got"
        if (cd "$work" && diff -r expected.compared got.compared) >"$work/diff" 2>&1; then
            echo "same     $pipeline $model: $(find "$expected" -type f | wc -l) files, $(grep -o '": [0-9.-]*[0-9]' "$expected/table.json" |
                wc -l) metrics"
            passed=$((passed + 1))
        else
            echo "DIFFERS  $pipeline $model; expected is $expected"
            cut -c 1-400 "$work/diff" | head -n 12
            failed=$((failed + 1))
        fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
