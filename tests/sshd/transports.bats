#!/usr/bin/env bats
# The ways to a host besides our own SSH, and what ssh_config says about them.
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
}

teardown() {
    lib_teardown
}

# over TRANSPORT: arguments, input, output, status and cleanliness over it.
over() {
    local words=('' "it's" 'a "b" c' '$HOME !x \ * ;' $'two\nlines')
    printf '%s\0' "${words[@]}" >"$T/given"
    "$GRAPNEL" run -F "$SSHD_CONFIG" --transport "$1" t -- printf '%s\0' "${words[@]}" >"$T/arrived"
    cmp "$T/given" "$T/arrived"
    head -c 3000000 /dev/urandom >"$T/big"
    "$GRAPNEL" run -F "$SSHD_CONFIG" --transport "$1" t -- cat <"$T/big" | cmp - "$T/big"
    run -7 --separate-stderr g run --transport "$1" t 'echo out; echo err >&2; exit 7'
    [ "$output" = out ]
    [ "$stderr" = err ]
}

# ---- transports ----

@test "openssh" {
    over openssh
    run -0 --separate-stderr g doctor --transport openssh t
    [[ $output == *command* ]]
    [[ $output == *'nothing left'* ]]
}

@test "a command line: ssh -T" {
    over "ssh -T -F '$SSHD_CONFIG' t"
}

@test "a command line: ssh to a shell other than the login shell" {
    over "ssh -T -F '$SSHD_CONFIG' t dash"
}

# fish is missing: it reads all of its input before it runs the first line of it.
@test "a command line: fish, which waits for the end of its input, is named in the error" {
    command -v fish >/dev/null || skip "no fish"
    run --separate-stderr "$GRAPNEL" run --transport fish --connect-timeout 1s x -- true
    fails 'x: shell: the login shell did not start in time' 'as fish does' 'run sh'
}

@test "a command line: ssh -T to accounts with other login shells" {
    need_world
    local account
    for account in bash ash zsh tcsh fish; do
        echo "$account"
        run -7 --separate-stderr g run --transport "ssh -T -F '$SSHD_CONFIG' -l $account t" t -- sh -c 'id -un; exit 7'
        [ "$output" = "$account" ]
    done
}

@test "a command line: shells that read what is typed" {
    local shell
    for shell in sh bash dash "busybox sh" zsh tcsh "bash -i" "sh -c 'echo welcome; exec sh'"; do
        command -v "${shell%% *}" >/dev/null || continue
        echo "$shell"
        run -7 --separate-stderr "$GRAPNEL" run --transport "$shell" x -- sh -c 'echo "$1"; exit 7' sh "it's \"here\""
        [ "$output" = "it's \"here\"" ]
    done
}

@test "a command line: into another machine's namespaces, as into a container" {
    need_world
    over "nsenter --target $SSHD_PID --mount --pid --wd=/ sh"
    run -0 --separate-stderr g run --transport "nsenter --target $SSHD_PID --mount --pid --wd=/ sh" t -- \
        ls -d /home/sudoer
}

@test "a command line: as another user through su" {
    need_world
    over "nsenter --target $SSHD_PID --mount --pid --wd=/ setpriv --reuid 5023 --regid 5023 --clear-groups sh"
}

@test "local" {
    over local
    run -0 --separate-stderr g doctor --transport local t
    [[ $output == *'nothing left'* ]]
}

@test "a command line that is not there, one that fails, one that says something else" {
    run --separate-stderr g run --transport '/no/such/program' t -- true
    fails 't: connect: the transport command failed' /no/such/program
    run --separate-stderr g run --transport 'echo hello there' t -- true
    fails 't: shell: ' 'hello there'
    run --separate-stderr g run --transport 'sh -c "echo no container >&2; exit 3"' t -- true
    fails 't: connect: the transport command failed' 'exit status 3: no container'
    run --separate-stderr g run --transport 'sh -c "exit 9"' t -- true
    fails 't: connect: the transport command failed' 'exit status 9, without a word'
}

