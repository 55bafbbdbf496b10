#!/bin/sh
# test_tutorial.sh - the program of docs/a-layer.md: as C and C++ it compiles without a
# warning, prints what the page says, and fails when a sign in its backward is turned. TAP.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/tutorial.tmp}
root=$(pwd)
mkdir -p "$work" || exit 1
awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' docs/a-layer.md > "$work/a.c"
awk '/^```text$/ { on = 1; next } /^```/ { on = 0 } on' docs/a-layer.md > "$work/want"
sed 's/if (dx) dx\[pixel\] += /if (dx) dx[pixel] -= /' "$work/a.c" > "$work/wrong.c"
cp "$work/a.c" "$work/a.cc"
warnings='-Wall -Wextra -Wpedantic -Wshadow -Werror'
n=0
failed=0
# check TEXT COMMAND...
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
# shellcheck disable=SC2086
build() { "$@" $warnings -I"$root"; }
prints() { ./"$1" > out && cmp out want; }
fails() { ! ./"$1"; }
check 'the page has a program' test -s a.c
check 'compiles as C99' build "${CC:-cc}" -std=c99 -O1 a.c -o a -lm
check 'prints what the page says' prints a
check 'with a sign turned it compiles' build "${CC:-cc}" -std=c99 -O1 wrong.c -o wrong -lm
check 'and is found out' fails wrong
if command -v g++ > /dev/null 2>&1; then
    check 'compiles as C++11' build g++ -std=c++11 -fsyntax-only a.cc
fi
echo "1..$n"
exit $failed
