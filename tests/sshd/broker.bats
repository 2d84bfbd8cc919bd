#!/usr/bin/env bats
# The broker with a real sshd: connections that are held between commands.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

load ../lib

setup_file() {
    server_start 'ListenAddress 127.0.0.2' 'MaxStartups 1000' 'PasswordAuthentication yes' 'KbdInteractiveAuthentication yes' 'UsePAM yes' \
        'Match User beggar' 'AuthenticationMethods password' \
        'Match User stranger' 'AuthenticationMethods keyboard-interactive'
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    cd "$T" || return
    export GRAPNEL_BROKER_IDLE=1h
    logins=$(logins)
}

teardown() {
    [ -z "${SSH_AGENT_PID:-}" ] || kill "$SSH_AGENT_PID"
    broker_end
    lib_teardown
}

held() {
    "$GRAPNEL" ls --json | head -n 1 | python3 -c 'import json, sys
print(json.loads(sys.stdin.readline())[sys.argv[1]])' "$1"
}

agent_of() {
    g facts --json "$@" | python3 -c 'import json, sys
print(json.loads(sys.stdin.readline())["facts"]["pid"])'
}

logins() {
    grep -c '^Accepted [a-z-]* for ' "$SSHD_LOG" || true
}

# So many logins since the test began.
has_logged_in() {
    [ "$(logins)" -eq $((logins + $1)) ] || {
        echo "$(($(logins) - logins)) logins"
        return 1
    }
}

no_agent() {
    [ -z "$(server_processes)" ]
}

@test "one login, however many commands" {
    run -0 --separate-stderr g connect t
    [ "$output" = "$SSHD_USER@t:1" ]
    [ -z "$stderr" ]
    for n in 1 2 3; do
        run -"$n" --separate-stderr g run t -- sh -c "cat; echo err >&2; exit $n" <<<"$n"
        [ "$output" = "$n" ]
        [ "$stderr" = err ]
    done
    run -0 g call t sys.uname
    run -0 g eval t '6 * 7'
    [ "$output" = 42 ]
    run -0 g ping t
    [[ $output == "t: "*", held" ]]
    [ "$(agent_of t)" = "$(held pid)" ]
    has_logged_in 1
    run -0 g close t
    [ "$output" = "$SSHD_USER@t" ]
    within 10 no_agent
    run -0 g run t -- true
    has_logged_in 2
}

@test "another name of the same host is the same server; another user is not" {
    g connect t
    run -0 g run demo -- true
    run -0 g run "$SSHD_USER@t" -- true
    run -0 "$GRAPNEL" run -F "$SSHD_CONFIG" "$SSHD_USER@demo" -- true
    has_logged_in 1
    run -0 g run -o "SetEnv=A=b" t -- true
    has_logged_in 2
}

@test "the line of a client that is killed ends there, and only that" {
    g connect t
    start run t -- sh -c 'echo ready; (setsid sleep 7241 &); exec sleep 7242'
    within 10 says ready "$T/out"
    kill -9 "$job"
    within 10 sh -c '! pgrep -fx "sleep 724[12]"'
    [ "$(agent_of t)" = "$(held pid)" ]
    has_logged_in 1
}

@test "a broker that is killed leaves nothing on the host" {
    g connect t
    start run t -- sh -c 'echo ready; exec sleep 7251'
    within 10 says ready "$T/out"
    kill -9 "$(broker_pid)"
    finish "$job"
    [ "$status" -eq 255 ]
    within 10 no_agent
    run -0 g run t -- echo direct
    [ "$output" = direct ]
    run -0 g connect t
    [ "$(agent_of t)" = "$(held pid)" ]
}

@test "undeploy: the agent leaves, the SSH connection stays, and the next command deploys" {
    g connect t
    agent=$(held pid)
    run -0 g undeploy t
    [ "$output" = "$SSHD_USER@t" ]
    run -0 "$GRAPNEL" servers
    [ "$output" = "$SSHD_USER@t"$'\t'"undeployed" ]
    run -0 "$GRAPNEL" ls
    [ -z "$output" ]
    run -0 --separate-stderr g run t -- echo again
    [ "$output" = again ]
    [ "$(agent_of t)" != "$agent" ]
    has_logged_in 1
    run -0 "$GRAPNEL" servers
    [ "$output" = "$SSHD_USER@t" ]
}

