#!/usr/bin/env bats
# Whatever ends, and however: on the host everything of ours has ended soon after, even what
# ignores TERM, has a session of its own or has left its parents. The teardown of each test looks
# for processes and files; the tests that are about a lease look for them while the line still
# hangs.
# shellcheck disable=SC1010,SC2016,SC2030,SC2031,SC2094,SC2143,SC2154

load ../lib

setup_file() {
    server_start
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    need_world
    manners=
}

teardown() {
    lib_teardown
}

# A family that does not want to go, in all kinds; $1 is a number that is its own, below 10 of which its
# members sleep. With something as $2 they hold none of the pipes, and the head obeys signals (quiet)
# or leaves (gone). Says ready when all are what they are meant to be.
read -r -d '' ZOO <<'END' || true
export deaf="trap '' TERM HUP INT"
members() {
    sh -c "$deaf; sleep ${1}1; :" "kin-$1" &                                             # ignores TERM
    setsid sh -c "$deaf; sleep ${1}2; :" "kin-$1" &                                      # and has its own session
    (sh -c "$deaf; sleep ${1}3; :" "kin-$1" &)                                           # or has left its parents
    (setsid sh -c "$deaf; sleep ${1}4; :" "kin-$1" <&- >&- 2>&- &)                       # both, and no pipe
    (setsid nohup sh -c "$deaf; while :; do sleep ${1}5; done" "kin-$1" >/dev/null 2>&1 &) # begets children
    # leaves an heir when it is told to end
    setsid sh -c 'trap "setsid sh -c \"$deaf; sleep ${1}7; :\" kin-$1 & exit" TERM; sleep ${1}6 & wait' "kin-$1" "$1" &
    setsid sh -c 'kill -STOP $$; sleep ${1}8; :' "stopped-kin-$1" "$1" &                 # is stopped
}
if [ "$2" ]; then members "$1" >/dev/null 2>&1; else members "$1"; fi
until [ "$(ps -eo args | grep -c "^sleep ${1}[1-6]$")" -eq 6 ] &&
    ps -eo stat,args | grep -q "^T.*stopped-kin-$1"; do :; done
echo ready
[ "$2" != gone ] || exit 5
[ "$2" ] || trap '' TERM HUP INT
while :; do sleep ${1}0 >/dev/null 2>&1; done
END
KIN=9000

# start_zoo OPTION...: runs it through grapnel in the background ($job).
start_zoo() {
    start run "$@" t -- sh -c "$ZOO" "kin-$KIN" "$KIN" "$manners"
    within 10 says ready "$T/out"
    [ "$(family)" -ge 12 ]
}

# How many of the family live, and of the agents.
family() {
    sshd_inside ps -eo args= | grep -cE "^sleep ${KIN}[0-9]\$|kin-$KIN |kin-$KIN\$|agent boot" || true
}

# The same without the agents.
kin() {
    sshd_inside ps -eo args= | grep -cE "^sleep ${KIN}[0-9]\$|kin-$KIN |kin-$KIN\$" || true
}

no_family() {
    [ "$(family)" -eq 0 ]
}

# agent_at DEPTH: a process of the agent's, as the world numbers them: the guardian (0), its child the
# agent proper (1), the keepers (2).
agent_at() {
    sshd_inside ps -eo pid=,ppid=,args= | awk -v depth="$1" '
        /agent boot/ { parent[$1] = $2 }
        END { for (p in parent) { n = 0; for (q = p; parent[q] in parent; q = parent[q]) n++; if (n == depth) print p } }'
}

# With the launcher's line through a proxy: $port, $tool.
with_proxy() {
    serve proxy "$@" "$SSHD_PORT"
    line=(-p "$port" -o "HostKeyAlias=[127.0.0.1]:$SSHD_PORT")
}

lost() {
    finish "$job"
    echo "status $status"
    cat "$T/err"
    [ "$status" -eq 255 ]
    grep -q 't: protocol: ' "$T/err"
    [ "$(wc -l <"$T/err")" -eq 1 ]
}

ended_by_host() {
    finish "$job"
    echo "status $status"
    cat "$T/err"
    [ "$status" -eq 255 ]
    grep -qE 't: (exec: the command was stopped by the host|protocol: the line to the host was lost)' "$T/err"
}

# ---- the launcher ----

@test "launcher: INT ends a command that obeys, and all that it started" {
    manners=quiet
    start_zoo
    kill -INT "$job"
    finish "$job"
    [ "$status" -eq 130 ]
    within 5 no_family
}

