#!/usr/bin/env bats
# --sudo: the whole agent as another user, through sudo -n.
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
    command -v sudo >/dev/null || skip "needs sudo"
}

teardown() {
    lib_teardown
}

@test "--sudo is root, with root's home" {
    run -0 --separate-stderr g run -l sudoer --sudo t 'id -u; echo $HOME; pwd'
    [ "${lines[0]}" = 0 ]
    [ "${lines[1]}" = /home/root ]
}

@test "--sudo=USER is that user" {
    run -0 --separate-stderr g run -l sudoer --sudo=plain t -- id -un
    [ "$output" = plain ]
}

@test "input, output and status pass through sudo" {
    head -c 2000000 /dev/urandom >"$T/big"
    g run -l sudoer --sudo t -- cat <"$T/big" | cmp - "$T/big"
    run -9 --separate-stderr g run -l sudoer --sudo t -- sh -c 'exit 9'
}

@test "a command through sudo ends with the launcher, though its login user may not signal it" {
    start run -l sudoer --sudo t -- sh -c 'trap "" TERM HUP; echo ready; while :; do sleep 1; done'
    within 10 says ready "$T/out"
    kill -KILL "$job"
    finish "$job"
    nothing_left
}

@test "--timeout through sudo" {
    run -124 --separate-stderr g run -l sudoer --sudo --timeout 300ms t -- sleep 98765
}

# sudo passes TERM on, but not KILL. It ends by itself while the teardown waits for that.
@test "--timeout cannot stop what the command itself has given to another user, and says so" {
    run -124 --separate-stderr g run -l sudoer --timeout 100ms t -- sudo -n sh -c 'trap "" TERM; sleep 7; :'
    echo "$stderr"
    [[ $stderr == *"t: exec: the command was stopped at its time limit: processes of it that go on, being another user's: "[12]* ]]
}

@test "a password is needed: said, with the way out" {
    run --separate-stderr g run -l beggar --sudo t -- true
    fails 't: exec: sudo needs a password' 'NOPASSWD'
}

@test "sudo refuses this account" {
    run --separate-stderr g run -l plain --sudo t -- true
    fails 't: exec: sudo '
}

@test "sudo does not know the other user" {
    run --separate-stderr g run -l sudoer --sudo=nobody-like-this t -- true
    fails 't: exec: sudo refused' nobody-like-this
}

@test "a user name that is none is refused before anything is sent" {
    run --separate-stderr g run -l sudoer '--sudo=root; reboot' t -- true
    fails 'invalid argument' 'is not a user name'
}

@test "no sudo on the host" {
    scene <<<'mount --bind /dev/null /usr/bin/sudo'
    run --separate-stderr g run -l scene --sudo t -- true
    fails 't: exec: sudo refused'
}
