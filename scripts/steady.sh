# Sourced by check and lab/tests-of: running tests on a machine that others use too.

# More failures than this are no accident.
accidents=3

# steady RUN FILE: runs the tests with the command RUN. When a few of them fail, runs those once more by themselves, as RUN
# NAME…, and succeeds when each of them passes then. What it took two runs for is named in FILE: that is a fault too, in the
# test or in what it tests, and somebody has to look into it. All that is named there counts for what is too much.
steady() {
    local run=$1 unsteady=$2 log status=0 failed name
    log=$(mktemp)
    shown "$log" "$run" || status=$?
    mapfile -t failed < <(sed -nE 's/^test ([^ ]+) \.\.\. FAILED$/\1/p' "$log" | sort -u)
    if [ "$status" -eq 101 ] && only_these_failed "$log" ${#failed[@]} &&
        [ $((${#failed[@]} + $(wc -l <"$unsteady"))) -le $accidents ]; then
        echo "failed: ${failed[*]}; once more, by themselves"
        status=0
        shown "$log" "$run" "${failed[@]}" || status=$?
        for name in "${failed[@]}"; do
            grep -qxF "test $name ... ok" "$log" || status=1
        done
        # One that found a reason not to judge has not passed.
        ! grep -q '^left out: ' "$log" || status=1
        [ "$status" -ne 0 ] || printf '%s\n' "${failed[@]}" >>"$unsteady"
    fi
    rm -f "$log"
    return "$status"
}

# only_these_failed LOG COUNT: whether the results in LOG speak of just so many failures, of no program that crashed, and of no
# two tests of one name.
only_these_failed() {
    local log=$1 count=$2 programs
    [ "$count" -ge 1 ] || return 1
    [ "$(grep -cE '^test .* \.\.\. FAILED$' "$log")" -eq "$count" ] || return 1
    [ "$(sed -nE 's/^test result: .* ([0-9]+) failed;.*/\1/p' "$log" | awk '{ all += $1 } END { print all + 0 }')" -eq "$count" ] ||
        return 1
    [ "$(grep -cE '^running [0-9]+ tests?$' "$log")" -eq "$(grep -c '^test result: ' "$log")" ] || return 1
    # What cargo says of them, where it is cargo that ran them.
    programs=$(sed -nE 's/^error: ([0-9]+) targets? failed:$/\1/p' "$log")
    [ -z "$programs" ] || [ "$programs" -eq "$(grep -c '^test result: FAILED' "$log")" ]
}

# shown LOG COMMAND [ARGUMENT…]: runs it, with what it prints in LOG and shown as it comes. Not through a pipe, which would
# wait for whatever the tests may have left behind.
shown() {
    local log=$1 status=0 running printing
    shift
    : >"$log"
    # Ends with this script, however that ends.
    tail -f /dev/null --pid=$$ &
    running=$!
    tail -n +1 -s 0.2 -f --pid=$running "$log" &
    printing=$!
    "$@" </dev/null >"$log" 2>&1 || status=$?
    kill $running
    wait $running 2>/dev/null || true
    wait $printing || true
    return "$status"
}
