#!/usr/bin/env bats
# The connection cache with real accounts on a real server: sessions as people have them, and what
# becomes of servers meanwhile.
# shellcheck disable=SC1010,SC2119,SC2016,SC2030,SC2031,SC2094,SC2143,SC2154

load ../lib

setup_file() {
    server_start 'ListenAddress 127.0.0.2'
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    export GRAPNEL_AGENTS=$BUILD/agents
    cache=
}

teardown() {
    [ -z "$cache" ] || quit
    lib_teardown
}

# hold [CONNECT_TIMEOUT_MS]: starts the program that holds the cache (tests/tools/cached.c).
# shellcheck disable=SC2120
hold() {
    mkfifo "$T/in" "$T/out"
    "$TOOLS/cached" "$SSHD_CONFIG" "$@" <"$T/in" >"$T/out" 2>"$T/cached.err" 3>&- 4>&- &
    cache=$!
    exec {to}>"$T/in" {from}<"$T/out"
}

quit() {
    exec {to}>&- {from}<&-
    wait "$cache"
    cat "$T/cached.err"
    cache=
}

# ask WORD...: what it answers is in $answer.
ask() {
    echo "$*" >&"$to"
    IFS= read -r -t 30 answer <&"$from"
    echo "$* -> $answer"
}

# says ANSWER -- WORD...: and that is what it must be; patterns are allowed.
answers() {
    local wanted=$1
    shift 2
    ask "$@"
    # shellcheck disable=SC2053
    [[ $answer == $wanted ]] || {
        echo "not as expected: $wanted"
        return 1
    }
}

# Processes of an account there.
processes_of() {
    sshd_inside ps -u "$1" -o args= | grep -v '^sshd\|/sshd' || true
}

@test "a session with several users and instances" {
    need_world
    hold
    answers 'got root@t:1 1' -- get t - 1
    answers '[[]root@t:1]' -- list
    answers 'got george@t:1 1' -- get t george 1
    answers 'got alexander@t:1 1' -- get t alexander 1
    answers '[[]alexander@t:1 george@t:1 root@t:1]' -- list
    answers '[[]alexander@t george@t root@t]' -- servers
    # Users have agents of their own, which run as them.
    answers '"alexander"' -- run alexander@t:1 "return require('sys').user().name"
    answers '"george"' -- run george@t:1 "return require('sys').user().name"
    [ -n "$(processes_of george)" ]

    answers 'got root@t:2 1' -- get t - 2
    answers 'got george@t:2 1' -- get t george 2
    answers '[[]george@t:2 root@t:2 alexander@t:1 george@t:1 root@t:1]' -- list
    # The same number is the same connection; another one has a world of its own …
    answers 5 -- run root@t:1 'x = 5 return x'
    answers 'got root@t:1 1' -- get t - 1
    answers 5 -- run root@t:1 'return x'
    answers null -- run root@t:2 'return x'
    # … on the same server, and the same SSH connection.
    ask pid root@t:1
    answers "$answer" -- pid root@t:2
    answers "$answer" -- run root@t:2 "return require('proc').ppid() and $answer"
    ask session root@t:1
    answers "$answer" -- session root@t:2
    answers alive -- check t - 1
    answers alive -- check t george 2

    # One by host, by user, by instance.
    answers 'closed 1' -- close t - 1
    answers '[[]george@t:2 root@t:2 alexander@t:1 george@t:1]' -- list
    answers 'closed 1' -- close t george 1
    answers '[[]george@t:2 root@t:2 alexander@t:1]' -- list
    answers 'closed 1' -- close t george 2
    answers '[[]root@t:2 alexander@t:1]' -- list
    answers 'failed NOT_HELD:*' -- check t george 2
    answers '[[]alexander@t george@t root@t]' -- servers

    # A server takes its connections along, and leaves the SSH connection.
    answers 'got george@t:1 1' -- get t george 1
    ask session george@t:1
    session=$answer
    answers 'closed 1' -- undeploy t george
    answers '[[]root@t:2 alexander@t:1]' -- list
    answers '[[]alexander@t root@t]' -- servers
    answers '[[]alexander@t george@t root@t]' -- ssh
    [ -z "$(processes_of george)" ]
    answers 'got george@t:3 1' -- get t george 3
    answers "$session" -- session george@t:3
    answers '[[]george@t:3 root@t:2 alexander@t:1]' -- list

    answers 'closed 3' -- close - - 0
    answers '[[]]' -- list
    answers '[[]alexander@t george@t root@t]' -- servers
    answers 'closed 3' -- undeploy - -
    answers '[[]]' -- servers
    answers '[[]alexander@t george@t root@t]' -- ssh
    answers 'closed 1' -- hangup t alexander
    answers '[[]george@t root@t]' -- ssh
    answers 'closed 2' -- hangup - -
    answers '[[]]' -- ssh
    quit
}

