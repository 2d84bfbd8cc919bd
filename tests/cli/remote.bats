#!/usr/bin/env bats
# Code on a host, with a child process for a host: call, eval, script, repl, lua.
# shellcheck disable=SC2016,SC2030,SC2031,SC2094,SC2154

bats_require_minimum_version 1.5.0
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-60}

setup() {
    GRAPNEL=${GRAPNEL:-$BATS_TEST_DIRNAME/../../build/grapnel}
    T=$BATS_TEST_TMPDIR
    job=
    # What is started for this test has this mark, and its files lie here.
    GRAPNEL_TEST="grapnel-remote-$BATS_TEST_NUMBER-$$"
    mkdir "$T/tmp"
    export GRAPNEL GRAPNEL_TEST TMPDIR=$T/tmp XDG_STATE_HOME=$T/state
    cd "$T" || return
}

teardown() {
    [ -z "$job" ] || kill -KILL "$job" 2>/dev/null || true
    within nothing_left || {
        marked | xargs -r ps -o pid=,args= -p
        find "$T/tmp" -mindepth 1
        marked | xargs -r kill -KILL
        return 1
    }
}

marked() {
    grep -lzsxF "GRAPNEL_TEST=$GRAPNEL_TEST" /proc/[0-9]*/environ 2>/dev/null |
        cut -d / -f 3 | while read -r pid; do
        case $(readlink "/proc/$pid/exe") in
        */grapnel | *memfd:* | */.grapnel-*) echo "$pid" ;;
        esac
    done
}

nothing_left() {
    [ -z "$(marked)" ] && [ -z "$(find "$T/tmp" -mindepth 1)" ]
}

# Repeats a command until it succeeds, ten seconds at most.
within() {
    local deadline=$((SECONDS + 10))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -rt 0.01 _ <> <(:) || true
    done
}

# A verb with this machine for a host.
l() {
    "$GRAPNEL" "$1" --transport local "${@:2}"
}

# Starts it in the background as a person's shell would: no signal ignored.  What one before it said
# is not taken for its words.
start() {
    : >"$T/err"
    env --default-signal "$GRAPNEL" "$1" --transport local "${@:2}" >"$T/out" 2>"$T/err" \
        </dev/null 3>&- &
    job=$!
}

finish() {
    status=0
    wait "$job" || status=$?
}

# A dialogue on a terminal, as the lines of standard input tell: terminal.py.
terminal() {
    HOME=$T timeout 30 python3 "$BATS_TEST_DIRNAME/terminal.py" "$GRAPNEL" "$@"
}

# ---- call ----

@test "call: a function's result is a line of JSON" {
    run -0 --separate-stderr l call here sys.uname
    [ "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["sysname"])' <<<"$output")" = \
        "$(uname -s)" ]
    [ -z "$stderr" ]
    run -0 --separate-stderr l call here string.rep '"ab"' 3
    [ "$output" = '"ababab"' ]
    run -0 --separate-stderr l call here type null
    [ "$output" = '"nil"' ]
    run -0 --separate-stderr l call here table.concat '["a", "b"]' '"-"'
    [ "$output" = '"a-b"' ]
}

@test "call: large results, and lists of very many" {
    [ "$(l call here string.rep '"x"' 3000000 | wc -c)" -eq 3000003 ]
    list="[0$(printf ',0%.0s' $(seq 40000))]"
    l call here table.pack "$list" "$list" | python3 -c '
import json, sys
both = json.load(sys.stdin)
assert len(both["1"]) == len(both["2"]) == 40001'
}

@test "call: words that are no JSON are refused before anything is done" {
    run -255 --separate-stderr l call here string.rep ab 3
    [ "$stderr" = "grapnel: call: argument 1 is no JSON: ab: if a string is meant, quote it for JSON and for the shell: '\"ab\"'" ]
    run -255 --separate-stderr l call here string.rep '"ab"' '{"a":'
    [[ $stderr == 'grapnel: call: argument 2 is no JSON: {"a":'*"(a string is written '\"text\"')" ]]
    run -255 --separate-stderr l call here string.rep ''
    [[ $stderr == *"argument 1 is empty: an empty string is '\"\"'" ]]
    run -255 --separate-stderr l call here string.rep 99999999999999999999
    [[ $stderr == *"argument 1 is no JSON"* ]]
}

