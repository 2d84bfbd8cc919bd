#!/usr/bin/env bats
# A line that is held, and many that come and go: nothing grows at either end.
# shellcheck disable=SC1010,SC2016,SC2030,SC2031,SC2094,SC2143,SC2154

load ../lib

setup_file() {
    server_start
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    export GRAPNEL_AGENTS=$BUILD/agents
}

teardown() {
    lib_teardown
}

held() {
    run --separate-stderr timeout 35 "$TOOLS/held" "$1" "$SSHD_CONFIG" t "$2"
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "$stderr"
    [ "$status" -eq 0 ]
    [ "$output" = "as before" ]
}

@test "many commands on one line leave no descriptor, thread or process: our SSH" {
    held commands ssh2
}

@test "many commands on one line leave no descriptor, thread or process: the OpenSSH client" {
    held commands openssh
}

@test "many commands on one line leave no descriptor, thread or process: this machine" {
    held commands local
}

@test "many connections leave no descriptor, thread or process: our SSH" {
    held connects ssh2
}

@test "many connections leave no descriptor, thread or process: the OpenSSH client" {
    held connects openssh
}

@test "many connections leave no descriptor, thread or process: this machine" {
    held connects local
}