@test "an agent that dies is made anew on the same connection; a line that is lost by another login" {
    g connect t
    agent=$(held pid)
    sshd_inside kill -9 "$agent"
    run -0 --separate-stderr g run t -- echo on
    [ "$output" = on ]
    [ "$(held pid)" != "$agent" ]
    [ "$(agent_of t)" = "$(held pid)" ]
    has_logged_in 1
    # All of the server's sessions.
    sshd_inside pkill -KILL -f '^sshd: [a-z]*@notty' || sshd_inside pkill -KILL -f '^sshd-session: [a-z]*@notty'
    run -0 --separate-stderr g run t -- echo on
    [ "$output" = on ]
    has_logged_in 2
    # It is held again, not connected to by each command.
    [ "$(agent_of t)" = "$(held pid)" ]
    [ "$(held generation)" = 3 ]
    run -0 "$GRAPNEL" ls
    [ "$output" = "$SSHD_USER@t:1" ]
    has_logged_in 2
}

@test "a host key that has changed is refused, for who connects and for who was connected" {
    g connect t
    cp "$SSHD_KNOWN" "$T/known"
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    awk -v key="$(cut -d ' ' -f 1,2 "$T/other.pub")" '{ print $1, key }' "$T/known" | head -n 1 >"$SSHD_KNOWN"
    # The line that is held was checked when it was made.
    run -0 g run t -- echo held
    [ "$output" = held ]
    g close t
    run --separate-stderr g connect t
    cp "$T/known" "$SSHD_KNOWN"
    fails 't: host key: the host key HAS CHANGED'
    [ -z "$("$GRAPNEL" servers)" ]
    run -0 g connect t
}

@test "failures to connect are told to who asked, and not kept" {
    run --separate-stderr g connect -l nobody-here t
    fails 'every authentication method was refused'
    run --separate-stderr g connect -p 1 t
    fails 'connection refused'
    run --separate-stderr "$GRAPNEL" connect -F none no-such-host.invalid
    fails 'does not resolve'
    [ -z "$("$GRAPNEL" servers)" ]
    run -255 --separate-stderr g connect t nobody-here@t
    [ "$output" = "$SSHD_USER@t:1" ]
    [[ $stderr == "grapnel: nobody-here@t: auth: "* ]]
}

@test "the agent of keys is that of who connects, not that of who started the broker" {
    eval "$(ssh-agent -s -a "$T/agent.sock" 3>&- 4>&-)" >/dev/null
    ssh-add -q "$SSHD_KEY"
    socket=$SSH_AUTH_SOCK
    sed '/Identit/d' "$SSHD_CONFIG" >config
    echo 'IdentityFile /nonexistent' >>config
    unset SSH_AUTH_SOCK
    g connect t
    run --separate-stderr "$GRAPNEL" connect -F config demo
    fails 'every authentication method was refused'
    SSH_AUTH_SOCK=$socket run -0 --separate-stderr "$GRAPNEL" connect -F config demo
    SSH_AUTH_SOCK=$socket run -0 --separate-stderr "$GRAPNEL" run -v -F config demo -- true
    [[ $stderr == *"/grapnel/broker"* ]]
}

@test "relative paths are those of who connects" {
    cp "$SSHD_CONFIG" config
    cp "$SSHD_KEY" key
    sed -i '/Identity/d' config
    run -0 --separate-stderr "$GRAPNEL" connect -F config -i key t
    [ -z "$stderr" ]
    run -0 "$GRAPNEL" run -v -F config -i key t -- echo held
    has_logged_in 1
}

@test "a host that has moved is connected to where ssh_config says now, and told from what was before" {
    sed "p; s/127\.0\.0\.1/127.0.0.2/" "$SSHD_KNOWN" >known
    sed "s|$SSHD_KNOWN|$T/known|" "$SSHD_CONFIG" >config
    c() { "$GRAPNEL" "$1" -F config "${@:2}"; }
    name=$SSHD_USER@t
    c connect t
    run -0 c eval t 1
    sed -i 's/HostName .*/HostName 127.0.0.2/' config
    run -0 --separate-stderr c connect t
    [ "$output" = "$name:1" ]
    run -0 c run -v t -- 'echo "${SSH_CONNECTION#* * }"'
    [[ $output == *"127.0.0.2 $SSHD_PORT"* ]]
    [[ $output == *"/grapnel/broker"* ]]
    [ "$("$GRAPNEL" ls)" = "$name:1 (127.0.0.2:$SSHD_PORT)"$'\n'"$name:1 (127.0.0.1:$SSHD_PORT)" ]
    [ "$("$GRAPNEL" servers)" = "$name (127.0.0.2:$SSHD_PORT)"$'\n'"$name (127.0.0.1:$SSHD_PORT)" ]
    run -0 "$GRAPNEL" ls -l
    [[ ${lines[0]} =~ ^NAME\ +STATE ]]
    [[ ${lines[1]} == "$name:1 (127.0.0.2:$SSHD_PORT)  deployed "* ]]
    run -0 c close "127.0.0.1:$SSHD_PORT"
    [ "$("$GRAPNEL" ls)" = "$name:1" ]
    run -0 c close t
    [ -z "$("$GRAPNEL" ls)" ]
}

