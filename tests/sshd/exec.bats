#!/usr/bin/env bats
# Commands over a real sshd: what they are given, what comes back, how they end.
# shellcheck disable=SC1003,SC1010,SC2001,SC2016,SC2030,SC2031,SC2094,SC2143,SC2154

load ../lib

setup_file() {
    server_start
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
}

teardown() {
    lib_teardown
}

# ---- arguments ----

# What arrives as arguments, each followed by a zero byte, is what was given.
arrive() {
    printf '%s\0' "$@" >"$T/given"
    g run t -- printf '%s\0' "$@" >"$T/arrived"
    cmp "$T/given" "$T/arrived"
}

@test "argv: quotes, blanks, expansions and options arrive exactly" {
    arrive '' ' ' "it's" 'a "b" c' '$HOME' '`id`' '*' '\' '\n' '!x' '~' '-n' '--' '-F' '#' ';' '&&' '|' '%s'
}

@test "argv: newlines, tabs and control characters arrive exactly" {
    arrive $'one\ntwo\n' $'\t' $'\r\n' $'\033[31m' $'\177'
}

@test "argv: other encodings than UTF-8 arrive exactly" {
    arrive $'\xff\xfe' $'\xc3' 'äöü' $'\xed\xa0\x80' $'a\xe4b'
}

@test "argv: many and long arguments arrive exactly" {
    local list
    mapfile -t list < <(seq 1 5000)
    arrive "${list[@]}" "$(head -c 100000 /dev/zero | tr '\0' x)"
}

@test "argv: too long for one request is said, not cut off" {
    local word
    word=$(head -c 120000 /dev/zero | tr '\0' x)
    run --separate-stderr g run t -- echo "$word" "$word" "$word" "$word" "$word" "$word" "$word" \
        "$word" "$word"
    fails 't: protocol: a value is larger than its limit'
}

@test "one word is a line for the account's login shell" {
    run -0 --separate-stderr g run t 'echo "$((6 * 7))" | tr 2 3; echo $0'
    [ "${lines[0]}" = 43 ]
    [[ ${lines[1]} == *sh ]]
}

@test "--shell gives the line to another shell" {
    run -0 --separate-stderr g run --shell /bin/dash t 'readlink /proc/$$/exe'
    [[ $output == *dash ]]
}

# ---- surroundings ----

@test "--chdir sets the directory; one that is not there is an error of its own" {
    run -0 --separate-stderr g run -C /usr/lib t -- pwd
    [ "$output" = /usr/lib ]
    run --separate-stderr g run -C /no/such/place t -- pwd
    fails 't: exec: working directory could not be entered' /no/such/place
}

@test "without --chdir it is the home directory" {
    run -0 --separate-stderr g run t 'test "$(pwd -P)" = "$(cd ~ && pwd -P)"'
}

@test "--env sets, with any value; --unset removes" {
    run -0 --separate-stderr g run -e A=1 -e 'B=x=y z"$' -e C= --unset HOME t \
        'echo "[$A][$B][$C][${HOME-gone}]"'
    [ "$output" = '[1][x=y z"$][][gone]' ]
}

@test "--env: bytes and newlines arrive exactly" {
    g run -e $'V=a\nb\xff' t -- printenv V >"$T/out"
    printf 'a\nb\xff\n' | cmp - "$T/out"
}

@test "--clean-env leaves PATH, HOME, USER, LOGNAME and SHELL" {
    run -0 --separate-stderr g run --clean-env -e MINE=1 t -- env -u NONE
    [ "$(sed 's/=.*//' <<<"$output" | sort | paste -sd ' ')" = "HOME LOGNAME MINE PATH SHELL USER" ]
}

@test "the environment is that of the login, without anything of ours" {
    run -0 --separate-stderr g run t -- env -u NONE
    [[ $output == *SSH_CONNECTION=* ]]
    [[ $output != *GRAPNEL_* ]]
}

@test "a command gets descriptors 0 to 2 only, the account's umask, and no ignored signals" {
    run -0 --separate-stderr g run t -- sh -c 'ls /proc/self/fd; umask; grep -E "^Sig(Blk|Ign)" /proc/self/status'
    echo "$output"
    # ls opens the folder itself as 3.
    [ "$(head -n 4 <<<"$output" | paste -sd ' ')" = "0 1 2 3" ]
    [ "${lines[4]}" = 0022 ]
    [[ ${lines[5]} =~ ^SigBlk:[[:space:]]0+$ ]]
    [[ ${lines[6]} =~ ^SigIgn:[[:space:]]0+$ ]]
}

@test "a command is in a session of its own, not the agent's" {
    run -0 --separate-stderr g run t -- sh -c 'ps -o pid=,sid= -p $$'
    read -r pid sid <<<"$output"
    [ "$pid" = "$sid" ]
}

