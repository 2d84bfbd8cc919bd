#!/usr/bin/env bats
# From the name to the host key: what can be wrong is told apart, and the rest works.
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
    K=$T/known_hosts
    touch "$K"
}

teardown() {
    lib_teardown
}

# to PORT OPTION...: `true` on another port, with the server's ssh_config.
to() {
    run --separate-stderr g run -p "$1" "${@:2}" t -- true
}

# With the test's own known_hosts.
known() {
    run --separate-stderr g run -o "UserKnownHostsFile=$K" "$@" t -- true
}

# The host's public key of a type, as known_hosts has it.
host_key() {
    cut -d ' ' -f 1,2 "$SSHD_DIR/host_$1.pub"
}

# ---- resolve, connect ----

@test "a name that does not resolve" {
    run --separate-stderr "$GRAPNEL" run -F none --connect-timeout 20s no-such-host.invalid -- true
    fails 'no-such-host.invalid: resolve: host name does not resolve' 'check the spelling'
}

@test "a port that nobody listens on" {
    to "$(_sshd_free_port)"
    fails 't: connect: connection refused' 'check that sshd runs there' 127.0.0.1
}

@test "an address that does not answer, within --connect-timeout" {
    serve rogue full
    SECONDS=0
    to "$port" --connect-timeout 1s
    fails 't: connect: no answer within the connect time limit'
    [ "$SECONDS" -lt 5 ]
}

@test "an address that does not answer, within ssh_config's ConnectTimeout" {
    serve rogue full
    to "$port" -o ConnectTimeout=1
    fails 't: connect: no answer within the connect time limit'
}

@test "a host that cannot be reached" {
    need_world
    run --separate-stderr unshare --net "$GRAPNEL" run -F "$SSHD_CONFIG" -o HostName=192.0.2.1 t -- true
    fails 't: connect: host is unreachable'
}

@test "the next address is tried when one refuses" {
    need_world
    printf '127.0.0.2 twin\n127.0.0.1 twin\n' >"$T/hosts"
    run -0 --separate-stderr unshare --mount --propagation private sh -c '
        mount --bind "$T/hosts" /etc/hosts &&
        exec "$GRAPNEL" run -F "$SSHD_CONFIG" -o HostName=twin -o HostKeyAlias="[127.0.0.1]:$SSHD_PORT" t -- echo here'
    [ "$output" = here ]
}

@test "the next address is tried when one does not answer" {
    need_world
    serve rogue full 127.0.0.2 "$SSHD_PORT"
    printf '127.0.0.2 twin\n127.0.0.1 twin\n' >"$T/hosts"
    SECONDS=0
    run -0 --separate-stderr unshare --mount --propagation private sh -c '
        mount --bind "$T/hosts" /etc/hosts &&
        exec "$GRAPNEL" run -F "$SSHD_CONFIG" -o HostName=twin -o HostKeyAlias="[127.0.0.1]:$SSHD_PORT" t -- echo here'
    [ "$output" = here ]
    [ "$SECONDS" -lt 5 ]
}

# ---- key exchange ----

@test "not an SSH server: a web server" {
    serve rogue http
    to "$port" --connect-timeout 5s
    fails 't: kex: the peer is not an SSH server' 'check the port'
}

@test "not an SSH server: random bytes without end" {
    serve rogue garbage
    to "$port" --connect-timeout 5s
    fails 't: kex: the peer is not an SSH server'
}

@test "a server that closes at once" {
    serve rogue close
    to "$port" --connect-timeout 5s
    fails 't: connect: the connection was closed' 'before the server said anything'
}

@test "not an SSH server: version 1 only" {
    serve rogue old
    to "$port" --connect-timeout 5s
    fails 't: kex: '
}

@test "a server that accepts and never speaks" {
    serve rogue mute
    to "$port" --connect-timeout 1s
    fails 't: kex: connected, but nothing was said by an SSH server' "check that the port is an SSH server's"
}

@test "a server that stops after its greeting" {
    serve rogue banner
    to "$port" --connect-timeout 1s
    fails 't: kex: the SSH server stopped answering during key exchange'
}

@test "a server that stops in the middle of the key exchange" {
    serve proxy --stall 700 "$SSHD_PORT"
    to "$port" --connect-timeout 1s -o "HostKeyAlias=[127.0.0.1]:$SSHD_PORT"
    fails 't: kex: the SSH server stopped answering during key exchange'
}

@test "a connection that is reset in the middle of the key exchange" {
    serve proxy --cut 700 "$SSHD_PORT"
    to "$port" -o "HostKeyAlias=[127.0.0.1]:$SSHD_PORT"
    fails 't: connect: the connection was closed'
}

