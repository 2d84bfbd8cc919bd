#!/bin/sh
# Builds the agent twice, each time from a copy of the tree in a folder of another name and with
# static libraries compiled anew, and compares the bytes.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

make -s agent
libc=$(sed -n 's/^AGENT_LIBC *:= *//p' config.mk)
for copy in one another-name; do
    echo "building in a folder named '$copy'"
    tree=$work/$copy/tree
    mkdir -p "$tree"
    tar -c -f - --exclude=./build --exclude=./.git . | tar -x -f - -C "$tree"
    deps=$(GRAPNEL_DEPS_OUT=$work/$copy/deps scripts/build-static-deps.sh agent "$libc")
    make -s -C "$tree" AGENT_DEPS="$deps" agent
done

for agent in build/agents/*; do
    name=${agent##*/}
    for copy in one another-name; do
        cmp "$agent" "$work/$copy/tree/build/agents/$name" || {
            echo "not reproducible: $name" >&2
            exit 1
        }
    done
    echo "same bytes: $name $(b2sum -l 256 <"$agent" | cut -c1-16)"
done