@test "what a Match exec finds may change between two who connect" {
    sed "p; s/127\.0\.0\.1/127.0.0.2/" "$SSHD_KNOWN" >known
    { printf 'Match host t exec "test -e %s/moved"\n    HostName 127.0.0.2\n' "$T"
        sed "s|$SSHD_KNOWN|$T/known|" "$SSHD_CONFIG"; } >config
    run -0 "$GRAPNEL" connect -F config t
    touch moved
    run -0 --separate-stderr "$GRAPNEL" connect -F config t
    [ "$("$GRAPNEL" servers | wc -l)" -eq 2 ]
}

@test "who gives up while it connects leaves no attempt behind, and holds up nobody" {
    python3 - "$T/port" 3>&- 4>&- <<'PY' &
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(8)
with open(sys.argv[1] + ".new", "w") as f: f.write(str(s.getsockname()[1]))
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
PY
    tools+=($!)
    within 5 test -s "$T/port"
    g connect t
    start connect -p "$(<"$T/port")" t
    within 10 sh -c '"$GRAPNEL" servers | grep -q connecting'
    run -0 g run t -- echo on
    [ "$output" = on ]
    kill -INT "$job"
    finish "$job"
    [ "$status" -eq 130 ]
    within 10 sh -c '! "$GRAPNEL" servers | grep -q connecting'
    [ "$("$GRAPNEL" servers)" = "$SSHD_USER@t" ]
}

@test "who connects to what is closed meanwhile learns just that" {
    g connect t
    start connect --transport "sh -c 'exec sleep 7297' x" slow
    within 10 sh -c '"$GRAPNEL" servers | grep -q connecting'
    run -0 g close --transport "sh -c 'exec sleep 7297' x" slow
    finish "$job"
    [ "$status" -eq 255 ]
    says 'grapnel: slow: local: already closed: the connection was closed' "$T/err"
    [ "$("$GRAPNEL" servers)" = "$SSHD_USER@t" ]
}

@test "close while something runs, and what the host says then" {
    g connect t
    start run t -- sh -c 'echo ready; exec sleep 7261'
    within 10 says ready "$T/out"
    run -0 g close t
    finish "$job"
    [ "$status" -eq 255 ]
    says 'the connection was closed' "$T/err"
    within 10 no_agent
}

@test "many hosts at once, one of which is not there" {
    for i in {1..12}; do
        printf 'Host h%d\nHostName 127.0.0.1\nSetEnv K=%d\nPort %s\nUser %s\n' "$i" "$i" "$SSHD_PORT" "$SSHD_USER"
        printf 'IdentityFile %s\nIdentityAgent none\nUserKnownHostsFile %s\n' "$SSHD_KEY" "$SSHD_KNOWN"
    done >config
    run -255 --separate-stderr "$GRAPNEL" connect -F config h{1..6} nowhere.invalid h{7..12}
    [ "$(wc -l <<<"$output")" -eq 12 ]
    [[ $stderr == "grapnel: nowhere.invalid: resolve: "* ]]
    [ "$("$GRAPNEL" servers | wc -l)" -eq 12 ]
    run -0 "$GRAPNEL" facts -F config h{1..12}
    has_logged_in 12
    run -0 "$GRAPNEL" close --all
    [ "$(wc -l <<<"$output")" -eq 12 ]
    within 10 no_agent
}

# ---- questions: they are put to who connects ----

# An ssh_config for the host t without keys.
keyless() {
    printf '%s\n' 'Host t' 'HostName 127.0.0.1' "Port $SSHD_PORT" "UserKnownHostsFile $SSHD_KNOWN" \
        'GlobalKnownHostsFile /dev/null' 'StrictHostKeyChecking yes' 'IdentityFile /nonexistent' \
        'IdentityAgent none' "$@" >config
}