# The first connection sends ahead, and may be through when it is reset; the second one does not.
@test "a connection that is reset during or after the login is not taken for a refusal" {
    for bytes in 1850 1900 2000 2200 2600 2800; do
        serve proxy --cut "$bytes" "$SSHD_PORT"
        to "$port" -o "HostKeyAlias=[127.0.0.1]:$SSHD_PORT"
        fails 't: connect: the connection was closed' '' 'Connection reset'
    done
}

@test "no algorithm in common" {
    to "$SSHD_PORT" -o KexAlgorithms=diffie-hellman-group1-sha1 --transport ssh2
    fails 't: kex: '
}

# ---- host key ----

@test "an unknown host key is refused, with its fingerprint and the way to add it" {
    known
    fails 't: host key: the host key is not known' SHA256: 'StrictHostKeyChecking=accept-new'
    [ ! -s "$K" ]
    # The fingerprint is one of the server's.
    cat "$SSHD_DIR"/host_*.pub | ssh-keygen -lf - | cut -d ' ' -f 2 >"$T/prints"
    grep -qF "$(grep -o 'SHA256:[A-Za-z0-9+/]*' <<<"$stderr" | head -n 1)" "$T/prints"
}

@test "a changed host key is refused" {
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    echo "[127.0.0.1]:$SSHD_PORT $(cut -d ' ' -f 1,2 "$T/other.pub")" >"$K"
    known
    fails 't: host key: the host key HAS CHANGED' 'ssh-keygen -R' SHA256: "$K:1"
}

@test "a changed host key is refused even with StrictHostKeyChecking=accept-new" {
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    echo "[127.0.0.1]:$SSHD_PORT $(cut -d ' ' -f 1,2 "$T/other.pub")" >"$K"
    known -o StrictHostKeyChecking=accept-new
    fails 't: host key: the host key HAS CHANGED'
    [ "$(wc -l <"$K")" -eq 1 ]
}

@test "a revoked host key is refused, also when it is listed as good" {
    local type
    for type in ed25519 rsa ecdsa; do
        echo "[127.0.0.1]:$SSHD_PORT $(host_key "$type")"
        echo "@revoked * $(host_key "$type")"
    done >"$K"
    known
    fails 't: host key: the host key is revoked' 'do not connect'
    known -o StrictHostKeyChecking=accept-new
    fails 't: host key: the host key is revoked'
}

@test "a revoked key leaves the others of the host good" {
    {
        echo "@revoked * $(host_key ecdsa)"
        echo "[127.0.0.1]:$SSHD_PORT $(host_key ecdsa)"
        echo "[127.0.0.1]:$SSHD_PORT $(host_key ed25519)"
    } >"$K"
    known -o HostKeyAlgorithms=ssh-ed25519
    [ "$status" -eq 0 ]
}

@test "hashed names are found" {
    echo "[127.0.0.1]:$SSHD_PORT $(host_key ed25519)" >"$K"
    ssh-keygen -q -H -f "$K" 2>/dev/null
    [ "$(grep -c 127.0.0.1 "$K" || true)" -eq 0 ]
    known
    [ "$status" -eq 0 ]
}

@test "a hashed name with another key is a changed one" {
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    echo "[127.0.0.1]:$SSHD_PORT $(cut -d ' ' -f 1,2 "$T/other.pub")" >"$K"
    ssh-keygen -q -H -f "$K" 2>/dev/null
    known
    fails 't: host key: the host key HAS CHANGED'
}

@test "a key for the host's default port is good for another port, as it is for ssh" {
    echo "127.0.0.1 $(host_key ed25519)" >"$K"
    known
    [ "$status" -eq 0 ]
}

@test "another key for the default port makes that of this port unknown, not changed" {
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    echo "127.0.0.1 $(cut -d ' ' -f 1,2 "$T/other.pub")" >"$K"
    known
    fails 't: host key: the host key is not known'
}

@test "patterns: wildcards match, a negated one does not" {
    echo "[127.0.0.*]:* $(host_key ed25519)" >"$K"
    known
    [ "$status" -eq 0 ]
    echo "[127.0.0.*]:*,![127.0.0.1]:$SSHD_PORT $(host_key ed25519)" >"$K"
    known
    fails 't: host key: the host key is not known'
}

@test "only a key type that known_hosts has is asked for" {
    local type
    for type in rsa ed25519 ecdsa; do
        echo "[127.0.0.1]:$SSHD_PORT $(host_key "$type")" >"$K"
        known --transport ssh2
        echo "$type: $stderr"
        [ "$status" -eq 0 ]
    done
}

@test "several keys of a host: one that fits is enough" {
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    {
        echo "# a comment, an empty line, a line that is none"
        echo
        echo "garbage"
        echo "[127.0.0.1]:$SSHD_PORT $(cut -d ' ' -f 1,2 "$T/other.pub")"
        echo "other,[127.0.0.1]:$SSHD_PORT,more $(host_key ed25519) comment"
    } >"$K"
    known
    [ "$status" -eq 0 ]
}

