#!/usr/bin/env bats
# Login shells: those that work, those that talk, those that refuse.
# shellcheck disable=SC1010,SC2016,SC2030,SC2031,SC2094,SC2143,SC2154

load ../lib

setup_file() {
    server_start 'Match User stranger' 'ForceCommand internal-sftp'
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    need_world
}

teardown() {
    lib_teardown
}

# works_with ACCOUNT NAME: exact words, a line in that shell's own language, a status and input.
works_with() {
    local words=('' "it's" 'a "b" c' '$HOME !x \ * ;' $'two\nlines')
    printf '%s\0' "${words[@]}" >"$T/given"
    "$GRAPNEL" run -F "$SSHD_CONFIG" -l "$1" t -- printf '%s\0' "${words[@]}" >"$T/arrived"
    cmp "$T/given" "$T/arrived"
    run -0 --separate-stderr g run -l "$1" t -- id -un
    [ "$output" = "$1" ]
    run -0 --separate-stderr g run -l "$1" t "$2"
    echo "$output"
    [[ $output == *"$3"* ]]
    run -7 --separate-stderr g run -l "$1" t -- sh -c 'exit 7'
    run -0 --separate-stderr g run -l "$1" t -- tr a-z A-Z <<<"some input"
    [ "$output" = "SOME INPUT" ]
}

@test "bash" { works_with bash 'a=(1 2 3); echo "${#a[@]} $BASH_VERSION"' '3 5'; }
@test "dash" { works_with dash 'echo $0; readlink /proc/$$/exe' dash; }
@test "busybox ash" { works_with ash 'readlink /proc/$$/exe; :' busybox; }
@test "zsh" { works_with zsh 'a=(one two); echo $a[2] $ZSH_NAME' 'two zsh'; }
@test "tcsh" { works_with tcsh 'set a = (one two); echo $a[2] $tcsh' 'two '; }
@test "csh" { works_with csh 'set a = (one two); echo $a[2] $0; if (1 == 1) echo same' same; }
@test "fish" { works_with fish 'set a one two; echo $a[2] $FISH_VERSION' 'two '; }

@test "a talking .bashrc works, and its talk is not the command's output" {
    run -0 --separate-stderr g run -l noisy t -- echo exactly this
    [ "$output" = "exactly this" ]
    [ -z "$stderr" ]
}

@test "a talking .cshrc works, and its talk is not the command's output" {
    run -0 --separate-stderr g run -l noisycsh t -- echo exactly this
    [ "$output" = "exactly this" ]
    [ -z "$stderr" ]
}

# with_bashrc LINE: account `bash` has this in its .bashrc.
with_bashrc() {
    echo "$1" >"$SSHD_TEMP/home/bash/.bashrc"
}

@test "a .bashrc that leaves: what it said and its status are told" {
    with_bashrc 'echo "closed for maintenance" >&2; exit 5'
    run --separate-stderr g run -l bash t -- true
    rm "$SSHD_TEMP/home/bash/.bashrc"
    fails 't: shell: the login shell did not run the start command' 'exit status 5' 'closed for maintenance'
}

@test "a .bashrc that takes the input: a clear error, no hang" {
    with_bashrc 'head -c 20000 >/dev/null'
    run --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" --connect-timeout 2s -l bash t -- true
    rm "$SSHD_TEMP/home/bash/.bashrc"
    # A large agent is cut where gzip sees it at once.
    if [ "${GRAPNEL_VARIANT:-}" = asan ]; then
        fails 't: '
    else
        fails 't: deploy: the agent did not start' 'no sign of it after 2000 ms'
    fi
}

@test "a .bashrc that sets escape codes free: they do not reach the terminal" {
    with_bashrc 'printf "\033]0;owned\007\033[2J"; exit 1'
    run --separate-stderr g run -l bash t -- true
    rm "$SSHD_TEMP/home/bash/.bashrc"
    fails 't: shell: ' '\x1b'
}

@test "umask 0777 in .bashrc: works, and the command has that umask" {
    with_bashrc 'umask 0777'
    run --separate-stderr g run -l bash t umask
    rm "$SSHD_TEMP/home/bash/.bashrc"
    [ "$status" -eq 0 ]
    [ "$output" = 0777 ]
}

@test "nologin: the account may not log in, with its own words" {
    run --separate-stderr g run -l nologin t -- true
    fails 't: shell: the account may not log in' 'This account is currently not available' 'give the account a real shell'
}

@test "/bin/false as a shell" {
    run --separate-stderr g run -l false t -- true
    fails 't: shell: the login shell did not run the start command' 'exit status 1' "check the account's login shell"
}

@test "a login shell that is not there: sshd refuses the account" {
    run --separate-stderr g run -l noshell t -- true
    fails 't: auth: every authentication method was refused'
}

@test "a login shell that cannot be executed" {
    run --separate-stderr g run -l broken t -- true
    fails 't: shell: the login shell did not run the start command' 'No such file or directory'
}

@test "a login shell that talks without end" {
    run --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" -l endless t -- true
    fails 't: shell: the login shell did not run the start command' 'this is not the shell'
}

@test "a login shell that says nothing and does not end" {
    run --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" --connect-timeout 1s -l silent t -- true
    fails 't: shell: the login shell did not start in time'
}

@test "an account for file transfer only" {
    run --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" --connect-timeout 5s -l stranger t -- true
    fails 't: shell: the login shell did not run the start command'
}
