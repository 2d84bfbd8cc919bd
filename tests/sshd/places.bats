#!/usr/bin/env bats
# Where the agent may live on a host, and what it needs there. Each test's host is a scene: a
# session in a mount namespace of its own, so that nothing but that session sees it.
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
}

teardown() {
    [ -z "${SSHD_WORLD:-}" ] || sshd_inside umount -q /proc/sys/kernel/arch 2>/dev/null || true
    lib_teardown
}

s() {
    run --separate-stderr "$GRAPNEL" run -F "$SSHD_CONFIG" -l scene t -- /bin/echo here
}

works() {
    s
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "$stderr"
    [ "$status" -eq 0 ]
    [ "$output" = here ]
}

attempts() {
    "$GRAPNEL" doctor -F "$SSHD_CONFIG" -l scene t >"$T/doctor" || {
        cat "$T/doctor"
        return 1
    }
    grep -E '^agent ' "$T/doctor"
    grep -qE "^agent .* $1 attempts?\$" "$T/doctor"
}

# ---- temporary directories ----

@test "a host without anything special: one attempt" {
    scene <<<':'
    works
    attempts 1
}

@test "no usable temporary directory: a clear error" {
    scene <<'SCENE'
for place in /tmp /var/tmp /dev/shm /home/plain; do mount -t tmpfs -o ro tmpfs $place; done
SCENE
    s
    fails 't: no-space: no usable temporary directory' 'set TMPDIR on the host'
}

@test "temporary directories that are not there: a clear error" {
    scene <<'SCENE'
mount -t tmpfs -o ro tmpfs /var; mount -t tmpfs -o ro tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /tmp; export HOME=/nowhere
SCENE
    s
    fails 't: no-space: no usable temporary directory'
}

@test "all of them noexec: a clear error, and nothing is left in any" {
    scene <<'SCENE'
for place in /tmp /var/tmp /dev/shm /home/plain; do mount --bind $place $place; mount -o remount,bind,noexec $place; done
SCENE
    s
    fails 't: no-exec: programs may not be run from any temporary directory' 'without noexec'
}

@test "one noexec: the next is taken, in one attempt" {
    scene <<'SCENE'
for place in /tmp /var/tmp; do mount --bind $place $place; mount -o remount,bind,noexec $place; done
SCENE
    works
    attempts 1
}

@test "noexec everywhere but in TMPDIR, whose name is odd" {
    scene <<'SCENE'
for place in /tmp /var/tmp /dev/shm; do mount --bind $place $place; mount -o remount,bind,noexec $place; done
export TMPDIR="/home/plain/it's a \"\$place\" *"; mkdir -p "$TMPDIR"; chown 5023 "$TMPDIR"
SCENE
    works
}

@test "a TMPDIR that is not there is passed over" {
    scene <<<'export TMPDIR=/no/such/place'
    works
}

@test "a full disk: another directory is taken" {
    scene <<<'mount -t tmpfs -o size=64k,mode=1777 tmpfs /tmp'
    works
    attempts 2
}

@test "every disk full: a clear error, and nothing is left on any" {
    scene <<'SCENE'
for place in /tmp /var/tmp /dev/shm /home/plain; do mount -t tmpfs -o size=64k,mode=1777 tmpfs $place; done
SCENE
    s
    fails 't: no-space: no space for the agent in any temporary directory' 'bytes are needed'
    "$GRAPNEL" doctor -F "$SSHD_CONFIG" -l scene t >/dev/null 2>&1 || true
}

@test "a limit of file sizes that the agent does not fit in: the way out names it" {
    scene <<<'ulimit -f 10'
    s
    fails 't: no-space: no space for the agent in any temporary directory' 'ulimit -f'
}

@test "a disk without free inodes: another directory is taken" {
    scene <<<'mount -t tmpfs -o nr_inodes=1,mode=1777 tmpfs /tmp'
    works
}

@test "a read-only home works" {
    scene <<<'mount -t tmpfs -o ro tmpfs /home/plain'
    works
}

@test "a read-only /tmp, noexec /var/tmp and a full /dev/shm: home is taken" {
    scene <<'SCENE'
mount -t tmpfs -o ro tmpfs /tmp
mount -t tmpfs -o noexec,mode=1777 tmpfs /var/tmp
mount -t tmpfs -o size=64k,mode=1777 tmpfs /dev/shm
SCENE
    works
}

@test "umask 0777 works, and nothing is readable by others meanwhile" {
    scene <<<'umask 0777'
    works
    run -0 --separate-stderr g run -l scene t -- /bin/sh -c umask
    [ "$output" = 0777 ]
}

# ---- tools ----

# Makes /home/.tools.PATH with what the start script may use, without the tools that are named.
with_tools_but() {
    local tool
    rm -rf "$SSHD_TEMP/home/.only"
    mkdir "$SSHD_TEMP/home/.only"
    for tool in uname head dd gzip cat mkdir rm chmod cp mktemp timeout; do
        case " $* " in
        *" $tool "*) ;;
        *) ln -s "$(command -v "$tool")" "$SSHD_TEMP/home/.only/$tool" ;;
        esac
    done
    scene <<<'export PATH=/home/.only'
}

