#!/usr/bin/env bats
# The Lua in the documentation does what the documentation says.
# shellcheck disable=SC2154

load ../lib

setup() {
    lib_setup
    cd "$T" || return
}

teardown() {
    lib_teardown
}

examples() {
    with_module timeout 60 lua5.4 "$LIB_ROOT/tests/lua/docs.lua" "$@" </dev/null
}

@test "every example in docs/lua.md and README.md" {
    run --separate-stderr examples "$LIB_ROOT/docs/lua.md" "$LIB_ROOT/README.md"
    echo "$stderr"
    [ "$status" -eq 0 ]
    [[ $output =~ ([0-9]+)" examples, 0 failed"$ ]]
    [ "${BASH_REMATCH[1]}" -ge 35 ]
}

@test "an example that is not true is found" {
    printf '%s\n' '```lua' 'print(conn.eval "1 + 1") --> 3' '```' >wrong.md
    run -1 --separate-stderr examples wrong.md
    [[ $stderr == *"wrong.md:1"* ]]
    [ "$output" = "1 examples, 1 failed" ]
}
