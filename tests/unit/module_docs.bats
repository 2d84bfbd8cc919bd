#!/usr/bin/env bats
# The pages of docs/modules say what the comments of the modules say.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
}

tree() {
    copy=$BATS_TEST_TMPDIR/tree
    mkdir -p "$copy/agent" "$copy/docs" "$copy/scripts"
    cp -r agent/worker "$copy/agent/"
    cp -r docs/modules "$copy/docs/"
    cp scripts/gen-module-docs.sh "$copy/scripts/"
}

@test "docs/modules is up to date" {
    run scripts/gen-module-docs.sh --check
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a stale page is found, and mended" {
    tree
    sed -i 's|^/\*\*\* hash.hex(bytes) -> text|/*** hash.hex(octets) -> string|' "$copy/agent/worker/mod_hash.c"
    run "$copy/scripts/gen-module-docs.sh" --check
    [ "$status" -eq 1 ]
    "$copy/scripts/gen-module-docs.sh"
    "$copy/scripts/gen-module-docs.sh" --check
    # shellcheck disable=SC2016
    grep -qxF '## `hash.hex(octets)` → string' "$copy/docs/modules/hash.md"
}

@test "a page of a module that is gone, and one that is missing, are found and mended" {
    tree
    mv "$copy/docs/modules/hash.md" "$copy/docs/modules/gone.md"
    run "$copy/scripts/gen-module-docs.sh" --check
    [ "$status" -eq 1 ]
    "$copy/scripts/gen-module-docs.sh"
    [ -f "$copy/docs/modules/hash.md" ]
    [ ! -e "$copy/docs/modules/gone.md" ]
}

@test "a function without a comment is found" {
    tree
    sed -i 's|^/\*\*\* hash.hex(.*|/* nothing|' "$copy/agent/worker/mod_hash.c"
    run "$copy/scripts/gen-module-docs.sh" --check
    [ "$status" -eq 1 ]
    [[ $output == *"mod_hash.c: no comment tells about hex"* ]]
}
