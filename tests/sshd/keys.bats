#!/usr/bin/env bats
# grapnel keys scan: what hosts prove themselves by, against known_hosts, and what is written there.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

load ../lib

setup_file() {
    local more=()
    ! sshd_can_world || more=('HostCertificate /home/.server/host_ed25519-cert.pub')
    server_start "ListenAddress 127.0.0.2" "ListenAddress 127.0.0.3" "ListenAddress 127.0.0.4" "${more[@]}"
    ssh-keygen -q -t ed25519 -N '' -C ca -f "$SSHD_DIR/ca"
    ssh-keygen -q -s "$SSHD_DIR/ca" -h -I host -n 127.0.0.2,127.0.0.3,127.0.0.4 "$SSHD_DIR/host_ed25519.pub"
    cat >"$SSHD_DIR/keys_config" <<CONF
Host jump
    HostName 127.0.0.1
    HostKeyAlias jump
    UserKnownHostsFile $SSHD_DIR/jump_known
Host nojump
    HostName 127.0.0.9
Host behind
    HostName 127.0.0.3
    ProxyJump jump
Host nowhere
    HostName 127.0.0.3
    ProxyJump nojump
Host by-command
    HostName 127.0.0.4
    ProxyCommand ssh -F $SSHD_DIR/keys_config -W %h:%p jump
Host alias
    HostName 127.0.0.2
    HostKeyAlias other
Host *
$(sed '1d; /HostName/d; /KnownHosts/d' "$SSHD_CONFIG")
    GlobalKnownHostsFile /dev/null
CONF
    awk '{ print "jump", $1, $2 }' "$SSHD_DIR"/host_*.pub >"$SSHD_DIR/jump_known"
    ssh-keygen -q -t ed25519 -N '' -C other -f "$SSHD_DIR/other"
    export SSHD_CONFIG=$SSHD_DIR/keys_config
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    K=$T/known_hosts
    touch "$K"
    chmod 640 "$K"
    ED=$(cut -d ' ' -f 1,2 "$SSHD_DIR/host_ed25519.pub")
    RSA=$(cut -d ' ' -f 1,2 "$SSHD_DIR/host_rsa.pub")
    OTHER=$(cut -d ' ' -f 1,2 "$SSHD_DIR/other.pub")
    ED_PRINT=$(ssh-keygen -lf "$SSHD_DIR/host_ed25519.pub" | cut -d ' ' -f 2)
    OTHER_PRINT=$(ssh-keygen -lf "$SSHD_DIR/other.pub" | cut -d ' ' -f 2)
}

teardown() {
    lib_teardown
}

# Without a terminal, against $K.
keys() {
    setsid "$GRAPNEL" keys scan -F "$SSHD_CONFIG" -o "UserKnownHostsFile=$K" "$@" </dev/null
}

scan() {
    run --separate-stderr keys "$@"
}

# On a terminal: the steps of terminal.py are standard input.
on_terminal() {
    run python3 "$LIB_ROOT/tests/cli/terminal.py" "$GRAPNEL" keys scan -F "$SSHD_CONFIG" \
        -o "UserKnownHostsFile=$K" "$@"
}

# name ADDRESS: as it stands in known_hosts.
name() {
    echo "[$1]:$SSHD_PORT"
}

# came STATUS LINE...: the status of the last run, and the whole of what it has printed.
came() {
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "${stderr:-}"
    [ "$status" = "$1" ]
    shift
    [ "$output" = "$(printf '%s\n' "$@")" ]
}

@test "what is new is shown, hosts with the same key together; without a terminal nothing is written" {
    scan '127.0.0.[2-4]'
    came 1 "new: ssh-ed25519 $ED_PRINT: 127.0.0.[2-4] (3)"
    [[ $stderr == *"nothing was written"*"--yes"* ]]
    [ ! -s "$K" ]
    [ "$(grep -c 'Accepted\|Failed\|userauth' "$SSHD_LOG")" = 0 ]
}

