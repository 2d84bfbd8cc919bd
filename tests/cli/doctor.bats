#!/usr/bin/env bats
# grapnel doctor and facts over a real sshd.
# shellcheck disable=SC2016,SC2154

load ../lib

setup_file() {
    server_start
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

# The name of each phase that doctor shows, in order.
phases() {
    sed -n '/^phase /,/^$/{ /^phase /d; /^[a-z]/s/^\([a-z ]*[a-z]\)  *[0-9f].*/\1/p; }' <<<"$output" |
        grep -v '^  ' | tr '\n' ' '
}

@test "doctor shows every phase, what was chosen, and the line" {
    run -0 --separate-stderr g doctor t
    echo "$output"
    [ -z "$stderr" ]
    [ "$(phases)" = "resolve connect kex host key auth shell deploy total " ]
    grep -Eq "^connect  .* port $SSHD_PORT\$" <<<"$output"
    grep -Eq '^kex  .*curve25519' <<<"$output"
    grep -Eq '^host key  .*SHA256:' <<<"$output"
    grep -Eq '^auth  .*publickey' <<<"$output"
    grep -Eq '^transport  *ssh2$' <<<"$output"
    grep -Eq "^agent  *linux-$(uname -m), .* sent, 1 attempt\$" <<<"$output"
    grep -Eq '^residue  *nothing left$' <<<"$output"
}

@test "doctor names the phase that failed, and those before it" {
    run -255 --separate-stderr g doctor -o UserKnownHostsFile=/dev/null t
    echo "$output"
    [ "$(phases)" = "resolve connect kex host key " ]
    grep -Eq '^host key  *failed' <<<"$output"
    [[ $stderr == "grapnel: t: host key: the host key is not known"*"("*")" ]]
    run -255 --separate-stderr g doctor -l no-such-user t
    echo "$output"
    [ "$(phases)" = "resolve connect kex host key auth " ]
    grep -Eq '^auth  *failed' <<<"$output"
}

@test "doctor and the error agree: a login shell that is silent, and an agent that does not start" {
    need_world
    run -255 --separate-stderr g doctor --connect-timeout 1s -l silent t
    echo "$output"
    [ "$(phases)" = "resolve connect kex host key auth shell " ]
    grep -Eq '^shell  *failed' <<<"$output"
    [[ $stderr == "grapnel: t: shell: the login shell did not start in time"* ]]
    run -255 --separate-stderr g doctor --connect-timeout 1s --transport "ssh -F '$SSHD_CONFIG' -T -l silent t" t
    echo "$output"
    [ "$(phases)" = "connect shell " ]
    grep -Eq '^shell  *failed' <<<"$output"
    mkdir "$SSHD_TEMP/home/.fake"
    printf '#!/bin/sh\n/bin/gzip "$@"; printf x\n' >"$SSHD_TEMP/home/.fake/gzip"
    chmod 755 "$SSHD_TEMP/home/.fake/gzip"
    scene <<<'export PATH=/home/.fake:$PATH'
    run -255 --separate-stderr g doctor -l scene t
    echo "$output" "$stderr"
    [ "$(phases)" = "resolve connect kex host key auth shell deploy " ]
    grep -Eq '^deploy  *failed' <<<"$output"
    [[ $stderr == "grapnel: t: deploy: the agent binary is not the one that was built"* ]]
}

@test "facts of several targets at the same time, one of which is out of reach" {
    run -255 --separate-stderr g facts --aliases t 127.0.0.1:1 demo
    grep -qx "t: arch  *$(uname -m)" <<<"$output"
    [ "$(grep -cE '^(t|demo): user ' <<<"$output")" -eq 2 ]
    [[ $stderr == *"grapnel: connect: connection refused"*": 127.0.0.1:1 (1)"* ]]
}
