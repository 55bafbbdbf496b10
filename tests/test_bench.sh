#!/bin/sh
# test_bench.sh - the bench runs, its lines and its table have their form, and the peers that
# are here compute what lsnn computes (speed is not tested: too noisy). TAP.
# modes: short | long
#
# Without TEST_LONG, OpenBLAS is the only peer, and where TEST_LINKED names an object of the
# implementation, the bench is linked with it.
cd "$(dirname "$0")/.." || exit 1
work=${TEST_TMP:-build/bench.tmp}
mkdir -p "$work/bench" || exit 1
CC=${CC:-cc}
n=0
failed=0

check() {                            # check TEXT STATUS: one TAP line
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; failed=1; fi
}

# The peers' scripts are looked for beside the program.
cp bench/torch_train.py bench/onnx_predict.js "$work/bench/"
if [ -n "${TEST_LINKED:-}" ]; then
    sed 's/^#define LSNN_IMPLEMENTATION$//' bench/bench.c > "$work/bench/bench.c"
    # shellcheck disable=SC2086
    $CC -O2 ${TEST_FLAGS:-} -Ibench -include tests/linked.h \
        "$work/bench/bench.c" "$TEST_LINKED" -o "$work/bench/bench" ${TEST_LIBS:--lm} -ldl
    check 'bench.c links with the implementation' $?
else
    # shellcheck disable=SC2086
    $CC -O2 ${TEST_FLAGS:-} bench/bench.c -o "$work/bench/bench" \
        ${TEST_LIBS:--lm} -ldl
    check 'bench.c compiles by one line' $?
fi

# run WHAT FLAG...: as short as can be, all lines into one table
run() {
    what=$1
    shift
    "$work/bench/bench" --what "$what" --seconds 0.01 --pairs 1 --threads 1 \
        --csv "$work/bench.csv" --png "$work/bench.png" "$@" > "$work/out" 2> "$work/err"
}
# lines COUNT [THREADS]: it has printed so many lines, all of the fixed form
lines() {
    form='^bench what=[a-z]+ net=[a-z0-9-]+ batch=[0-9]+ threads='"${2:-1}"' ours=[0-9.e+-]+'
    form="$form"'( peer=[0-9.e+-]+ ratio=[0-9.]+)? unit=[^ ]+( peer_name=[^ ]+)?$'
    [ "$(grep -Ecx "$form" "$work/out")" -eq "$1" ] && [ "$(grep -c . "$work/out")" -eq "$1" ]
}

run train --net dn10 --batch 4 --alone
check 'train without a peer' $?
lines 1
check 'one line of the fixed form' $?
run threads --net cnn --batch 4 --threads 2 && lines 1 2 && grep -q 'peer_name=one-thread' "$work/out"
check 'two threads beside one' $?
run memory --net cnn --batch 4 && lines 1 && grep -q 'unit=MB' "$work/out"
check 'memory of a process of its own' $?
# 3 x 417,482 numbers, and for each image the input, two convolutions and poolings, hidden
# units twice (dropout), scores and loss; what works in place counts once
"$work/bench/bench" --what memory --in-process --net cnn --batch 4 --threads 1 > "$work/out"
awk '{ exit !($1 > $2 && $2 > 12 * 417482 && $2 <= 12 * 417482 + 16 * 39944) }' "$work/out"
check "the parts of cnn's memory" $?
run draw --batch 4 && lines 1 && grep -q 'unit=%_of_step' "$work/out"
check 'drawing' $?
run limit && lines 2
check 'the limits' $?
run train --net dn10 --batch 4 --alone --missing && lines 0
check '--missing leaves out what the table has' $?
[ "$(grep -c . "$work/bench.csv")" -eq 7 ] &&
    awk -F, 'NF != 17 { bad = 1 } END { exit bad }' "$work/bench.csv"
check 'the table has a header and a row a line' $?
[ -s "$work/bench.png" ]
check 'the chart is there' $?

# with_peer TEXT NAME FLAG...: agrees with that peer, where there is one
with_peer() {
    text=$1
    peer=$2
    shift 2
    run "$@"
    status=$?
    if [ "$status" -eq 0 ] && grep -q 'without its peer' "$work/err"; then
        n=$((n + 1))
        echo "ok $n - $text # SKIP no $peer here"
        return
    fi
    [ "$status" -eq 0 ] && grep -q "peer_name=$peer" "$work/out"
    check "$text" $?
    [ "$status" -eq 0 ] || sed 's/^/# /' "$work/err"
}
with_peer 'gemm: products are those of OpenBLAS' openblas gemm
if [ -z "${TEST_LONG:-}" ]; then
    echo "1..$n"
    exit $failed
fi
for net in cnn lsnn-location lsnn-content lc lc-layer dn10 cnn6; do
    with_peer "$net: one step is that of PyTorch" pytorch train --net "$net" --batch 4
done
for net in cnn lsnn-location dn10 dn40 cnn6; do
    with_peer "$net: scores are those of ONNX Runtime" onnxruntime predict --net "$net" \
        --batch 4
done
echo "1..$n"
exit $failed
