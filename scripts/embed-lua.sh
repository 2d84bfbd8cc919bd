#!/bin/sh
# Prints a Lua source as a C header that one C file includes:
#
#   embed-lua.sh classic.lua    static const char lua_classic[], and its bytes: lua_classic_size
#
# Lines that are nothing but a comment, and leading blanks, are left out; the lines keep their
# numbers, so that what Lua says of them is right. Text in long brackets over several lines would
# suffer from that, and is refused.
set -eu
LC_ALL=C
export LC_ALL

name=$(basename "$1" .lua | tr -c 'a-zA-Z0-9\n' _)
echo "/* Made by scripts/embed-lua.sh from $1. */"
echo "static const char lua_${name}[] = \"\""
awk '
    match($0, /\[=*\[/) {
        close_it = substr($0, RSTART, RLENGTH)
        gsub(/\[/, "]", close_it)
        if (index(substr($0, RSTART + RLENGTH), close_it) == 0) {
            printf "%s:%d: long brackets over several lines\n", FILENAME, FNR >"/dev/stderr"
            exit 1
        }
    }
    {
        sub(/^[ \t]+/, "")
        sub(/[ \t\r]+$/, "")
        if ($0 ~ /^--/)
            $0 = ""
        gsub(/[\\"?]/, "\\\\&")
        gsub(/\t/, "\\t")
        print "    \"" $0 "\\n\""
    }' "$1"
echo "    ;"
echo "enum { lua_${name}_size = sizeof lua_$name - 1 };"
