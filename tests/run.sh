#!/bin/sh
# run.sh - builds and runs the tests, two at a time; `make test` calls it.
#
#   make test            what a contributor waits for, a few minutes: lsnn.h is what src/
#                        assembles to, each tests/test_*.c in mode plain but the long one
#                        that learns, PyTorch's tensors in double, and the naive library
#   make test-all        those, and every other mode, dialect and program (TEST_ALL=1)
#   make test ONLY=net   those whose names contain "net"
#
# A line near the top of a test says in which ways it is built, /* modes: plain asan */:
#   plain   -O2, OpenMP                  double    the same with -DLSNN_DOUBLE
#   asan    AddressSanitizer and UBSan   noomp     -O2 without OpenMP
#   cblas   -DLSNN_USE_CBLAS             nosimd    -DLSNN_NO_SIMD, the portable kernels
#   naive   -DLSNN_NAIVE -DLSNN_DOUBLE, the plain loops of each op
# Sanitizers, double and naive read src/ itself, so that what they say names its lines; asan
# leaves the vector kernels to test_ops, since their code takes long to compile.
# Each prints TAP. A test that crashes, prints no plan, or runs for more than 600 s fails.
# Tests run in the project's folder; they may write into $TEST_TMP, a folder of their own.
# $MNIST_DIR is the folder of MNIST where one is known. The last line: N passed, N failed.
cd "$(dirname "$0")/.." || exit 1
[ -n "${TEST_LIBS+x}" ] || exec make test ONLY="${1:-}"
here=build/tests
seconds=600

# ---- One job: sh tests/run.sh --job MODE tests/test_x.c ------------------------------
have() { command -v "$1" > /dev/null 2>&1; }

mode_flags() {
    case $1 in
    plain)    echo "-O2 $OMP_FLAGS" ;;
    double)   echo "-O2 $OMP_FLAGS -DLSNN_DOUBLE" ;;
    noomp)    echo "-O2" ;;
    cblas)    echo "-O2 $OMP_FLAGS -DLSNN_USE_CBLAS" ;;
    asan)     echo "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all" ;;
    nosimd)   echo "-O2 $OMP_FLAGS -DLSNN_NO_SIMD" ;;
    naive)    echo "-O2 $OMP_FLAGS -DLSNN_NAIVE -DLSNN_DOUBLE" ;;
    *)        return 1 ;;
    esac
}

# Why MODE cannot be had here, or nothing.
mode_fault() {
    probe=$here/probe.$$
    case $1 in
    cblas)
        printf '%s\n' '#include <cblas.h>' 'int main(void){return cblas_sgemm == 0;}' > "$probe.c"
        # shellcheck disable=SC2086
        $CC "$probe.c" -o "$probe" $CBLAS_LIBS > /dev/null 2>&1 || echo "no $CBLAS_LIBS" ;;
    asan)
        echo 'int main(void){return 0;}' > "$probe.c"
        # shellcheck disable=SC2046
        { $CC "$probe.c" -o "$probe" $(mode_flags asan) && "./$probe"; } > /dev/null 2>&1 ||
            echo 'no sanitizers' ;;
    esac
    rm -f "$probe" "$probe.c"
}

# Builds $1 for $2 as $3 and runs it. TAP on stdout.
build_and_run() {
    case $1 in *.sh) limit sh "$1"; return ;; esac
    flags=$(mode_flags "$2") || { echo "1..1"; echo "not ok 1 - unknown mode $2"; return 1; }
    case $2 in asan | double | naive) flags="$flags -Isrc" ;; esac
    case $2:$1 in asan:*test_ops.c) ;; asan:*) flags="$flags -DLSNN_NO_SIMD" ;; esac
    libs=$TEST_LIBS
    [ "$2" = cblas ] && libs="$CBLAS_LIBS $libs"
    # shellcheck disable=SC2086
    if ! $CC $flags $WARNINGS $TEST_FLAGS -I. "$1" -o "$3" $libs; then
        echo "not ok - $1 does not compile"
        return 1
    fi
    limit "./$3"
}

limit() { if have timeout; then timeout -k 5 "$seconds" "$@"; else "$@"; fi; }

