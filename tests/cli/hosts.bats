#!/usr/bin/env bats
# grapnel hosts: the verb and its options; the language itself has unit tests.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

bats_require_minimum_version 1.5.0
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-60}

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    GRAPNEL=${GRAPNEL:-$PWD/build/grapnel}
    # Nobody's own groups play a part.
    export HOME=$BATS_TEST_TMPDIR XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
    umask 022
}

hosts() {
    run --separate-stderr "$GRAPNEL" hosts "$@"
    echo "$output$stderr"
}

# The command fails with one line on standard error that has the first argument in it.
refuses() {
    local text=$1
    shift
    run -255 --separate-stderr "$GRAPNEL" hosts "$@"
    [ -z "$output" ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    echo "$stderr"
    [[ $stderr == "grapnel: "*"$text"* ]]
}

@test "a set is folded, expanded or counted" {
    [ "$(hosts web3 web1 web2)" = 'web[1-3]' ]
    [ "$(hosts --fold 'r[1-2]n[01-02]')" = 'r[1-2]n[01-02]' ]
    [ "$(hosts --expand web3 web1,web2)" = $'web3\nweb1\nweb2' ]
    [ "$(hosts -e -- 'n[9-10]')" = $'n9\nn10' ]
    [ "$(hosts --count 'n[1-1000]!n[1-10]')" = 990 ]
    [ "$(hosts -c a -x a)" = 0 ]
    [ "$(hosts -e a -x a)" = '' ]
    refuses '--expand, --fold and --count contradict each other' -e -c a
}

@test "the order of options and targets is free" {
    [ "$(hosts a -x b b -e c)" = $'a\nc' ]
    [ "$(hosts -x b -e a b c)" = $'a\nc' ]
    [ "$(hosts -ex b a b)" = a ]
}

@test "names come from files and from standard input, too" {
    printf '# all\nn[1-3]\nn5 # not n4\n' >"$BATS_TEST_TMPDIR/names"
    [ "$(hosts -H "$BATS_TEST_TMPDIR/names")" = 'n[1-3,5]' ]
    [ "$(hosts n9 -H "$BATS_TEST_TMPDIR/names" -x n2)" = 'n[1,3,5,9]' ]
    [ "$(printf 'b\na\n' | "$GRAPNEL" hosts -e -H - -H "$BATS_TEST_TMPDIR/names" a)" = \
        $'a\nb\nn1\nn2\nn3\nn5' ]
    refuses 'a target is missing, or --hostfile'
    refuses 'a target is missing, or --hostfile' -x a
    refuses "$BATS_TEST_TMPDIR/none: No such file" -H "$BATS_TEST_TMPDIR/none"
    refuses "$BATS_TEST_TMPDIR: Is a directory" -H "$BATS_TEST_TMPDIR"
    run -255 --separate-stderr "$GRAPNEL" hosts -H - <<<$'a\nb[\n'
    [[ $stderr == *"standard input, line 2: in 'b[', character 2: the [ is never closed"* ]]
}

@test "groups come from the usual file, or from another one" {
    mkdir -p "$XDG_CONFIG_HOME/grapnel"
    printf 'web: web[1-3]\n' >"$XDG_CONFIG_HOME/grapnel/groups"
    printf 'web: www\n[s]\nmap = echo "of-$GROUP"\n' >"$BATS_TEST_TMPDIR/groups"
    [ "$(hosts '@web,x')" = 'web[1-3],x' ]
    [ "$(hosts --groups "$BATS_TEST_TMPDIR/groups" @web @s:y,z,of-z -x @s:z)" = 'of-y,www,z' ]
    refuses "there is no group 'wbe' in $XDG_CONFIG_HOME/grapnel/groups" @wbe
    refuses "there is no group 'web': no file of groups is read" --groups none @web
    refuses 'No such file' --groups "$BATS_TEST_TMPDIR/none" @web
}

# Waits until the process is gone, or but a zombie that nobody takes.
gone() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        grep -qv '^[0-9]* ([^)]*) Z' "/proc/$1/stat" 2>/dev/null || return 0
        read -rt 0.01 _ <> <(:) || true
    done
    return 1
}

