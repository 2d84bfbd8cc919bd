#!/usr/bin/env bash
# shellcheck disable=SC2317 # the functions are called by name
# Measures grapnel beside ssh and beside bare libssh2: side by side, by turns, in one run, on one
# throwaway sshd, for an account whose shell reads no start-up files.
#
#   bench.sh [NAME...]      cold far bulk bulkfar echo agent links stuck calls tables channel
#                           first worker cached broker hosts fleet; default: all
#
# Prints a table and writes build/bench.json. What does not reach the value asked for is marked, and
# is no failure; the exit status is 1 only when something could not be measured.
# BENCH_RUNS (40), BENCH_FAR_RUNS (15), BENCH_MIB (2048), BENCH_FAR_MIB (256), BENCH_BULK_RUNS (3),
# BENCH_ROUNDS (5000), BENCH_LINKS (60), BENCH_CALLS (200000), BENCH_CHANNEL_MIB (256),
# BENCH_FIRST_RUNS (10), BENCH_HELD (200), BENCH_SETTLE (45), BENCH_IDLE (60), BENCH_NAMES (1000000)
# change how much is done; so does what tests/bench/fleet.bash names.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-$PWD/build}
GRAPNEL=${GRAPNEL:-$BUILD/grapnel}
AGENT=${GRAPNEL_AGENT:-$(find "$BUILD/agents" -name "linux-$(uname -m)")}
export GRAPNEL_AGENTS=${GRAPNEL_AGENTS:-$BUILD/agents}
BIN=${BENCH_BIN:-$BUILD/tests/bench}
TOOLS=${BENCH_TOOLS:-$BUILD/tests/tools}
OUT=${BENCH_JSON:-$BUILD/bench.json}

# Root gets a mount namespace of its own, in which the account has an empty home and /bin/sh: the
# machine itself is not changed. Others are measured with what their shell does at its start.  And a
# network of its own, of nothing but a loopback, on all of which sshd may listen.
# shellcheck disable=SC2016 # the words are for the inner shell
if [ "$(id -u)" = 0 ] && [ -z "${BENCH_INSIDE:-}" ]; then
    if unshare -m -n --propagation private ip link set lo up 2>/dev/null; then
        BENCH_INSIDE=1 SSHD_LISTEN=0.0.0.0 exec unshare -m -n --propagation private \
            sh -c 'ip link set lo up && exec "$0" "$@"' "$0" "$@"
    elif unshare -m --propagation private true 2>/dev/null; then
        BENCH_INSIDE=1 exec unshare -m --propagation private "$0" "$@"
    fi
fi

# shellcheck source=tests/sshd/fixture.bash
. tests/sshd/fixture.bash
# shellcheck source=tests/bench/fleet.bash
. tests/bench/fleet.bash

work=
proxy=
fleet=
finish() {
    broker_stop
    [ -z "$proxy" ] || kill "$proxy" 2>/dev/null || true
    [ -z "$fleet" ] || kill "$fleet" 2>/dev/null || true
    sshd_stop
    if [ -n "$work" ]; then
        [ -z "${BENCH_INSIDE:-}" ] || umount /etc/passwd 2>/dev/null || true
        rm -rf "$work"
    fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

work=$(mktemp -d "${TMPDIR:-/tmp}/grapnel-bench.XXXXXX")
rows=$work/rows
: >"$rows"
unmeasured=0

account() {
    [ -n "${BENCH_INSIDE:-}" ] || {
        echo "bench: not root: the account's own shell start-up is measured along" >&2
        return 0
    }
    mkdir "$work/home"
    awk -F: -v OFS=: -v uid="$(id -u)" -v home="$work/home" \
        '$3 == uid { $6 = home; $7 = "/bin/sh" } 1' /etc/passwd >"$work/passwd"
    chmod 644 "$work/passwd"
    chmod 755 "$work"
    mount --bind "$work/passwd" /etc/passwd
    export HOME=$work/home
}

# ---- results -----------------------------------------------------------------------------------

# row KEY WHAT OURS THEIRS UNIT RELATION ASKED: RELATION is max or min; ASKED is for the ratio, or,
# when THEIRS is "-", for the value itself. ASKED "-": for information.
row() {
    local IFS=$'\t'
    printf '%s\n' "$*" >>"$rows"
}

# Judges each row: adds ratio and verdict.
judged() {
    awk -F'\t' -v OFS='\t' '{
        ratio = $4 == "-" ? "-" : ($4 > 0 ? sprintf("%.3f", $3 / $4) : "-")
        value = $4 == "-" ? $3 : ratio
        verdict = "-"
        if ($3 == "-") verdict = "failed"
        else if ($7 != "-") {
            good = $6 == "max" ? value + 0 <= $7 + 0 : value + 0 >= $7 + 0
            verdict = good ? "ok" : ($6 == "max" ? "over" : "under")
        }
        print $0, ratio, verdict
    }' "$rows"
}

