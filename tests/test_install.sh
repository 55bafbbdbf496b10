#!/bin/sh
# test_install.sh - make install and uninstall into a folder of their own; programs that find
# lsnn there by pkg-config and by CMake, and in the source folder by FetchContent; the ports
# for vcpkg and Conan as far as that goes without those. TAP. modes: | short
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/install.tmp}
. tests/programs.sh
work=$(cd "$work" && pwd)
root=$(pwd)
rm -rf "${work:?}"/*
log() { [ "$status" -eq 0 ] || tail -n 8 "$work/log" | sed 's/^/# /'; }
# step TEXT COMMAND...: what it prints is shown if it fails
step() {
    text=$1
    shift
    "$@" > "$work/log" 2>&1 < /dev/null
    status=$?
    check "$text" "$status"
    log
}
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
have() { command -v "$1" > /dev/null 2>&1; }
files() { (cd "$1" && find . ! -type d | LC_ALL=C sort); }

# Small and quick to compile: a context and a product of matrices.
cat > "$work/program.c" << 'C'
#define LSNN_NO_SIMD
#define LSNN_NO_TRAIN
#define LSNN_NO_DATA
#define LSNN_NO_PICTURES
#define LSNN_IMPLEMENTATION
#include <lsnn.h>
int main(void)
{
    static lsnn_ctx cx;
    lsnn_real a[1], b[1], c[1];
    a[0] = 3;
    b[0] = 14;
    lsnn_gemm(&cx, 0, 0, 1, 1, 1, a, 1, b, 1, 0, c, 1);
    lsnn_ctx_free(&cx);
    return c[0] != 42;
}
C

# ---- make install -----------------------------------------------------------------------
prefix=/opt/lsnn
stage=$work/stage
there=$stage$prefix
staged() { make "$1" DESTDIR="$stage" PREFIX=$prefix; }
step 'make install, staged' staged install
printf '%s\n' ./include/lsnn.h ./share/lsnn/lsnnConfig.cmake ./share/lsnn/lsnnConfigVersion.cmake \
    ./share/man/man3/lsnn.3 ./share/pkgconfig/lsnn.pc > "$work/want"
files "$there" | cmp -s - "$work/want" && [ "$(files "$stage" | wc -l)" -eq 5 ]
check 'five files under DESTDIR PREFIX, and none beside' $?
cmp -s lsnn.h "$there/include/lsnn.h" && ! grep -r '@[A-Z]*@' "$stage"
check 'the header, and templates filled in' $?
if have man && have groff; then
    [ -z "$(LC_ALL=C groff -man -ww -z "$there/share/man/man3/lsnn.3" 2>&1)" ]
    check 'groff has nothing to say about the man page' $?
else
    skip 'the man page' 'no groff'
fi
version=$(sed -n 's/^#define LSNN_VERSION "\(.*\)"/\1/p' lsnn.h)
grep -q "\"version\": \"$version\"" packaging/vcpkg/lsnn/vcpkg.json
check "vcpkg.json has the header's version, $version" $?

# ---- pkg-config --------------------------------------------------------------------------
by_pkg_config() {
    PKG_CONFIG_PATH=$there/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage
    export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
    [ "$(pkg-config --modversion lsnn)" = "$version" ] || return 1
    # shellcheck disable=SC2046
    $CC "$work/program.c" -o "$work/program" $(pkg-config --cflags --libs lsnn) && "$work/program"
}
if have pkg-config; then step 'a program finds it by pkg-config' by_pkg_config
else skip 'a program finds it by pkg-config' 'no pkg-config'; fi

# ---- CMake -------------------------------------------------------------------------------
# project NAME LINES...: a project whose program links with lsnn::lsnn
project() {
    mkdir -p "$work/$1"
    cp "$work/program.c" "$work/$1"
    { echo 'cmake_minimum_required(VERSION 3.14)'
      echo 'project(user LANGUAGES C)'
      echo "$2"
      echo 'add_executable(program program.c)'
      echo 'target_link_libraries(program PRIVATE lsnn::lsnn)'
    } > "$work/$1/CMakeLists.txt"
    name=$1
    shift 2
    cmake -S "$work/$name" -B "$work/$name/b" "$@" && cmake --build "$work/$name/b" &&
        "$work/$name/b/program"
}
targets() { cmake --build "$1" --target help | grep -c -e lsnn_mnist -e gen_data; }
by_portfile() {
    cat > "$work/vcpkg.cmake" << 'CMAKE'
function(vcpkg_cmake_configure)
  cmake_parse_arguments(A "" "SOURCE_PATH" "OPTIONS" ${ARGN})
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${A_SOURCE_PATH} -B ${TO}.build ${A_OPTIONS}
    -DCMAKE_INSTALL_PREFIX=${TO} COMMAND_ERROR_IS_FATAL ANY)
endfunction()
function(vcpkg_cmake_install)
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${TO}.build COMMAND_ERROR_IS_FATAL ANY)
endfunction()
function(vcpkg_fixup_pkgconfig)
endfunction()
function(vcpkg_install_copyright)
  cmake_parse_arguments(A "" "" "FILE_LIST" ${ARGN})
  file(INSTALL ${A_FILE_LIST} DESTINATION ${TO}/share/lsnn)
endfunction()
include(${PORT})
CMAKE
    cmake "-DTO=$work/vcpkg" "-DPORT=$root/packaging/vcpkg/lsnn/portfile.cmake" \
        -P "$work/vcpkg.cmake" && { cat "$work/want"; echo ./share/lsnn/LICENSE; } |
        LC_ALL=C sort > "$work/want_vcpkg" && files "$work/vcpkg" | diff - "$work/want_vcpkg"
}
installed() {
    cmake -S . -B "$work/alone" -DLSNN_EXAMPLES=OFF -DCMAKE_INSTALL_PREFIX=$prefix &&
        DESTDIR=$work/cmake cmake --install "$work/alone" && diff -r "$work/cmake" "$stage"
}
wanted() { ! project "$1" "find_package(lsnn $2 REQUIRED)" -DCMAKE_PREFIX_PATH="$there"; }
if have cmake; then
    step 'a project finds it by find_package' project found "find_package(lsnn 0.1 REQUIRED)" \
        -DCMAKE_PREFIX_PATH="$there"
    step 'which refuses another minor version' wanted other 0.99
    step 'a project has it by FetchContent' project fetched "include(FetchContent)
FetchContent_Declare(lsnn SOURCE_DIR \"$root\")
FetchContent_MakeAvailable(lsnn)"
    [ "$(targets "$work/fetched/b")" = 0 ]
    check 'and builds no examples' $?
    step 'cmake --install installs what make install does' installed
    cmake -S . -B "$work/alone" -DLSNN_EXAMPLES=ON > /dev/null && [ "$(targets "$work/alone")" -ge 2 ]
    check 'by itself it builds the programs' $?
    case $(cmake --version) in
    *' 3.1'[0-8]*) skip "vcpkg's port" 'CMake before 3.19' ;;
    *) step "vcpkg's port, with stand-ins for vcpkg's functions" by_portfile ;;
    esac
else
    skip 'CMake' 'no cmake'
fi
if have python3; then
    step "Conan's recipe is Python" python3 -c \
        'import ast; ast.parse(open("packaging/conan/conanfile.py").read())'
else
    skip "Conan's recipe is Python" 'no python3'
fi

# ---- make uninstall -----------------------------------------------------------------------
: > "$there/share/man/man3/neighbour.3"
step 'make uninstall' staged uninstall
[ "$(files "$stage")" = ".$prefix/share/man/man3/neighbour.3" ] && [ ! -d "$there/share/lsnn" ]
check 'leaves what it did not install' $?
echo "1..$n"
exit $failed