@test "a command line that is ssh: its words are understood" {
    local closed
    closed=$(_sshd_free_port)
    run --separate-stderr g run --transport "ssh -T -F $SSHD_CONFIG -p $closed t" t -- true
    fails 't: connect: connection refused' "port $closed"
    run --separate-stderr g run --transport "ssh -T -F $SSHD_CONFIG -o UserKnownHostsFile=none t" t -- true
    fails 't: host key: the host key is not known'
    grep -v IdentityFile "$SSHD_CONFIG" >"$T/config"
    run --separate-stderr g run --transport "ssh -T -F $T/config -i /nonexistent -o BatchMode=yes t" t -- true
    fails 't: auth: every authentication method was refused' 'Permission denied ('
    run --separate-stderr g run --transport "ssh -T -F $SSHD_CONFIG -o Wibble=1 t" t -- true
    fails 't: local: bad configuration' wibble
}

@test "a command line that waits for ever ends with the launcher" {
    local line="sleep $((92000000 + $$))" # which nobody else on this machine runs
    start run --transport "$line" t -- true
    within 5 pgrep -P "$job" -x sleep
    kill -TERM "$job"
    finish "$job"
    [ "$status" -eq 143 ]
    within 5 eval '! pgrep -fx "$line"'
}

@test "the OpenSSH client gets no descriptors of ours but 0 to 2" {
    start run --transport openssh t -- sh -c 'echo ready; sleep 98765'
    within 10 says ready "$T/out"
    run -0 ls "/proc/$(pgrep -P "$job" -x ssh)/fd"
    # 3 is its own connection, and nothing else may be a pipe.
    ls -l "/proc/$(pgrep -P "$job" -x ssh)/fd" >"$T/fds"
    cat "$T/fds"
    [ "$(grep -c pipe: "$T/fds")" -le 6 ]
    kill -TERM "$job"
    finish "$job"
}

# ---- what makes auto choose the OpenSSH client ----

relay='exec 3<>/dev/tcp/127.0.0.1/%p; cat <&3 & cat >&3; kill %%1'

@test "ProxyCommand" {
    run -0 --separate-stderr g run -v -o "ProxyCommand=bash -c '$relay'" -o "HostKeyAlias=[127.0.0.1]:$SSHD_PORT" t -- echo here
    echo "$stderr"
    [ "$output" = here ]
    [[ $stderr == *'ProxyCommand: using the OpenSSH client'* ]]
}

@test "ProxyJump" {
    run -0 --separate-stderr g run -v -o ProxyJump=demo t -- echo here
    [ "$output" = here ]
    [[ $stderr == *'ProxyJump: using the OpenSSH client'* ]]
}

@test "ProxyCommand that fails: it is named, with what it said" {
    run --separate-stderr g run -o 'ProxyCommand=sh -c "echo no way there >&2; exit 1"' t -- true
    fails 't: connect: the connection through the proxy failed: ' 'no way there' '; by ProxyCommand sh -c ' 'see whether the proxy'
    run --separate-stderr g run -o 'ProxyCommand=/nonexistent/proxy %h' t -- true
    fails 't: connect: the connection through the proxy failed' '/nonexistent/proxy: ' 'by ProxyCommand /nonexistent/proxy %h'
    run --separate-stderr g run -o ProxyCommand=false t -- true
    fails 't: connect: the connection through the proxy failed: ' 'by ProxyCommand false'
    run --separate-stderr g run --connect-timeout 1s -o 'ProxyCommand=sleep 20' t -- true
    fails 't: kex: connected, but nothing was said by an SSH server' 'by ProxyCommand sleep 20'
}

@test "ProxyJump that fails: the jump host is named" {
    local closed
    closed=$(_sshd_free_port)
    run --separate-stderr g run -J "127.0.0.1:$closed" t -- true
    fails 't: connect: connection refused' "port $closed" "by way of 127.0.0.1:$closed (ProxyJump)"
    run --separate-stderr g run -J no-such-host.invalid t -- true
    fails 't: resolve: host name does not resolve' 'by way of no-such-host.invalid'
    run --separate-stderr g run -J demo -p "$closed" t -- true
    fails 't: connect: connection refused' 'by way of demo'
}

@test "--transport ssh2 with a proxy says what it lacks" {
    run --separate-stderr g run --transport ssh2 -J demo t -- true
    fails 't: auth: this login needs the OpenSSH client: ProxyJump' '--transport openssh'
}

@test "without -v nothing is said about it" {
    run -0 --separate-stderr g run -o "ProxyCommand=bash -c '$relay'" -o "HostKeyAlias=[127.0.0.1]:$SSHD_PORT" t -- echo here
    [ -z "$stderr" ]
}

