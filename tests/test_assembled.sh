#!/bin/sh
# test_assembled.sh - lsnn.h is what src/ assembles to, byte for byte, and src/names.h has the
# API's names. TAP; the first test.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/assembled.tmp}
mkdir -p "$work" || exit 1
sh tools/assemble.sh src/lsnn.h > "$work/lsnn.h"
if cmp lsnn.h "$work/lsnn.h"; then
    echo 'ok 1 - lsnn.h is what src/ assembles to'
else
    echo 'not ok 1 - lsnn.h is not what src/ assembles to: edit src/, then type  make lsnn.h'
    diff lsnn.h "$work/lsnn.h" | head -n 10 | sed 's/^/# /'
fi
sh tools/names.sh src/api.h > "$work/names.h"
cmp src/names.h "$work/names.h" || printf 'not '
echo 'ok 2 - src/names.h has the functions of src/api.h (make lsnn.h writes it)'
echo '1..2'
