#!/usr/bin/env bash
# Shows grapnel on a throwaway SSH server of its own: nothing outside this machine is touched, and
# nothing is left afterwards.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=tests/sshd/fixture.bash
. tests/sshd/fixture.bash

grapnel=${BUILD:-build}/grapnel
# The host's temporary directory, of which nothing else makes use: what is left in it is ours.
host_tmp=$(mktemp -d)
trap 'sshd_stop; rm -rf "$host_tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Prints a command as a user would type it, then runs it. A failure ends the demonstration.
show() {
    printf '\n$ grapnel'
    printf ' %s' "${@@Q}" | sed "s/'\([A-Za-z0-9_=:.,@/+-]*\)'/\1/g"
    printf '\n'
    verb=$1
    shift
    "$grapnel" "$verb" -F "$SSHD_CONFIG" "$@"
}

sshd_start "SetEnv TMPDIR=$host_tmp"
echo "A throwaway sshd listens on 127.0.0.1:$SSHD_PORT; 'demo' names it in an ssh_config (-F)."

show run demo -- uname -a
# shellcheck disable=SC2016
show run demo -- printf '%s\n' 'arguments arrive' '  exactly "as given" $HOME *'
# shellcheck disable=SC2016
show run demo -- 'echo "one word is a shell line, here in $PWD" | tr a-z A-Z'

printf '\n$ seq 1 100000 | grapnel run demo -- wc -l\n'
seq 1 100000 | "$grapnel" run -F "$SSHD_CONFIG" demo -- wc -l

printf '\n$ grapnel run demo -- sh -c "exit 7"; echo $?\n'
status=0
"$grapnel" run -F "$SSHD_CONFIG" demo -- sh -c 'exit 7' || status=$?
echo "$status"
[ "$status" -eq 7 ]

show facts demo

echo
left=$(ls -A "$host_tmp")
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
echo "Nothing is left on the host: no file, no process."