table() {
    {
        printf 'WHAT\tOURS\tTHEIRS\tRATIO\tASKED\t\n'
        judged | awk -F'\t' -v OFS='\t' '{
            asked = $7 == "-" ? "" : ($6 == "max" ? "<= " : ">= ") $7
            print $2, $3 " " $5, ($4 == "-" ? "" : $4 " " $5), ($8 == "-" ? "" : $8), asked, \
                ($9 == "-" ? "" : $9)
        }'
    } | awk -F'\t' '
        { for (i = 1; i <= NF; i++) {
            cell[NR, i] = $i
            if (length($i) > width[i]) width[i] = length($i)
        } }
        END { for (n = 1; n <= NR; n++) {
            line = sprintf("%-" width[1] "s", cell[n, 1])
            for (i = 2; i <= 5; i++) line = line sprintf("  %" width[i] "s", cell[n, i])
            print line "  " cell[n, 6]
        } }'
}

json() {
    {
        printf '{"cores":%s,"kernel":"%s","ssh":"%s","load":"%s","lines":[' "$(nproc)" \
            "$(uname -r)" "$(ssh -V 2>&1 | cut -d, -f1)" "$(cut -d' ' -f1-3 /proc/loadavg)"
        judged | awk -F'\t' '
            function number(x) { return x == "-" ? "null" : x }
            {
                sub(/^ +/, "", $2)
                printf "%s\n{\"key\":\"%s\",\"what\":\"%s\",\"ours\":%s,\"theirs\":%s,", \
                    (NR > 1 ? "," : ""), $1, $2, number($3), number($4)
                printf "\"unit\":\"%s\",\"ratio\":%s,\"asked\":%s,\"relation\":\"%s\",", \
                    $5, number($8), number($7), $6
                printf "\"verdict\":\"%s\"}", $9
            }'
        printf '\n]}\n'
    } >"$OUT"
}

# measure NAME FUNCTION: runs it; says so when it fails.
measure() {
    printf 'bench: %s …\n' "$1" >&2
    if ! "$2"; then
        unmeasured=1
        row "$1" "$1: could not be measured" - - '' max -
    fi
}

field() { # field FILE LINE FIELD
    awk -v line="$2" -v field="$3" 'NR == line { print $field }' "$1"
}

mib() { # bytes as MiB
    awk -v n="$1" 'BEGIN { printf "%.2f", n / 1048576 }'
}

kib() {
    awk -v n="$1" 'BEGIN { printf "%.1f", n / 1024 }'
}

milliseconds() {
    awk -v n="$1" 'BEGIN { printf "%.2f", n / 1000 }'
}

# ---- the line with 100 ms ----------------------------------------------------------------------

# Starts the proxy; FAR_CONFIG then leads through it.
far_start() {
    [ -z "$proxy" ] || return 0
    "$BIN/delayproxy" 0 "$SSHD_PORT" 100 >"$work/proxy" &
    proxy=$!
    until [ -s "$work/proxy" ]; do
        kill -0 "$proxy" || return 1
        _sshd_tick
    done
    read -r FAR_PORT <"$work/proxy"
    awk -v host="[127.0.0.1]:$FAR_PORT" '{ $1 = host; print }' "$SSHD_KNOWN" >"$work/known"
    cat "$work/known" >>"$SSHD_KNOWN"
    FAR_CONFIG=$work/far_config
    sed "s/Port $SSHD_PORT/Port $FAR_PORT/" "$SSHD_CONFIG" >"$FAR_CONFIG"
}

# Waits until no connection goes through the proxy any more.
far_quiet() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        [ "$(grep -c open "$work/proxy")" != "$(grep -c trips "$work/proxy")" ] || return 0
        _sshd_tick
    done
    return 1
}

# Runs a command through the proxy and prints the round trips of its connection.
round_trips() {
    far_quiet || return 1
    "$@" </dev/null >/dev/null || return 1
    far_quiet || return 1
    tail -n 1 "$work/proxy" | awk '{ print $3 }'
}

