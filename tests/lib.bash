# What the end-to-end tests share: `load ../lib` in a .bats file.
#
#   server_start [sshd_config line...]   for setup_file: a world where this system allows one, else
#                                        a plain sshd of the user who runs the tests
#   server_stop                          for teardown_file
#   lib_setup, lib_teardown              for setup and teardown; the latter fails the test when
#                                        anything is left behind anywhere
#
# A test that needs a world begins with need_world, and is skipped where there is none.

# shellcheck disable=SC2016,SC2030,SC2031,SC2154
# shellcheck source=tests/sshd/fixture.bash
. "$BATS_TEST_DIRNAME/../sshd/fixture.bash"

LIB_ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BUILD:-$LIB_ROOT/build}
# The command itself; GRAPNEL is, within a test, a wrapper that ends it when it hangs, since
# whatever holds the framework's descriptors would make the framework hang as well.  These limits
# are for what hangs: a busy machine may be very slow.
GRAPNEL_BIN=${GRAPNEL_BIN:-${GRAPNEL:-$BUILD/grapnel}}
TOOLS=$BUILD/tests/tools
export BUILD GRAPNEL_BIN TOOLS
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-120}
export LC_ALL=C
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$LIB_ROOT/tests/lsan.supp:print_suppressions=0}
bats_require_minimum_version 1.5.0

# Nothing of the account that runs the tests must take part.
unset SSH_AUTH_SOCK SSH_ASKPASS SSH_ASKPASS_REQUIRE DISPLAY GRAPNEL_PASSWORD_FILE XDG_RUNTIME_DIR

# ---- servers ----

server_start() {
    if sshd_can_world; then
        sshd_world "$@"
    else
        sshd_start "$@"
    fi
}

server_stop() {
    sshd_stop
}

need_world() {
    [ -n "$SSHD_WORLD" ] || skip "needs root and private namespaces"
}

# ---- running grapnel ----

# g VERB WORD...: grapnel with the server's ssh_config.
g() {
    local verb=$1
    shift
    "$GRAPNEL" "$verb" -F "$SSHD_CONFIG" "$@"
}

# with_module COMMAND...: an lua5.4 that it starts finds the module of this build; it is not sanitized
# itself, and so must load what a sanitized module needs.
with_module() {
    local preload=
    [ "${GRAPNEL_VARIANT:-}" != asan ] || preload=$(gcc -print-file-name=libasan.so)
    LD_PRELOAD=$preload LUA_CPATH="$BUILD/lua/?.so" "$@"
}

# Starts grapnel in the background, without the framework's descriptors and with the signals that
# shells ignore there; its id is in $job, what it says in $T/out and $T/err, where nothing is left of
# one before it.
start() {
    : >"$T/out"
    : >"$T/err"
    env --default-signal "$GRAPNEL_BIN" "$1" -F "$SSHD_CONFIG" "${@:2}" \
        >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
}

# client_lost FILE FILE_HERE OPTIONS [COMMAND...]: the service leaving.lua tells of the end of a client in
# this file of the host's; the client has these options of grapnel.connect, and the command, where it
# is not killed instead, cuts its line.
client_lost() {
    with_module exec env "LUA_PATH=$LIB_ROOT/tests/lua/?.lua;;" "SSHD_CONFIG=$SSHD_CONFIG" lua5.4 -e "
        local conn = require 'check'.connect {$3}
        print(conn.root.note '$1')
        io.stdout:flush()
        require 'grapnel'.drive()" >"$T/out" 2>"$T/err" </dev/null 3>&- 4>&- &
    job=$!
    within 10 says noted "$T/out" || { cat "$T/err"; return 1; }
    [ ! -e "$2" ]
    if [ $# -gt 3 ]; then
        "${@:4}"
        within 8 says told "$2"
    fi
    kill -KILL "$job" 2>/dev/null || : # where its line is cut it may have ended by itself
    finish "$job"
    within 5 says told "$2"
    rm -f "$2"
}

# Waits for a process of ours: its status is in $status.
finish() {
    status=0
    wait "$1" || status=$?
}

# fails TEXT...: the command that `run` has run ended with 255, printed nothing, and said one line
# on stderr that begins with the target and contains every TEXT.
fails() {
    local text
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "$stderr"
    [ "$status" -eq 255 ] || return
    [ -z "$output" ] || return
    for text in "grapnel: " "$@"; do
        [[ $stderr == *"$text"* ]] || {
            echo "not said: $text"
            return 1
        }
    done
    [ "$(wc -l <<<"$stderr")" -eq 1 ] || return
    ! has_controls "$stderr"
}

has_controls() {
    LC_ALL=C grep -q '[[:cntrl:]]' <<<"$1"
}

# A tool of tests/tools as a server in the background: its port is in $port, its process in $tool.
serve() {
    local name=$1
    shift
    : >"$T/$name.out"
    "$TOOLS/$name" "$@" >"$T/$name.out" 2>"$T/$name.err" </dev/null 3>&- 4>&- &
    tool=$!
    tools+=("$tool")
    within 5 test -s "$T/$name.out" || {
        cat "$T/$name.err"
        return 1
    }
    port=$(head -n 1 "$T/$name.out")
}

# scene <<'SCRIPT': what the account `scene` finds when it logs in: the script runs as root in a mount
# namespace of that session's own, then the session goes on as the account `plain`. It may set
# PATH, HOME, TMPDIR (exported), and SHELL_BEFORE to a command that runs the shell.
scene() {
    need_world
    {
        echo 'set -e; export HOME=/home/plain USER=plain LOGNAME=plain; cd "$HOME"'
        cat
        echo 'exec /usr/bin/setpriv --reuid=5023 --regid=5023 --clear-groups $SHELL_BEFORE /bin/sh "$@"'
    } >"$SSHD_TEMP/home/.scene"
}

# ---- waiting for events ----

# within SECONDS COMMAND...: repeats it until it succeeds; fails when it has not by then.
within() {
    local deadline=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s%N)" -lt "$deadline" ] || {
            echo "not in time: $*"
            return 1
        }
        _sshd_tick
    done
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

