#!/usr/bin/env bats
# The broker: connections that are held between commands, with a child process for a host. What needs
# SSH is in tests/sshd/broker.bats.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

load ../lib

setup() {
    lib_setup
    cd "$T" || return
    export GRAPNEL_BROKER_IDLE=1h
}

teardown() {
    broker_end
    lib_teardown
}

# grapnel VERB with this machine as the host.
b() {
    local verb=$1
    shift
    "$GRAPNEL" "$verb" --transport local "$@"
}

# A field of the first thing that is held.
held() {
    "$GRAPNEL" ls --json | head -n 1 | python3 -c 'import json, sys
print(json.loads(sys.stdin.readline())[sys.argv[1]])' "$1"
}

agent_of() {
    b facts --json "$@" | python3 -c 'import json, sys
print(json.loads(sys.stdin.readline())["facts"]["pid"])'
}

# Starts it in the background: its id is in $job.
in_background() {
    env --default-signal "$GRAPNEL_BIN" "$1" --transport local "${@:2}" >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
}

# ls -l has it without a process.
is_lost() {
    "$GRAPNEL" ls -l | grep -Eq "^$1  +lost +[0-9.]+ m?s +[0-9.]+ m?s +-  "
}

no_process() {
    ! pgrep -fx "$1"
}

@test "nothing is held, and nothing is started for that" {
    run -0 --separate-stderr "$GRAPNEL" ls
    [ -z "$output$stderr" ]
    run -0 --separate-stderr "$GRAPNEL" ls -l
    [ -z "$output$stderr" ]
    run -0 --separate-stderr "$GRAPNEL" servers
    [ -z "$output$stderr" ]
    run -1 --separate-stderr b close h
    [ "$stderr" = "grapnel: h: nothing is held there" ]
    run -0 --separate-stderr b close --all
    [ -z "$output$stderr" ]
    run -0 --separate-stderr b run h -- echo direct
    [ "$output" = direct ]
    [ -z "$stderr" ]
    [ ! -e "$XDG_RUNTIME_DIR/grapnel" ]
}

@test "connect, run, ls, close" {
    run -0 --separate-stderr b connect h
    [ "$output" = h:1 ]
    [ -z "$stderr" ]
    [ "$(stat -c '%a %F' "$XDG_RUNTIME_DIR/grapnel")" = "700 directory" ]
    [ "$(stat -c '%a %F' "$XDG_RUNTIME_DIR/grapnel/broker")" = "600 socket" ]
    run -0 --separate-stderr b run h -- echo 'a  b'
    [ "$output" = "a  b" ]
    [ -z "$stderr" ]
    [ "$(agent_of h)" = "$(held pid)" ]
    run -0 "$GRAPNEL" ls
    [ "$output" = h:1 ]
    run -0 "$GRAPNEL" servers
    [ "$output" = h ]
    run -0 --separate-stderr b close h
    [ "$output" = h ]
    run -0 "$GRAPNEL" ls
    [ -z "$output" ]
    run -1 b close h
}

@test "every verb works through it as it does without" {
    b connect h
    run -3 --separate-stderr b run h -- sh -c 'echo out; echo err >&2; exit 3'
    [ "$output" = out ]
    [ "$stderr" = err ]
    run -143 b run h 'kill $$'
    run -127 b run h -- /no/such/command
    run -124 --separate-stderr b run --timeout 200ms h -- sleep 60
    run -0 b run -C / -e A=b h 'echo $PWD $A'
    [ "$output" = "/ b" ]
    run -0 b call h string.rep '"ab"' 3
    [ "$output" = '"ababab"' ]
    run -1 --separate-stderr b call h error '"no"'
    [[ $stderr == *"remote code"*"no"* ]]
    run -0 b eval h '1 + 1, ...' 3
    [ "$output" = $'2\n3' ]
    printf 'for line in channel do channel:send(line .. "!") end os.exit(7)' >s.lua
    run -7 b script h s.lua <<<$'a\nb'
    [ "$output" = $'"a!"\n"b!"' ]
    run -0 b repl h <<<'20 + 3'
    [ "$output" = 23 ]
    run -0 b ping h
    [[ $output == "h: "*", held" ]]
    run -0 b run --json h -- echo x
    [[ $output == *'"stdout":"x\n"'* ]]
    [ "$(held pid)" = "$(agent_of h)" ]
    for verb in 'run h -- true' 'call h sys.uptime' 'eval h 1' 'script h s.lua' 'repl h' 'facts h' 'ping h'; do
        read -r name rest <<<"$verb"
        # shellcheck disable=SC2086
        run --separate-stderr b "$name" -v $rest </dev/null
        [[ $stderr == *"connect: $XDG_RUNTIME_DIR/grapnel/broker"* ]]
    done
}

@test "a Lua program goes through it when it asks for that" {
    cat >pid.lua <<'LUA'
local grapnel = require "grapnel"
local function pid(connect, broker, instance)
    local conn = connect("u@h", {transport = "local", broker = broker, instance = instance})
    return math.tointeger(conn.facts().pid)
end
local connect, get = grapnel.connect, grapnel.get_connection
print(pid(connect), pid(connect, false), pid(connect, true), pid(connect, true, 2))
print(pid(get), pid(get, true), pid(get, true, 2))
LUA
    lua() {
        with_module timeout 60 lua5.4 pid.lua 3>&- </dev/null
    }
    # Nothing is held, and nothing is started for that.
    run -0 --separate-stderr lua
    [ -z "$stderr" ]
    [ ! -e "$XDG_RUNTIME_DIR/grapnel" ]
    b connect u@h
    pid=$(held pid)
    run -0 --separate-stderr lua
    [ -z "$stderr" ]
    echo "$pid: $output"
    # "own" is whatever is not held.
    [ "$(sed -E "s/\\b$pid\\b/held/g; s/[0-9]+/own/g" <<<"$output")" = $'own\town\theld\theld\nown\theld\theld' ]
    [ "$(held pid)" = "$pid" ]
}

