#!/usr/bin/env bats
# Logging in: keys, agents, passwords, and what is left to the OpenSSH client.
# shellcheck disable=SC1010,SC2016,SC2030,SC2031,SC2094,SC2143,SC2154

load ../lib

setup_file() {
    server_start 'UsePAM yes' 'PasswordAuthentication yes' 'KbdInteractiveAuthentication yes' \
        'GSSAPIAuthentication yes' 'TrustedUserCAKeys /home/.ca.pub' 'MaxAuthTries 4' \
        'HostCertificate /home/.server/host_ed25519-cert.pub' \
        'Match User beggar' 'AuthenticationMethods password' \
        'Match User stranger' 'AuthenticationMethods keyboard-interactive' \
        'Match User twice' 'AuthenticationMethods publickey,password' \
        'Match User dash' 'AuthenticationMethods gssapi-with-mic' \
        'Match User plain' 'AuthorizedKeysFile /home/plain/.ssh/authorized_keys'
    [ -z "$SSHD_WORLD" ] || {
        ssh-keygen -q -t ed25519 -N '' -f "$SSHD_DIR/ca"
        cp "$SSHD_DIR/ca.pub" "$SSHD_TEMP/home/.ca.pub"
        ssh-keygen -q -s "$SSHD_DIR/ca" -h -I host -n 127.0.0.1 "$SSHD_DIR/host_ed25519.pub"
    }
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
    need_world
    C=$T/config
    export C
}

teardown() {
    [ -z "${SSH_AGENT_PID:-}" ] || kill "$SSH_AGENT_PID"
    lib_teardown
}

# config LINE...: an ssh_config for host t with these lines.
config() {
    {
        printf '%s\n' 'Host t' 'HostName 127.0.0.1' "Port $SSHD_PORT" 'User root' \
            "UserKnownHostsFile $SSHD_KNOWN" 'GlobalKnownHostsFile /dev/null' \
            'StrictHostKeyChecking yes' "$@"
    } >"$C"
}

# login OPTION...: logs in and tells who it is.
login() {
    run --separate-stderr env PATH="${LOGIN_PATH:-$PATH}" "$GRAPNEL" run -F "$C" "$@" t -- id -un
    printf 'status %s\nstdout %s\nstderr %s\n' "$status" "$output" "$stderr"
}

logged_in_as() {
    [ "$status" -eq 0 ] && [ "$output" = "$1" ]
}

# A new key that the account `plain` (and only it) accepts; further words are for ssh-keygen.
key() {
    K=$T/key
    ssh-keygen -q -f "$K" "$@"
    mkdir -p "$SSHD_TEMP/home/plain/.ssh"
    cp "$K.pub" "$SSHD_TEMP/home/plain/.ssh/authorized_keys"
}

askpass() {
    printf '#!/bin/sh\necho asked >>"%s/asked"\necho "%s"\n' "$T" "$1" >"$T/askpass"
    chmod 700 "$T/askpass"
    export SSH_ASKPASS=$T/askpass SSH_ASKPASS_REQUIRE=force
}

password_file() {
    (umask 077 && echo "$1" >"$T/password")
    export GRAPNEL_PASSWORD_FILE=$T/password
}

# ---- key files ----

@test "key files of every type and format" {
    local how
    for how in "-t ed25519" "-t rsa -b 2048" "-t ecdsa -b 256" "-t ecdsa -b 384" "-t ecdsa -b 521" \
        "-t rsa -b 2048 -m PEM" "-t rsa -b 2048 -m PKCS8" "-t ecdsa -m PEM" "-t rsa -b 3072"; do
        rm -f "$T"/key*
        # shellcheck disable=SC2086
        key -N '' $how
        config "IdentityFile $K" 'IdentitiesOnly yes' 'IdentityAgent none'
        echo "$how"
        login --transport ssh2 -l plain
        logged_in_as plain
    done
}

@test "an RSA key does not need the OpenSSH client" {
    config "IdentityFile $SSHD_KEY_RSA" 'IdentitiesOnly yes' 'IdentityAgent none'
    login -v
    logged_in_as root
    [[ $stderr == *ssh-rsa* || $stderr == *rsa-sha2* ]]
    [[ $stderr != *'OpenSSH client'* ]]
}

@test "an RSA key that comes after others" {
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    config "IdentityFile $T/other" "IdentityFile $SSHD_KEY_RSA" 'IdentitiesOnly yes' 'IdentityAgent none'
    login --transport ssh2
    logged_in_as root
}

