#!/usr/bin/env bats
# The command with a child process for a host: what does not depend on SSH.
# shellcheck disable=SC2016,SC2030,SC2031,SC2086,SC2094,SC2154

bats_require_minimum_version 1.5.0
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-60}

setup() {
    GRAPNEL=${GRAPNEL:-$BATS_TEST_DIRNAME/../../build/grapnel}
    export GRAPNEL
    T=$BATS_TEST_TMPDIR
    cd "$T" || return
}

# run on this machine, through a shell and the agent.
l() {
    "$GRAPNEL" run --transport local here "$@"
}

# A shell line with grapnel as $G; its status and what it says are checked by the caller.
shell() {
    G="$GRAPNEL" bash -c "$1"
}

# Starts it in the background as a person's shell would: no signal ignored.
start() {
    env --default-signal "$GRAPNEL" run --transport local -n "$@" >"$T/out" 2>"$T/err" 3>&- &
    job=$!
}

finish() {
    status=0
    wait "$job" || status=$?
}

# Waits until the file has the text, ten seconds at most.
says() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        ! grep -q "$1" "$2" || return 0
        read -rt 0.01 _ <> <(:) || true
    done
    cat "$2"
    return 1
}

# Waits until no process has exactly this command line any more, ten seconds at most.
ends() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        pgrep -fx "$1" || return 0
        read -rt 0.01 _ <> <(:) || true
    done
    return 1
}

json() {
    python3 -c 'import json, sys
for line in sys.argv[1].splitlines():
    d = json.loads(line)
    print(eval(sys.argv[2]))' "$output" "$1"
}

@test "words are executed exactly, one word is a line" {
    run -0 --separate-stderr l -- printf '%s|' 'a b' '$HOME' ''
    [ "$output" = 'a b|$HOME||' ]
    run -3 --separate-stderr l 'echo "a  b" | tr a-z A-Z; exit 3'
    [ "$output" = 'A  B' ]
    [ -z "$stderr" ]
}

@test "the end of a full disk is told: 255, and the command is stopped" {
    [ -e /dev/full ] || skip "there is no /dev/full"
    run -255 --separate-stderr shell '$G run --transport local here yes >/dev/full'
    [[ $stderr == "grapnel: here: local: the output could not be written: No space left on device ("*")" ]]
    run -255 --separate-stderr shell '$G run --json --transport local here echo >/dev/full'
    [[ $stderr == *"No space left on device"* ]]
    run -255 --separate-stderr shell '$G facts --transport local here >/dev/full'
    [[ $stderr == *"No space left on device"* ]]
}

@test "a closed pipe is told, and nothing hangs" {
    run -0 --separate-stderr shell '$G run --transport local here yes | head -n 1; [ ${PIPESTATUS[0]} = 255 ]'
    [ "$output" = y ]
    [[ $stderr == *"the output could not be written: Broken pipe"* ]]
}

@test "a time limit holds also when nobody reads the output" {
    mkfifo pipe
    run -124 --separate-stderr shell 'exec 7<>pipe
        timeout 8 $G run --timeout 500ms --transport local here yes >pipe'
    [[ $stderr == "grapnel: here: exec: the command was stopped at its time limit"* ]]
}

@test "descriptors 0 to 2 may be closed when it starts" {
    run -0 shell '$G run --transport local here -- cat <&-'
    [ -z "$output" ]
    run -0 shell '$G run --transport local here -- echo a >&-'
    run -7 shell '$G run --transport local here "echo a; echo b >&2; exit 7" <&- >&- 2>&-'
    # What was opened in their place must not be a connection of ours.
    run -0 --separate-stderr shell '$G run --transport local here "echo out; echo err >&2" 2>&-'
    [ "$output" = out ]
}

@test "64 descriptors are enough" {
    run -0 --separate-stderr shell 'ulimit -n 64; $G run --transport local here -- echo done'
    [ "$output" = "done" ]
    run -0 shell 'ulimit -n 64; $G doctor --transport local here'
}

@test "TERM: a command that ignores it is stopped after a grace, and its end is waited for" {
    start here -- sh -c 'trap "" TERM; sleep 98764 & echo "$$ $!"; while :; do wait; sleep 98763; done'
    says '[0-9]' "$T/out"
    read -r shell_pid sleep_pid <"$T/out"
    kill -TERM "$job"
    finish
    [ "$status" -eq 143 ]
    run -1 kill -0 "$shell_pid"
    run -1 kill -0 "$sleep_pid"
}

