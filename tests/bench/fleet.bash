# shellcheck shell=bash disable=SC2154
# The group `fleet` of bench.sh: many hosts at once, beside the tools that people use for that.  The
# hosts are addresses of the loopback, on all of which the one sshd listens, or, where it may not, a
# relay in front of it.
#
# BENCH_FLEET (500) and BENCH_FLEET_RUNS (1) for cold runs, BENCH_FLEET_HELD (200) for memory,
# BENCH_FLEET_WARM (1000), BENCH_FLEET_TUNE (40) for finding the best fan-out of each tool;
# BENCH_FLEET_ONLY: cold, held, warm or map.

FLEET_TOOLS=(grapnel clush pdsh pssh parallel)

# fleet_relay COUNT: starts the relay; $work/hosts has its names, `port` is its port.
fleet_relay() {
    "$TOOLS/badhosts" "$SSHD_PORT" "good=$1" >"$work/net" &
    fleet=$!
    until grep -q ready "$work/net"; do
        kill -0 "$fleet" || return 1
        _sshd_tick
    done
    port=$(head -n 1 "$work/net")
    awk 'NF == 2 { print $1 }' "$work/net" >"$work/hosts"
}

# fleet_start COUNT: $work/hosts has the names of the hosts, fleet_config leads to them.
fleet_start() {
    local port=$SSHD_PORT
    [ ! -e "$work/hosts" ] || return 0
    if [ "${SSHD_LISTEN:-}" = 0.0.0.0 ]; then
        seq 0 $(($1 - 1)) | awk '{ printf "127.77.%d.%d\n", $1 / 250, $1 % 250 + 1 }' >"$work/hosts"
    else
        fleet_relay "$1" || return 1
    fi
    sed "s/^Host .*/Host 127.*/; /HostName/d; s/Port .*/Port $port\n    HostKeyAlias fleet/" \
        "$SSHD_CONFIG" >"$work/fleet_config"
    sed '$ a \    KexAlgorithms curve25519-sha256' "$work/fleet_config" >"$work/fleet_curve"
    awk '{ print "fleet", $1, $2 }' "$SSHD_DIR"/host_*.pub >>"$SSHD_KNOWN"
}

# fleet_words TOOL FANOUT CONFIG COMMAND: how it is told to run that, in `words`; the hosts are those
# of $work/some.
fleet_words() {
    local hosts=$work/some
    case $1 in
    grapnel) words=("$GRAPNEL" run -F "$3" -H "$hosts" -f "$2" -- "$4") ;;
    clush) words=(clush -S -f "$2" -o "-F $3" --hostfile "$hosts" "$4") ;;
    pdsh) words=(env "PDSH_SSH_ARGS_APPEND=-F $3" pdsh -S -R ssh -f "$2" -w "^$hosts" "$4") ;;
    pssh) words=(parallel-ssh -p "$2" -t 0 -x "-F $3" -h "$hosts" "$4") ;;
    parallel) words=(parallel --will-cite -q -j "$2" ssh -F "$3" '{}' "$4" :::: "$hosts") ;;
    esac
}

# Clock ticks that sshd took, and of what it has started that which it has waited for: not all that an
# agent has started.
fleet_server_ticks() {
    sed 's/.*) //' "/proc/$SSHD_PID/stat" | awk '{ print $12 + $13 + $14 + $15 }'
}

# fleet_run TOOL FANOUT CONFIG: `true` on $work/some: wall time and CPU time of the tool, CPU time of
# the server, all ms.
fleet_run() {
    local words before out
    fleet_words "$1" "$2" "$3" true
    before=$(fleet_server_ticks)
    out=$("$BIN/race" -n 1 -w 0 "${words[@]}" 2>"$work/fleet.err") || {
        echo "bench: ${words[*]}" >&2
        tail -n 5 "$work/fleet.err" >&2
        return 1
    }
    while pgrep -P "$SSHD_PID" >/dev/null; do
        _sshd_tick
    done
    awk -v wall="${out%% *}" -v cpu="$(cut -d ' ' -f 4 <<<"$out")" -v hz="$(getconf CLK_TCK)" \
        -v ticks="$(($(fleet_server_ticks) - before))" \
        'BEGIN { printf "%.1f %.1f %.1f\n", wall, cpu, ticks * 1000 / hz }'
}