# ---- what is measured --------------------------------------------------------------------------

cold() {
    "$BIN/race" -n "${BENCH_RUNS:-40}" -w 2 "$GRAPNEL" run -F "$SSHD_CONFIG" t -- true \
        ::: ssh -F "$SSHD_CONFIG" t true \
        ::: ssh -F "$SSHD_CONFIG" -o KexAlgorithms=curve25519-sha256 t true >"$work/cold" || return 1
    row cold 'cold run of true, whole process' "$(field "$work/cold" 1 1)" \
        "$(field "$work/cold" 2 1)" ms max 0.35
    row cold-min '  the fastest of each' "$(field "$work/cold" 1 2)" \
        "$(field "$work/cold" 2 2)" ms max -
    row cold-curve25519 '  against ssh with curve25519' "$(field "$work/cold" 1 1)" \
        "$(field "$work/cold" 3 1)" ms max -
    row cold-cpu '  CPU time of the client' "$(field "$work/cold" 1 4)" \
        "$(field "$work/cold" 2 4)" ms max -
}

far() {
    local ours theirs
    far_start || return 1
    "$BIN/race" -n "${BENCH_FAR_RUNS:-15}" "$GRAPNEL" run -F "$FAR_CONFIG" t -- true \
        ::: ssh -F "$FAR_CONFIG" t true >"$work/far" || return 1
    row far 'the same at 100 ms round trip' "$(field "$work/far" 1 1)" \
        "$(field "$work/far" 2 1)" ms max 0.7
    ours=$(round_trips "$GRAPNEL" run -F "$FAR_CONFIG" t -- true) || return 1
    theirs=$(round_trips ssh -F "$FAR_CONFIG" t true) || return 1
    row far-trips '  round trips, with TCP' "$ours" "$theirs" '' max -
}

# The words of `cat FILE FILE …`, BENCH_MIB in all: bytes that no compression makes smaller.
source_words() {
    local mib=$1 i
    [ -e "$work/random" ] || head -c 64M /dev/urandom >"$work/random"
    words=(cat)
    for ((i = 0; i < mib / 64; i++)); do
        words+=("$work/random")
    done
}

# rates FILE MIB: what the lines of race say, as MB/s of the whole process, one a line
rates() {
    awk -v mib="$2" '{ printf "%.1f\n", mib * 1048.576 / $1 }' "$1"
}

bulk() {
    local mib=${BENCH_MIB:-2048} runs=${BENCH_BULK_RUNS:-3} chacha=chacha20-poly1305@openssh.com
    local words
    source_words "$mib"
    "$BIN/race" -n "$runs" -w 0 "$GRAPNEL" run -F "$SSHD_CONFIG" t -- "${words[@]}" \
        ::: ssh -F "$SSHD_CONFIG" t "${words[*]}" \
        ::: "$BIN/bare_bulk" down "$chacha" "${words[*]}" >"$work/down" || return 1
    rates "$work/down" "$mib" >"$work/down.rate"
    row stdout "$mib MiB of stdout" "$(field "$work/down.rate" 1 1)" \
        "$(field "$work/down.rate" 2 1)" MB/s min 0.9
    row stdout-libssh2 '  against libssh2 alone' "$(field "$work/down.rate" 1 1)" \
        "$(field "$work/down.rate" 3 1)" MB/s min -
    row stdout-cpu '  CPU time of the client' "$(field "$work/down" 1 4)" \
        "$(field "$work/down" 2 4)" ms max -
    "$BIN/race" -n "$runs" -w 0 -i "$work/random" -r $((mib / 64)) \
        "$GRAPNEL" run -F "$SSHD_CONFIG" t -- 'cat >/dev/null' \
        ::: ssh -F "$SSHD_CONFIG" t 'cat >/dev/null' \
        ::: "$BIN/bare_bulk" up "$chacha" 'cat >/dev/null' >"$work/up" || return 1
    rates "$work/up" "$mib" >"$work/up.rate"
    row stdin "$mib MiB of stdin" "$(field "$work/up.rate" 1 1)" \
        "$(field "$work/up.rate" 2 1)" MB/s min 0.9
    row stdin-libssh2 '  against libssh2 alone' "$(field "$work/up.rate" 1 1)" \
        "$(field "$work/up.rate" 3 1)" MB/s min -
    row stdin-cpu '  CPU time of the client' "$(field "$work/up" 1 4)" \
        "$(field "$work/up" 2 4)" ms max -
}

