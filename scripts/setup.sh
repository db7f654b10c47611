#!/bin/sh
# Usage: setup.sh [--dev]: installs the system packages that qloom needs and that are missing, on Debian 12 or Ubuntu; with --dev also
# what the format and lint checks and the fuzz targets need. Says and does nothing when nothing is missing.
set -eu

packages="build-essential cmake ninja-build pkg-config libyaml-dev libsqlite3-dev zlib1g-dev libxxhash-dev
libutf8proc-dev libpcre2-dev libzstd-dev libopenblas0-pthread"
if [ "${1:-}" = --dev ]; then
    packages="$packages clang clang-format-14 cppcheck pmccabe"
fi

if ! command -v dpkg-query >/dev/null; then
    echo "setup.sh knows Debian and Ubuntu; on this system please install what corresponds to:" $packages >&2
    exit 1
fi
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: missing$missing; install them as root" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "installing$missing"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
