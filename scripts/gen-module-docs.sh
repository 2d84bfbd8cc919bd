#!/bin/sh
# Writes docs/modules/NAME.md, one page for each module of agent/worker/mods.def, from the comments
# of agent/worker/mod_NAME.c and agent/worker/NAME_*.c that begin with three stars:
#
#   /*** module NAME                      the page's head; blank lines part paragraphs
#    * text
#    */
#   /*** NAME.function(args) -> results   a function, or with a colon an object's method
#    * text
#    */
#
# Other files there whose comments tell of an object that several modules return (stream:read) make
# a page of that object's name; a head is not asked of them.
#
#   gen-module-docs.sh            mends the pages
#   gen-module-docs.sh --check    exits 1 when one is out of date, or a function without a comment,
#                                 and says so
set -eu
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.."
out=docs/modules
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

modules() {
    sed -n 's/^MODULE(\([a-z0-9_]*\)).*/\1/p' agent/worker/mods.def
}

# The files of one module.
sources() {
    for file in "agent/worker/mod_$1.c" "agent/worker/$1"_*.c; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done
}

# The objects of files that belong to no module, each with its file: "stream agent/worker/fdio.c".
shared() {
    for file in agent/worker/*.c; do
        for name in $(modules); do
            case ${file##*/} in "mod_$name.c" | "$name"_*) continue 2 ;; esac
        done
        sed -n 's/^\/\*\*\* \([a-z0-9_]*\):.*/\1/p' "$file" | head -n 1 | sed "s|\$| $file|"
    done
}

# The page `name`: its head first, wherever it stands.
# shellcheck disable=SC2016
page='
    function flush() {
        sub(/\n+$/, "", text)
        if (title == "module") head = text "\n"
        else if (title != "") body = body "\n## " title "\n" text "\n"
        title = ""
    }
    /^\/\*\*\* / {
        title = substr($0, 6)
        text = ""
        if (title ~ /^module /) title = "module"
        else {
            results = ""
            if ((at = index(title, " -> ")) > 0) {
                results = " → " substr(title, at + 4)
                title = substr(title, 1, at - 1)
            }
            title = "`" title "`" results
        }
        inside = 1
        next
    }
    inside && /^ ?\*\/$/ { inside = 0; flush(); next }
    inside { line = $0; sub(/^ \* ?/, "", line); last = sub(/ ?\*\/$/, "", line); text = text line "\n"
             if (last) { inside = 0; flush() } }
    END {
        if (head == "" && shared) head = "What several modules return.\n"
        if (head == "") { print name ": no comment that begins with /*** module" >"/dev/stderr"; exit 1 }
        printf "# %s\n<!-- by scripts/gen-module-docs.sh: change the sources instead -->\n\n%s%s", name, head, body
    }'

# Names in the tables of functions that have no comment, as `.name(` or `:name(`.
# shellcheck disable=SC2016
missing='
    /^\/\*\*\* / { if (match($0, /[.:][a-z0-9_]+\(/)) told[substr($0, RSTART + 1, RLENGTH - 2)] = 1 }
    { line = $0
      while (match(line, /\{"[a-z0-9][a-z0-9_]*", [a-z][a-z0-9_]*\}/)) {
          split(substr(line, RSTART + 2, RLENGTH - 2), part, "\"")
          names[part[1]] = FILENAME
          line = substr(line, RSTART + RLENGTH)
      } }
    END { for (n in names) if (!(n in told)) { print names[n] ": no comment tells about " n; bad = 1 }
          exit bad }'

status=0
mkdir -p "$work/new"
for name in $(modules); do
    files=$(sources "$name")
    [ -n "$files" ] || { echo "$0: no source of the module $name" >&2; exit 1; }
    # The names of sources hold no blanks.
    # shellcheck disable=SC2086
    awk -v name="$name" "$page" $files >"$work/new/$name.md"
    # shellcheck disable=SC2086
    awk "$missing" $files >&2 || status=1
done
shared >"$work/shared"
objects=$(cut -d ' ' -f 1 "$work/shared" | sort -u)
for name in $objects; do
    files=$(sed -n "s/^$name //p" "$work/shared")
    # shellcheck disable=SC2086
    awk -v name="$name" -v shared=1 "$page" $files >"$work/new/$name.md"
    # shellcheck disable=SC2086
    awk "$missing" $files >&2 || status=1
done

if [ "${1:-}" = --check ]; then
    if ! diff -ruN "$out" "$work/new"; then
        echo "$out is out of date: run scripts/gen-module-docs.sh" >&2
        status=1
    fi
    exit "$status"
fi
mkdir -p "$out"
for old in "$out"/*.md; do
    [ ! -f "$old" ] || [ -f "$work/new/${old##*/}" ] || rm "$old"
done
for new in "$work/new"/*.md; do
    cmp -s "$new" "$out/${new##*/}" || cp "$new" "$out/"
done
exit "$status"
