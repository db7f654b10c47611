#!/bin/sh
# Usage: docs.sh QLOOM FILE: FILE is what `qloom plugins --markdown` writes now. To renew it: qloom plugins --markdown > docs/plugins.md
set -u
"$1" plugins --markdown | diff -u "$2" - && exit 0
echo "$2 is stale: qloom plugins --markdown > docs/plugins.md"
exit 1
