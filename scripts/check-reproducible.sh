#!/bin/sh
# Builds the agent and the worker twice, each time from a copy of the tree in a folder of another name and with
# static libraries compiled anew, and compares the bytes.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

make -s agent worker
libc=$(sed -n 's/^AGENT_LIBC *:= *//p' config.mk)
CC=$(sed -n 's/^AGENT_CC *:= *//p' config.mk)
export CC
for copy in one another-name; do
    echo "building in a folder named '$copy'"
    tree=$work/$copy/tree
    mkdir -p "$tree"
    tar -c -f - --exclude=./build --exclude=./.git . | tar -x -f - -C "$tree"
    deps=$(GRAPNEL_DEPS_OUT=$work/$copy/deps scripts/build-static-deps.sh agent "$libc")
    lua=$(GRAPNEL_DEPS_OUT=$work/$copy/lua scripts/build-static-deps.sh lua "$libc")
    make -s -C "$tree" AGENT_DEPS="$deps" LUA_DEPS="$lua" agent worker
done

for binary in build/agents/* build/workers/*; do
    name=${binary#build/}
    for copy in one another-name; do
        cmp "$binary" "$work/$copy/tree/$binary" || {
            echo "not reproducible: $name" >&2
            exit 1
        }
    done
    echo "same bytes: $name $(b2sum -l 256 <"$binary" | cut -c1-16)"
done
