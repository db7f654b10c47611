#!/bin/sh
# Usage: quickstart.sh [OPTIONS OF qloom run]: from a fresh machine to a table: installs what is missing, builds, and runs
# pipelines/quickstart.yaml on the bundled model.
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target program
exec build/release/bin/qloom run pipelines/quickstart.yaml "$@"