@test "which way it goes is told" {
    b connect h
    run -0 --separate-stderr b run -v h -- true
    [[ $stderr == *"connect: $XDG_RUNTIME_DIR/grapnel/broker"* ]]
    run -0 --separate-stderr b run -v --no-broker h -- true
    [[ $stderr != *broker* ]]
    [ "$(agent_of --no-broker h)" != "$(held pid)" ]
    run -0 b ping --no-broker h
    [[ $output != *held* ]]
    # Another host, and another way to the same: not what is held.
    run -0 --separate-stderr b run -v other -- true
    [[ $stderr != *broker* ]]
    run -0 --separate-stderr b run -v --lease 20s h -- true
    [[ $stderr != *broker* ]]
}

@test "much goes through, both ways, and who does not read holds up nobody else" {
    b connect h
    head -c 50000000 /dev/urandom >much
    run -0 b run h -- sha256sum <much
    [[ $output == "$(sha256sum <much | cut -c 1-64)"* ]]
    [ "$(b run h -- cat <much | sha256sum)" = "$(sha256sum <much)" ]
    # The first is never read from.
    mkfifo slow
    exec 5<>slow
    "$GRAPNEL_BIN" run --transport local h -- cat /dev/zero >slow 2>err 3>&- 4>&- 5>&- </dev/null &
    job=$!
    for _ in 1 2 3 4 5; do
        run -0 b run h -- echo quick
        [ "$output" = quick ]
    done
    kill -9 "$job"
    exec 5>&-
    within 10 no_process 'cat /dev/zero'
}

@test "a client that is killed leaves nothing there, and others go on" {
    b connect h
    in_background run h -- sh -c 'echo ready; (setsid sleep 7141 &) ; sleep 7142; :'
    within 10 says ready "$T/out"
    first=$job
    env --default-signal "$GRAPNEL_BIN" run --transport local h -- sh -c 'echo ready; sleep 7143; :' >out2 2>err2 </dev/null 3>&- &
    second=$!
    within 10 says ready out2
    pgrep -fx 'sleep 7141'
    kill -9 "$first"
    within 10 no_process 'sleep 714[12]'
    pgrep -fx 'sleep 7143'
    kill -9 "$second"
    within 10 no_process 'sleep 7143'
    run -0 b run h -- echo on
    [ "$(held streams)" -le 1 ]
}

@test "signals and Ctrl-C reach the command" {
    b connect h
    in_background run h -- sh -c 'trap "echo got; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
    within 10 says ready "$T/out"
    kill -TERM "$job"
    finish "$job"
    [ "$status" -eq 9 ]
    says got "$T/out"
    in_background run h -- sh -c 'echo ready; exec sleep 7151'
    within 10 says ready "$T/out"
    kill -INT "$job"
    finish "$job"
    [ "$status" -eq 130 ]
    within 10 no_process 'sleep 7151'
    run -0 b run h -- echo on
}

@test "what was left in the background ends with its command, not with the agent" {
    b connect h
    pid=$(held pid)
    run -0 b run h 'setsid sleep 7161 >/dev/null 2>&1 & echo started'
    within 10 no_process 'sleep 7161'
    [ "$(held pid)" = "$pid" ]
}

@test "fifty clients at once start one broker, and one agent" {
    for i in {1..50}; do
        "$GRAPNEL_BIN" connect --transport local --instance "$i" h >"out.$i" 2>&1 </dev/null 3>&- 4>&- &
        pids[i]=$!
    done
    for i in {1..50}; do
        wait "${pids[i]}" || { cat "out.$i"; false; }
        [ "$(cat "out.$i")" = "h:$i" ]
    done
    [ "$("$GRAPNEL" ls | wc -l)" -eq 50 ]
    [ "$("$GRAPNEL" servers)" = h ]
    [ "$(grep -c 'grapnel/broker$' "$XDG_RUNTIME_DIR/grapnel/log")" -eq 1 ]
    [ "$(local_processes | grep -c __broker)" -eq 1 ]
}

@test "a broker that is killed leaves no agent, and its socket is replaced" {
    b connect h
    agent=$(held pid)
    broker=$(broker_pid)
    kill -9 "$broker"
    within 10 gone "$broker"
    within 10 gone "$agent"
    [ -S "$XDG_RUNTIME_DIR/grapnel/broker" ]
    run -0 "$GRAPNEL" ls
    [ -z "$output" ]
    run -0 --separate-stderr b run h -- echo direct
    [ "$output" = direct ]
    [ -z "$stderr" ]
    run -0 b connect h
    [ "$(broker_pid)" != "$broker" ]
    [ "$(agent_of h)" = "$(held pid)" ]
}

@test "what runs when the broker is killed fails at once, with the cause" {
    b connect h
    in_background run h -- sh -c 'echo ready; exec sleep 7171'
    within 10 says ready "$T/out"
    broker=$(broker_pid)
    kill -9 "$broker"
    finish "$job"
    [ "$status" -eq 255 ]
    says "h: local: the broker failed: it has ended (process $broker)" "$T/err"
    within 10 no_process 'sleep 7171'
}

