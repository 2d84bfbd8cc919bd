#!/usr/bin/env bats
# Accounts for which sshd runs an agent that serves one thing: the launcher, which knows nothing of
# that, meets it as any other, and gets nothing else out of it.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

load ../lib

setup_file() {
    local at=/home/.bin
    server_start \
        "Match User plain,noisy,noisycsh,fish" \
        "ForceCommand $at/grapnel-agent serve $at/service.lua" \
        "Match User bash" \
        "ForceCommand $at/real/grapnel-agent serve $at/real/track_your_package.lua memory=67108864" \
        "Match User dash" \
        "ForceCommand $at/real/grapnel-agent serve $at/real/vault.lua memory=67108864" \
        "Match User ash" \
        "ForceCommand GRAPNEL_LEASE_MS=2000 $at/real/grapnel-agent serve $at/real/leaving.lua" \
        "Match User sudoer" \
        "ForceCommand $at/real/grapnel-agent serve $at/real/endless.lua" \
        "Match User nologin,stranger" \
        "ForceCommand $at/grapnel-agent serve $at/there-is-none"
    [ -n "$SSHD_WORLD" ] || return 0
    install -m 755 "$GRAPNEL_AGENT" "$SSHD_TEMP$at/grapnel-agent"
    install -m 644 /dev/null "$SSHD_TEMP$at/service.lua"
    mkdir "$SSHD_TEMP$at/real"
    echo 'while true do end' >"$SSHD_TEMP$at/real/endless.lua"
    # It stands in for the worker, where only the agent is looked at.
    printf '#!/bin/sh\nexec cat\n' >"$SSHD_TEMP$at/grapnel-worker"
    chmod 755 "$SSHD_TEMP$at/grapnel-worker"
    install -m 755 "$GRAPNEL_AGENT" "$SSHD_TEMP$at/real/grapnel-agent"
    install -m 755 "$GRAPNEL_WORKER" "$SSHD_TEMP$at/real/grapnel-worker"
    install -m 644 tests/lua/track_your_package.lua tests/lua/vault.lua tests/lua/leaving.lua "$SSHD_TEMP$at/real/"
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

# facts_are_few USER OPTION...
facts_are_few() {
    run -0 --separate-stderr g facts --json "${@:2}" "$1@t"
    [ "$(python3 -c 'import json, sys; print(*sorted(json.load(sys.stdin)["facts"]))' \
        <<<"$output")" = 'arch byte_order system version word_bits' ]
}

@test "it is met by a launcher that knows nothing of it" {
    for user in plain noisy noisycsh fish; do
        facts_are_few "$user"
    done
}

@test "... through the OpenSSH client, with a kept agent and with sudo asked for" {
    facts_are_few plain --transport openssh
    facts_are_few plain --cache-agent
    run --separate-stderr g run --sudo plain@t -- id
    fails "the service does not expose this"
}

@test "no command is run" {
    run --separate-stderr g run plain@t -- touch /tmp/caught
    fails "the service does not expose this"
    run --separate-stderr g run plain@t -- 'touch /tmp/caught'
    fails "the service does not expose this"
    [ ! -e "$SSHD_TEMP/tmp/caught" ]
}

@test "what is wrong there is told" {
    run --separate-stderr g run stranger@t -- id
    fails "the agent did not start" "there-is-none"
}

@test "ssh gets nothing out of it, either" {
    run -255 --separate-stderr ssh -F "$SSHD_CONFIG" plain@t 'touch /tmp/caught' <<<'touch /tmp/caught'
    [[ $stderr == *"does not speak grapnel's protocol"* ]]
    run --separate-stderr ssh -F "$SSHD_CONFIG" -T plain@t </dev/null
    [ ! -e "$SSHD_TEMP/tmp/caught" ]
}

@test "a service in Lua gives its clients what it exposes, and nothing else" {
    export LUA_CPATH="$BUILD/lua/?.so" LUA_PATH="$PWD/tests/lua/?.lua;;" SSHD_CONFIG
    TEST_TARGET=bash@t TEST_SERVED=1 run -0 --separate-stderr with_module timeout 60 lua5.4 tests/lua/service.lua
    [ "$output" = ok ]
    run --separate-stderr g run bash@t -- id
    fails "the service does not expose this"
}

@test "... whatever they try" {
    export LUA_CPATH="$BUILD/lua/?.so" LUA_PATH="$PWD/tests/lua/?.lua;;" SSHD_CONFIG
    TEST_TARGET=dash@t TEST_SERVED=1 run -0 --separate-stderr \
        with_module timeout 60 lua5.4 tests/lua/hostile_client.lua
    [ "$output" = ok ]
}

@test "a service is told that its client has been killed" {
    TEST_TARGET=ash@t client_lost /tmp/lost "$SSHD_TEMP/tmp/lost" ""
}

@test "... and that the line has been cut, or hangs" {
    local signal
    for signal in USR2 USR1; do
        serve proxy "$SSHD_PORT"
        TEST_TARGET=ash@t client_lost /tmp/lost "$SSHD_TEMP/tmp/lost" \
            "port = $port, options = 'HostKeyAlias=[127.0.0.1]:$SSHD_PORT'" kill "-$signal" "$tool"
    done
}

@test "a service that never gets ready is given up in time" {
    export LUA_PATH="$PWD/tests/lua/?.lua;;" SSHD_CONFIG
    TEST_TARGET=sudoer@t run -0 --separate-stderr with_module timeout 20 lua5.4 -e "
        require 'check'.fails('the instance has not answered', require 'check'.connect, {connect_timeout = 2})
        print 'ok'"
    [ "$output" = ok ]
}