@test "-i goes before ssh_config's keys" {
    config 'IdentitiesOnly yes' 'IdentityAgent none' "IdentityFile $T/none"
    login -i "$SSHD_KEY"
    logged_in_as root
}

@test "an encrypted key asks through SSH_ASKPASS" {
    local how
    for how in "-t ed25519" "-t rsa -b 2048" "-t ecdsa -m PEM" "-t ed25519 -Z aes256-gcm@openssh.com" \
        "-t ed25519 -Z chacha20-poly1305@openssh.com"; do
        rm -f "$T"/key* "$T/asked"
        # shellcheck disable=SC2086
        key -N 'pass phrase' $how
        config "IdentityFile $K" 'IdentitiesOnly yes' 'IdentityAgent none'
        askpass 'pass phrase'
        echo "$how"
        login -l plain
        logged_in_as plain
        [ -s "$T/asked" ]
    done
}

@test "a wrong passphrase" {
    key -N 'pass phrase' -t ed25519
    config "IdentityFile $K" 'IdentitiesOnly yes' 'IdentityAgent none' 'NumberOfPasswordPrompts 1' \
        'PreferredAuthentications publickey'
    askpass 'another one'
    login -l plain
    fails 't: auth: wrong or missing passphrase' "$K"
    [[ $stderr != *'another one'* ]]
}

@test "an encrypted key, and nobody to ask" {
    key -N 'pass phrase' -t ed25519
    config "IdentityFile $K" 'IdentitiesOnly yes' 'IdentityAgent none' 'BatchMode yes'
    login -l plain
    fails 't: auth: wrong or missing passphrase' "$K is encrypted, and there is nobody to ask (batch mode)"
}

@test "a passphrase is asked for on the terminal, without echo" {
    key -N 'pass phrase' -t ed25519
    config "IdentityFile $K" 'IdentitiesOnly yes' 'IdentityAgent none'
    cat >"$T/type.py" <<'PY'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said, typed = b'', False
while True:
    try:
        part = os.read(fd, 1024)
    except OSError:
        break
    if not part:
        break
    said += part
    if not typed and b'assphrase' in said and said.rstrip(b' ').endswith(b':'):
        os.write(fd, b'pass phrase\n')
        typed = True
print(said.decode(), typed)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
    run timeout 90 python3 "$T/type.py" "$GRAPNEL_BIN" run -F "$C" -l plain t -- id -un
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *plain*True* ]]
    [[ $output != *'pass phrase'* ]]
}

@test "key files that are none are passed over" {
    echo "no key at all" >"$T/bad"
    mkdir "$T/folder"
    config "IdentityFile $T/bad" "IdentityFile $T/folder" "IdentityFile $T/none" \
        "IdentityFile $SSHD_KEY" 'IdentitiesOnly yes' 'IdentityAgent none'
    login
    logged_in_as root
}

@test "every method refused: what was tried and what the server takes" {
    ssh-keygen -q -t ed25519 -N '' -f "$T/other"
    config "IdentityFile $T/other" 'IdentitiesOnly yes' 'IdentityAgent none' 'BatchMode yes'
    login
    fails 't: auth: every authentication method was refused' 'user root' publickey 'check the user name'
}

@test "what was not even tried is named with its reason" {
    local other=$T/other
    ssh-keygen -q -t ed25519 -N '' -f "$other"
    (umask 077 && echo "no key at all" >"$T/bad")
    mkdir "$T/folder"
    cp "$other.pub" "$T/alone.pub"
    install -m 640 "$other" "$T/open"
    config "IdentityFile $other" "IdentityFile $T/bad" "IdentityFile $T/none" "IdentityFile $T/folder" \
        "IdentityFile $T/open" "IdentityFile $T/alone" 'IdentitiesOnly yes' \
        "IdentityAgent $T/no.sock" 'BatchMode yes'
    login --transport ssh2
    fails 't: auth: every authentication method was refused' 'tried publickey (1 key)' \
        "not used: $T/bad: not a private key, $T/none: No such file or directory" \
        'nobody to ask for a password (batch mode, and no GRAPNEL_PASSWORD_FILE)'
    # However many there are, the message stays short.
    [ "${#stderr}" -lt 1100 ]
    config "IdentityFile $T/open" 'IdentitiesOnly yes' "IdentityAgent $T/no.sock"
    run --separate-stderr setsid "$GRAPNEL" run -F "$C" --transport ssh2 t -- true
    fails 'tried nothing' "$T/open: mode 0640" 'chmod 600' "the agent (ssh-agent at $T/no.sock" \
        'nobody to ask for a password (no terminal, no SSH_ASKPASS, no GRAPNEL_PASSWORD_FILE)'
    config "IdentityFile $T/alone" 'IdentitiesOnly yes' 'IdentityAgent none'
    export SSH_ASKPASS=/nonexistent/askpass
    run --separate-stderr setsid "$GRAPNEL" run -F "$C" --transport ssh2 t -- true
    fails "$T/alone.pub: only its public part is there" 'SSH_ASKPASS_REQUIRE=force'
    SSH_ASKPASS_REQUIRE=force login --transport ssh2
    fails 'password: askpass program /nonexistent/askpass: No such file'
}

