#!/bin/sh
# Builds static libraries from the distribution's signed source packages and prints the folder
# that holds include/ and lib/.
#
#   build-static-deps.sh agent musl     libev, libcbor, zlib, libsodium and musl for the agent, by
#                                       musl-gcc
#   build-static-deps.sh agent glibc    the same without musl, by the host's compiler
#   build-static-deps.sh lua musl       Lua 5.4 for the worker, which links the agent's set as well
#   build-static-deps.sh lua glibc      the same, by the host's compiler
#   build-static-deps.sh libssh2        libssh2 >= 1.11.1 for the launcher (position independent)
#
# For the hosts' side, the file FLAGS in that folder tells the flags that make small code: the agent
# and the worker are compiled with them as well.
#
# The system's package sources are read to learn the mirror and never changed: apt runs with
# lists, caches and sources of its own. What was fetched and built is kept in the cache, so that a
# second run needs neither network nor compiler. The cache notices an upgrade of the system's own
# copies of these libraries; GRAPNEL_REFRESH=1 asks the mirror again in any case.
#
# Environment: CC, GRAPNEL_CACHE, XDG_CACHE_HOME, GRAPNEL_REFRESH, TMPDIR, and GRAPNEL_DEPS_OUT:
# build afresh into that folder and leave the cache's builds alone.
set -eu
umask 022
LC_ALL=C
export LC_ALL

NEXT_SUITE=trixie # the first suite with libssh2 1.11.1
AGENT_SOURCES="libev libcbor zlib libsodium"
AGENT_DEV_PACKAGES="libev-dev libcbor-dev zlib1g-dev libsodium-dev"

# Small once it is compressed, which is not quite the same as small. What scheduling, hoisting and
# the like move apart looks different each time, and a call with the function's address says the
# same bytes wherever it stands, as one with the distance does not: an eighth of the whole. What
# the compiler does not know is left out; HOT are the flags for what runs all the time.
HOT="-Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables"
HOT="$HOT -fno-ident -fno-pie -fno-schedule-insns2 -fno-shrink-wrap"
SMALL="-Oz -fno-caller-saves -fno-optimize-sibling-calls -mforce-indirect-call"
SMALL="$SMALL -fno-move-loop-invariants -fno-cse-follow-jumps -fno-if-conversion -fno-ipa-sra"
SMALL="$SMALL -fno-partial-inlining -fno-tree-tail-merge"

script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
cache=${GRAPNEL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/grapnel}
work=

say() { echo "build-static-deps: $*" >&2; }
die() { say "$*"; exit 1; }
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null 2>&1 || die "$tool not found; run scripts/install-deps.sh build"
    done
}

# A short name for whatever stands on stdin.
digest() { b2sum -l 128 | cut -c1-32; }

os_release() {
    # shellcheck disable=SC1091
    (. /etc/os-release 2>/dev/null && eval "echo \"\${$1:-}\"") || true
}

# Runs a command with its output in a log that is shown only when it fails.
quiet() {
    "$@" >>"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; die "failed: $*"; }
}

# One line per entry of the system's sources: "URI suite keyring-or-dash component...".
system_entries() {
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$f" ] || continue
        sed -n 's/[[:space:]]*#.*//; s/^[[:space:]]*deb\(-src\)\{0,1\}[[:space:]]\{1,\}//p' "$f" |
            awk '{
                key = "-"; i = 1
                if ($1 ~ /^\[/) {
                    for (; i <= NF; i++) {
                        o = $i; gsub(/[][]/, "", o)
                        if (tolower(o) ~ /^signed-by=/) key = substr(o, 11)
                        if ($i ~ /\]$/) { i++; break }
                    }
                }
                line = $i " " $(i + 1) " " key
                for (i += 2; i <= NF; i++) line = line " " $i
                print line
            }'
    done
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -f "$f" ] || continue
        awk 'function flush(   n, m, u, s, i, j) {
                if (uris != "" && tolower(off) !~ /^(no|false|off|0)$/) {
                    n = split(uris, u, " "); m = split(suites, s, " ")
                    for (i = 1; i <= n; i++) for (j = 1; j <= m; j++)
                        print u[i], s[j], (key ~ /^\// ? key : "-"), comps
                }
                uris = suites = comps = key = off = field = ""
            }
            /^#/ { next }
            /^[[:space:]]*$/ { flush(); next }
            {
                value = $0
                if ($0 !~ /^[[:space:]]/) {
                    field = tolower($0); sub(/:.*/, "", field); sub(/^[^:]*:[[:space:]]*/, "", value)
                }
                if (field == "uris") uris = uris " " value
                else if (field == "suites") suites = suites " " value
                else if (field == "components") comps = comps " " value
                else if (field == "signed-by") { gsub(/[[:space:]]/, "", value); key = key value }
                else if (field == "enabled") off = value
            }
            END { flush() }' "$f"
    done
}

