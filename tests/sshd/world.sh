#!/bin/sh
# The first process of a server's own world (fixture.bash): makes the accounts, homes and temporary
# directories in the namespaces that it was started in, then serves until it is killed.
#
#   world.sh FOLDER SSHD
#
# Everything that is mounted here is seen by this server only, and ends with it.
set -eu
folder=$1 sshd=$2

# Accounts: name, uid, login shell, password as the shadow file has it ("*": none).
# Those named after a shell have that shell, and nothing in its start-up files.
accounts() {
    password=$(openssl passwd -6 -salt grapnel 'open sesame')
    cat <<LIST
root 0 /bin/bash *
bash 5001 /bin/bash *
dash 5002 /bin/dash *
ash 5003 /home/.bin/ash *
zsh 5004 $(path zsh) *
tcsh 5005 $(path tcsh) *
csh 5006 /home/.bin/csh *
fish 5007 $(path fish) *
noisy 5010 /bin/bash *
noisycsh 5011 /home/.bin/csh *
endless 5012 /home/.bin/endless *
silent 5013 /home/.bin/silent *
nologin 5014 /usr/sbin/nologin *
false 5015 /bin/false *
noshell 5016 /home/.bin/there-is-none *
broken 5017 /home/.bin/broken *
sudoer 5020 /bin/sh *
beggar 5021 /bin/sh $password
stranger 5022 /bin/sh $password
twice 5024 /bin/sh $password
plain 5023 /bin/sh *
george 5030 /bin/bash *
alexander 5031 /bin/sh *
scene 0 /home/.bin/scene *
LIST
}

path() { command -v "$1" || echo "/nonexistent/$1"; }

# The system's own accounts stay, as programs may ask for them.
make_accounts() {
    mkdir /home/.etc
    grep -v '^root:' /etc/passwd >/home/.etc/passwd || true
    cp /etc/group /home/.etc/group
    : >/home/.etc/shadow
    chmod 600 /home/.etc/shadow
    accounts | while read -r name uid shell password; do
        echo "$name:x:$uid:$uid::/home/$name:$shell" >>/home/.etc/passwd
        echo "$name:$password:19000:0:99999:7:::" >>/home/.etc/shadow
        mkdir -m 755 "/home/$name"
        chown "$uid:$uid" "/home/$name"
    done
    echo /home/.bin/ash >/home/.etc/shells
    for file in passwd shadow group; do
        mount --bind "/home/.etc/$file" "/etc/$file"
    done
}

make_shells() {
    mkdir /home/.bin
    ln -s "$(path busybox)" /home/.bin/ash
    ln -s "$(path tcsh)" /home/.bin/csh
    # Prints for ever instead of running what it is told to.
    printf '#!/bin/sh\nwhile :; do echo "this is not the shell that you are looking for"; done\n' \
        >/home/.bin/endless
    # Neither speaks nor ends until its input does.
    printf '#!/bin/sh\nexec cat >/dev/null\n' >/home/.bin/silent
    printf '#!/home/.bin/there-is-none\n' >/home/.bin/broken
    # Runs the session in what a test has put into /home/.scene (see scene in lib.bash).
    printf '#!/bin/sh\nexec unshare --mount --propagation private /bin/sh /home/.scene "$@"\n' \
        >/home/.bin/scene
    chmod 755 /home/.bin/endless /home/.bin/silent /home/.bin/broken /home/.bin/scene
}

make_noise() {
    cat >/home/noisy/.bashrc <<'RC'
echo "Welcome to a host that talks"
printf '\033[31mred\033[0m and a lone @grapnel\n'
seq 1 2000
echo "complaint" >&2
RC
    cp /home/noisy/.bashrc /home/noisy/.zshenv
    cat >/home/noisycsh/.cshrc <<'RC'
echo "Welcome to a host that talks"
seq 1 2000
stty erase ^H
RC
}

make_sudo() {
    [ -d /etc/sudoers.d ] || return 0
    cat >/home/.etc/sudoers <<'RULES'
Defaults !fqdn, !lecture, env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
sudoer ALL=(ALL:ALL) NOPASSWD: ALL
beggar ALL=(ALL:ALL) ALL
RULES
    chmod 440 /home/.etc/sudoers
    mount --bind /home/.etc/sudoers /etc/sudoers
    mount -t tmpfs tmpfs /etc/sudoers.d
    [ ! -d /run/sudo ] || mount -t tmpfs -o mode=711 tmpfs /run/sudo
}

# For servers with UsePAM: passwords of the accounts above, and nothing else.
make_pam() {
    [ -f /etc/pam.d/sshd ] || return 0
    cat >/home/.etc/pam <<'RULES'
auth required pam_unix.so
account required pam_unix.so
session required pam_permit.so
password required pam_deny.so
RULES
    mount --bind /home/.etc/pam /etc/pam.d/sshd
}

umask 022
mount -t tmpfs -o mode=755 tmpfs /home
mkdir /home/.server
mount --bind "$folder" /home/.server
for place in /tmp /var/tmp /dev/shm; do
    mount -t tmpfs -o mode=1777 tmpfs "$place"
done
cp /home/.server/authorized_keys /home/.authorized_keys
make_shells
make_accounts
make_noise
make_sudo
make_pam
cd /

# A shell as the first process collects what others have left behind.
"$sshd" -D -e -f /home/.server/sshd_config &
wait "$!"