@test "-v tells each phase once, with what was chosen in it" {
    local transport
    for transport in auto openssh local; do
        run -0 --separate-stderr g run -v --transport "$transport" t -- true
        echo "$stderr"
        run -1 grep -E ': *$' <<<"$stderr"
        run -0 sort <<<"$(g run -v --transport "$transport" t -- true 2>&1 | cut -d : -f 1-3)"
        [ "$output" = "$(sort -u <<<"$output")" ]
        [[ $output == *': ready'* ]]
    done
    run -0 --separate-stderr g run -vv t -- true
    [[ $stderr == *'t: kex begins'* ]]
}

@test "everything else is our own SSH" {
    run -0 --separate-stderr g run -v t -- echo here
    [[ $stderr != *'OpenSSH client'* ]]
    [[ $stderr == *"127.0.0.1 port $SSHD_PORT"* ]]
}

# ---- ssh_config ----

# with LINE...: an ssh_config of these lines before those of the server's alias.
with() {
    { printf '%s\n' "$@"; cat "$SSHD_CONFIG"; } >"$T/config"
    run --separate-stderr "$GRAPNEL" run -F "$T/config" "${target:-t}" -- echo here
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "$stderr"
}

@test "ssh_config: the first value wins, patterns and negation count" {
    with 'Host !t *' '  Port 1' 'Host t' '  ConnectTimeout 9' 'Host *'
    [ "$output" = here ]
    with 'Host t*' '  Port 1'
    fails 't: connect: connection refused' 'port 1'
}

@test "ssh_config: Include, also of patterns, relative to where ssh looks" {
    mkdir "$T/more"
    sed 's/^Host demo t/Host included/' "$SSHD_CONFIG" >"$T/more/a.conf"
    target=included with "Include $T/more/*.conf" 'Host *'
    [ "$output" = here ]
    target=included with "Include $T/none/*.conf" 'Host *' "  ConnectTimeout 1"
    [ "$status" -eq 255 ]
}

@test "ssh_config: Include that includes itself is an error, no endless loop" {
    with "Include $T/config"
    fails 't: local: bad configuration'
}

@test "ssh_config: Match host, user, originalhost, exec" {
    with 'Match originalhost t' '  ConnectTimeout 3' 'Match host 10.0.0.1' '  Port 1' \
        'Match exec "test %h = 192.0.2.1"' '  Port 1' 'Match exec "false"' '  Port 1' 'Host *'
    [ "$output" = here ]
    with 'Match exec "true"' '  Port 1' 'Host *'
    fails 't: connect: connection refused' 'port 1'
}

@test "ssh_config: tokens in IdentityFile and UserKnownHostsFile" {
    cp "$SSHD_KEY" "$T/key-127.0.0.1"
    cp "$SSHD_KNOWN" "$T/known-t"
    {
        grep -vE 'IdentityFile|UserKnownHostsFile' "$SSHD_CONFIG"
        echo "IdentityFile $T/key-%h"
        echo "UserKnownHostsFile $T/known-%n"
    } >"$T/config"
    run -0 --separate-stderr "$GRAPNEL" run -F "$T/config" t -- echo here
}

@test "ssh_config: quotes, equals signs, comments, odd spaces" {
    with 'host   "other" "t"   # not me' $'\tConnectTimeout=5' '' '   # nothing' 'Host *'
    [ "$output" = here ]
}

@test "ssh_config: the one in the home folder, and the system's" {
    need_world
    mkdir -p "$T/home/.ssh" "$T/etc"
    sed 's/^Host demo t/Host homely/' "$SSHD_CONFIG" >"$T/home/.ssh/config"
    sed 's/^Host demo t/Host common/' "$SSHD_CONFIG" >"$T/etc/ssh_config"
    chmod -R go-w "$T/home"
    run -0 --separate-stderr unshare --mount --propagation private sh -ec '
        mkdir -p /etc/ssh
        mount --bind "$T/etc" /etc/ssh
        mount --bind "$T/home" "$(getent passwd 0 | cut -d: -f6)"
        "$GRAPNEL" run homely -- echo one
        "$GRAPNEL" run common -- echo two
        ! "$GRAPNEL" run -F none --connect-timeout 10s homely -- true 2>/dev/null'
    [ "$output" = $'one\ntwo' ]
}

# ---- targets ----

