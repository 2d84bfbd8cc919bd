#!/usr/bin/env bats
# What can be wrong on the launcher's side, over a real SSH connection: descriptors, disks, limits,
# surroundings.
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
    printf '#!/bin/sh\nexec "$GRAPNEL" run -F "$SSHD_CONFIG" "$@"\n' >"$T/r"
    chmod 755 "$T/r"
}

teardown() {
    lib_teardown
}

# A shell line in which r is `grapnel run` with the server's ssh_config.
sh_line() {
    run --separate-stderr timeout 90 env PATH="$T:$PATH" bash -c "$1"
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "$stderr"
}

@test "stdin closed" {
    sh_line 'r t -- wc -c <&-'
    [ "$status" -eq 0 ]
    [ "$output" -eq 0 ]
}

@test "stdout closed: output is lost, as for any program, but not the status" {
    sh_line 'r t -- sh -c "echo out; echo err >&2; exit 7" >&-'
    [ "$status" -eq 7 ]
    [ "$stderr" = err ]
}

@test "stderr closed" {
    sh_line 'r t -- sh -c "echo out; echo err >&2; exit 7" 2>&-'
    [ "$status" -eq 7 ]
    [ "$output" = out ]
    sh_line 'r -p 1 t -- true 2>&-'
    [ "$status" -eq 255 ]
}

@test "all three closed" {
    sh_line 'r t -- sh -c "echo out; echo err >&2; exit 7" <&- >&- 2>&-'
    [ "$status" -eq 7 ]
    [ -z "$output$stderr" ]
}

@test "all three closed, with every transport" {
    local transport
    for transport in ssh2 openssh local sh; do
        sh_line "r --transport $transport t -- sh -c 'cat; echo out; echo err >&2; exit 7' <&- >&- 2>&-"
        [ "$status" -eq 7 ]
    done
}

@test "a pipe without a reader" {
    sh_line 'r t -- yes | true; exit ${PIPESTATUS[0]}'
    [ "$status" -eq 255 ]
    [[ $stderr == *'grapnel: t: local: the output could not be written: Broken pipe'* ]]
}

@test "stderr a pipe without a reader" {
    sh_line '{ r t -- sh -c "yes >&2" 2>&1 >&3 | true; exit ${PIPESTATUS[0]}; } 3>&1'
    [ "$status" -eq 255 ]
}

@test "a full disk" {
    [ -e /dev/full ] || skip "there is no /dev/full"
    sh_line 'r t -- yes >/dev/full'
    fails 't: local: the output could not be written' 'No space left on device'
    sh_line 'r --json t -- echo x >/dev/full'
    [ "$status" -eq 255 ]
    [[ $stderr == *'No space left on device'* ]]
}

@test "a disk that fills up in the middle" {
    need_world
    mkdir "$T/small"
    run --separate-stderr timeout 90 unshare --mount --propagation private bash -c '
        mount -t tmpfs -o size=1m tmpfs "$T/small"
        "$GRAPNEL" run -F "$SSHD_CONFIG" t -- yes >"$T/small/out"'
    fails 't: local: the output could not be written' 'No space left on device'
}

@test "a file size limit" {
    sh_line "trap '' XFSZ; ulimit -f 100; r t -- yes >'$T/out'"
    [ "$status" -eq 255 ]
    [[ $stderr == *'t: local: the output could not be written: File too large'* ]]
}

@test "ulimit -n 64" {
    sh_line 'ulimit -n 64; r t -- echo done'
    [ "$output" = done ]
    local transport
    for transport in openssh local sh; do
        sh_line "ulimit -n 64; r --transport $transport t -- echo done"
        [ "$output" = done ]
    done
}

@test "too few descriptors are told, not crashed upon" {
    local n
    for n in 4 5 6 7 8 9 10 11 12 13 14 16 20; do
        sh_line 'exec 3>&- 4>&-; ulimit -n '"$n"'; exec "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" t -- echo done'
        echo "$n: $status"
        if [ "$status" -eq 0 ]; then
            [ "$output" = done ]
        else
            fails 'grapnel: '
            [[ $stderr == *'Too many open files'* || $stderr == *'too few file descriptors'* ]]
        fi
    done
    # As many as there must be are enough.
    [ "$status" -eq 0 ]
    # Each target has its line all the same.
    sh_line 'exec 3>&- 4>&-; ulimit -n 5; exec "$GRAPNEL_BIN" facts --json -F "$SSHD_CONFIG" t u'
    [ "$status" -eq 255 ]
    [ "$(grep -c '"host":"[tu]","exit":255,"failed":true,.*"error":{"name":"DESCRIPTORS"' <<<"$output")" -eq 2 ]
    [ -z "$stderr" ]
}

