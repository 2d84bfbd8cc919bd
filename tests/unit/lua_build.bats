#!/usr/bin/env bats
# What the build makes with Lua: the module for stock Lua, the library without it, embedded sources.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    BUILD=${BUILD:-$PWD/build}
    # The sanitizer's library must be the first of the program.
    preload=
    [ "${GRAPNEL_VARIANT:-}" != asan ] || preload=$(gcc -print-file-name=libasan.so)
}

# Links at once, so that a name that nobody has is found.
lua() {
    LD_BIND_NOW=1 LD_PRELOAD=$preload LUA_CPATH="$BUILD/lua/?.so" lua5.4 "$@"
}

@test "lua5.4 loads the module" {
    run lua -e 'print(require("grapnel").version)'
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "$(sed -n 's/.*GRAPNEL_VERSION "\(.*\)"/\1/p' "$BUILD/gen/config.h")" ]
}

@test "the module shows luaopen_grapnel only, and takes Lua from whoever loads it" {
    [ "$(nm -D --defined-only "$BUILD/lua/grapnel.so" | awk '{ print $3 }')" = luaopen_grapnel ]
    nm -D --undefined-only "$BUILD/lua/grapnel.so" | grep -q ' U lua_'
    run readelf -d "$BUILD/lua/grapnel.so"
    [ "$status" -eq 0 ]
    [[ $output != *liblua* ]]
}

@test "the library needs no Lua" {
    run readelf -d "$BUILD/libgrapnel.so"
    [[ $output == *NEEDED* ]]
    [[ $output != *liblua* ]]
    run nm "$BUILD/libgrapnel.so" "$BUILD/libgrapnel.a"
    [[ $output == *grapnel_new* ]]
    ! grep -E ' U luaL?_' <<<"$output" || false
}

# embedded FILE: what a program sees that has it compiled in.
embedded() {
    local name
    name=$(basename "$1" .lua)
    scripts/embed-lua.sh "$1" >"$BATS_TEST_TMPDIR/$name.h"
    printf '#include "%s.h"\n#include <stdio.h>\nint main(void) { return fwrite(lua_%s, 1, lua_%s_size, stdout) == 0; }\n' \
        "$name" "$name" "$name" >"$BATS_TEST_TMPDIR/$name.c"
    gcc -std=c11 -Wall -Wextra -Werror -o "$BATS_TEST_TMPDIR/$name" "$BATS_TEST_TMPDIR/$name.c"
    "$BATS_TEST_TMPDIR/$name"
}

@test "embedded sources: every character survives, lines keep their numbers" {
    cat >"$BATS_TEST_TMPDIR/x.lua" <<'LUA'
-- A comment, "quoted".
local t = { "a\n\"??=\tb\\", 'ä', --[[ inside ]] [==[ ]] ]==] }

	-- another
	t[4] = "	%d?\\?"
return #t + 1, t[1], t[2], t[3], t[4], debug.getinfo(1, "l").currentline
LUA
    embedded "$BATS_TEST_TMPDIR/x.lua" >"$BATS_TEST_TMPDIR/out.lua"
    run lua5.4 -e 'print(dofile(arg[1]))' - "$BATS_TEST_TMPDIR/x.lua"
    want=$output
    run lua5.4 -e 'print(dofile(arg[1]))' - "$BATS_TEST_TMPDIR/out.lua"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "$want" ]
    ! grep comment "$BATS_TEST_TMPDIR/out.lua" || false
}

@test "embedded sources: text in long brackets over several lines is refused" {
    printf 'local x = 1\nlocal s = [[\n  -- text\n]]\n' >"$BATS_TEST_TMPDIR/x.lua"
    run scripts/embed-lua.sh "$BATS_TEST_TMPDIR/x.lua"
    [ "$status" -ne 0 ]
    [[ $output == *"x.lua:2: "* ]]
}