bulkfar() {
    local mib=${BENCH_FAR_MIB:-256} words
    far_start || return 1
    source_words "$mib"
    "$BIN/race" -n 1 -w 0 -p "$GRAPNEL" run -F "$FAR_CONFIG" t -- "${words[@]}" \
        ::: ssh -F "$FAR_CONFIG" t "${words[*]}" \
        ::: env SSHD_PORT="$FAR_PORT" "$BIN/bare_bulk" down chacha20-poly1305@openssh.com \
        "${words[*]}" >"$work/downfar" || return 1
    row stdout-far "$mib MiB of stdout at 100 ms, steady" "$(field "$work/downfar" 1 6)" \
        "$(field "$work/downfar" 2 6)" MB/s min 2
    row stdout-far-libssh2 '  against libssh2 alone, 64 MiB window' \
        "$(field "$work/downfar" 1 6)" "$(field "$work/downfar" 3 6)" MB/s min -
}

# Where the scheduler puts the processes decides more than anything else here, so they are put: the
# client on one core, the server and its commands on the other, as two machines would be; then all
# on one, which adds up what all of them do.
echoes() {
    local rounds=${BENCH_ROUNDS:-5000} all
    all=$(taskset -pc "$SSHD_PID" | sed 's/.*: *//')
    if [ "$(nproc)" -ge 2 ]; then
        taskset -pc 1 "$SSHD_PID" >/dev/null || return 1
        taskset -c 0 "$BIN/echo" "$rounds" >"$work/echo" || return 1
        row echo '64 bytes there and back, median' "$(field "$work/echo" 1 1)" \
            "$(field "$work/echo" 2 1)" us max 1.25
        row echo-buffers '  against libssh2 with buffers like ours' "$(field "$work/echo" 1 1)" \
            "$(field "$work/echo" 3 1)" us max -
        row echo-90 '  90 % quantile' "$(field "$work/echo" 1 2)" "$(field "$work/echo" 2 2)" \
            us max -
    fi
    taskset -pc 0 "$SSHD_PID" >/dev/null || return 1
    taskset -c 0 "$BIN/echo" "$rounds" >"$work/echo1" || return 1
    row echo-one-core '  both ends on one core' "$(field "$work/echo1" 1 1)" \
        "$(field "$work/echo1" 2 1)" us max -
    taskset -pc "$all" "$SSHD_PID" >/dev/null || return 1
}

agent() {
    local hash rss
    hash=$(b2sum -l 256 "$AGENT" | cut -d' ' -f1)
    row agent-gzip 'agent, gzipped' "$(kib "$(stat -c %s "$AGENT.gz")")" - KiB max 128
    "$BIN/hello" "$AGENT" "$hash" 100 >"$work/hello" || return 1
    row hello 'agent: exec to HELLO, with its hash checked' \
        "$(milliseconds "$(field "$work/hello" 1 1)")" - ms max 5
    row hello-stdio '  without' "$(milliseconds "$(field "$work/hello" 2 1)")" - ms max -
    "$BIN/links" 4 >"$work/idle" || return 1
    rss=$(($(field "$work/idle" 3 1) + $(field "$work/idle" 4 1)))
    row agent-rss 'agent and guardian, resident when idle' "$(mib "$rss")" - MiB max 1.5
    rss=$(($(field "$work/idle" 5 1) + $(field "$work/idle" 6 1)))
    row agent-private '  private and written to' "$(mib "$rss")" - MiB max -
}

links() {
    "$BIN/links" "${BENCH_LINKS:-60}" >"$work/links" || return 1
    row link-rss 'launcher memory per held link' "$(kib "$(field "$work/links" 1 1)")" - KiB max 200
    row link-heap '  of it from malloc' "$(kib "$(field "$work/links" 2 1)")" - KiB max -
}