@test "the second of two files has the key" {
    echo "[127.0.0.1]:$SSHD_PORT $(host_key ed25519)" >"$T/second"
    run -0 --separate-stderr g run -o "UserKnownHostsFile=$K $T/second" t -- true
    run -0 --separate-stderr g run -o "UserKnownHostsFile=$K" -o "GlobalKnownHostsFile=$T/second" t -- true
}

@test "HostKeyAlias is the name that is looked for" {
    echo "the-alias $(host_key ed25519)" >"$K"
    known -o HostKeyAlias=the-alias
    [ "$status" -eq 0 ]
}

@test "accept-new notes the key, so that the next connection knows it" {
    known -o StrictHostKeyChecking=accept-new
    [ "$status" -eq 0 ]
    [ "$(wc -l <"$K")" -ge 1 ]
    known
    [ "$status" -eq 0 ]
    ssh-keygen -F "[127.0.0.1]:$SSHD_PORT" -f "$K" >/dev/null
}

@test "accept-new that cannot note the key warns, and makes no folders" {
    run -0 --separate-stderr g run -o "UserKnownHostsFile=$T/none/kh" -o StrictHostKeyChecking=accept-new t -- echo here
    echo "$stderr"
    [ "$output" = here ]
    [[ $stderr == "grapnel: t: warning: "*"$T/none/kh: No such file or directory"* ]]
    [ "$(wc -l <<<"$stderr")" -eq 1 ]
    [ ! -e "$T/none" ]
    run -0 --separate-stderr g run -q -o "UserKnownHostsFile=$T/none/kh" -o StrictHostKeyChecking=accept-new t -- true
    [ -z "$stderr" ]
    run -0 --separate-stderr g run -o UserKnownHostsFile=none -o StrictHostKeyChecking=accept-new t -- true
    [ -z "$stderr" ]
}

@test "the OpenSSH client's refusals are told apart as well" {
    known --transport openssh
    fails 't: host key: the host key is not known'
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    echo "[127.0.0.1]:$SSHD_PORT $(cut -d ' ' -f 1,2 "$T/other.pub")" >"$K"
    known --transport openssh
    fails 't: host key: the host key HAS CHANGED'
    { echo "@revoked * $(host_key ed25519)"; echo "[127.0.0.1]:$SSHD_PORT $(host_key ed25519)"; } >"$K"
    known --transport openssh -o HostKeyAlgorithms=ssh-ed25519
    fails 't: host key: the host key is revoked'
    to "$(_sshd_free_port)" --transport openssh
    fails 't: connect: connection refused'
    serve rogue full
    to "$port" --transport openssh --connect-timeout 1s
    fails 't: connect: no answer within the connect time limit'
    serve rogue garbage
    to "$port" --transport openssh
    fails 't: kex: the peer is not an SSH server'
    serve rogue close
    to "$port" --transport openssh
    fails 't: connect: the connection was closed' MaxStartups
    serve rogue mute
    to "$port" --transport openssh --connect-timeout 1s
    fails 't: kex: connected, but nothing was said by an SSH server' "check that the port is an SSH server's"
    serve rogue banner
    to "$port" --transport openssh --connect-timeout 1s
    fails 't: shell: the login shell did not start in time' 'may still have been connecting: try ssh -v'
    run --separate-stderr "$GRAPNEL" run -F none --transport openssh no-such-host.invalid -- true
    fails 'no-such-host.invalid: resolve: host name does not resolve'
}

# ---- what is asked for is checked first ----

@test "a bad ssh_config is named with its line" {
    printf 'Host t\n    Port many\n' >"$T/config"
    run --separate-stderr "$GRAPNEL" run -F "$T/config" t -- true
    fails 't: local: bad configuration' "$T/config" 2
}

@test "an ssh_config that is not there" {
    run --separate-stderr "$GRAPNEL" run -F "$T/none" t -- true
    fails 't: local: bad configuration' "$T/none: No such file or directory"
}

@test "a keyword that nobody knows is named with its place and the way out" {
    { cat "$SSHD_CONFIG"; echo 'Wibble 1'; } >"$T/config"
    run --separate-stderr "$GRAPNEL" run -F "$T/config" t -- true
    fails 't: local: bad configuration' "$T/config:$(wc -l <"$T/config"): " wibble IgnoreUnknown
    run --separate-stderr g run -o Wibble=1 t -- true
    fails 't: local: bad configuration' '-o: unknown keyword "wibble"' '-o IgnoreUnknown=wibble'
    run -0 --separate-stderr g run -o IgnoreUnknown=w* -o Wibble=1 t -- true
    run -0 --separate-stderr "$GRAPNEL" run -F "$T/config" -o IgnoreUnknown=x,wibble t -- true
    run -0 --separate-stderr g run -o ForwardAgent=yes -o VisualHostKey=no t -- true
}