# The deb-src lines for a suite, its updates and its security updates. A suite other than the
# running one is looked for on the same mirrors.
source_lines() {
    system_entries | while read -r uri name key comps; do
        case $name in
        "$running" | "$running"-updates | "$running"-security | "$running"/updates) ;;
        *) continue ;;
        esac
        if [ "$1" != "$running" ]; then
            name=$1${name#"$running"}
            # The entry's own keyring may hold the running release's keys only.
            key=-
            for k in debian-archive-keyring.gpg debian-archive-keyring.pgp; do
                [ ! -f "/usr/share/keyrings/$k" ] || { key=/usr/share/keyrings/$k; break; }
            done
        fi
        want=main
        case " $comps " in *" universe "*) want="main universe" ;; esac
        if [ "$key" = - ]; then
            echo "deb-src $uri $name $want"
        else
            echo "deb-src [signed-by=$key] $uri $name $want"
        fi
    done | sort -u
}

# private_apt SUITE ARGUMENT...: apt-get that knows that suite's sources and nothing else.
private_apt() {
    apt=$work/apt-$1
    suite=$1
    shift
    if [ ! -d "$apt" ]; then
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/none.d"
        : >"$apt/status"
        source_lines "$suite" >"$apt/sources.list"
        cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/none.d";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$apt/none.d";
Acquire::Languages "none";
Acquire::Retries "2";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
CONF
        [ -s "$apt/sources.list" ] || say "the system's package sources name no mirror for $suite"
        apt-get -c "$apt/apt.conf" -q update || return 1
    fi
    apt-get -c "$apt/apt.conf" -q "$@"
}

