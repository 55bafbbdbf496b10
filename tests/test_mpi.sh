#!/bin/sh
# test_mpi.sh - several processes that train one net (LSNN_USE_MPI): that they learn what one
# does, whatever their number; how they fail, stop, save and go on. With Open MPI and with
# MPICH, whichever are there. TAP. modes: | short
cd "$(dirname "$0")/.." || exit 1
top=$(pwd)
work=${TEST_TMP:-build/mpi.tmp}
. tests/programs.sh
case $work in /*) ;; *) work=$top/$work ;; esac
base=$work
export OMPI_CC="$CC" MPICH_CC="$CC"  # what mpicc calls
# a container may forbid one process to read another's memory
export OMPI_MCA_btl_vader_single_copy_mechanism=none

# begin KIND: sets compiler, run and its flags, builds the implementation once, and two
# programs; goes to a folder of their own. 1: there is no such MPI here.
begin() {
    kind=$1
    flags=
    for suffix in ".$kind" ''; do            # Debian's names where there are several, or the only
        compiler=mpicc$suffix
        run=mpirun$suffix
        command -v "$compiler" > /dev/null 2>&1 && command -v "$run" > /dev/null 2>&1 &&
            "$run" --version 2> /dev/null | grep -q "$2" && break
        [ -z "$suffix" ] && return 1
    done
    if [ "$kind" = openmpi ]; then
        flags=--oversubscribe
        [ "$(id -u)" -eq 0 ] && flags="$flags --allow-run-as-root"
    fi
    cd "$top" || exit 1
    work=$base/$kind
    mkdir -p "$work"
    printf '#define LSNN_IMPLEMENTATION\n#include "lsnn.h"\n' > "$work/lsnn.c"
    # shellcheck disable=SC2086
    "$compiler" -O1 -Wall -Wextra -DLSNN_USE_MPI -I. ${TEST_FLAGS:-} -c "$work/lsnn.c" \
        -o "$work/lsnn.o" 2> "$work/warnings"
    [ $? -eq 0 ] && [ ! -s "$work/warnings" ]
    check "$kind: the implementation compiles with LSNN_USE_MPI, without a warning" $?
    sed 's/^/# /' "$work/warnings" | head -5
    for file in tests/ranks.c examples/lsnn_1d.c; do
        program=$work/$(basename "$file" .c)
        sed 's/^#define LSNN_IMPLEMENTATION$//' "$file" > "$program.c"
        # shellcheck disable=SC2086
        "$compiler" -O1 -include tests/linked.h -Iexamples -I. ${TEST_FLAGS:-} "$program.c" \
            "$work/lsnn.o" -o "$program" ${TEST_LIBS:--lm}
        check "$kind: $file links" $?
    done
    make -n MPI=1 MPICC="$compiler" CC="$CC" examples/lsnn_1d 2> /dev/null |
        grep -q -e "$compiler .*-DLSNN_USE_MPI"
    check "$kind: make MPI=1 sets LSNN_USE_MPI" $?
    cd "$work" || exit 1
    work=.
}

# ranks N NAME FLAG...: ends with mpirun's status; NAME.out, NAME.err
ranks() {
    count=$1
    name=$2
    shift 2
    # shellcheck disable=SC2086
    timeout 60 "$run" $flags -n "$count" ./ranks "$@" > "$name.out" 2> "$name.err" < /dev/null
}
# alike A B [FIRST]: as many lines, from a step on, and all numbers within 1e-6
alike() {
    awk -v from="${3:-0}" '
        FNR == NR { if ($1 == "score" || $1 >= from) line[++n] = $0; next }
        {
            k++
            if (split(line[k], a) != NF) bad = 1
            for (i = 1; i <= NF; i++) {
                d = $i - a[i]
                if (d < 0) d = -d
                if (!(d <= 1e-6 * (1 + ($i < 0 ? -$i : $i)))) bad = 1
                if (d > worst) worst = d
            }
        }
        END { print "# worst difference " worst + 0; exit bad || n != k || n == 0 }' "$1" "$2"
}

# fails NAME WORDS FLAG...
fails() {
    ranks 2 "$1" $3 $4
    [ $? -gt 0 ] && [ "$(grep -c "^lsnn: .*$2" "$1.err")" -eq 1 ] &&
        [ "$(grep -c "^rank [01]: -.*$2" "$1.out")" -eq 2 ]
    check "$1: all ranks fail, one says why" $?
}

processes() {
    ./ranks > one.out 2> one.err
    check "$kind: one process trains" $?
    for count in 1 2 4; do
        ranks "$count" "of$count" && alike one.out "of$count.out" && [ ! -s "of$count.err" ]
        check "$kind: mpirun -n $count: losses and scores as of one process" $?
    done
    ./ranks --hand > hand.out 2>&1
    ranks 2 hand2 --hand && alike hand.out hand2.out
    check "$kind: steps by hand: parts of a batch, the gradients are summed" $?

    # ---- Stop, resume, loss of a rank ---------------------------------------------------------
    ranks 2 stop --stop 4 --save stop.st && [ "$(grep -c '^rank [01]: 1 ' stop.out)" -eq 2 ]
    check "$kind: one rank stops: all do" $?
    ranks 3 resume --resume stop.st && alike one.out resume.out 5
    check "$kind: three ranks go on from two, in mid-epoch" $?
    ./ranks --resume stop.st > alone.out 2>&1 && alike one.out alone.out 5
    check "$kind: one process goes on from two" $?
    ranks 2 die --die 7 --save die.st --every 1
    [ $? -gt 0 ] && grep -q 'signal 9' die.err die.out
    check "$kind: a rank that is killed ends the job, and mpirun says so" $?
    ranks 4 again --resume die.st && alike one.out again.out 7
    check "$kind: four ranks go on from its last checkpoint" $?
    [ "$(find . -name '*.tmp' | wc -l)" -eq 0 ]
    check "$kind: and nothing half-written is left" $?

    # ---- Failures: one line, from rank 0; each rank is told ------------------------------------
    fails nan 'sample 57 of the data: number 3' --nan 57
    fails label 'label 5 of the batch' --label 3
    fails seeds "ranks' nets differ" --seed-by-rank
    ranks 2 diverge --diverge
    [ $? -gt 0 ] && [ "$(grep -c '^rank [01]: -8 ' diverge.out)" -eq 2 ]
    check "$kind: divergence is that of all" $?
    ranks 34 many --epochs 1
    [ $? -gt 0 ] && grep -q '34 ranks share batches of 33 images' many.err
    check "$kind: more ranks than images of a batch are refused" $?
    ranks 2 alone --fail 1
    [ $? -gt 0 ] && grep -q 'rank 1: no such disk' alone.err && grep -q 'others do not' alone.err
    check "$kind: a rank that fails by itself leaves nobody waiting" $?

    # ---- A program --------------------------------------------------------------------------
    set -- --task place --epochs 2 --train 320 --test 100 --overwrite
    ./lsnn_1d "$@" --log l1.csv > p1.out 2> p1.err
    # shellcheck disable=SC2086
    timeout 60 "$run" $flags -n 2 ./lsnn_1d "$@" --log l2.csv --save p.st --figure p.png \
        > p2.out 2> p2.err < /dev/null
    [ $? -eq 0 ] && [ "$(grep -c '^result ' p2.out)" -eq 1 ] && [ "$(grep -c '^epoch ' p2.err)" -eq 2 ]
    check "$kind: a program prints one set of lines" $?
    for log in l1.csv l2.csv; do awk -F, 'NR > 1 { print $1, $4, $5 }' $log > $log.short; done
    alike l1.csv.short l2.csv.short
    check "$kind: and logs what one process logs" $?
    [ -s p.st ] && [ -s p.png ] && [ ! -f p.st.lock ] && [ "$(grep -c ': wrote' p2.err)" -eq 3 ]
    check "$kind: its files are there, once" $?
    OMPI_COMM_WORLD_SIZE=2 ./lsnn_1d "$@" > q.out 2> q.err
    [ $? -eq 2 ] && grep -q 'built without MPI' q.err
    check "$kind: a program that is alone under mpirun says so" $?

    # ---- Ctrl-C on mpirun: a checkpoint, and the command that goes on. MPICH's mpirun then ends with
    # ---- the ranks' status or with 0, as its own messages happen to arrive.
    # shellcheck disable=SC2086
    "$run" $flags -n 2 ./lsnn_1d --task place --epochs 100000 --train 320 --test 100 --save c.st \
        > c.out 2> c.err < /dev/null &
    mpirun=$!
    i=0
    while ! grep -q '^epoch 3/' c.err && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
    kill -INT $mpirun
    wait $mpirun
    status=$?
    { [ $status -gt 0 ] || [ "$kind" = mpich ]; } && [ -s c.st ] &&
        grep -q 'stopped and saved; to go on:' c.err && grep -q -e "--resume c.st" c.err &&
        [ -z "$(find . -name "*.tmp")" ]
    check "$kind: Ctrl-C on mpirun saves, and says how to go on" $?
    epoch=$(sed -n 's/^epoch \([0-9]*\)\/.*/\1/p' c.err | tail -n 1)
    ./lsnn_1d --task place --epochs $((${epoch:-0} + 3)) --train 320 --test 100 --resume c.st --log c.csv \
        > c.out 2> c2.err && [ "$(tail -n 1 c.csv | cut -d, -f1)" -eq $((${epoch:-0} + 3)) ] &&
        [ "$(wc -l < c.csv)" -le 5 ]
    check "$kind: and one process goes on from there" $?
}

found=
begin openmpi 'Open MPI' && found=1 && processes
cd "$top" || exit 1
begin mpich HYDRA && found=1 && processes
if [ -z "$found" ]; then
    echo "1..1"
    echo "ok 1 - several processes # SKIP neither Open MPI (libopenmpi-dev, openmpi-bin) nor MPICH (mpich)"
    exit 0
fi
echo "1..$n"
exit "$failed"
