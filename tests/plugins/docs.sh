#!/bin/sh
# Usage: docs.sh QLOOM FILE: FILE is what `qloom plugins --markdown` writes now. To renew it: qloom plugins --markdown > docs/plugins.md
# from a build with the cuda backend; where there is none its section is passed over.
set -u
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
wanted_of() {
    if "$1" plugins cuda >/dev/null 2>&1; then
        cat "$2"
    else
        awk '/^##/ { skip = $0 == "### cuda" } !skip' "$2"
    fi
}
wanted_of "$1" "$2" >"$wanted"
"$1" plugins --markdown | diff -u "$wanted" - && exit 0
echo "$2 is stale: qloom plugins --markdown > docs/plugins.md"
exit 1
