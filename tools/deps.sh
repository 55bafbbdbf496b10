#!/bin/sh
# deps.sh - installs the optional package: zlib (.gz files).
#     sh tools/deps.sh           what programs use; `make deps`, and `make run` calls it
#     sh tools/deps.sh bench     the bench's peers too; `make deps PEERS=1`
# Never asks anything, always exits 0: lsnn does without them. As root, or where `sudo -n`
# works, it runs apt-get after printing the command; elsewhere it says what to type.
CC=${CC:-cc}

tmp=$(mktemp -d) || exit 0
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# compiles TEXT FLAGS...: whether a program of those lines compiles and links
compiles() {
    printf '%b' "$1" > "$tmp/probe.c"
    shift
    # CC may be "ccache gcc": it is split on purpose
    # shellcheck disable=SC2086
    $CC "$tmp/probe.c" -o "$tmp/probe" "$@" > /dev/null 2>&1
}
have_zlib() {
    compiles '#include <zlib.h>\nint main(void){return !zlibVersion();}\n' -lz
}

if ! compiles 'int main(void){return 0;}\n'; then
    echo "lsnn: no working C compiler ($CC); on Debian or Ubuntu: apt-get install gcc make" >&2
    exit 0
fi

missing=''
add() { missing="${missing:+$missing }$1"; }
have_zlib || add zlib1g-dev
if [ "${1:-}" = bench ]; then
    /usr/bin/python3 -c 'import torch' 2> /dev/null || add python3-torch
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2> /dev/null | grep -q 'libopenblas\.so\.0' || add libopenblas0
    echo "lsnn: ONNX Runtime is no package. In a folder outside of this one, type:"
    echo "    npm install --ignore-scripts onnxruntime-node@1.30.0"
    echo "and then: ORT_NODE=THAT_FOLDER make bench"
fi
[ -z "$missing" ] && exit 0

say_what_to_type() {
    echo "lsnn: not installed: $missing. To add them:"
    echo "    Debian, Ubuntu:  sudo apt-get install $missing"
    case $missing in *-dev*) ;; *) return ;; esac
    echo "Elsewhere: sudo dnf install zlib-devel (Fedora), brew install zlib (macOS)"
}

as_root=''
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo > /dev/null 2>&1 && sudo -n true > /dev/null 2>&1; then
        as_root='sudo -n'
    else
        say_what_to_type
        exit 0
    fi
fi
if ! command -v apt-get > /dev/null 2>&1; then
    say_what_to_type
    exit 0
fi

# A network that drops packets answers nothing for minutes: what goes through it is cut off
# after so many seconds, and installing, which must not be cut off, uses what was fetched.
# DPkg::Lock::Timeout keeps another package manager from holding this up for ever.
# run_apt SECONDS ARGUMENTS...   (0: no limit)
run_apt() {
    within=''
    [ "$1" -eq 0 ] || ! command -v timeout > /dev/null 2>&1 || within="timeout -k 5 $1"
    echo "+ ${as_root:+$as_root }apt-get $(echo "$*" | cut -d ' ' -f 2-)$(
        [ -z "$within" ] || echo "   (at most $1 s)")"
    shift
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive $within apt-get -q -o DPkg::Lock::Timeout=60 \
        -o Acquire::http::Timeout=8 -o Acquire::https::Timeout=8 -o Acquire::Retries=0 "$@" \
        < /dev/null > "$tmp/apt.log" 2>&1
}
# a small package; the bench's PyTorch is a large one
case $missing in *torch*) patience=1200 ;; *) patience=30 ;; esac
# shellcheck disable=SC2086
install_missing() {
    run_apt $patience install -y --download-only --no-install-recommends $missing &&
        run_apt 0 install -y --no-download --no-install-recommends $missing
}

# an old or empty package list: get a new one, once
if ! install_missing && { ! run_apt 30 update || ! install_missing; }; then
    echo "lsnn: apt-get says:"
    grep -E '^(E|W|Err)' "$tmp/apt.log" | tail -n 3
    [ -s "$tmp/apt.log" ] || echo "nothing: no answer in time"
    say_what_to_type
fi
exit 0