@test "call: an unknown function is named, and grapnel fails" {
    run -255 --separate-stderr l call here no.such
    [[ $stderr == 'grapnel: here: remote code: no such module or function: no.such ('*')' ]]
    [ -z "$output" ]
}

@test "call: nil and a message is a failure of the code" {
    run -1 --separate-stderr l call here fs.stat '"/no/such/file"'
    [ "$stderr" = 'grapnel: here: remote code: fs.stat: /no/such/file: No such file or directory' ]
    [ -z "$output" ]
    run -1 --separate-stderr l call --json here fs.stat '"/no/such/file"'
    [[ $output == '{"host":"here","error":{"name":"REMOTE",'*'"detail":"/no/such/file: No such file'* ]]
    [ -z "$stderr" ]
}

@test "call: a target, a function and a command line that cannot be" {
    run -255 --separate-stderr l call
    [[ $stderr == 'grapnel: call: a target is missing; see `grapnel call --help`' ]]
    run -255 --separate-stderr l call here
    [[ $stderr == *'a function is missing after here'* ]]
    run -255 --separate-stderr l eval here
    [[ $stderr == *'an expression is missing after here'* ]]
    run -255 --separate-stderr "$GRAPNEL" call --transport false here sys.uname
    [[ $stderr == 'grapnel: here: connect: the transport command failed'* ]]
}

# ---- eval ----

@test "eval: each value is a line, whatever it is" {
    run -0 --separate-stderr l eval here '1, nil, {1,2}, {a=1.5}, 0.1, 1/0, print, "\xff", "ü", ""'
    [ "$output" = $'1\nnull\n[1,2]\n{"a":1.5}\n0.1\n"Infinity"\n{"ref":"function"}\n{"base64":"/w=="}\n"ü"\n""' ]
    run -0 --separate-stderr l eval here '(function() end)()'
    [ -z "$output" ]
    run -0 --separate-stderr l eval here -- -1
    [ "$output" = -1 ]
}

@test "eval: arguments are what dots give" {
    run -0 --separate-stderr l eval here 'select("#", ...), ...' 1 '"two"' null '{"a": [true]}'
    [ "$output" = $'4\n1\n"two"\nnull\n{"a":[true]}' ]
    run -0 --separate-stderr l eval --json here '...' 1.5 '"x\u0000y"'
    [ "$output" = '{"host":"here","results":[1.5,"x\u0000y"]}' ]
}

@test "eval: an error is shown with its traceback, harmless for terminals" {
    run -1 --separate-stderr l eval here 'error("boom\27[31m\nmore")'
    [ -z "$output" ]
    [ "${stderr_lines[0]}" = 'grapnel: here: remote code: eval:1: boom\x1b[31m' ]
    [ "${stderr_lines[1]}" = '  more' ]
    [ "${stderr_lines[2]}" = '  stack traceback:' ]
    run -1 --separate-stderr l eval -q here 'error("boom")'
    [ "$stderr" = 'grapnel: here: remote code: eval:1: boom' ]
    run -1 --separate-stderr l eval here 'error({code = 3})'
    [ "${stderr_lines[0]}" = 'grapnel: here: remote code: {"code":3}' ]
    run -1 --separate-stderr l eval --json here 'error({code = 3})'
    [[ $output == *'"thrown":{"code":3},"traceback":"stack traceback:'* ]]
    run -1 --separate-stderr l eval here '1 +'
    [[ $stderr == *"unexpected symbol near <eof>"* ]]
}

@test "eval: on a terminal nothing in the results can be obeyed or hidden" {
    run -0 terminal eval --transport local here '"\27\u{9b}\u{202e}ü\u{1f600}", 0.1' </dev/null
    [ "$output" = $'"\\u001b\\u009b\\u202e\\u00fc\\ud83d\\ude00"\n0.1' ]
    run -0 l eval here '"\u{202e}ü"'
    [ "$output" = $'"\u202eü"' ]
}

