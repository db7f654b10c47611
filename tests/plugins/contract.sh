#!/bin/sh
# Usage: contract.sh QLOOM FOLDER: every plugin of FOLDER keeps the contract.
set -u
qloom=$1
failed=0
for plugin in "$2"/*.so; do
    "$qloom" check-plugin "$plugin" || failed=1
done
exit $failed