@test "a no, or just Enter, writes nothing; a yes writes what was shown, by no second look" {
    for answer in 'n' '' 'yep'; do
        on_terminal 127.0.0.2 <<<"expect Write the new key of 1 host to known_hosts? [y/N] "$'\n'"send $answer\n"
        [ "$status" = 1 ]
        [ ! -s "$K" ]
    done
    before=$(grep -c 'Connection from' "$SSHD_LOG")
    on_terminal '127.0.0.[2-3]' <<'STEPS'
expect Write the new keys of 2 hosts to known_hosts? [y/N] 
send y\n
STEPS
    [ "$status" = 0 ]
    [ "$(sort "$K")" = "$(name 127.0.0.2) $ED"$'\n'"$(name 127.0.0.3) $ED" ]
    [ "$(grep -c 'Connection from' "$SSHD_LOG")" = $((before + 2)) ]
    scan '127.0.0.[2-3]'
    came 0 'known: 2 keys'
}

@test "Ctrl-C at the question: nothing is written" {
    on_terminal 127.0.0.2 <<'STEPS'
expect [y/N] 
send \x03
STEPS
    [ "$status" = 130 ]
    [ ! -s "$K" ]
}

@test "--yes writes without asking, and ssh and grapnel run know the hosts then" {
    printf 'before ssh-ed25519 x' >"$K"
    chmod 600 "$K"
    scan --yes --type all '127.0.0.[2-4]'
    [ "$status" = 0 ]
    [ "$(wc -l <"$K")" = 10 ]
    [ "$(head -n 1 "$K")" = 'before ssh-ed25519 x' ]
    [ "$(stat -c %a "$K")" = 600 ]
    ssh -F "$SSHD_CONFIG" -o "UserKnownHostsFile=$K" -o StrictHostKeyChecking=yes 127.0.0.2 true
    run -0 g run -o "UserKnownHostsFile=$K" '127.0.0.[2-4]' -- echo x
    scan --type all --known '127.0.0.[2-4]'
    [ "$status" = 0 ]
    grep -qxF "known: ssh-ed25519 $ED_PRINT: 127.0.0.[2-4] (3)" <<<"$output"
    [ "$(wc -l <<<"$output")" = 3 ]
}

@test "a file that is missing is made for its owner alone; names are hashed where ssh_config says so" {
    rm "$K"
    scan --yes -o HashKnownHosts=yes '127.0.0.[2-3]'
    [ "$status" = 0 ]
    [ "$(stat -c %a "$K")" = 600 ]
    [ "$(grep -c '^|1|[^ ]* ssh-ed25519 ' "$K")" = 2 ]
    run -1 grep 127 "$K"
    ssh-keygen -F "$(name 127.0.0.3)" -f "$K"
    scan '127.0.0.[2-3]'
    came 0 'known: 2 keys'
}

@test "kinds of keys: those that were asked for, as far as the host has them" {
    scan --type rsa,ecdsa 127.0.0.2
    [ "$status" = 1 ]
    [ "$(cut -d ' ' -f 2 <<<"$output" | sort)" = $'ecdsa-sha2-nistp256\nssh-rsa' ]
    # A server with one key only.
    printf '%s\n' "HostKey $SSHD_DIR/host_ed25519" 'UsePAM no' 'StrictModes no' >"$T/sshd_config"
    printf '#!/bin/sh\necho x >>"%s"\nexec %s -i -f "%s"\n' "$T/times" "$SSHD_BIN" "$T/sshd_config" >"$T/server"
    chmod 755 "$T/server"
    scan -o "ProxyCommand=$T/server" --type all one
    came 1 "new: ssh-ed25519 $ED_PRINT: one (1)"
    [ "$(wc -l <"$T/times")" = 1 ] # since it says what it has
    scan -o "ProxyCommand=$T/server" --type rsa one
    [ "$status" = 255 ]
    [[ $stderr == *'no key of the types that were asked for'* ]]
}