# The highest of each column over all cases and both lines.
stuck() {
    local key what
    "$BIN/stuck" 0 >"$work/stuck" || return 1
    "$BIN/stuck" 512 >>"$work/stuck" || return 1
    far_start || return 1
    SSHD_CONFIG=$FAR_CONFIG "$BIN/stuck" 256 >>"$work/stuck" || return 1
    for key in 1:launcher 2:agent; do
        what=${key#*:}
        row "stuck-$what" "$what above idle, reader that does not read" \
            "$(mib "$(sort -n -k"${key%:*}" "$work/stuck" | tail -n 1 |
                awk -v f="${key%:*}" '{ print $f }')")" - MiB max 8
    done
    [ -z "${BENCH_VERBOSE:-}" ] || cat "$work/stuck" >&2
}

# ---- remote code -------------------------------------------------------------------------------

# Those of the systems that people would use instead which are installed.
rivals() {
    local name
    for name in rpyc execnet mitogen; do
        [ ! -x /usr/bin/python3 ] || ! "$peers" "$name" there 2>/dev/null || echo "$name"
    done
}

peers=tests/bench/peers.py
in_lua() {
    LUA_CPATH="$BUILD/lua/?.so" lua5.4 tests/bench/calls.lua "$@"
}

# best max|min MEASURE COUNT [BEFORE...]: the best of the rivals' figures; BEFORE stands before their
# commands.
best() {
    local want=$1 what=$2 count=$3 name figure best=-
    shift 3
    for name in $(rivals); do
        figure=$("$@" "$peers" "$name" "$what" "$count") || continue
        best=$(awk -v a="$best" -v b="$figure" -v want="$want" 'BEGIN {
            print (a == "-" || (want == "min" ? b + 0 < a + 0 : b + 0 > a + 0)) ? b : a }')
    done
    echo "$best"
}

# Of a file with a figure a line, or "-": what else runs on the machine makes figures only worse.
highest() {
    sort -g "$1" | tail -n 1
}

# As with the echo, the ends have a core each.  What is measured in one go is measured by turns,
# and the best of each counts.
calls() {
    local count=${BENCH_CALLS:-200000} rounds=${BENCH_ROUNDS:-5000} all theirs
    all=$(taskset -pc "$SSHD_PID" | sed 's/.*: *//')
    taskset -pc 1 "$SSHD_PID" >/dev/null || return 1
    theirs=$(best min sync "$rounds" taskset -c 0)
    taskset -c 0 "$BIN/echo" "$rounds" >"$work/echo" || return 1
    taskset -c 0 "$BIN/calls" sync "$rounds" >"$work/sync" || return 1
    row call 'synchronous call, median' "$(<"$work/sync")" "$theirs" us max 0.75
    row call-libssh2 '  against cat over libssh2 alone' "$(<"$work/sync")" \
        "$(field "$work/echo" 2 1)" us max 1.4
    LUA_CPATH="$BUILD/lua/?.so" taskset -c 0 lua5.4 tests/bench/calls.lua sync "$rounds" \
        >"$work/sync" || return 1
    row call-lua '  from Lua' "$(<"$work/sync")" "$theirs" us max 0.75
    taskset -pc "$all" "$SSHD_PID" >/dev/null || return 1
    : >"$work/theirs"
    : >"$work/pipeline"
    : >"$work/pipeline-lua"
    for _ in 1 2 3; do
        best max pipeline "$((count / 10))" >>"$work/theirs"
        "$BIN/calls" pipeline "$count" >>"$work/pipeline" || return 1
        in_lua pipeline "$count" >>"$work/pipeline-lua" || return 1
    done
    theirs=$(highest "$work/theirs")
    row pipeline 'pipelined calls' "$(highest "$work/pipeline")" "$theirs" /s min 8
    row pipeline-lua '  from Lua' "$(highest "$work/pipeline-lua")" "$theirs" /s min 8
}

# Iterating asks RPyC for a tenth of the items, and takes it for so much longer.
tables() {
    local theirs=- ours
    ours=$(in_lua iterate 100000) || return 1
    if "$peers" rpyc there 2>/dev/null; then
        theirs=$("$peers" rpyc iterate 10000) || return 1
        theirs=$(awk -v s="$theirs" 'BEGIN { printf "%.0f", 10000 / s }')
    fi
    row iterate 'iterate a far table of 100,000' \
        "$(awk -v s="$ours" 'BEGIN { printf "%.0f", 100000 / s }')" "$theirs" items/s min 20
}

# A channel beside the same bytes as the output of a command, both read in the process.
channel() {
    local mib=${BENCH_CHANNEL_MIB:-256} words
    source_words "$mib"
    : >"$work/channel"
    : >"$work/raw"
    for _ in 1 2 3; do
        in_lua channel "$mib" >>"$work/channel" || return 1
        "$BIN/calls" stream "$((mib * 1048576))" "${words[@]}" >>"$work/raw" || return 1
    done
    row channel "$mib MiB through a channel" "$(highest "$work/channel")" \
        "$(highest "$work/raw")" MB/s min 0.8
}

first() {
    local runs=${BENCH_FIRST_RUNS:-10} name limit ours theirs
    for name in $(rivals); do
        limit=0.3
        [ "$name" != rpyc ] || limit=0.1
        "$BIN/race" -n "$runs" -w 1 "$GRAPNEL" call -F "$SSHD_CONFIG" t math.abs -42 \
            ::: "$peers" "$name" first >"$work/first" || return 1
        row "first-$name" "first call on a fresh host, beside $name" \
            "$(field "$work/first" 1 1)" "$(field "$work/first" 2 1)" ms max "$limit"
    done
    far_start || return 1
    ours=$(round_trips "$GRAPNEL" call -F "$FAR_CONFIG" t math.abs -42) || return 1
    theirs=$(round_trips ssh -F "$FAR_CONFIG" t true) || return 1
    row first-trips '  round trips, with TCP, beside ssh true' "$ours" "$theirs" '' max 1
}

worker() {
    local file
    file=$(find "$BUILD/workers" -name "linux-$(uname -m).gz") || return 1
    row worker-gzip 'worker, gzipped' "$(kib "$(stat -c %s "$file")")" - KiB max 192
    : >"$work/instance"
    for _ in 1 2 3; do
        in_lua instance 40 >>"$work/instance" || return 1
    done
    row worker-start '  start of a further instance, with its first call' \
        "$(sort -g "$work/instance" | head -n 1)" - ms max 5
    in_lua resident 8 >"$work/resident" || return 1
    row worker-rss '  resident for each further instance' \
        "$(mib "$(<"$work/resident")")" - MiB max 2
}

# Another connection to what is deployed already, as the calls are measured.
cached() {
    local all one two theirs=-
    all=$(taskset -pc "$SSHD_PID" | sed 's/.*: *//')
    "$BIN/cached" hit 100 >"$work/cached" || return 1
    row cache-hit 'connection from the cache, median' "$(<"$work/cached")" - us max 2
    taskset -pc 1 "$SSHD_PID" >/dev/null || return 1
    if "$peers" rpyc there 2>/dev/null; then
        theirs=$(taskset -c 0 "$peers" rpyc connect 40) || return 1
    fi
    taskset -c 0 "$BIN/cached" next 40 >"$work/cached" || return 1
    row cache-next '  next instance on a live server, with its first call' "$(<"$work/cached")" \
        "$theirs" ms max 0.5
    taskset -pc "$all" "$SSHD_PID" >/dev/null || return 1
    far_start || return 1
    one=$(SSHD_CONFIG=$FAR_CONFIG round_trips "$BIN/cached" get 1) || return 1
    two=$(SSHD_CONFIG=$FAR_CONFIG round_trips "$BIN/cached" get 2) || return 1
    row cache-trips '  round trips until it has answered' "$((two - one))" - '' max 1
}

# ---- the broker ----------------------------------------------------------------------------------

# Its process, once it runs.
broker_pid() {
    sed -n 's|.* \[\([0-9]*\)\] .*/grapnel/broker$|\1|p' "$work/run/grapnel/log" | tail -n 1
}

broker_stop() {
    local pid
    pid=$(broker_pid 2>/dev/null) && [ -n "$pid" ] && kill "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        _sshd_tick
    done
}

# Private memory of a process, KiB; and the processor time that its threads took, µs.
private_of() {
    awk '/^Private_Dirty/ { n += $2 } END { print n }' "/proc/$1/smaps_rollup"
}

cpu_of() {
    cat "/proc/$1"/task/*/schedstat | awk '{ n += $1 } END { printf "%d", n / 1000 }'
}

broker() {
    local pid i before after memory held=${BENCH_HELD:-200} hosts=()
    mkdir -m 700 "$work/run"
    export XDG_RUNTIME_DIR=$work/run GRAPNEL_BROKER_IDLE=1h
    "$GRAPNEL" connect -F "$SSHD_CONFIG" t >/dev/null || return 1
    ssh -F "$SSHD_CONFIG" -M -S "$work/master" -f -N t || return 1
    "$BIN/race" -n "${BENCH_RUNS:-40}" -w 2 "$GRAPNEL" run -F "$SSHD_CONFIG" t -- true \
        ::: ssh -F "$SSHD_CONFIG" -S "$work/master" t true >"$work/broker" || return 1
    ssh -F "$SSHD_CONFIG" -S "$work/master" -O exit t 2>/dev/null
    row broker-run 'run of true through the broker, against ssh and its master' \
        "$(field "$work/broker" 1 1)" "$(field "$work/broker" 2 1)" ms max 0.5
    row broker-run-min '  the fastest of each' "$(field "$work/broker" 1 2)" \
        "$(field "$work/broker" 2 2)" ms max -
    row broker-run-cpu '  CPU time of the client' "$(field "$work/broker" 1 4)" \
        "$(field "$work/broker" 2 4)" ms max -
    for ((i = 0; i < held; i++)); do
        hosts+=("held$i")
        { echo "Host held$i" && sed -n '2,$p' "$SSHD_CONFIG" && echo "    SetEnv HELD=$i"; }
    done >"$work/held_config"
    pid=$(broker_pid)
    memory=$(private_of "$pid")
    "$GRAPNEL" connect -F "$work/held_config" "${hosts[@]}" >/dev/null || return 1
    sleep "${BENCH_SETTLE:-45}"
    # One heartbeat of each falls into the time that is measured: they come when the clock shows
    # multiples of 100 s, all together.
    while awk '{ exit $1 % 100 >= 50 && $1 % 100 < 85 }' /proc/uptime; do
        sleep 1
    done
    before=$(cpu_of "$pid")
    sleep "${BENCH_IDLE:-60}"
    after=$(cpu_of "$pid")
    row broker-held 'broker memory per held server' \
        "$((($(private_of "$pid") - memory) / held))" - KiB max 200
    row broker-idle "  processor time in 60 s, $held servers idle" \
        "$(milliseconds $((after - before)))" - ms max 10
    broker_stop
}

# A million names made, and folded again: those of one range, and those that hardly fold. ClusterShell
# beside it, where it is installed, with a tenth of them.
hosts() {
    local n=${BENCH_NAMES:-1000000} some
    "$GRAPNEL" hosts -e "r[1-1000]n[0001-$((n / 1000))].example.com" >"$work/names" || return 1
    awk -v n="$n" 'BEGIN { srand(1); for (i = 0; i < n; i++)
        printf "10.%d.%d.%d\n", rand() * 256, rand() * 256, rand() * 256 }' >"$work/spread"
    "$BIN/race" -n 5 -w 1 "$GRAPNEL" hosts -e "r[1-1000]n[0001-$((n / 1000))].example.com" \
        ::: "$GRAPNEL" hosts -H "$work/names" ::: "$GRAPNEL" hosts -H "$work/spread" \
        >"$work/hosts" || return 1
    row hosts "$n names expanded, and folded: processor time" \
        "$(awk 'NR < 3 { sum += $4 } END { printf "%.0f", sum }' "$work/hosts")" - ms max 1000
    row hosts-expand '  of it expanding' "$(field "$work/hosts" 1 4)" - ms max -
    row hosts-spread '  folding as many random addresses' "$(field "$work/hosts" 3 4)" - ms max -
    command -v nodeset >/dev/null || return 0
    some="r[1-100]n[0001-$((n / 1000))].example.com"
    "$BIN/race" -n 3 -w 1 "$GRAPNEL" hosts -e "$some" ::: nodeset -e "$some" >"$work/hosts" ||
        return 1
    row hosts-nodeset "  a tenth of them expanded, beside nodeset" "$(field "$work/hosts" 1 4)" \
        "$(field "$work/hosts" 2 4)" ms max -
}

# ---- all of it ---------------------------------------------------------------------------------

account
sshd_start 'MaxStartups 2000' 'MaxSessions 100' 'LogLevel INFO'
export SSHD_PORT SSHD_CONFIG SSHD_KEY SSHD_USER SSHD_KNOWN
[ $# -gt 0 ] || set -- cold far bulk bulkfar echo agent links stuck \
    calls tables channel first worker cached broker hosts fleet
for name in "$@"; do
    case $name in
    cold | far | bulk | bulkfar | agent | links | stuck | calls | tables | channel | first | worker | \
        cached | broker | hosts | fleet)
        measure "$name" "$name"
        ;;
    echo) measure echo echoes ;;
    *)
        echo "bench: there is no \"$name\"" >&2
        unmeasured=1
        ;;
    esac
done
json
table
exit "$unmeasured"
