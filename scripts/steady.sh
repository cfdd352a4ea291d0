# Sourced by check and lab/tests-of, both with pipefail: running tests on a machine that others use too.

# More failures than this are no accident.
accidents=3

# steady RUN FILE: runs the tests with the command RUN. When a few of them fail, runs those once more by themselves, as RUN
# NAME…, and succeeds when each of them passes then. What it took two runs for is named in FILE: that is a fault too, in the
# test or in what it tests, and somebody has to look into it.
steady() {
    local run=$1 unsteady=$2 log status=0 failed name
    log=$(mktemp)
    "$run" </dev/null 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
    mapfile -t failed < <(sed -nE 's/^test ([^ ]+) \.\.\. FAILED$/\1/p' "$log" | sort -u)
    # Two of one name cannot be told apart; a program that crashed has no result.
    if [ "$status" -ne 0 ] && [ ${#failed[@]} -ge 1 ] && [ ${#failed[@]} -le $accidents ] &&
        [ "$(grep -cE '^test .* \.\.\. FAILED$' "$log")" -eq ${#failed[@]} ] &&
        [ "$(grep -cE '^running [0-9]+ tests?$' "$log")" -eq "$(grep -c '^test result: ' "$log")" ]; then
        echo "failed: ${failed[*]}; once more, by themselves"
        status=0
        "$run" "${failed[@]}" </dev/null 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
        for name in "${failed[@]}"; do
            grep -qxF "test $name ... ok" "$log" || status=1
        done
        [ "$status" -ne 0 ] || printf '%s\n' "${failed[@]}" >>"$unsteady"
    fi
    rm -f "$log"
    return "$status"
}