@test "no folder of agents: the variable that names it is named" {
    GRAPNEL_AGENTS=$T/nowhere run --separate-stderr g run t -- true
    fails "t: deploy: the agent binary is not there: $T/nowhere/" 'set GRAPNEL_AGENTS'
}

@test "ulimit -n 64 on the host" {
    need_world
    scene <<<'ulimit -n 64'
    run -0 --separate-stderr g run -l scene t -- /bin/echo done
    [ "$output" = done ]
}

@test "without HOME, PATH, USER and TMPDIR" {
    run -0 --separate-stderr env -i "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" t -- echo done
    [ "$output" = done ]
}

@test "a cache folder that cannot be written" {
    XDG_CACHE_HOME=/proc/nowhere run -0 --separate-stderr g run t -- echo done
    [ "$output" = done ]
    [ -z "$stderr" ]
}

@test "a current directory that has gone" {
    mkdir "$T/gone"
    sh_line "cd '$T/gone'; rmdir '$T/gone'; r t -- echo done"
    [ "$output" = done ]
}

@test "other threads' worst inheritance: blocked and ignored signals" {
    cat >"$T/hostile.py" <<'PY'
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, 32)))
for n in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM):
    signal.signal(n, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
PY
    run -3 --separate-stderr timeout 90 python3 "$T/hostile.py" "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" t -- sh -c 'echo done; exit 3'
    [ "$output" = done ]
    run -3 --separate-stderr timeout 90 python3 "$T/hostile.py" "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" --transport openssh t -- sh -c 'echo done; exit 3'
    [ "$output" = done ]
}

@test "non-blocking stdin, stdout and stderr, which stay so" {
    cat >"$T/nonblock.py" <<'PY'
import fcntl, os, subprocess, sys
r, w = os.pipe()
r2, w2 = os.pipe()
for fd in (r, w2):
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
p = subprocess.Popen(sys.argv[1:], stdin=r, stdout=w2)
os.close(w2)
if os.fork() == 0:
    os.close(r2)
    os.write(w, b'x' * 60000)
    for _ in range(40):
        os.write(w, b'y' * 60000)
    os._exit(0)
os.close(w)
n = 0
while True:
    part = os.read(r2, 100000)
    if not part:
        break
    n += len(part)
print(n, p.wait(), fcntl.fcntl(r, fcntl.F_GETFL) & os.O_NONBLOCK != 0)
PY
    run -0 timeout 90 python3 "$T/nonblock.py" "$GRAPNEL" run -F "$SSHD_CONFIG" t -- cat
    [ "$output" = "2460000 0 True" ]
}

@test "stdin and stdout are one socket" {
    cat >"$T/pair.py" <<'PY'
import socket, subprocess, sys
a, b = socket.socketpair()
p = subprocess.Popen(sys.argv[1:], stdin=b, stdout=b)
b.close()
a.sendall(b'there and back')
a.shutdown(socket.SHUT_WR)
print(a.makefile('rb').read().decode(), p.wait())
PY
    run -0 timeout 90 python3 "$T/pair.py" "$GRAPNEL" run -F "$SSHD_CONFIG" t -- cat
    [ "$output" = "there and back 0" ]
}

@test "input from files, devices and directories" {
    printf abc >"$T/file"
    sh_line "r t -- cat <'$T/file'"
    [ "$output" = abc ]
    sh_line 'r t -- wc -c </dev/null'
    [ "$output" -eq 0 ]
    sh_line 'r t -- head -c 5000000 </dev/zero | wc -c'
    [ "$output" -eq 5000000 ] || sh_line 'r t -- sh -c "head -c 5000000 | wc -c" </dev/zero'
    [ "$status" -eq 0 ]
    # What cannot be read is no empty input.
    sh_line 'r t -- sh -c "cat; echo whole" </'
    fails 't: local: the input could not be read: Is a directory (' '-n'
    sh_line 'r -n t -- cat </'
    [ "$status" -eq 0 ]
}

