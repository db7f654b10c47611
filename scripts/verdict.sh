# Sourced: what checks that are told by their output share.
passed=0 failed=0

# verdict NAME OUTPUT: a check is fine when it printed nothing
verdict() {
    if [ -z "$2" ]; then
        echo "ok      $1"
        passed=$((passed + 1))
    else
        printf 'FAILED  %s\n%s\n' "$1" "$2"
        failed=$((failed + 1))
    fi
}

# verdicts: the last line counts them; false when one failed
verdicts() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