@test "eval: what the code prints goes to standard error" {
    run -0 --separate-stderr l eval here 'print("said"), io.stderr:write("too\n") and nil'
    [ "$output" = $'null\nnull' ]
    [ "$stderr" = $'said\ntoo' ]
}

@test "eval: folder, environment and limits" {
    run -0 --separate-stderr l eval -C / -e A=7 --unset HOME here \
        'os.getenv("A"), os.getenv("HOME"), io.open("etc/passwd") ~= nil'
    [ "$output" = $'"7"\nnull\ntrue' ]
    run -255 --separate-stderr l eval --memory 20M here '#("x"):rep(1e9)'
    [[ $stderr == "grapnel: here: "*memory* ]]
    run -255 --separate-stderr l eval --cpu 0.5 here '(function() while true do end end)()'
    [[ $stderr == "grapnel: here: remote code: the instance's CPU limit was reached"* ]]
    run -255 --separate-stderr l eval here 'os.exit(3)'
    [[ $stderr == "grapnel: here: remote code: the instance ended: exited with status 3"* ]]
}

@test "eval: at its time limit the code is stopped" {
    run -124 --separate-stderr l eval --timeout 300ms here '(function() while true do end end)()'
    [ "$stderr" = "grapnel: here: remote code: the code was stopped at its time limit (raise --timeout)" ]
    run -124 --separate-stderr l eval --timeout 300ms here 'require("time").sleep(30)'
}

@test "eval: INT and TERM leave at once, and nothing stays behind" {
    for signal in INT TERM; do
        start eval here 'io.stderr:write("on\n"), require("time").sleep(30)'
        within grep -q on "$T/err"
        kill -"$signal" "$job"
        finish
        [ "$status" = $((128 + $(kill -l "$signal"))) ]
        within nothing_left
    done
    [[ $(cat "$T/err") == *"grapnel: here: left on a signal; the host cleans up by itself" ]]
}

@test "eval: a closed pipe and a full disk are told" {
    [ -e /dev/full ] || skip "there is no /dev/full"
    run -255 --separate-stderr bash -c '"$GRAPNEL" eval --transport local here 1 >/dev/full'
    [[ $stderr == *"No space left on device"* ]]
}

# ---- script ----

# A script from a here-document, with further words as its arguments; its input is empty.
s() {
    l script here - "$@"
}