@test "input that breaks off is not taken for whole" {
    # A process's memory, read from shortly before a hole in it: some bytes, then EIO.
    cat >"$T/broken.py" <<'PY'
import os, subprocess, sys
maps = [line.split() for line in open('/proc/self/maps')]
starts = {m[0].split('-')[0] for m in maps}
end = next(m[0].split('-')[1] for m in maps if m[1] == 'rw-p' and m[0].split('-')[1] not in starts)
fd = os.open('/proc/self/mem', os.O_RDONLY)
os.lseek(fd, int(end, 16) - 3000, os.SEEK_SET)
sys.exit(subprocess.call(sys.argv[1:], stdin=fd))
PY
    local transport
    for transport in ssh2 local; do
        run -255 --separate-stderr timeout 90 python3 "$T/broken.py" "$GRAPNEL" run \
            -F "$SSHD_CONFIG" --transport "$transport" t -- sh -c 'wc -c; echo whole'
        fails 't: local: the input could not be read: Input/output error ('
    done
}

# at_up terminal|none KEY|SIGNAL COMMAND...: runs it at a terminal or at none, in a process group of
# its own; when it has said "up", types the key, or sends the signal to the whole group. Prints what
# it says from then on, and its exit status.
at_up() {
    cat >"$T/at_up.py" <<'PY'
import os, pty, signal, sys
if sys.argv[1] == 'terminal':
    pid, master = pty.fork()
else:
    master, slave = pty.openpty()
    pid = os.fork()
if pid == 0:
    if sys.argv[1] == 'none':
        os.setsid()
        os.dup2(slave, 1)
        os.dup2(slave, 2)
        os.close(slave)
    os.execv(sys.argv[3], sys.argv[3:])
if sys.argv[1] == 'none':
    os.close(slave)
def shown():
    try:
        return os.read(master, 10000)
    except OSError:
        return b''
text = b''
while b'up\r\n' not in text:
    part = shown()
    assert part, text
    text += part
if sys.argv[2].isalpha():
    os.killpg(pid, getattr(signal, 'SIG' + sys.argv[2]))
else:
    os.write(master, sys.argv[2].encode())
text = b''
part = b'.'
while part:
    part = shown()
    text += part
print(text.decode().replace('\r\n', '|'), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
    run timeout 90 python3 "$T/at_up.py" "$@" </dev/null
    echo "$transport: $output"
}

# A command on the host that hears a signal.
HEARS='exec 2>/dev/null; trap "sleep 0.2; echo heard; exit 5" INT HUP TERM; echo up; while :; do sleep 0.01; done'

@test "Ctrl-C at a terminal is for the remote command, whatever the transport" {
    local transport
    for transport in ssh2 openssh local sh 'sh -c "sh; exit \$?"'; do
        at_up terminal $'\003' "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" --transport "$transport" t -- \
            sh -c "$HEARS"
        [ "$output" = '^Cheard| 5' ]
    done
}

@test "so is a signal to the whole process group" {
    local transport
    for transport in ssh2 openssh local sh 'sh -c "sh; exit \$?"'; do
        at_up terminal HUP "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" --transport "$transport" t -- \
            sh -c "$HEARS"
        [ "$output" = 'heard| 5' ]
        at_up none TERM "$GRAPNEL_BIN" run -F "$SSHD_CONFIG" --transport "$transport" t -- \
            sh -c "$HEARS"
        [ "$output" = 'heard| 5' ]
    done
}

# As it happens to what goes on in the background of a shell that has gone.
@test "a terminal that cannot be read any more is an empty input" {
    cat >"$T/orphan.py" <<'PY'
import os, pty, sys
pid, master = pty.fork()
if pid == 0:
    over, lives = os.pipe()
    os.set_inheritable(lives, True)
    if os.fork() == 0:
        orphaned, parent = os.pipe()
        if os.fork() == 0:
            os.setpgid(0, 0)
            os.close(parent)
            os.read(orphaned, 1)
            os.execv('/bin/sh', ['sh', '-c', '"$@" >out 2>err; echo $? >status', 'sh'] + sys.argv[1:])
        os._exit(0)
    os.close(lives)
    os.read(over, 1)
    os._exit(0)
os.write(master, b'typed for others\n')
os.waitpid(pid, 0)
PY
    cd "$T"
    timeout 90 python3 "$T/orphan.py" cat
    [[ $(<err) == *"Input/output error"* ]]
    timeout 90 python3 "$T/orphan.py" "$GRAPNEL" run -F "$SSHD_CONFIG" t -- sh -c 'wc -c; echo whole'
    cat err
    [ "$(<status)" -eq 0 ]
    [ "$(<out)" = $'0\nwhole' ]
}

@test "appending to a file that others write to, too" {
    echo before >"$T/log"
    sh_line "r t -- echo one >>'$T/log'; echo two >>'$T/log'"
    [ "$(<"$T/log")" = $'before\none\ntwo' ]
}