@test "a broker that is told to end takes its agents along" {
    b connect h i
    broker=$(broker_pid) agent=$(held pid)
    kill -TERM "$broker"
    within 10 gone "$broker"
    within 10 gone "$agent"
    [ ! -e "$XDG_RUNTIME_DIR/grapnel/broker" ]
}

@test "it leaves when it has held nothing for a while" {
    export GRAPNEL_BROKER_IDLE=300ms
    b connect h
    broker=$(broker_pid)
    # As long as something is held, it stays.
    sleep 0.7
    run -0 b run h -- echo on
    kill -0 "$broker"
    b close h
    within 10 gone "$broker"
    [ ! -e "$XDG_RUNTIME_DIR/grapnel/broker" ]
    run -0 b connect h
    [ "$(broker_pid)" != "$broker" ]
}

@test "--keep: closed when it was not used for so long, and not while it is" {
    b connect --keep 500ms h
    in_background run h -- sh -c 'sleep 1.2; echo done'
    finish "$job"
    [ "$status" -eq 0 ]
    says "done" "$T/out"
    within 10 test -z "$("$GRAPNEL" ls)" || within 10 sh -c '[ -z "$("$GRAPNEL" ls)" ]'
}

@test "--keep is the server's: an instance that nobody uses goes with it, and not before" {
    b connect --instance 2 h
    b eval --instance 2 h '(function() x = 41 end)()'
    b connect --keep 1s --instance 3 h # never used
    mkfifo gate
    in_background run h -- sh -c "echo ready; read -r x <$T/gate"
    within 10 says ready "$T/out"
    sleep 1.2
    [ "$("$GRAPNEL" ls | tr '\n' ' ')" = "h:3 h:2 " ]
    run -0 b eval --instance 2 h x
    [ "$output" = 41 ]
    echo >gate
    finish "$job"
    [ "$status" -eq 0 ]
    within 10 sh -c '[ -z "$("$GRAPNEL" servers)" ]'
}

@test "--keep is that of the last connect, without which it is never, and it is shown" {
    b connect --keep 1h h
    [ "$(held keep_ms)" = 3600000 ]
    run -0 "$GRAPNEL" ls -l
    [[ ${lines[1]} =~ \ 3600\.00\ s\ +local$ ]]
    b connect --keep 300ms h
    b connect --instance 2 h
    [ "$(held keep_ms)" = 0 ]
    run -0 "$GRAPNEL" ls -l
    [[ ${lines[1]} =~ \ -\ +local$ ]]
    sleep 0.7
    run -0 "$GRAPNEL" ls
    [ "$output" = $'h:2\nh:1' ]
}

@test "a held server that dies is made anew for who needs it next" {
    b connect h
    agent=$(held pid)
    kill -9 "$agent"
    within 10 gone "$agent"
    run -0 --separate-stderr b run h -- echo on
    [ "$output" = on ]
    [ -z "$stderr" ]
    # Not by a connection of its own: it is held again, under the same number.
    [ "$(held pid)" != "$agent" ]
    [ "$(agent_of h)" = "$(held pid)" ]
    [ "$(held generation)" = 2 ]
    run -0 "$GRAPNEL" ls
    [ "$output" = h:1 ]
    grep -q 'h: lost: .*137' "$XDG_RUNTIME_DIR/grapnel/log"
}

@test "a held server that has died is listed as lost, without a process, and can be closed" {
    b connect h
    agent=$(held pid)
    kill -9 "$agent"
    within 10 gone "$agent"
    within 10 is_lost h:1
    run -0 "$GRAPNEL" servers
    [ "$output" = $'h\tlost' ]
    run -0 --separate-stderr b close h
    [ "$output" = h ]
    run -0 "$GRAPNEL" ls
    [ -z "$output" ]
}

@test "a held server that is frozen is replaced by who hits it" {
    b connect h
    agent=$(held pid)
    kill -STOP "$agent"
    # Heard of just now: who comes is told soon, and nothing is done twice.
    run --separate-stderr b run h -- sh -c "echo x >>$T/ran"
    kill -KILL "$agent" # it would see the end of its line only when it runs
    fails "h: protocol: the line to the host was lost: no answer to a ping"
    [ ! -e "$T/ran" ]
    run -0 --separate-stderr b run h -- echo on
    [ "$output$stderr" = on ]
    [ "$(agent_of h)" = "$(held pid)" ]
    [ "$(held generation)" = 2 ]
    # Not heard of for more than two seconds: it is asked first, and replaced.
    frozen=$(held pid)
    sleep 2.1
    kill -STOP "$frozen"
    run --separate-stderr b run h -- echo anew
    kill -KILL "$frozen"
    [ "$status $output$stderr" = "0 anew" ]
    [ "$(held generation)" = 3 ]
    [ "$(held pid)" != "$frozen" ]
}

@test "close while something runs: it fails at once, with the cause" {
    b connect h
    in_background run h -- sh -c 'echo ready; exec sleep 7181'
    within 10 says ready "$T/out"
    run -0 b close h
    finish "$job"
    [ "$status" -eq 255 ]
    [ "$(cat "$T/err")" = "grapnel: h: local: already closed: the connection was closed (open a new connection)" ]
    within 10 no_process 'sleep 7181'
    run -1 b close h
}

