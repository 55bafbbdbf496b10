#!/bin/sh
# test_names.sh - copies of lsnn in one program: each LSNN_NAMESPACE gives every public function
# a name of its own, in float and in double, beside a copy without one. TAP.
# modes: | short
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/names.tmp}
. tests/programs.sh

# unit ENTRY BYTES FLAG...: a copy, and a function that works with it. Slow, and quick to compile.
cat > "$work/unit.c" << 'C'
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
int ENTRY(void);
int ENTRY(void)
{
    static lsnn_ctx cx;
    lsnn_net *net = lsnn_net_new(&cx);
    lsnn_real x[2], y[2];
    int bad;
    x[0] = -1;
    x[1] = 2;
    lsnn_relu(net, lsnn_input(net, 2, 1, 1), NULL);
    bad = lsnn_net_build(net, NULL) != LSNN_OK || lsnn_predict(net, x, 1, y) != LSNN_OK;
    lsnn_net_free(net);
    lsnn_ctx_free(&cx);
    return bad || y[0] != 0 || y[1] != 2 || sizeof y[0] != BYTES;
}
C
unit() {
    entry=$1
    bytes=$2
    shift 2
    $CC -std=c99 -Wall -Wextra -Wpedantic -Werror -O0 -DLSNN_NO_SIMD "-DENTRY=$entry" \
        "-DBYTES=$bytes" "$@" -I. -c "$work/unit.c" -o "$work/$entry.o"
    check "compiles: $entry $*" $?
}
unit plain 4
unit mine 4 -DLSNN_NAMESPACE=mine_
unit yours 4 -DLSNN_NAMESPACE=yours_
unit yours_too 8 -DLSNN_NAMESPACE=yours_ -DLSNN_DOUBLE

# public OBJECT PATTERN: how many names it gives to the linker, of those that have the pattern
public() { nm -g "$work/$1.o" | awk '$2 == "T" { print $3 }' | grep -c "$2"; }
if command -v nm > /dev/null 2>&1; then
    count=$(grep -c '^#define lsnn_' src/names.h)
    [ "$(public plain '^_*lsnn_')" -eq "$count" ] && [ "$count" -gt 100 ] &&
        [ "$(public mine '^_*mine_lsnn_')" -eq "$count" ] &&
        [ "$(public mine .)" -eq $((count + 1)) ] &&
        [ "$(public yours_too '^_*yours_lsnn_[a-z0-9_]*_f64$')" -eq "$count" ] &&
        [ "$(public yours_too .)" -eq $((count + 1)) ]
    check "all $count functions get the prefix, and there are no others" $?
fi
cat > "$work/main.c" << 'C'
int plain(void), mine(void), yours(void), yours_too(void);
int main(void) { return plain() + 2 * mine() + 4 * yours() + 8 * yours_too(); }
C
$CC "$work/main.c" "$work/plain.o" "$work/mine.o" "$work/yours.o" "$work/yours_too.o" \
    -o "$work/main" ${TEST_LIBS:--lm} -pthread && "$work/main"
check 'four copies work in one program' $?
echo "1..$n"
exit $failed
