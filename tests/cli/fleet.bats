#!/usr/bin/env bats
# The command over many hosts, with child processes for hosts: what does not depend on SSH.
# shellcheck disable=SC2012,SC2016,SC2030,SC2031,SC2154

bats_require_minimum_version 1.5.0
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-60}

setup() {
    GRAPNEL=${GRAPNEL:-$BATS_TEST_DIRNAME/../../build/grapnel}
    export GRAPNEL
    T=$BATS_TEST_TMPDIR
    cd "$T" || return
    unset NO_COLOR
}

# Nothing of a run stays behind: whatever it starts has this folder for its own.
teardown() {
    local tries left
    for ((tries = 0; tries < 500; tries++)); do
        left=$(for p in /proc/[0-9]*; do
            [ "$(readlink "$p/cwd")" != "$T" ] || [ "${p#/proc/}" = $$ ] ||
                tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -E 'grapnel|sleep' || true
        done)
        [ -n "$left" ] || return 0
        read -rt 0.01 _ <> <(:) || true
    done
    echo "left: $left" >&2
    return 1
}

# many VERB WORD...: on hosts that are this machine.
many() {
    local verb=$1
    shift
    timeout 40 "$GRAPNEL" "$verb" --transport local "$@"
}

# The same in the background, without the framework's descriptors, and with no signal ignored.
start() {
    local verb=$1
    shift
    env --default-signal "$GRAPNEL" "$verb" --transport local "$@" </dev/null >out 2>err 3>&- &
    job=$!
}

# What is said on a terminal, as the lines of standard input tell: terminal.py.
on_terminal() {
    timeout 40 python3 "$BATS_TEST_DIRNAME/terminal.py" "$@"
}

# Waits until the file has the text, ten seconds at most.
says() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        ! grep -q "$1" "$2" 2>/dev/null || return 0
        read -rt 0.01 _ <> <(:) || true
    done
    cat "$2"
    return 1
}

json() {
    python3 -c 'import json, sys
for line in sys.argv[1].splitlines():
    d = json.loads(line)
    assert eval(sys.argv[2]), d' "$@"
}

# ---- output ----

@test "lines come behind the names of their hosts, stdout and stderr apart" {
    run -0 --separate-stderr many run 'n[1-3]' -- sh -c 'echo a; echo b; echo c >&2; printf d'
    [ "${#lines[@]}" = 9 ]
    for i in 1 2 3; do
        [ "$(grep "^n$i: " <<<"$output")" = "$(printf 'n%s: %s\n' $i a $i b $i d)" ]
        grep -qx "n$i: c" <<<"$stderr"
    done
    [ "$(wc -l <<<"$stderr")" = 3 ]
}

@test "one name alone is as ever, with an option for many it is not" {
    run -0 many run one -- echo x
    [ "$output" = x ]
    run -0 many run --label one -- echo x
    [ "$output" = "one: x" ]
    run -0 many run --no-label a,b -- echo x
    [ "$output" = x$'\n'x ]
}

@test "what a terminal might obey is made harmless, in pipes only without --raw" {
    run -0 many run a,b -- printf '\t\033[31m\342\200\256\374\r\n'
    [ "${lines[0]#?: }" = $'\t\\x1b[31m\\xe2\\x80\\xae\\xfc' ]
    many run --raw --no-label a,b -- printf '\033[31m\0\374\r\n' >raw
    cmp raw <(printf '\033[31m\0\374\r\n\033[31m\0\374\r\n')
    on_terminal "$GRAPNEL" run --transport local --raw a,b -- printf '\033[31m\n' >shown <<<'expect b:'
    grep -q 'x1b\[31m' shown
    run -1 grep -q $'\033\\[31m' shown
}

@test "a line of any length is shown, in parts, and memory stays small" {
    run -0 bash -c '(ulimit -v 600000 && exec "$0" run --transport local a,b -- \
        sh -c "head -c 100000000 /dev/zero | tr \\\\0 x") | wc -c' "$GRAPNEL"
    [ "$output" -gt 200000000 ]
    [ "$output" -lt 200100000 ]
}

