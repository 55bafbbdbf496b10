#!/bin/sh
# test_tutorial.sh - the program of docs/a-layer.md: as C and as C++ it compiles without a
# warning and prints what the page says; with a mistake in its backward it fails, and it is
# the gradient check that says so. TAP.
# modes: | short
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/tutorial.tmp}
root=$(pwd)
mkdir -p "$work" || exit 1
warnings='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror'
cc=${CC:-cc}
n=0
failed=0

# check TEXT COMMAND...: a line of TAP; the command runs in $work
check() {
    text=$1
    shift
    n=$((n + 1))
    if (cd "$work" && "$@") > "$work/log" 2>&1; then echo "ok $n - $text"
    else
        failed=1
        echo "not ok $n - $text"
        head -n 8 "$work/log" | sed 's/^/# /'
    fi
}

# build COMPILER FLAG...
# shellcheck disable=SC2086
build() { "$@" $warnings ${TEST_FLAGS:-} -I"$root" ${TEST_LIBS:-}; }
# prints PROGRAM: status 0, and the page's last block
prints() {
    "./$1" > "$1.out" || { cat "$1.out"; return 1; }
    diff want "$1.out"
}

awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' docs/a-layer.md > "$work/a.c"
awk '/^```text$/ { on = 1; next } /^```/ { on = 0 } on' docs/a-layer.md > "$work/want"
check 'the page has a program and its output' test -s a.c -a -s want
check 'compiles as C99' build "$cc" -std=c99 -O1 a.c -o a -lm
check 'prints what the page says' prints a

# The same without the implementation, which need not be compiled for each of these
sed '/LSNN_IMPLEMENTATION/,/lsnn.h/d' "$work/a.c" |
    { printf '#define LSNN_DOUBLE\n#include "lsnn.h"\n#include <math.h>\n#include <string.h>\n'
      grep -v 'define LSNN_DOUBLE'; } > "$work/apart.c"
printf '#define LSNN_DOUBLE\n#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n' > "$work/lib.c"
check 'the implementation apart' build "$cc" -std=c99 -O1 -c lib.c -o lib.o
if command -v g++ > /dev/null 2>&1; then
    cp "$work/a.c" "$work/a.cc"
    cp "$work/apart.c" "$work/apart.cc"
    check 'compiles as C++11' build g++ -std=c++11 -fsyntax-only a.cc
    check 'links as C++11' build g++ -std=c++11 -O1 apart.cc lib.o -o apart -lm
    check 'as C++ it prints the same' prints apart
else
    check 'compiles as C++11 # SKIP no g++' true
fi

# found SED: with this mistake in backward it ends badly, and says why
found() {
    sed "$1" apart.c > wrong.c
    cmp -s apart.c wrong.c && { echo "the page has no such line: $1"; return 1; }
    build "$cc" -std=c99 -O1 wrong.c lib.o -o wrong -lm || return 1
    ./wrong > wrong.out && { echo 'it ended with status 0'; return 1; }
    grep '^WRONG  no gradient is wrong' wrong.out || { cat wrong.out; return 1; }
}
# mistaken TEXT SED
mistaken() { check "$1 is found by the gradient check" found "$2"; }
mistaken 'a turned sign of dx' 's/if (dx) dx\(.*\) += /if (dx) dx\1 -= /'
mistaken 'a turned sign of dw' 's/if (dw) dw\(.*\) += /if (dw) dw\1 -= /'
mistaken 'a turned sign of db' 's/if (db) db\(.*\) += /if (db) db\1 -= /'
mistaken 'a dx that is zeroed at the wrong time' 's/add\[0\] == LSNN_SET/add[0] != LSNN_SET/'
mistaken 'a kernel one column off' 's/\(g \* w\[tap(s, c, u, \)v)/\1v ? v - 1 : 0)/'
echo "1..$n"
exit $failed