fleet_tell() {
    [ -z "${BENCH_VERBOSE:-}" ] || echo "bench:   $*" >&2
}

# fleet_tune TOOL: the fan-out with which it is fastest.
fleet_tune() {
    local fanout wall rest best=
    for fanout in 16 32 64 128; do
        read -r wall rest < <(fleet_run "$1" "$fanout" "$work/fleet_config") || return 1
        fleet_tell "$1, $fanout at a time: $wall ms; CPU time of it and of the server, ms: $rest"
        best=$(printf '%s %s\n%s\n' "$wall" "$fanout" "$best" | sort -n | awk NF | head -n 1)
    done
    echo "${best#* }"
}

# fleet_pss PID: KiB of a process and all below it.
fleet_pss() {
    ps -eo pid=,ppid= | sort -n | awk -v top="$1" '
        { parent[$1] = $2 }
        END { for (p in parent) { for (q = p; q in parent && q != top; q = parent[q]); if (q == top) print p } }' |
        while read -r pid; do
            awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null
        done | awk '{ n += $1 } END { print n + 0 }'
}

# fleet_memory TOOL: KiB while it is connected to all of $work/some.  Each host tells that it is there,
# and then waits at the gate.
fleet_memory() {
    local words pid count
    count=$(wc -l <"$work/some")
    rm -f "$work/gate"
    mkfifo "$work/gate"
    : >"$work/arrived"
    fleet_words "$1" "$count" "$work/fleet_config" \
        "echo >>$work/arrived; read x <$work/gate; :"
    "${words[@]}" >/dev/null 2>"$work/fleet.err" &
    pid=$!
    until [ "$(stat -c %s "$work/arrived")" -ge "$count" ]; do
        kill -0 "$pid" || return 1
        _sshd_tick
    done
    sleep 0.5
    fleet_pss "$pid"
    : >"$work/gate"
    wait "$pid"
}

# The least of a column of those lines of a file that are not grapnel's: "FIGURE NAME".
fleet_least() {
    awk -v c="$2" '$1 != "grapnel" { print $c, $1 }' "$1" | sort -g | head -n 1
}

fleet_cold() {
    local hosts=${BENCH_FLEET:-500} tool fanouts=() i line best fanout
    head -n "${BENCH_FLEET_TUNE:-40}" "$work/hosts" >"$work/some"
    for tool in "${FLEET_TOOLS[@]}"; do
        fanouts+=("$(fleet_tune "$tool")") || return 1
    done
    head -n "$hosts" "$work/hosts" >"$work/some"
    : >"$work/cold.all"
    for ((i = 0; i < ${BENCH_FLEET_RUNS:-1}; i++)); do
        for tool in "${!FLEET_TOOLS[@]}"; do
            line=$(fleet_run "${FLEET_TOOLS[tool]}" "${fanouts[tool]}" "$work/fleet_config") || return 1
            echo "${FLEET_TOOLS[tool]} $line ${fanouts[tool]}" >>"$work/cold.all"
            fleet_tell "$(tail -n 1 "$work/cold.all")"
        done
    done
    # The fastest run of each.
    sort -k 1,1 -k 2,2g "$work/cold.all" | sort -s -u -k 1,1 >"$work/cold"
    read -r _ best <<<"$(fleet_least "$work/cold" 2)"
    fanout=$(awk -v t="$best" '$1 == t { print $5 }' "$work/cold")
    line=$(fleet_run "$best" "$fanout" "$work/fleet_curve") || return 1
    fleet_cold_rows "$hosts" "$best" "$line"
}

