#!/usr/bin/env bats
# Over a slow line a link deflates what shrinks, whichever end sends it and whatever carries it. The
# proxy slows the line down and counts what crosses; how long anything takes is not looked at.
# shellcheck disable=SC2154

load ../lib

setup_file() {
    server_start
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    serve proxy --rate 1000000 "$SSHD_PORT"
    line=(-p "$port" -o "HostKeyAlias=[127.0.0.1]:$SSHD_PORT")
}

teardown() {
    lib_teardown
}

# Four MiB that shrink to about a quarter, and two that do not.
TEXT='seq 1000000 1524287'
NOISE='head -c 2097152 /dev/urandom'

# What the proxy passed on, by the time that the connection is over: $up and $down.
count() {
    within 10 says '^passed' "$T/proxy.out"
    read -r _ up down < <(grep '^passed' "$T/proxy.out")
    echo "up $up down $down"
}

same() {
    [ "$1" = "$2" ] && [ "${1#* }" -eq "$3" ]
}

@test "stdout that shrinks crosses in fewer bytes" {
    run -0 --separate-stderr bash -c 'set -o pipefail; "$GRAPNEL" run -F "$SSHD_CONFIG" '"${line[*]@Q} t -- $TEXT | cksum"
    same "$output" "$($TEXT | cksum)" 4194304
    count
    [ "$down" -lt 2700000 ]
}

@test "stdin that shrinks crosses in fewer bytes" {
    run -0 --separate-stderr bash -c 'set -o pipefail; '"$TEXT"' | "$GRAPNEL" run -F "$SSHD_CONFIG" '"${line[*]@Q} t -- cksum"
    same "$output" "$($TEXT | cksum)" 4194304
    count
    [ "$up" -lt 2700000 ]
}

@test "both at once, and through the OpenSSH client" {
    run -0 --separate-stderr bash -c 'set -o pipefail; '"$TEXT"' | "$GRAPNEL" run -F "$SSHD_CONFIG" --transport openssh '"${line[*]@Q} t -- cat | cksum"
    same "$output" "$($TEXT | cksum)" 4194304
    count
    [ "$up" -lt 2700000 ]
    [ "$down" -lt 2700000 ]
}

@test "what does not shrink crosses as it is" {
    $NOISE >"$T/noise"
    run -0 --separate-stderr bash -c 'set -o pipefail; "$GRAPNEL" run -F "$SSHD_CONFIG" '"${line[*]@Q}"' t -- cat <"$T/noise" | cksum'
    same "$output" "$(cksum <"$T/noise")" 2097152
    count
    # The agent crosses as well, and SSH adds something to each packet.
    [ "$up" -lt $((2097152 + $(stat -c %s "$GRAPNEL_AGENT.gz") + 60000)) ]
    [ "$down" -lt 2160000 ]
}
