#!/bin/sh
# Runs one test, whatever its kind, with TAP on stdout: prove's --exec.
set -eu
test=$1

# One fuzzer for FUZZ_SECONDS (3), from its seeds and what earlier runs kept, as one TAP test.
fuzz() {
    name=${test##*/}
    seconds=${FUZZ_SECONDS:-3}
    dir=${test%/*}
    corpus=$dir/corpus/$name
    seeds=tests/fuzz/seeds/${name#fuzz_}
    mkdir -p "$corpus" "$dir/findings"
    [ -d "$seeds" ] || seeds=
    log=$dir/$name.log
    echo 1..1
    if "$test" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$dir/findings/$name-" "$corpus" ${seeds:+"$seeds"} >"$log" 2>&1; then
        echo "ok 1 - $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
    else
        echo "not ok 1 - $name"
        tail -n 60 "$log" | sed 's/^/# /'
        exit 1
    fi
}

# A Check program under valgrind, which follows into the agent but not into the system's programs.
# What any of the processes did wrong counts, whatever the test made of its exit status.
under_valgrind() {
    logs=$(mktemp -d)
    status=0
    valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
        --errors-for-leak-kinds=definite --trace-children=yes --child-silent-after-fork=no \
        --suppressions=tests/valgrind.supp --trace-children-skip='/bin/*,/usr/*,/sbin/*' \
        --log-file="$logs/%p" "$test" || status=$?
    # What a traced child writes to a descriptor that was the log's is none of valgrind's.  An ioctl
    # that nobody knows is worth three lines to it.
    if cat "$logs"/* | grep -E '^==[0-9]+==' |
        grep -vE '^==[0-9]+== *($|Warning|This could cause spurious|See README_MISSING)' >"$logs.all"; then
        sed 's/^/# /' "$logs.all"
        status=99
    fi
    rm -rf "$logs" "$logs.all"
    exit "$status"
}

case $test in
*.bats) exec bats --tap "$test" ;;
*/fuzz_*) fuzz ;;
*)
    # The command finds its agents beside itself; a test program lies elsewhere.
    export GRAPNEL_AGENTS="${GRAPNEL_AGENTS:-$BUILD/agents}"
    [ -z "${GRAPNEL_VALGRIND:-}" ] || under_valgrind
    exec "$test"
    ;;
esac