@test "the command's own end by a signal: 128 and its number, or a word when there is none here" {
    run -143 --separate-stderr l 'kill -TERM $$'
    [ -z "$stderr" ]
    run -137 --separate-stderr l 'kill -KILL $$'
    [ -z "$stderr" ]
    run -255 --separate-stderr l 'kill -40 $$'
    [[ $stderr == "grapnel: here: exec: a signal that has no name here ended the command ("*")" ]]
}

@test "a signal that was ignored at the start stays ignored" {
    (trap '' HUP && exec "$GRAPNEL" run --transport local here -- sh -c 'echo up; read -r x; echo "$x"') \
        < <(says up "$T/out" && kill -HUP "$(<"$T/pid")" && echo over) >"$T/out" 3>&- &
    echo $! >"$T/pid"
    job=$!
    finish
    [ "$status" -eq 0 ]
    [ "$(<"$T/out")" = $'up\nover' ]
}

@test "INT before the connection is ready leaves at once, and ends what it had begun" {
    local line="sleep $((90000000 + $$))"
    env --default-signal "$GRAPNEL" run -v --transport "$line" here true 2>"$T/err" 3>&- &
    job=$!
    says connect "$T/err"
    kill -INT "$job"
    finish
    [ "$status" -eq 130 ]
    ends "$line"
}

@test "INT and TERM end facts and doctor like run: what they had begun ends, and they say so" {
    local verb signal line="sleep $((91000000 + $$))"
    for verb in facts doctor; do
        for signal in INT:130 TERM:143; do
            : >"$T/err"
            env --default-signal "$GRAPNEL" "$verb" -v --transport "$line" here \
                >"$T/out" 2>"$T/err" 3>&- &
            job=$!
            says connect "$T/err"
            kill "-${signal%:*}" "$job"
            finish
            [ "$status" -eq "${signal#*:}" ]
            ends "$line"
            if [ "$signal" = TERM:143 ]; then
                grep -q 'left on a signal' "$T/err"
            else
                run -1 grep -q 'left on a signal' "$T/err"
            fi
        done
    done
    grep -qx 'here: cut off' "$T/out"
}