says() {
    grep -q -- "$1" "$2"
}

# ---- the broker ----

# Its process.
broker_pid() {
    sed -n 's|.* \[\([0-9]*\)\] .*/grapnel/broker$|\1|p' "$XDG_RUNTIME_DIR/grapnel/log" | tail -n 1
}

# Ends the one of this test, if there is one.
broker_end() {
    local pid
    pid=$(broker_pid 2>/dev/null) || return 0
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null || return 0
    within 10 gone "$pid"
}

# ---- what is left behind ----

# Processes in the server's world (or with its mark) that are neither its own nor ps.
server_processes() {
    [ -n "${SSHD_PID:-}" ] || return 0
    if [ -n "$SSHD_WORLD" ]; then
        sshd_inside ps -eo pid=,stat=,args= |
            grep -vE '^ *1 |/sshd -D -e -f|ps -eo pid=|^ *[0-9]+ Z' | cut -c 1-120
    else
        ps --ppid "$SSHD_PID" -o pid=,stat=,args= | cut -c 1-120
    fi
}

# The last is for agents on this machine.
agent_places() {
    if [ -n "${SSHD_PID:-}" ]; then
        printf '%s\n' "$SSHD_TEMP"/tmp "$SSHD_TEMP"/var/tmp "$SSHD_TEMP"/dev/shm
        [ -z "$SSHD_WORLD" ] || printf '%s\n' "$SSHD_TEMP"/home/*
    fi
    echo "$TMPDIR"
}

# In a plain world others may be at work, so only what was made since the test began counts.
agent_files() {
    local place
    agent_places | while read -r place; do
        find "$place" -maxdepth 1 -name '.grapnel-*' -newer "$T/began" 2>/dev/null
    done
}

# Processes on this machine that grapnel has started on behalf of this test: they have its mark.
local_processes() {
    local file pid
    while read -r file; do
        pid=${file#/proc/}
        pid=${pid%/environ}
        case $(readlink "/proc/$pid/exe" 2>/dev/null) in
        */.grapnel-*/agent* | "$GRAPNEL_BIN" | */ssh) ps -o pid=,stat=,args= "$pid" | cut -c 1-120 ;;
        *) { tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF "$GRAPNEL_TEST"; } 2>/dev/null &&
            ps -o pid=,stat=,args= "$pid" | cut -c 1-120 ;;
        esac
    done < <(grep -lzsxF "GRAPNEL_TEST=$GRAPNEL_TEST" /proc/[0-9]*/environ 2>/dev/null)
    return 0
}

# One test's leftovers must not fail the next.
_sweep() {
    local pid _
    while read -r pid _; do
        sshd_inside kill -KILL "$pid" 2>/dev/null || true
    done < <(server_processes)
    while read -r pid _; do
        kill -KILL "$pid" 2>/dev/null || true
    done < <(local_processes)
    agent_files | while read -r file; do
        rm -rf "$file"
    done
}

_nothing_left() {
    [ -z "$(server_processes)" ] && [ -z "$(agent_files)" ] && [ -z "$(local_processes)" ]
}

# Within ten seconds no process and no file of ours is left, on the host or here.
nothing_left() {
    within 10 _nothing_left || {
        echo "left behind:"
        server_processes
        agent_files
        local_processes
        _sweep
        return 1
    }
}

lib_setup() {
    T=$BATS_TEST_TMPDIR
    tools=() job=
    GRAPNEL_TEST="grapnel-test-$BATS_SUITE_TEST_NUMBER-$BATS_TEST_NUMBER-$$"
    mkdir "$T/tmp"
    mkdir -m 700 "$T/run"
    export XDG_CACHE_HOME=$T/cache XDG_RUNTIME_DIR=$T/run TMPDIR=$T/tmp
    GRAPNEL=$T/grapnel
    printf '#!/bin/sh\nexec "%s" --foreground -k 3 90 "%s" "$@"\n' "$(command -v timeout)" \
        "$GRAPNEL_BIN" >"$GRAPNEL"
    chmod 755 "$GRAPNEL"
    export T GRAPNEL GRAPNEL_TEST
    touch -d '2 seconds ago' "$T/began"
}

lib_teardown() {
    local tool
    # A test that has failed may have left its grapnel running.
    for tool in "${tools[@]}" ${job:+"$job"}; do
        kill -KILL "$tool" 2>/dev/null || true
    done
    nothing_left
}