@test "script: arguments, lines in, values out, and what it prints, in order" {
    cat >a.lua <<'LUA'
#!/usr/bin/env grapnel
print("args", ..., #arg, arg[0])
channel:send(1)
io.write("x", 2, "\n")
channel:send {list = {1, 2}}
io.stdout:write("y\n"):write("z\n")
channel:send(nil)
channel:send("\xff")
for line in channel do
    channel:send(line:upper())
end
print(pcall(channel.receive, channel))
LUA
    run -0 --separate-stderr l script here a.lua A 'B C' < <(printf 'one\n\ntwo')
    [ "$output" = $'args\tA\t2\ta.lua\n1\nx2\n{"list":[1,2]}\ny\nz\nnull\n{"base64":"/w=="}\n"ONE"\n""\n"TWO"\nfalse\tEOF: the channel has ended' ]
    [ -z "$stderr" ]
    run -0 --separate-stderr l script -n here a.lua <a.lua
    [ "${lines[-1]}" = $'false\tEOF: the channel has ended' ]
    [[ $output != *LUA* ]]
}

@test "script: the script from standard input" {
    run -0 --separate-stderr s 1 2 <<<'print(_VERSION, ...) io.stderr:write("err\n") os.execute("echo child")'
    [ "$output" = $'Lua 5.4\t1\t2' ]
    [ "$(sort <<<"$stderr")" = $'child\nerr' ]
}

@test "script: an error has its file and line, and the traceback" {
    printf '\nlocal function f() error("boom") end\nf()' >e.lua
    run -1 --separate-stderr l script here e.lua
    [ "${stderr_lines[0]}" = 'grapnel: here: remote code: e.lua:2: boom' ]
    [ "${stderr_lines[1]}" = '  stack traceback:' ]
    [[ $stderr == *"e.lua:3: in main chunk"* ]]
    run -1 --separate-stderr l script -q here e.lua
    [ "$stderr" = 'grapnel: here: remote code: e.lua:2: boom' ]
    run -1 --separate-stderr s <<<'channel:send(1) error({code = 1})'
    [ "$output" = 1 ]
    [ "$stderr" = 'grapnel: here: remote code: {"code":1}' ]
}

@test "script: what is no Lua, or is not there, is refused before anything is done" {
    printf 'x = 1\nx = = 2' >e.lua
    run -1 --separate-stderr "$GRAPNEL" script --transport false h e.lua
    [ "$stderr" = "grapnel: script: e.lua:2: unexpected symbol near '='" ]
    run -255 --separate-stderr "$GRAPNEL" script --transport false h none.lua
    [ "$stderr" = "grapnel: script: none.lua cannot be read: No such file or directory" ]
    run -255 --separate-stderr "$GRAPNEL" script --transport false h e.lua/
    [[ $stderr == *"cannot be read: Not a directory" ]]
    run -255 --separate-stderr "$GRAPNEL" script --transport false h - <<<'print(1)'
    [[ $stderr == 'grapnel: h: connect: the transport command failed'* ]]
    run -255 --separate-stderr l script here
    [[ $stderr == *'a script is missing after here'* ]]
}

@test "script: the exit status is what os.exit gave, or tells the signal" {
    run -3 --separate-stderr s <<<'print("x") channel:send(1) os.exit(3)'
    [ "$output" = $'x\n1' ]
    [ -z "$stderr" ]
    run -0 s <<<'os.exit(true)'
    run -1 s <<<'os.exit(false)'
    # Not SEGV, which sanitizers handle.
    run -134 --separate-stderr s <<<'os.execute("kill -ABRT $PPID") require("time").sleep(9)'
    [[ $stderr == *"the instance ended: killed by signal ABRT"* ]]
    run -152 --separate-stderr l script --cpu 1 here - <<<'while true do end'
    [[ $stderr == *"the instance's CPU limit was reached"* ]]
}

@test "script: at its time limit it is stopped" {
    run -124 --separate-stderr l script --timeout 300ms here - <<<'print(1) while true do end'
    [ "$output" = 1 ]
    [ "$stderr" = "grapnel: here: remote code: the script was stopped at its time limit (raise --timeout)" ]
    run -124 --separate-stderr l script --timeout 300ms here - <<<'pcall(channel.receive, channel) require("time").sleep(9)'
}

@test "script: INT and TERM leave at once, also while nobody reads" {
    echo 'print("on") require("time").sleep(30)' >sleep.lua
    echo 'print("on") while true do print(("x"):rep(1000)) end' >flood.lua
    mkfifo pipe
    exec 7<>pipe
    for signal in INT TERM; do
        start script here sleep.lua
        within grep -q on "$T/out"
        kill -"$signal" "$job"
        finish
        [ "$status" = $((128 + $(kill -l "$signal"))) ]
        within nothing_left
    done
    env --default-signal "$GRAPNEL" script --transport local here flood.lua >pipe 2>err </dev/null 3>&- 7>&- &
    job=$!
    read -r line <&7
    [ "$line" = on ]
    # Until the pipe is full.
    within python3 -c 'import fcntl, sys, array
n = array.array("i", [0])
fcntl.ioctl(7, 0x541b, n)
sys.exit(n[0] < 60000)'
    kill -INT "$job"
    finish
    exec 7>&-
    [ "$status" = 130 ]
    within nothing_left
}

@test "script: who is not read waits, at both ends" {
    echo 'for line in channel do channel:send(line) end' >echo.lua
    mkfifo pipe
    # The reader takes nothing before it is told to; what runs into it must stop.
    yes "$(printf 'y%.0s' {1..100})" | head -n 100000 >many
    {
        cat many
        touch fed
    } | "$GRAPNEL" script --transport local here echo.lua >pipe 2>err 3>&- &
    job=$!
    exec 7<pipe
    read -r line <&7
    [ "${#line}" = 102 ]
    sleep 1 # in which nothing may happen that could be waited for
    [ ! -e fed ]
    [ "$(($(wc -l <&7) + 1))" = "$(wc -l <many)" ]
    exec 7<&-
    finish
    [ "$status" = 0 ]
    [ -e fed ]
}

@test "script: a reader who leaves stops it" {
    run -0 --separate-stderr bash -c 'yes | "$GRAPNEL" script --transport local here <(
        echo "for line in channel do channel:send(line) end") | head -n 1; [ ${PIPESTATUS[1]} = 255 ]'
    [ "$output" = '"y"' ]
    [[ $stderr == "grapnel: here: local: the output could not be written: Broken pipe"* ]]
}