@test "--json: there is a line for each target also when a signal ends it" {
    local line="sleep $((92000000 + $$))" words
    for words in "facts a" "doctor a" "run a true"; do
        : >"$T/err"
        env --default-signal "$GRAPNEL" ${words%% *} -v --json --transport "$line" ${words#* } \
            >"$T/out" 2>"$T/err" 3>&- &
        job=$!
        says connect "$T/err"
        kill -INT "$job"
        finish
        [ "$status" -eq 130 ]
        ends "$line"
        output=$(<"$T/out")
        [[ $(json 'd["host"], d["error"]["name"], d["error"]["detail"]') == "('a', 'CANCELLED', 'SIGINT')"* ]]
    done
    [ "$(json 'd["exit"], d["stdout"], "status" in d')" = "(130, '', False)" ]
}

@test "--json: two INTs leave at once, with what the command had said by then" {
    : >log
    start --json here -- sh -c 'trap "echo heard | tee -a log >&2" INT
        echo up | tee log; while :; do sleep 0.01; done'
    says up log
    kill -INT "$job"
    says heard log
    kill -INT "$job"
    finish
    [ "$status" -eq 130 ]
    output=$(<"$T/out")
    [ "$(json 'd["host"], d["exit"], d["error"]["name"], "status" in d, "phases" in d')" = \
        "('here', 130, 'CANCELLED', False, True)" ]
    [ "$(json 'd["stdout"]')" = up ]
}

@test "a terminal on stdin is left in its mode" {
    run -0 python3 -c '
import os, pty, sys, termios
master, slave = pty.openpty()
before = termios.tcgetattr(slave)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.dup2(slave, 0)
    os.dup2(w, 1)
    os.execv(sys.argv[1], [sys.argv[1], "run", "--transport", "local", "here", "echo up; head -n 1"])
os.close(w)
assert os.read(r, 3) == b"up\n"
during = termios.tcgetattr(slave)
os.write(master, b"typed\n")
assert os.read(r, 100) == b"typed\n"
status = os.waitpid(pid, 0)[1]
assert status == 0, status
assert before == during == termios.tcgetattr(slave)' "$GRAPNEL"
}

@test "-v tells what is done, -q tells nothing, --stats tells what it took" {
    run -0 --separate-stderr l true
    [ -z "$stderr" ]
    run -0 --separate-stderr l -v true
    [[ $stderr == *"grapnel: here: ready"* ]]
    run -0 --separate-stderr l -q true
    [ -z "$stderr" ]
    run -124 --separate-stderr l -q --timeout 50ms -- sleep 98765
    [[ $stderr == "grapnel: here: exec: the command was stopped at its time limit"* ]]
    run -5 --separate-stderr l --stats 'exit 5'
    [[ $stderr =~ ^grapnel:\ here:\ command\ .*\ wall,\ .*\ user,\ .*\ system,\ .*\ resident\;\ .*\ s\ in\ all$ ]]
}

@test "--json for run: what was gathered, and how it ended" {
    run -4 --separate-stderr l --json 'echo out; echo err >&2; exit 4'
    [ -z "$stderr" ]
    [ "$(json 'd["host"], d["exit"], d["status"], d["signal"], d["stdout"], d["stderr"], "error" in d')" = \
        "('here', 4, 4, None, 'out\\n', 'err\\n', False)" ]
    [ "$(json 'd["phases"][-1]["phase"], d["phases"][-1]["at_us"] > 0')" = "('ready', True)" ]
    run -124 --separate-stderr l --json --timeout 50ms 'echo begun; exec sleep 98765'
    [ "$(json 'd["reason"], d["error"]["name"], d["stdout"]')" = "('timeout', 'EXEC_TIMEOUT', 'begun\\n')" ]
    run -255 --separate-stderr l --json --max-output 10 yes
    [ "$(json 'd["reason"], len(d["stdout"]), d["error"]["hint"]')" = "('output-limit', 10, 'raise --max-output')" ]
    run -127 --separate-stderr l --json -- no-such-command-anywhere x
    [ "$(json 'd["exit"], d["error"]["name"]')" = "(127, 'NO_COMMAND')" ]
    [ -z "$stderr" ]
}

@test "facts: one target, several, and one of them out of reach" {
    run -0 --separate-stderr "$GRAPNEL" facts --transport local here
    grep -qx "arch  *$(uname -m)" <<<"$output"
    grep -qx "user  *$(id -un)" <<<"$output"
    run -0 --separate-stderr "$GRAPNEL" facts --transport local a b
    grep -qx "a: arch  *$(uname -m)" <<<"$output"
    grep -qx "b: arch  *$(uname -m)" <<<"$output"
    run -0 --separate-stderr "$GRAPNEL" facts --json --transport local $(seq 1 40)
    [ "$(json 'd["host"]' | sort -n | tr '\n' ' ')" = "$(seq 1 40 | tr '\n' ' ')" ]
    run -255 --separate-stderr "$GRAPNEL" facts --json --transport 'exit 3; :' a b
    [ "$(json '"error" in d and d["error"]["name"] != ""' | tr '\n' ' ')" = 'True True ' ]
    [ -z "$stderr" ]
    run -255 --separate-stderr "$GRAPNEL" facts --transport 'exit 3; :' a b
    [ -z "$output" ]
    [[ ${stderr_lines[1]} == "grapnel: "*": a,b (2)" ]]
}

@test "doctor: all is well" {
    run -0 --separate-stderr "$GRAPNEL" doctor --transport local here
    [ -z "$stderr" ]
    [ "${lines[0]}" = "here: all is well" ]
    for row in total host user transport agent sent received 'round trip' memory command close; do
        grep -q "^$row  *[^ ]" <<<"$output"
    done
    grep -qx 'residue  *nothing left' <<<"$output"
    run -0 --separate-stderr "$GRAPNEL" doctor --json --transport local here
    [ "$(json 'd["well"], d["residue"]["files"], d["residue"]["processes"], d["line"]["transport"]')" = \
        "(True, [], [], 'local')" ]
}

@test "doctor: what is left behind is found" {
    local left=.grapnel-0123456789abcdef0123456789abcdef
    mkdir "$T/$left" "$T/.grapnel-not-ours"
    TMPDIR=$T run -1 --separate-stderr "$GRAPNEL" doctor --transport local here
    [ "${lines[0]}" = "here: something was left behind" ]
    grep -q "^  *file $T/$left" <<<"$output"
    TMPDIR=$T run -1 --separate-stderr "$GRAPNEL" doctor --json --transport local here
    [ "$(json 'd["well"], len(d["residue"]["older_files"]), d["residue"]["older_files"][0]')" = \
        "(False, 1, '$T/$left')" ]
}

@test "doctor: the phase that fails is named" {
    run -255 --separate-stderr "$GRAPNEL" doctor --transport 'exit 3; :' here
    [ "${lines[0]}" = "here: failed" ]
    grep -q '^[a-z][a-z ]*  *failed' <<<"$output"
    [[ $stderr == "grapnel: here: "*"("*")" ]]
    [ "${#stderr_lines[@]}" -eq 1 ]
    run -255 --separate-stderr "$GRAPNEL" doctor --json --transport 'exit 3; :' here
    [ "$(json 'd["well"], "error" in d')" = "(False, True)" ]
}
