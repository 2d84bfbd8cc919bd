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

# Four MiB that shrink to about a quarter.
text() {
    seq 1000000 1524287
}

# On the host, through the proxy.
over() {
    g run "${line[@]}" t -- "$@"
}

# What the proxy has passed on when the connection is over: $up and $down.
count() {
    within 10 says '^passed' "$T/proxy.out"
    read -r _ up down < <(grep '^passed' "$T/proxy.out")
    echo "up $up down $down"
}

# A sum of cksum: that of so many bytes, and equal to another.
same() {
    [ "$1" = "$2" ] && [ "${1#* }" -eq "$3" ]
}

@test "stdout that shrinks crosses in fewer bytes" {
    out_of() {
        set -o pipefail
        over seq 1000000 1524287 | cksum
    }
    run -0 --separate-stderr out_of
    same "$output" "$(text | cksum)" 4194304
    count
    [ "$down" -lt 2700000 ]
}

@test "stdin that shrinks crosses in fewer bytes" {
    into() {
        set -o pipefail
        text | over cksum
    }
    run -0 --separate-stderr into
    same "$output" "$(text | cksum)" 4194304
    count
    [ "$up" -lt 2700000 ]
}

@test "both at once, and through the OpenSSH client" {
    line+=(--transport openssh)
    both() {
        set -o pipefail
        text | over cat | cksum
    }
    run -0 --separate-stderr both
    same "$output" "$(text | cksum)" 4194304
    count
    [ "$up" -lt 2700000 ]
    [ "$down" -lt 2700000 ]
}

@test "what does not shrink crosses as it is" {
    head -c 2097152 /dev/urandom >"$T/noise"
    noise() {
        set -o pipefail
        over cat <"$T/noise" | cksum
    }
    run -0 --separate-stderr noise
    same "$output" "$(cksum <"$T/noise")" 2097152
    count
    # The agent crosses as well, and SSH adds something to each packet.
    [ "$up" -lt $((2097152 + $(stat -c %s "$GRAPNEL_AGENT.gz") + 60000)) ]
    [ "$down" -lt 2160000 ]
}