# download SUITE ARGUMENT...: apt-get source into $work/got; nothing there where it fails.
download() {
    rm -rf "$work/get"
    mkdir "$work/get"
    # As root, apt drops to its own user for downloads.
    if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then
        chown _apt "$work/get"
    fi
    (
        cd "$work/get"
        private_apt "$@"
    ) >>"$work/log" 2>&1 || return 1
    cp "$work/get"/* "$work/got/"
}

# One source package; where the mirror has lost part of it, the next best thing that a signed
# index vouches for: upstream's tarball without the distribution's patches, then the next suite.
download_one() {
    for from in $running $NEXT_SUITE; do
        for what in --download-only --tar-only; do
            if download "$from" source --only-source --download-only $what "$1"; then
                [ "$from $what" = "$running --download-only" ] ||
                    say "$1: the mirror lacks $running's; took $from's ($what)"
                return 0
            fi
        done
    done
    tail -n 20 "$work/log" >&2
    die "cannot fetch the source of $1"
}

# fetch SET SUITE ID PACKAGE...: sets $sources to the folder that holds the source packages.
fetch() {
    sources=$cache/src/$1-$2-$3
    suite=$2
    shift 3
    if [ -f "$sources/SHA256SUMS" ] && [ -z "${GRAPNEL_REFRESH:-}" ]; then
        return 0
    fi
    need apt-get dpkg-source
    say "fetching the source of $* ($suite)"
    mkdir -p "$work/got"
    if ! download "$suite" source --only-source --download-only "$@"; then
        [ "$suite" = "$running" ] || { tail -n 20 "$work/log" >&2; die "cannot fetch $*"; }
        for package in "$@"; do
            download_one "$package"
        done
    fi
    (cd "$work/got" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
    mkdir -p "$cache/src"
    new=$(mktemp -d "$cache/src/.new.XXXXXX")
    chmod 755 "$new"
    cp "$work/got"/* "$new/"
    rm -rf "$sources"
    mv -T "$new" "$sources" 2>/dev/null || rm -rf "$new" # lost a race: the other's copy serves
}

# unpack PACKAGE: verifies and unpacks it with the distribution's patches, into $src.
unpack() {
    src=$work/$1
    for dsc in "$sources/$1"_*.dsc; do
        [ -f "$dsc" ] || break
        # apt checked the .dsc against the signed index; this checks the tarballs against the .dsc.
        quiet dpkg-source --no-copy --require-strong-checksums -x "$dsc" "$src"
        return 0
    done
    mkdir "$src"
    for tarball in "$sources/$1"_*.orig.tar.*; do
        case $tarball in
        *.asc) ;;
        *) quiet tar -x -f "$tarball" -C "$src" --strip-components=1 --no-same-owner ;;
        esac
    done
    [ -n "$(ls -A "$src")" ] || die "the source of $1 is not in $sources"
}

# compile ARGUMENT...: the compiler with $CFLAGS taken apart.
compile() {
    # shellcheck disable=SC2086
    quiet $CC $CFLAGS "$@"
}

build_zlib() {
    cd "$src"
    quiet ./configure --static
    quiet make libz.a
    cp libz.a "$out/lib/"
    cp zlib.h zconf.h "$out/include/"
}

build_libev() {
    cd "$src"
    # What needs the kernel's own headers (linux/*.h) stays off: musl-gcc has none. Of the kinds of
    # watchers, the agent and the worker have those for descriptors, signals and times.
    compile -fno-strict-aliasing -w -DEV_STANDALONE=1 -DEV_USE_SELECT=0 -DEV_USE_POLL=1 \
        -DEV_USE_EPOLL=1 -DEV_USE_LINUXAIO=0 -DEV_USE_IOURING=0 -DEV_USE_INOTIFY=0 \
        -DEV_USE_EVENTFD=1 -DEV_USE_SIGNALFD=0 -DEV_USE_TIMERFD=0 -DEV_USE_MONOTONIC=1 \
        -DEV_USE_REALTIME=1 -DEV_USE_CLOCK_SYSCALL=0 -DEV_USE_NANOSLEEP=1 -DEV_USE_FLOOR=0 \
        -DEV_PERIODIC_ENABLE=0 -DEV_STAT_ENABLE=0 -DEV_CHECK_ENABLE=0 -DEV_IDLE_ENABLE=0 \
        -DEV_FORK_ENABLE=0 -DEV_CLEANUP_ENABLE=0 -DEV_CHILD_ENABLE=0 -DEV_ASYNC_ENABLE=0 \
        -DEV_EMBED_ENABLE=0 -DEV_VERIFY=0 -DEV_AVOID_STDIO=1 -DNDEBUG \
        -c ev.c -o ev.o
    quiet ar Dcr "$out/lib/libev.a" ev.o
    cp ev.h "$out/include/"
}

# archive LIBRARY FLAG... -- FILE.c...: compiles the files and makes an archive of them.
archive() {
    lib=$1
    shift
    flags=
    while [ "$1" != -- ]; do
        flags="$flags $1"
        shift
    done
    shift
    objects=
    for c in "$@"; do
        o=$(echo "${c%.c}.o" | tr / _)
        # shellcheck disable=SC2086
        compile -w $flags -c "$c" -o "$o"
        objects="$objects $o"
    done
    # shellcheck disable=SC2086
    quiet ar Dcr "$out/lib/$lib" $objects
}

# libcbor's own build needs cmake only to fill in two headers.
build_libcbor() {
    cd "$src/src"
    version() { sed -n "s/^SET(CBOR_VERSION_$1 \"\([0-9]*\)\").*/\1/Ip" ../CMakeLists.txt; }
    sed -e 's/\$[{]\([A-Z_]*\)[}]/@\1@/' -e 's/^#cmakedefine01 \(.*\)/#define \1 0/' \
        -e "s/@CBOR_VERSION_MAJOR@/$(version MAJOR)/" -e "s/@CBOR_VERSION_MINOR@/$(version MINOR)/" \
        -e "s/@CBOR_VERSION_PATCH@/$(version PATCH)/" -e 's/@CBOR_BUFFER_GROWTH@/2/' \
        -e 's/@CBOR_MAX_STACK_SIZE@/2048/' -e 's/@CBOR_RESTRICT_SPECIFIER@/restrict/' \
        -e 's/@CBOR_INLINE_SPECIFIER@//' cbor/configuration.h.in >cbor/configuration.h
    ! grep @ cbor/configuration.h >&2 || die "libcbor has settings that are not known here"
    printf '#define %s\n' CBOR_EXPORT CBOR_NO_EXPORT >cbor/cbor_export.h
    printf '#define %s __attribute__((__deprecated__))\n' CBOR_DEPRECATED CBOR_DEPRECATED_EXPORT \
        CBOR_DEPRECATED_NO_EXPORT >>cbor/cbor_export.h
    archive libcbor.a -std=gnu11 -DNDEBUG -I. -- *.c cbor/*.c cbor/internal/*.c
    mkdir -p "$out/include/cbor"
    cp cbor.h "$out/include/"
    cp cbor/*.h "$out/include/cbor/"
}

# edit FILE SED_EXPRESSION...: changes a source; where one expression finds nothing, that is an error.
edit() {
    edited=$1
    shift
    for expression in "$@"; do
        cp "$edited" "$work/before"
        sed -i "$expression" "$edited"
        ! cmp -s "$work/before" "$edited" || die "$edited is not as it was: $expression"
    done
}

# libsodium's portable code, none of the SIMD variants: they would triple what sodium_init() pulls
# into the agent. Compiled directly, because the distribution's tarball comes without a configure.
build_libsodium() {
    cd "$src/src/libsodium"
    number() { sed -n "s/^$1=\([0-9]*\)/\1/p" ../../configure.ac; }
    sed -e "s/@VERSION@/$(sed -n 's/^AC_INIT(\[libsodium\],\[\([^]]*\)\].*/\1/p' ../../configure.ac)/" \
        -e "s/@SODIUM_LIBRARY_VERSION_MAJOR@/$(number SODIUM_LIBRARY_VERSION_MAJOR)/" \
        -e "s/@SODIUM_LIBRARY_VERSION_MINOR@/$(number SODIUM_LIBRARY_VERSION_MINOR)/" \
        -e 's/@SODIUM_LIBRARY_MINIMAL_DEF@//' include/sodium/version.h.in >include/sodium/version.h
    ! grep @ include/sodium/version.h >&2 || die "libsodium has settings that are not known here"
    defs="-DCONFIGURED=1 -D_GNU_SOURCE=1 -DHAVE_SYS_MMAN_H=1 -DHAVE_MMAP=1 -DHAVE_MPROTECT=1"
    defs="$defs -DHAVE_MADVISE=1 -DHAVE_MLOCK=1 -DHAVE_POSIX_MEMALIGN=1 -DHAVE_SYS_RANDOM_H=1"
    defs="$defs -DHAVE_GETRANDOM=1 -DHAVE_GETPID=1 -DHAVE_NANOSLEEP=1 -DHAVE_EXPLICIT_BZERO=1"
    defs="$defs -DHAVE_C_VARARRAYS=1 -DHAVE_WEAK_SYMBOLS=1 -DHAVE_ATOMIC_OPS=1"
    macros=$(: | $CC -dM -E -x c -)
    case $macros in
    *"__BYTE_ORDER__ __ORDER_LITTLE_ENDIAN__"*) defs="$defs -DNATIVE_LITTLE_ENDIAN=1" ;;
    *) defs="$defs -DNATIVE_BIG_ENDIAN=1" ;;
    esac
    case $macros in *__SIZEOF_INT128__*) defs="$defs -DHAVE_TI_MODE=1" ;; esac
    # Rounds that are written out one by one, as loops: 1,700 bytes of a packed worker.
    edit crypto_hash/sha256/cp/hash_sha256_cp.c \
        '/^ *RNDr(S, W, \([89]\|1.\), i);$/d' \
        's/^\( *RNDr(S, W, [0-7], \)i);$/\1j);/' \
        's/^ *RNDr(S, W, 0, j);$/for (int j = i; j < i + 16; j += 8) { &/' \
        's/^ *RNDr(S, W, 7, j);$/& }/' \
        '/^ *MSCH(W, [1-9][0-9]*, i);$/d' \
        's/^ *MSCH(W, 0, i);$/for (int j = 0; j < 16; j++) { MSCH(W, j, i); }/'
    edit crypto_generichash/blake2b/ref/blake2b-compress-ref.c \
        '/^ *ROUND([1-9][0-9]*);$/d' \
        's/^ *ROUND(0);$/for (int r = 0; r < 12; r++) { ROUND(r); }/'
    # shellcheck disable=SC2046,SC2086
    archive libsodium.a -fno-strict-aliasing -fwrapv -DNDEBUG $defs -Iinclude -Iinclude/sodium -- \
        $(find . -name '*.c' | sed 's,^\./,,' | sort)
    cp -R include/sodium.h include/sodium "$out/include/"
    rm -rf "$out/include/sodium/private" "$out/include/sodium/version.h.in"
}