@test "--group: the same output once, the largest group first" {
    run -0 --separate-stderr many run --group --substitute 'w[01-09],x' -- \
        sh -c 'case $0 in w0[3-9]) echo most;; w*) echo few; echo "!" >&2;; esac' %h
    [ "$output" = "---- w[03-09] (7) ----
most
---- w[01-02] (2) ----
few" ]
    [ "$stderr" = "---- w[01-02] (2) ----
!" ]
    run -0 many run --group --no-label a,b -- echo x
    [ "$output" = x ]
}

# peak OUT WORD...: runs it, standard output goes where it says, and prints the most memory it has
# had, in MB.
peak() {
    python3 -c 'import resource, subprocess, sys
with open(sys.argv[1], "wb") as f:
    subprocess.run(sys.argv[2:], stdout=f, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)' "$@"
}

@test "--group: what hosts say is on the disk until it is shown" {
    run -0 peak out "$GRAPNEL" run --transport local --group --substitute 'w[1-24],x,y' -- \
        sh -c 'yes "$1" | head -c 10000000; echo 2>&1' - %h
    [ "$output" -lt 100 ]
    [ "$(wc -c <out)" -gt 260000000 ]
    [ "$(grep -c '^----' out)" = 26 ]
    [ "$(grep -c '^w24$' out)" -ge 2499999 ]
    # Equal output is there once.
    run -0 peak out "$GRAPNEL" run --transport local --group 'w[1-12]' -- sh -c 'yes | head -c 10000000'
    [ "$output" -lt 100 ]
    [ "$(wc -c <out)" = $((10000000 + $(head -n 1 out | wc -c))) ]
}

@test "--json: nobody reads, and memory stays small; then all of it comes" {
    mkfifo pipe
    : >ended
    # Opened for both, so that nobody waits for a reader.
    exec 5<>pipe
    "$GRAPNEL" run --transport local --json --substitute 'w[1-24]' -- \
        sh -c 'yes "$1\"ä" | head -n 1500000; printf "\374" >&2; echo >>ended' - %h </dev/null >pipe 2>err 3>&- 5>&- &
    job=$!
    for ((tries = 0; tries < 3000; tries++)); do
        [ "$(wc -l <ended)" -lt 24 ] || break
        read -rt 0.01 _ <> <(:) || true
    done
    [ "$(wc -l <ended)" = 24 ]
    [ "$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$job/status")" -lt 100 ]
    python3 -c 'import json
seen = set()
with open("pipe", "rb") as f:
    for line in f:
        d = json.loads(line)
        assert (d["stderr_base64"], d["exit"]) == ("/A==", 0)
        assert d["stdout"] == (d["host"] + "\"ä\n") * 1500000
        seen.add(d["host"])
        if len(seen) == 24: break' 5>&-
    exec 5>&-
    wait "$job"
}

@test "--group: output that cannot be kept stops its host, and the way out is named" {
    run -0 bash -c '(ulimit -f 20000 && exec "$0" run --transport local --group --substitute a,b,c -- \
        sh -c "[ \$0 = c ] || exec yes; echo x" %h 2>err) | wc -c' "$GRAPNEL"
    [ "$output" -gt 10000000 ]
    [ "$output" -lt 21000000 ]
    grep -q "^grapnel: local: its output could not be written: File too large: a,b (2)$" err
    run -255 bash -c 'ulimit -f 20000 && exec "$0" run --transport local --json a,b -- yes | python3 -c "
import json, sys
for line in sys.stdin:
    d = json.loads(line)
    print(d[\"error\"][\"hint\"], d[\"confirmed\"])"; exit "${PIPESTATUS[0]}"' "$GRAPNEL"
    [ "$(grep -c 'TMPDIR.*--outdir.*True' <<<"$output")" = 2 ]
}

@test "--diff: how others differ from most" {
    run -0 many run --diff --substitute 'w[1-5]' -- sh -c 'echo one; echo ${0#w[1-4]}; echo three' %h
    [ "$output" = '---- w[1-4] (4) ----
one

three
--- w[1-4] (4)
+++ w5 (1)
@@ -1,3 +1,3 @@
 one
-
+w5
 three' ]
    run -0 --separate-stderr many run --diff --substitute 'w[1-3]' -- sh -c 'test $0 = w3 || echo warned >&2' %h
    [ -z "$output" ]
    [ "$stderr" = '---- w[1-2] (2) ----
warned
---- w3 (1) ----
(nothing)' ]
}

@test "--json: a line of what there is to know of each host" {
    run -3 --separate-stderr many run --json a,b -- sh -c 'echo out; printf "\374" >&2; exit 3'
    [ "${#lines[@]}" = 2 ]
    json "$output" 'd["host"] in ("a", "b") and d["status"] == 3 and d["exit"] == 3 and d["failed"]'
    json "$output" 'd["stdout"] == "out\n" and d["stderr_base64"] == "/A==" and d["signal"] is None'
    json "$output" 'd["phase_us"]["exec"] > 0 and d["phase_us"]["deploy"] > 0 and d["attempts"] == 1'
    run -137 --separate-stderr many run --json a,b -- sh -c 'kill -9 $$'
    json "$output" 'd["signal"] == "KILL" and d["exit"] == 137'
    [ -z "$stderr" ]
    run -255 many run --json --substitute a,b -- echo %x
    json "$output" 'd["host"] in ("a", "b") and d["exit"] == 255 and d["failed"] and not d["begun"] and d["error"]'
    run -3 many run --json a -- sh -c 'exit 3'
    json "$output" 'd["host"] == "a" and d["exit"] == 3 and d["failed"]'
    run -0 many run --json a -- true
    json "$output" 'd["exit"] == 0 and not d["failed"]'
}

@test "--outdir: a file for each host and stream, byte for byte" {
    many run --outdir o ../up,.hid,u@a:22 -- sh -c 'printf "\033\0x"; echo e >&2'
    [ "$(cd o && ls -A | tr '\n' ' ')" = "%2e.%2fup.err %2e.%2fup.out %2ehid.err %2ehid.out u@a:22.err u@a:22.out " ]
    cmp o/u@a:22.out <(printf '\033\0x')
    [ "$(cat o/%2ehid.err)" = e ]
    # Another run begins anew, and what says nothing has files, too.
    many run --outdir o u@a:22,b -- sh -c 'echo x'
    [ "$(cat o/u@a:22.out)" = x ]
    [ -e o/b.err ]
    [ ! -s o/b.err ]
}

@test "--outdir: what cannot be written is named, counts as a failure, and stops its host" {
    run -255 many run --outdir /proc/no a,b -- touch "$T/began"
    [[ $output == *"--outdir: /proc/no: "* ]]
    [ ! -e began ]
    mkdir o
    ln -s /dev/full o/b.out
    run -255 many run --outdir o a,b -- echo x
    [[ $output == *"2 hosts: 1 done, 1 failed"* ]]
    [[ $output == *"local: its output could not be written: No space left on device: b (1)"* ]]
    [ "$(cat o/a.out)" = x ]
    # What is run for nobody is stopped, and nobody else.
    run -255 many run --outdir o --log log --substitute a,b -- \
        sh -c '[ $0 = a ] || exec sh -c "echo x; exec sleep 60"; sleep 1; echo y' %h
    [[ $output == *"its output could not be written: No space left on device: b (1)"* ]]
    [[ $output == *"stopped, and the host has confirmed it: b (1)"* ]]
    [ "$(cat o/a.out)" = y ]
    grep -q '"host":"b".*"finished":false' log
}

@test "a reader that goes away stops all hosts" {
    run -0 bash -c '"$0" run --transport local a,b,c -- yes 2>err | head -n 2; exit $((PIPESTATUS[0] != 255))' "$GRAPNEL"
    [ "${#lines[@]}" = 2 ]
    [ "$(cat err)" = "grapnel: the output could not be written: Broken pipe; all hosts were stopped" ]
}

@test "a full disk stops all hosts" {
    [ -e /dev/full ] || skip "there is no /dev/full"
    run -255 bash -c '"$0" run --transport local a,b -- yes >/dev/full' "$GRAPNEL"
    [[ $output == *"No space left on device"* ]]
}

# The hosts wait; nothing is lost.
@test "a slow reader holds the hosts up, in little memory" {
    run -0 bash -c '(ulimit -v 300000 && exec "$0" run --transport local a,b -- \
        sh -c "yes 123456789 | head -c 200000000") | { read -r first; sleep 1; cat; } | wc -l' "$GRAPNEL"
    [ "$output" = 39999999 ]
}

# ---- exit status, summary ----

@test "the exit status is the highest; the summary names who failed, by cause" {
    run -7 --separate-stderr many run --substitute 'n[1-9]' -- \
        sh -c 'case $0 in 2|3) exit 2;; 5) exit 7;; esac' %n
    [ "${stderr_lines[0]%, in*}" = "grapnel: 9 hosts: 6 done, 3 failed" ]
    grep -qx "grapnel: exit status 2: n\[2-3\] (2)" <<<"$stderr"
    grep -qx "grapnel: exit status 7: n5 (1)" <<<"$stderr"
    run -0 --separate-stderr many run a,b -- true
    [ -z "$stderr" ]
    run -2 --separate-stderr many run -q a,b -- sh -c 'echo x; exit 2'
    [ -z "$stderr" ]
    [ "${#lines[@]}" = 2 ]
    run -255 --separate-stderr timeout 40 "$GRAPNEL" run --transport 'sh -c "exit 9"' a,b -- true
    [[ $stderr == *"2 hosts: 0 done, 2 failed"*": a,b (2)"* ]]
    [ "${stderr_lines[-1]}" = "  way out: run it by hand to see why" ]
}

@test "why the broker is of no use is said once" {
    mkdir -p run/grapnel
    chmod 0777 run/grapnel
    chmod 0700 run
    XDG_RUNTIME_DIR=$T/run run -0 --separate-stderr many run 'n[1-5]' -- true
    [ "${#stderr_lines[@]}" = 1 ]
    [[ $stderr == "grapnel: n"*": connecting without the broker: not safe to use: "* ]]
}

@test "--stats: how long each phase took" {
    run -0 --separate-stderr many run --stats 'n[1-4]' -- true
    grep -qE '^grapnel: exec  +50%: [0-9.]+ ms, 90%: .*, 99%: .*, most: .* \(4 hosts\)$' <<<"$stderr"
}

@test "time limits: of each command, and of all" {
    run -124 many run --timeout 0.3 a,b -- sleep 30
    [[ $output == *"the command was stopped at its time limit: a,b (2)"* ]]
    [[ $output == *"stopped, and the host has confirmed it: a,b (2)"* ]]
    run many run --total-timeout 0.5 a,b -- sleep 30
    [ "$status" -ne 0 ]
    [[ $output == *"2 hosts: 0 done, 2 failed"* ]]
    [[ $output == *"grapnel: exec: time limit reached"*": a,b (2)"* ]]
    run timeout 40 "$GRAPNEL" run --transport 'sleep 1000 #' --total-timeout 0.2 a,b -- true
    [[ $output == *"grapnel: deploy: time limit reached"*": a,b (2)"* ]]
}

# ---- policy ----

@test "--batch and --max-fail: what has begun ends, and no other begins" {
    run -255 many run --batch 2 --max-fail 2 --substitute 'n[1-9]' -- sh -c 'echo >>"$0"; exit 1' "$T/%h"
    [ "$(cd "$T" && ls n*)" = n1$'\n'n2 ]
    [[ $output == *"2 failed, 7 not begun"* ]]
    [[ $output == *"n[3-9] (7)"* ]]
}

@test "--fanout: so many at a time" {
    many run -f 2 'n[1-8]' -- sh -c 'touch "at.$$"; ls at.* | wc -l; sleep 0.1; rm "at.$$"' >out
    [ "$(wc -l <out)" = 8 ]
    run -1 grep -v ': [12]$' out
}

@test "--first and --shuffle" {
    run -0 many run --first 3 'n[1-9]' -- echo x
    [ "$(sort <<<"$output")" = "$(printf 'n%s: x\n' 1 2 3)" ]
    # One of 40! orders.
    run -0 many ping --dry-run --shuffle 'n[1-40]'
    [ "${#lines[@]}" = 40 ]
    [ "$output" != "$(many ping --dry-run 'n[1-40]')" ]
    [ "$(sort <<<"$output")" = "$(many ping --dry-run 'n[1-40]' | sort)" ]
}

@test "--substitute: words for each host, and nothing else is touched" {
    run -0 many run 'n[1-2]' -- echo %h %s
    [[ $output == *"n1: %h %s"* ]]
    run -0 many run --substitute 'u@n[1-2]:22' -- echo '%h %n %%s' "%u-"
    [[ $output == *"u@n1:22: n1 1 %s $(id -un)-"* ]]
    run -255 many run --substitute 'n[1-2]' "touch $T/began; date +%s"
    [[ $output == *"%s is none of %h"* ]]
    [ ! -e began ]
    printf '[web]\nw1 rack=7 name="a b"\nw2 rack=8 name=c\n' >inventory
    run -0 many run --inventory inventory --substitute @ansible:web 'echo %{rack}'
    [ "$(sort <<<"$output")" = "w1: 7"$'\n'"w2: 8" ]
    run -0 many run --inventory inventory --substitute 'w[1-2]' 'echo %{rack}'
    [ "$(sort <<<"$output")" = "w1: 7"$'\n'"w2: 8" ]
    run -255 many run --inventory none --substitute w1,w2 'echo %{rack}'
    [[ $output == *none*'No such file'* ]]
    run -255 many run --inventory inventory --substitute @ansible:web "echo %{name}; touch $T/began"
    [[ $output == *"w1: a shell would read 'a b' as more than a word"* ]]
    [ ! -e began ]
    run -0 many run --inventory inventory --substitute @ansible:web -- printf '%%s|' '%{name}'
    [[ $output == *"w1: a b|"* ]]
}

@test "--failed-to and --rerun: again where it failed" {
    run -1 many run --failed-to bad --substitute 'n[1-6]' -- sh -c 'exit $(($0 %% 2))' %n
    [ "$(cat bad)" = n1$'\n'n3$'\n'n5 ]
    run -0 many run --rerun bad -- echo x
    [ "$(sort <<<"$output")" = "$(printf 'n%s: x\n' 1 3 5)" ]
    run -0 many run --rerun bad 'n[2-3]' -- echo x
    [ "$output" = "n3: x" ]
    run -0 many run --failed-to bad a,b -- true
    [ -e bad ]
    [ ! -s bad ]
    run -0 many run --rerun bad -- touch "$T/began"
    [ "$output" = "grapnel: bad names no host: there is nothing to do again" ]
    [ ! -e began ]
    printf 'n4 n5 # two\nn[6-7]\n' >bad
    run -0 many run --rerun bad -- echo x
    [ "$(sort <<<"$output")" = "$(printf 'n%s: x\n' 4 5 6 7)" ]
    printf 'n4\nn[6-\n' >bad
    run -255 many run --rerun bad -- touch "$T/began"
    [[ $output == *"bad, line 2: "* ]]
    run -255 many run --failed-to /proc/no a,b -- true
    [[ $output == *"/proc/no"* ]]
}

@test "--log and --resume: a run that was killed is finished, and no host is run twice" {
    mkfifo hold
    start run --log log -f 2 --substitute 'n[1-6]' -- \
        sh -c 'echo %h >>ran; [ %n -lt 3 ] || read -r _ <hold'
    says n3 ran
    says n4 ran
    says '"n2"' log
    says '"n1"' log
    kill -9 "$job"
    wait "$job" 2>/dev/null || true
    printf '{"host":"n2","fin' >>log # it may be killed at any time
    run -0 many run --resume log --substitute 'n[1-6]' -- echo %h
    [ "$(sort <<<"$output" | grep '^n')" = "$(printf 'n%s: n%s\n' 3 3 4 4 5 5 6 6)" ]
    [[ $output == *"2 hosts are finished already"* ]]
    run -0 many run --resume log 'n[1-6]' -- echo again
    [ "$output" = "grapnel: 6 hosts are finished already" ]
    [ "$(grep -c '"finished":true}$' log)" = 6 ]
    run -255 many run --resume log --log other 'n[1-6]' -- touch "$T/began"
    [[ $output == *"--resume goes on writing to its own file: leave out --log"* ]]
    [ ! -e began ] && [ ! -e other ]
    run -255 many run --resume none a,b -- true
    [[ $output == *"none: No such file"* ]]
    [ ! -e none ]
}

@test "a log that cannot be written stops all; one run at a time is resumed" {
    mkfifo hold
    run -255 many run --log /dev/full -f 2 --substitute 'n[1-9]' -- sh -c 'echo >>ran; [ %n = 1 ] || exec sleep 1000'
    [[ $output == *"/dev/full: No space left on device: all hosts are stopped"* ]]
    [ "$(grep -c 'No space' <<<"$output")" = 1 ]
    [ "$(wc -l <ran)" -lt 9 ]
    start run --log log a,b -- sh -c 'echo up; read -r _ <hold'
    says up "$T/out"
    run -255 many run --resume log a,b -- touch "$T/began"
    [[ $output == *"log: another run is at work with it"* ]]
    [ ! -e began ]
    kill -TERM "$job"
    wait "$job" || [ $? = 143 ]
}

@test "--dry-run: where it would go; nothing is begun" {
    run -0 "$GRAPNEL" run --dry-run -F none 'u@w[1-2]:2222' -- touch "$T/began"
    [[ ${lines[0]} == "u@w1:2222: ssh2 u@w1, port 2222"*"agent "*" KiB)" ]]
    [ "${#lines[@]}" = 2 ]
    run -0 --separate-stderr "$GRAPNEL" run --dry-run --json -F none -J gate 'w[1-2]' -- true
    json "$output" 'd["route"]["jump"] == "gate" and d["route"]["agent_bytes"] > 1000'
    run -0 --separate-stderr "$GRAPNEL" run --dry-run -F none 'u@w1,u@W1:22,u@w1:23' -- true
    [ "${lines[1]}" = 'u@W1:22: the same as u@w1' ]
    [[ ${lines[2]} == 'u@w1:23: ssh2 u@w1, port 23'* ]]
    run -0 --separate-stderr "$GRAPNEL" run --dry-run --aliases -F none 'u@w1,u@W1:22' -- true
    [[ ${lines[1]} == 'u@W1:22: ssh2 u@'* ]]
    run -0 --separate-stderr "$GRAPNEL" run --dry-run --sudo --substitute -F none 'u@w[1-2]' -- mv %u/x %h.%n
    [[ ${lines[1]} == 'u@w2: ssh2 u@w2'*' KiB), as root: mv u/x w2.2' ]]
    run -0 --separate-stderr "$GRAPNEL" run --dry-run --json --sudo=bob --substitute -F none 'u@w[1-2]' -- mv 'a b' %h
    json "$output" 'd["sudo"] == "bob" and d["words"] == ["mv", "a b", d["host"][2:]]'
    # What the run would refuse, it does.
    printf 'w1 row=1\n' >inv
    run -255 --separate-stderr "$GRAPNEL" run --dry-run --substitute -F none --inventory inv 'w[1-2]' -- echo '%{rack}'
    [[ $stderr == *"w1: the inventory has no rack for it"* ]]
    [ -z "$output" ]
}

@test "bad input is told before anything is begun" {
    for words in '@none' '-x a,b a,b' '-H none' '-H /dev/null' '--rerun none'; do
        # shellcheck disable=SC2086
        run -255 many run $words -- touch "$T/began"
        [[ $output == "grapnel: "* ]]
        [ "${#lines[@]}" = 1 ]
        [ ! -e began ]
    done
    run -255 many run 'w[1-2' -- touch "$T/began"
    [[ $output == *"the [ is never closed"* ]]
    run -255 many run --rerun none -- touch "$T/began"
    [[ $output == "grapnel: --rerun: none: No such file"* ]]
    for words in '--batch 0' '--batch 101%' '--max-fail x' '--fanout 0' '--retry -1' '--color blue' '--group --diff' '--label --no-label'; do
        # shellcheck disable=SC2086
        run -255 many run $words a,b -- touch "$T/began"
        [[ $output == "grapnel: run: "* ]]
        [ ! -e began ]
    done
}

# ---- targets, input, other verbs ----

@test "targets of files, and standard input for all" {
    printf 'n[1-3]\n# no more\n' >hosts
    run -0 bash -c 'printf "x\ny" | "$0" run --transport local -H hosts -x n2 -- cat' "$GRAPNEL"
    [ "$(sort <<<"$output")" = "$(printf 'n%s: %s\n' 1 x 1 y 3 x 3 y)" ]
    run -0 bash -c '"$0" run --transport local -H - -- cat <hosts' "$GRAPNEL"
    [ -z "$output" ]
    run -255 many run -H hosts true
    [[ $output == *"command is missing after true"* ]]
}

@test "facts, ping, call and eval of many hosts" {
    run -0 many facts a,b
    [ "$(grep -c '^[ab]: hostname ' <<<"$output")" = 2 ]
    # Compared without what is never the same.
    run -0 many facts --group a,b
    [ "${lines[0]}" = "---- a,b (2) ----" ]
    [ "$(grep -c '^system ' <<<"$output")" = 1 ]
    run -0 many facts --json a b
    json "$output" 'd["facts"]["system"] == "Linux" and d["host"] in ("a", "b")'
    run -0 many ping a,b
    [ "$(grep -cE '^[ab]: [0-9.]+ ms$' <<<"$output")" = 2 ]
    run -0 many call --group a,b sys.uname
    [ "${lines[0]}" = "---- a,b (2) ----" ]
    json "${lines[1]}" 'd["sysname"] == "Linux"'
    run -0 --separate-stderr many eval --json a,b '1, nil, {x = "y"}'
    json "$output" 'd["results"] == [1, None, {"x": "y"}]'
    run -0 many eval --group a,b '1, nil, {x = "y"}'
    [ "$output" = $'---- a,b (2) ----\n1\nnull\n{"x":"y"}' ]
    run -0 many eval --json a,b '(function() end)()'
    json "$output" 'd["results"] == []'
    run -0 --separate-stderr many eval a,b 'print("hi") or 5'
    [ "$(sort <<<"$output")" = "a: 5"$'\n'"b: 5" ]
    [ "$(sort <<<"$stderr")" = "a: hi"$'\n'"b: hi" ]
    run -1 many eval a,b 'error("no")'
    [[ $output == *"2 failed"*"remote code: "*"no"* ]]
    # Zero bytes are as others, also in keys.
    run -0 many eval a,b '"a\0b", {["k\0"] = 1}'
    [ "$(sort <<<"$output")" = 'a: "a\u0000b"
a: {"k\u0000":1}
b: "a\u0000b"
b: {"k\u0000":1}' ]
    run -0 many eval --json a,b '"a\0b"'
    json "$output" 'd["results"] == ["a\0b"]'
    run -0 many eval --json a,b '{["k\0"] = 1}'
    json "$output" "d['results'] == r'[{\"k\\u0000\":1}]'"
    printf '%s\n' 'channel:send("a\0b") channel:send({["k\0"]=1})' >zero.lua
    run -0 many script -n a,b zero.lua
    [ "$(sort <<<"$output" | head -n 2)" = 'a: "a\u0000b"
a: {"k\u0000":1}' ]
}

# ---- scripts ----

@test "script: a file of here on each host: arguments, input, values, what it prints" {
    cat >a.lua <<'LUA'
print("args", ..., #arg, arg[0])
channel:send {list = {1, 2}, b = 1, a = "\xff"}
io.write("x", 2, "\n")
io.stderr:write("err\n")
channel:send(nil)
for line in channel do
    channel:send(line:upper())
end
os.execute("echo child")
print(pcall(channel.receive, channel))
LUA
    run -0 --separate-stderr many script a,b a.lua A 'B C' < <(printf 'one\n\ntwo')
    for host in a b; do
        [ "$(grep "^$host: " <<<"$output" | cut -c 4-)" = $'args\tA\t2\ta.lua
{"a":{"base64":"/w=="},"b":1,"list":[1,2]}\nx2\nnull\n"ONE"\n""\n"TWO"\nfalse\tEOF: the channel has ended' ]
        [ "$(grep "^$host: " <<<"$stderr")" = "$host: err"$'\n'"$host: child" ]
    done
    run -0 many script -n --group a,b a.lua < <(echo LUA)
    [ "${lines[0]}" = "---- a,b (2) ----" ]
    [[ $output != *LUA* ]]
    run -0 --separate-stderr many script --json a,b - <<<'print("x") io.stderr:write("y")'
    json "$output" 'd["stdout"] == "x\n" and d["stderr"] == "y" and d["exit"] == 0 and not d["failed"]'
    run -0 many script --json one - <<<'print(1)'
    json "$output" 'd["host"] == "one" and d["stdout"] == "1\n"'
    many script --outdir o a,b - <<<'io.write("x\0")'
    cmp o/b.out <(printf 'x\0')
}

@test "script: how it ends" {
    run -3 --separate-stderr many script --log log a,b - <<<'print("x") channel:send(1) os.exit(3)'
    [ "$(sort <<<"$output")" = $'a: 1\na: x\nb: 1\nb: x' ]
    [ "${stderr_lines[1]}" = "grapnel: exit status 3: a,b (2)" ]
    run -0 many script --resume log a,b - <<<'print("again")'
    [ "$output" = "grapnel: 2 hosts are finished already" ]
    run -1 --separate-stderr many script a,b - <<<'print("x") error("boom")'
    [ "${stderr_lines[1]}" = "grapnel: remote code: the remote code failed: stdin:1: boom: a,b (2)" ]
    run -1 --separate-stderr many script --json a,b - <<<'error("boom")'
    json "$output" 'd["error"]["detail"] == "stdin:1: boom" and "stdin:1: in main chunk" in d["error"]["traceback"]'
    run -124 --separate-stderr many script --timeout 0.5 a,b - <<<'print("x") while true do end'
    [ "${#lines[@]}" = 2 ]
    [ "${stderr_lines[1]}" = "grapnel: remote code: the script was stopped at its time limit: a,b (2)" ]
    run -124 --separate-stderr many call --timeout 0.5 a,b time.sleep 9
    [ "${stderr_lines[1]}" = "grapnel: remote code: the code was stopped at its time limit: a,b (2)" ]
    run -124 --separate-stderr many eval --json --timeout 0.5 a,b 'require("time").sleep(9)'
    json "$output" '(d["exit"], d["error"]["name"], d["error"]["hint"]) == (124, "TIMEOUT", "raise --timeout")'
    run -134 --separate-stderr many script a,b - <<<'os.execute("kill -ABRT $PPID") require("time").sleep(9)'
    [ "${stderr_lines[1]}" = "grapnel: ended by signal 6: a,b (2)" ]
    run -152 --separate-stderr many script --cpu 1 a,b - <<<'while true do end'
    [[ ${stderr_lines[1]} == *"the instance's CPU limit was reached"* ]]
    run -1 --separate-stderr "$GRAPNEL" script --transport false a,b - <<<'x = = 2'
    [ "$stderr" = "grapnel: script: stdin:1: unexpected symbol near '='" ]
    run -0 many script --dry-run a,b - <<<'os.exit(1)'
    [ "${#lines[@]}" = 2 ]
}

@test "script: who is not read waits, and input comes as it is read" {
    # In little memory at both ends; the second line comes when the first was answered.
    run -0 bash -c '(ulimit -v 600000 && exec "$0" script --transport local a,b -) | { read -r _; sleep 1; wc -c; }' \
        "$GRAPNEL" <<<'local x = ("x"):rep(9999) for i = 1, 4000 do print(x) end'
    [ "$output" = $((2 * 4000 * 10003 - 10003)) ]
    cat >echo.lua <<<'for line in channel do print(line) end'
    mkfifo in
    env --default-signal "$GRAPNEL" script --transport local a,b echo.lua <in >out 2>err 3>&- &
    exec 7>in
    echo one >&7
    says 'a: one' out
    says 'b: one' out
    echo two >&7
    says 'a: two' out
    exec 7>&-
    wait $!
    # What is not asked for is not waited for.
    run -0 bash -c 'yes | "$0" script --transport local a,b <(echo "print(channel:receive())")' "$GRAPNEL"
    [ "$(sort <<<"$output")" = $'a: y\nb: y' ]
}

@test "script: Ctrl-C twice, and a reader who leaves, stop it" {
    cat >sleep.lua <<<'print("on") require("time").sleep(60)'
    start script a,b sleep.lua
    says 'a: on' out
    says 'b: on' out
    kill -INT "$job"
    says 'still at work: a,b (2)' err
    kill -INT "$job"
    status=0
    wait "$job" || status=$?
    [ "$status" = 130 ]
    grep -q 'the host has confirmed it: a,b (2)' err
    run -0 bash -c '"$0" script -n --transport local a,b <(echo "while true do print(1) end") | head -n 2' "$GRAPNEL"
    [[ $output == *"all hosts were stopped"* ]]
}

# ---- terminals and signals ----

@test "what Ctrl-C says is shown although nobody reads the output" {
    mkfifo pipe
    exec 5<>pipe
    env --default-signal "$GRAPNEL" run --transport local 'n[1-2]' -- seq 1 1000000 \
        </dev/null >pipe 2>err 3>&- 5>&- &
    job=$!
    # The pipe is full.
    for ((tries = 0; tries < 1000; tries++)); do
        ! python3 -c 'import select; raise SystemExit(bool(select.select([], [5], [], 0)[1]))' || break
    done
    kill -INT "$job"
    says 'still at work: n\[1-2\] (2); Ctrl-C again stops them' err
    kill -INT "$job"
    says 'stopping; once more leaves at once' err
    kill -INT "$job"
    wait "$job" || [ $? = 130 ]
    exec 5>&-
}

@test "on a terminal there is a bar, and Ctrl-C shows, stops, leaves" {
    run -130 on_terminal "$GRAPNEL" run --transport local 'n[1-3]' -- sleep 30 <<'STEPS'
expect ] 0/3, 3 running, 0 failed
send \x03
expect still at work: n[1-3] (3); Ctrl-C
send \x03
expect stopping
expect 3 hosts: 0 done, 3 failed
expect stopped, and the host has confirmed it: n[1-3] (3)
STEPS
    run -130 on_terminal "$GRAPNEL" run --transport local -f 2 'n[1-5]' -- sleep 30 <<'STEPS'
expect 2 running
send \x03
expect still at work: n[1-2] (2), 3 not begun; Ctrl-C
send \x03
expect 5 hosts: 0 done, 2 failed, 3 not begun
STEPS
    run -130 on_terminal "$GRAPNEL" run --transport local a,b -- sh -c 'trap "" TERM; echo on; sleep 30; sleep 30' <<'STEPS'
expect on
expect on
send \x03
expect still at work
send \x03
expect stopping
send \x03
expect left on a signal
STEPS
}

@test "lines do not tear the bar, which goes at the end" {
    run -0 on_terminal "$GRAPNEL" run --transport local --color never a,b -- sh -c 'sleep 1; echo x' <<<'expect 0/2'
    grep -qE '\] 0/2, 2 running, 0 failed +a: x$|\] 0/2, 2 running, 0 failed +b: x$' <<<"$output"
    [[ ${lines[-1]} == *"grapnel: 2 hosts: 2 done, 0 failed, in "* ]]
}

@test "TERM stops the hosts" {
    start run a,b -- sh -c 'echo on; exec sleep 30'
    says 'a: on' out
    says 'b: on' out
    kill "$job"
    status=0
    wait "$job" || status=$?
    [ "$status" = 143 ]
    grep -q "has confirmed it: a,b (2)" err
}

@test "--confirm asks on the terminal" {
    run -0 on_terminal "$GRAPNEL" run --transport local --confirm a,b -- echo over <<'STEPS'
expect on 2 hosts: a,b
expect [y/N]
send y\n
expect over
STEPS
    run -255 on_terminal "$GRAPNEL" run --transport local --confirm a,b -- touch "$T/began" <<'STEPS'
expect [y/N]
send \n
expect nothing was begun
STEPS
    [ ! -e began ]
    run -255 setsid -w "$GRAPNEL" run --transport local --confirm a,b -- touch "$T/began"
    [[ $output == *"needs a terminal"* ]]
    [ ! -e began ]
}

@test "names are colored on a terminal, and where it is asked for" {
    run -0 many run --color always a,b -- echo x
    [[ $output == *$'\e[36ma:\e[0m x'* ]]
    run -0 many run a,b -- echo x
    [[ $output != *$'\e'* ]]
}