@test "aliases of one host share, and the user of ssh_config is not meant" {
    hold
    ask get t "$SSHD_USER" 1
    ask get demo "$SSHD_USER" 1
    [ "$answer" = "got $SSHD_USER@t:1 1" ]
    answers "[[]$SSHD_USER@t:1]" -- list
    ask get "127.0.0.1:$SSHD_PORT" "$SSHD_USER" 1 # without the settings for t: another way there
    [[ $answer == failed* ]]
    answers "[[]$SSHD_USER@t:1]" -- list
    answers 'closed 1' -- close demo "$SSHD_USER" 1
}

@test "an unknown user is refused, each time anew" {
    need_world
    hold
    answers 'failed AUTH:*' -- get t nobody-of-that-name 1
    [ "$(grep -c 'Invalid user nobody-of-that-name' "$SSHD_LOG")" -eq 1 ]
    answers 'failed AUTH:*' -- get t nobody-of-that-name 1
    [ "$(grep -c 'Invalid user nobody-of-that-name' "$SSHD_LOG")" -eq 2 ]
    answers '[[]]' -- ssh
}

@test "an agent that was killed is replaced on the same SSH connection" {
    hold
    ask get t "$SSHD_USER" 1
    name=$SSHD_USER@t:1
    ask session "$name"
    session=$answer
    ask run "$name" 'x = 5 return x'
    ask start "$name" "require('time').sleep(1000)"
    ask pid "$name"
    pid=$answer
    sshd_inside kill -KILL "$pid"
    answers 'failed LOST:*' -- wait
    answers lost -- lost "$name"
    answers '[[]]' -- list
    answers "got $name 2" -- get t "$SSHD_USER" 1
    answers null -- run "$name" 'return x'
    answers "$session" -- session "$name"
}

# What serves connections, but not the server itself.
sessions() {
    sshd_inside pgrep -f '^sshd: [a-z]'
}

@test "a host that was rebooted is connected to anew" {
    need_world
    hold
    name=$SSHD_USER@t:1
    ask get t "$SSHD_USER" 1
    ask session "$name"
    session=$answer
    ask pid "$name"
    # shellcheck disable=SC2046
    sshd_inside kill -KILL "$answer" $(sessions)
    answers lost -- lost "$name"
    answers '[[]]' -- ssh
    answers "got $name 2" -- get t "$SSHD_USER" 1
    ask session "$name"
    [ "$answer" != "$session" ]
}

@test "a connection that ends while the server is undeployed is not shown any more" {
    need_world
    hold
    ask get t "$SSHD_USER" 1
    answers 'closed 1' -- undeploy t "$SSHD_USER"
    answers "[[]$SSHD_USER@t]" -- ssh
    # shellcheck disable=SC2046
    sshd_inside kill -KILL $(sessions)
    within 10 answers '[[]]' -- ssh
    answers "got $SSHD_USER@t:1 1" -- get t "$SSHD_USER" 1
}

@test "an idle connection that has died in silence is replaced" {
    need_world
    hold 1000
    name=$SSHD_USER@t:1
    ask get t "$SSHD_USER" 1
    ask session "$name"
    session=$answer
    answers 'closed 1' -- undeploy t "$SSHD_USER"
    stopped=$(sessions)
    # shellcheck disable=SC2086
    sshd_inside kill -STOP $stopped
    answers "got $name 1" -- get t "$SSHD_USER" 1
    ask session "$name"
    [ "$answer" != "$session" ]
    # shellcheck disable=SC2086
    sshd_inside kill -KILL $stopped
}