@test "the key that a connection would use is asked for; further ones of a known host are new" {
    echo "$(name 127.0.0.2) $RSA" >"$K"
    scan 127.0.0.2
    came 0 'known: 1 key'
    scan --type ed25519,rsa 127.0.0.2
    came 1 "new: ssh-ed25519 $ED_PRINT: 127.0.0.2 (1)" 'known: 1 key'
    # Without the key that is known it may be anybody.
    scan --type ed25519 127.0.0.2
    [ "$status" = 1 ]
    [[ $output == "CHANGED: ssh-ed25519 "*"instead of ssh-rsa "* ]]
}

@test "HostKeyAlias is the name in known_hosts" {
    scan --yes alias
    [ "$status" = 0 ]
    [ "$(cat "$K")" = "other $ED" ]
    : >"$K"
    scan --yes -o HostKeyAlias=same '127.0.0.[2-4]'
    came 0 "new: ssh-ed25519 $ED_PRINT: 127.0.0.[2-4] (3)"
    [ "$(cat "$K")" = "same $ED" ]
}

@test "a host behind others: through ProxyJump and ProxyCommand, whose failures are told" {
    scan --yes --type all behind,by-command
    [ "$status" = 0 ]
    [ "$(grep -cF "$(name 127.0.0.3) " "$K")" = 3 ]
    [ "$(grep -cF "$(name 127.0.0.4) " "$K")" = 3 ]
    scan --retry 1 nowhere
    came 255 ''
    grep -q '^grapnel: connect: connection refused: .*127.0.0.9.*nojump (ProxyJump): nowhere (1)$' <<<"$stderr"
    scan -o 'ProxyCommand=echo %h %p >&2; exit 3' 127.0.0.2
    [ "$status" = 255 ]
    cd "$T"
    scan -o 'ProxyCommand=echo %n' 'x`>shell`'
    [ "$status" = 255 ]
    [ ! -e shell ]
    scan -o 'ProxyCommand=echo x`>shell`' x # that is the user's own
    [ -e shell ]
}

# ---- changed keys ----

@test "a changed key is shown with the old one and its place, and left alone without --replace" {
    printf '# mine\n%s %s\n' "$(name 127.0.0.2)" "$OTHER" >"$K"
    cp "$K" "$T/before"
    scan --yes '127.0.0.2'
    came 1 "CHANGED: ssh-ed25519 $ED_PRINT: 127.0.0.2 (1)" \
        "    instead of ssh-ed25519 $OTHER_PRINT in $K:2"
    [[ $stderr == *"--replace"* ]]
    scan --replace 127.0.0.2
    [ "$status" = 1 ]
    [[ $stderr == *"nothing was written"*"--yes --replace"* ]]
    cmp "$K" "$T/before"
}

@test "a changed key is asked for apart, and only yes is a yes" {
    echo "$(name 127.0.0.2) $OTHER" >"$K"
    for answer in y n ''; do
        on_terminal --replace '127.0.0.[2-3]' <<STEPS
expect Write the new key of 1 host to known_hosts? [y/N] 
send n\n
expect THE KEYS OF 1 HOST HAVE CHANGED.
expect [yes/N] 
send $answer\n
STEPS
        [ "$status" = 1 ]
        [ "$(cat "$K")" = "$(name 127.0.0.2) $OTHER" ]
    done
    on_terminal --replace 127.0.0.2 <<'STEPS'
expect [yes/N] 
send yes\n
STEPS
    [ "$status" = 0 ]
    [ "$(cat "$K")" = "$(name 127.0.0.2) $ED" ]
}