@test "closed while others connect to it: they are told so, and the broker stays" {
    mkfifo gate
    "$GRAPNEL_BIN" connect --transport "read -r x <$T/gate; exec sh" slow >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
    within 10 sh -c '"$GRAPNEL_BIN" servers | grep -q connecting'
    broker=$(broker_pid)
    run -0 "$GRAPNEL" close --transport "read -r x <$T/gate; exec sh" slow
    finish "$job"
    [ "$status" -eq 255 ]
    [ "$(cat "$T/err")" = "grapnel: slow: local: already closed: the connection was closed (open a new connection)" ]
    [ "$(broker_pid)" = "$broker" ]
    kill -0 "$broker"
    # Its own end it is blamed for.
    "$GRAPNEL_BIN" connect --transport "read -r x <$T/gate; exec sh" slow >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
    within 10 sh -c '"$GRAPNEL_BIN" servers | grep -q connecting'
    kill -TERM "$broker"
    finish "$job"
    [ "$status" -eq 255 ]
    says 'the broker failed: it has left' "$T/err"
}

@test "instances: numbers that are listed and closed one by one, the newest first" {
    b connect h
    b connect --instance 2 h
    b connect --instance 7 i
    [ "$("$GRAPNEL" ls | tr '\n' ' ')" = "i:7 h:2 h:1 " ]
    [ "$("$GRAPNEL" servers | tr '\n' ' ')" = "i h " ]
    run -0 b connect --instance 2 h
    [ "$output" = h:2 ]
    [ "$("$GRAPNEL" ls | wc -l)" -eq 3 ]
    run -0 b close --instance 2 h
    [ "$output" = h:2 ]
    run -1 --separate-stderr b close --instance 2 h
    [ "$stderr" = "grapnel: h: no connection 2 is held there" ]
    [ "$("$GRAPNEL" ls | tr '\n' ' ')" = "i:7 h:1 " ]
    run -0 b close --all
    [ -z "$("$GRAPNEL" servers)" ]
    run -255 --separate-stderr b connect --instance 0 h
    run -255 --separate-stderr b connect --instance 65536 h
    [[ $stderr == *"--instance needs a number from 1 to 65535, not '65536'"* ]]
    run -255 --separate-stderr b connect --instance -1 h
}

@test "ls tells all that is known" {
    b connect h
    b run h -- true
    run -0 "$GRAPNEL" ls -l
    [[ ${lines[0]} =~ ^NAME\ +STATE\ +AGE\ +IDLE\ +PID\ +RTT\ +SENT\ +RECEIVED\ +STREAMS\ +MEMORY\ +KEEP\ +LINE$ ]]
    [[ ${lines[1]} =~ ^h:1\ +deployed\ .*\ "$(held pid)"\ .*iB\ +-\ +local$ ]]
    run -0 "$GRAPNEL" ls --json
    python3 - "$output" <<'PY'
import json, sys
d = json.loads(sys.argv[1])
assert d["name"] == "h:1" and d["server"] == "h" and d["state"] == "deployed", d
for key in "age_ms idle_ms keep_ms pid round_trip_us sent received rss generation users".split():
    assert isinstance(d[key], int), key
assert d["rss"] > 0 and d["sent"] > 0 and d["received"] > 0
PY
    run -0 "$GRAPNEL" servers --json
    [[ $output == *'"instances":[{'* ]]
}

