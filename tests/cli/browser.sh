# The report in a browser, where there is one: no message of its console, and the rows, series and figures that a table of five cells has,
# narrow and wide, light and dark, whatever the labels say.
. "$QLOOM_SOURCE/tests/cli/common.sh"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo "skipped: there is no Chromium"
    exit 77
}

pipeline <<END
  calib: {use: text, path: $QLOOM_SOURCE/examples/calib.txt, seqlen: 32, samples: 4}
  quant: {use: rtn, model: \$base, bits: 4, group_size: 64}
  error: {use: layer_error, model: \$quant, calib: \$calib}
  sv: {use: spectrum, model: \$quant, match: ["*.0.*k_proj", "*.1.*k_proj"], values: 16}
  ppl: {use: perplexity, model: \$quant, data: \$eval}
matrix:
  quant:
    - {use: rtn, label: "<script>document.title='bad'</script><img src=x onerror=alert(1)>"}
    - {use: mxint, label: "other & \"more\""}
  quant.bits: [8, 3]
table: {rows: [quant.bits, quant], value: ppl.perplexity}
END
run 0 -q run "$dir/p.yaml" --runs "$dir/runs"
page=$(echo "$dir"/runs/small-*/report.html)

# browse WIDTH OPTIONS...: the document as the browser has it, in $dir/dom; its messages in $dir/console
browse() {
    width=$1
    shift
    HOME=$dir "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$dir/profile" \
        --enable-logging=stderr --v=0 --window-size="$width",900 "$@" "file://$page" 2>"$dir/console" >"$dir/dom" </dev/null ||
        fail "the browser: $(cat "$dir/console")"
}

# counts N PATTERN: so many pieces of the document match
counts() {
    got=$(tr '\n' ' ' <"$dir/part" | grep -o "$2" | wc -l)
    [ "$got" -eq "$1" ] || fail "$got of $2 in the document, expected $1"
}

# section ID: $dir/part becomes that section of the document
section() {
    tr '\n' ' ' <"$dir/dom" | sed "s/.*<section id=\"$1\"/</; s/<\/section>.*//" >"$dir/part"
}

for width in 375 1400; do
    browse $width --dump-dom
    ! grep 'CONSOLE' "$dir/console" || fail "the console speaks at $width"
    has dom "<title>small-"
    section table
    counts 6 '<tr' # the head, the original, four cells
    section cells
    counts 6 '<tr'
    section pareto
    counts 2 '<path class="series[^>]* d="M'
    section time
    counts 10 '<path class="bar series[^>]* d="M'
    section heat
    counts 4 '<g class="map series"'
    section spectrum
    counts 2 '<svg\|<figure>'
    counts 10 '<path class="series[^>]* d="M' # the weight and four errors of each linear
    section graph
    counts 10 '<g class="node">'
    cp "$dir/dom" "$dir/part"
    counts 6 '<figcaption>'
    counts 6 '<summary>Numbers'
    counts 0 ' d=""'
    counts 0 '<img'
    counts 0 '<script'
done

# It fits a telephone: nothing but what scrolls by itself is wider than the window. It prints.
for scheme in 0 1; do # dark, light
    browse 375 --blink-settings=preferredColorScheme=$scheme --screenshot="$dir/$scheme.png"
done
cmp -s "$dir/0.png" "$dir/1.png" && fail "dark and light look alike"
browse 1400 --print-to-pdf="$dir/page.pdf" --no-pdf-header-footer
[ "$(head -c 5 "$dir/page.pdf")" = "%PDF-" ] || fail "the page doesn't print"
done_testing