@test "launcher: INT twice" {
    start_zoo
    kill -INT "$job"
    within 5 eval 'kill -INT $job 2>/dev/null; ! kill -0 $job 2>/dev/null || ! ps -o stat= "$job" | grep -qv Z'
    finish "$job"
    [ "$status" -eq 130 ]
    within 5 no_family
}

@test "launcher: TERM is given time, then enforced; it waits until the host confirms" {
    start_zoo
    kill -TERM "$job"
    finish "$job"
    [ "$status" -eq 143 ]
    # Confirmed was the end of what was run; the agent itself may still be leaving.
    [ "$(kin)" -eq 0 ]
    within 5 no_family
}

@test "launcher: HUP" {
    manners=quiet
    start_zoo
    kill -HUP "$job"
    finish "$job"
    [ "$status" -eq 129 ]
    within 5 no_family
}

@test "launcher: KILL" {
    start_zoo
    kill -KILL "$job"
    finish "$job"
    within 6 no_family
}

@test "launcher: KILL while the agent is being sent" {
    mkdir -p "$SSHD_TEMP/home/.fake"
    printf '#!/bin/sh\necho >/home/.fake/began\nexec cat\n' >"$SSHD_TEMP/home/.fake/head"
    chmod 755 "$SSHD_TEMP/home/.fake/head"
    chmod 777 "$SSHD_TEMP/home/.fake"
    scene <<<'export PATH=/home/.fake:$PATH'
    with_proxy
    start run "${line[@]}" -l scene t -- true
    within 10 test -e "$SSHD_TEMP/home/.fake/began"
    [ -n "$(agent_files)" ]
    kill -KILL "$job"
    finish "$job"
    rm -r "$SSHD_TEMP/home/.fake"
    nothing_left
}

@test "launcher: STOP: the agent's lease lapses, and the launcher learns it when it goes on" {
    start_zoo --lease 2s
    kill -STOP "$job"
    within 8 no_family
    kill -CONT "$job"
    lost
}

@test "launcher: through the OpenSSH client, KILL" {
    start_zoo --transport openssh
    kill -KILL "$job"
    finish "$job"
    within 6 no_family
}

@test "launcher: the OpenSSH client is killed" {
    start_zoo --transport openssh
    kill -KILL "$(pgrep -P "$job" -x ssh)"
    lost
    within 6 no_family
}

@test "launcher: on this machine, KILL" {
    KIN=77$$ # which no other run on this machine has
    "$GRAPNEL_BIN" run --transport local h -- sh -c "$ZOO" "kin-$KIN" "$KIN" "" "$GRAPNEL_TEST" \
        >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
    within 10 says ready "$T/out"
    kill -KILL "$job"
    finish "$job"
    within 6 eval '! ps -eo args= | grep -E "^sleep ${KIN}[0-9]\$|kin-$KIN |kin-$KIN\$" | grep -v grep'
}

# ---- the line ----

@test "line: reset" {
    with_proxy
    start_zoo "${line[@]}"
    kill -USR2 "$tool"
    lost
    within 6 no_family
}

@test "line: reset in the middle of much output: what came is there, and the rest is not pretended" {
    with_proxy --cut 3000000
    run --separate-stderr bash -c '"$GRAPNEL" run -F "$SSHD_CONFIG" '"${line[*]@Q}"' t -- cat /dev/urandom >"$T/part"'
    fails 't: protocol: the line to the host was lost'
    [ "$(stat -c %s "$T/part")" -gt 100000 ]
    within 6 no_family
}

@test "line: frozen without an end: within the lease everything on the host is gone" {
    with_proxy
    start_zoo --lease 2s "${line[@]}"
    kill -USR1 "$tool"
    within 5 says frozen "$T/proxy.out"
    # The lease, the grace for those that ignore TERM, and some seconds for a slow machine.
    within 8 no_family
    [ -z "$(agent_files)" ]
    lost
    grep -q 'the host stopped answering' "$T/err"
}

@test "line: frozen while the agent is being sent" {
    with_proxy --stall-up 40000
    start run --lease 2s --connect-timeout 2s "${line[@]}" t -- true
    within 5 eval '[ -n "$(agent_files)" ]'
    finish "$job"
    [ "$status" -eq 255 ]
    # The proxy still holds the server's end open.
    within 8 eval '[ -z "$(agent_files)" ] && ! sshd_inside ps -eo args= | grep -q "^timeout\|^head\|^gzip"'
}

@test "line: frozen while much output is on its way" {
    with_proxy
    "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" --lease 2s "${line[@]}" t -- yes >"$T/big" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
    within 10 eval '[ "$(stat -c %s "$T/big")" -gt 1000000 ]'
    kill -USR1 "$tool"
    within 6 eval 'no_family && ! sshd_inside ps -eo args= | grep -q ^yes'
    lost
}

