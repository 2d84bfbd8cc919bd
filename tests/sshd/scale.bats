#!/usr/bin/env bats
# A thousand hosts at once, a hundred and ten of them bad: the others are none the worse for it, each
# of the bad ones is told with its reason, and nothing is left.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154

load ../lib

LIMIT=10 # seconds for connecting; hosts that stay silent take that long

# Refused connections must not make newer servers refuse everybody.
setup_file() {
    local options=('MaxStartups 2000' 'LogLevel INFO')
    ! "$SSHD_BIN" -G -f /dev/null -o PerSourcePenalties=no >/dev/null 2>&1 ||
        options+=('PerSourcePenalties no')
    server_start "${options[@]}"
}

teardown_file() {
    server_stop
}

setup() {
    lib_setup
}

teardown() {
    lib_teardown
}

# network BYTES: 1,000 hosts, of which those of the kind `cut` break off after BYTES of the server;
# $T/hosts has their names, $T/kinds "NAME KIND", $T/config leads to them.  What is known of ten of
# the good ones is the key of another host: they are `changed`.
network() {
    serve badhosts -c "$1" "$SSHD_PORT" good=890 refuse=50 mute=20 banner=10 half=10 cut=20
    within 10 says ready "$T/badhosts.out"
    awk 'NF == 2 { if ($2 == "good" && ++n % 89 == 0) $2 = "changed"; print }' \
        "$T/badhosts.out" | sort >"$T/kinds"
    cut -d ' ' -f 1 "$T/kinds" >"$T/hosts"
    ssh-keygen -q -t ed25519 -N '' -C other -f "$T/other"
    awk -v port="$port" -v good="$(cut -d ' ' -f 1,2 "$SSHD_DIR/host_ed25519.pub")" \
        -v other="$(cut -d ' ' -f 1,2 "$T/other.pub")" \
        '{ print "[" $1 "]:" port, $2 == "changed" ? other : good }' "$T/kinds" >"$T/known"
    sed "s/^Host .*/Host 127.*/; /HostName/d; s/Port .*/Port $port/; s|UserKnown.*|UserKnownHostsFile $T/known|" \
        "$SSHD_CONFIG" >"$T/config"
}

# everywhere WORD...: grapnel run with these words; what it says in $T/out and $T/err.
everywhere() {
    local status=0
    "$GRAPNEL" run -F "$T/config" -H "$T/hosts" --connect-timeout "${LIMIT}s" --json --stats "$@" \
        >"$T/out" 2>"$T/err" || status=$?
    cat "$T/err"
    [ "$status" -eq 255 ] && says ' 1000 hosts: 880 done, 120 failed' "$T/err"
}

# judge LENGTH: compares what was said with what the hosts are.  LENGTH: bytes of output that the good
# ones have: one line over and over, another one on each host.
judge() {
    python3 - "$T/kinds" "$T/out" "$LIMIT" "$1" <<'CODE'
import json
import sys

kinds = dict(line.split() for line in open(sys.argv[1]))
limit, length = float(sys.argv[3]), int(sys.argv[4])
reasons = {
    "refuse": [("connect", "REFUSED")],
    "mute": [("kex", "MUTE")],
    "banner": [("kex", "KEX_TIMEOUT")],
    "half": [("kex", "KEX_TIMEOUT")],
    "changed": [("host key", "HOSTKEY_CHANGED")],
    "cut": [("protocol", "LOST") if length else ("connect", "DISCONNECTED"), ("protocol", "LOST")],
}
seen, outputs, wrong = set(), {None}, []
for line in open(sys.argv[2]):
    r = json.loads(line)
    host, kind, error = r["host"], kinds[r["host"]], r.get("error")
    took = sum(r["phase_us"].values()) / 1e6
    what = (error["phase"], error["name"]) if error else None
    if host in seen:
        wrong.append(f"{host} is told twice")
    seen.add(host)
    out = r.get("stdout", "")
    own = (out.split("\n")[0] + "\n") * length
    if kind != "good":
        if what not in reasons[kind]:
            wrong.append(f"{host}, {kind}: {what}")
        if took > limit + 5:
            wrong.append(f"{host}, {kind}: took {took} s")
        if kind == "cut" and length and not (0 < len(out) < length and own.startswith(out)):
            wrong.append(f"{host}, {kind}: {len(out)} bytes of output: {out[:80]!r}")
        continue
    if error or r["exit"] != 0 or r["failed"]:
        wrong.append(f"{host}: {what}, {error and error['detail']}")
    elif out != own[:length] or out in outputs or r.get("stderr", ""):
        wrong.append(f"{host}: {len(out)} bytes of output: {out[:80]!r} {r.get('stderr')!r}")
    outputs.add(out or None)
wrong += [f"{host} is missing" for host in kinds.keys() - seen]
print(*wrong[:20], sep="\n")
sys.exit(bool(wrong))
CODE
}

# What the teardown does not look for: files here, and keys that were learnt.
is_clean() {
    [ -z "$(ls -A "$TMPDIR")" ]
    [ "$(wc -l <"$T/known")" -eq 1000 ]
}

@test "a thousand hosts, some bad: true" {
    network 3200
    everywhere -- true
    judge 0
    is_clean
}

@test "a thousand hosts, some bad: 64 KiB of output, with few descriptors" {
    network 40000
    ulimit -n 256
    everywhere -- 'yes $$.$PPID | head -c 65536'
    judge 65536
    is_clean
}
