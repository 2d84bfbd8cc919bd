#!/usr/bin/env bats
# What the command is made of: SSH in process is a file of its own, loaded when it is needed.
# shellcheck disable=SC2030,SC2031,SC2154

bats_require_minimum_version 1.5.0
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-60}

setup() {
    GRAPNEL=${GRAPNEL:-$BATS_TEST_DIRNAME/../../build/grapnel}
    PART=$(dirname "$GRAPNEL")/ssh2.so
    export HOME=$BATS_TEST_TMPDIR SSH_AUTH_SOCK=
    cd "$BATS_TEST_TMPDIR" || return
    mkdir bin
    cp "$GRAPNEL" bin/grapnel
    ln -s "$(dirname "$GRAPNEL")/agents" bin
    unset GRAPNEL_AGENTS
}

@test "the command starts without libcrypto" {
    run -0 readelf -d "$GRAPNEL"
    [[ $output == *libsodium* ]]
    [[ $output != *libcrypto* ]]
    [[ $output != *libssh2* ]]
    run -0 readelf -d "$PART"
    [[ $output == *libcrypto* ]]
}

@test "the part shows its few names only" {
    run -0 nm -D --defined-only "$PART"
    [ "$(awk '{ sub(/@.*/, "", $3); print $3 }' <<<"$output" | sort | tr '\n' ' ')" = \
        'transport_ssh2 transport_ssh2_forgive transport_ssh2_free_keys transport_ssh2_sha1 transport_ssh2_version transport_ssh2_write_keys ' ]
}

@test "%C of ssh_config is SHA-1 of host name, host, port and user" {
    printf '%s\n' 'Host h' 'HostName 127.0.0.1' 'Port 1' 'User u' "IdentityFile $PWD/%C" >config
    name=$(printf '%s%s%s%s' "$(hostname)" 127.0.0.1 1 u | sha1sum | cut -d' ' -f1)
    run -255 "$GRAPNEL" run -vvv --no-broker -F config h -- true
    [[ $output == *"$name"* ]]
}

@test "the part is not needed without SSH, and said to be missing with it" {
    run -0 bin/grapnel run --transport local h -- echo ran
    [ "$output" = ran ]
    run -255 --separate-stderr bin/grapnel run --no-broker --transport ssh2 -p 1 127.0.0.1 -- true
    [[ $stderr == 'grapnel: 127.0.0.1: local: the system refused: grapnel is not installed completely: '*ssh2.so* ]]
    [ "${#stderr_lines[@]}" -eq 1 ]
}

@test "a single command is run by one thread" {
    mkfifo in out
    bin/grapnel run --transport local h -- 'echo ran; cat' <in >out &
    exec 8>in 9<out
    read -r line <&9
    [ "$line" = ran ]
    [ "$(ls "/proc/$!/task")" = "$!" ]
    exec 8>&-
    wait $!
    exec 9<&-
}

@test "the part is found beside the command, and must be of the same version" {
    cp "$PART" bin/ssh2.so
    run -255 --separate-stderr bin/grapnel run --no-broker --transport ssh2 -p 1 127.0.0.1 -- true
    [[ $stderr == *'connect: '* ]]
    printf 'const char transport_ssh2_version[] = "0";\nvoid transport_ssh2(void) {}\n' |
        gcc -shared -fPIC -xc -o bin/ssh2.so -
    run -255 --separate-stderr bin/grapnel run --no-broker --transport ssh2 -p 1 127.0.0.1 -- true
    [[ $stderr == *'ssh2.so, but that is of 0 ('* ]]
}
