#!/bin/sh
# Sees to the packages that grapnel is built and tested with.
#
#   install-deps.sh [--list] GROUP...      groups: build demo test valgrind format lint bench
#
# Everything there: says nothing, asks nobody, exits 0. Otherwise installs what is missing, when
# run by root on a system with apt; elsewhere names the packages and exits 1. --list only names.
# GRAPNEL_NO_INSTALL=1 makes root behave like anyone else.
set -eu
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
root=$(dirname "$0")/..

# group, Debian package, how to see that it is there: a command, a header or a file (pattern).
table() {
    cat <<TABLE
build gcc               command gcc
build libc6-dev         header stdio.h
build make              command make
build musl-tools        command musl-gcc
build dpkg-dev          command dpkg-source
build zopfli            command zopfli
build libev-dev         header ev.h
build libcbor-dev       header cbor.h
build libsodium-dev     header sodium.h
build zlib1g-dev        header zlib.h
build libssl-dev        header openssl/evp.h
build libjansson-dev    header jansson.h
build liblua5.4-dev     header lua5.4/lua.h
build libedit-dev       header histedit.h
demo  openssh-client    command ssh-keygen
demo  openssh-server    command sshd
test  openssh-client    command ssh
test  openssh-server    command sshd
test  lua5.4            command lua5.4
test  check             header check.h
test  bats              command bats
test  perl              command prove
test  procps            command ps
test  iproute2          command ss
test  python3           command python3
test  zsh               command zsh
test  tcsh              command tcsh
test  fish              command fish
test  busybox           command busybox
test  sudo              command sudo
test  clang             command clang
test  libclang-rt-dev   file /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a
valgrind valgrind       command valgrind
format clang-format     command clang-format
lint  clang             command clang
lint  clang-tidy        command clang-tidy
lint  clang-format      command clang-format
lint  cppcheck          command cppcheck
lint  shellcheck        command shellcheck
bench openssh-client    command ssh
bench openssh-server    command sshd
bench python3-rpyc      file /usr/lib/python3/dist-packages/rpyc/__init__.py
bench python3-execnet   file /usr/lib/python3/dist-packages/execnet/__init__.py
bench python3-mitogen   file /usr/lib/python3/dist-packages/mitogen/__init__.py
bench procps            command pgrep
bench clustershell      command clush
bench pdsh              command pdsh
bench pssh              command parallel-ssh
bench parallel          command parallel
TABLE
    # A release brings its configure along.
    if [ ! -e "$root/configure" ] ||
        [ -n "$(find "$root/configure.ac" -newer "$root/configure")" ]; then
        echo "build autoconf command autoconf"
    fi
    # Debian before 13 has a libssh2 too old to be of use: there it is built from 13's source.
    if ! old_debian; then
        echo "build libssh2-1-dev header libssh2.h"
    fi
}

old_debian() {
    # shellcheck disable=SC1091
    (. /etc/os-release 2>/dev/null && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-99}" -lt 13 ])
}

# True when one of the file names exists.
exists() {
    for f in "$@"; do
        [ ! -e "$f" ] || return 0
    done
    return 1
}

present() {
    case $1 in
    command) command -v "$2" >/dev/null 2>&1 ;;
    header) exists "/usr/include/$2" "/usr/local/include/$2" /usr/include/*-linux-*/"$2" ;;
    file)
        # shellcheck disable=SC2086
        exists $2
        ;;
    esac
}

# The packages of the groups named that are missing, one a line.
missing() {
    table | while read -r group package how what; do
        case " $* " in
        *" $group "*) present "$how" "$what" || echo "$package" ;;
        esac
    done | sort -u
}

# A test machine wants sshd's program, not one more open port: the service that the package brings
# is neither started now nor at the next boot.
policy=/usr/sbin/policy-rc.d
mine=
hold_services() {
    [ -e "$policy" ] && return 0
    mine=$policy
    trap 'rm -f "$mine"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

release_services() {
    [ -n "$mine" ] || return 0
    rm -f "$mine"
    case " $* " in
    *" openssh-server "*) systemctl disable ssh.service >/dev/null 2>&1 || true ;;
    esac
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}

install() {
    echo "install-deps: installing $*" >&2
    exists /var/lib/apt/lists/*Packages* || apt update
    hold_services
    # An index out of date names files that the mirror no longer has.
    apt install --no-install-recommends "$@" || {
        apt update
        apt install --no-install-recommends "$@"
    }
    release_services "$@"
}

list=
if [ "${1:-}" = --list ]; then
    list=1
    shift
fi
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }

packages=$(missing "$@" | paste -sd ' ' -)
if [ -n "$list" ]; then
    echo "$packages"
elif [ -n "$packages" ]; then
    if [ "$(id -u)" != 0 ] || [ -n "${GRAPNEL_NO_INSTALL:-}" ] || ! command -v apt-get >/dev/null; then
        echo "install-deps: missing (Debian's package names): $packages" >&2
        if command -v apt-get >/dev/null; then
            echo "install-deps: as root: apt-get install --no-install-recommends $packages" >&2
        fi
        exit 1
    fi
    # shellcheck disable=SC2086
    install $packages
    packages=$(missing "$@" | paste -sd ' ' -)
    [ -z "$packages" ] || { echo "install-deps: still missing: $packages" >&2; exit 1; }
fi