@test "all tools in one folder: one attempt" {
    with_tools_but
    works
}

@test "without mktemp it works" {
    with_tools_but mktemp
    works
}

@test "without head it works" {
    with_tools_but head
    works
}

@test "without gzip it works" {
    with_tools_but gzip
    works
}

@test "without head and gzip it works" {
    with_tools_but head gzip
    works
}

@test "without timeout it works" {
    with_tools_but timeout
    works
}

@test "without uname it works where the kernel tells its architecture" {
    [ -e /proc/sys/kernel/arch ] || skip "needs Linux 6.1"
    with_tools_but uname
    works
}

@test "with a timeout that wants to be called otherwise it works" {
    fake_tool timeout <<<'echo "usage: timeout [-t SECS] PROG ARGS" >&2; exit 1'
    works
}

@test "without cp it works where the first directory will do" {
    with_tools_but cp mktemp
    works
}

@test "without what cannot be done without: the tool is named" {
    local tool
    hide_arch
    for tool in uname mkdir chmod rm "head dd" "gzip cat"; do
        # shellcheck disable=SC2086
        with_tools_but $tool
        s
        fails 't: deploy: a needed tool is missing on the host' ": ${tool%% *} (install"
    done
}

@test "too few file descriptors for a shell: the limit is named" {
    local limit
    for limit in 10 11; do
        scene <<<"SHELL_BEFORE='prlimit --nofile=$limit'"
        s
        fails 't: deploy: the agent did not start: ' 'too few file descriptors there (ulimit -n)?'
    done
}

@test "without any tool at all" {
    scene <<<'export PATH=/nowhere'
    s
    fails 't: deploy: a needed tool is missing on the host'
}

# ---- architectures ----

# A tool of the host's that is replaced by a script (on stdin).
fake_tool() {
    mkdir -p "$SSHD_TEMP/home/.fake"
    rm -f "$SSHD_TEMP"/home/.fake/*
    { echo '#!/bin/sh'; cat; } >"$SSHD_TEMP/home/.fake/$1"
    chmod 755 "$SSHD_TEMP/home/.fake/$1"
    scene <<<'export PATH=/home/.fake:$PATH'
}

# Linux does not tell its architecture in a file: uname is asked.
hide_arch() {
    [ ! -e /proc/sys/kernel/arch ] || sshd_inside mount --bind /dev/null /proc/sys/kernel/arch
}

@test "an architecture without an agent: both are named" {
    hide_arch
    fake_tool uname <<<'echo Linux riscv64'
    s
    fails 't: architecture: there is no agent for this architecture' 'Linux riscv64' "linux-$(uname -m)"
}

@test "another system" {
    hide_arch
    fake_tool uname <<<'echo OpenBSD amd64'
    s
    fails 't: architecture: there is no agent for this architecture' 'OpenBSD amd64'
}

@test "a 32-bit personality on the host" {
    [ "$(uname -m)" = x86_64 ] || skip "needs x86_64"
    scene <<<'SHELL_BEFORE="setarch linux32"'
    if [ -e /proc/sys/kernel/arch ]; then # it does not hide what the kernel is
        works
    fi
    hide_arch
    s
    fails 't: architecture: there is no agent for this architecture' 'Linux i686'
}

@test "a machine without an agent of its own can use those of others" {
    [ "$(uname -m)" = x86_64 ] || skip "needs x86_64"
    scene <<<':'
    run -0 --separate-stderr setarch linux32 "$GRAPNEL" run -F "$SSHD_CONFIG" -l scene t -- /bin/echo here
    [ "$output" = here ]
}

@test "a wrong guess of the architecture costs one attempt more, once" {
    scene <<<':'
    mkdir -p "$XDG_CACHE_HOME/grapnel"
    # A machine whose name for itself has changed since.
    printf '127.0.0.1:%s\tLinux %s\n' "$SSHD_PORT" "$(uname -m | tr '[:lower:]' '[:upper:]')" \
        >"$XDG_CACHE_HOME/grapnel/architectures"
    attempts 2
    attempts 1
    works
}

# ---- tampering on the host ----

@test "an agent that is changed while it is unpacked is refused, and nothing is left" {
    fake_tool gzip <<<'/bin/gzip "$@"; printf x'
    s
    fails 't: deploy: the agent binary is not the one that was built' 'find out who changed it'
}

@test "an agent that is cut while it is unpacked is refused, and nothing is left" {
    fake_tool gzip <<<'/bin/gzip "$@" | head -c 50000'
    s
    fails 't: '
}

@test "an agent that is nothing once unpacked is refused, and nothing is left" {
    fake_tool gzip <<<'cat >/dev/null'
    s
    fails 't: '
}

@test "an agent that is something else altogether is refused" {
    fake_tool gzip <<<'cat >/dev/null; printf "#!/bin/sh\ncase \$1 in probe) ;; *) echo hello;  rm -r \${0%%/*}; esac\n"'
    s
    fails 't: protocol: the peer broke the protocol' hello
}