@test "a command that names a group ends with us" {
    mkfifo "$BATS_TEST_TMPDIR/up"
    printf '[s]\nmap = sleep 100 & echo $! >"$UP"; wait\n' >"$BATS_TEST_TMPDIR/groups"
    local signal pid status up=$BATS_TEST_TMPDIR/up
    for signal in INT TERM HUP QUIT; do
        UP=$up env --default-signal "$GRAPNEL" hosts --groups "$BATS_TEST_TMPDIR/groups" @s:x 3>&- &
        read -r pid <"$up"
        [ -d "/proc/$pid" ]
        kill -"$signal" $!
        status=0
        wait $! || status=$?
        [ "$status" -eq $((128 + $(kill -l "$signal"))) ]
        gone "$pid"
    done
    # A signal that is ignored, as by nohup, is none.
    printf '[s]\nmap = echo $$ >"$UP"; cat "$UP"\n' >"$BATS_TEST_TMPDIR/groups"
    UP=$up env --ignore-signal=HUP "$GRAPNEL" hosts --groups "$BATS_TEST_TMPDIR/groups" @s:x \
        >"$BATS_TEST_TMPDIR/out" 3>&- &
    read -r pid <"$up"
    kill -HUP $!
    echo n1 >"$up"
    wait $!
    [ "$(cat "$BATS_TEST_TMPDIR/out")" = n1 ]
}

@test "on a terminal, Ctrl-C ends the command that names a group" {
    printf '[s]\nmap = sleep 100 & echo $! >"$UP"; echo up >/dev/tty; wait\n' >"$BATS_TEST_TMPDIR/groups"
    export UP=$BATS_TEST_TMPDIR/up
    run -130 timeout 40 python3 "$BATS_TEST_DIRNAME/terminal.py" "$GRAPNEL" hosts \
        --groups "$BATS_TEST_TMPDIR/groups" @s:x <<<$'expect up\nsend \\x03'
    gone "$(cat "$UP")"
}

@test "what the account's file says wins over the system's" {
    unshare -m --propagation private true 2>/dev/null || skip "no mount namespaces here"
    mkdir -p "$XDG_CONFIG_HOME/grapnel"
    printf 'web: own\n[s]\nmap = echo own-$GROUP\n' >"$XDG_CONFIG_HOME/grapnel/groups"
    # The /etc of this one command.
    run -0 unshare -m --propagation private bash -c '
        mount -t tmpfs tmpfs /etc && mkdir /etc/grapnel &&
            printf "web: system\ndb: system-db\n[s]\nmap = false\nall = echo system-all\n" \
                >/etc/grapnel/groups &&
            exec "$1" hosts -e @web @db @s:x "@s:*"' - "$GRAPNEL"
    [ "$output" = $'own\nsystem-db\nown-x\nsystem-all' ]
}

@test "an inventory of Ansible's is a source of groups" {
    printf '[web]\nweb[01:02] ansible_user=joe ansible_port=2222\n' >"$BATS_TEST_TMPDIR/hosts.ini"
    [ "$(hosts --inventory "$BATS_TEST_TMPDIR/hosts.ini" @ansible:web)" = 'joe@web[01-02]:2222' ]
    refuses "neither a group nor a host 'db'" --inventory "$BATS_TEST_TMPDIR/hosts.ini" @ansible:db
    refuses "there is no source of groups 'ansible'" @ansible:web
}

@test "an excluded host is excluded whoever logs in there" {
    [ "$(hosts -e h2 root@h2 h2:22 ssh://joe@h2 h22 root@h22 -x h2)" = $'h22\nroot@h22' ]
    [ "$(hosts -e h2 root@h2 h2:22 -x root@h2)" = $'h2\nh2:22' ]
    [ "$(hosts -e h2 root@h2 h2:22 -x h2:22)" = $'h2\nroot@h2' ]
    [ "$(hosts -e ::1 root@::1 '[::1]:22' ::2 -x '[::1]')" = ::2 ]
    [ "$(hosts -e h2 root@h2 -x ssh://h2)" = '' ]
    [ "$(hosts 'root@h[1-9]' h1 -x 'h[2-9]!h3')" = 'h1,root@h[1,3]' ]
    # The operators compare names as they are written.
    [ "$(hosts -e 'h2,root@h2!h2')" = root@h2 ]
}

