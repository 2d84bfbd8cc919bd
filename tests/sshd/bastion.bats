#!/usr/bin/env bats
# Many hosts behind one whose server admits few connections at a time.
# shellcheck disable=SC2030,SC2031,SC2154

load ../lib

setup_file() {
    server_start "MaxStartups 3:100:3"
    sed "s/^Host .*/Host t* demo/; s/Port .*/&\n    HostKeyAlias fleet/" "$SSHD_CONFIG" >"$SSHD_DIR/fleet_config"
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

@test "refusals of a host in between are those of a server that is busy" {
    run -0 --separate-stderr g run --aliases -J demo 't[1-24]' -- echo x
    [ "$(sort -V <<<"$output")" = "$(printf 't%s: x\n' {1..24})" ]
    grep -q 'beginning MaxStartups throttling\|drop connection' "$SSHD_LOG"
}