@test "ls tells how long each instance was not used" {
    b connect h
    b connect --instance 2 h
    idle() { "$GRAPNEL" ls --json | python3 -c 'import json, sys
print(*(json.loads(l)["idle_ms"] for l in sys.stdin if json.loads(l)["instance"] == int(sys.argv[1])))' "$1"; }
    sleep 0.3 # what is measured
    b eval --instance 2 h 1
    [ "$(idle 1)" -ge 300 ]
    [ "$(idle 2)" -lt "$(idle 1)" ]
}

@test "--json: one object for each" {
    run -0 b connect --json h i
    python3 - "$output" <<'PY'
import json, sys
a, b = [json.loads(line) for line in sys.argv[1].splitlines()]
assert (a["host"], a["name"], a["server"], a["instance"]) == ("h", "h:1", "h", 1), a
assert b["host"] == "i" and b["agent"].startswith("linux-") and b["generation"] == 1, b
PY
    run -0 b ping --json h
    [[ $output == '{"host":"h","round_trip_us":'*',"held":true}' ]]
    run -0 b close --json --all
    [ "$(sort <<<"$output")" = $'{"name":"h"}\n{"name":"i"}' ]
    run -1 b close --json h
    [ -z "$output" ]
    run -255 "$GRAPNEL" connect --json -F none no-such-host.invalid
    [[ $output == '{"host":"no-such-host.invalid","error":{"name":"RESOLVE",'* ]]
}

@test "connected and closed again and again: nothing is left in the broker" {
    # What is freed late, or kept for next time, would hide what is never freed.
    export GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.trim_threshold=0:glibc.malloc.top_pad=0
    b connect h
    broker=$(broker_pid)
    fds() { find "/proc/$broker/fd" "/proc/$broker/task" -maxdepth 1 | wc -l; }
    memory() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$broker/status"; }
    turn() {
        "$GRAPNEL_BIN" connect --transport local --instance 2 host{1..20} >/dev/null
        "$GRAPNEL_BIN" close --all --transport local >/dev/null
        within 10 sh -c "[ \$(find /proc/$broker/fd /proc/$broker/task -maxdepth 1 | wc -l) -le $before ]"
    }
    before=$(fds)
    turn
    memory_before=$(memory)
    for _ in {1..10}; do
        turn
    done
    [ "$(broker_pid)" = "$broker" ]
    echo "memory in KiB: $memory_before, $(memory)"
    [ "$GRAPNEL_VARIANT" != asan ] || return 0 # which keeps what is freed
    [ "$(memory)" -le $((memory_before + 8)) ] # for 200 servers
}

@test "an upgrade: the broker of another build goes when nobody uses it" {
    version=$("$GRAPNEL" --version | cut -d ' ' -f 2)
    LC_ALL=C sed "s/${version//./\\.}/9${version:1}/g" "$GRAPNEL_BIN" >newer
    chmod 755 newer
    export GRAPNEL_AGENTS=${GRAPNEL_AGENTS:-$BUILD/agents}
    [ "$(./newer --version)" = "grapnel 9${version:1}" ]
    b connect h
    old=$(broker_pid)
    mkfifo go
    in_background run h -- sh -c "echo ready; read x <$T/go; exit 5"
    within 10 says ready "$T/out"
    run -0 --separate-stderr ./newer connect --transport local h
    [ "$output" = h:1 ]
    [[ $stderr == *"the broker of another build (process $old) leaves"* ]]
    [ "$(broker_pid)" != "$old" ]
    kill -0 "$old"
    # What still runs there is not disturbed.
    echo >go
    finish "$job"
    [ "$status" -eq 5 ]
    within 10 gone "$old"
    run -0 ./newer run --transport local h -- echo on
    run -0 ./newer ls
    [ "$output" = h:1 ]
    GRAPNEL_BIN=$T/newer
}

@test "a folder or a socket that is not ours alone is refused, loudly" {
    mkdir -m 777 "$XDG_RUNTIME_DIR/grapnel"
    chmod 777 "$XDG_RUNTIME_DIR/grapnel"
    run --separate-stderr b connect h
    fails "not safe to use: $XDG_RUNTIME_DIR/grapnel is open to others (mode 0777)"
    run -0 --separate-stderr b run h -- echo direct
    [ "$output" = direct ]
    [[ $stderr == "grapnel: h: connecting without the broker: not safe to use: "* ]]
    run --separate-stderr "$GRAPNEL" ls
    fails "is open to others"
    rmdir "$XDG_RUNTIME_DIR/grapnel"
    ln -s /tmp "$XDG_RUNTIME_DIR/grapnel"
    run --separate-stderr b connect h
    fails "is not a folder"
    rm "$XDG_RUNTIME_DIR/grapnel"
    chmod 777 "$XDG_RUNTIME_DIR"
    run --separate-stderr b connect h
    fails "$XDG_RUNTIME_DIR may be changed by others"
    [ ! -e "$XDG_RUNTIME_DIR/grapnel" ]
    chmod 700 "$XDG_RUNTIME_DIR"
}

@test "what another user has put there is not touched" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    b connect h
    chown 12345 "$XDG_RUNTIME_DIR/grapnel/broker"
    run --separate-stderr b connect h
    fails "belongs to another user (uid 12345)"
    run -0 --separate-stderr b run h -- echo direct
    [[ $stderr == *"belongs to another user (uid 12345)"* ]]
    chown 0 "$XDG_RUNTIME_DIR/grapnel/broker"
    chown 12345 "$XDG_RUNTIME_DIR/grapnel"
    run --separate-stderr b connect h
    fails "belongs to another user (uid 12345)"
    chown 0 "$XDG_RUNTIME_DIR/grapnel"
    run -0 b run h -- echo on
}

@test "a path that is too long for a socket's address is none" {
    long=$XDG_RUNTIME_DIR/$(printf '%0120d' 0)
    mkdir -m 700 "$long"
    XDG_RUNTIME_DIR=$long
    run -0 b connect h
    [ "$(agent_of h)" = "$(held pid)" ]
}

@test "a log that is no file holds up nobody" {
    mkdir -m 700 "$XDG_RUNTIME_DIR/grapnel"
    mkfifo -m 600 "$XDG_RUNTIME_DIR/grapnel/log"
    run -0 --separate-stderr timeout -k 1 20 "$GRAPNEL_BIN" connect --transport local h
    [ "$output" = h:1 ]
    # Without a log the broker's number is found at its socket.
    kill "$(python3 -c 'import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])' "$XDG_RUNTIME_DIR/grapnel/broker")"
    within 10 test ! -e "$XDG_RUNTIME_DIR/grapnel/broker"
    rm "$XDG_RUNTIME_DIR/grapnel/log" # which the teardown would read
}

@test "a broker that does not answer is passed over with a warning, and nothing is done twice" {
    b connect h
    broker=$(broker_pid)
    kill -STOP "$broker"
    began=$(date +%s%N)
    run --separate-stderr b run h -- sh -c "echo x >>$T/ran; echo direct"
    took=$((($(date +%s%N) - began) / 1000000))
    run --separate-stderr "$GRAPNEL" ls
    listing=$stderr:$status
    run --separate-stderr b connect h
    connecting=$stderr:$status
    run -0 --separate-stderr b ping h
    pinging=$stderr
    kill -CONT "$broker"
    [ "$took" -lt 3000 ]
    [[ $pinging == *"h: connecting without the broker: the broker failed: it does not answer (process $broker, $XDG_RUNTIME_DIR/grapnel/broker)" ]]
    [[ $listing == *"the broker failed: it does not answer ($XDG_RUNTIME_DIR/grapnel/broker)"*:255 ]]
    [[ $connecting == *"the broker failed: it does not answer ($XDG_RUNTIME_DIR/grapnel/broker)"*:255 ]]
    [[ $listing != *--no-broker* ]]
    run -0 --separate-stderr b run h -- echo on
    [ "$output$stderr" = on ]
    [ "$(agent_of h)" = "$(held pid)" ]
    [ "$(cat "$T/ran")" = x ]
}