# Lua without the interpreter and the compiler. A static program loads no C modules: dlopen stays
# out, and so does Debian's header that tells where they lie. LUA_COMPAT_5_3 as in Debian's own.
build_lua5_4() {
    cd "$src/src"
    rm lua.c luac.c
    : >lua5.4-deb-multiarch.h
    set -- -std=gnu99 -DLUA_USE_POSIX -DLUA_COMPAT_5_3 '-DLUA_CPATH_DEFAULT=""'
    rest=$CFLAGS
    CFLAGS=$hot
    archive liblua.a "$@" -- lvm.c
    rm lvm.c
    CFLAGS=$rest
    archive liblua.a "$@" -- *.c
    cp lua.h luaconf.h lualib.h lauxlib.h lua5.4-deb-multiarch.h "$out/include/"
}

# musl as Debian has it is compiled for speed, and as position independent code: an eighth of a
# worker. Its former malloc is smaller; strings grow faster in it, many small tables slower.
build_musl() {
    cd "$src"
    quiet env CC="${REALGCC:-gcc}" CFLAGS="$CFLAGS -fstack-protector-strong" \
        ./configure --disable-shared --enable-optimize=no --with-malloc=oldmalloc
    echo "obj/src/malloc/oldmalloc/malloc.o: CFLAGS = $hot" >>config.mak
    quiet make -j2 lib/libc.a
    cp lib/libc.a "$out/lib/"
}

