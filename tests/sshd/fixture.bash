# A throwaway OpenSSH server on a free loopback port. Sourced by the tests and by scripts/demo.sh
# (bash).
#
#   sshd_start [sshd_config line...]   starts one for the user who runs this; the lines come first,
#                                      so they win over ours. May be called again after sshd_stop.
#   sshd_world [sshd_config line...]   the same as root in namespaces of its own: a machine within
#                                      the machine, with its own accounts, homes, temporary
#                                      directories and processes (world.sh). Nothing of the real
#                                      machine's accounts is touched. Before it, sshd_can_world
#                                      tells whether this system lets us.
#   sshd_stop                          ends it and everything it started, removes its folder.
#                                      Returns when all that is gone. Harmless when none runs.
#   sshd_inside COMMAND...             runs a command as root in the server's world (sshd_world), or
#                                      simply here (sshd_start)
#
# Both set and export:
#   SSHD_DIR      the folder for all of it (mode 0700); put further files there
#   SSHD_PORT     the port on 127.0.0.1
#   SSHD_PID      the listening process; of a world its first process
#   SSHD_CONFIG   an ssh_config with the aliases `demo` and `t`: use with -F
#   SSHD_LOG      the server's log
#   SSHD_KEY      the user's private key (ed25519, no passphrase); SSHD_KEY_RSA the same in RSA
#   SSHD_KNOWN    known_hosts, with the server's keys
#   SSHD_USER     the login name
#   SSHD_WORLD    1 in a world, else empty
#   SSHD_TEMP     where the server's world is seen from here: "" or /proc/PID/root
# SSHD_LISTEN: what it listens on instead of 127.0.0.1, for a network of its own that has nothing but
# a loopback.
# For tests without a port, `sshd -i -f "$SSHD_DIR/sshd_config"` serves one connection on stdin.

SSHD_BIN=${SSHD_BIN:-$(PATH=$PATH:/usr/sbin:/sbin command -v sshd || true)}
SSHD_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# A port nobody listens on now. Another program may still snatch it, which sshd_start notices.
_sshd_free_port() {
    local port tries
    for ((tries = 0; tries < 100; tries++)); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    return 1
}

_sshd_keys() {
    local type
    for type in ed25519 ecdsa; do
        ssh-keygen -q -t "$type" -N '' -C host -f "$SSHD_DIR/host_$type" || return 1
    done
    # Short for RSA, because the tests make many.
    ssh-keygen -q -t rsa -b 2048 -N '' -C host -f "$SSHD_DIR/host_rsa" || return 1
    ssh-keygen -q -t ed25519 -N '' -C user -f "$SSHD_KEY" || return 1
    ssh-keygen -q -t rsa -b 2048 -N '' -C user -f "$SSHD_KEY_RSA" || return 1
    cat "$SSHD_KEY.pub" "$SSHD_KEY_RSA.pub" >"$SSHD_DIR/authorized_keys"
}