@test "what listens there and is no broker" {
    b connect h
    kill -9 "$(broker_pid)"
    mv "$XDG_RUNTIME_DIR/grapnel/broker" "$T/old"
    python3 - "$XDG_RUNTIME_DIR/grapnel/broker" 3>&- <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(8)
open("listens", "w").close()
s.accept()[0].close()                    # leaves without a word
for n in range(2):
    c = s.accept()[0]
    c.recv(10000)
    c.sendall(b"SSH-2.0-what\r\n" * 1000) # is something else
    c.close()
PY
    tools+=($!)
    within 10 test -e listens
    run -0 --separate-stderr b run h -- echo direct
    [ "$output" = direct ]
    [ -z "$stderr" ]
    run -0 --separate-stderr b run h -- echo direct
    [ "$output" = direct ]
    [[ $stderr == *"h: connecting without the broker: the broker failed: what listens there does not speak as it does (process ${tools[-1]}, "* ]]
    run --separate-stderr b connect h
    fails "the broker failed: what listens there does not speak as it does ($XDG_RUNTIME_DIR/grapnel/broker)"
}

@test "a thousand connections leave nothing in the broker, nor in the agent" {
    b connect h
    broker=$(broker_pid) agent=$(held pid)
    open_in() { find "/proc/$1/fd" "/proc/$1/task" -maxdepth 1 | wc -l; }
    memory_of() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"; }
    at_most() { [ "$(open_in "$1")" -le "$2" ]; }
    at_rest() { [ "$(held streams)" -le 1 ]; }
    lines() { timeout 100 "$BUILD/tests/tools/lines" h local "$1" 3>&- 4>&- </dev/null; }
    lines 100 # what is taken once, and kept
    within 5 at_rest
    broker_open=$(open_in "$broker") agent_open=$(open_in "$agent")
    broker_memory=$(memory_of "$broker") agent_memory=$(memory_of "$agent")
    lines 1000
    within 5 at_most "$broker" "$broker_open"
    within 5 at_most "$agent" "$agent_open"
    within 5 at_rest
    [ "$(held pid)" = "$agent" ]
    echo "memory in KiB: broker $broker_memory, $(memory_of "$broker"); agent $agent_memory, $(memory_of "$agent")"
    [ "$GRAPNEL_VARIANT" != asan ] || return 0 # which keeps what is freed
    [ "$(memory_of "$broker")" -le $((broker_memory + 128)) ]
    [ "$(memory_of "$agent")" -le $((agent_memory + 128)) ]
}

# ---- instances that outlive who uses them ----

# A command in instance 2 of h.
two() {
    local verb=$1
    shift
    b "$verb" --instance 2 h "$@"
}

# Its process.
worker() {
    two call proc.pid
}

@test "an instance keeps what commands put there, and is nobody else's" {
    b connect --instance 2 --instance 2 h
    run -0 --separate-stderr two eval '(function() x = 41; return "set" end)()'
    [ "$output" = '"set"' ]
    [ -z "$stderr" ]
    run -0 two eval x
    [ "$output" = 41 ]
    pid=$(worker)
    run -0 two repl <<<'x = x + 1'
    run -0 two script - <<<'channel:send(x) _G.y = "script" z = 1'
    [ "$output" = 42 ]
    run -0 two eval 'x, y, z'
    [ "$output" = $'42\n"script"\nnull' ]
    [ "$(worker)" = "$pid" ]
    # A command without the number has one of its own, and so has another number.
    run -0 b eval h x
    [ "$output" = null ]
    b connect --instance 3 h
    run -0 b eval --instance 3 h x
    [ "$output" = null ]
    # The first comes with the server.
    b connect h
    run -0 b eval --instance 1 h '(function() x = 1 end)()'
    run -0 b eval --instance 1 h x
    [ "$output" = 1 ]
}

@test "instances of many hosts, each its own" {
    b connect --instance 2 h1 h2 h3
    run -0 b eval --instance 2 h1,h2 '(function() x = 41; return "set" end)()'
    run -0 --separate-stderr b eval --instance 2 --group 'h[1-3]' 'print("hi") or x'
    [ "$output" = $'---- h[1-2] (2) ----\n41\n---- h3 (1) ----\nnull' ]
    [ "$(grep -c '^hi$' <<<"$stderr")" = 2 ]
    run -0 --separate-stderr b script --instance 2 --group 'h[1-2]' - <<<'print(x) io.stderr:write("e") _G.y = 42'
    [ "$output" = $'---- h[1-2] (2) ----\n41' ]
    [ "$stderr" = $'---- h[1-2] (2) ----\ne' ]
    run -0 b eval --instance 2 h2 y
    [ "$output" = 42 ]
    run -255 --separate-stderr b eval --instance 3 'h[2-3]' x
    [[ $stderr == *"there is no such connection: grapnel connect with the same --instance makes it: h[2-3] (2)" ]]
    # What a script leaves with is its own status, and nobody else's.
    run -7 --separate-stderr b script --instance 2 'h[1-2]' - <<<'os.exit(7)'
    [[ $stderr == *"exit status 7: h[1-2] (2)" ]]
    run -255 --separate-stderr b script --instance 2 'h[1-2]' - <<<'print(1)'
    [[ $stderr == *"earlier: exited with status 7; grapnel connect with the same --instance makes a new one: h[1-2] (2)" ]]
    run -0 b eval --instance 2 h3 x
    for words in '--memory 1M' '--no-broker'; do
        # shellcheck disable=SC2086
        run -255 b eval --instance 2 $words 'h[1-2]' x
        [[ $output == *"instance"* ]]
    done
}

