#!/bin/sh
# test_neon.sh - the NEON kernels where there is no ARM processor: Debian's aarch64 gcc builds
# the tests of the ops, qemu-user runs them. TAP, one line a program. modes: | short
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/neon.tmp}
mkdir -p "$work" || exit 1
cross=aarch64-linux-gnu-gcc

skip() { printf '1..1\nok 1 - NEON # SKIP %s\n' "$1"; exit 0; }

case $(uname -m) in aarch64 | arm64) skip 'an ARM machine: all other tests run NEON' ;; esac
command -v $cross > /dev/null 2>&1 || skip "no $cross (apt-get install gcc-aarch64-linux-gnu)"
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) ||
    skip 'no qemu-aarch64 (apt-get install qemu-user)'
echo '#include <stdio.h>
int main(void) { return 0; }' > "$work/probe.c"
$cross -static "$work/probe.c" -o "$work/probe" -lm > /dev/null 2>&1 ||
    skip 'no C library for aarch64 (apt-get install libc6-dev-arm64-cross)'
"$qemu" "$work/probe" || skip "$qemu runs no program here"

n=0
failed=0
# emulated TEXT SOURCE FLAG...: builds SOURCE and runs it; what it prints is kept for failures
emulated() {
    text=$1
    source=$2
    shift 2
    n=$((n + 1))
    if $cross -static -std=c99 -O2 "$@" -I. "$source" -o "$work/program" -lm \
           > "$work/log" 2>&1 && "$qemu" "$work/program" >> "$work/log" 2>&1; then
        echo "ok $n - $text: $(grep -c '^ok' "$work/log") tests"
    else
        echo "not ok $n - $text"
        grep -v '^ok' "$work/log" | sed 's/^/# /'
        failed=1
    fi
}

cat > "$work/isa.c" <<'END'
#define LSNN_IMPLEMENTATION
#include "lsnn.h"
int main(void)
{
    static lsnn_ctx cx;
    printf("ok 1 - %s\n", lsnn_isa_name(lsnn_ctx_isa(&cx)));
    return lsnn_ctx_isa(&cx) != LSNN_ISA_NEON;
}
END
emulated 'NEON is what is chosen' "$work/isa.c"
emulated 'test_golden in double' tests/test_golden.c -DLSNN_DOUBLE
emulated 'test_ops in float' tests/test_ops.c -DTEST_TRIALS=120
emulated 'test_ops in double' tests/test_ops.c -DTEST_TRIALS=120 -DLSNN_DOUBLE
echo "1..$n"
exit $failed
