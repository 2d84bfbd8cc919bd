#!/usr/bin/env bats
# Remote code over a real sshd, from a stock lua5.4 that requires grapnel: the scripts of tests/lua.
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
    export LUA_PATH="$PWD/tests/lua/?.lua;;" SSHD_CONFIG
}

teardown() {
    lib_teardown
}

# A script of tests/lua ends well, and says so.
script() {
    run --separate-stderr with_module timeout 60 lua5.4 "tests/lua/$1.lua"
    echo "$stderr"
    [ "$output" = ok ]
}

@test "what the tutorials of classic RPyC and Glusto show" {
    script classic
}

@test "what programs do wrong, and how they wait" {
    script programs
}

# A program that waits is interrupted by the signal of Ctrl-C: it says so, and leaves nothing.
interrupted() {
    with_module exec env --default-signal lua5.4 -e "$1" >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
    within 5 test -s "$T/out"
    kill -INT "$job"
    within 5 gone "$job"
    finish "$job"
    cat "$T/err"
}

@test "Ctrl-C ends a call that waits, and a program with it" {
    interrupted '
        local conn = require "grapnel".connect("t", {config = os.getenv "SSHD_CONFIG"})
        local sleep = conn.modules.time.sleep
        io.stdout:setvbuf "no"
        print "ready"
        sleep(30)'
    [ "$status" -eq 1 ]
    grep -q '^lua5.4: interrupted' "$T/err"
}

@test "Ctrl-C ends the connecting" {
    interrupted '
        local grapnel = require "grapnel"
        io.stdout:setvbuf "no"
        print "ready"
        grapnel.connect("t", {transport = "sleep 30"})'
    [ "$status" -eq 1 ]
    grep -q 'interrupted' "$T/err"
}

@test "a program that catches Ctrl-C goes on" {
    interrupted '
        local conn = require "grapnel".connect("t", {config = os.getenv "SSHD_CONFIG"})
        local sleep = conn.modules.time.sleep
        io.stdout:setvbuf "no"
        print "ready"
        print(pcall(sleep, 30))
        print(conn.eval "6 * 7")'
    [ "$status" -eq 0 ]
    [ "$(tail -n 2 "$T/out")" = "false	interrupted
42" ]
}

@test "asynchronous calls" {
    script async
}

@test "the connection cache" {
    script cache
}

@test "the connection cache, over another transport" {
    TEST_TRANSPORT=local script cache
}

@test "the connection cache, with several users" {
    need_world
    script cache_accounts
}

@test "channels" {
    script channels
}

@test "a service, sent along" {
    script service
}

@test "a service is told that its client has been killed" {
    need_world
    client_lost /tmp/lost "$SSHD_TEMP/tmp/lost" "service = 'tests/lua/leaving.lua'"
    TEST_TRANSPORT=local client_lost "$T/lost" "$T/lost" "service = 'tests/lua/leaving.lua'"
}

@test "bad input, and code that means harm, at either end" {
    script hostile
}

@test "clients of a service who want more than it exposes" {
    script hostile_client
}

@test "Ctrl-C ends a program that is flooded with calls" {
    interrupted '
        local conn = require "grapnel".connect("t", {config = os.getenv "SSHD_CONFIG"})
        local n = 0
        io.stdout:setvbuf "no"
        conn.execute([[
            local call, f = require "grapnel".call_no_reply, ...
            while true do call(f, ("x"):rep(1000)) end]], function()
            n = n + 1
            if n == 50000 then print "ready" end
        end)'
    [ "$status" -eq 1 ]
    grep -q '^lua5.4: interrupted' "$T/err"
}