# ---- streams ----

@test "64 MiB from stdin to stdout are the same bytes" {
    head -c 67108864 /dev/urandom >"$T/big"
    g run t -- cat <"$T/big" | cmp - "$T/big"
}

@test "64 MiB that compress well are the same bytes" {
    yes 'the same line again and again' | head -c 67108864 >"$T/big"
    g run t -- cat <"$T/big" | cmp - "$T/big"
}

@test "stdout and stderr stay apart, each in order" {
    g run t -- sh -c 'for i in $(seq 1 2000); do echo out $i; echo err $i >&2; done' \
        >"$T/out" 2>"$T/err"
    seq -f 'out %g' 1 2000 | cmp - "$T/out"
    seq -f 'err %g' 1 2000 | cmp - "$T/err"
}

@test "--merge: stderr comes with stdout, in the order of writing" {
    run -0 --separate-stderr g run --merge t -- sh -c 'echo a; echo b >&2; echo c; echo d >&2'
    [ "$(paste -sd '' <<<"$output")" = abcd ]
    [ -z "$stderr" ]
}

@test "large output on both at the same time" {
    g run t -- sh -c 'head -c 8000000 /dev/zero & head -c 8000000 /dev/zero >&2; wait' \
        >"$T/out" 2>"$T/err"
    [ "$(stat -c %s "$T/out")" -eq 8000000 ]
    [ "$(stat -c %s "$T/err")" -eq 8000000 ]
}

@test "the end of stdin is passed on while output still comes" {
    run -0 --separate-stderr g run t -- sh -c 'cat; echo after' <<<"before"
    [ "$output" = $'before\nafter' ]
}

@test "a command that does not read its stdin ends nevertheless" {
    run -0 bash -c 'set -o pipefail; yes | { "$GRAPNEL" run -F "$SSHD_CONFIG" t -- echo done; }' || true
    [[ $output == *done* ]]
}

@test "-n gives an empty stdin" {
    run -0 --separate-stderr g run -n t -- wc -c <<<"not for you"
    [ "$output" -eq 0 ]
}

@test "a stdin that stays open does not hold up the end" {
    mkfifo "$T/pipe"
    sleep 300 >"$T/pipe" 3>&- 4>&- &
    local holder=$!
    run -0 --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" t -- echo done <"$T/pipe"
    kill "$holder"
    [ "$output" = done ]
}

# ---- ends ----

@test "the exit status is the command's" {
    local n
    for n in 0 1 7 125 254 255; do
        run "-$n" --separate-stderr g run t -- sh -c "exit $n"
        [ -z "$stderr" ]
    done
}

@test "death by a signal is 128 + its number" {
    run -143 --separate-stderr g run t -- sh -c 'kill -TERM $$'
    run -137 --separate-stderr g run t -- sh -c 'kill -KILL $$'
    run -139 --separate-stderr g run t -- sh -c 'ulimit -c 0; kill -SEGV $$'
}

@test "a command that is not there is 127, one that cannot be executed 126" {
    run -127 --separate-stderr g run t -- no-such-command-anywhere x
    [[ $stderr == *'exec: command not found'*no-such-command-anywhere* ]]
    run -127 --separate-stderr g run t -- /no/such/path x
    run -126 --separate-stderr g run t -- /etc/passwd x
    [[ $stderr == *'exec: command could not be executed'*/etc/passwd* ]]
    run -126 --separate-stderr g run t -- /usr x
}

# forwarded NAME STATUS: a command that waits for the signal gets it, and its own end counts.
forwarded() {
    start run t -- sh -c "trap 'echo got $1; kill \$!; exit 33' $1; sleep 98765 & echo ready; wait"
    within 10 says ready "$T/out"
    kill -s "$1" "$job"
    finish "$job"
    echo "status $status"
    cat "$T/out" "$T/err"
    says "got $1" "$T/out"
    [ "$status" -eq "$2" ]
}

@test "INT is passed on" { forwarded INT 33; }
@test "QUIT is passed on" { forwarded QUIT 33; }
@test "USR1 is passed on" { forwarded USR1 33; }
@test "USR2 is passed on" { forwarded USR2 33; }
@test "WINCH is passed on" { forwarded WINCH 33; }
@test "TERM is passed on" { forwarded TERM 33; }
@test "HUP is passed on" { forwarded HUP 33; }

@test "a signal that the command does not handle ends it: 128 + number" {
    local name
    for name in INT:130 TERM:143 HUP:129 USR1:138; do
        start run t -- sh -c 'echo ready; exec sleep 98765'
        within 10 says ready "$T/out"
        kill -s "${name%:*}" "$job"
        finish "$job"
        [ "$status" -eq "${name#*:}" ]
    done
}

