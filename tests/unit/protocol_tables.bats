#!/usr/bin/env bats
# The generated tables of proto/PROTOCOL.md say what frames.def, errors.def and services.def say.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
}

@test "PROTOCOL.md is up to date" {
    run scripts/gen-protocol-tables.sh --check
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "a stale PROTOCOL.md is found, and mended" {
    copy=$BATS_TEST_TMPDIR/tree
    mkdir -p "$copy/proto" "$copy/agent" "$copy/scripts"
    cp proto/*.def proto/PROTOCOL.md "$copy/proto/"
    cp agent/services.def "$copy/agent/"
    cp scripts/gen-protocol-tables.sh "$copy/scripts/"
    for change in 's/FRAME(EOF, eof, 8/FRAME(EOF, eof, 88/' 's/U32(bytes, /U64(bytes, /'; do
        sed -i "$change" "$copy/proto/frames.def"
        run "$copy/scripts/gen-protocol-tables.sh" --check
        [ "$status" -eq 1 ]
        "$copy/scripts/gen-protocol-tables.sh"
        "$copy/scripts/gen-protocol-tables.sh" --check
    done
    grep -q '^| 88 | EOF |' "$copy/proto/PROTOCOL.md"
    grep -q '^| CREDIT | 0 | 8 | bytes |' "$copy/proto/PROTOCOL.md"
    sed -i 's/"out of memory"/"a | in \\"quotes\\""/' "$copy/proto/errors.def"
    "$copy/scripts/gen-protocol-tables.sh"
    grep -q 'a \\| in "quotes" |$' "$copy/proto/PROTOCOL.md"
}