@test "an instance that is not held is none, and is not made in passing" {
    for verb in "call h proc.pid" "eval h 1" "script h -" "repl h"; do
        # shellcheck disable=SC2086
        run --separate-stderr b ${verb%% *} --instance 2 ${verb#* } <<<'return 1'
        fails "h: local: there is no such connection" "(grapnel connect h --instance 2 makes it)"
    done
    [ -z "$("$GRAPNEL" ls)" ]
    b connect h
    for verb in "call h proc.pid" "eval h 1" "script h -" "repl h"; do
        # shellcheck disable=SC2086
        run --separate-stderr b ${verb%% *} --instance 2 ${verb#* } <<<'return 1'
        fails "h: " "there is no such connection: h:2 (grapnel connect h --instance 2 makes it)"
    done
    [ "$("$GRAPNEL" ls)" = h:1 ]
    run --separate-stderr b eval --instance 1 --no-broker h 1
    fails "not with --no-broker"
    run --separate-stderr b eval --instance 1 --lease 20s h 1
    fails "there is no such connection"
    run -255 b eval --instance 0 h 1
}

@test "what is printed in an instance comes out where it was said" {
    b connect --instance 2 h
    run -0 --separate-stderr two eval 'print("said")'
    [ -z "$output" ]
    [ "$stderr" = said ]
    for _ in 1 2 3; do
        run -0 --separate-stderr two script - <<<'print("out") io.stderr:write("err\n")'
        [ "$output" = out ]
        [ "$stderr" = err ]
    done
    run -0 --separate-stderr two repl <<<'print("told")'
    [ "$output" = told ]
    run -0 --separate-stderr two eval 'io.stderr:write("again") and nil'
    [ "$stderr" = again ]
    # Scripts leave nothing behind.
    two eval '(function() first = print end)()'
    two script - <<<'print(1)'
    run -0 two eval 'first == print'
    [ "$output" = true ]
}

@test "two at once share an instance, and neither waits for the other" {
    b connect --instance 2 h
    in_background script --instance 2 h - <<<''
    finish "$job"
    mkfifo lines
    "$GRAPNEL_BIN" script --transport local --instance 2 h /dev/fd/6 6<<<'n = 0
        for line in channel do _G.got = line channel:send(line .. (answer or "")) end' \
        <lines >out1 2>err1 3>&- 4>&- &
    job=$!
    exec 5>lines
    echo one >&5
    within 10 says '"one"' out1
    run -0 two eval got
    [ "$output" = '"one"' ]
    run -0 two eval '(function() answer = "!" end)()'
    echo two >&5
    within 10 says '"two!"' out1
    exec 5>&-
    finish "$job"
    [ "$status" -eq 0 ]
    [ "$(cat out1)" = $'"one"\n"two!"' ]
}

@test "a client that is killed ends its own calls only" {
    b connect --instance 2 h
    pid=$(worker)
    sleeper='(function() n = (n or 0) + 1; require("time").sleep(1000) end)()'
    in_background eval --instance 2 h "$sleeper"
    first=$job
    within 10 sh -c "[ \"\$('$GRAPNEL_BIN' eval --transport local --instance 2 h n)\" = 1 ]"
    in_background eval --instance 2 h '(function() require("time").sleep(2) return "lived" end)()'
    second=$job
    kill -9 "$first"
    # A loop without end, too: the worker is free again when its client has gone.
    env --default-signal "$GRAPNEL_BIN" eval --transport local --instance 2 h '(function() looping = true; while true do end end)()' \
        >out3 2>err3 </dev/null 3>&- 4>&- &
    third=$!
    within 10 sh -c "[ \"\$('$GRAPNEL_BIN' eval --transport local --instance 2 h looping)\" = true ]"
    kill -INT "$third"
    finish "$third"
    [ "$status" -eq 130 ]
    run -124 b eval --timeout 300ms --instance 2 h "$sleeper"
    finish "$second"
    [ "$status" -eq 0 ]
    says lived "$T/out"
    [ "$(worker)" = "$pid" ]
    run -0 two eval n
    [ "$output" = 2 ]
}

@test "an instance that has died tells why, until it is made anew" {
    b connect --instance 2 h
    two eval '(function() x = 1 end)()'
    in_background eval --instance 2 h '(function() ready = true; require("time").sleep(1000) end)()'
    within 10 sh -c "[ \"\$('$GRAPNEL_BIN' eval --transport local --instance 2 h ready)\" = true ]"
    kill -9 "$(worker)"
    finish "$job"
    [ "$status" -eq 255 ]
    says 'the instance ended: killed by signal KILL' "$T/err"
    new='(grapnel connect h --instance 2 makes a new one, which is empty)'
    says "$new" "$T/err"
    for verb in "call h proc.pid" "eval h 1" "script h -" "repl h"; do
        # shellcheck disable=SC2086
        run --separate-stderr b ${verb%% *} --instance 2 ${verb#* } <<<'return 1'
        fails "h: remote code: the instance ended: earlier: killed by signal KILL $new"
    done
    run -0 "$GRAPNEL" ls -l
    [[ ${lines[1]} =~ ^h:2\ +ended\  ]]
    run -0 --separate-stderr b connect --instance 2 h
    [ "$output" = h:2 ]
    [ "$stderr" = "grapnel: h: the instance had ended: killed by signal KILL; there is a new one, which is empty" ]
    run -0 two eval x
    [ "$output" = null ]
    # What a script leaves with is its own status, and nobody else's.
    run -7 --separate-stderr two script - <<<'os.exit(7)'
    run --separate-stderr two script - <<<'channel:send(1)'
    fails "the instance ended: earlier: exited with status 7"
    run -0 --separate-stderr b connect --json --instance 2 h
    [[ $output == *'"workers":3,"ended":"exited with status 7"'* ]]
    [ -z "$stderr" ]
    run -0 --separate-stderr b connect --json --instance 2 h
    [[ $output == *'"workers":3'* ]]
    [[ $output != *ended* ]]
}

@test "an instance goes with its agent, and that is told" {
    b connect --instance 2 h
    pid=$(worker)
    in_background eval --instance 2 h '(function() x = 1; require("time").sleep(1000) end)()'
    within 10 sh -c "[ \"\$('$GRAPNEL_BIN' eval --transport local --instance 2 h x)\" = 1 ]"
    kill -9 "$(held pid)"
    finish "$job"
    [ "$status" -eq 255 ]
    says 'the line to the host was lost' "$T/err"
    within 10 gone "$pid"
    run --separate-stderr two eval x
    fails "(grapnel connect h --instance 2 makes "
    run -0 b run h -- echo on
    run --separate-stderr two eval x
    fails "(grapnel connect h --instance 2 makes "
    b connect --instance 2 h
    run -0 two eval x
    [ "$output" = null ]
}

@test "an instance has the limits and the surroundings that connect gave it" {
    b connect --instance 2 --memory 64M -C / -e A=b h
    run -0 two eval 'os.getenv("A"), require("fs").cwd()'
    [ "$output" = $'"b"\n"/"' ]
    run --separate-stderr two eval '(function() local t = {} for i = 1, 1e9 do t[i] = {i} end end)()'
    [ "$status" -ne 0 ]
    [[ $stderr == *memory* ]]
    run --separate-stderr b connect --instance 2 --memory 32M h
    fails "h:2 has a worker with other limits, or another environment: close it first"
    run -0 b connect --instance 2 --memory 64M h
    run -0 b connect --instance 2 h
    for option in "--memory 1G" "--cpu 1" "-C /" "-e A=b" "--unset A"; do
        # shellcheck disable=SC2086
        run --separate-stderr b eval --instance 2 $option h 1
        fails "with --instance, --" "is for grapnel connect"
    done
}

@test "an instance is not idle while it is used" {
    b connect --keep 500ms --instance 2 h
    run -0 two eval '(function() require("time").sleep(1.2) return "done" end)()'
    [ "$output" = '"done"' ]
    within 10 sh -c '[ -z "$("$GRAPNEL" ls)" ]'
    run --separate-stderr two eval 1
    fails "there is no such connection"
}

@test "an instance that is closed ends, and so does what runs in it" {
    b connect --instance 2 --instance 2 h
    b connect h
    pid=$(worker)
    run -0 "$GRAPNEL" ls -l
    [[ $output =~ h:2\ +deployed\ .*\ $pid\ .*iB ]]
    in_background eval --instance 2 h '(function() ready = true; os.execute("sleep 7191") end)()'
    within 10 pgrep -fx 'sleep 7191'
    run -0 b close --instance 2 h
    [ "$output" = h:2 ]
    finish "$job"
    [ "$status" -eq 255 ]
    says 'already closed: the connection was closed' "$T/err"
    within 10 gone "$pid"
    within 10 no_process 'sleep 7191'
    run --separate-stderr two eval 1
    fails "there is no such connection: h:2"
    [ "$("$GRAPNEL" ls)" = h:1 ]
    run -0 b run h -- echo on
}

@test "much goes through an instance, and a hundred commands leave nothing open" {
    b connect --instance 2 h
    run -0 two eval '#(...)' "\"$(head -c 100000 /dev/zero | tr '\0' x)\""
    [ "$output" = 100000 ]
    b eval --instance 2 h '("x"):rep(20000000)' >much
    [ "$(wc -c <much)" -eq 20000003 ]
    pid=$(worker)
    fds() { find "/proc/$(broker_pid)/fd" "/proc/$pid/fd" | wc -l; }
    before=$(fds)
    for _ in {1..100}; do
        "$GRAPNEL_BIN" eval --transport local --instance 2 h 1 </dev/null >/dev/null
    done
    within 5 sh -c "[ \$(find /proc/$(broker_pid)/fd /proc/$pid/fd | wc -l) -le $before ]"
    [ "$(worker)" = "$pid" ]
}

@test "commands that have ended leave no memory in the instance" {
    b connect --instance 2 h
    some() {
        for _ in $(seq "$1"); do
            "$GRAPNEL_BIN" eval --transport local --instance 2 h 1 </dev/null >/dev/null
        done
    }
    resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(worker)/status"; }
    some 30
    before=$(resident)
    some 100
    [ "$(resident)" -le $((before + 300)) ] # KiB
}

@test "a fleet goes over what is held" {
    b connect one two three
    cat >fleet.lua <<'LUA'
local grapnel = require "grapnel"
local fleet = grapnel.fleet({"one", "two", "three"}, {connect = {transport = "local", broker = true}})
for r in fleet:facts() do
    print(r.host, r.value.pid)
end
local job = fleet:run "sleep 4711"
job:wait_any(0.2)
job:cancel()
for r in job do
    print(r.host, r.error.name, r.confirmed)
end
LUA
    run -0 "$GRAPNEL" lua fleet.lua
    for host in one two three; do
        [[ $output == *"$host"$'\t'"$(agent_of "$host")"* ]]
        [[ $output == *"$host"$'\tCANCELLED\ttrue'* ]]
    done
    within 5 no_process 'sleep 4711'
}
