#!/bin/sh
# Usage: house.sh: sizes and walls. Prints the lines of every room against its limit and the include matrix (rows include columns), then
# checks limits, functions, files, and that no include points up or makes a circle. The last line counts the checks.
set -u
cd "$(dirname "$0")/.."

# Lines with headers and comments. A limit goes down when its room shrinks, and up only with a reason in the commit that raises it.
limits="include 1930
base 2935
device 880
tensor 3060
plugin 1920
model 3020
pipeline 3290
yaml 930
store 1430
results 2100
walk 8765
run 430
job 1880
text 8970
methods 810
export 1290
report 4085
kit 930
cli 2810
core 32010
all 50550"

. scripts/verdict.sh
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

git ls-files core text methods export report kit cli | grep -E '\.[ch]$' >"$temporary/files"
# FILE ROOM LINES of every file
while read -r file; do
    room=${file#core/}
    echo "$file ${room%%/*} $(wc -l <"$file")"
done <"$temporary/files" >"$temporary/sizes"
echo "$limits" | awk '
    NR == FNR { lines[$2] += $3; lines["all"] += $3; if ($1 ~ /^core\//) lines["core"] += $3; next }
    { printf "%-9s %6d of %6d lines\n", $1, lines[$1], $2; known[$1] = 1; if (lines[$1] > $2) print "over", $1 >over }
    END { for (room in lines) if (!(room in known)) print "no limit for", room >over }' over="$temporary/over" "$temporary/sizes" - |
    tee "$temporary/rooms"
plugins=$(git ls-files plugins | grep -E '\.([ch]|cu|cuh|cpp)$' | xargs cat | wc -l)
core=$(awk '$1 == "core" { print $2 }' "$temporary/rooms")
echo "plugins   $plugins lines; core : plugins is $(awk "BEGIN { printf \"%.2f\", $core / $plugins }")"
verdict "every room within its lines" "$(cat "$temporary/over" 2>/dev/null)"

# FROM TO of every include between two files of the rooms
while read -r file; do
    sed -nE 's/^#include "([^"]+)".*/\1/p' "$file" | while read -r name; do
        for found in "$(dirname "$file")/$name" "core/$name" "$name"; do
            [ ! -f "$found" ] || { echo "$file $found"; break; }
        done
    done
done <"$temporary/files" >"$temporary/includes"
# Which room stands on which is said once, in CMakeLists.txt; a room is declared after those below it.
sed -nE 's/^qloom_room\(([a-z]+).*/\1/p' CMakeLists.txt >"$temporary/order"
awk '
    function room(file) { sub(/^core\//, "", file); sub(/\/.*/, "", file); return file }
    FILENAME == order { if ($1 != "include") { at[$1] = ++n; name[n] = $1 } next }
    { from = room($1); to = room($2); if (from != to && to != "include") { count[from, to]++; if (at[to] > at[from]) print $1, "includes", $2 >up } }
    END {
        printf "\n%-9s", "includes"
        for (i = 1; i <= n; i++) printf "%9s", name[i]
        print ""
        for (i = 1; i <= n; i++) {
            printf "%-9s", name[i]
            for (j = 1; j <= n; j++) printf "%9s", i == j ? "-" : count[name[i], name[j]] ? count[name[i], name[j]] : "."
            print ""
        }
        print ""
    }' order="$temporary/order" up="$temporary/up" "$temporary/order" "$temporary/includes"
verdict "no include points up" "$(cat "$temporary/up" 2>/dev/null)"
verdict "no circle of rooms" "$(awk 'function room(file) { sub(/^core\//, "", file); sub(/\/.*/, "", file); return file }
    room($1) != room($2) { print room($1), room($2) }' "$temporary/includes" | sort -u | tsort 2>&1 >/dev/null)"
verdict "no circle of files" "$(tsort "$temporary/includes" 2>&1 >/dev/null)"
# Two units that need each other: x.c includes y.h, and y.c includes x.h. A header without a .c is its folder's inside, and no unit.
circles=$(sed -E 's/\.[ch]//g' "$temporary/includes" | while read -r from to; do
    [ "$from" = "$to" ] || [ ! -f "$from.c" ] || [ ! -f "$to.c" ] || echo "$from $to"
done | sort -u | tsort 2>&1 >/dev/null)
verdict "at most 4 circles of units" "$([ "$(echo "$circles" | grep -c loop)" -le 4 ] || echo "$circles")"

verdict "every function of a room's header has a user in another file" "$(
    git ls-files core text methods export report kit cli plugins tests bench examples | grep -E '\.(c|h|cu|cuh|cpp)$' | xargs awk '
        FNR == 1 { inside = FILENAME ~ /^(core\/[a-z]+|text|methods|export|report|kit|cli)\/[a-z_0-9]+\.h$/; c = FILENAME !~ /h$/ }
        {
            for (at = 1; match(substr($0, at), /ql_[a-z0-9_]+/); at += RSTART + RLENGTH - 1) {
                name = substr($0, at + RSTART - 1, RLENGTH)
                if (c && !seen[FILENAME, name]++) uses[name]++
                if (inside && substr($0, at + RSTART + RLENGTH - 1, 1) == "(") {
                    header[name] = FILENAME
                    uses[name] += at + RSTART == 2 ? 2 : 1 # a function that is static inline begins its line
                }
            }
        }
        END { for (name in header) if (uses[name] < 3) print header[name] ": " name }')"
verdict "every header of a room is included" "$(sed -nE 's/^(.*\.h) .*/\1/p' "$temporary/sizes" | grep -v /include/ | while read -r file; do
    git grep -qE "^#include \"([a-z_./]*/)?${file##*/}\"" || echo "$file"
done)"

# pmccabe: complexity with a switch as one, complexity, statements, first line, lines, file(line): function
git ls-files '*.c' | grep -vE '^(tests|bench|examples)/' | xargs pmccabe >"$temporary/functions"
verdict "no function above 60 lines" "$(awk '$5 > 60 { print $6, $7, $5, "lines" }' "$temporary/functions")"
verdict "at most 1 % of the functions above a complexity of 15" "$(awk '
    $2 > 15 { n++; list = list $6 " " $7 " " $2 "\n" } END { if (n * 100 > NR) printf "%d of %d\n%s", n, NR, list }' "$temporary/functions")"
awk '$2 > 15 { n++ } END { printf "        %d of %d functions above 15\n", n, NR }' "$temporary/functions"
verdict "no file above 500 lines, none of a test above 600" "$(git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' '*.sh' | xargs wc -l |
    awk '$1 > ($2 ~ /^tests\// ? 600 : 500) && $2 != "total"')"

verdicts
