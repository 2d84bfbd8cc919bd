#!/usr/bin/env bats
# Many hosts over a real sshd, which has several addresses.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

load ../lib

setup_file() {
    server_start "ListenAddress 127.0.0.2" "ListenAddress 127.0.0.3" "ListenAddress 127.0.0.4"
    sed "s/^Host .*/Host 127.* same/; /HostName/d; s/Port .*/&\n    HostKeyAlias fleet/" \
        "$SSHD_CONFIG" >"$SSHD_DIR/fleet_config"
    printf 'Host same\n    HostName 127.0.0.2\n' >>"$SSHD_DIR/fleet_config"
    awk '{ print "fleet", $1, $2 }' "$SSHD_DIR"/host_*.pub >>"$SSHD_KNOWN"
    export SSHD_CONFIG=$SSHD_DIR/fleet_config
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
}

teardown() {
    lib_teardown
}

# Waits until the file has the text, ten seconds at most.
comes() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        ! says "$1" "$2" || return 0
        _sshd_tick
    done
    cat "$2"
    return 1
}

json() {
    python3 -c 'import json, sys
for line in sys.argv[1].splitlines():
    d = json.loads(line)
    assert eval(sys.argv[2]), d' "$@"
}

@test "hosts that fail are named by cause; the others finish as if alone" {
    printf 'fleet %s\n' "$(cut -d ' ' -f 1,2 "$SSHD_KEY.pub")" >"$T/other"
    run -255 --separate-stderr g run --retry 1 '127.0.0.[2-4],127.0.0.2:1,no-such.invalid' -- echo x
    [ "$(sort <<<"$output")" = "$(printf '127.0.0.%s: x\n' 2 3 4)" ]
    [[ ${stderr_lines[0]} == "grapnel: 5 hosts: 3 done, 2 failed, in "* ]]
    grep -q '^grapnel: connect: connection refused: .*: 127.0.0.2:1 (1)$' <<<"$stderr"
    grep -q '^grapnel: resolve: .*: no-such.invalid (1)$' <<<"$stderr"
    run -255 --separate-stderr g run --json -o "UserKnownHostsFile=$T/other" '127.0.0.[2-3]' -- echo x
    json "$output" 'd["error"]["phase"] == "host key" and not d["begun"] and d["exit"] == 255'
}

@test "other names of the same account on the same host are left out, unless asked for" {
    run -0 --separate-stderr g run 127.0.0.2,same,127.0.0.3 -- echo x
    [ "$(sort <<<"$output")" = "127.0.0.2: x"$'\n'"127.0.0.3: x" ]
    [[ $stderr == *"other names"*": same (1)"* ]]
    run -0 --separate-stderr g run --aliases 127.0.0.2,same,127.0.0.3 -- echo x
    [ "${#lines[@]}" = 3 ]
    # What has ended has ended under all of its names.
    g run --log "$T/log" 127.0.0.2,same -- 'echo ran'
    run -0 g run --resume "$T/log" same,127.0.0.2 -- 'echo ran'
    [ "$output" = "grapnel: 2 hosts are finished already" ]
}

@test "Ctrl-C twice: all hosts confirm that it is over" {
    start run '127.0.0.[2-4]' -- sh -c 'trap "" TERM; echo on; sleep 60; sleep 60'
    for i in 2 3 4; do
        comes "127.0.0.$i: on" "$T/out"
    done
    kill -INT "$job"
    comes 'still at work: 127.0.0.\[2-4\] (3)' "$T/err"
    kill -INT "$job"
    status=0
    wait "$job" || status=$?
    [ "$status" = 130 ]
    grep -q 'the host has confirmed it: 127.0.0.\[2-4\] (3)' "$T/err"
}

@test "input goes to every host, output of any size comes back" {
    seq 100000 >"$T/in"
    g run --outdir "$T/o" '127.0.0.[2-4]' -- cat <"$T/in"
    for i in 2 3 4; do
        cmp "$T/in" "$T/o/127.0.0.$i.out"
    done
}

@test "--outdir: a limit of file sizes stops the host, and does not end the rest" {
    run -255 bash -c 'ulimit -f 1; exec "$0" run -F "$1" --outdir "$2" --substitute "127.0.0.[2-3]" -- \
        sh -c "[ \$0 = 127.0.0.2 ] || exec sh -c \"head -c 100000 /dev/zero; exec sleep 60\"; sleep 1; echo x" %h' \
        "$GRAPNEL" "$SSHD_CONFIG" "$T/o"
    [[ $output == *"its output could not be written: File too large: 127.0.0.3 (1)"* ]]
    [[ $output == *"the host has confirmed it: 127.0.0.3 (1)"* ]]
    [ "$(cat "$T/o/127.0.0.2.out")" = x ]
}

@test "the user of a host is put into its words; facts, ping and call" {
    run -0 g run --substitute '127.0.0.[2-3]' -- echo %u@%h
    [[ $output == *"127.0.0.3: $SSHD_USER@127.0.0.3"* ]]
    run -0 g ping '127.0.0.[2-4]'
    [ "${#lines[@]}" = 3 ]
    run -0 g call --group '127.0.0.[2-4]' string.rep '"ab"' 2
    [ "$output" = '---- 127.0.0.[2-4] (3) ----'$'\n''"abab"' ]
}
