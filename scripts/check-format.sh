#!/bin/sh
# Usage: check-format.sh: formatting, a linter, and the rules of the house that a machine can check. Prints what is wrong; the last line
# counts the checks.
set -u
cd "$(dirname "$0")/.."

. scripts/verdict.sh
sources=$(git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp')
rooms="core methods text export report kit cli"
includes="$(printf -- '-I%s ' core/include */include) -Icore -I."

verdict "clang-format 14" "$(clang-format-14 --dry-run $sources 2>&1 | grep -E 'error|warning' | head -n 20)"
verdict "cppcheck" "$(cppcheck --quiet --std=c11 -U__clang__ --enable=warning,portability --inline-suppr --suppress=unknownMacro \
    --suppress=nullPointerRedundantCheck --suppress=invalidPointerCast $includes -j "$(nproc)" $rooms plugins 2>&1 | head -n 20)"
verdict "no line above 140 columns" "$(grep -nE '^.{141,}' $sources | head -n 20)"
verdict "core names no method and no model" "$(git ls-files 'core/*.c' 'core/*.h' | while read -r file; do
    gcc -fpreprocessed -dD -E -P "$file" 2>/dev/null | # without comments, which may name who published what
        grep -niE '(^|[^a-z])(rtn|gptq|projq|lordq|loftq|qera|eora|hqq|awq|llama|qwen|mistral|gemma)([^a-z]|$)' | sed "s|^|$file: |"
done)"
verdict "no device library outside the backends" \
    "$(grep -rnE '#include <(cblas|lapacke|cuda|cublas|cusolver)' $rooms $(find plugins -mindepth 1 -maxdepth 1 ! -name backends))"
verdict "plugins include public headers only" "$(grep -rnE '#include "(\.\./|core/)' plugins | grep -v '#include "\.\./formats/')"
verdict "plugins free nothing" "$(grep -rnE '\b(free|malloc|calloc|realloc)\(' plugins --include=*.c | grep -v '^plugins/backends/')"
verdict "no unsafe string function" \
    "$(grep -rnE '\b(strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|gets)\(' $rooms plugins)"
verdict "the library never ends the process" \
    "$(grep -rnE '\b(exit|_exit|abort)\(' $rooms plugins --include=*.c --include=*.h | grep -v '^cli/signals')"
verdict "results are printed by the command line only" \
    "$(grep -rnE '\b(printf|puts|putchar|perror)\(|[(, ]std(out|err)[,)]' $rooms plugins --include=*.c | grep -v '^cli/')"
verdict "no word for later" "$(grep -nE '\b(TODO|FIXME|XXX|HACK)\b' $sources)"
verdict "no path of a machine" "$(git grep -nE '(^|[^a-z])/(work|home|root)/' -- ':!tests/*' ':!scripts/check-format.sh' ':!LICENSE')"

verdicts