askpass() {
    printf '#!/bin/sh\necho asked >>"%s/asked"\necho "%s"\n' "$T" "$1" >askpass
    chmod 700 askpass
    export SSH_ASKPASS=$T/askpass SSH_ASKPASS_REQUIRE=force
}

at_terminal() {
    timeout 30 python3 "$BATS_TEST_DIRNAME/../cli/terminal.py" "$GRAPNEL_BIN" "$@"
}

@test "a password from the file and the program of who connects" {
    need_world
    keyless
    g connect t
    (umask 077 && echo 'open sesame' >password)
    run -0 --separate-stderr env GRAPNEL_PASSWORD_FILE="$T/password" "$GRAPNEL" connect -F config -l beggar t
    [ "$output" = beggar@t:1 ]
    run -0 "$GRAPNEL" run -F config -l beggar t -- id -un
    [ "$output" = beggar ]
    askpass 'open sesame'
    run -0 --separate-stderr "$GRAPNEL" connect -F config -l stranger t
    [ "$output" = stranger@t:1 ]
    [ "$(wc -l <asked)" -eq 1 ]
    run -0 "$GRAPNEL" run -F config -l stranger t -- id -un
    [ "$output" = stranger ]
    [ "$(wc -l <asked)" -eq 1 ]
    # When the line is lost: who connects again is asked, not who did before.
    sshd_inside pkill -KILL -f '^sshd: stranger' || sshd_inside pkill -KILL -f '^sshd-session: stranger'
    within 10 says 'stranger@t: lost' "$XDG_RUNTIME_DIR/grapnel/log"
    run -0 --separate-stderr "$GRAPNEL" connect -F config -l stranger t
    [ "$output" = stranger@t:1 ]
    [ "$(wc -l <asked)" -eq 2 ]
    "$GRAPNEL" close -F config -l stranger t
    askpass 'close sesame'
    run --separate-stderr "$GRAPNEL" connect -F config -l stranger t
    fails 'every authentication method was refused'
    # Nobody is there to be asked.
    unset SSH_ASKPASS SSH_ASKPASS_REQUIRE
    run --separate-stderr "$GRAPNEL" connect -F config -l stranger t
    fails 'nobody to ask'
    run ! grep -rq sesame "$XDG_RUNTIME_DIR/grapnel/log"
}

@test "a password is asked for on the terminal of who connects, and Ctrl-C gives up" {
    need_world
    keyless
    run -0 at_terminal connect -F config -l beggar t <<'END'
expect password: 
type open sesame\n
END
    [[ $output == *"beggar@t:1"* ]]
    [[ $output != *sesame* ]]
    "$GRAPNEL" close -F config -l beggar t
    run at_terminal connect -F config -l beggar t <<'END'
expect password: 
send \x03
END
    [ "$status" -ne 0 ]
    [ "$status" -ne 99 ]
    [ -z "$("$GRAPNEL" servers)" ]
    within 10 no_agent
    run -0 at_terminal connect -F config -l beggar t <<'END'
expect password: 
type wrong\n
expect try again.
expect password: 
type open sesame\n
END
    [[ $output == *"beggar@t:1"* ]]
}

@test "a passphrase, which may be asked for again by the next" {
    need_world
    ssh-keygen -q -t ed25519 -N 'pass phrase' -f key
    cat key.pub >>"$SSHD_TEMP/home/.authorized_keys"
    keyless "IdentityFile $T/key"
    askpass 'wrong phrase'
    run --separate-stderr "$GRAPNEL" connect -F config -l plain t
    fails 'every authentication method was refused'
    askpass 'pass phrase'
    run -0 --separate-stderr "$GRAPNEL" connect -F config -l plain t
    [ "$output" = plain@t:1 ]
    sed -i '$d' "$SSHD_TEMP/home/.authorized_keys"
}