@test "targets: user@host, host:port, ssh://, -l, -p" {
    local target
    for target in "$SSHD_USER@t" "t:$SSHD_PORT" "$SSHD_USER@t:$SSHD_PORT" \
        "ssh://$SSHD_USER@t:$SSHD_PORT" "ssh://t"; do
        echo "$target"
        run -0 --separate-stderr g run "$target" -- echo here
    done
    run -0 --separate-stderr g run -p "$SSHD_PORT" -l "$SSHD_USER" t -- id -un
    [ "$output" = "$SSHD_USER" ]
    run --separate-stderr g run -p 1 t -- true
    fails 't: connect: connection refused' 'port 1'
}

@test "targets: the user of the target, -l and ssh_config, in ssh's order" {
    need_world
    run -0 --separate-stderr g run -l plain t -- id -un
    [ "$output" = plain ]
    run -0 --separate-stderr g run plain@t -- id -un
    [ "$output" = plain ]
}

# ordered USER PORT WORD...: grapnel takes these words (the host is t) as ssh does, and both take them
# for this user and port.
ordered() {
    local user=$1 port=$2
    shift 2
    echo "$*"
    ssh -G -F "$SSHD_CONFIG" "$@" >"$T/ssh" 2>/dev/null
    grep -qxF "user $user" "$T/ssh"
    grep -qxF "port $port" "$T/ssh"
    run --separate-stderr g run "$@" -- id -un
    if [ "$port" = "$SSHD_PORT" ]; then
        [ "$output" = "$user" ]
    else
        fails ": connect: connection refused: 127.0.0.1 port $port"
    fi
}

@test "targets: the first of -l, -p, -o and the target's own wins, as with ssh" {
    need_world
    local good=$SSHD_PORT
    ordered "$SSHD_USER" 1 -p 1 -p 2 t
    ordered "$SSHD_USER" 2 -o Port=2 -p 1 t
    ordered "$SSHD_USER" 1 -p 1 -o Port=2 t
    ordered plain "$good" -l plain -l bash t
    ordered bash "$good" -o User=bash -l plain dash@t
    ordered plain "$good" -l plain dash@t
    ordered dash "$good" dash@t -l plain -o User=bash
    ordered plain "$good" t -l plain -o User=bash
    ordered bash 1 ssh://bash@t:1 -p 2 -l plain
    ordered plain 2 -p 2 -l plain ssh://bash@t:1
    ordered "$SSHD_USER" 1 ssh://t:1 -p 2
}

@test "targets: those that are none are told apart" {
    local target
    for target in http://t SSH://t user@ ssh://t:99999 t: t:0 ssh://t/path; do
        run --separate-stderr "$GRAPNEL" run -F none -- "$target" true
        fails "$target: local: invalid argument: "
    done
    run --separate-stderr "$GRAPNEL" run -F none -- '[::1' true
    fails "local: invalid argument: in '[::1', character 5: "
    run --separate-stderr "$GRAPNEL" run -F none -- '' true
    fails 'the target is empty'
    run --separate-stderr "$GRAPNEL" run -F none --transport '' t true
    fails '--transport needs TRANSPORT'
}

@test "targets: a key file whose name needs quoting" {
    cp "$SSHD_KEY" "$T/a \"key\" # \\1"
    grep -v IdentityFile "$SSHD_CONFIG" >"$T/config"
    for transport in ssh2 openssh; do
        run -0 --separate-stderr "$GRAPNEL" run -F "$T/config" --transport "$transport" \
            -i "$T/a \"key\" # \\1" t -- echo here
        [ "$output" = here ]
    done
}

@test "targets: nothing in them becomes an option or a command" {
    run --separate-stderr g run --transport openssh '-oProxyCommand=touch '"$T/owned" -- true
    [ "$status" -eq 255 ]
    run --separate-stderr g run --transport openssh -- '-oProxyCommand=touch '"$T/owned" true
    [ "$status" -eq 255 ]
    run --separate-stderr "$GRAPNEL" run -F none --transport openssh --connect-timeout 5s 'a;touch '"$T/owned" -- true
    [ "$status" -eq 255 ]
    run --separate-stderr "$GRAPNEL" run -F none --transport openssh --connect-timeout 5s '$(touch '"$T/owned"')' -- true
    [ "$status" -eq 255 ]
    [ ! -e "$T/owned" ]
}