# ---- repl ----

@test "repl: what is no terminal is run without prompts" {
    run -0 --separate-stderr l repl here <<'LUA'
x = 3
x + 1

for i = 1, 2 do
    print(i)
end
1, nil, "a"
LUA
    [ "$output" = $'4\n1\n2\n1\tnil\ta' ]
    [ -z "$stderr" ]
    run -1 --separate-stderr l repl here < <(printf 'error("boom")\n"on"\n')
    [ "$output" = on ]
    [[ $stderr == *"stdin:1: boom"* ]]
    run -1 --separate-stderr l repl here < <(printf 'for i = 1, 2 do\n')
    [ "$stderr" = "the input ends within a statement" ]
    run -4 --separate-stderr l repl here <<<'os.exit(4)'
    run -255 --separate-stderr "$GRAPNEL" repl --transport false h </dev/null
    [[ $stderr == 'grapnel: h: connect: the transport command failed'* ]]
}

@test "repl: whatever is thrown is shown as eval shows it" {
    run -1 --separate-stderr l repl here <<'LUA'
error(setmetatable({}, {__tostring = function() error "within" end}))
error(setmetatable({}, {__tostring = function() return "its text" end}))
error {code = {1, true}}
error(print)
error(nil)
error(5)
setmetatable({}, {__tostring = function() error "shown" end})
"still here"
LUA
    [ "$output" = "still here" ]
    [ "${stderr_lines[0]}" = '{"ref":"table"}' ]
    [ "${stderr_lines[1]}" = "its text" ]
    [ "${stderr_lines[2]}" = '{"code":[1,true]}' ]
    [ "${stderr_lines[3]}" = '{"ref":"function"}' ]
    [ "${stderr_lines[4]}" = nil ]
    [ "${stderr_lines[5]}" = 5 ]
    [ "${stderr_lines[6]}" = "stdin:1: shown" ]
    run -0 terminal lua <<'STEPS'
expect > 
type error(setmetatable({}, {__tostring = function() error "within" end}))\n
expect []
expect > 
type error {code = 1}\n
expect {"code":1}
expect > 
type \x04
STEPS
}

@test "repl: a dialogue has several lines, Ctrl-C, Ctrl-D and a history" {
    run -0 terminal repl --transport local here <<'STEPS'
expect here:1> 
type x = 5\n
expect here:1> 
type for i = 1, 2 do\n
expect here:1>> 
type print(i)\n
expect here:1>> 
type end\n
expect 1\n2\nhere:1> 
type y = 'dropped
expect dropped
send \x03
expect here:1> 
type x, y\n
expect 5\tnil\nhere:1> 
type for i = 1, 2 do\n
expect here:1>> 
type \x03
expect here:1> 
type error('bo' .. 'om')\n
expect stdin:1: boom
expect here:1> 
type \x04
STEPS
    [ "$(stat -c %a state/grapnel state/grapnel/history)" = $'700\n600' ]
    grep -q print state/grapnel/history
    run ! grep -q dropped state/grapnel/history
}

@test "repl: Ctrl-C stops what runs on the host" {
    run -0 terminal repl --transport local here <<'STEPS'
expect here:1> 
type print('g' .. 'o') while true do end\n
expect \ngo
send \x03
expect interrupted\nhere:1> 
type print('g' .. 'o') require('time').sleep(20)\n
expect \ngo
send \x03
expect interrupted\nhere:1> 
type print('he' .. 're')\n
expect \nhere\nhere:1> 
type \x04
STEPS
}