@test "default keys that are not there are not worth a word" {
    config 'IdentitiesOnly yes' 'IdentityAgent none' 'BatchMode yes'
    HOME=$T login --transport ssh2 -l plain
    [ "$status" -eq 255 ]
    [[ $stderr != *id_ecdsa* ]]
}

@test "no such account" {
    config "IdentityFile $SSHD_KEY" 'IdentitiesOnly yes' 'IdentityAgent none' 'BatchMode yes'
    login -l nobody-like-this
    fails 't: auth: every authentication method was refused' 'user nobody-like-this'
}

# ---- ssh-agent ----

agent_with() {
    eval "$(ssh-agent -s -a "$T/agent.sock" 3>&- 4>&-)" >/dev/null
    ssh-add -q "$@" 2>/dev/null
}

@test "a key from ssh-agent" {
    agent_with "$SSHD_KEY"
    config 'IdentityFile /nonexistent'
    login --transport ssh2
    logged_in_as root
}

@test "an RSA key from ssh-agent" {
    agent_with "$SSHD_KEY_RSA"
    config 'IdentityFile /nonexistent'
    login --transport ssh2
    logged_in_as root
}

@test "IdentityAgent names the socket; none means none" {
    agent_with "$SSHD_KEY"
    unset SSH_AUTH_SOCK
    config 'IdentityFile /nonexistent' "IdentityAgent $T/agent.sock"
    login --transport ssh2
    logged_in_as root
    export SSH_AUTH_SOCK=$T/agent.sock
    config 'IdentityFile /nonexistent' 'IdentityAgent none' 'BatchMode yes'
    login --transport ssh2
    fails 't: auth: every authentication method was refused'
}

@test "an encrypted key that the agent holds needs no passphrase" {
    key -N 'pass phrase' -t ed25519
    askpass 'pass phrase'
    agent_with "$K"
    rm "$T/asked"
    config "IdentityFile $K" 'IdentitiesOnly yes'
    login -l plain
    logged_in_as plain
    [ ! -e "$T/asked" ]
}

@test "an agent full of other keys does not use up the server's patience" {
    local i others=()
    for i in 1 2 3 4 5 6; do
        ssh-keygen -q -t ed25519 -N '' -f "$T/other$i"
        others+=("$T/other$i")
    done
    agent_with "${others[@]}" "$SSHD_KEY"
    config "IdentityFile $SSHD_KEY"
    login --transport ssh2
    logged_in_as root
    # Without a hint the right key comes too late, which is said.
    config 'IdentityFile /nonexistent' 'BatchMode yes'
    login --transport ssh2
    fails 't: auth: '
}

@test "an agent that has gone" {
    agent_with "$SSHD_KEY_RSA"
    kill "$SSH_AGENT_PID"
    unset SSH_AGENT_PID
    config "IdentityFile $SSHD_KEY"
    login
    logged_in_as root
}

@test "an agent that does not answer is not waited for without end" {
    python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(8); time.sleep(60)' "$T/mute.sock" 3>&- 4>&- &
    tools+=("$!")
    within 5 test -S "$T/mute.sock"
    config "IdentityFile $SSHD_KEY" "IdentityAgent $T/mute.sock"
    login
    logged_in_as root
}

# ---- passwords ----

@test "a password from GRAPNEL_PASSWORD_FILE" {
    password_file 'open sesame'
    config 'IdentityFile /nonexistent'
    login --transport ssh2 -l beggar
    logged_in_as beggar
}

@test "a password through SSH_ASKPASS" {
    askpass 'open sesame'
    config 'IdentityFile /nonexistent'
    login --transport ssh2 -l beggar
    logged_in_as beggar
}