@test "an exclusion that excludes nothing is told" {
    run -0 --separate-stderr "$GRAPNEL" hosts a b -x root@a -x b -x c
    [ "$output" = a ]
    [ "$stderr" = $'grapnel: --exclude root@a: none of the targets is that\ngrapnel: --exclude c: none of the targets is that' ]
}

@test "a host may be excluded by the name that the inventory has for it" {
    cat >"$BATS_TEST_TMPDIR/hosts.ini" <<'END'
[web]
web[1:3] ansible_user=deploy
web4 ansible_host=10.0.0.4 ansible_port=2222
[web:children]
db
[db]
db1
END
    local ini="$BATS_TEST_TMPDIR/hosts.ini"
    cp "$ini" "$BATS_TEST_TMPDIR/lab.ini"
    printf 'spare: web4\nkept: @lab:web!web[1-3]\n[lab]\ninventory = lab.ini\n' >"$BATS_TEST_TMPDIR/groups"
    [ "$(hosts --inventory "$ini" -e @ansible:web)" = $'deploy@web1\ndeploy@web2\ndeploy@web3\n10.0.0.4:2222\ndb1' ]
    [ "$(hosts --inventory "$ini" -e @ansible:web -x 'web[2-4]')" = $'deploy@web1\ndb1' ]
    [ "$(hosts --inventory "$ini" -e '@ansible:web!web[2-4]')" = $'deploy@web1\ndb1' ]
    [ "$(hosts --inventory "$ini" -e '@ansible:web&web[3-9],db1')" = $'deploy@web3\n10.0.0.4:2222\ndb1' ]
    [ "$(hosts --inventory "$ini" -e '@ansible:web^web[1-4],web5')" = $'db1\nweb5' ]
    [ "$(hosts --inventory "$ini" -e '@ansible:web,web1!web1,web2')" = $'deploy@web2\ndeploy@web3\n10.0.0.4:2222\ndb1\nweb2' ]
    [ "$(hosts --inventory "$ini" -e 10.0.0.4:2222 -x web4)" = '' ]
    [ "$(hosts --groups "$BATS_TEST_TMPDIR/groups" -e @lab:web -x @spare,db1 -x 'web[1-2]')" = deploy@web3 ]
    [ "$(hosts --groups "$BATS_TEST_TMPDIR/groups" -e @kept)" = $'10.0.0.4:2222\ndb1' ]
    printf '[broken\n' >"$ini"
    refuses 'the [ is never closed' --inventory "$ini" web1 -x web4
}

@test "mistakes are shown with their place, and nothing reaches the terminal" {
    refuses "in 'n[5-1]', character 3: the range runs backwards: write 1-5" 'n[5-1]'
    refuses "in 'n[1', character 2: the [ is never closed" 'n[1'
    refuses '\x1b' $'a\x1b[2J'
    refuses 'a name cannot begin with -' -- -oProxyCommand=x
    refuses 'is not an option of hosts' --timeout 3 a
}

@test "a billion names are refused at once, before there is any" {
    run -255 --separate-stderr bash -c 'ulimit -v 200000; "$1" hosts "n[1-1000000000]"' - "$GRAPNEL"
    [[ $stderr == *"stands for 1000000000 names: at most 10000000"* ]]
    run -255 --separate-stderr bash -c 'ulimit -v 200000; "$1" hosts -H - <<<"n[1-1000000000]"' - "$GRAPNEL"
    [[ $stderr == *"standard input, line 1: 'n[1-1000000000]' stands for"* ]]
}

@test "a file without an end is no file of names" {
    run -255 --separate-stderr bash -c 'ulimit -v 1000000; "$1" hosts -H /dev/zero' - "$GRAPNEL"
    [[ $stderr == *"/dev/zero, line 1: the line is too long"* ]]
}

@test "output onto a full disk or into a closed pipe fails" {
    run -255 --separate-stderr bash -c '"$1" hosts a >/dev/full' - "$GRAPNEL"
    [[ $stderr == *"No space left on device"* ]]
    run -255 --separate-stderr bash -c '"$1" hosts -e "n[1-100000]" >/dev/full' - "$GRAPNEL"
    [[ $stderr == *"No space left on device"* ]]
}