# Counts "passed failed skipped" in a TAP file, given the exit status; says what is wrong.
count() {
    awk -v status="$2" -v name="$3" '
        /^ok/ && /# [Ss][Kk][Ii][Pp]/ { skipped++; next }
        /^ok/                          { passed++; next }
        /^not ok/                      { failed++; next }
        /^1\.\.[0-9]+/                 { plan = substr($1, 4) + 0; planned = 1 }
        END {
            why = ""
            seen = passed + failed + skipped
            if (status == 124 || status == 137) why = "ran out of time or was killed"
            else if (status != 0 && failed == 0) why = "ended with status " status
            else if (!planned && failed == 0) why = "printed no plan"
            else if (planned && plan != seen) why = "planned " plan " tests, ran " seen
            if (why != "") { failed++; print "not ok - " name " " why > "/dev/stderr" }
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

lock() { while ! mkdir "$1" 2> /dev/null; do sleep 0.2; done; }

run_job() {
    name=$(basename "$2")
    name=${name%.*}.$1
    log=$here/$name.log
    test_lock=$here/$(basename "$2").lock
    began=$(date +%s)
    fault=$(mode_fault "$1")
    if [ -n "$fault" ]; then
        printf '1..1\nok 1 - %s # SKIP %s\n' "$name" "$fault" > "$log"
        status=0
    else
        lock "$test_lock"            # one test's modes may write the same files
        TEST_TMP=$here/$name.tmp
        mkdir -p "$TEST_TMP"
        export TEST_TMP
        build_and_run "$2" "$1" "$here/$name" > "$log" 2>&1 < /dev/null
        status=$?
        rm -rf "$TEST_TMP"
        rmdir "$test_lock"
    fi
    count "$log" "$status" "$name" > "$here/$name.count" 2> "$here/$name.why"
    cat "$here/$name.why" >> "$log"
    lock "$here/print.lock"
    echo "# ---- $name ($(($(date +%s) - began)) s)"
    cat "$log"
    rmdir "$here/print.lock"
}

if [ "${1:-}" = --job ]; then
    run_job "$2" "$3"
    exit 0
fi

# ---- All of them ---------------------------------------------------------------------
rm -rf "$here"
mkdir -p "$here" || exit 1
CC=${CC:-cc}
WARNINGS='-Wall -Wextra -Wno-unused-function'
for folder in "${MNIST_DIR:-}" ../shared/data/mnist data/mnist; do
    if [ -n "$folder" ] && [ -d "$folder" ]; then
        MNIST_DIR=$(cd "$folder" && pwd)
        break
    fi
    MNIST_DIR=
done
if [ -n "$MNIST_DIR" ]; then export MNIST_DIR; else unset MNIST_DIR; fi
# malloc may say no: the library's answer to that is what is tested
ASAN_OPTIONS=allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}
# two programs share the cores: threads that wait must sleep, not spin
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export CC OMP_FLAGS TEST_FLAGS TEST_LIBS CBLAS_LIBS WARNINGS ASAN_OPTIONS OMP_WAIT_POLICY

# By mode, not by test: two modes of one test then seldom wait for each other. The slow
# modes come first, so that no long one is left alone at the end.
# quick MODE TEST: whether `make test` runs it, too
quick() {
    case $1:$2 in
    *:*test_assembled.sh | naive:* | double:*test_golden.c) return 0 ;;
    plain:*test_learn.c) return 1 ;;
    plain:*) return 0 ;;
    *) return 1 ;;
    esac
}
for test in tests/test_*.sh; do
    case $test in *"${ONLY:-}"*) [ -f "$test" ] && echo "script $test" ;; esac
done > "$here/jobs"
for mode in asan double plain noomp nosimd cblas naive; do
    for test in tests/test_*.c; do
        case $test in *"${ONLY:-}"*) ;; *) continue ;; esac
        [ -f "$test" ] || continue
        modes=$(sed -n '1,40s/.*modes: *\([a-z ]*[a-z]\).*/\1/p' "$test" | head -n 1)
        for wanted in ${modes:-plain}; do
            [ "$wanted" = "$mode" ] && echo "$mode $test"
        done
    done
done >> "$here/jobs"
for test in tests/test_*.c; do       # a misspelt mode is a failure, not silence
    [ -f "$test" ] || continue
    for wanted in $(sed -n '1,40s/.*modes: *\([a-z ]*[a-z]\).*/\1/p' "$test" | head -n 1); do
        mode_flags "$wanted" > /dev/null || echo "$wanted $test" >> "$here/jobs"
    done
done

if [ -z "${TEST_ALL:-}" ] && [ -z "${ONLY:-}" ]; then
    while read -r mode test; do
        quick "$mode" "$test" && echo "$mode $test"
    done < "$here/jobs" > "$here/quick"
    mv "$here/quick" "$here/jobs"
fi

[ -s "$here/jobs" ] && xargs -n 2 -P "${JOBS:-2}" sh tests/run.sh --job < "$here/jobs"

cat "$here"/*.count 2> /dev/null | awk -v jobs="$(grep -c . "$here/jobs")" '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        if (NR != jobs || jobs == 0) failed += jobs > NR ? jobs - NR : 1
        printf "%d passed, %d failed", passed, failed
        if (skipped) printf ", %d skipped", skipped
        print ""
    }' > "$here/summary"
grep -h '^not ok' "$here"/*.log 2> /dev/null | sed 's/^/# failed: /'
cat "$here/summary"
case $(cat "$here/summary") in *" passed, 0 failed"*) exit 0 ;; *) exit 1 ;; esac