@test "a password file that others may read is refused" {
    password_file 'open sesame'
    chmod 644 "$T/password"
    config 'IdentityFile /nonexistent'
    login --transport ssh2 -l beggar
    fails 't: ' "$T/password is open to other users (mode 0644): chmod 600 it"
    login --transport ssh2 -l stranger
    fails 't: ' "$T/password is open to other users"
    chmod 600 "$T/password"
    chown 5023 "$T/password"
    login --transport ssh2 -l beggar
    fails 't: ' "$T/password belongs to another user (uid 5023)"
}

@test "a wrong password; it is not repeated to anybody" {
    password_file 'wrong word'
    config 'IdentityFile /nonexistent'
    login --transport ssh2 -l beggar
    fails 't: auth: every authentication method was refused' password
    [[ $stderr != *'wrong word'* ]]
}

@test "keyboard-interactive with GRAPNEL_PASSWORD_FILE" {
    password_file 'open sesame'
    config 'IdentityFile /nonexistent'
    login --transport ssh2 -l stranger
    logged_in_as stranger
}

@test "keyboard-interactive through SSH_ASKPASS, and a wrong answer" {
    askpass 'open sesame'
    config 'IdentityFile /nonexistent'
    login --transport ssh2 -l stranger
    logged_in_as stranger
    askpass 'close sesame'
    login --transport ssh2 -l stranger
    fails 't: auth: every authentication method was refused' keyboard-interactive
}

@test "a key and then a password" {
    password_file 'open sesame'
    config "IdentityFile $SSHD_KEY"
    login --transport ssh2 -l twice
    logged_in_as twice
    password_file 'wrong word'
    login --transport ssh2 -l twice
    fails 't: auth: '
}

@test "GRAPNEL_PASSWORD_FILE serves the OpenSSH client, too" {
    password_file 'open sesame'
    config 'IdentityFile /nonexistent'
    login --transport openssh -l beggar
    logged_in_as beggar
    login --transport openssh -l stranger
    logged_in_as stranger
    config 'IdentityFile /nonexistent' 'BatchMode yes' 'NumberOfPasswordPrompts 1'
    login --transport openssh -l beggar
    logged_in_as beggar
    login --transport openssh -l root
    fails 't: auth: every authentication method was refused' 'Permission denied'
    password_file 'wrong word'
    login --transport openssh -l beggar
    fails 't: auth: every authentication method was refused'
    [[ $stderr != *'wrong word'* ]]
    [ "$(grep -o 'Permission denied' <<<"$stderr" | wc -l)" -eq 1 ]
    chmod 644 "$T/password"
    login --transport openssh -l beggar
    fails 't: auth: ' "$T/password is open to other users (mode 0644)"
}

@test "the password is for the target: a jump host does not get it" {
    password_file 'open sesame'
    # The jump host would take it, under another name of the same account.
    config "IdentityFile $SSHD_KEY" 'Host gate' 'HostName 127.0.0.1' "Port $SSHD_PORT" \
        "UserKnownHostsFile $SSHD_KNOWN" "HostKeyAlias [127.0.0.1]:$SSHD_PORT"
    login -J beggar@gate -l beggar
    fails 't: auth: ' "GRAPNEL_PASSWORD_FILE does not answer this: beggar@[127.0.0.1]:$SSHD_PORT's password: " \
        'by way of beggar@gate'
    login --transport openssh -l beggar
    logged_in_as beggar
}

@test "an encrypted key and a password file: the passphrase comes from SSH_ASKPASS" {
    key -N 'pass phrase' -t ed25519
    password_file 'open sesame'
    askpass 'pass phrase'
    config "IdentityFile $K" 'IdentitiesOnly yes' 'IdentityAgent none'
    login --transport openssh -l plain
    logged_in_as plain
    [ -s "$T/asked" ]
    unset SSH_ASKPASS SSH_ASKPASS_REQUIRE
    login --transport openssh -l plain
    fails 't: auth: ' 'GRAPNEL_PASSWORD_FILE does not answer this: ' "$K"
}

@test "-vvv shows no secret" {
    password_file 'open sesame'
    config 'IdentityFile /nonexistent'
    login -vvv --transport ssh2 -l beggar
    logged_in_as beggar
    [[ $stderr != *sesame* ]]
}

# ---- what is left to the OpenSSH client ----

user_certificate() {
    ssh-keygen -q -t ed25519 -N '' -f "$T/key"
    ssh-keygen -q -s "$SSHD_DIR/ca" -I user -n root "$T/key.pub"
}

