#!/usr/bin/env bats
# The command line without any host: help, version, mistakes, the manual page, completions.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

bats_require_minimum_version 1.5.0
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-60}

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    GRAPNEL=${GRAPNEL:-$PWD/build/grapnel}
}

# Runs grapnel with the given arguments: it must fail with 255, say one line on stderr that
# contains the first one, and nothing on stdout.
refuses() {
    local text=$1
    shift
    run -255 --separate-stderr "$GRAPNEL" "$@"
    [ -z "$output" ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    echo "$stderr"
    [[ $stderr == "grapnel: "* ]]
    [[ $stderr == *"$text"* ]]
}

# The long options of a help text on stdin, without their dashes.
option_names() {
    sed -n 's/^  \(-., \|    \)--\([a-z-]*\).*/\2/p'
}

@test "--version names the program and its version" {
    run -0 --separate-stderr "$GRAPNEL" --version
    [[ $output =~ ^grapnel\ [0-9]+\.[0-9]+ ]]
    run -0 "$GRAPNEL" run --version
    [[ $output =~ ^grapnel\ [0-9]+\.[0-9]+ ]]
}

@test "no arguments: help on stderr, status 255" {
    run -255 --separate-stderr "$GRAPNEL"
    [ -z "$output" ]
    [[ $stderr == *"Usage: grapnel VERB"* ]]
}

@test "help names every verb, hides what is not for people, and fits 80 columns" {
    run -0 --separate-stderr "$GRAPNEL" --help
    [ -z "$stderr" ]
    for verb in run facts doctor hosts help; do
        [[ $output == *"  $verb "* ]]
    done
    [[ $output != *__* ]]
    run -0 "$GRAPNEL" help
    [[ $output == *"Usage: grapnel VERB"* ]]
    for verb in run facts doctor hosts help; do
        run -0 --separate-stderr "$GRAPNEL" "$verb" --help
        [ -z "$stderr" ]
        [[ $output == "grapnel $verb: "* ]]
        [[ $output == *"Usage: grapnel $verb "* ]]
        [[ $output == *Examples:* ]]
        run -1 grep -nE '.{81}|	| $' <<<"$output"
        [ "$("$GRAPNEL" help "$verb")" = "$("$GRAPNEL" "$verb" --help)" ]
    done
    [ "$("$GRAPNEL" run -h)" = "$("$GRAPNEL" run --help)" ]
}

@test "mistyped verbs and options: the nearest is suggested" {
    refuses "did you mean run?" rnu h true
    refuses "did you mean: grapnel run web1 ...?" web1 -- true
    refuses "did you mean --timeout?" run --timeuot 3 h true
    refuses "did you mean doctor?" help docter
    refuses "options come after the verb" -v run h true
    refuses "there is no verb 'h'" h
}

@test "bad arguments are refused before anything is done" {
    refuses "target is missing" run
    refuses "target is missing" facts
    refuses "command is missing" run h
    refuses "a function is missing after h" call h
    refuses "the expression is empty" eval h ''
    refuses "one target at a time" repl a,b
    refuses "one target at a time" repl a b
    refuses "not an option of repl" repl --timeout 1 h
    refuses "one target at a time" repl 'web[1-3]'
    refuses "one target at a time" doctor a b
    refuses "not an option of facts" facts --env A=b h
    refuses "port from 1 to 65535" run -p 0 h true
    refuses "needs a time" run --timeout soon h true
    refuses "needs a time" run --json --timeout soon h true
    refuses "target is missing" facts --json
    refuses "needs a size" run --max-output much h true
    refuses "needs NAME=VALUE" run -e A h true
    refuses "one verb at a time" help run facts
    refuses "needs the word scan" keys web1
    refuses "target is missing" keys scan
    refuses "not an option of keys" keys scan --group web1
    refuses "types of keys are" keys scan --type dsa web1
}

@test "-t says that it is not supported yet" {
    refuses "-t is not supported yet" run -t h true
}

@test "control characters in arguments do not reach the terminal" {
    refuses '\x1b[31m' run $'--\e[31m' h true
    refuses '\x1b[31m' $'\e[31m'
}

@test "help onto a full disk or a closed pipe fails" {
    [ -e /dev/full ] || skip "there is no /dev/full"
    run -255 --separate-stderr bash -c '"$1" --help >/dev/full' - "$GRAPNEL"
    [[ $stderr == *"No space left on device"* ]]
}

@test "descriptors 0 to 2 may be closed" {
    run -0 bash -c '"$1" --version <&-' - "$GRAPNEL"
    run -0 bash -c '"$1" --version >&-' - "$GRAPNEL"
    run -0 bash -c '"$1" --version <&- >&- 2>&-' - "$GRAPNEL"
}

@test "the manual page's lists are those of the tables" {
    "$GRAPNEL" __man <man/grapnel.1 >"$BATS_TEST_TMPDIR/grapnel.1"
    diff -u man/grapnel.1 "$BATS_TEST_TMPDIR/grapnel.1"
    # Every option that help shows is there.
    for verb in run facts doctor call eval script repl hosts; do
        for option in $("$GRAPNEL" "$verb" --help | option_names); do
            grep -q "^\.It .*Fl -$option\b" man/grapnel.1
        done
    done
}

@test "the manual page is well-formed" {
    command -v groff >/dev/null || skip "groff is not installed"
    run -0 --separate-stderr groff -mdoc -Tascii -ww man/grapnel.1
    [ -z "$stderr" ]
}

@test "completion knows verbs, options, arguments, targets and commands" {
    run -0 "$GRAPNEL" __complete ''
    [[ $output == *"run	"*"facts	"*"doctor	"*"help	"* ]]
    [[ $output != *__* ]]
    [ "$("$GRAPNEL" __complete doc | cut -f1)" = doctor ]
    [ "$("$GRAPNEL" __complete run --time | cut -f1)" = --timeout ]
    [ -z "$("$GRAPNEL" __complete facts --time)" ]
    [ "$("$GRAPNEL" __complete run --transport o | cut -f1)" = openssh ]
    [ "$("$GRAPNEL" __complete run -i '')" = :file ]
    [ "$("$GRAPNEL" __complete run -p '')" = "" ]
    [ "$("$GRAPNEL" __complete run '')" = :host ]
    [ "$("$GRAPNEL" __complete run -p 22 '')" = :host ]
    [ "$("$GRAPNEL" __complete run -p22 h '')" = :command ]
    [ "$("$GRAPNEL" __complete run h -- '')" = :command ]
    [ "$("$GRAPNEL" __complete run h ls '')" = :file ]
    [ "$("$GRAPNEL" __complete facts h '')" = :host ]
    [ "$("$GRAPNEL" __complete doctor h '')" = "" ]
    [ "$("$GRAPNEL" __complete call h '')" = "" ]
    [ "$("$GRAPNEL" __complete script h '')" = :file ]
    [ "$("$GRAPNEL" __complete script h a.lua '')" = :file ]
    [ "$("$GRAPNEL" __complete lua '')" = :file ]
    [ "$("$GRAPNEL" __complete keys '' | cut -f1)" = scan ]
    [ "$("$GRAPNEL" __complete keys -p 22 scan '')" = :host ]
    [ "$("$GRAPNEL" __complete help d | cut -f1)" = doctor ]
    # Every option that help shows is offered, except those that are not to be had yet.
    for verb in run facts doctor call eval script repl hosts keys; do
        offered=$("$GRAPNEL" __complete "$verb" -- | cut -f1 | sort)
        shown=$("$GRAPNEL" "$verb" --help | grep -v 'not supported yet' |
            option_names | sed 's/^/--/' | sort)
        [ "$offered" = "$shown" ]
    done
}

@test "bash completes" {
    export PATH="$BATS_TEST_TMPDIR:$PATH"
    ln -s "$GRAPNEL" "$BATS_TEST_TMPDIR/grapnel"
    # What a line completes to.
    complete_line() {
        bash --norc -c '
            source completions/grapnel.bash
            COMP_LINE=$1 COMP_POINT=${#1}
            read -ra COMP_WORDS <<<"$1"
            [[ $1 != *" " ]] || COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _grapnel
            echo "${COMPREPLY[@]}"' - "$1"
    }
    [ "$(complete_line 'grapnel ru')" = run ]
    [ "$(complete_line 'grapnel ')" = "run facts doctor call eval script repl lua connect ls servers close undeploy ping hosts keys help --help --version" ]
    [ "$(complete_line 'grapnel run --max-o')" = --max-output ]
    [ "$(complete_line 'grapnel run -F man/gr')" = man/grapnel.1 ]
    [[ " $(complete_line 'grapnel run h ba') " == *" bash "* ]]
}

@test "fish completes" {
    command -v fish >/dev/null || skip "fish is not installed"
    export PATH="$BATS_TEST_TMPDIR:$PATH" HOME=$BATS_TEST_TMPDIR
    ln -s "$GRAPNEL" "$BATS_TEST_TMPDIR/grapnel"
    run -0 fish --no-config -c 'source completions/grapnel.fish; complete -C "grapnel do"'
    [[ $output == "doctor	"* ]]
    run -0 fish --no-config -c 'source completions/grapnel.fish; complete -C "grapnel run --max-o"'
    [[ $output == "--max-output	"* ]]
}

@test "zsh's completion parses and describes" {
    command -v zsh >/dev/null || skip "zsh is not installed"
    export PATH="$BATS_TEST_TMPDIR:$PATH" HOME=$BATS_TEST_TMPDIR
    ln -s "$GRAPNEL" "$BATS_TEST_TMPDIR/grapnel"
    # The shell's own functions are replaced: what they would be given is printed.
    run -0 zsh -f -c '
        _describe() { print -l -- "${(@P)2}"; }
        _files() { print files; }
        _alternative() { print hosts; }
        _command_names() { print commands; }
        try() { words=("$@"); CURRENT=$#words; source completions/_grapnel; }
        try grapnel do
        try grapnel run -i ""
        try grapnel run ""
        try grapnel run h ""'
    [ "${lines[0]}" = "doctor:show each step of a connection, and check that nothing is left" ]
    [ "${lines[1]}" = files ]
    [ "${lines[2]}" = hosts ]
    [ "${lines[3]}" = commands ]
}