@test "only the old key of that name goes: other names, keys and lines stay, as do mode and link" {
    hashed=$(name 127.0.0.3)
    echo "$hashed $OTHER" >"$T/hashed"
    ssh-keygen -q -H -f "$T/hashed"
    mkdir "$T/real"
    {
        echo '# a comment'
        echo "first,$(name 127.0.0.2),last  $OTHER a comment"
        cat "$T/hashed"
        echo "another $OTHER"
        echo "$(name 127.0.0.2) $RSA"
        echo '@revoked * ssh-ed25519 nonsense'
        printf '%s %s' "$(name 127.0.0.4)" "$OTHER"
    } >"$T/real/file"
    chmod 604 "$T/real/file"
    ln -sf real/file "$K"
    scan --yes --replace --type ed25519 '127.0.0.[2-4]'
    [ "$status" = 0 ]
    [ -L "$K" ]
    [ "$(stat -c %a "$T/real/file")" = 604 ]
    [ "$(ls "$T/real")" = file ]
    [ "$(head -n 5 "$K")" = "# a comment
first,last  $OTHER a comment
another $OTHER
$(name 127.0.0.2) $RSA
@revoked * ssh-ed25519 nonsense" ]
    # Whose name was hidden stays so.
    [ "$(tail -n +6 "$K" | grep -v '^|1|' | sort)" = "$(for i in 2 4; do echo "$(name "127.0.0.$i") $ED"; done)" ]
    [ "$(grep -c "^|1|.* $ED\$" "$K")" = 1 ]
    scan --type ed25519 '127.0.0.[2-4]'
    came 0 'known: 3 keys'
}

@test "what is kept nowhere is not said to be written" {
    run -1 --separate-stderr "$GRAPNEL" keys scan -F "$SSHD_CONFIG" -o UserKnownHostsFile=/dev/null --yes 127.0.0.2
    [ "$stderr" = "grapnel: 127.0.0.2: not to be written: ssh_config's UserKnownHostsFile is /dev/null" ]
}

@test "lines with patterns, and those of files that are not the user's, are told and not changed" {
    printf '[127.0.0.*]:%s %s\n' "$SSHD_PORT" "$OTHER" >"$K"
    cp "$K" "$T/before"
    scan --yes --replace 127.0.0.2
    [ "$status" = 255 ]
    [[ $stderr == *"127.0.0.2: not written: a pattern "*": $K:1"* ]]
    cmp "$K" "$T/before"
    : >"$K"
    scan --yes --replace -o "GlobalKnownHostsFile=$T/before" 127.0.0.2
    [ "$status" = 1 ]
    [[ $output == *"$T/before:1, which is not yours to change"* ]]
    [ ! -s "$K" ]
}

@test "a revoked key is named as such, and never written" {
    echo "@revoked * $ED" >"$K"
    cp "$K" "$T/before"
    scan --yes --replace '127.0.0.[2-3]'
    came 1 "REVOKED: ssh-ed25519 $ED_PRINT: 127.0.0.[2-3] (2)" "    marked so in $K:1"
    cmp "$K" "$T/before"
}

@test "what only the OpenSSH client heeds is named" {
    scan -o RevokedHostKeys=/etc/hostname --yes 127.0.0.2
    [ "$status" = 0 ]
    [[ $stderr == *"RevokedHostKeys was not looked at"* ]]
}

@test "a file that cannot be written: said, and status 255" {
    rm "$K"
    mkdir "$K"
    scan --yes 127.0.0.2
    [ "$status" = 255 ]
    K=$T/missing/known_hosts scan --yes 127.0.0.2
    [ "$status" = 255 ]
    [[ $stderr == *"$T/missing/known_hosts"* ]]
}

@test "--json: a line for each host" {
    echo "$(name 127.0.0.2) $OTHER" >"$K"
    scan --json '127.0.0.2,127.0.0.3,127.0.0.3:1'
    [ "$status" = 255 ]
    python3 - "$output" "$SSHD_PORT" "$K" <<'PY'
import json, sys
d = {x["host"]: x for x in map(json.loads, sys.argv[1].splitlines())}
port, k = sys.argv[2:]
assert len(d) == 3
two, three = d["127.0.0.2"], d["127.0.0.3"]
assert two["known_as"] == f"[127.0.0.2]:{port}"
[key] = two["keys"]
assert key["state"] == "changed" and key["file"] == k and key["line"] == 1 and key["own"]
assert key["old_fingerprint"].startswith("SHA256:") and key["bits"] == 256
assert three["keys"][0]["state"] == "new" and "old_key" not in three["keys"][0]
assert d["127.0.0.3:1"]["error"]["name"] == "REFUSED"
PY
}

@test "hosts that refuse, are mute or stall are named by cause, and the others are shown" {
    serve badhosts "$SSHD_PORT" good=20 refuse=2 mute=2 banner=2 half=2
    within 10 says ready "$T/badhosts.out"
    sed -n 's/^\(127[0-9.]*\) .*/\1/p' "$T/badhosts.out" >"$T/names"
    scan -p "$port" --connect-timeout 2s -H "$T/names"
    [ "$status" = 255 ]
    [[ $output == "new: ssh-ed25519 $ED_PRINT: "*" (20)" ]]
    grep -q '^grapnel: connect: connection refused: .* (2)$' <<<"$stderr"
    grep -q '^grapnel: kex: connected, but nothing was said.* (2)$' <<<"$stderr"
    grep -q '^grapnel: kex: the SSH server stopped answering.* (4)$' <<<"$stderr"
}

@test "what hosts say, and names, do nothing to a terminal" {
    local said
    scan $'esc\e[31m'
    [ "$status" = 255 ]
    [[ $stderr == *'\x1b[31m'* ]]
    said=$stderr
    scan -v -o "ProxyCommand=printf 'HTTP/\\033]0;title\\007\\r\\n'" 127.0.0.1
    [ "$status" = 255 ]
    [[ $stderr == *'not an SSH server'*'\x1b]0;title\a'* ]]
    said+=$stderr
    scan -o "ProxyCommand=printf '\\033]0;title\\007' >&2" 127.0.0.1
    [[ $stderr == *'\x1b]0;title\a'* ]]
    run -1 has_controls "$(tr -d '\n' <<<"$said$stderr")"
}

@test "Ctrl-C while hosts are asked: nothing is written" {
    serve rogue full
    start keys scan -F "$SSHD_CONFIG" -o "UserKnownHostsFile=$K" --yes "127.0.0.1:$port" -v
    within 10 says 'connect' "$T/err"
    kill -TERM "$job"
    finish "$job"
    [ "$status" = 143 ]
    [ ! -s "$K" ]
}

# ---- certificates ----

# The server has a certificate for all of its addresses, but not for localhost.
authority() {
    need_world
    echo "@cert-authority [127.0.0.*]:$SSHD_PORT,[localhost]:$SSHD_PORT $(cut -d ' ' -f 1,2 "$SSHD_DIR/ca.pub")" >"$K"
}

@test "a host of which only a @cert-authority is known: by way of the OpenSSH client, which checks it" {
    authority
    run -0 --separate-stderr g run -v -o "UserKnownHostsFile=$K" 127.0.0.2 -- echo x
    [ "$output" = x ]
    [[ $stderr == *"@cert-authority"*"trying the OpenSSH client"* ]]
    run -0 g doctor -o "UserKnownHostsFile=$K" 127.0.0.2
    [[ $output == *openssh* ]]
    # Beside another key, too; and a server that has no certificate for its name is refused.
    echo "$(name 127.0.0.2) $OTHER" >>"$K"
    run -0 --separate-stderr g run -o "UserKnownHostsFile=$K" 127.0.0.2 -- echo x
    [ "$output" = x ]
    run --separate-stderr g run -o "UserKnownHostsFile=$K" localhost -- echo x
    fails 'localhost: host key: the host key is not known'
}

@test "a @cert-authority on many hosts; where there is no OpenSSH client, that is said" {
    authority
    run -0 --separate-stderr g run -o "UserKnownHostsFile=$K" '127.0.0.[2-4]' -- echo x
    [ "$(sort <<<"$output")" = "$(printf '127.0.0.%s: x\n' 2 3 4)" ]
    mkdir "$T/bin"
    ln -s "$(command -v timeout)" "$T/bin/"
    run -255 --separate-stderr env PATH="$T/bin" "$GRAPNEL" run -F "$SSHD_CONFIG" \
        -o "UserKnownHostsFile=$K" 127.0.0.2 -- true
    [[ $stderr == *"needs the OpenSSH client"*"@cert-authority"*"install it"* ]]
}

@test "keys of hosts that have an authority are named as such, and not written" {
    authority
    scan --yes '127.0.0.[2-4]'
    came 0 "not known, but an authority is: ssh-ed25519 $ED_PRINT: 127.0.0.[2-4] (3)"
    [ "$(wc -l <"$K")" = 1 ]
}