@test "undeploy --purge removes what is kept, held or not" {
    need_world
    run -0 g connect -l plain --cache-agent t
    run -0 g run -l plain --cache-agent t -- sh -c 'ls ~/.cache/grapnel | wc -l'
    [ "$output" -ge 1 ]
    run -0 --separate-stderr g undeploy -l plain --cache-agent --purge t
    [ "${lines[0]}" = plain@t ]
    [[ ${lines[1]} =~ ^t:\ [1-9][0-9]*\ kept\ agents\ removed$ ]]
    run -0 g run --no-broker -l plain t -- 'ls ~/.cache/grapnel 2>/dev/null; true'
    echo "$output"
    [ -z "$output" ]
    g close --all
    run -0 --separate-stderr g undeploy -l plain --purge t
    [ "$output" = "t: 0 kept agents removed" ]
    [ -z "$stderr" ]
    run -255 g undeploy --purge --all
}

@test "a program of Lua works in an instance that is held" {
    g connect --instance 2 t
    run -0 g eval --instance 2 t '(function() x = 41 end)()'
    cat >held.lua <<'LUA'
local grapnel = require "grapnel"
local options = {config = os.getenv "SSHD_CONFIG", held = true, instance = 2}
local conn = grapnel.connect("t", options)
conn.execute "x = x + 1"
print(conn.name, conn.eval "x")
conn.close()
print(grapnel.get_connection("t", options).eval "x")
options.instance = 3
print(pcall(grapnel.connect, "t", options))
options.memory = 1 << 20
print(pcall(grapnel.connect, "t", options))
LUA
    export SSHD_CONFIG
    run -0 --separate-stderr with_module lua5.4 held.lua
    echo "$output"
    [ "${lines[0]}" = $'t:2\t42' ]
    [ "${lines[1]}" = 42 ]
    [[ ${lines[2]} = false*"there is no such connection: $SSHD_USER@t:3"* ]]
    [[ ${lines[3]} = false*'option "held" takes an instance as it is'* ]]
    run -0 g eval --instance 2 t x
    [ "$output" = 42 ]
    has_logged_in 1
}

@test "a process of a command in an instance ends with it, but for what the instance has" {
    g connect --instance 2 t
    g connect t
    run -0 g eval --instance 2 t '(function()
        io.popen("sleep 7391")
        io.popen("trap \"\" TERM; while :; do sleep 7391; done")
        require("proc").popen {"sleep", "7391"}
        kept = require("proc").popen {"sleep", "7392"}
    end)()'
    within 10 sh -c '! pgrep -fx "sleep 7391"'
    start eval --instance 2 t '(function()
        local pipe = io.popen("exec sleep 7391")
        require("time").sleep(1000)
    end)()'
    within 10 pgrep -fx 'sleep 7391'
    run -0 g run t -- true
    pgrep -fx 'sleep 7391'
    kill -KILL "$job"
    finish "$job"
    within 10 sh -c '! pgrep -fx "sleep 7391"'
    pgrep -fx 'sleep 7392'
    run -0 g eval --instance 2 t '(function() return kept:poll() end)()'
    [ "$output" = null ]
    run -0 g eval --instance 2 t '(function() kept = nil collectgarbage() collectgarbage() end)()'
    within 10 sh -c '! pgrep -fx "sleep 7392"'
}

@test "an instance is kept between commands, with one login" {
    g connect --instance 2 t
    run -0 g eval --instance 2 t '(function() x = 41 end)()'
    run -0 g repl --instance 2 t <<<'x = x + 1'
    run -0 g eval --instance 2 "$SSHD_USER@t" x
    [ "$output" = 42 ]
    has_logged_in 1
    pid=$(g call --instance 2 t proc.pid)
    env --default-signal "$GRAPNEL_BIN" eval -F "$SSHD_CONFIG" --instance 2 t \
        '(function() ready = true; require("time").sleep(1000) end)()' >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
    within 10 sh -c "[ \"\$('$GRAPNEL_BIN' eval -F '$SSHD_CONFIG' --instance 2 t ready)\" = true ]"
    run -0 g close --instance 2 t
    finish "$job"
    [ "$status" -eq 255 ]
    says 'the connection was closed' "$T/err"
    run --separate-stderr g eval --instance 2 t x
    fails "t: " "there is no such connection" "(grapnel connect t --instance 2 makes it)"
    g connect --instance 2 t
    run -0 g eval --instance 2 t x
    [ "$output" = null ]
    [ "$(g call --instance 2 t proc.pid)" != "$pid" ]
    has_logged_in 1
    # What is undeployed has no instances any more.
    run -0 g undeploy t
    run --separate-stderr g eval --instance 2 t x
    fails "(grapnel connect t --instance 2 makes it)"
    has_logged_in 1
}