@test "repl: the end of the instance ends the dialogue" {
    run -3 terminal repl --transport local here <<'STEPS'
expect here:1> 
type os.exit(3)\n
expect exited with status 3
STEPS
    # libedit's folder of state may lie anywhere; without one there is no history.
    XDG_STATE_HOME=/proc/none run -0 terminal repl --transport local here <<'STEPS'
expect here:1> 
type \x04
STEPS
}

# ---- lua ----

@test "lua: a file, its arguments, and the module" {
    cat >a.lua <<'LUA'
#!/usr/bin/env grapnel
print(#arg, arg[0], ...)
local grapnel = require "grapnel"
local conn <close> = grapnel.connect("here", {transport = "local"})
print(conn.eval("6 * 7"))
return 5
LUA
    run -0 --separate-stderr "$GRAPNEL" lua a.lua one 'two three'
    [ "$output" = $'2\ta.lua\tone\ttwo three\n42' ]
    run -0 --separate-stderr "$GRAPNEL" lua - one <a.lua
    [ "${lines[0]}" = $'1\t-\tone' ]
    run -0 --separate-stderr "$GRAPNEL" lua <a.lua
    [ "${lines[1]}" = 42 ]
}

@test "lua: the agents are those of the command" {
    mkdir -p agents bin
    cp "$GRAPNEL" bin/grapnel
    ln -s "$(dirname "$GRAPNEL")/agents" "$(dirname "$GRAPNEL")/workers" bin
    run -0 env -u GRAPNEL_AGENTS bin/grapnel lua <<<'print(require("grapnel").connect("x", {transport = "local"}).eval("6 * 7"))'
    [ "$output" = 42 ]
}

@test "lua: an error is 1 with a traceback, os.exit is what it says" {
    printf '\nlocal function f() error("boom") end\nf()' >e.lua
    run -1 --separate-stderr "$GRAPNEL" lua e.lua
    [ "${stderr_lines[0]}" = 'grapnel lua: e.lua:2: boom' ]
    [ "${stderr_lines[1]}" = 'stack traceback:' ]
    run -1 --separate-stderr "$GRAPNEL" lua <<<'error({})'
    [ "${stderr_lines[0]}" = 'grapnel lua: (error object is a table value)' ]
    run -1 --separate-stderr "$GRAPNEL" lua <<<'x = ='
    [[ $stderr == "grapnel lua: stdin:1: unexpected symbol"* ]]
    run -1 --separate-stderr "$GRAPNEL" lua none.lua
    [ "$stderr" = "grapnel lua: none.lua cannot be read: No such file or directory" ]
    run -7 "$GRAPNEL" lua <<<'os.exit(7)'
    run -0 bash -c '"$GRAPNEL" lua <<<"for i = 1, 1000000 do print(i) end" | head -n 1
        [ ${PIPESTATUS[0]} = 141 ]'
}

@test "lua: a dialogue here, whose endless loops can be stopped" {
    run -0 terminal lua <<'STEPS'
expect > 
type local x <const> = 4\n
expect > 
type ("ab"):rep(2), nil\n
expect abab\tnil\n> 
type print('g' .. 'o') while true do end\n
expect \ngo
send \x03
expect interrupted\n> 
type conn = require("grapnel").connect("x", {transport = "local"})\n
expect > 
type conn.eval("1 + 1")\n
expect \n2\n> 
type conn:interact()\n
expect x:1> 
type x = 9\n
expect x:1> 
type x\n
expect \n9\nx:1> 
type \x04
expect > 
type \x04
STEPS
}

@test "fleets in Lua" {
    local lua=$BATS_TEST_DIRNAME/../lua
    run -0 env LUA_PATH="$lua/?.lua" timeout 50 "$GRAPNEL" lua "$lua/fleet.lua"
    [ "$output" = fine ]
}

@test "maps in Lua" {
    local lua=$BATS_TEST_DIRNAME/../lua
    run -0 env LUA_PATH="$lua/?.lua" timeout 50 "$GRAPNEL" lua "$lua/fleetmap.lua"
    [ "$output" = fine ]
}
