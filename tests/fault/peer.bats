#!/usr/bin/env bats
# Hosts that answer wrongly: whatever they send, the launcher says what it was and leaves with 255.
# And agents that are not those of the build.
# shellcheck disable=SC1010,SC2016,SC2030,SC2031,SC2094,SC2143,SC2154

load ../lib

setup() {
    lib_setup
}

teardown() {
    lib_teardown
}

# from MODE OPTION...: `true` on a host that tests/tools/fakeagent plays.
from() {
    run --separate-stderr "$GRAPNEL" run --transport "'$TOOLS/fakeagent' $1" "${@:2}" h -- true
}

# ---- before the agent ----

@test "a shell that only talks" {
    from babble
    fails 'h: shell: the login shell did not run the start command' 'no shell here'
}

@test "a shell that repeats what it is told" {
    run --separate-stderr "$GRAPNEL" run --transport cat --connect-timeout 1s h -- true
    fails 'h: shell: the login shell did not start in time'
}

@test "a status line of another start" {
    from other-nonce --connect-timeout 1s
    fails 'h: shell: the login shell did not start in time'
}

@test "a status line without end" {
    from endless-status
    fails 'h: shell: the login shell did not run the start command' 'endless status line'
}

@test "a system that nobody knows, with escape codes in its name" {
    from other-system
    # shellcheck disable=SC1003
    fails 'h: architecture: there is no agent for this architecture' 'Plan9 \x1b[31msparc'
}

@test "a host that is full however often it is tried" {
    from always-full
    fails 'h: deploy: the agent did not start' 'gave up after'
}

@test "a failure that nobody knows, with escape codes" {
    from unknown-failure
    fails 'h: deploy: the agent did not start'
}

@test "the agent is killed at its start: what was said is told" {
    from no-agent
    fails 'h: deploy: the agent did not start' 'exit status 3' 'Killed'
}

@test "the agent does not answer" {
    from mute --connect-timeout 1s
    fails 'h: deploy: the agent did not start' 'no sign of it'
}

# ---- another protocol ----

@test "another protocol" {
    from http
    fails 'h: protocol: the peer broke the protocol' 'HTTP/1.1 400'
}

@test "random bytes" {
    from garbage
    fails 'h: protocol: the peer broke the protocol'
}

@test "zero bytes without end" {
    from zeros
    fails 'h: protocol: the peer broke the protocol'
}

@test "another major version: both are named" {
    from other-major
    fails 'h: protocol: the peer speaks another version of the protocol' 'version 2' 'version 1' 'use the same version'
}

@test "it ends within the preface" {
    from half-preface
    fails 'h: deploy: the agent did not start'
}

@test "it ends within HELLO" {
    from half-hello
    fails 'h: deploy: the agent did not start'
}

@test "another frame before HELLO" {
    from not-hello
    fails 'h: protocol: the peer broke the protocol' 'before HELLO'
}

@test "a text of 4 GiB within HELLO" {
    from hello-huge-text
    fails 'h: protocol: malformed value'
}

@test "an array of 2^64 - 1 items within HELLO" {
    from hello-huge-array
    fails 'h: protocol: '
}

@test "arrays within arrays within arrays" {
    from hello-deep
    fails 'h: protocol: '
}

@test "a HELLO without end" {
    from hello-endless
    fails 'h: protocol: '
}

@test "two HELLOs" {
    from hello-twice
    fails 'h: protocol: the peer broke the protocol' 'second HELLO'
}

# ---- after a good start ----

@test "a frame of a type that there is not" {
    from unknown-type
    fails 'h: protocol: the peer broke the protocol'
}

@test "data of a stream that there is not" {
    from unknown-stream
    fails 'h: protocol: the peer broke the protocol'
}

@test "a frame that is cut off" {
    from half-frame
    fails 'h: protocol: the line to the host was lost'
}

@test "a call without end" {
    from long-call
    fails 'h: protocol: a value is larger than its limit'
}

# The pipe to it holds a mebibyte, and this is more, with the agent.
@test "a host that greets before it has read: what was sent early is sent to its end" {
    local word
    word=$(printf "%0104000d" 0)
    run --separate-stderr "$GRAPNEL" run --transport "'$TOOLS/fakeagent' early-bird" h -- \
        true "$word" "$word" "$word" "$word" "$word" "$word" "$word" "$word" "$word" "$word"
    echo "$status $stderr"
    [ "$status" -eq 7 ]
}

@test "credit of 12 GiB does no harm" {
    from big-credit
    echo "$status $stderr"
    [ "$status" -eq 7 ]
}

@test "more data than was allowed" {
    from overrun
    fails 'h: protocol: the peer broke the protocol'
}

@test "compressed data that was not agreed on" {
    from deflated
    fails 'h: protocol: the peer broke the protocol'
}

@test "it stops answering: told after the lease" {
    SECONDS=0
    from silent --lease 1s
    fails 'h: protocol: the host stopped answering'
    [ "$SECONDS" -le 5 ]
}

@test "it hangs up in the middle of a command" {
    from hung-up
    fails 'h: protocol: the line to the host was lost'
}

@test "it says goodbye with escape codes" {
    from rude-goodbye
    fails 'h: ' '\x1b[31mred'
}

@test "a result that makes no sense is no success" {
    from rude-close
    echo "$status $stderr"
    [ "$status" -ne 0 ]
    [ "$status" -ne 124 ]
    ! has_controls "$stderr" || false
}

@test "a host that calls the launcher gets no answer but a refusal" {
    from calls-us
    fails 'h: protocol: the line to the host was lost' 'goodbye before all was done'
}

# Memory is bounded whatever a host sends.
@test "endless parts and endless data take little memory" {
    local mode
    for mode in overrun long-call hello-endless zeros babble garbage; do
        rm -f "$T/usage"
        run /usr/bin/env python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL, timeout=20)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' \
            "$GRAPNEL" run --transport "'$TOOLS/fakeagent' $mode" h -- true
        echo "$mode: $output KiB"
        [ "$output" -gt 0 ]
        [ "$output" -lt 65536 ] || [[ ${GRAPNEL_VARIANT:-} == asan ]]
    done
}

# ---- agents that are not those of the build ----

copy_agents() {
    mkdir "$T/agents"
    cp "$BUILD"/agents/*.gz "$T/agents/"
    agent=$(echo "$T"/agents/*.gz)
}

local_run() {
    GRAPNEL_AGENTS=$T/agents run --separate-stderr "$GRAPNEL" run --transport local h -- echo ran
}

@test "the launcher's own copy of the agent is the one of the build" {
    copy_agents
    local_run
    [ "$output" = ran ]
}

@test "one bit of the agent has changed: refused" {
    copy_agents
    printf '\377' | dd of="$agent" bs=1 seek=5000 conv=notrunc status=none
    ! cmp -s "$agent" "$BUILD/agents/${agent##*/}" || false
    local_run
    fails 'h: deploy: the agent binary is not the one that was built' "$agent" 'rebuild or reinstall'
}

@test "the agent is cut short: refused" {
    copy_agents
    truncate -s -1 "$agent"
    local_run
    fails 'h: deploy: the agent binary is not the one that was built' "$agent"
}

@test "the agent is longer: refused" {
    copy_agents
    echo >>"$agent"
    local_run
    fails 'h: deploy: the agent binary is not the one that was built' "$agent"
}

@test "the agent is not there" {
    mkdir "$T/agents"
    local_run
    fails 'h: deploy: the agent binary is not there' "$T/agents"
}