# _sshd_write_config FOLDER [line...]: FOLDER is SSHD_DIR as the server sees it.  From the first line
# that begins with Match on, the lines come last.
_sshd_write_config() {
    local folder=$1 keys=$1/authorized_keys
    shift
    [ -z "$SSHD_WORLD" ] || keys=/home/.authorized_keys
    # Of these the last one counts, not the first.
    [[ " $*" == *" MaxStartups "* ]] || set -- 'MaxStartups 200' "$@"
    {
        while [ $# -gt 0 ] && [[ $1 != Match* ]]; do
            echo "$1"
            shift
        done
        cat <<CONF
ListenAddress ${SSHD_LISTEN:-127.0.0.1}
Port $SSHD_PORT
HostKey $folder/host_ed25519
HostKey $folder/host_rsa
HostKey $folder/host_ecdsa
AuthorizedKeysFile $keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
LogLevel VERBOSE
Subsystem sftp internal-sftp
CONF
        [ $# -eq 0 ] || printf '%s\n' "$@"
    } >"$SSHD_DIR/sshd_config"
    awk -v host="[127.0.0.1]:$SSHD_PORT" '{ print host, $1, $2 }' "$SSHD_DIR"/host_*.pub >"$SSHD_KNOWN"
    cat >"$SSHD_CONFIG" <<CONF
Host demo t
    HostName 127.0.0.1
    Port $SSHD_PORT
    User $SSHD_USER
    IdentityFile $SSHD_KEY
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile $SSHD_KNOWN
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
CONF
}

# A hundredth of a second, without a process: a read that nobody answers.
_sshd_tick() {
    read -rt 0.01 _ <> <(:) || true
}

# Waits until sshd says in its log that it listens. Returns 1 when it left instead.
_sshd_wait_listening() {
    while kill -0 "$SSHD_PID" 2>/dev/null; do
        case $(<"$SSHD_LOG") in
        *"Server listening on ${SSHD_LISTEN:-127.0.0.1} port "*) return 0 ;;
        esac
        _sshd_tick
    done
    return 1
}

# Waits until a process that is not our child has gone; a zombie, which its parent may never
# collect, counts as gone. Ten seconds, then 1.
_sshd_wait_gone() {
    local tries stat
    for ((tries = 0; tries < 1000; tries++)); do
        read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
        case ${stat##*) } in
        Z* | X*) return 0 ;;
        esac
        _sshd_tick
    done
    return 1
}

# Descriptors of a test framework must not live on in the server.
_sshd_launch() {
    if [ -z "$SSHD_WORLD" ]; then
        "$SSHD_BIN" -D -e -f "$SSHD_DIR/sshd_config" >>"$SSHD_LOG" 2>&1 </dev/null 3>&- 4>&- &
    else
        unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
            "$SSHD_HERE/world.sh" "$SSHD_DIR" "$SSHD_BIN" >>"$SSHD_LOG" 2>&1 </dev/null 3>&- 4>&- &
    fi
    SSHD_PID=$! SSHD_LAUNCHED=$!
}

_sshd_start() {
    local tries folder
    [ -n "$SSHD_BIN" ] || {
        echo "sshd not found: install openssh-server" >&2
        return 1
    }
    SSHD_DIR=$(mktemp -d "${TMPDIR:-/tmp}/grapnel-sshd.XXXXXX") || return 1
    SSHD_CONFIG=$SSHD_DIR/ssh_config
    SSHD_LOG=$SSHD_DIR/sshd.log
    SSHD_KEY=$SSHD_DIR/user_ed25519
    SSHD_KEY_RSA=$SSHD_DIR/user_rsa
    SSHD_KNOWN=$SSHD_DIR/known_hosts
    SSHD_USER=$(id -un)
    SSHD_TEMP=
    folder=$SSHD_DIR
    [ -z "$SSHD_WORLD" ] || folder=/home/.server
    # Root's sshd insists on its privilege separation folder.
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    _sshd_keys || return 1
    for ((tries = 0; tries < 10; tries++)); do
        SSHD_PORT=$(_sshd_free_port) || return 1
        _sshd_write_config "$folder" "$@"
        : >"$SSHD_LOG"
        _sshd_launch
        if _sshd_wait_listening; then
            if [ -n "$SSHD_WORLD" ]; then
                read -r SSHD_PID _ <"/proc/$SSHD_LAUNCHED/task/$SSHD_LAUNCHED/children" || true
                SSHD_TEMP=/proc/$SSHD_PID/root
            fi
            export SSHD_DIR SSHD_CONFIG SSHD_LOG SSHD_KEY SSHD_KEY_RSA SSHD_KNOWN SSHD_USER \
                SSHD_PORT SSHD_PID SSHD_WORLD SSHD_TEMP SSHD_LAUNCHED
            return 0
        fi
        wait "$SSHD_PID" 2>/dev/null || true
        grep -q 'Address already in use' "$SSHD_LOG" || break
    done
    cat "$SSHD_LOG" >&2
    SSHD_PID=
    sshd_stop
    return 1
}

sshd_start() {
    SSHD_WORLD=
    _sshd_start "$@"
}

sshd_world() {
    SSHD_WORLD=1
    _sshd_start "$@"
}

sshd_can_world() {
    [ "$(id -u)" = 0 ] && unshare --mount --pid --fork --kill-child --mount-proc \
        --propagation private sh -c 'mount -t tmpfs tmpfs /mnt' 2>/dev/null
}

sshd_inside() {
    if [ -n "$SSHD_WORLD" ]; then
        nsenter --target "$SSHD_PID" --mount --pid --wd=/ -- "$@"
    else
        "$@"
    fi
}

# Prints the processes below one, children first.
_sshd_tree() {
    local child
    for child in $(ps -o pid= --ppid "$1" 2>/dev/null); do
        _sshd_tree "$child"
        echo "$child"
    done
}

sshd_stop() {
    local pid pids
    if [ -n "${SSHD_PID:-}" ]; then
        # Stopped, it cannot fork one more session while the list is made.
        kill -STOP "$SSHD_PID" 2>/dev/null || true
        pids=$(_sshd_tree "$SSHD_PID")
        # shellcheck disable=SC2086
        kill -KILL $pids "$SSHD_PID" "$SSHD_LAUNCHED" 2>/dev/null || true
        wait "$SSHD_LAUNCHED" 2>/dev/null || true
        for pid in $pids; do
            _sshd_wait_gone "$pid" || echo "process $pid does not end" >&2
        done
    fi
    [ -z "${SSHD_DIR:-}" ] || rm -rf "$SSHD_DIR"
    SSHD_PID='' SSHD_DIR=''
}
