#!/usr/bin/env bats
# The examples do what they say, over the local transport.

bats_require_minimum_version 1.5.0

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    export GRAPNEL_AGENTS="${BUILD:-$root/build}/agents" TRANSPORT=local
    examples=${BUILD:-$root/build}/examples
}

@test "uname of several hosts" {
    run -0 timeout 30 "$examples/uname" a b
    [ "${lines[0]}" = "a: $(uname -s) $(uname -r) on $(uname -m)" ]
    [ "${lines[1]}" = "b: $(uname -s) $(uname -r) on $(uname -m)" ]
}

@test "what is found there is told here" {
    mkdir "$BATS_TEST_TMPDIR/sub"
    head -c 2000 /dev/zero >"$BATS_TEST_TMPDIR/sub/large"
    head -c 10 /dev/zero >"$BATS_TEST_TMPDIR/small"
    run -0 timeout 30 "$examples/callback" host "$BATS_TEST_TMPDIR" 1000
    [ "${lines[0]}" = "        2000 $BATS_TEST_TMPDIR/sub/large" ]
    [ "${lines[1]}" = "1 files, 2000 bytes" ]
    run -2 timeout 30 "$examples/callback" host "$BATS_TEST_TMPDIR" 0 extra
    [[ ${lines[0]} == usage:* ]]
}

@test "expressions in a loop of one's own" {
    run -0 timeout 30 "$examples/poll" host <<<'require "time".sleep(0.3) or "late"
1 + 1
{a = 1}'
    [ "${lines[0]}" = 2 ]
    [ "${lines[1]}" = '{"a":1}' ]
    [ "${lines[2]}" = '"late"' ]
}

@test "lines for several hosts, on connections from the cache" {
    run -0 timeout 30 "$examples/cache" <<<'web1 x = 6
george@web1 x
web1 x * 7'
    [ "${lines[0]}" = 'root@web1:1: null' ]
    [ "${lines[1]}" = 'george@web1:1: null' ]
    [ "${lines[2]}" = 'root@web1:1: 42' ]
    [ "${lines[3]}" = 'held: george@web1:1' ]
    [ "${lines[4]}" = 'held: root@web1:1' ]
    run timeout 30 "$examples/cache" <<<'web1 error "no"'
    [ "$status" -eq 1 ]
}

@test "primes, counted by several instances" {
    run -0 timeout 30 "$examples/primes" 100000
    [ "$output" = 9592 ]
    run -0 timeout 30 "$examples/primes" 20000 a b
    [ "$output" = 2262 ]
}