@test "TERM twice ends a command that ignores TERM, with all its descendants" {
    start run t -- sh -c 'trap "echo told" TERM; (trap "" TERM; setsid sleep 98766 & sleep 98765) & echo ready
        while :; do wait; done'
    within 10 says ready "$T/out"
    kill -TERM "$job"
    within 10 says told "$T/out"
    kill -TERM "$job"
    finish "$job"
    [ "$status" -eq 143 ]
    nothing_left
}

@test "INT twice within a second leaves at once, and the host cleans up" {
    start run t -- sh -c 'trap "" INT TERM; sleep 98765 & echo ready; while :; do sleep 1; done'
    within 10 says ready "$T/out"
    kill -INT "$job"
    within 5 eval 'kill -INT $job; gone $job || ! ps -o stat= "$job" | grep -qv Z'
    finish "$job"
    [ "$status" -eq 130 ]
    nothing_left
}

@test "--timeout stops the command and all below it: 124" {
    run -124 --separate-stderr g run --timeout 300ms t -- sh -c \
        'sleep 98765 & setsid sh -c "trap \"\" TERM; sleep 98766 & wait" & echo begun; wait'
    [ "$output" = begun ]
    [[ $stderr == *'t: exec: the command was stopped at its time limit'* ]]
    [ -z "$(server_processes | grep sleep)" ]
}

@test "--max-output stops the command: exactly so many bytes come" {
    run --separate-stderr bash -c '"$GRAPNEL" run -F "$SSHD_CONFIG" --max-output 100000 t -- yes >"$T/out"'
    fails 't: exec: the command was stopped at its output limit' 'raise --max-output'
    [ "$(stat -c %s "$T/out")" -eq 100000 ]
}

@test "a reader that leaves stops the command" {
    run --separate-stderr bash -c '"$GRAPNEL" run -F "$SSHD_CONFIG" t -- yes | head -n 3; exit ${PIPESTATUS[0]}'
    [ "$output" = $'y\ny\ny' ]
    [ "$status" -eq 255 ]
    [[ $stderr == *'output could not be written: Broken pipe'* ]]
}

@test "what a command leaves running is ended, not waited for" {
    run -0 --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" t -- \
        sh -c 'setsid sleep 98765 >/dev/null 2>&1 </dev/null & echo done'
    [ "$output" = done ]
    [ -z "$(server_processes | grep sleep)" ]
}

# ---- reports ----

json() {
    python3 -c 'import json, sys
d = json.loads(sys.argv[1])
print(eval(sys.argv[2]))' "$output" "$1"
}

@test "--json: one valid object, with output, status and usage" {
    run -3 --separate-stderr g run --json t -- sh -c 'echo "a\"b"; echo e >&2; exit 3'
    [ "${#lines[@]}" -eq 1 ]
    [ "$(json 'd["stdout"], d["stderr"], d["status"], d["exit"], d["signal"]')" = \
        "('a\"b\\n', 'e\\n', 3, 3, None)" ]
    [ "$(json 'd["wall_us"] > 0 and d["rusage"]["max_rss"] > 0 and d["pid"] > 1')" = True ]
}

@test "--json: bytes that are no text, a signal, a failure" {
    run -137 --separate-stderr g run --json t -- sh -c 'printf "\377\000x"; kill -KILL $$'
    [ "$(json 'd["stdout_base64"], d["signal"], d["status"], d["exit"]')" = "('/wB4', 'KILL', None, 137)" ]
    run -255 --separate-stderr g run --json -C /no/such/place t -- true
    [ "$(json 'd["error"]["name"], d["error"]["phase"], d["exit"]')" = "('CWD', 'exec', 255)" ]
}

@test "facts: valid JSON that is true" {
    run -0 --separate-stderr g facts --json t
    [ "$(json 'd["facts"]["arch"] if "facts" in d else d["arch"]')" = "$(uname -m)" ]
    [[ $output == *"\"$(uname -n)\""* ]]
}

@test "doctor finds nothing wrong" {
    run -0 --separate-stderr g doctor t
    echo "$output"
    [[ $output == *'all is well'* ]]
    [[ $output == *'nothing left'* ]]
    [[ $output == *ssh2* ]]
}

@test "twenty at the same time" {
    local i jobs=()
    for i in $(seq 1 20); do
        "$GRAPNEL" run -F "$SSHD_CONFIG" t -- sh -c "echo $i; exit $i" >"$T/out.$i" 2>&1 3>&- 4>&- </dev/null &
        jobs+=("$!")
    done
    for i in $(seq 1 20); do
        finish "${jobs[i - 1]}"
        [ "$status" -eq "$i" ]
        [ "$(<"$T/out.$i")" = "$i" ]
    done
}
