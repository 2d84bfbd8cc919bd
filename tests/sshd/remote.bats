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
    export LUA_CPATH="$BUILD/lua/?.so" LUA_PATH="$PWD/tests/lua/?.lua;;" SSHD_CONFIG
}

teardown() {
    lib_teardown
}

# A script of tests/lua ends well, and says so.
script() {
    run -0 --separate-stderr timeout 60 lua5.4 "tests/lua/$1.lua"
    [ "$output" = ok ]
}

@test "what the tutorials of classic RPyC and Glusto show" {
    script classic
}

@test "asynchronous calls" {
    script async
}

@test "channels" {
    script channels
}

@test "a service, sent along" {
    script service
}
