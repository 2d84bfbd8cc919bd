#!/usr/bin/env bats
# Code on a host over a real sshd: the verbs call, eval, script, repl and lua.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

load ../lib

setup_file() {
    server_start
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    cd "$T" || return
}

teardown() {
    lib_teardown
}

@test "call and eval: results of the host's" {
    run -0 --separate-stderr g call t sys.uname
    [[ $output == *'"sysname":"Linux"'* ]]
    run -0 --separate-stderr g eval t 'io.open("/proc/self/comm"):read(), ...' '{"a": [1, 2.5]}'
    [ "${lines[1]}" = '{"a":[1,2.5]}' ]
    run -0 --separate-stderr g call --json t hash.blake2b '"abc"'
    [[ $output == '{"host":"t","results":['* ]]
    [ -z "$stderr" ]
}

@test "call: failures are the code's, or grapnel's" {
    run -1 --separate-stderr g call t fs.stat '"/no/such/file"'
    [ "$stderr" = 'grapnel: t: remote code: fs.stat: /no/such/file: No such file or directory' ]
    run --separate-stderr g call t fs.sta '"/"'
    fails 't: remote code: no such module or function: fs.sta ('
    run --separate-stderr g call -p 1 t sys.uname
    fails 't: connect: connection refused'
    run -124 --separate-stderr g eval --timeout 500ms t 'require("time").sleep(30)'
}

@test "eval: a signal leaves at once, and the host cleans up" {
    start eval t 'io.stderr:write("on\n"), require("time").sleep(30)'
    within 10 says on "$T/err"
    kill -INT "$job"
    finish "$job"
    [ "$status" = 130 ]
    nothing_left
}

@test "script: a filter over the line" {
    cat >sum.lua <<'LUA'
local sum, n = 0, 0
for line in channel do
    sum, n = sum + tonumber(line), n + 1
    if n % 5000 == 0 then
        channel:send {n = n, sum = sum}
    end
end
print("sum", sum, ...)
LUA
    run -0 --separate-stderr bash -c 'seq 20000 | "$GRAPNEL" script -F "$SSHD_CONFIG" t sum.lua done'
    [ "${#lines[@]}" = 5 ]
    [ "$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["sum"])' "${lines[3]}")" = 200010000 ]
    [ "${lines[4]}" = $'sum\t200010000\tdone' ]
    run -3 g script t - <<<'os.exit(3)'
    run -1 --separate-stderr g script t - <<<'error("boom")'
    [[ $stderr == 'grapnel: t: remote code: stdin:1: boom'* ]]
}

@test "script: TERM leaves at once, and children of the script end" {
    # os.execute holds up all of an instance, so what was printed gets its turn before.
    echo 'print("on") require("time").sleep(0.01) os.execute("sleep 300")' >sleep.lua
    start script t sleep.lua
    within 10 says on "$T/out"
    kill -TERM "$job"
    finish "$job"
    [ "$status" = 143 ]
    nothing_left
}

@test "repl: what is no terminal is run without prompts" {
    run -0 --separate-stderr g repl t <<<$'x = 20\nx + 1'
    [ "$output" = 21 ]
    run -7 g repl t <<<'os.exit(7)'
}

@test "lua: a program that talks with the host" {
    cat >both.lua <<'LUA'
local grapnel = require "grapnel"
local conn <close> = grapnel.connect("t", {config = ...})
print(conn.modules.sys.uname().sysname)
LUA
    run -0 --separate-stderr "$GRAPNEL" lua both.lua "$SSHD_CONFIG"
    [ "$output" = "$(uname -s)" ]
}
