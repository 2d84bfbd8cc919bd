#!/usr/bin/env bats
# --cache-agent: the agent is kept on the host, checked each time, and not sent again.
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
    need_world
    kept=$SSHD_TEMP/home/plain/.cache/grapnel
}

teardown() {
    rm -rf "$SSHD_TEMP/home/plain/.cache" "$SSHD_TEMP/home/root/.cache"
    lib_teardown
}

# k [OPTION...]: runs a command on the host as the account plain.
k() {
    run --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" -l plain --cache-agent "$@" t -- /bin/echo here
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "$stderr"
    [ "$status" -eq 0 ]
    [ "$output" = here ]
}

@test "kept at the first time, used at the second; nobody else can read it" {
    k -v
    [[ $stderr == *"kept on the host for the next time"* ]]
    [ "$(stat -c '%a %u' "$kept" "$kept"/* | sort -u)" = '700 5023' ]
    [ "$(find "$kept" -type f -printf . | wc -c)" -eq 1 ]
    file=("$kept"/*)
    [ "$(b2sum -l 256 <"${file[0]}" | cut -d' ' -f1)" = "${file[0]##*/}" ]
    k -v
    [[ $stderr == *"was checked, and is used"* ]]
    k
    [ -z "$stderr" ]
}

@test "what was changed is never run: it is replaced, and everybody is told" {
    k
    file=("$kept"/*)
    # As of another build, which says of itself that it is the right one.
    printf '#!/bin/sh\ntouch /home/plain/ran\n[ "$1" = probe ] || echo GRAPNEL\n' >"${file[0]}"
    k
    [[ $stderr == *"t: the agent kept on the host was changed or damaged: it is replaced"* ]]
    [ ! -e "$SSHD_TEMP/home/plain/ran" ]
    k
    [ -z "$stderr" ]
}

@test "a folder of somebody else's is left alone" {
    mkdir -p "$kept"
    k
    [[ $stderr == *"not a folder of this account"* ]]
    [ -z "$(ls -A "$kept")" ]
}

@test "a full disk: the agent is sent each time, and nothing is left of the copy" {
    scene <<<'mount -t tmpfs -o size=64k,mode=755,uid=5023 tmpfs /home/plain'
    run -0 --separate-stderr g run -v -l scene --cache-agent t -- /bin/ls -A /home/plain/.cache/grapnel
    [ -z "$output" ]
    [[ $stderr == *"cannot be written"* ]]
    run -0 --separate-stderr g run -l scene --cache-agent t -- /bin/echo here
    [ "$output" = here ]
    [ -z "$stderr" ]
}

@test "without HOME, and with one that cannot be written, it is sent" {
    scene <<<'unset HOME'
    run -0 --separate-stderr g run -v -l scene --cache-agent t -- /bin/echo here
    [ "$output" = here ]
    [[ $stderr == *"there is no HOME"* ]]
    scene <<<'mount -t tmpfs -o ro tmpfs /home/plain'
    run -0 --separate-stderr g run -v -l scene --cache-agent t -- /bin/echo here
    [ "$output" = here ]
    [[ $stderr == *"cannot be written"* ]]
}

@test "a kept agent runs where home and /tmp are noexec" {
    k
    scene <<'SCENE'
for place in /tmp /home/plain; do mount --bind $place $place; mount -o remount,bind,noexec $place; done
SCENE
    run -0 --separate-stderr g run -v -l scene --cache-agent t -- /bin/echo here
    [ "$output" = here ]
    [[ $stderr == *"was checked, and is used"* ]]
}

@test "a kept agent where the first temporary directory is full" {
    k
    scene <<<'mount -t tmpfs -o size=64k,mode=1777 tmpfs /tmp'
    run -0 --separate-stderr g run -v -l scene --cache-agent t -- /bin/echo here
    [ "$output" = here ]
    [[ $stderr == *"was checked, and is used"* ]]
}

@test "--sudo keeps it in the home of the other account" {
    command -v sudo >/dev/null || skip "needs sudo"
    run -0 --separate-stderr g run -l sudoer --sudo=plain --cache-agent t -- id -un
    [ "$(stat -c %u "$kept"/*)" = 5023 ]
    run -0 --separate-stderr g run -v -l sudoer --sudo=plain --cache-agent t -- id -un
    [[ $stderr == *"was checked, and is used"* ]]
}

@test "over the OpenSSH client, too" {
    k --transport openssh
    k --transport openssh -v
    [[ $stderr == *"was checked, and is used"* ]]
}

@test "without the option nothing is kept, and nothing kept is used" {
    g run -l plain t -- true
    [ ! -e "$kept" ]
    k
    file=("$kept"/*)
    echo >"${file[0]}"
    run -0 --separate-stderr g run -v -l plain t -- true
    [[ $stderr != *"kept"* ]]
}