@test "line: frozen for less than the lease harms nothing" {
    with_proxy
    start run --lease 10s "${line[@]}" t -- sh -c 'echo ready; head -n 1'
    exec 9>&-
    within 10 says ready "$T/out"
    kill -USR1 "$tool"
    within 5 says frozen "$T/proxy.out"
    kill -HUP "$tool"
    finish "$job"
    [ "$status" -eq 0 ]
}

@test "line: a command that is silent for longer than the lease goes on" {
    run -0 --separate-stderr g run --lease 1s t -- sh -c 'sleep 3; echo still here'
    [ "$output" = "still here" ]
}

@test "line: a reader that sleeps for longer than the lease loses nothing" {
    run -0 bash -c 'set -o pipefail; "$GRAPNEL" run -F "$SSHD_CONFIG" --lease 1s t -- head -c 30000000 /dev/zero | { sleep 3; wc -c; }'
    [ "$output" -eq 30000000 ]
}

# ---- the host ----

@test "host: the agent is killed" {
    start_zoo
    sshd_inside kill -KILL "$(agent_at 1)"
    lost
    within 6 no_family
}

@test "host: the guardian is killed" {
    start_zoo
    sshd_inside kill -KILL "$(agent_at 0)"
    within 6 no_family
    lost
}

@test "host: agent and guardian are killed in the same moment" {
    start_zoo
    sshd_inside kill -STOP "$(agent_at 0)"
    sshd_inside kill -KILL "$(agent_at 1)" "$(agent_at 0)"
    lost
    within 6 no_family
}

@test "host: a command's keeper is killed: the command ends by KILL, and all of its family" {
    start_zoo
    sshd_inside kill -KILL "$(agent_at 2)"
    finish "$job"
    [ "$status" -eq 137 ]
    within 5 no_family
}

@test "host: the agent is told to end" {
    start_zoo
    sshd_inside kill -TERM "$(agent_at 1)"
    within 6 no_family
    ended_by_host
}

@test "host: the guardian is told to end" {
    start_zoo
    sshd_inside kill -TERM "$(agent_at 0)"
    within 6 no_family
    ended_by_host
}

@test "host: the agent is stopped: the launcher says so after the lease" {
    start_zoo --lease 2s
    sshd_inside kill -STOP "$(agent_at 1)"
    lost
    grep -q 'the host stopped answering' "$T/err"
    sshd_inside kill -CONT "$(agent_at 1)"
    within 6 no_family
}

@test "host: sshd's session is killed" {
    start_zoo
    sshd_inside sh -c 'kill -KILL $(ps -eo pid=,args= | awk "/[s]shd: .*@notty/ { print \$1 }")'
    lost
    within 6 no_family
}

@test "host: the command is killed, or leaves: its family does not outlive the line" {
    manners=quiet
    start_zoo
    sshd_inside kill -KILL "$(sshd_inside ps -eo pid=,ppid=,args= | awk -v p="$(agent_at 2)" '$2 == p && / quiet$/ { print $1 }')"
    finish "$job"
    [ "$status" -eq 137 ]
    within 5 no_family
    run -5 --separate-stderr g run t -- sh -c "$ZOO" "kin-$KIN" "$KIN" gone
    [ "$output" = ready ]
    within 5 no_family
}

@test "host: hundreds of processes end, too" {
    start run t -- sh -c 'for i in $(seq 300); do setsid sleep 90001 & done; echo ready; wait'
    within 15 says ready "$T/out"
    kill -KILL "$job"
    finish "$job"
    within 10 no_family
}

# ---- repetition ----

@test "many starts and ends of all kinds leave nothing" {
    local i all=()
    for i in $(seq 0 20); do
        env --default-signal "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" t -- sh -c "$ZOO" "kin-$KIN$i" "$KIN$i" >"$T/o$i" 2>&1 </dev/null 3>&- 4>&- &
        job=$!
        [ $((i % 7)) -eq 0 ] || within 5 says ready "$T/o$i"
        case $((i % 7)) in
        0 | 1) kill -KILL "$job" ;;
        2) kill -TERM "$job" ;;
        3) kill -INT "$job" && sleep 0.1 && kill -INT "$job" ;;
        4) sshd_inside kill -KILL "$(agent_at 0 | sort -n | tail -n 1)" ;;
        5) sshd_inside kill -KILL "$(agent_at 1 | sort -n | tail -n 1)" ;;
        6) sshd_inside kill -KILL "$(agent_at 2 | sort -n | tail -n 1)" ;;
        esac
        all+=("$job")
    done
    for job in "${all[@]}"; do finish "$job"; done
    KIN="${KIN}[0-9]*"
    within 15 no_family
}
