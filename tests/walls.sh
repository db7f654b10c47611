#!/bin/sh
# Usage: walls.sh BUILD SOURCE: from every room, a header of each room that it does not stand on: not found. And one of each room that it
# stands on: found. With the include path that the room is compiled with.
set -eu
build=$(cd "$1" && pwd)
source=$(cd "$2" && pwd)
cd "$build/rooms" # where nothing else is found by accident
failed=0 refused=0

# header ROOM: a header of the room as another room would name it; nothing where it has none
header() {
    for folder in "$source/core/$1" "$source/$1"; do
        if [ -d "$folder" ]; then
            find "$folder" -maxdepth 1 -name '*.h' | sort | sed -n "1s|.*/|$1/|p"
            return
        fi
    done
}

# compiles ROOM HEADER: is it found with ROOM's include path?
compiles() {
    printf '#include "%s"\n' "$2" | cc -E -x c $(sed 's/^/-I/' "$1.path") - >/dev/null 2>&1
}

rooms=$(find . -name '*.path' | sed 's|.*/||; s|\.path$||' | sort)
for room in $rooms; do
    for other in $rooms; do
        name=$(header "$other")
        if [ -z "$name" ] || [ "$room" = "$other" ]; then
            continue
        fi
        if [ -e "$room/$other" ]; then
            compiles "$room" "$name" || { echo "$room can't include $name, a room below it" && failed=1; }
        elif compiles "$room" "$name"; then
            echo "$room can include $name" && failed=1
        else
            refused=$((refused + 1))
        fi
    done
done
echo "$refused includes refused"
[ "$failed" -eq 0 ] && [ "$refused" -ge 100 ]
