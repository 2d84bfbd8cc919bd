#!/bin/sh
# Prints the table of the agents in a folder, each a raw binary beside its .gz, as a C header.
set -eu
LC_ALL=C
export LC_ALL

b2() { b2sum -l 256 <"$1" | cut -d' ' -f1; }
sha() { sha256sum <"$1" | cut -d' ' -f1; }
size() { wc -c <"$1" | tr -d ' '; }

cat <<HEAD
/* Made by scripts/agents-manifest.sh. Define AGENT(name, raw_size, gz_size, raw_b2, gz_b2, raw_sha)
 * first; sizes in bytes, hashes BLAKE2b-256 and SHA-256 in hex. */
HEAD
for agent in "$1"/*; do
    case $agent in
    *.gz) continue ;;
    esac
    [ -f "$agent.gz" ] || continue
    printf 'AGENT("%s", %s, %s,\n      "%s",\n      "%s",\n      "%s")\n' "${agent##*/}" \
        "$(size "$agent")" "$(size "$agent.gz")" "$(b2 "$agent")" "$(b2 "$agent.gz")" "$(sha "$agent")"
done
