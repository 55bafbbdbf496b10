#!/bin/sh
# test_toolchains.sh - other compilers, C libraries and processors: with each that is here,
# tests/across.c is compiled, trains a net and writes files; the host's compiler reads those, and
# it those of the host. TAP; what is missing is a line with its package. modes: | long
#
# Processors are emulated by qemu-user, Windows by Wine. ONLY_TOOLS="tcc s390x" runs those.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/toolchains.tmp}
. tests/programs.sh
work=$(cd "$work" && pwd)
root=$(pwd)
cd "$work" || exit 1
have() { command -v "$1" > /dev/null 2>&1; }
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
chosen() { case " ${ONLY_TOOLS:-$1} " in *" $1 "*) ;; *) return 1 ;; esac; }
warnings='-Wall -Wextra -Wno-unused-function'

# compiled PROGRAM COMPILER FLAG...
compiled() {
    to=$1
    shift
    "$@" -I"$root" -I"$root/tests" "$root/tests/across.c" -o "$to" -lm > log 2>&1
}
# ran TEXT NAME COMMAND...: the program as COMMAND runs it, both ways
ran() {
    text=$1
    name=$2
    shift 2
    "$@" write "$name" > log 2>&1 < /dev/null
    status=$?
    told=$(sed -n 's/^# lsnn [0-9.]* //p' log)
    check "$text trains a net: $told" $status
    [ $status -eq 0 ] || sed 's/^/# /' log
    "$@" read host > log 2>&1 < /dev/null && cmp host.again host.safetensors >> log 2>&1
    status=$?
    check "$text reads the host's files, and writes the same bytes" $status
    [ $status -eq 0 ] || sed 's/^/# /' log
    ./host read "$name" > log 2>&1 && cmp "$name.again" "$name.safetensors" >> log 2>&1
    status=$?
    check "the host reads those of $text" $status
    [ $status -eq 0 ] || sed 's/^/# /' log
    rm -f host.again
}

if ! compiled host "$CC" -O1 || ! ./host write host > log 2>&1; then
    check "the host's own: $CC" 1
    sed 's/^/# /' log
    echo "1..$n"
    exit 1
fi

printf '#include <math.h>\n#include <stdio.h>\nint main(void) { return 0; }\n' > probe.c
# with TEXT NAME RUNNER PACKAGES COMPILER FLAG...: RUNNER - is none: it runs here
with() {
    text=$1
    name=$2
    runner=$3
    packages=$4
    shift 4
    chosen "$name" || return
    [ "$runner" = - ] && runner=
    if ! have "$1" || { [ -n "$runner" ] && ! have "$runner"; }; then
        skip "$text" "needs $packages"
        return
    fi
    if ! "$@" probe.c -o probe -lm > log 2>&1; then
        skip "$text" "builds no program here: $packages"
        return
    fi
    if ! compiled "./$name.exe" "$@"; then
        check "$text compiles" 1
        head -n 8 log | sed 's/^/# /'
        return
    fi
    grep -q warning: log
    check "$text compiles without a warning" $((! $?))
    grep warning: log | head -n 5 | sed 's/^/# /'
    # shellcheck disable=SC2086
    ran "$text" "$name" $runner "./$name.exe"
}
# shellcheck disable=SC2086
{
with clang clang - clang clang -O1 $warnings
with musl musl - musl-tools musl-gcc -O1 -static $warnings
with tcc tcc - tcc tcc
with 'big-endian s390x' s390x qemu-s390x 'gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user' \
    s390x-linux-gnu-gcc -O1 -static $warnings
with aarch64 aarch64 qemu-aarch64 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user' \
    aarch64-linux-gnu-gcc -O1 -static $warnings
with armhf armhf qemu-arm 'gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user' \
    arm-linux-gnueabihf-gcc -O1 -static $warnings
with riscv64 riscv64 qemu-riscv64 'gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user' \
    riscv64-linux-gnu-gcc -O1 -static $warnings
case $(uname -m) in x86_64 | i?86) runner=- ;; *) runner=qemu-i386 ;; esac
with '32-bit x86' i386 $runner 'gcc-i686-linux-gnu libc6-dev-i386-cross' \
    i686-linux-gnu-gcc -O1 -static $warnings
}

# ---- Windows -----------------------------------------------------------------------------
# Wine wants a folder of its own, which takes it a while to fill.
wine=$(command -v wine64 || command -v wine) || wine=/usr/lib/wine/wine64
WINEPREFIX=$work/wine WINEDEBUG=-all
export WINEPREFIX WINEDEBUG
if ! chosen mingw; then
    :
elif have "$wine"; then
    # shellcheck disable=SC2086
    with 'MinGW-w64 under Wine' mingw "$wine" 'gcc-mingw-w64-x86-64 wine64' \
        x86_64-w64-mingw32-gcc -O1 -static $warnings
elif have x86_64-w64-mingw32-gcc; then
    compiled mingw.exe x86_64-w64-mingw32-gcc -O1 -static
    check 'MinGW-w64 compiles (no wine64 to run it)' $?
else
    skip 'MinGW-w64 under Wine' 'needs gcc-mingw-w64-x86-64 wine64'
fi
# MSVC's words (__pragma, _MSC_VER, no attributes) in clang, on MinGW's headers: they are read
# first, because they ask for gcc.
if ! chosen msvc; then
    :
elif have clang && [ -f /usr/x86_64-w64-mingw32/include/windows.h ]; then
    { for header in windows intrin io direct share process fcntl sys/stat errno float limits math \
          stdarg stdint stdio stdlib string time; do
          echo "#include <$header.h>"
      done
      printf '#undef __GNUC__\n#undef __clang__\n#define _MSC_VER 1930\n'
      printf '#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n'
    } > msvc.c
    for double in '' -DLSNN_DOUBLE; do
        # shellcheck disable=SC2086
        clang --target=x86_64-w64-windows-gnu -fms-extensions -fms-compatibility \
            -fgnuc-version=4.2.1 -std=c11 -fsyntax-only $double -I"$root" msvc.c > log 2>&1
        status=$?
        check "clang in the place of MSVC's front end takes lsnn.h $double" $status
        [ $status -eq 0 ] || grep error: log | head -n 5 | sed 's/^/# /'
    done
else
    skip "clang in the place of MSVC's front end" 'needs clang gcc-mingw-w64-x86-64'
fi
if ! chosen emscripten; then
    :
elif have emcc && have node; then
    if compiled across.js emcc -O1 -sSINGLE_FILE=1 -sNODERAWFS=1 -sALLOW_MEMORY_GROWTH=1; then
        ran emscripten emscripten node across.js
    else
        check 'emscripten compiles' 1
        head -n 8 log | sed 's/^/# /'
    fi
else
    skip emscripten 'needs emscripten nodejs'
fi
cd "$root" || exit 1
if chosen cortex; then
    sh tools/cortex_m.sh > "$work/log" 2>&1
    status=$?
    if [ $status -eq 77 ]; then
        skip 'exported nets on a Cortex-M4' "$(cat "$work/log")"
    else
        [ $status -eq 0 ] && [ "$(wc -l < "$work/log")" -eq 11 ]
        check 'exported nets on a Cortex-M4 answer as lsnn_predict' $?
        sed 's/^/# /' "$work/log"
    fi
fi
echo "1..$n"
exit $failed