# fleet_cold_rows HOSTS BEST CURVE
fleet_cold_rows() {
    local hosts=$1 best=$2 ours theirs tool wall fanout cpu_best
    rate() { awk -v n="$hosts" -v ms="$1" 'BEGIN { printf "%.1f", n * 1000 / ms }'; }
    each() { awk -v n="$hosts" -v ms="$1" 'BEGIN { printf "%.2f", ms / n }'; }
    ours=$(awk '$1 == "grapnel"' "$work/cold")
    theirs=$(awk -v t="$best" '$1 == t' "$work/cold")
    row fleet "true on $hosts hosts, cold, against the best" "$(rate "$(cut -d' ' -f2 <<<"$ours")")" \
        "$(rate "$(cut -d' ' -f2 <<<"$theirs")")" hosts/s min 3
    while read -r tool wall _ _ fanout; do
        [ "$tool" = grapnel ] || row "fleet-$tool" "  against $tool, $fanout at a time" \
            "$(rate "$(cut -d' ' -f2 <<<"$ours")")" "$(rate "$wall")" hosts/s min -
    done <"$work/cold"
    row fleet-curve25519 "  against $best, ssh with curve25519" \
        "$(rate "$(cut -d' ' -f2 <<<"$ours")")" "$(rate "${3%% *}")" hosts/s min -
    read -r cpu_best _ <<<"$(fleet_least "$work/cold" 3)"
    row fleet-cpu '  CPU time here for each host' "$(each "$(cut -d' ' -f3 <<<"$ours")")" \
        "$(each "$cpu_best")" ms max 0.1
    row fleet-server "  CPU time of sshd for each, against $best" \
        "$(each "$(cut -d' ' -f4 <<<"$ours")")" "$(each "$(cut -d' ' -f4 <<<"$theirs")")" ms max -
}

fleet_held() {
    local hosts=${BENCH_FLEET_HELD:-200} tool memory ours theirs
    head -n "$hosts" "$work/hosts" >"$work/some"
    : >"$work/memory"
    for tool in "${FLEET_TOOLS[@]}"; do
        memory=$(fleet_memory "$tool") || return 1
        echo "$tool $memory" >>"$work/memory"
        fleet_tell "$tool: $memory KiB"
    done
    ours=$(awk -v n="$hosts" '$1 == "grapnel" { printf "%.1f", $2 / n }' "$work/memory")
    theirs=$(fleet_least "$work/memory" 2 | awk -v n="$hosts" '{ printf "%.1f", $1 / n }')
    row fleet-memory "memory here for each of $hosts connected hosts" "$ours" - KiB max 200
    row fleet-memory-ratio '  against the best' "$ours" "$theirs" KiB max 0.2
}

fleet_warm() {
    local hosts=${BENCH_FLEET_WARM:-1000} names
    mapfile -t names < <(head -n "$hosts" "$work/hosts")
    SSHD_CONFIG=$work/fleet_config "$BIN/fleet" 5 0 "${names[@]}" >"$work/warm" || return 1
    row fleet-warm "true on $hosts hosts that are held" "$(highest "$work/warm" | cut -d ' ' -f 1)" - \
        hosts/s min 1500
    row fleet-warm-cpu '  CPU time here for each' \
        "$(sort -g "$work/warm" | tail -n 1 | cut -d ' ' -f 2)" - us max -
}

fleet_map() {
    "$BIN/map" 5 10000 8 >"$work/map" || return 1
    row fleet-map 'map of 10,000 trivial tasks over 8 local workers' \
        "$(highest "$work/map" | cut -d ' ' -f 1)" - tasks/s min 50000
    row fleet-map-cpu '  CPU time here for each' "$(sort -g "$work/map" | tail -n 1 | cut -d ' ' -f 3)" \
        - us max -
}

fleet() {
    local tool
    for tool in clush pdsh parallel-ssh parallel; do
        command -v "$tool" >/dev/null || {
            echo "bench: $tool is not there: make bench-deps" >&2
            return 1
        }
    done
    fleet_start 1000 || return 1
    case ${BENCH_FLEET_ONLY:-all} in
    all) fleet_cold && fleet_held && fleet_warm && fleet_map ;;
    *) "fleet_$BENCH_FLEET_ONLY" ;;
    esac
}
