#!/bin/sh
# Writes the tables of proto/PROTOCOL.md anew from proto/frames.def, proto/errors.def and
# agent/services.def: each stands between a line `<!-- table NAME -->` and `<!-- end -->`.
#
#   gen-protocol-tables.sh            mends the file
#   gen-protocol-tables.sh --check    exits 1 when it is out of date, and says so
set -eu
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.."
doc=proto/PROTOCOL.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Expands a .def file with the macro definitions on stdin: records that begin with @row, columns
# that begin with @col, strings in quotes. The preprocessor alone knows where an argument ends.
expand() {
    { cat; echo "#include \"$1\""; } | ${CC:-cc} -std=c11 -E -P -I. -x c - |
        tr '\n' ' ' | sed 's/@ *row/\n@row/g; s/@ *col/@col/g; s/@ *field/@field/g' | grep '^@row'
    echo
}

# Makes Markdown rows of records: strings lose their quotes, bars are escaped.
rows() {
    awk -F '@col' '/^@row/ {
        line = "|"
        for (i = 2; i <= NF; i++) {
            gsub(/^ +| +$/, "", $i)
            if ($i ~ /^".*"$/) {
                $i = substr($i, 2, length($i) - 2)
                gsub(/\\"/, "\"", $i)
            }
            gsub(/\|/, "\\|", $i)
            line = line " " $i " |"
        }
        print line
    }'
}

frames() {
    echo '| type | name | id | body | body at most | meaning |'
    echo '|---|---|---|---|---|---|'
    expand proto/frames.def <<'DEF' | rows
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc) \
    @row @col code @col NAME @col id @col body @col limit @col doc
DEF
}

# Bytes from the start of the payload, the width, the name and the meaning of each fixed field.
fields() {
    echo '| frame | offset | width | field | meaning |'
    echo '|---|---|---|---|---|'
    expand proto/frames.def <<'DEF' | sed 's/@field/\n@field/g' | number | rows
#define U16(f, doc) @field @col 2 @col f @col doc
#define U32(f, doc) @field @col 4 @col f @col doc
#define U64(f, doc) @field @col 8 @col f @col doc
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc) @row @col NAME FIELDS
DEF
}

# Puts the frame's name and the offset before each field's columns.
number() {
    awk -F '@col' '
        /^@row/ { frame = $2; at = 0 }
        /^@field/ { print "@row@col" frame "@col" at "@col" $2 "@col" $3 "@col" $4; at += $2 }'
}

errors() {
    echo '| code | name | exit status | where | meaning |'
    echo '|---|---|---|---|---|'
    expand proto/errors.def <<'DEF' | rows
#define ERROR(name, number, phase, exit, text, hint) \
    @row @col number @col name @col exit @col phase @col text
DEF
}

services() {
    echo '| opened or called | name | what |'
    echo '|---|---|---|'
    expand agent/services.def <<'DEF' | rows
#define SERVICE(name, function, doc) @row @col OPEN @col name @col doc
#define CALL(name, function, doc) @row @col CALL @col name @col doc
DEF
}

for table in frames fields errors services; do
    "$table" >"$work/$table"
    # A table without rows means that something above failed within a pipe.
    [ "$(wc -l <"$work/$table")" -gt 4 ] || { echo "$0: no rows for the table of $table" >&2; exit 1; }
    grep -q "^<!-- table $table -->\$" "$doc" || { echo "$0: $doc lacks the table of $table" >&2; exit 1; }
done
awk -v work="$work" '
    /^<!-- table [a-z]+ -->$/ {
        print
        print ""
        while ((getline line < (work "/" $3)) > 0) print line
        print ""
        skipping = 1
    }
    /^<!-- end -->$/ { skipping = 0 }
    !skipping && !/^<!-- table / { print }' "$doc" >"$work/new"

if [ "${1:-}" = --check ]; then
    if ! diff -u "$doc" "$work/new"; then
        echo "$doc is out of date: run scripts/gen-protocol-tables.sh" >&2
        exit 1
    fi
elif ! cmp -s "$doc" "$work/new"; then
    cat "$work/new" >"$doc"
fi