@test "a certificate: the OpenSSH client is used, and -v says so" {
    user_certificate
    config "IdentityFile $T/key" "CertificateFile $T/key-cert.pub" 'IdentitiesOnly yes' 'IdentityAgent none'
    login -v
    logged_in_as root
    [[ $stderr == *'using the OpenSSH client'* ]]
}

@test "a certificate beside its key is found, too" {
    user_certificate
    config "IdentityFile $T/key" 'IdentitiesOnly yes' 'IdentityAgent none' 'BatchMode yes'
    login -v
    logged_in_as root
    [[ $stderr == *'the OpenSSH client'* ]]
}

@test "a host certificate" {
    config "IdentityFile $SSHD_KEY" 'IdentitiesOnly yes' 'IdentityAgent none' \
        "UserKnownHostsFile $T/known" 'HostKeyAlias 127.0.0.1'
    sed -i '/^UserKnownHostsFile .*known_hosts$/d' "$C"
    echo "@cert-authority 127.0.0.1 $(cat "$SSHD_DIR/ca.pub")" >"$T/known"
    login -v
    logged_in_as root
    [[ $stderr == *'the OpenSSH client'* ]]
}

# A FIDO key whose device is not there.
sk_key() {
    python3 - "$T/key_sk" <<'PY'
import base64, os, struct, sys
def s(b): return struct.pack('>I', len(b)) + b
kind, pk, app = b'sk-ssh-ed25519@openssh.com', os.urandom(32), b'ssh:'
pub = s(kind) + s(pk) + s(app)
check = os.urandom(4)
priv = check + check + pub + b'\x01' + s(os.urandom(64)) + s(b'') + s(b'sk')
priv += bytes(range(1, 9 - len(priv) % 8)) if len(priv) % 8 else b''
blob = b'openssh-key-v1\0' + s(b'none') + s(b'none') + s(b'') + struct.pack('>I', 1) + s(pub) + s(priv)
text = base64.b64encode(blob).decode()
lines = [text[i:i + 70] for i in range(0, len(text), 70)]
with open(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600), 'w') as f:
    f.write('-----BEGIN OPENSSH PRIVATE KEY-----\n' + '\n'.join(lines) + '\n-----END OPENSSH PRIVATE KEY-----\n')
with open(sys.argv[1] + '.pub', 'w') as f:
    f.write(kind.decode() + ' ' + base64.b64encode(pub).decode() + ' sk\n')
PY
    mkdir -p "$SSHD_TEMP/home/plain/.ssh"
    cp "$T/key_sk.pub" "$SSHD_TEMP/home/plain/.ssh/authorized_keys"
}

@test "a FIDO key goes to the OpenSSH client, and its failure is told" {
    sk_key
    config "IdentityFile $T/key_sk" 'IdentitiesOnly yes' 'IdentityAgent none' 'BatchMode yes'
    login -l plain -v
    [ "$status" -eq 255 ]
    [[ $stderr == *'the OpenSSH client'* ]]
    login -l plain
    fails 't: auth: every authentication method was refused'
}

@test "a FIDO key beside a good one harms nothing" {
    sk_key
    config "IdentityFile $T/key_sk" "IdentityFile $SSHD_KEY" 'IdentitiesOnly yes' 'IdentityAgent none'
    login -v
    logged_in_as root
    [[ $stderr != *'ing the OpenSSH client'* ]]
}

@test "a server that takes GSSAPI only: the OpenSSH client is tried" {
    config "IdentityFile $SSHD_KEY" 'IdentitiesOnly yes' 'GSSAPIAuthentication yes' 'BatchMode yes'
    login -l dash -v
    [ "$status" -eq 255 ]
    [[ $stderr == *'the OpenSSH client'* ]]
    login -l dash
    fails 't: auth: every authentication method was refused' gssapi-with-mic
}

@test "without the OpenSSH client: what it would be needed for" {
    user_certificate
    config "IdentityFile $T/key" "CertificateFile $T/key-cert.pub" 'IdentitiesOnly yes' 'IdentityAgent none'
    mkdir "$T/empty"
    LOGIN_PATH=$T/empty login
    fails 't: auth: this login needs the OpenSSH client' CertificateFile 'install it'
    config "IdentityFile $SSHD_KEY" 'IdentitiesOnly yes' 'IdentityAgent none'
    LOGIN_PATH=$T/empty login
    logged_in_as root
}

@test "--transport ssh2 never falls back" {
    user_certificate
    config "IdentityFile $T/key" 'IdentitiesOnly yes' 'IdentityAgent none' 'BatchMode yes'
    login --transport ssh2
    fails 't: auth: '
}