build_libssh2() {
    cd "$src"
    quiet ./configure --disable-shared --enable-static --with-pic --with-crypto=openssl --with-libz \
        --disable-examples-build --disable-tests --disable-dependency-tracking --disable-debug \
        --prefix="$out" --libdir="$out/lib"
    quiet make -j2 -C src install
    mkdir -p "$out/include"
    cp include/*.h "$out/include/"
    rm -rf "$out/lib/pkgconfig" "$out/lib"/*.la
}

# build NAME PACKAGE...: builds in a folder of its own and puts the result in place in one step.
build() {
    name=$1
    shift
    key=$({ cat "$script" "$sources/SHA256SUMS"; $CC --version; uname -m; toolchain_id; } | digest)
    target=${GRAPNEL_DEPS_OUT:-$cache/$name-$(uname -m)-$key}
    if [ -z "${GRAPNEL_DEPS_OUT:-}" ] && [ -f "$target/VERSIONS" ]; then
        echo "$target"
        return 0
    fi
    need "$CC" make ar dpkg-source
    mkdir -p "$(dirname "$target")"
    # The name must not show up in what is built: all compilation is relative to $work.
    out=$work/out
    mkdir -p "$out/lib" "$out/include"
    CFLAGS="$CFLAGS -ffile-prefix-map=$work=."
    hot="${hot:-} -ffile-prefix-map=$work=."
    SOURCE_DATE_EPOCH=1
    export CC CFLAGS SOURCE_DATE_EPOCH
    for package in "$@"; do
        say "building $package for $name"
        unpack "$package"
        ("build_$(echo "$package" | tr . _)") || exit 1
    done
    [ -z "${small:-}" ] || echo "$small" >"$out/FLAGS"
    (cd "$sources" && sed 's/^[0-9a-f]*  //' SHA256SUMS | grep -E '\.(dsc|orig\.tar\.[a-z0-9]+)$') >"$out/VERSIONS"
    new=$(mktemp -d "$(dirname "$target")/.new.XXXXXX")
    chmod 755 "$new"
    cp -R "$out/." "$new/"
    [ -z "${GRAPNEL_DEPS_OUT:-}" ] || rm -rf "$target"
    mv -T "$new" "$target" 2>/dev/null || rm -rf "$new"
    [ -f "$target/VERSIONS" ] || die "cannot write $target"
    echo "$target"
}

work=$(mktemp -d)
chmod 755 "$work"
: >"$work/log"
running=$(os_release VERSION_CODENAME)
: "${running:=unknown}"

# Those of the flags that the compiler knows.
known() {
    for flag in "$@"; do
        ! : | $CC -Werror "$flag" -c -x c - -o /dev/null 2>/dev/null || printf '%s ' "$flag"
    done
}

# The compiler and flags for what runs on the hosts.
agent_compiler() {
    case $1 in
    musl)
        CC=musl-gcc
        need "$CC" "${REALGCC:-gcc}"
        toolchain_id() { b2sum <"$($CC -print-file-name=libc.a)"; }
        ;;
    glibc)
        CC=${CC:-gcc}
        toolchain_id() { :; }
        ;;
    *) die "$usage" ;;
    esac
    # shellcheck disable=SC2086
    hot=$(known $HOT)
    # shellcheck disable=SC2086
    CFLAGS="$hot $(known $SMALL)"
    small=$CFLAGS
}

# for_agent SET LIBC "SOURCE..." "DEV_PACKAGE...": the development packages tell the versions.
for_agent() {
    agent_compiler "$2"
    # shellcheck disable=SC2086
    id=$(dpkg-query -W $4 2>/dev/null | digest)
    # shellcheck disable=SC2086
    fetch "$1" "$running" "$id" $3
    # shellcheck disable=SC2086
    build "$1-$2" $3
}

usage="usage: $0 agent musl|glibc | lua musl|glibc | libssh2"
case ${1:-} in
agent)
    case ${2:-} in
    musl) for_agent agent musl "$AGENT_SOURCES musl" "$AGENT_DEV_PACKAGES musl-dev" ;;
    *) for_agent agent "${2:-}" "$AGENT_SOURCES" "$AGENT_DEV_PACKAGES" ;;
    esac
    ;;
lua) for_agent lua "${2:-}" lua5.4 liblua5.4-dev ;;
libssh2)
    CC=${CC:-gcc}
    CFLAGS="-O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2"
    toolchain_id() { echo '#include <openssl/opensslv.h>' | $CC -E - | digest; }
    fetch libssh2 "$NEXT_SUITE" stable libssh2
    build libssh2 libssh2
    ;;
*)
    die "$usage"
    ;;
esac
