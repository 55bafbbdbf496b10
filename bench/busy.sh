#!/bin/sh
# busy.sh - training on a machine that others use: alone, two trainings side by side, and
# beside one and two programs that only compute. lsnn's own threads beside OpenMP's.
#
#   sh bench/busy.sh                       7 rounds, about 10 minutes; `make bench WHAT=busy`
#   ROUNDS=3 SECONDS_EACH=0.5 WORK='cnn:64 dn10:16' SIDES='own omp' sh bench/busy.sh
#
# Sides: own      the library's threads
#        omp      -fopenmp -DLSNN_USE_OPENMP, as it is: GNU OpenMP spins for some milliseconds
#        passive  the same with OMP_WAIT_POLICY=passive
# In each round every side is run in every way, in turn, so that what else the machine does
# meets all of them; ratios are taken within a round, and printed as lowest, median, highest.
#   alone    speed by that of omp (above 1: faster)
#   two      the slower of two trainings by one alone: 0.5 is a fair share
#   one, two busy    time by that of one alone: how many times as long it takes
# BUILT=FOLDER has bench.own and bench.omp already.
cd "$(dirname "$0")/.." || exit 1
rounds=${ROUNDS:-7}
seconds=${SECONDS_EACH:-0.7}
work=${WORK:-cnn:64 cnn:4 dn10:16 lsnn-content:64}
sides=${SIDES:-own omp passive}
dir=${BUILT:-build/busy}
CC=${CC:-cc}
mkdir -p "$dir" || exit 1

if [ -z "${BUILT:-}" ]; then
    # shellcheck disable=SC2086
    {
        $CC -O2 -pthread bench/bench.c -o "$dir/bench.own" -lm -ldl &&
            $CC -O2 ${OMP_FLAGS:--fopenmp} -DLSNN_USE_OPENMP bench/bench.c \
                -o "$dir/bench.omp" -lm -ldl
    } || exit 1
fi
: > "$dir/rows"
busy=
# shellcheck disable=SC2086
trap 'kill $busy 2> /dev/null' EXIT
trap 'exit 1' INT TERM

# speed SIDE NET BATCH [second]: images a second
speed() {
    scratch="$dir/scratch${4:-}"
    rm -f "$scratch".*
    case $1 in
    own) program=own ;;
    omp) program=omp; GOMP_SPINCOUNT=300000; export GOMP_SPINCOUNT ;;     # GNU's default
    passive) program=omp; OMP_WAIT_POLICY=passive; GOMP_SPINCOUNT=0
             export OMP_WAIT_POLICY GOMP_SPINCOUNT ;;
    esac
    "$dir/bench.$program" --what train --net "$2" --batch "$3" --alone --pairs 1 \
        --seconds "$seconds" --csv "$scratch.csv" --png "$scratch.png" 2> "$scratch.log" |
        sed -n 's/.* ours=\([0-9.e+]*\) .*/\1/p'
}
row() {
    [ -n "$2" ] || { cat "$dir"/scratch*.log >&2; exit 1; }
    echo "$round $side $net:$batch $1 $2" >> "$dir/rows"; }
spin() { while :; do :; done & busy="$busy $!"; }

round=1
while [ "$round" -le "$rounds" ]; do
    for net in $work; do
        batch=${net#*:}
        net=${net%:*}
        for side in $sides; do
            row alone "$(speed "$side" "$net" "$batch")"
        done
        for side in $sides; do
            (speed "$side" "$net" "$batch" beside > "$dir/first") &
            first=$!
            second=$(speed "$side" "$net" "$batch")
            wait "$first"
            row two "$(printf '%s\n%s\n' "$second" "$(cat "$dir/first")" | sort -g | head -n 1)"
        done
        for many in one two-busy; do
            spin
            for side in $sides; do
                row "$many" "$(speed "$side" "$net" "$batch")"
            done
        done
        # shellcheck disable=SC2086
        kill $busy
        # shellcheck disable=SC2086
        wait $busy 2> /dev/null
        busy=
    done
    round=$((round + 1))
done

awk '
    { v[$1, $2, $3, $4] = $5; if (!(($3) in nets)) { nets[$3]; net[++n] = $3 } rounds = $1 }
    function three(count,    i, j, t) {
        for (i = 2; i <= count; i++)
            for (j = i; j > 1 && r[j] < r[j - 1]; j--) { t = r[j]; r[j] = r[j - 1]; r[j - 1] = t }
        t = count % 2 ? r[(count + 1) / 2] : (r[count / 2] + r[count / 2 + 1]) / 2
        return sprintf("%5.2f %5.2f %5.2f", r[1], t, r[count])
    }
    function line(what, side, name, over, under, inverse,    i, count, a, b) {
        count = 0
        for (i = 1; i <= rounds; i++) {
            a = v[i, side, name, what]
            b = v[i, under, name, over]
            if (a > 0 && b > 0) r[++count] = inverse ? b / a : a / b
        }
        if (count) printf "busy %-16s %-8s %-8s %s\n", name, side, what, three(count)
    }
    END {
        print "#    network:batch    threads  beside     low   mid  high"
        split("own omp passive", side, " ")
        for (k = 1; k <= n; k++)
            for (s = 1; s <= 3; s++) {
                if (s != 2) line("alone", side[s], net[k], "alone", "omp", 0)
                line("two", side[s], net[k], "alone", side[s], 0)
                line("one", side[s], net[k], "alone", side[s], 1)
                line("two-busy", side[s], net[k], "alone", side[s], 1)
            }
    }' "$dir/rows"