@test "a host key that has changed meanwhile is refused, and nothing of that is kept" {
    need_world
    hold
    name=$SSHD_USER@t:1
    ask get t "$SSHD_USER" 1
    cp "$SSHD_KNOWN" "$T/known"
    answers 'closed 1' -- hangup - -
    ssh-keygen -q -t ed25519 -N '' -C other -f "$T/other"
    awk -v key="$(cut -d ' ' -f 2 "$T/other.pub")" \
        '$2 == "ssh-ed25519" { print $1, $2, key }' "$T/known" >"$SSHD_KNOWN"
    ask get t "$SSHD_USER" 1
    changed=$answer
    cp "$T/known" "$SSHD_KNOWN"
    [[ $changed == "failed HOSTKEY_CHANGED:"* ]]
    answers '[[]]' -- ssh
    answers "got $name 1" -- get t "$SSHD_USER" 1
    # The same for one that is lost, and in use.
    # shellcheck disable=SC2046
    sshd_inside kill -KILL $(sessions)
    answers lost -- lost "$name"
    within 10 answers '[[]]' -- ssh
    awk -v key="$(cut -d ' ' -f 2 "$T/other.pub")" \
        '$2 == "ssh-ed25519" { print $1, $2, key }' "$T/known" >"$SSHD_KNOWN"
    ask get t "$SSHD_USER" 1
    changed=$answer
    cp "$T/known" "$SSHD_KNOWN"
    [[ $changed == "failed HOSTKEY_CHANGED:"* ]]
    answers "got $name 2" -- get t "$SSHD_USER" 1
}

# moving: from now on SSHD_CONFIG is the test's own, and $T/moved says the same but that the host is
# at 127.0.0.2.
moving() {
    sed "p; s/127\.0\.0\.1/127.0.0.2/" "$SSHD_KNOWN" >"$T/known"
    sed "s|$SSHD_KNOWN|$T/known|" "$SSHD_CONFIG" >"$T/config"
    sed 's/HostName .*/HostName 127.0.0.2/' "$T/config" >"$T/moved"
    SSHD_CONFIG=$T/config
}

@test "a host that has moved is found where ssh_config says now" {
    moving
    hold
    name=$SSHD_USER@t:1
    answers "got $name 1" -- get t "$SSHD_USER" 1
    answers "* 127.0.0.1 $SSHD_PORT" -- session "$name"
    answers "got $name 1" -- get t "$SSHD_USER" 1 # which is remembered
    answers "[[]$name]" -- list
    cp "$T/moved" "$T/config"
    answers "got $name 1" -- get t "$SSHD_USER" 1
    answers "* 127.0.0.2 $SSHD_PORT" -- session "$name"
    answers "[[]$name $name]" -- list
    answers 'closed 1' -- close t "$SSHD_USER" 1
    answers "[[]$name]" -- list
    answers 'failed NOT_HELD:*' -- check t "$SSHD_USER" 1
    # What was before is closed by the place where it is.
    answers 'closed 1' -- close "127.0.0.1:$SSHD_PORT" "$SSHD_USER" 1
    answers '[[]]' -- list
    # The whole file is another one.
    sed 's/HostName .*/HostName 127.0.0.1/' "$T/moved" >"$T/back"
    mv "$T/back" "$T/config"
    answers "got $name 1" -- get t "$SSHD_USER" 1
    answers "* 127.0.0.1 $SSHD_PORT" -- session "$name"
    answers 'closed 1' -- hangup t "$SSHD_USER"
    sed "s/^    Port .*/    Port $(_sshd_free_port)/" "$T/moved" >"$T/config"
    answers 'failed REFUSED:*' -- get t "$SSHD_USER" 1
}

@test "calls end with the cause when their connection is closed" {
    hold
    name=$SSHD_USER@t:1
    ask get t "$SSHD_USER" 1
    ask start "$name" "require('time').sleep(1000)"
    answers 'closed 1' -- close t "$SSHD_USER" 1
    answers 'failed CLOSED:*the connection was closed' -- wait
    ask get t "$SSHD_USER" 1
    ask start "$name" "require('time').sleep(1000)"
    answers 'closed 1' -- undeploy t "$SSHD_USER"
    answers 'failed CLOSED:*the server was undeployed' -- wait
}

@test "logins leave nothing in the program's memory" {
    # What a thread keeps for itself of what was freed would count as taken.
    export GLIBC_TUNABLES=glibc.malloc.tcache_count=0
    hold
    ask again t "$SSHD_USER" 5
    least=1000000
    for _ in 1 2 3; do # a buffer may grow now and then; what leaks does so in each
        ask again t "$SSHD_USER" 8
        [[ $answer == "grew "* ]]
        [ "${answer#grew }" -ge "$least" ] || least=${answer#grew }
    done
    [ "$GRAPNEL_VARIANT" != asan ] || return 0 # which tells at the end
    [ "$least" -lt 128 ]
}
