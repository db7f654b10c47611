#!/bin/sh
# Usage: check-calls.sh: no failure of a call is dropped. Every result of type ql_status, and of the C library's calls in
# scripts/lint/must_use.h, is used; folders are listed and files looked at where "no", "yes" and "can't say" are told apart. The last line
# counts the checks.
set -u
cd "$(dirname "$0")/.."

. scripts/verdict.sh
rooms="core methods text export report kit cli"
includes="$(printf -- '-I%s ' core/include */include) -Icore -I."

# clang: to gcc a (void) is not enough, and an enumeration can't be a result that must be used
verdict "no result is dropped" "$(git ls-files $rooms plugins | grep '\.c$' | xargs -P 2 -n 20 clang -std=gnu11 -D_GNU_SOURCE \
    -DQLOOM_VERSION='""' -fsyntax-only -Wno-everything -Wunused-result -include scripts/lint/must_use.h $includes 2>&1 |
    grep -A1 -E 'warning:|error:' | head -n 40)"

# at_most NUMBER WHAT PATTERN PATH...: files that still call by themselves what core/base does with three answers; the number only falls
at_most() {
    number=$1 what=$2 pattern=$3
    shift 3
    found=$(git grep -nE "$pattern" -- "$@" ':!core/base' ':!kit/templates')
    verdict "$what outside core/base: at most $number" "$([ "$(echo "$found" | grep -c .)" -le "$number" ] || echo "$found")"
}
at_most 12 "listing a folder" '\breaddir\(' 'core/*.c' 'export/*.c' 'report/*.c' 'kit/*.c' 'cli/*.c' 'plugins/*.c'
at_most 11 "looking at a file" '\b(stat|lstat|fstatat|access)\(' 'core/*.c' 'export/*.c' 'report/*.c' 'kit/*.c' 'cli/*.c' 'plugins/*.c'

verdicts
